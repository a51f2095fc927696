"""Texts that must not be trained on: held-out sentences are recognised whatever their case, punctuation or side."""

import re
import unicodedata
from collections.abc import Iterable
from hashlib import blake2b

from lander.data.sources import Source, languages_of, read

_NO_WORD = re.compile(r"[\W_]+")
_ASCII_NO_WORD = bytes(code for code in range(128) if not chr(code).isalnum())


def normalise(text: str) -> str:
    """Letters and digits only, in compatibility form and without case: what is equal after this is the same text."""
    if text.isascii():
        return text.lower().encode().translate(None, _ASCII_NO_WORD).decode()
    return _NO_WORD.sub("", unicodedata.normalize("NFKC", text).casefold())


def digest(text: str) -> int:
    """A digest of 8 bytes: enough to tell billions of texts apart, small enough to keep millions of them."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def excluded_digests(sources: Iterable[Source], languages: tuple[str, ...]) -> set[int]:
    """Digests of every text, in any language, of the sources (of a built-in corpus: in `languages` only)."""
    found: set[int] = set()
    for source in sources:
        held = tuple(language for language in languages_of(source) if "builtin" not in source or language in languages)
        for _, texts in read(source, held) if held else ():
            found.update(digest(normal) for text in texts if (normal := normalise(text)))
    return found


def is_excluded(text: str, excluded: set[int]) -> bool:
    """Whether a text is one of the excluded ones; a text without letters and digits never is."""
    normal = normalise(text)
    return bool(normal) and digest(normal) in excluded
