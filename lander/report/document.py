"""What an experiment found, as data: a title, tables and paragraphs, every number, a figure.

`write` makes four files in one folder, and `read` gets the same document back from them:

    <name>.json   title, blocks (tables and paragraphs, in order), name of the figure
    <name>.csv    every number, one a row
    <name>.svg    the figure, if there is one
    <name>.md     title and blocks again, for people: nothing reads it
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from lander.report.labels import in_order
from lander.report.tables import MISSING, Cell, Table, markdown
from lander.shared.errors import UserError
from lander.shared.files import check, write_text

PICTURE_FIRST = "forgetting"  # gain, forgetting and cost: the first figure of the page
ORDER = (
    "forgetting", "table1", "table2", "transfer", "readings", "sweep_k", "sweep_epsilon", "sweep_trained", "estimators",
    "agreement", "clusters", "second_model", "claims", "tune",
)  # fmt: skip
DRAWING = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
ALIVE = ("script", "foreignObject", "a", "animate", "set", "handler")
INSIDE = ("#", "data:image/png;base64,")  # a colour bar is a small bitmap


@dataclass(frozen=True)
class Document:
    """The outcome of an experiment. All text is plain text.

    Attributes:
        name: of the experiment and its files.
        title: one line: what is in it.
        blocks: tables and paragraphs, in order. Empty paragraphs are left out of the files.
        csv: every number, one a row; see `numbers`.
        svg: the figure, or None.
        files: further files to write, name -> text; `read` does not read them.
    """

    name: str
    title: str
    blocks: list[Table | str]
    csv: str
    svg: str | None = None
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """The content of <name>.json."""

    title: str
    blocks: list[Table | str]
    figure: str | None


STORED = TypeAdapter(Stored)


def write(document: Document, out: Path) -> None:
    """Write all files of a document, each whole or not at all; the JSON comes last."""
    name = document.name
    figure = f"{name}.svg" if document.svg else None
    blocks = [block for block in document.blocks if block]
    stored = STORED.dump_json(Stored(document.title, blocks, figure), indent=1, exclude_defaults=True)
    shown = [block if isinstance(block, str) else markdown(block) for block in blocks]
    text = "\n\n".join([f"# {document.title}", *shown]) + "\n"
    texts = {f"{name}.csv": document.csv, f"{name}.md": text}
    texts |= {figure: document.svg} if figure else {}
    texts |= {**document.files, f"{name}.json": stored.decode() + "\n"}
    for file, text in texts.items():
        write_text(out / file, text)


def read(path: Path) -> Document:
    """Read <name>.json, and the .csv and .svg beside it."""
    name = path.name.removesuffix(".json")
    try:
        stored = STORED.validate_json(_text(path), strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
        raise UserError(f"{path}: not the result of an experiment ({why}); remove it and run snakemake again") from None
    svg, picture = None, path.with_name(f"{name}.svg")
    if stored.figure:
        svg = _text(picture)
        check_svg(svg, picture)
    return Document(name, stored.title, stored.blocks, _text(path.with_name(f"{name}.csv")), svg)


def read_all(paths: Sequence[Path]) -> list[Document]:
    """All documents in folders, or of files <name>.json, in the order in which the page shows them."""
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder; --experiments takes what lander.experiments wrote")
        for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
            name = file.name.removesuffix(".json")  # a name may have dots
            if found.setdefault(name, file) != file:
                raise UserError(f"--experiments: {name} is in {found[name].parent} and {file.parent}")
    return [read(found[name]) for name in in_order(found, ORDER)]


def _text(path: Path) -> str:
    check(path)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run its experiment again") from None


def check_svg(text: str, path: Path) -> None:
    """Refuse scripts, handlers, and what is from another file or place: the picture becomes part of the page."""
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise UserError(f"{path}: not an SVG picture ({error}); remove it and run snakemake again") from None
    wrong = f"{path}: the picture holds more than a drawing ({{}}); draw it again with lander"
    for element in root.iter():
        tag = str(element.tag)
        if not tag.startswith(DRAWING) or tag.removeprefix(DRAWING) in ALIVE:
            raise UserError(wrong.format(f"<{tag.removeprefix(DRAWING)}>"))
        for name, value in element.attrib.items():
            if name.lower().startswith("on") or (name in ("href", LINK) and not value.startswith(INSIDE)):
                raise UserError(wrong.format(name))
            if re.search(r"url\((?!#)", value):
                raise UserError(wrong.format(value[:40]))
        if tag == f"{DRAWING}style" and re.search(r"@import|url\(|</", element.text or ""):
            raise UserError(wrong.format("a style that loads files"))


def numbers(data: pd.DataFrame) -> str:
    """A table as CSV, six significant digits."""
    return data.to_csv(index=False, lineterminator="\n", float_format="%.6g")


def number(
    value: float | None, digits: int, spread: float | None = None, sign: bool = False, best: bool = False
) -> Cell:
    """A mean and its spread. A loss that is not finite comes from a training that has diverged."""
    if value is None or not abs(value) < float("inf"):
        return Cell(MISSING if value is None else "diverged")
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    text = text if float(text) else text.lstrip("+-")  # no sign for what rounds to zero
    return Cell(text, bool(best), f"±{spread:.{digits}f}" if pd.notna(spread) else "")


def listed(values: Sequence[object]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    texts = [str(value) for value in values]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
