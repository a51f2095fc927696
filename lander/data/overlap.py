"""Texts that must not be trained on: excluded texts, and texts that are nearly one of them.

Texts are equal if they differ only in case, punctuation or spaces; the side does not matter. Near ones are found by an
exact search by Jaccard similarity of their sets of character n-grams:

    similarity(x, y) = |X & Y| / |X | Y|,  X and Y the sets of n-grams of x and y

The search finds what comparing all with all would find, and is fast for three reasons (prefix filtering, Chaudhuri et
al. 2006; Bayardo et al. 2007). Texts of similarity t or more share at least t * max(|X|, |Y|) n-grams, so a text can
only be near another if t * |Y| of its n-grams occur in the given texts at all: most texts fail here. If two sets share
so many n-grams, each holds one of the other's |X| - t * |X| + 1 rarest n-grams, so only these are looked up. And two
texts are compared only if the n-grams from there on would be enough in both (Xiao et al. 2008).
"""

import math
import re
import unicodedata
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache, partial
from hashlib import blake2b
from typing import Any

from lander.data.reading import every_text
from lander.data.repair import repair
from lander.data.settings import DEFAULTS, repair_options
from lander.data.sources import Source

GRAM = 5  # letters: about a word
GRAM_IDEOGRAPHS = 2  # an ideograph says what nearly three letters do

# Marks belong to the word: without vowel signs, Hindi or Thai words become other words. Variation selectors do not.
_MARKS = "".join(
    chr(code)
    for code in range(0x300, 0x20000)
    if unicodedata.category(chr(code)) in ("Mn", "Mc") and not 0xFE00 <= code <= 0xFE0F
)
_NO_WORD = re.compile(rf"(?:[^\w{_MARKS}]|_)[\W_]*")  # a mark on what is no letter or digit goes with it
_ASCII_NO_WORD = bytes(code for code in range(128) if not chr(code).isalnum())
_IDEOGRAPH = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


class Excluded:
    """Digests of all excluded texts in any language and, if `similarity` is below 1, a search for texts near them.

    Texts are near if their similarity is at least `similarity`. A text in none of `languages` (the pair's) is only
    compared for equality. A text counts as it is and as `settings` repair it, as they do training text.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        languages: tuple[str, ...],
        similarity: float = 1.0,
        settings: dict[str, Any] = DEFAULTS,
    ) -> None:
        self.digests: set[int] = set()
        near: dict[str, None] = {}
        options = cache(partial(repair_options, settings))
        for source in sources:
            for language, text in every_text(source, languages):
                own = options(language)
                as_trained = text if own is None else repair(text, **own)
                for normal in filter(None, map(normalise, {text, as_trained})):
                    self.digests.add(digest(normal))
                    if similarity < 1 and language in languages:
                        near[normal] = None
        self.near = Near(near, similarity) if near else None

    def __contains__(self, text: str) -> bool:
        """Whether a text is excluded; a text without letters and digits never is."""
        normal = normalise(text) if self.digests else ""
        return bool(normal) and digest(normal) in self.digests

    def similarity(self, text: str) -> float | None:
        """Similarity of a text to an excluded one that is too near it; None if there is none."""
        return self.near.find(normalise(text)) if self.near else None


class Near:
    """Given normalised texts, indexed for the search; 0 < `threshold` <= 1."""

    def __init__(self, texts: Iterable[str], threshold: float) -> None:
        self.threshold = threshold
        sets = [grams(text) for text in texts]
        counts = Counter(gram for found in sets for gram in found)
        self._rank = {gram: rank for rank, (gram, _) in enumerate(reversed(counts.most_common()))}  # rarest first
        self._sets = [array("i", sorted(map(self._rank.__getitem__, found))) for found in sets]
        # rank -> (text, number of its n-grams from this one on) of the texts with this n-gram among their rarest
        self._holders: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for place, ranks in enumerate(self._sets):
            for position, rank in enumerate(ranks[: len(ranks) - least_shared(threshold, len(ranks)) + 1]):
                self._holders[rank].append((place, len(ranks) - position))

    def find(self, text: str) -> float | None:
        """Similarity to any given text that reaches the threshold; None if there is none."""
        own = grams(text)
        size = len(own)
        least = least_shared(self.threshold, size)
        ranks = [rank for rank in map(self._rank.get, own) if rank is not None]
        looked_up = len(ranks) - least + 1
        if looked_up <= 0:
            return None
        ranks.sort()
        known = set(ranks)
        seen: set[int] = set()
        share = self.threshold / (1 + self.threshold)
        for left, rank in zip(range(len(ranks), 0, -1), ranks[:looked_up], strict=False):
            for place, left_there in self._holders.get(rank, ()):
                if place in seen:
                    continue
                seen.add(place)
                other = self._sets[place]
                if min(left, left_there) < share * (size + len(other)) - 1e-9:  # no more than these can be shared
                    continue
                shared = len(known.intersection(other))
                similarity = shared / (size + len(other) - shared)
                if similarity >= self.threshold - 1e-9:
                    return similarity
        return None


def grams(text: str) -> set[str]:
    """The n-grams of a text; a text of fewer characters is itself one."""
    ideographs = not text.isascii() and 2 * len(_IDEOGRAPH.findall(text)) > len(text)
    size = GRAM_IDEOGRAPHS if ideographs else GRAM
    return {text[place : place + size] for place in range(max(len(text) - size, 0) + 1)}


def least_shared(threshold: float, size: int) -> int:
    """Least number of n-grams that a set of `size` shares with any set of similarity `threshold` or more."""
    return max(math.ceil(threshold * size - 1e-9), 1)


def normalise(text: str) -> str:
    """Letters with their marks, and digits, in compatibility form and without case: equal results are the same text."""
    ascii_only = text.isascii()
    folded = text.lower() if ascii_only else _fold(text)
    found = folded.encode("utf-8", "surrogatepass").translate(None, _ASCII_NO_WORD).decode("utf-8", "surrogatepass")
    return found if ascii_only else _NO_WORD.sub("", found)


def _fold(text: str) -> str:
    """Composed again, because folding takes letters and marks apart; the i of `İ` is the one of `i`."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).replace("i\u0307", "i")


def digest(text: str) -> int:
    """A digest of 8 bytes: enough to tell billions of texts apart, small enough to keep millions of them."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
