"""The filters of the cleaning: each scores pairs and says which may stay.

A filter is a function of some first texts and as many second texts. For each pair it returns None if the pair may stay,
and otherwise the score that speaks against it. `build` makes the filters of a pair of languages from the settings
(`lander.data.settings`), in their order. Most filters look at one pair at a time: these are rows of its table `checks`.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from lander.data import measures
from lander.data.overlap import Excluded, digest
from lander.data.settings import pair_threshold, thresholds
from lander.shared.languages import script_of

Score = float | str
Check = Callable[[str, str], Score | None]
Filter = Callable[[Sequence[str], Sequence[str]], Iterable[Score | None]]
Settings = dict[str, Any]
Languages = tuple[str, str]

LARGER = 8  # a run of `Seen` is at least this many times as long as the next one


def build(settings: Settings, languages: Languages, excluded: Excluded) -> list[tuple[str, Filter]]:
    """(reason, filter) in the order of the settings, for the steps that drop pairs (all but `repair`)."""

    def strictest(step: str, key: str) -> float:
        return pair_threshold(settings, languages, step, key, min)

    each_side = partial(_each_side, settings, languages)
    weights = tuple(thresholds(settings, language, "length_ratio")["weight"] for language in languages)
    ratio = partial(measures.length_ratio, weights=weights, slack=strictest("length_ratio", "slack"))
    most_numbers = strictest("numbers", "max")
    checks: dict[str, Check] = {
        "empty": lambda first, second: None if first.strip() and second.strip() else 0.0,
        # replacement characters: they stand for text that was lost earlier
        "damaged": lambda first, second: float(first.count("\ufffd") + second.count("\ufffd")) or None,
        "length": each_side("length", _length),
        "long_word": each_side("long_word", lambda text, limits: measures.longest_word(text, limits["max"]) or None),
        "length_ratio": _above(ratio, strictest("length_ratio", "max")),
        "markup": _markup(settings, languages),
        "alphabet": each_side("alphabet", _alphabet),
        "numbers": _above(measures.number_mismatch, most_numbers) if most_numbers < 1 else lambda first, second: None,
        "copied": _above(measures.copied, max(strictest("copied", "letters"), 1) - 1),
        "exclude": lambda first, second: "excluded" if first in excluded or second in excluded else None,
        "near_excluded": lambda first, second: excluded.similarity(first) or excluded.similarity(second),
    }
    default = settings["default"]
    off = {
        "repair": True,
        "duplicates": not default["duplicates"]["pair"],
        "near_excluded": default["near_excluded"]["similarity"] >= 1,
    }
    filters: list[tuple[str, Filter]] = []
    for step in settings["order"]:
        if off.get(step):
            continue
        if step == "language":
            filters.append((step, _language(settings, languages)))
        elif step == "duplicates":
            filters.append((step, Seen().check))
        else:
            filters.append((step, partial(map, checks[step])))
    return filters


def _each_side(
    settings: Settings, languages: Languages, step: str, fault: Callable[[str, dict[str, Any]], Score | None]
) -> Check:
    """Neither side has a fault, by the thresholds of its language."""
    of_first, of_second = (
        {**thresholds(settings, language, step), "own": script_of(language)} for language in languages
    )

    def check(first: str, second: str) -> Score | None:
        found = fault(first, of_first)
        return fault(second, of_second) if found is None else found

    return check


def _above(measure: Callable[[str, str], float], most: float) -> Check:
    """A measure of both sides is at most `most`."""

    def check(first: str, second: str) -> Score | None:
        value = measure(first, second)
        return value if value > most else None

    return check


def _length(text: str, limits: dict[str, Any]) -> Score | None:
    count = measures.length(text, limits["unit"])
    return None if limits["min"] <= count <= limits["max"] else count


def _alphabet(text: str, limits: dict[str, Any]) -> Score | None:
    """Too few letters among the characters (but spaces), or too few of the language's own script among the letters."""
    share = len(measures.letters(text)) / max(measures.length(text, "characters"), 1)
    if share < limits["letters"]:
        return share
    if limits["script"] and limits["own"] and (share := measures.script_share(text, limits["own"])) < limits["script"]:
        return share
    return None


def _markup(settings: Settings, languages: Languages) -> Check:
    """Few enough tags and entities on each side, and the same web addresses on both."""

    def fault(text: str, limits: dict[str, Any]) -> Score | None:
        count = measures.markup(text)
        return count if count > limits["max"] else None

    tags = _each_side(settings, languages, "markup", fault)
    if pair_threshold(settings, languages, "markup", "links", max) == "any":  # "same" > "any"
        return tags

    def check(first: str, second: str) -> Score | None:
        return tags(first, second) or ("links" if measures.links(first) != measures.links(second) else None)

    return check


# ---------------------------------------------------------------- filters that look at many pairs at once


def _language(settings: Settings, languages: Languages) -> Filter:
    """Both sides are probably in their language, as far as that can be judged."""
    from lander.data.langid import Judge  # loading the model takes a quarter of a second

    judges = [Judge(language, settings["candidates"], languages) for language in languages]
    if unknown := [language for language, judge in zip(languages, judges, strict=True) if not judge.knows]:
        print(
            f"lander data: warning: the language identifier does not know {', '.join(unknown)}; "
            "their texts are not checked for their language",
            file=sys.stderr,
        )
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


class Seen:
    """A set of 64-bit digests in 8 bytes each: sorted runs, each `LARGER` times as long as the next.

    New digests are merged into shorter runs, so that few runs remain to search and each number is rewritten only a few
    times. While the longest runs are merged there are two copies of them.
    """

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def check(self, firsts: Sequence[str], seconds: Sequence[str]) -> list[Score | None]:
        """The filter `duplicates`: a pair may not repeat one that has come this far."""
        keys = [digest(f"{first}\n{second}") for first, second in zip(firsts, seconds, strict=True)]
        return [None if new else "pair" for new in self.add(np.array(keys, dtype=np.uint64)).tolist()]

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
