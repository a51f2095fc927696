"""Texts that are nearly one of some given ones: an exact search by Jaccard similarity of their character n-grams.

    similarity(x, y) = |X & Y| / |X | Y|,  X and Y the sets of n-grams of x and y

It is exact, as comparing all with all would be, and fast for three reasons (prefix filtering, Chaudhuri et al. 2006;
Bayardo et al. 2007). A pair of similarity t or more shares at least t * max(|X|, |Y|) n-grams. So a text can be near
another only if t * |Y| of its n-grams occur in the given texts at all: most texts fail here. If two sets share so
many, each must hold one of the other's rarest |X| - t * |X| + 1 n-grams, so only these are looked up. And what is
found is compared only where the n-grams from there on, in both, would be enough (Xiao et al. 2008).
"""

import math
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable

GRAM = 5  # letters: a word, more or less
GRAM_IDEOGRAPHS = 2  # an ideograph says what nearly three letters do

_IDEOGRAPH = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def grams(text: str) -> set[str]:
    """The n-grams of a text; a text of fewer characters is one by itself."""
    size = GRAM
    if not text.isascii() and 2 * len(_IDEOGRAPH.findall(text)) > len(text):
        size = GRAM_IDEOGRAPHS
    return {text[place : place + size] for place in range(max(len(text) - size, 0) + 1)}


def least_shared(threshold: float, size: int) -> int:
    """N-grams that a set of `size` shares with any set that is as similar as `threshold`, at least."""
    return max(math.ceil(threshold * size - 1e-9), 1)


class Near:
    """The given texts, ready for the search."""

    def __init__(self, texts: Iterable[str], threshold: float) -> None:
        """`texts` as they are to be compared; `threshold` above 0 and at most 1."""
        self.threshold = threshold
        sets = [grams(text) for text in texts]
        counts = Counter(gram for found in sets for gram in found)
        self._rank = {gram: rank for rank, (gram, _) in enumerate(reversed(counts.most_common()))}  # rarest first
        self._sets = [array("i", sorted(map(self._rank.__getitem__, found))) for found in sets]
        # rank -> (text, n-grams of it from this one on) of the texts that have it among their rarest
        self._holders: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for place, ranks in enumerate(self._sets):
            for position, rank in enumerate(ranks[: len(ranks) - least_shared(threshold, len(ranks)) + 1]):
                self._holders[rank].append((place, len(ranks) - position))

    def find(self, text: str) -> float | None:
        """The similarity of a given text that is at least the threshold (any of them); None where there is none."""
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
