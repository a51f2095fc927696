"""How CSV and TSV files write quotes and columns, found out before a library that guesses reads them.

Many TSV files are plain text with tabs: a quote in them is a quote. pandas takes it for the beginning of a field that
may hold tabs and line breaks, and swallows rows up to the next quote. In CSV, a lone quote is an error.
"""

import csv
import io
from collections.abc import Sequence
from typing import TextIO

import fsspec

from lander.data.textfiles import LONGEST_LINE
from lander.shared.errors import UserError

Layout = tuple[int, tuple[str, ...]]  # kind of quoting (of the module csv), names of the columns


def layout(path: str, sep: str, names: Sequence[str] = ()) -> Layout:
    """The layout of a file whose columns have these names, or those in its first line; without one, it is left out.

    UserError names the first line whose quotes or number of fields are wrong.
    """
    quoting = csv.QUOTE_MINIMAL if sep != "\t" or _quoted(path, sep) else csv.QUOTE_NONE
    columns = list(names)
    with _opened(path) as stream:
        lines = csv.reader(stream, delimiter=sep, quoting=quoting, strict=True)
        try:
            for row in lines:
                columns = columns or row
                if row and len(row) != len(columns):
                    raise UserError(
                        f"{path}, line {lines.line_num}: {len(row)} fields, but there are {len(columns)} columns; "
                        "is a quote or a separator in the text?"
                    )
        except csv.Error as error:
            advice = "; in CSV, text with quotes stands in quotes, with each of its own doubled" if sep != "\t" else ""
            raise UserError(f"{path}, line {lines.line_num}: {error}{advice}") from None
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not valid UTF-8 ({error.reason}); save the file as UTF-8") from None
    return quoting, tuple(filter(None, columns))


def _quoted(path: str, sep: str) -> bool:
    """Whether quotes stand as a CSV writer sets them: around each text that needs them, or around every text.

    If texts would span lines, but each line has its columns without that, quotes are text.
    """
    raw: list[str] = []  # the lines of a row
    columns, some, spans, plain = 0, False, False, True
    ways = [csv.QUOTE_MINIMAL, csv.QUOTE_ALL]
    with _opened(path) as stream:
        try:
            for row in csv.reader((raw.append(line) or line for line in stream), delimiter=sep, strict=True):
                columns = columns or len(row)
                ways = [way for way in ways if not row or _written(row, sep, way) == "".join(raw).rstrip("\r\n")]
                if not ways or (row and len(row) != columns):
                    return False
                some |= any('"' in line for line in raw)
                spans |= len(raw) > 1
                plain &= not row or all(line.count(sep) == columns - 1 for line in raw)
                raw.clear()
        except (csv.Error, UnicodeDecodeError):
            return False
    return some and not (spans and plain)


def _written(row: list[str], sep: str, quoting: int) -> str:
    line = io.StringIO()
    csv.writer(line, delimiter=sep, quoting=quoting).writerow(row)
    return line.getvalue().removesuffix("\r\n")


def _opened(path: str) -> TextIO:
    """A file, which may be packed or on the hub."""
    csv.field_size_limit(LONGEST_LINE)
    return fsspec.open(path, "rt", encoding="utf-8-sig", newline="", compression="infer").open()
