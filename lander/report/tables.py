"""Tables as data and as Markdown, and numbers as text. table.html turns a table into HTML and escapes its text."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

MISSING = "–"


@dataclass(frozen=True)
class Cell:
    """A cell: its text, whether it is the best of its column, and the spread over seeds.

    Attributes:
        interval: the 95% interval, shown below the text.
        marks: letters of the baselines that the score is significantly ahead of; `ahead` has their names.
        hover: all of this in words.
        value: the number to sort by, if the text is not a plain number (`12 min`).
        lang: language of the text, if it is user text.
    """

    text: str
    best: bool = False
    spread: str = ""
    interval: str = ""
    marks: str = ""
    ahead: str = ""
    hover: str = ""
    value: float | None = None
    lang: str = ""


@dataclass(frozen=True)
class Head:
    """A heading over `span` columns."""

    text: str
    span: int = 1


@dataclass(frozen=True)
class Table:
    """A table with one or two rows of headings. Every row starts with its label."""

    caption: str
    corner: str
    heads: list[Head]
    rows: list[tuple[str, list[Cell]]]
    groups: list[Head] = field(default_factory=list)  # headings above `heads`
    notes: list[str] = field(default_factory=list)
    total: bool = False  # the last row is a sum
    wide: bool = False  # cells hold sentences, which may be broken into lines
    word: str = "best"  # what bold means, for screen readers

    @classmethod
    def of(
        cls,
        caption: str,
        corner: str,
        columns: Iterable[str | tuple[str, str]],
        rows: Iterable[tuple[str, Iterable[Any]]],
        **more: Any,
    ) -> "Table":
        """A table of plain values or cells. Its columns are headings, or pairs of a group and a heading."""
        pairs = [("", column) if isinstance(column, str) else column for column in columns]
        groups = [Head(group, len(list(own))) for group, own in groupby(pairs, key=lambda pair: pair[0])]
        cells = [(str(label), [one if isinstance(one, Cell) else Cell(str(one)) for one in row]) for label, row in rows]
        shown = groups if any(group.text for group in groups) else []
        return cls(caption, corner, [Head(heading) for _, heading in pairs], cells, shown, **more)


def headings(table: Table) -> list[str]:
    """The headings of a table in one row; the groups tell columns of one heading apart."""
    heads = [head.text for head in table.heads]
    if table.groups and len(set(heads)) < len(heads):
        groups = [group.text for group in table.groups for _ in range(group.span)]
        heads = [f"{group} {head}".strip() for group, head in zip(groups, heads, strict=True)]
    return heads


def markdown(table: Table) -> str:
    """A table as Markdown, its caption above and its notes below; a best cell is `**18.9** ±0.3`."""
    rows = [[table.corner, *headings(table)]]
    for label, cells in table.rows:
        texts = [f"**{cell.text}**" if cell.best else cell.text for cell in cells]
        rows.append([label, *(f"{text} {cell.spread}".strip() for text, cell in zip(texts, cells, strict=True))])
    rows = [[text.replace("|", "\\|") for text in row] for row in rows]
    first, *others = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * first, *("-" * (width - 1) + ":" for width in others)])
    lines = [
        " | ".join([label.ljust(first), *(text.rjust(width) for text, width in zip(texts, others, strict=True))])
        for label, *texts in rows
    ]
    return "\n\n".join([f"## {table.caption}", "\n".join(f"| {line} |" for line in lines), *table.notes])


# ---------------------------------------------------------------- numbers


def first(texts: Sequence[str], number: int = 3) -> str:
    """The first few texts, and how many more there are."""
    return ", ".join(texts[:number]) + (f" and {len(texts) - number} more" if len(texts) > number else "")


def counted(numbers: Mapping[str, int]) -> list[str]:
    """`1 seed`, `10 directions`."""
    return [f"{number} {thing}{'s' if number != 1 else ''}" for thing, number in numbers.items()]


def duration(seconds: float | None) -> str:
    """`45 s`, `12 min`, `3.4 h`."""
    if seconds is None:
        return MISSING
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def quantity(value: float | None, unit: str = "") -> str:
    """`950`, `12.3k`, `4.56M`, `7.07G`, `1.3 GB`, with three digits."""
    if value is None or math.isnan(value):
        return MISSING
    rounded = float(f"{value:.3g}")  # 999,700 is 1M, not 1000k
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rounded >= size:
            return f"{rounded / size:.3g}{unit and ' '}{letter}{unit}"
    return f"{value:.0f}{unit and ' '}{unit}"


def size(value: float | None) -> str:
    """Bytes: `1.3 GB`."""
    return quantity(value, "B")


def measured(value: float | None, shown: Callable[[float], str]) -> Cell:
    """A number as people read it, which sorts by its value; a dash if it is not known."""
    return Cell(MISSING) if value is None or math.isnan(value) else Cell(shown(value), value=value)


def signed(value: float, digits: int = 1) -> str:
    """`+1.2`, `−3.4`; `0.0` without a sign for what rounds to zero."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text[1:]
