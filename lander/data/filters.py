"""The filters of the cleaning: each scores pairs and says which may stay.

A filter is a function of some first texts and as many second texts. For each pair it returns None if the pair may stay,
and otherwise the score that speaks against it. `build` makes the filters of a pair of languages from the settings
(`lander.data.settings`), in their order. Most filters look at one pair at a time: for these, a maker below returns a
check of one pair.

To add a filter: a maker here and its entry in `MAKERS`; its place and thresholds in `lander.data.settings`.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from lander.data import measures
from lander.data.overlap import Excluded, digest
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
    checks: dict[str, Check] = {
        "empty": lambda first, second: None if first.strip() and second.strip() else 0.0,
        # replacement characters: they stand for text that was lost earlier
        "damaged": lambda first, second: float(first.count("\ufffd") + second.count("\ufffd")) or None,
        "exclude": lambda first, second: "excluded" if first in excluded or second in excluded else None,
        "near_excluded": lambda first, second: excluded.similarity(first) or excluded.similarity(second),
    }
    filters: list[tuple[str, Filter]] = []
    for step in settings["order"]:
        if step == "language":
            filters.append((step, _language(settings, languages)))
        elif step == "duplicates" and step not in off:
            filters.append((step, _duplicates()))
        elif step not in off:
            filters.append((step, partial(map, checks.get(step) or MAKERS[step](settings, languages))))
    return filters


# ---------------------------------------------------------------- checks of one side


def _each_side(
    step: str, fault: Callable[[str, dict[str, Any]], Score | None]
) -> Callable[[Settings, Languages], Check]:
    """A maker of the check that neither side has a fault, by the thresholds of its language."""

    def make(settings: Settings, languages: Languages) -> Check:
        of_first, of_second = (
            {**thresholds(settings, language, step), "own": measures.script_of(language)} for language in languages
        )

        def check(first: str, second: str) -> Score | None:
            found = fault(first, of_first)
            return fault(second, of_second) if found is None else found

        return check

    return make


def _length(text: str, limits: dict[str, Any]) -> Score | None:
    count = measures.length(text, limits["unit"])
    return None if limits["min"] <= count <= limits["max"] else count


def _long_word(text: str, limits: dict[str, Any]) -> Score | None:
    return measures.longest_word(text, limits["max"]) or None


def _tags(text: str, limits: dict[str, Any]) -> Score | None:
    count = measures.markup(text)
    return count if count > limits["max"] else None


def _alphabet(text: str, limits: dict[str, Any]) -> Score | None:
    """Too few letters among the characters, or too few of the language's own script among the letters."""
    if limits["letters"] and (share := measures.letter_share(text)) < limits["letters"]:
        return share
    if limits["script"] and limits["own"] and (share := measures.script_share(text, limits["own"])) < limits["script"]:
        return share
    return None


# ---------------------------------------------------------------- checks of both sides


def _above(measure: Callable[[str, str], float], most: float) -> Check:
    """A measure of both sides is at most `most`."""

    def check(first: str, second: str) -> Score | None:
        value = measure(first, second)
        return value if value > most else None

    return check


def _length_ratio(settings: Settings, languages: Languages) -> Check:
    weights = tuple(thresholds(settings, language, "length_ratio")["weight"] for language in languages)
    slack = pair_threshold(settings, languages, "length_ratio", "slack", min)
    most = pair_threshold(settings, languages, "length_ratio", "max", min)
    return _above(lambda first, second: measures.length_ratio(first, second, weights, slack), most)


def _markup(settings: Settings, languages: Languages) -> Check:
    """Few enough tags and entities on each side, and the same web addresses on both."""
    tags = _each_side("markup", _tags)(settings, languages)
    if pair_threshold(settings, languages, "markup", "links", max) == "any":  # "same" > "any"
        return tags

    def check(first: str, second: str) -> Score | None:
        return tags(first, second) or ("links" if measures.links(first) != measures.links(second) else None)

    return check


def _numbers(settings: Settings, languages: Languages) -> Check:
    most = pair_threshold(settings, languages, "numbers", "max", min)
    return _above(measures.number_mismatch, most) if most < 1 else lambda first, second: None


def _copied(settings: Settings, languages: Languages) -> Check:
    least = pair_threshold(settings, languages, "copied", "letters", min)
    return _above(measures.copied, max(least, 1) - 1)


MAKERS: dict[str, Callable[[Settings, Languages], Check]] = {
    "length": _each_side("length", _length),
    "long_word": _each_side("long_word", _long_word),
    "length_ratio": _length_ratio,
    "markup": _markup,
    "alphabet": _each_side("alphabet", _alphabet),
    "numbers": _numbers,
    "copied": _copied,
}


# ---------------------------------------------------------------- filters that look at many pairs at once


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
