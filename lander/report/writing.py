"""What an experiment writes: numbers as CSV, tables as Markdown, a figure as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from lander.report.tables import MISSING, Cell, Head, Table
from lander.shared.files import write_text


@dataclass(frozen=True)
class Document:
    """The outcome of an experiment.

    Attributes:
        name: of the experiment and its files.
        first: the first line: what is in it.
        blocks: tables and paragraphs, in order.
        data: every number, one a row.
        svg: the figure, or nothing.
        files: further files, name -> text.
    """

    name: str
    first: str
    blocks: list[Table | str]
    data: pd.DataFrame
    svg: str | None = None
    files: dict[str, str] = field(default_factory=dict)


def write(document: Document, out: Path) -> None:
    """Write all files; each whole or not at all, and none before all are made."""
    texts = {
        f"{document.name}.csv": document.data.to_csv(index=False, lineterminator="\n", float_format="%.6g"),
        f"{document.name}.md": markdown(document),
        **({f"{document.name}.svg": document.svg} if document.svg else {}),
        **document.files,
    }
    for name, text in texts.items():
        write_text(out / name, text)


def markdown(document: Document) -> str:
    """The document as Markdown whose columns line up in a terminal."""
    blocks = [block if isinstance(block, str) else table_text(block) for block in document.blocks]
    return "\n\n".join([f"# {document.first}", *blocks]) + "\n"


def table_text(table: Table) -> str:
    """A table with its caption above and its notes below."""
    groups = [group.text for group in table.groups for _ in range(group.span)] or [""] * len(table.heads)
    heads = [f"{group} {head.text}".strip() for group, head in zip(groups, table.heads, strict=True)]
    rows = [[table.corner, *heads], *([label, *map(cell_text, cells)] for label, cells in table.rows)]
    rows = [[text.replace("|", "\\|") for text in row] for row in rows]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(row, widths) for row in rows]
    rule = [("-" * width if place == 0 else "-" * (width - 1) + ":") for place, width in enumerate(widths)]
    text = "\n".join([lines[0], _line(rule, widths), *lines[1:]])
    return "\n\n".join([f"## {table.caption}", text, *table.notes])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        text.ljust(width) if place == 0 else text.rjust(width) for place, (text, width) in enumerate(_pair(row, widths))
    ]
    return f"| {' | '.join(cells)} |"


def _pair(row: Sequence[str], widths: Sequence[int]) -> list[tuple[str, int]]:
    return list(zip(row, widths, strict=True))


def cell_text(cell: Cell) -> str:
    """`**18.9** ±0.3`; bold is the best."""
    text = f"**{cell.text}**" if cell.best else cell.text
    return f"{text} {cell.spread}" if cell.spread else text


def number(
    value: float | None, digits: int, spread: float | None = None, sign: bool = False, best: bool = False
) -> Cell:
    """A mean and its spread; a loss that is not finite is a training that has diverged."""
    if value is None:
        return Cell(MISSING)
    if not abs(value) < float("inf"):
        return Cell("diverged")
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    if not float(text):
        text = text.replace("-", "").replace("+", "")  # no sign for what rounds to zero
    shown = spread is not None and spread == spread
    return Cell(text, best, f"±{spread:.{digits}f}" if shown else "")


def heads(texts: Sequence[str]) -> list[Head]:
    """One heading a column."""
    return [Head(text) for text in texts]


def listed(values: Sequence[object]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    texts = [str(value) for value in values]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
