"""Texts that must not be trained on: held-out sentences are recognised whatever their case, punctuation or side."""

import re
import unicodedata
from collections.abc import Iterable
from hashlib import blake2b

from lander.data.near import Near
from lander.data.sources import Source, every_text

_NO_WORD = re.compile(r"[\W_]+")
_ASCII_NO_WORD = bytes(code for code in range(128) if not chr(code).isalnum())


class Excluded:
    """What is held out: digests of all texts in any language and, where `similarity` is below 1, what is near them."""

    def __init__(self, sources: Iterable[Source], languages: tuple[str, ...], similarity: float = 1.0) -> None:
        """
        Args:
            sources: texts that may not be trained on (of a built-in corpus: in `languages` only).
            languages: those of the pair; texts in others need no search for near ones.
            similarity: see `lander.data.near`; 1 looks for equal texts only.
        """
        self.digests: set[int] = set()
        near: dict[str, None] = {}
        for source in sources:
            for language, text in every_text(source, languages):
                if normal := normalise(text):
                    self.digests.add(digest(normal))
                    if similarity < 1 and language in languages:
                        near[normal] = None
        self.near = Near(near, similarity) if near else None

    def __contains__(self, text: str) -> bool:
        """Whether a text is one of the excluded ones; a text without letters and digits never is."""
        normal = normalise(text)
        return bool(normal) and digest(normal) in self.digests

    def similarity(self, text: str) -> float | None:
        """Similarity of a text and an excluded one that is too near it; None where there is none."""
        return self.near.find(normalise(text)) if self.near else None


def normalise(text: str) -> str:
    """Letters and digits only, in compatibility form and without case: what is equal after this is the same text."""
    ascii_only = text.isascii()
    folded = text.lower() if ascii_only else unicodedata.normalize("NFKC", text).casefold()
    found = folded.encode("utf-8", "surrogatepass").translate(None, _ASCII_NO_WORD).decode("utf-8", "surrogatepass")
    return found if ascii_only else _NO_WORD.sub("", found)


def digest(text: str) -> int:
    """A digest of 8 bytes: enough to tell billions of texts apart, small enough to keep millions of them."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
