"""TMX translation memories, read unit by unit, so they may have any size: plain, .gz, or .zip with one memory in it.

    <tu><tuv xml:lang="en-US"><seg>Good <bpt i="1">&lt;b></bpt>morning</seg></tuv><tuv xml:lang="de">...</tuv></tu>

- A wanted language is served by its own code, otherwise by a longer one: `en` by en-US, `zh` by zh-CN. If a unit has
  two such codes (zh-CN and zh-TW), the choice is unclear: an error, and `columns` names one of them.
- The text of a segment stays. Codes of a format (<bpt>, <ept>, <it>, <ph>, <ut>) are removed with their content; of
  <hi> and unknown tags only the tag is removed. Line breaks become spaces. Of two variants in one language the first
  counts.
- Nothing outside the file is read: files that declare entities are refused, because entities allow expansion and
  file-reading attacks; an external DTD is not opened. Units are numbered by their place in the file, from 0, whichever
  languages they hold.
"""

import re
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import NoReturn
from xml.parsers import expat

from lander.data.textfiles import TextFile
from lander.shared.errors import UserError

CHUNK = 1 << 16  # bytes read at a time
LONGEST_TOKEN = 1 << 22  # bytes of one tag or comment: the parser holds all of it in memory
LONGEST_SEGMENT = 1_000_000  # characters
DEEPEST = 100  # elements inside each other
MOST_LANGUAGES = 1_000  # of one unit
PEEKED_UNITS = 1_000  # from which the languages of a file are taken
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")  # the second: an empty archive
CODES = frozenset({"bpt", "ept", "it", "ph", "ut"})

_BREAK = re.compile(r"[ \t]*[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]\s*")

Unit = dict[str, str]  # xml:lang of the file, in lower case and with hyphens -> text


def rows(
    path: str, codes: Sequence[str], start: int, stop: int | None, skipped: Counter[str]
) -> Iterator[tuple[int, tuple[str, ...], float]]:
    """Yield (number of the unit, a text per code, share of the file read) for the units that hold all codes.

    UserError if the file is missing, damaged or no TMX, ends before `stop`, or holds no unit with all codes. The entry
    `units` of `skipped` counts the units without one of the codes; a note on stderr says how many.
    """
    wanted = [normal(code) for code in codes]
    count, seen = 0, Counter()
    for number, line, unit, share in islice(units(path), stop):
        count = number + 1
        if number < start:
            continue
        texts = tuple(_text_of(unit, code, path, line) for code in wanted)
        if None in texts:
            seen.update(unit.keys())
            skipped["units"] += 1
        else:
            yield number, texts, share
    if count <= start or (stop is not None and count < stop):
        raise UserError(f"{path}: `lines` asks for [{start}, {stop}] but the file has {count:,} translation units")
    if skipped["units"] == count - start:
        there = ", ".join(f"{code} ({units:,})" for code, units in seen.most_common(20)) or "none"
        raise UserError(f"{path}: no translation unit has all of {', '.join(codes)}; its languages are: {there}")
    if skipped["units"]:
        left_out = f"{skipped['units']:,} translation units without {' or '.join(codes)} are left out"
        print(f"lander data: {path}: {left_out}", file=sys.stderr)


def languages(path: str) -> tuple[str, ...]:
    """Codes that the first units can serve: zh-hant-tw serves zh, zh-Hant and zh-Hant-TW."""
    found = dict.fromkeys(code for _, _, unit, _ in islice(units(path), PEEKED_UNITS) for code in unit)
    forms: dict[str, None] = {}
    for first, *rest in (code.split("-") for code in found):
        cases = {2: str.upper, 4: str.title}
        parts = [first, *(cases.get(len(part), str)(part) for part in rest)]
        forms |= dict.fromkeys("-".join(parts[: count + 1]) for count in range(len(parts)))
    return tuple(forms)


def units(path: str) -> Iterator[tuple[int, int, Unit, float]]:
    """Yield (number, line, texts by language, share of the file read) of every translation unit.

    UserError if the file is missing or damaged, not well-formed XML, declares entities, or holds no unit.
    """
    number = 0
    parser = _Parser(str(path))
    with TextFile(path) as file:
        for chunk in _chunks(file):
            for line, unit in parser.feed(chunk):
                yield number, line, unit, file.share_read
                number += 1
    if not number:
        raise UserError(f"{path}: holds no translation unit (<tu>); is it a TMX file?")


def _chunks(file: TextFile) -> Iterator[bytes]:
    """The bytes of a memory, which may be packed; the last chunk is empty. A .zip is never unpacked to the disk."""
    with ExitStack() as stack:
        read, zipped = file.read_bytes, any(map(file.starts_with, ZIP_MAGICS))
        try:
            if zipped:
                archive = stack.enter_context(zipfile.ZipFile(file.raw))
                members = [item for item in archive.infolist() if not item.is_dir()]
                memories = [item for item in members if item.filename.lower().endswith(".tmx")]
                if len(memories) != 1:
                    names = ", ".join(item.filename[:60] for item in members[:5]) or "nothing"
                    raise UserError(
                        f"{file.path}: must hold exactly one .tmx file, found {len(memories)} (in it: {names})"
                    )
                read = stack.enter_context(archive.open(memories[0])).read
            chunk = read(CHUNK)
            if not chunk:
                raise UserError(f"{file.path}: there is nothing in it; is it the right file?")
            while chunk:
                yield chunk
                chunk = read(CHUNK)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
            raise UserError(f"{file.path}: the zip file is damaged ({error}); get it again") from None
        except (RuntimeError, NotImplementedError) as error:  # a password, or an unknown compression
            raise UserError(f"{file.path}: cannot be unpacked ({error}); unpack it by hand") from None
    yield b""


class _Parser:
    """Feeds bytes to expat and collects whole units."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._units: list[tuple[int, Unit]] = []
        self._fed = 0  # bytes
        self._open: list[str] = []  # elements, outermost first
        self._unit: Unit | None = None
        self._line = 0
        self._language: str | None = None
        self._segment: list[str] | None = None
        self._length = 0  # characters of the segment
        self._codes = 0  # open elements of the segment that hold a format's code
        self._expat = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.EntityDeclHandler = lambda name, *_: self._refuse(
            f"declares the entity {name[:40]!r}; a TMX file needs none, and such files are refused"
        )
        parser.SkippedEntityHandler = lambda name, *_: self._refuse(
            f"the entity &{name[:40]}; is not defined; write the character itself"
        )
        parser.ExternalEntityRefHandler = lambda *_: 0

    def feed(self, chunk: bytes) -> list[tuple[int, Unit]]:
        """Parse the next bytes; no bytes are the end of the file. Returns (line, unit) of the units that end here."""
        try:
            self._expat.Parse(chunk, not chunk)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            raise UserError(f"{self.path}, line {error.lineno}: not well-formed XML ({reason})") from None
        except (ValueError, LookupError) as error:  # an encoding that Python does not know or cannot give to expat
            self._refuse(f"cannot be decoded ({error}); save the file as UTF-8")
        self._fed += len(chunk)
        if self._fed - self._expat.CurrentByteIndex > LONGEST_TOKEN + CHUNK:
            self._refuse(f"a tag or comment of more than {LONGEST_TOKEN:,} bytes; the file is damaged")
        found, self._units = self._units, []
        return found

    def _refuse(self, message: str) -> NoReturn:
        raise UserError(f"{self.path}, line {self._expat.CurrentLineNumber}: {message}") from None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._open and name != "tmx":
            self._refuse(f"the file begins with <{name[:40]}>, not with <tmx>; is it a TMX file?")
        self._open.append(name)
        if len(self._open) > DEEPEST:
            self._refuse(f"more than {DEEPEST} elements inside each other; the file is damaged")
        if self._segment is not None:
            self._codes += self._codes > 0 or name in CODES
        elif name == "tu":
            if self._unit is not None:
                self._refuse("a <tu> inside a <tu>; the file is damaged")
            self._unit, self._line = {}, self._expat.CurrentLineNumber
        elif name == "tuv" and self._unit is not None:
            code = attributes.get("xml:lang") or attributes.get("lang")  # `lang` in TMX 1.1
            if not code:
                self._refuse("a <tuv> without xml:lang; its language is not known")
            if len(self._unit) > MOST_LANGUAGES:
                self._refuse(f"more than {MOST_LANGUAGES:,} languages in one unit; the file is damaged")
            self._language = normal(code)
        elif name == "seg" and self._language is not None:
            self._segment, self._length, self._codes = [], 0, 0

    def _end(self, name: str) -> None:
        self._open.pop()
        if self._segment is not None and name == "seg" and not self._codes:
            self._unit.setdefault(self._language, _BREAK.sub(" ", "".join(self._segment)).strip())
            self._segment = None
        elif self._segment is not None:
            self._codes -= self._codes > 0
        elif name == "tuv":
            self._language = None
        elif name == "tu" and self._unit is not None:
            self._units.append((self._line, self._unit))
            self._unit = None

    def _characters(self, text: str) -> None:
        if self._segment is not None and not self._codes:
            self._segment.append(text)
            self._length += len(text)
            if self._length > LONGEST_SEGMENT:
                self._refuse(f"a segment of more than {LONGEST_SEGMENT:,} characters; the file is damaged")


def _text_of(unit: Unit, code: str, path: str, line: int) -> str | None:
    """A unit's text in a language, by its own code or by the one longer code that serves it; None if it has none."""
    serving = [code] if code in unit else [other for other in unit if other.startswith(f"{code}-")]
    if len(serving) > 1:
        raise UserError(
            f"{path}, line {line}: {' and '.join(serving)} both serve {code} in one unit; "
            f"choose with `columns: {{{code}: {serving[0]}, ...}}`"
        )
    return unit[serving[0]] if serving else None


def normal(code: str) -> str:
    """A code as in `Unit`."""
    return code.strip().replace("_", "-").lower()
