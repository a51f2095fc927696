"""Languages and directions: codes, names for prompts, names of files."""

import re
from dataclasses import dataclass

from babel import Locale, UnknownLocaleError

from lander.shared.errors import UserError

CODE = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")  # a language's code becomes part of file names


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
    if parts[0] == parts[1]:
        raise UserError(f"direction {value!r}: source and target are the same language")
    return Direction(*parts)


def language_name(code: str) -> str:
    """English name of a language code, from Unicode CLDR: `de` -> `German`."""
    try:
        name = Locale.parse(code, sep="-").get_display_name("en")
    except (UnknownLocaleError, ValueError, TypeError):
        name = Locale("en").languages.get(code)
    if not name:
        mapping = f"write `languages` as a mapping and name it, for example `{code}: Klingon`"
        raise UserError(f"languages: no name is known for the code {code!r}; {mapping}")
    return name
