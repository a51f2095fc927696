"""Languages and directions: codes, what they mean, names for prompts, names of files.

A code names files and columns, so it stays as the user writes it. Everything that looks a language up asks for its
meaning here: `en`, `eng`, `EN` and `eng_Latn` are one language, `zh-TW` is `zh-Hant-TW`, `sr-Latn` is not `sr`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from babel import Locale, localedata
from babel.core import get_global

from lander.shared.errors import UserError

CODE = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")  # a language's code becomes part of file names

PARTS = {"pbt": "ps", "quy": "qu", "quz": "qu"}  # of languages, as in FLORES; CLDR has the others

STYLES = {  # of a script, which has the same characters
    "Aran": "Arab", "Cyrs": "Cyrl", "Geok": "Geor", "Jamo": "Hang", "Latf": "Latn", "Latg": "Latn", "Syre": "Syrc",
    "Syrj": "Syrc", "Syrn": "Syrc",
}  # fmt: skip


KANA = {"Hrkt": "ja"}  # Hiragana and Katakana, of which CLDR knows each


class Language(NamedTuple):
    """What a code means, in BCP 47's shortest codes."""

    base: str  # `en`, `zh`; of a language without a short code three letters
    script: str | None  # stated, or the usual one of language and region, as `Latn`; None if it is not known
    region: str | None = None  # if it is stated
    variants: tuple[str, ...] = ()


@cache
def parse_language(code: str) -> Language:
    """The meaning of a code of ISO 639-1 or -3 or BCP 47, with hyphens or underscores, in any case."""
    base, *rest = code.replace("_", "-").split("-")
    base = base.lower()
    while rest and len(base) <= 3 and re.fullmatch("[A-Za-z]{3}", rest[0]):  # zh-yue is yue, zh-min-nan is nan
        base, *rest = rest
    alias = get_global("language_aliases").get(base, PARTS.get(base, base))  # `sh` is `sr_Latn`
    base, *implied = alias.split("_")
    subtags = {"script": None, "region": None}
    variants = []
    for part in (*rest, *implied):
        if re.fullmatch("[A-Za-z]{4}", part):
            subtags["script"] = subtags["script"] or STYLES.get(part.title(), part.title())
        elif re.fullmatch("[A-Za-z]{2}|[0-9]{3}", part):
            subtags["region"] = subtags["region"] or part.upper()
        else:
            variants.append(part.lower())
    script = subtags["script"] or usual_script(base, subtags["region"])
    return Language(base, script, subtags["region"], tuple(variants))


def usual_script(base: str, region: str | None = None) -> str | None:
    """The script of a language where no other is named, from CLDR: `zh` -> `Hans`, in the region TW `Hant`."""
    likely = get_global("likely_subtags")
    found = likely.get(f"{base}_{region}") or likely.get(base) or ""
    return next((part for part in found.split("_")[1:] if len(part) == 4), None)


def main_language(script: str | None) -> str | None:
    """The language that a script most likely stands for, from CLDR: `Hant` -> `zh`, `Thai` -> `th`."""
    return KANA.get(script) or get_global("likely_subtags").get(f"und_{script}", "").split("_")[0] or None


def base_language(code: str) -> str:
    """The language of a code without script and region: `zh-Hant` -> `zh`, `deu` -> `de`."""
    return parse_language(code).base


def script_of(code: str) -> str | None:
    """Code of a language's script: `de` -> `Latn`, `zh-TW` -> `Hant`; None if it is not known."""
    return parse_language(code).script


def find_language(code: str, codes: Iterable[str]) -> str | None:
    """The one of some codes that names a language: itself, one of the same meaning, or the only one of its script.

    So `deu` finds `de`, and `en-US` finds `en`, but `zh-Hant` does not find `zh`.
    """
    codes, wanted = list(codes), parse_language(code)
    if code in codes:
        return code
    for same in (lambda one: one == wanted, lambda one: one[:2] == wanted[:2]):
        if len(found := [one for one in codes if same(parse_language(one))]) == 1:
            return found[0]
    return None


@dataclass(frozen=True, order=True)
class Direction:
    """A translation direction. `str(direction)` is its name in files and tables: `en-de`, `zh-Hant--en`."""

    source: str
    target: str

    def __str__(self) -> str:
        hyphen = "--" if "-" in self.source + self.target else "-"
        return f"{self.source}{hyphen}{self.target}"

    @property
    def pair(self) -> "Direction":
        """The unordered pair: the same two languages in alphabetical order."""
        return Direction(*sorted((self.source, self.target)))


def parse_direction(value: str | list[str] | tuple[str, str]) -> Direction:
    """Read `en-de`, `zh-Hant--en` or `[zh-Hant, en]`: two different codes, which cannot lead out of a folder."""
    if isinstance(value, str):
        parts = value.split("--" if "--" in value else "-")
    else:
        parts = list(value) if isinstance(value, list | tuple) else []
    if len(parts) != 2 or not all(isinstance(part, str) and part for part in parts):
        raise UserError(f"direction {value!r}: write it as en-de, or as [zh-Hant, en] if a code has a hyphen")
    if wrong := [part for part in parts if not CODE.fullmatch(part)]:
        raise UserError(f"direction {value!r}: {wrong[0]!r} is no code; use letters, digits and - in between")
    if parse_language(parts[0]) == parse_language(parts[1]):
        raise UserError(f"direction {value!r}: source and target are the same language")
    return Direction(*parts)


def language_name(code: str) -> str:
    """English name of a language code, from Unicode CLDR: `de` and `deu` -> `German`, `sr-Latn` -> `Serbian (Latin)`.

    A script is named if the language has several, and is stated or follows from a region.
    """
    language, english = parse_language(code), Locale("en")
    name = english.languages.get(language.base)
    if not name:
        mapping = f"write `languages` as a mapping and name it, for example `{code}: Klingon`"
        raise UserError(f"languages: no name is known for the code {code!r}; {mapping}")
    details, script = [], language.script
    other = script != usual_script(language.base)
    stated = re.search(r"[-_]([A-Za-z]{4}|[A-Za-z]{2}|\d{3})(?![A-Za-z\d])", code)  # script or region
    if other or (stated and localedata.exists(f"{language.base}_{script}")):
        details.append(english.scripts.get(script, script))
    if language.region:
        details.append(english.territories.get(language.region, language.region))
    details += filter(None, (english.variants.get(variant.upper()) for variant in language.variants))
    return f"{name} ({', '.join(details)})" if details else name
