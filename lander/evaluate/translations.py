"""The translations of one test set and direction, as `lander.translate` writes them."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from lander.shared.errors import UserError
from lander.shared.files import check, whole_file
from lander.shared.tables import references_of

if TYPE_CHECKING:
    import pandas as pd

FIELDS = ("source", "reference", "raw", "hypothesis")
OTHERS = "other_references"  # of a line whose test item has several
MOST = 1e6  # nats of a reference; a model with more has diverged, and its loss is no number
REMEDY = "remove it and run snakemake again"


@dataclass(frozen=True)
class Translations:
    """Parallel lists, one entry per test item.

    `raw` is all that the model wrote, `hypothesis` what is left of it after it was cut at the first line break. `cut`
    says which outputs ended at the length limit rather than with the end token, `loss` what each reference cost the
    model behind the same prompt, in nats. `cut` and `loss` are None if any line lacks them; `loss` also if a value is
    `MOST` or more. `reference` is the first reference of an item, `others` are its further ones.
    """

    source: list[str]
    reference: list[str]
    raw: list[str]
    hypothesis: list[str]
    cut: list[bool] | None = None
    loss: Sequence[float | None] | None = None
    others: list[list[str]] | None = None

    @classmethod
    def of(cls, heldout: "pd.DataFrame", raw: list[str], hypothesis: list[str]) -> "Translations":
        """Of the items of a table `heldout`."""
        references = references_of(heldout)
        first, others = [one[0] for one in references], [one[1:] for one in references]
        return cls(heldout["source"].tolist(), first, raw, hypothesis, others=others)

    def __len__(self) -> int:
        return len(self.source)

    @property
    def references(self) -> list[list[str]]:
        """All references of each item, the first one first."""
        return [[first, *more] for first, more in zip(self.reference, self.others or [()] * len(self), strict=True)]


def write(path: str | Path, items: Translations) -> None:
    """Write a file of translations, one JSON object a line."""
    count = len(items)
    optional = {OTHERS: items.others, "cut": items.cut, "loss": items.loss}
    columns = [getattr(items, name) for name in FIELDS] + [column or [None] * count for column in optional.values()]
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as stream:
        for row in zip(*columns, strict=True):
            found = dict(zip((*FIELDS, *optional), row, strict=True))
            kept = {name: value for name, value in found.items() if name != OTHERS or value}
            stream.write(json.dumps(kept, ensure_ascii=False) + "\n")


def streams(references: Iterable[Sequence[str]]) -> list[list[str | None]]:
    """The references of all items as sacreBLEU takes them: first ones, second ones; None where an item has fewer."""
    return [list(stream) for stream in zip_longest(*references)]


def read(path: str | Path) -> Translations:
    """Read a file of translations. UserError names a damaged line by its number."""
    path = Path(path)
    check(path)
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
    *texts, cut, loss, others = (list(column) for column in zip(*rows, strict=True))
    return Translations(*texts, None if None in cut else cut, None if None in loss else loss, others)


def check_items(path: str | Path, items: Translations, sources: list[str]) -> None:
    """Check that a file of translations has all sentences of its test set, in their order. It may be a user's own."""
    if len(items) != len(sources):
        wrong = f"{len(items):,} translations, and the test set has {len(sources):,} sentences"
    elif other := [line for line, pair in enumerate(zip(items.source, sources, strict=True)) if len(set(pair)) > 1]:
        wrong = f"line {other[0] + 1} has another source than that line of the test set"
    else:
        return
    raise UserError(f"{path}: {wrong}; every line of the test set needs its translation, or {REMEDY}")


def _fields(place: str, line: str) -> tuple[str | bool | float | list[str] | None, ...]:
    """The four texts of a line, and `cut`, `loss` and further references, which need not be there."""
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
    others = row.get(OTHERS) or []
    if not isinstance(others, list) or not all(isinstance(text, str) for text in others):
        raise UserError(f"{place}: {OTHERS} is not a list of texts; {REMEDY}")
    return (*(row[name] for name in FIELDS), cut, None if loss is None or loss >= MOST else loss, others)
