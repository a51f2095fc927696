r"""Unicode repair of one line of text: mojibake, entities, invisible characters, composed form, white space.

Good text stays as it is: quotation marks keep their shape, full-width punctuation (right in Chinese), the no-break
spaces of French and joiners (Persian, Indic scripts, emoji) stay. The result never holds a line break, a tab or a
control character. Most lines need no repair and pass a single regular expression.
"""

import re
import unicodedata

import regex
from ftfy import apply_plan, fix_encoding_and_explain, fixes
from ftfy.badness import is_bad

# ASCII without controls, "&" or needless spaces: nothing to do
_PLAIN = re.compile(r"[!-%'-~]+(?: [!-%'-~]+)*")
# UTF-8 read as another encoding has at least two of these characters side by side (or a lead byte before a lost
# no-break space); looking for them first avoids ftfy's own, much slower test for nearly every line
_MOJIBAKE = re.compile("[\x80-\u052f\u2000-\u2bff\ufb00-\ufb06]{2}|[ÂÃ] ")
# A capital as clean text has it at the end of a word in capitals, before what may follow a word: «MAÇÃ», CAFÉ™, É…
# These pairs are UTF-8 read as another encoding too, so one is no evidence. (ÂŠ would be a control character.)
_CLEAN_CAPITAL = regex.compile(
    r"(?:(?<=[\p{Lu}\p{Lt}\p{Pi}\p{Ps}\p{Pf}'’-])(?=[^\x00-\x7f])\p{Lu}|(?<!\p{L})(?=[^\x00-\x7fÂÃ])\p{Lu})"
    r"(?=[\u00a0—]|[\p{Pi}\p{Pf}\p{Pd}\p{Ps}…™®©°ºª²³¹·´‚„](?!\w))|Â(?=\p{L})"
    # alone (a letter that is spoken of) or after a digit; not × between numbers
    r"|(?<!\p{L})[ÂÃ](?= |\u00a0\p{P}|[“‘\p{Pf}\p{Pd}…™](?!\w| ?\d))"
)
_C1 = re.compile("[\x80-\x9f]")
# controls without white space, soft hyphen, zero-width space and joiner signs, direction marks, byte order mark
_HIDDEN = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
)
INVISIBLE = re.compile(f"[{_HIDDEN}]+")
_TIDY = re.compile(rf"[^\s&{_HIDDEN}]+(?:[ \u00a0\u202f\u3000][^\s&{_HIDDEN}]+)*")  # as _PLAIN, for any script
# runs of white space, and lone ones other than a space, a no-break space, a narrow or an ideographic one
_SPACE = re.compile(r"\s{2,}|[^\S \u00a0\u202f\u3000]")


def repair(text: str, form: str = "NFC", encoding: bool = True) -> str:
    """The repaired segment, in the Unicode normal form `form` (NFC, NFKC or none); its line breaks become spaces.

    With `encoding`, mojibake ("schÃ¶n") and HTML entities ("&amp;") are undone.
    """
    if text.isascii():
        if _PLAIN.fullmatch(text):
            return text
    elif _TIDY.fullmatch(text) and not (encoding and _MOJIBAKE.search(text)):
        return text if form == "none" else unicodedata.normalize(form, text)
    if encoding:
        text = decode(text)
    text = INVISIBLE.sub("", text)
    if form != "none" and not text.isascii():
        text = unicodedata.normalize(form, text)
    return _SPACE.sub(" ", text).strip()


def composed(text: str) -> str:
    """The text in NFC without invisible characters, as training text is by default; nothing else changes."""
    return text if text.isascii() and text.isprintable() else unicodedata.normalize("NFC", INVISIBLE.sub("", text))


def decode(text: str) -> str:
    """The text without mojibake, HTML entities and escapes of a terminal; clean capitals stay as they are."""
    if "&" in text and "<" not in text:  # with "<" it is markup, which the filter of that name judges
        text = fixes.unescape_html(text)
    if "\x1b" in text:
        text = fixes.remove_terminal_escapes(text)
    before = None
    while text != before and _MOJIBAKE.search(text) and is_bad(_CLEAN_CAPITAL.sub("A", text)):
        plan, before = fix_encoding_and_explain(text).explanation or [], text
        # one decoding at a time: what ftfy sees in its result may be clean capitals
        end = next((place for place, step in enumerate(plan, 1) if step.action in ("decode", "apply")), len(plan))
        text = apply_plan(text, plan[:end])
    return fixes.fix_c1_controls(text) if _C1.search(text) else text
