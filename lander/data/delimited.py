r"""Rows of CSV and TSV files, as they are written.

Many TSV files are plain text with tabs: a quote in them is a quote. A CSV reader takes it for the beginning of a field
that may hold tabs and line breaks, and swallows rows up to the next quote. So quotes of a TSV file are text, unless
all of them are where one of `WRITERS` sets them. In CSV, a lone quote is an error.
"""

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from lander.data.textfiles import LONGEST_LINE, TextFile
from lander.shared.errors import UserError

DIALECT = {"quotechar": '"', "quoting": csv.QUOTE_MINIMAL, "escapechar": None, "doublequote": True}
EXCEL = r'[\t"\r\n,]'
ENOUGH = 20  # rows with quotes; in fewer, only direct speech may have commas
WRITERS = (  # the texts that a program sets in quotes
    r'[\t"\r\n]',  # Python, pandas, PostgreSQL
    EXCEL,
    "",
    r"^(?!(?:NA|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$)",  # R
)


def rows(path: str, options: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (place, {column: text}) of a file, packed or not, whose columns are named in its first line.

    Of `options`, named as by pandas and the cards of data sets, count the separator, names of columns, header, lines to
    skip, quotes and encoding. UserError names the first line whose quotes or number of fields are wrong.
    """
    sep = options.get("delimiter") or options.get("sep") or ","
    columns = list(options.get("column_names") or options.get("names") or ())
    header = options.get("header", "infer")
    begin = header + 1 if columns and isinstance(header, int) else 0
    dialect = {key: value for key, usual in DIALECT.items() if (value := options.get(key, usual)) != usual}
    escaped = False
    if sep == "\t" and not dialect:
        found = [with_escapes for with_escapes in (False, True) if _quoted(path, options, with_escapes)]
        dialect, escaped = ({}, found[0]) if found else ({"quoting": csv.QUOTE_NONE}, False)
    raw: list[str] = []  # the lines of a row
    across, plain = 0, sep != "\t" and not dialect
    with TextFile(path) as file:
        file.refuse_foreign()
        lines = csv.reader(_lines(file, options, escaped, raw), delimiter=sep, strict=True, **dialect)
        try:
            for number, row in enumerate(lines):
                if not columns:
                    columns = row if header is not None else list(map(str, range(len(row))))
                    begin = number + (header is not None)
                if len(columns) - columns.count("") > len({*columns} - {""}):
                    raise UserError(f"{path}: two columns have one name ({', '.join(columns):.200})")
                if row and len(row) != len(columns):
                    raise UserError(
                        f"{path}, line {lines.line_num}: {len(row)} fields, but there are {len(columns)} columns; "
                        "is a quote or a separator in the text?"
                    )
                across = across or (len(raw) > 1 and lines.line_num)
                plain = plain and (not row or all(line.count(sep) == len(columns) - 1 for line in raw))
                raw.clear()
                if row and number >= begin:
                    texts = dict(zip(columns, row, strict=True))
                    texts.pop("", None)
                    yield f"{path}, line {lines.line_num}", texts
        except csv.Error as error:
            advice = "" if sep == "\t" else "; in CSV, text with quotes stands in quotes, with each of its own doubled"
            advice += ' (or its card says `escapechar: "\\\\"`)' if r"\"" in "".join(raw) else ""
            raise UserError(f"{path}, line {lines.line_num}: {error}{advice}") from None
        except UnicodeError as error:
            raise UserError(
                f"{path}: no valid UTF-8 behind line {lines.line_num} ({error.reason}); save the file as UTF-8, "
                "or name its `encoding` in the card (README.md)"
            ) from None
        if across and plain:
            raise UserError(
                f"{path}, line {across}: a text in quotes goes over several lines, but each line has all its columns "
                "without that; set texts with quotes in quotes and double their own, or write the file as TSV or JSON"
            )


def _quoted(path: str, options: dict[str, Any], escaped: bool) -> bool:
    """Whether quotes of a TSV file stand as one of `WRITERS` sets them.

    If texts would span lines, but each line has its columns without that, quotes are text.
    """
    raw: list[str] = []
    columns, quoted, doubled, spans, plain = 0, 0, False, False, True
    ways = list(map(re.compile, WRITERS))
    with TextFile(path) as file:
        try:
            for row in csv.reader(_lines(file, options, escaped, raw), delimiter="\t", strict=True):
                columns = columns or len(row)
                line = "".join(raw).rstrip("\r\n")
                bare = re.sub(r'(?<![^\t])""(?![^\t])', "", line)  # PostgreSQL: "" is no NULL
                ways = [way for way in ways if not row or _written(row, way) in (line, bare)]
                if not ways or (row and len(row) != columns):
                    return False
                quoted += '"' in line
                doubled |= '""' in bare
                spans |= len(raw) > 1
                plain &= not row or all(one.count("\t") == columns - 1 for one in raw)
                raw.clear()
        except (csv.Error, UnicodeError):
            return False
    sure = doubled or quoted >= ENOUGH or [way.pattern for way in ways] != [EXCEL]
    return quoted > 0 and sure and not (spans and plain)


def _written(row: list[str], way: re.Pattern[str]) -> str:
    return "\t".join('"{}"'.format(text.replace('"', '""')) if way.search(text) else text for text in row)


def _lines(file: TextFile, options: dict[str, Any], escaped: bool, raw: list[str]) -> Iterator[str]:
    """The lines of a file, each of which is added to `raw`. With `escaped`, `\"` (as R writes it) becomes `""`."""
    csv.field_size_limit(LONGEST_LINE)
    encoding = options.get("encoding") or "utf-8"
    encoding = "utf-8-sig" if re.fullmatch("utf-?8", encoding, re.IGNORECASE) else encoding
    skipped = options.get("skiprows") or ()
    skipped = range(skipped) if isinstance(skipped, int) else skipped
    for number, line in enumerate(io.TextIOWrapper(file.stream, encoding=encoding, newline="")):
        if number in skipped:
            continue
        raw.append(line.replace(r"\"", '""') if escaped else line)
        yield raw[-1]
