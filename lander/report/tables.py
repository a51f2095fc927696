"""Tables as data, and numbers as text. table.html turns a table into HTML and escapes its text."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

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


def signed(value: float, digits: int = 1) -> str:
    """`+1.2`, `−3.4`; `0.0` without a sign for what rounds to zero."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text[1:]
