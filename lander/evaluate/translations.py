"""The translations of one test set and direction, as `lander.translate` writes them."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from lander.shared.errors import UserError

FIELDS = ("source", "reference", "raw", "hypothesis")
MOST = 1e6  # nats of a reference; a model with more has diverged, and its loss is no number
REMEDY = "remove it and run snakemake again"


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
    """Read a file of translations. UserError names a damaged line by its number."""
    path = Path(path)
    rows = []
    try:
        # split at line feeds only: a JSON string may hold U+2028 and other things that `splitlines` takes for line ends
        with open(path, encoding="utf-8", newline="\n") as stream:
            for number, line in enumerate(stream, start=1):
                rows.append(_fields(f"{path}: line {number}", line))
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


def _fields(place: str, line: str) -> tuple[str | bool | float | None, ...]:
    """The four texts of a line, and `cut` and `loss`, which translations of other tools do not have."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise UserError(f"{place} is not JSON (cut off or damaged); {REMEDY}") from None
    row = row if isinstance(row, dict) else {}
    if wrong := [name for name in FIELDS if not isinstance(row.get(name), str)]:
        raise UserError(f"{place} has no text in {', '.join(wrong)}; {REMEDY}")
    cut, loss = row.get("cut"), row.get("loss")
    if cut is not None and not isinstance(cut, bool):
        raise UserError(f"{place}: cut is {cut!r}, not true or false; {REMEDY}")
    if loss is not None and not (type(loss) in (int, float) and 0 <= loss < math.inf):
        raise UserError(f"{place}: loss is {loss!r}, not a number of nats; {REMEDY}")
    return (*(row[name] for name in FIELDS), cut, None if loss is None or loss >= MOST else loss)
