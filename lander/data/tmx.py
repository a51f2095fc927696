"""TMX translation memories, read unit by unit, so they may have any size: plain or packed, one memory in a zip file.

    <tu><tuv xml:lang="en-US"><seg>Good <bpt i="1">&lt;b></bpt>morning</seg></tuv><tuv xml:lang="de">...</tuv></tu>

- A wanted language is served by its own code, otherwise by a longer one (`en` by en-US, `zh` by zh-CN) or one of its
  script (`zh-Hant` by zh-TW). If a unit has two such codes (zh-CN and zh-TW), the choice is unclear: an error, and
  `columns` names one of them.
- The text of a segment stays. Codes of a format (<bpt>, <ept>, <it>, <ph>, <ut>) are removed with their content; of
  <hi> and unknown tags only the tag is removed. What stands for a break or a space leaves a space: <ph type="lb"/>,
  <ph>&lt;br/></ph>, <br/>. Line breaks become spaces. Of two variants in one language the first counts.
- What XML does not allow (control characters, bytes that are no text, a lone `&`, `&nbsp;`) becomes `BAD`. A unit with
  it in a wanted language is left out and counted; so is one whose elements are not those of TMX. Tags that do not fit
  together are an error.
- Nothing outside the file is read: files that declare entities are refused, because entities allow expansion and
  file-reading attacks; an external DTD is not opened. Units are numbered by their place in the file, from 0, whichever
  languages they hold.
"""

import codecs
import html
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import NoReturn
from xml.parsers import expat

from lander.data.textfiles import TextFile
from lander.shared.errors import UserError
from lander.shared.languages import base_language, parse_language

CHUNK = 1 << 16  # bytes read at a time
LONGEST_TOKEN = 1 << 22  # bytes of one tag or comment: the parser holds all of it in memory
LONGEST_SEGMENT = 1_000_000  # characters
DEEPEST = 100  # elements inside each other
MOST_LANGUAGES = 1_000  # of one unit
PEEKED_UNITS = 1_000  # from which the languages of a file are taken
CODES = frozenset({"bpt", "ept", "it", "ph", "ut", "seg"})  # a <seg> in a <seg> is damage
SPARE = "und-x-"  # begins the key of a text that no language has: a second variant, or one without xml:lang
LEFT_OUT = UNTRANSLATED, UNREADABLE = "untranslated", "unreadable"  # reasons why a unit is
BAD = "\ufdd0"  # stands for what XML does not allow; no character itself

_BREAK = re.compile(r"[ \t]*[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]\s*")
_GAP = "\x1f"  # stands for a code that was a break or a space; XML has no such character
_GAPS = re.compile(rf"\s?(?:{_GAP}\s?)+")
_GAP_TYPE = re.compile(  # the type of a code, or the name of a tag
    r"(?:x-)?(?:html-|\w+:)?(?:lb|pb|cb|br|cr|lf|crlf|tab|new[-_ ]?line"
    r"|(?:line|page|column|paragraph|soft|hard)?[-_ ]?(?:break|return)"
    r"|nbsp|(?:(?:non|no)[-_ ]?break(?:ing)?[-_ ]?|hard[-_ ]?)?space)",
    re.IGNORECASE,
)
_GAP_CODE = re.compile(  # a code itself: of HTML and Office, of RTF, an escape, one of Java or Word, white space
    r"<\s*/?\s*(?:\w+:)?(?:br|cr|hr|tab|p|div|li|tr|td|th|h[1-6]|line-break|s)\b(?<!<s)(?<!</s)"
    r"|\\(?:par|line|page|tab|n|r|t|~)(?![A-Za-z])|[\[{](?:br|lb|tab|nbsp)\s*/?[\]}]|^%n$|^\^[lmpst]$"
    r"|^\s+$|[\u00a0\u2002\u2003\u2009]",
    re.IGNORECASE,
)
_DECLARED = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)""")
_NO_CHARACTER = r"\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff"
_ILLEGAL = re.compile(  # one set of first characters, which is fast to look for; then what has to follow each
    rf"[&<\]{_NO_CHARACTER}](?:(?<=[{_NO_CHARACTER}])|(?<=<)(?:!\[CDATA\[|(?![^\W\d]|[:/!?]))|(?<=\])\]>"
    r"|(?<=&)(?!(?:amp|lt|gt|quot|apos);)(?:#(?:\d{1,8}|x[\da-fA-F]{1,8});|\w{1,32};)?)"
)
_UNFINISHED = re.compile(r"(?:\]{1,2}|[&<][^>;\s]{0,34})\Z")  # at the end of a chunk

Unit = dict[str, str]  # xml:lang of the file, in lower case and with hyphens -> text


def rows(
    path: str, codes: Sequence[str], start: int, stop: int | None, skipped: Counter[str]
) -> Iterator[tuple[int, tuple[str, ...], float]]:
    """Yield (number of the unit, a text per code, share of the file read) for the units that hold all codes.

    UserError if the file is missing, damaged or no TMX, ends before `stop`, or holds no unit with all codes. `skipped`
    counts the units that are left out, by reason; notes on stderr say how many.
    """
    wanted = [normal(code) for code in codes]
    count, seen = 0, Counter()
    for number, line, unit, share in islice(units(path), stop):
        count = number + 1
        if number < start:
            continue
        texts = tuple(_text_of(unit, code, path, line) for code in wanted)
        if None in texts:
            seen.update(code for code in unit if not code.startswith(SPARE))
            skipped[UNTRANSLATED] += 1
        elif BAD in "".join(texts):
            skipped[UNREADABLE] += 1
        else:
            yield number, texts, share
    if count <= start or (stop is not None and count < stop):
        raise UserError(f"{path}: `lines` asks for [{start}, {stop}] but the file has {count:,} translation units")
    damage = "with characters that XML does not allow, or damaged,"
    if skipped.total() == count - start:
        there = ", ".join(f"{code} ({units:,})" for code, units in seen.most_common(20)) or "none"
        bad = f"; {skipped[UNREADABLE]:,} units have them, {damage}" if skipped[UNREADABLE] else ""
        raise UserError(f"{path}: no translation unit has all of {', '.join(codes)}; its languages are: {there}{bad}")
    for reason, what in ((UNTRANSLATED, f"without {' or '.join(codes)}"), (UNREADABLE, damage)):
        if skipped[reason]:
            print(f"lander data: {path}: {skipped[reason]:,} translation units {what} are left out", file=sys.stderr)


def languages(path: str) -> tuple[str, ...]:
    """Codes that the first units can serve: zh-hant-tw serves zh, zh-Hant and zh-Hant-TW."""
    found = dict.fromkeys(code for _, _, unit, _ in islice(units(path), PEEKED_UNITS) for code in unit)
    found = [code for code in found if not code.startswith(SPARE)]
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
    with TextFile(path, ".tmx") as file:
        for text, last in _texts(file):
            for line, unit in parser.feed(text, last):
                yield number, line, unit, file.share_read
                number += 1
    if not number:
        raise UserError(f"{path}: holds no translation unit (<tu>); is it a TMX file?")


def _texts(file: TextFile) -> Iterator[tuple[str, bool]]:
    """Parts of the file, decoded, and whether it is the last one; bytes that are no text become `BAD`."""
    file.refuse_foreign(xml=True)
    chunk = file.read_bytes(CHUNK)
    if not chunk:
        raise UserError(f"{file.path}: there is nothing in it; is it the right file?")
    if chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif chunk[:2] in (b"<\0", b"\0<"):
        encoding = "utf-16-le" if chunk[1] == 0 else "utf-16-be"
    else:
        declared = _DECLARED.match(chunk)
        encoding = declared[1].decode() if declared else "utf-8"
        if re.fullmatch("utf-?(8|16)", encoding, re.IGNORECASE):  # of UTF-16, this could not have been read
            encoding = "utf-8-sig"
    try:
        b"x".decode(encoding, "ignore")  # refuses what is no encoding of text
        decoder = codecs.getincrementaldecoder(encoding)("lander.bad")
        while chunk:
            yield decoder.decode(chunk), False
            chunk = file.read_bytes(CHUNK)
        yield decoder.decode(b"", final=True), True
    except (ValueError, LookupError) as error:
        raise UserError(f"{file.path}, line 1: cannot be decoded ({error}); save the file as UTF-8") from None


codecs.register_error("lander.bad", lambda error: (BAD, error.end))


class _Parser:
    """Feeds text to expat and collects whole units."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._units: list[tuple[int, Unit]] = []
        self._fed = 0  # bytes
        self._rest = ""  # of the last text: what its next character may change
        self._verbatim = False  # inside CDATA
        self._open: list[str] = []  # elements, outermost first
        self._unit: Unit | None = None
        self._line = 0
        self._damaged = False  # the unit
        self._language: str | None = None
        self._segments = 0  # of the variant
        self._segment: list[str] | None = None
        self._length = 0  # characters of the segment
        self._codes = 0  # open elements of the segment that hold a format's code
        self._code: list[str] = []  # its content
        self._expat = parser = expat.ParserCreate("utf-8")  # whatever the file declares: it is decoded
        parser.buffer_text = True
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.EntityDeclHandler = lambda name, *_: self._refuse(
            f"declares the entity {name[:40]!r}; a TMX file needs none, and such files are refused"
        )
        parser.ExternalEntityRefHandler = lambda *_: 0

    def feed(self, text: str, last: bool) -> list[tuple[int, Unit]]:
        """Parse the next part. Returns (line, unit) of the units that end here."""
        text = self._rest + text
        open_end = None if last else _UNFINISHED.search(text, max(len(text) - 40, 0))
        whole = text[: open_end.start()] if open_end else text
        self._rest = text[len(whole) :]
        data = _ILLEGAL.sub(self._legal, whole).encode()
        try:
            self._expat.Parse(data, last)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            raise UserError(f"{self.path}, line {error.lineno}: not well-formed XML ({reason})") from None
        self._fed += len(data)
        if self._fed - self._expat.CurrentByteIndex > LONGEST_TOKEN + CHUNK:
            self._refuse(f"a tag or comment of more than {LONGEST_TOKEN:,} bytes; the file is damaged")
        found, self._units = self._units, []
        return found

    def _legal(self, match: re.Match[str]) -> str:
        """What XML may not allow, or `BAD` instead of it."""
        token = match[0]
        if token in ("<![CDATA[", "]]>"):
            begins, inside = token != "]]>", self._verbatim
            self._verbatim = begins
            return token if begins or inside else BAD
        if self._verbatim and token[0] in "&<":
            return token
        if token.startswith("&#") and token.endswith(";"):
            number = int(f"0{token[2:-1]}", 16) if token[2] == "x" else int(token[2:-1])
            return token if number < 0x110000 and not re.match(f"[{_NO_CHARACTER}]", chr(number)) else BAD
        return BAD

    def _refuse(self, message: str) -> NoReturn:
        raise UserError(f"{self.path}, line {self._expat.CurrentLineNumber}: {message}") from None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._open and name != "tmx":
            self._refuse(f"the file begins with <{name[:40]}>, not with <tmx>; is it a TMX file?")
        self._open.append(name)
        if len(self._open) > DEEPEST:
            self._refuse(f"more than {DEEPEST} elements inside each other; the file is damaged")
        if self._segment is not None:
            if not self._codes:
                self._code = []
                if any(map(_GAP_TYPE.fullmatch, (name, attributes.get("type", ""), attributes.get("ctype", "")))):
                    self._segment.append(_GAP)
            self._damaged |= name == "seg"
            self._codes += self._codes > 0 or name in CODES
        elif name == "tu":
            self._damaged = self._unit is not None
            self._unit, self._line = self._unit or {}, self._expat.CurrentLineNumber
        elif name == "tuv" and self._unit is not None:
            code = attributes.get("xml:lang") or attributes.get("lang") or ""  # `lang` in TMX 1.1
            if len(self._unit) > MOST_LANGUAGES:
                self._refuse(f"more than {MOST_LANGUAGES:,} languages in one unit; the file is damaged")
            self._language, self._segments = normal(code), 0
        elif name == "seg" and self._language is not None:
            self._damaged |= self._segments > 0
            self._segments += 1
            self._segment, self._length, self._codes = [], 0, 0

    def _end(self, name: str) -> None:
        self._open.pop()
        if self._segment is not None and name == "seg" and not self._codes:
            text = _BREAK.sub(" ", _GAPS.sub(" ", "".join(self._segment))).strip()
            free = self._language and self._language not in self._unit
            self._unit[self._language if free else f"{SPARE}{len(self._unit)}"] = text
            self._segment = None
        elif self._segment is not None:
            self._codes -= self._codes > 0
            if not self._codes and _GAP_CODE.search(html.unescape(html.unescape("".join(self._code)))):
                self._segment.append(_GAP)
                self._code = []
        elif name == "tuv":
            self._language = None
        elif name == "tu" and self._unit is not None:
            if self._damaged:
                self._unit = {code: text + BAD for code, text in self._unit.items()}
            self._units.append((self._line, self._unit))
            self._unit = None

    def _characters(self, text: str) -> None:
        if self._segment is not None:
            (self._code if self._codes else self._segment).append(text)
            self._length += len(text)
            if self._length > LONGEST_SEGMENT:
                self._damaged, self._length = True, 0
                self._segment.clear()
                self._code.clear()


def _text_of(unit: Unit, code: str, path: str, line: int) -> str | None:
    """A unit's text in a language, by its own code or by the one longer code that serves it; None if it has none."""
    found = serving(unit, code)
    if len(found) > 1:
        raise UserError(
            f"{path}, line {line}: {' and '.join(found)} both serve {code} in one unit; "
            f"choose with `columns: {{{code}: {found[0]}, ...}}`"
        )
    return unit[found[0]] if found else None


def serving(codes: Collection[str], code: str) -> list[str]:
    """Those of the codes that serve a language: itself, longer ones, or others of its script and no other region."""
    if code in codes:
        return [code]
    wanted, meant = parse_language(code), {other: parse_language(other) for other in codes}
    longer = [other for other in codes if other.startswith(f"{code}-")]
    regions = (wanted.region, None) if wanted.region else {own.region for own in meant.values()}
    return longer or [other for other, own in meant.items() if own[:2] == wanted[:2] and own.region in regions]


def normal(code: str) -> str:
    """A code as in `Unit`: the shortest one of the language (`eng-US` is `en-us`)."""
    base, *rest = code.strip().replace("_", "-").split("-")
    return "-".join([base_language(base), *rest]).lower()
