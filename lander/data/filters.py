"""The filters of the cleaning: each scores pairs and says which may stay.

A filter is a function of some first texts and as many second texts. For each pair it returns None if the pair may stay,
and otherwise the score that speaks against it. `build` makes the filters of a pair of languages from the settings
(`lander.data.settings`), in their order. Most filters look at one pair at a time: for these, a maker below returns a
check of one pair.

To add a filter: a maker here, its entry in `MAKERS`, its place and thresholds in `lander.data.settings`.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from lander.data import measures
from lander.data.overlap import Excluded, digest
from lander.data.repair import repair
from lander.data.settings import pair_threshold, thresholds

Score = float | str
Check = Callable[[str, str], Score | None]
Filter = Callable[[Sequence[str], Sequence[str]], Iterable[Score | None]]
Settings = dict[str, Any]
Languages = tuple[str, str]

LARGER = 8  # a run of `Seen` is at least this many times as long as the next one


def build(settings: Settings, languages: Languages, excluded: Excluded) -> list[tuple[str, Filter]]:
    """(reason, filter) in the order of the settings, for the steps that drop pairs (all but `repair`)."""
    default = settings["default"]
    off = {"repair"}
    if not default["duplicates"]["pair"]:
        off.add("duplicates")
    if default["near_excluded"]["similarity"] >= 1:
        off.add("near_excluded")
    filters = []
    for step in settings["order"]:
        if step in off:
            continue
        if step in MAKERS:
            found = partial(map, MAKERS[step](settings, languages))
        elif step == "language":
            found = _language(settings, languages)
        elif step == "duplicates":
            found = _duplicates()
        else:
            found = partial(map, _exclude(excluded) if step == "exclude" else _near_excluded(excluded))
        filters.append((step, found))
    return filters


def repairer(settings: Settings, language: str) -> Callable[[str], str]:
    """A function that repairs texts of a language."""
    options = thresholds(settings, language, "repair")
    form, encoding = options["form"], options["encoding"]
    return lambda text: repair(text, form, encoding)


def _empty(settings: Settings, languages: Languages) -> Check:
    return lambda first, second: None if first.strip() and second.strip() else 0.0


def _damaged(settings: Settings, languages: Languages) -> Check:
    """No replacement characters: they stand for text that was lost earlier."""

    def check(first: str, second: str) -> Score | None:
        count = first.count("\ufffd") + second.count("\ufffd")
        return float(count) if count else None

    return check


def _length(settings: Settings, languages: Languages) -> Check:
    """Both sides have between `min` and `max` words or characters."""
    limits = [thresholds(settings, language, "length") for language in languages]
    (unit_1, least_1, most_1), (unit_2, least_2, most_2) = ((own["unit"], own["min"], own["max"]) for own in limits)

    def check(first: str, second: str) -> Score | None:
        if not least_1 <= (count := measures.length(first, unit_1)) <= most_1:
            return count
        if not least_2 <= (count := measures.length(second, unit_2)) <= most_2:
            return count
        return None

    return check


def _long_word(settings: Settings, languages: Languages) -> Check:
    most_1, most_2 = (thresholds(settings, language, "long_word")["max"] for language in languages)
    return lambda first, second: measures.longest_word(first, most_1) or measures.longest_word(second, most_2) or None


def _length_ratio(settings: Settings, languages: Languages) -> Check:
    weights = tuple(thresholds(settings, language, "length_ratio")["weight"] for language in languages)
    slack = pair_threshold(settings, languages, "length_ratio", "slack", min)
    most = pair_threshold(settings, languages, "length_ratio", "max", min)
    return _above(lambda first, second: measures.length_ratio(first, second, weights, slack), most)


def _above(measure: Callable[[str, str], float], most: float) -> Check:
    """A measure of both sides is at most `most`."""

    def check(first: str, second: str) -> Score | None:
        value = measure(first, second)
        return value if value > most else None

    return check


def _markup(settings: Settings, languages: Languages) -> Check:
    """No more than `max` tags and entities on a side; the same web addresses on both sides."""
    most_1, most_2 = (thresholds(settings, language, "markup")["max"] for language in languages)
    same_links = pair_threshold(settings, languages, "markup", "links", max) == "same"  # "same" > "any"

    def check(first: str, second: str) -> Score | None:
        if (count := measures.markup(first)) > most_1 or (count := measures.markup(second)) > most_2:
            return count
        return "links" if same_links and measures.links(first) != measures.links(second) else None

    return check


def _alphabet(settings: Settings, languages: Languages) -> Check:
    """On both sides enough letters among the characters, and enough of the right script among the letters."""
    sides = []
    for language in languages:
        own = thresholds(settings, language, "alphabet")
        sides.append((own["letters"], own["script"], measures.script_of(language) if own["script"] else None))

    def check(first: str, second: str) -> Score | None:
        for text, (least_letters, least_script, script) in zip((first, second), sides, strict=True):
            if least_letters and (share := measures.letter_share(text)) < least_letters:
                return share
            if script and (share := measures.script_share(text, script)) < least_script:
                return share
        return None

    return check


def _numbers(settings: Settings, languages: Languages) -> Check:
    most = pair_threshold(settings, languages, "numbers", "max", min)
    return _above(measures.number_mismatch, most) if most < 1 else lambda first, second: None


def _copied(settings: Settings, languages: Languages) -> Check:
    least = pair_threshold(settings, languages, "copied", "letters", min)

    def check(first: str, second: str) -> Score | None:
        count = measures.copied(first, second)
        return count if count and count >= least else None

    return check


MAKERS: dict[str, Callable[[Settings, Languages], Check]] = {
    "empty": _empty, "damaged": _damaged, "length": _length, "long_word": _long_word, "length_ratio": _length_ratio,
    "markup": _markup, "alphabet": _alphabet, "numbers": _numbers, "copied": _copied,
}  # fmt: skip


def _exclude(excluded: Excluded) -> Check:
    """Neither side is one of the excluded texts, of any language."""
    return lambda first, second: "excluded" if excluded.digests and (first in excluded or second in excluded) else None


def _near_excluded(excluded: Excluded) -> Check:
    """Neither side is nearly one of the excluded texts."""
    return lambda first, second: excluded.similarity(first) or excluded.similarity(second)


def _language(settings: Settings, languages: Languages) -> Filter:
    """Both sides are probably in their language, as far as that can be judged."""
    from lander.data.langid import Judge, warn_unknown  # loading the model takes a quarter of a second

    warn_unknown(languages)
    candidates = (*languages, *settings["candidates"])
    judges = [Judge(language, candidates) for language in languages]
    limits = [thresholds(settings, language, "language") for language in languages]

    def check(*sides: Sequence[str]) -> list[Score | None]:
        scores: list[Score | None] = [None] * len(sides[0])
        for texts, judge, own in zip(sides, judges, limits, strict=True):
            left = [place for place, score in enumerate(scores) if score is None]
            found = judge.probabilities([texts[place] for place in left], own["letters"])
            for place, probability in zip(left, found, strict=True):
                if probability < own["probability"]:
                    scores[place] = probability
        return scores

    return check


def _duplicates() -> Filter:
    """The pair has not been seen before. Pairs that an earlier step dropped are not seen here."""
    seen = Seen()

    def check(firsts: Sequence[str], seconds: Sequence[str]) -> list[Score | None]:
        keys = [digest(f"{first}\n{second}") for first, second in zip(firsts, seconds, strict=True)]
        return [None if new else "pair" for new in seen.add(np.array(keys, dtype=np.uint64)).tolist()]

    return check


class Seen:
    """A set of 64-bit digests in 8 bytes each: sorted runs, each `LARGER` times as long as the next.

    New digests are merged into shorter runs, so that few runs remain to search and each number is rewritten only a few
    times. While the longest runs are merged there are two copies of them.
    """

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def add(self, digests: np.ndarray) -> np.ndarray:
        """Whether each of the uint64 digests is new: in no earlier call, and not before in this one; bool (digests)."""
        unique, first = np.unique(digests, return_index=True)
        fresh = np.ones(len(unique), dtype=bool)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, unique), len(run) - 1)
            fresh &= run[places] != unique
        new = np.zeros(len(digests), dtype=bool)
        new[first[fresh]] = True
        if fresh.any():
            run = unique[fresh]
            while self._runs and len(self._runs[-1]) < LARGER * len(run):
                run = np.concatenate([self._runs.pop(), run])
                run.sort(kind="stable")  # detects the two sorted runs and merges them
            self._runs.append(run)
        return new
