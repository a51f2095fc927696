"""The translations of one test set and direction, as `lander.translate` writes them."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from lander.shared.errors import UserError

FIELDS = ("source", "reference", "raw", "hypothesis")
MOST = 1e6  # nats of a reference; a model with more has diverged, and its loss is no number
REMEDY = "remove it and run snakemake again, which translates again"


@dataclass(frozen=True)
class Translations:
    """Parallel lists, one entry per test item.

    `raw` is all that the model wrote, `hypothesis` what is left of it after it was cut at the first line break. `cut`
    says which outputs ended at the length limit rather than with the end token, `loss` what each reference cost the
    model behind the same prompt, in nats. `cut` and `loss` are None if any line lacks them; `loss` also if a value is
    `MOST` or more.
    """

    source: list[str]
    reference: list[str]
    raw: list[str]
    hypothesis: list[str]
    cut: list[bool] | None = None
    loss: list[float] | None = None

    def __len__(self) -> int:
        return len(self.source)


def read(path: str | Path) -> Translations:
    """Read a file of translations.

    Raises:
        UserError: no such file, not UTF-8, a damaged line (named by its number), a missing field, or no line at all.
    """
    path = Path(path)
    rows = []
    try:
        # split at line feeds only: a JSON string may hold U+2028 and other things that `splitlines` takes for line ends
        with open(path, encoding="utf-8", newline="\n") as stream:
            for number, line in enumerate(stream, start=1):
                rows.append(_fields(path, number, line))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `python -m lander.translate` makes it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); {REMEDY}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from None
    if not rows:
        raise UserError(f"{path}: no translations in it, the test set is empty; give it at least one line")
    *texts, cut, loss = (list(column) for column in zip(*rows, strict=True))
    return Translations(*texts, cut=None if None in cut else cut, loss=None if None in loss else loss)


def _fields(path: Path, number: int, line: str) -> tuple[str | bool | float | None, ...]:
    """The four texts of a line, and `cut` and `loss`, which translations of other tools do not have."""
    try:
        row = json.loads(line)
    except ValueError:
        raise UserError(f"{path}: line {number} is not JSON (cut off or damaged); {REMEDY}") from None
    values = tuple(row.get(name) for name in FIELDS) if isinstance(row, dict) else ()
    if len(values) != len(FIELDS) or not all(isinstance(value, str) for value in values):
        wrong = [name for name in FIELDS if not (isinstance(row, dict) and isinstance(row.get(name), str))]
        raise UserError(f"{path}: line {number} has no text in {', '.join(wrong)}; {REMEDY}")
    cut = row.get("cut")
    if cut is not None and not isinstance(cut, bool):
        raise UserError(f"{path}: line {number}: cut is {cut!r}, not true or false; {REMEDY}")
    loss = row.get("loss")
    if loss is not None and not (type(loss) in (int, float) and 0 <= loss < math.inf):
        raise UserError(f"{path}: line {number}: loss is {loss!r}, not a number of nats; {REMEDY}")
    return (*values, cut, None if loss is None or loss >= MOST else loss)
