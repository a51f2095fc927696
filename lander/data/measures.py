"""What the filters measure: plain functions from texts to numbers, without thresholds."""

import re
from functools import cache, lru_cache

import regex

from lander.data.overlap import normalise

REMEMBERED = 256  # texts of a batch (lander.data.cleaning), with room to spare: several filters ask for the same

# Characters of scripts without spaces between words: each counts as a word
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_SPACELESS_CHARACTER = re.compile(f"[{_SPACELESS}]")
_WORD = re.compile(rf"[^\s{_SPACELESS}\uff00-\uffef]+")
_NO_LETTERS = re.compile(r"[\W\d_]+")
_ASCII_NO_LETTERS = bytes(code for code in range(128) if not chr(code).isalpha())

_LINK = re.compile(r"(?:https?://|www\.)[!#-&(-;=?-~]+", re.IGNORECASE)  # ASCII without quotes and angle brackets
# a tag is a closing one, closes itself, has attributes, or is one of HTML's: "<file>" in a manual is plain text
_HTML = "a|abbr|b|body|br|code|dd|div|dl|dt|em|font|h[1-6]|head|hr|html|i|img|li|ol|p|pre|s|script|small|span|strike|"
_HTML += "strong|style|sub|sup|table|tbody|td|th|title|tr|tt|u|ul"
_TAG = re.compile(
    r"</[A-Za-z][\w:.-]*\s*>|<[A-Za-z][\w:.-]*\s*/>|<[A-Za-z][\w:.-]*(?:\s+[\w:.-]+=[^<>]*)>|<!--|\]\]>|"
    rf"<(?:{_HTML})>",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:[A-Za-z]{2,8}|#\d{2,6}|#x[0-9A-Fa-f]{2,6});")
_NUMBER = re.compile(r"\d+(?:[.,'’٫٬\u00a0\u202f]\d+)*")
_NO_DIGITS = re.compile(r"\D+")


@lru_cache(maxsize=REMEMBERED)
def _sizes(text: str) -> tuple[int, int, int]:
    """Number of words (parts between spaces), characters of all, and characters of the longest."""
    sizes = list(map(len, text.split()))
    return len(sizes), sum(sizes), max(sizes, default=0)


def length(text: str, unit: str) -> int:
    """Length in a unit: `words` (a character of a script without spaces is one) or `characters` other than spaces."""
    words, characters, _ = _sizes(text)
    if unit == "characters":
        return characters
    spaceless = 0 if text.isascii() else len(_SPACELESS_CHARACTER.findall(text))
    return spaceless + len(_WORD.findall(text)) if spaceless else words


def longest_word(text: str, at_least: int) -> int:
    """Characters of the longest word, or 0 if none has more than `at_least`.

    Web addresses and characters of scripts without spaces do not count.
    """
    if _sizes(text)[2] <= at_least:
        return 0
    longest = max(map(len, _WORD.findall(_LINK.sub(" ", text))), default=0)
    return longest if longest > at_least else 0


def length_ratio(first: str, second: str, weights: tuple[float, float], slack: float) -> float:
    """Longer over shorter side, in weighted characters with `slack` added to both; at least 1."""
    one = length(first, "characters") * weights[0] + slack
    other = length(second, "characters") * weights[1] + slack
    return max(one, other) / max(min(one, other), 1e-9)


def markup(text: str) -> int:
    """Number of HTML or XML tags and entities."""
    count = len(_TAG.findall(text)) if "<" in text or "]]>" in text else 0
    return count + (len(_ENTITY.findall(text)) if "&" in text else 0)


def links(text: str) -> list[str]:
    """Web addresses, sorted, without punctuation at their end."""
    if "://" not in text and "ww." not in text.lower():
        return []
    return sorted(link.rstrip(".,;:!?)]/*_`").lower() for link in _LINK.findall(text))


@lru_cache(maxsize=REMEMBERED)
def letters(text: str) -> str:
    """The letters of a text, without digits and everything else."""
    found = text.encode("utf-8", "surrogatepass").translate(None, _ASCII_NO_LETTERS).decode("utf-8", "surrogatepass")
    return found if text.isascii() else _NO_LETTERS.sub("", found)


@lru_cache(maxsize=REMEMBERED)
def script_share(text: str, script: str) -> float:
    """Share of the letters that belong to a script (a code such as `Latn`); 1 for a text without letters."""
    found = letters(text)
    if not found or (script == "Latn" and found.isascii()):
        return 1.0
    return len(_outside_script(script).sub("", found)) / len(found)


def number_mismatch(first: str, second: str) -> float:
    """Of the side with fewer numbers, the share that the other side lacks; 0 if a side has none.

    Digits of any script count. Separators within a number (1,000 is 1.000) and leading zeros do not.
    """
    one, other = numbers(first), numbers(second)
    if not one or not other:
        return 0.0
    return 1 - len(one & other) / min(len(one), len(other))


def numbers(text: str) -> set[int]:
    """The numbers in a text that are written with digits, without separators."""
    return {int(_NO_DIGITS.sub("", found)[:100]) for found in _NUMBER.findall(text)}


def copied(first: str, second: str) -> int:
    """Number of letters of a text that both sides share, ignoring case, punctuation and spaces; 0 if they differ."""
    if first != second and (abs(len(first) - len(second)) > 20 or normalise(first) != normalise(second)):
        return 0
    return len(letters(first))


LAST_LETTER = 0x32400  # end of the last block of letters in Unicode, CJK extension H
SCRIPT_PARTS = {
    "Jpan": ("Han", "Hiragana", "Katakana"), "Kore": ("Hangul", "Han"), "Hans": ("Han",), "Hant": ("Han",),
    "Hanb": ("Han", "Bopomofo"), "Hrkt": ("Hiragana", "Katakana"),
}  # fmt: skip


@cache
def _outside_script(script: str) -> re.Pattern[str]:
    """All characters but the letters of a script, as ranges for `re`, which is much faster on them than `regex`.

    Nothing, if Unicode has no letters of the script: a code may name any.
    """
    names = (*SCRIPT_PARTS.get(script, (script,)), "Common", "Inherited")
    try:
        inside = regex.compile("[" + "".join(rf"\p{{Script={name}}}" for name in names) + "]+")
    except regex.error:
        return re.compile("(?!)")
    ranges = ""
    for begin, end in ((0, 0xD800), (0xE000, LAST_LETTER)):  # without surrogates
        for run in inside.finditer("".join(map(chr, range(begin, end)))):
            ranges += f"\\U{begin + run.start():08x}-\\U{begin + run.end() - 1:08x}"
    return re.compile(f"[^{ranges}]+")
