"""Which test items training has seen.

Training is not filtered against the test sets: editing a test set would then train everything again. Items that occur
in training are flagged here instead, and scores are given with and without them.
"""

import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from lander.data.repair import repair
from lander.shared import tables


def normalise(text: str) -> str:
    """What two sentences must share to be the same: letters, digits and symbols, not case, width or punctuation.

    Punctuation becomes a space, so that `1.5` is not `15`; combining marks stay, so that Hindi vowels do. This is finer
    than what `data.exclude` takes for the same text, so nothing that it kept out of training is flagged here.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _separators().sub(" ", text.casefold()).strip()


def forms(text: str) -> set[str]:
    """A text, normalised, as it is and as it would be repaired: training text is."""
    return {normalise(text), normalise(repair(text))}


@cache
def _separators() -> re.Pattern[str]:
    """Runs of spaces, punctuation, control and format characters."""
    apart = ("Z", "P", "Cc", "Cf")  # Unicode categories
    found = (chr(code) for code in range(min(sys.maxunicode, 0xFFFF)))
    return re.compile("[" + "".join(re.escape(c) for c in found if unicodedata.category(c).startswith(apart)) + "]+")


def seen_in_training(texts: Iterable[str], train: Iterable[str | Path]) -> set[str]:
    """Those of the texts, normalised, that are the source or the target of a training pair, in any direction.

    A text counts as it is and as it would be repaired. Texts without a letter or digit are never seen. Each training
    table is read once, a chunk at a time, so memory holds the test sets alone.
    """
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for text in texts:
        for form in forms(text):
            if any(map(str.isalnum, form)):
                wanted[form].add(normalise(text))
    found: set[str] = set()
    for path in train:
        for pairs in tables.read_chunks(path, "train", ("source", "target")):
            for side in pairs.columns:
                found.update(wanted.keys() & set(map(normalise, set(side.to_pylist()))))
    return set().union(*map(wanted.get, found))
