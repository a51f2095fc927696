"""What experiments and analyses wrote, for the page: their Markdown as tables and paragraphs, their pictures.

`lander.report.writing` writes one dialect: a first line `# what is in it`, `## caption` before each table,
pipe tables whose best cells are bold, and paragraphs. Anything else is shown as a paragraph of plain text.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lander.report.tables import Cell, Head, Table
from lander.shared.errors import UserError

PICTURE_FIRST = "forgetting"  # gain, forgetting and cost: the first figure of the page
ORDER = (
    "forgetting", "table1", "table2", "transfer", "readings", "sweep_k", "sweep_epsilon", "estimators", "agreement",
    "clusters", "second_model", "claims", "tune",
)  # fmt: skip
OURS = ("layers", "awareness")  # the report draws these figures itself
SENTENCE = 60  # characters of a cell that are more than a name or a number: it may be broken into lines
CELLS = re.compile(r"(?<!\\)\|")
RULE = re.compile(r"\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?$")
BOLD = re.compile(r"\*\*(.+?)\*\*\s*(.*)$")
DRAWING = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
ALIVE = ("script", "foreignObject", "a", "animate", "set", "handler")
INSIDE = ("#", "data:image/png;base64,")  # a colour bar is a small bitmap


@dataclass(frozen=True)
class Document:
    """One experiment: `blocks` are tables and paragraphs in order; `svg` and `csv` are None where there is none."""

    name: str
    title: str
    blocks: list[Table | str]
    svg: str | None = None
    csv: str | None = None

    @property
    def tables(self) -> list[Table]:
        return [block for block in self.blocks if isinstance(block, Table)]

    @property
    def paragraphs(self) -> list[str]:
        return [block for block in self.blocks if isinstance(block, str)]


def read_documents(paths: Sequence[Path]) -> list[Document]:
    """All experiments in folders, or of files <name>.md, .csv or .svg, in the order in which the page shows them.

    Raises:
        UserError: a path does not exist, or a file in it cannot be read.
    """
    bases: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder; --experiments takes what `lander.experiments` wrote")
        for file in sorted(path.glob("*.md")) if path.is_dir() else [path]:
            base = file.with_suffix("")  # <folder>/<name>
            if bases.setdefault(base.name, base) != base:
                raise UserError(f"--experiments: {base.name} is in {bases[base.name].parent} and {base.parent}")
    found = [_read(base) for name, base in bases.items() if _file(base, ".md").is_file() and name not in OURS]
    return sorted(found, key=lambda one: (ORDER.index(one.name) if one.name in ORDER else len(ORDER), one.name))


def _read(base: Path) -> Document:
    text, svg, csv = (_text(_file(base, suffix)) for suffix in (".md", ".svg", ".csv"))
    title, blocks = parse(text or "")
    if svg is not None:
        check_svg(svg, _file(base, ".svg"))
    return Document(base.name, title or base.name, blocks, svg, csv)


def _file(base: Path, suffix: str) -> Path:
    return base.with_name(base.name + suffix)  # a name may have dots


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it and run snakemake again") from None


def parse(text: str) -> tuple[str, list[Table | str]]:
    """The first line, and the tables and paragraphs below it.

    The paragraphs between a table and the next heading are the table's notes.
    """
    title, caption, blocks = "", "", []
    for part in re.split(r"\n\s*\n", text.strip()):
        lines = part.strip().splitlines()
        if not lines:
            continue
        if lines[0].startswith("# ") and not title:
            title, lines = lines[0][2:].strip(), lines[1:]
        elif lines[0].startswith("## "):
            caption, lines = lines[0][3:].strip(), lines[1:]
        if len(lines) >= 2 and "|" in lines[0] and RULE.fullmatch(lines[1].strip()):
            blocks.append(_table(caption or title, lines))
        elif lines and caption and blocks and isinstance(blocks[-1], Table) and blocks[-1].caption == caption:
            blocks[-1].notes.append(plain(" ".join(lines)))
        elif lines:
            blocks.append(plain(" ".join(lines)))
    return plain(title), blocks


def plain(text: str) -> str:
    """Without the signs of Markdown for bold and code."""
    return re.sub(r"\*\*(.+?)\*\*|`([^`]+)`", lambda m: m[1] or m[2], text).strip()


def _table(caption: str, lines: list[str]) -> Table:
    corner, *heads = _cells(lines[0])
    rows = []
    for line in lines[2:]:
        label, *cells = [*_cells(line), *[""] * len(heads)][: len(heads) + 1]
        rows.append((plain(label), [_cell(text) for text in cells]))
    wide = any(len(cell.text) > SENTENCE for _, cells in rows for cell in cells)
    return Table(plain(caption), plain(corner), [Head(plain(head)) for head in heads], rows, wide=wide)


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|")
    inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
    return [cell.strip().replace("\\|", "|") for cell in CELLS.split(inner)]


def _cell(text: str) -> Cell:
    """`**18.9** ±0.3` is the best, with a spread."""
    bold = BOLD.fullmatch(text)
    rest = (bold[1] + " " + bold[2]).strip() if bold else text
    number, sign, spread = rest.partition(" ±")
    return Cell(number, bool(bold), f"±{spread}") if sign else Cell(plain(rest), bool(bold))


def check_svg(text: str, path: Path) -> None:
    """See that a picture is only a picture, for it goes into the page as it is.

    Raises:
        UserError: not XML, or with scripts, handlers or anything from elsewhere.
    """
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
