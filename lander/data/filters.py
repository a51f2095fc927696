"""The filters of the cleaning: each scores a pair and says whether it may stay.

A filter is a function of some first and as many second texts: for each pair it gives None where the pair may stay, and
the score that spoke against it where not. `build` makes the filters of a pair of languages from the settings
(`lander.data.settings`), in their order. Most look at one pair at a time (`_each`).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from lander.data import measures
from lander.data.overlap import Excluded, digest
from lander.data.repair import repair
from lander.data.seen import Seen
from lander.data.settings import pair_threshold, thresholds

Score = float | str
Check = Callable[[str, str], Score | None]
Filter = Callable[[Sequence[str], Sequence[str]], Iterable[Score | None]]
Settings = dict[str, Any]
Languages = tuple[str, str]


def build(settings: Settings, languages: Languages, excluded: Excluded) -> list[tuple[str, Filter]]:
    """(reason, filter) in the order of the settings, for the steps that drop pairs (all but `repair`)."""
    makers: dict[str, Callable[[], Filter]] = {
        "empty": lambda: _each(_empty),
        "damaged": lambda: _each(_damaged),
        "length": lambda: _each(_length(settings, languages)),
        "long_word": lambda: _each(_long_word(settings, languages)),
        "length_ratio": lambda: _each(_length_ratio(settings, languages)),
        "markup": lambda: _each(_markup(settings, languages)),
        "alphabet": lambda: _each(_alphabet(settings, languages)),
        "numbers": lambda: _each(_numbers(settings, languages)),
        "copied": lambda: _each(_copied(settings, languages)),
        "language": lambda: _language(settings, languages),
        "exclude": lambda: _each(_exclude(excluded)),
        "near_excluded": lambda: _each(_near_excluded(excluded)),
        "duplicates": _duplicates,
    }
    off = set() if settings["default"]["duplicates"]["pair"] else {"duplicates"}
    if settings["default"]["near_excluded"]["similarity"] >= 1:
        off.add("near_excluded")
    return [(step, makers[step]()) for step in settings["order"] if step != "repair" and step not in off]


def repairer(settings: Settings, language: str) -> Callable[[str], str]:
    """The repair of one language's texts."""
    options = thresholds(settings, language, "repair")
    form, encoding = options["form"], options["encoding"]
    return lambda text: repair(text, form, encoding)


def _each(check: Check) -> Filter:
    """A filter that looks at one pair at a time."""
    return partial(map, check)


def _empty(first: str, second: str) -> Score | None:
    return None if first.strip() and second.strip() else 0.0


def _damaged(first: str, second: str) -> Score | None:
    """Replacement characters: text that was lost before it came to us."""
    return float(first.count("\ufffd") + second.count("\ufffd")) if "\ufffd" in first or "\ufffd" in second else None


def _length(settings: Settings, languages: Languages) -> Check:
    """Both sides hold between `min` and `max` words or characters."""
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

    def check(first: str, second: str) -> Score | None:
        return measures.longest_word(first, most_1) or measures.longest_word(second, most_2) or None

    return check


def _length_ratio(settings: Settings, languages: Languages) -> Check:
    weights = tuple(thresholds(settings, language, "length_ratio")["weight"] for language in languages)
    slack = pair_threshold(settings, languages, "length_ratio", "slack", min)
    most = pair_threshold(settings, languages, "length_ratio", "max", min)

    def check(first: str, second: str) -> Score | None:
        ratio = measures.length_ratio(first, second, weights, slack)
        return ratio if ratio > most else None

    return check


def _markup(settings: Settings, languages: Languages) -> Check:
    """No tags and entities beyond `max` on a side; the same web addresses on both sides."""
    most_1, most_2 = (thresholds(settings, language, "markup")["max"] for language in languages)
    same_links = pair_threshold(settings, languages, "markup", "links", max) == "same"  # "same" > "any"

    def check(first: str, second: str) -> Score | None:
        if (count := measures.markup(first)) > most_1 or (count := measures.markup(second)) > most_2:
            return count
        return "links" if same_links and measures.links(first) != measures.links(second) else None

    return check


def _alphabet(settings: Settings, languages: Languages) -> Check:
    """Enough letters among the characters, and of the right script among the letters, on both sides."""
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
    if most >= 1:
        return lambda first, second: None

    def check(first: str, second: str) -> Score | None:
        share = measures.number_mismatch(first, second)
        return share if share > most else None

    return check


def _copied(settings: Settings, languages: Languages) -> Check:
    least = pair_threshold(settings, languages, "copied", "letters", min)

    def check(first: str, second: str) -> Score | None:
        count = measures.copied(first, second)
        return count if count and count >= least else None

    return check


def _language(settings: Settings, languages: Languages) -> Filter:
    """Both sides are probably in their language, as far as it can be told."""
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


def _exclude(excluded: Excluded) -> Check:
    """Neither side is one of the excluded texts, of whatever language."""

    def check(first: str, second: str) -> Score | None:
        return "excluded" if excluded.digests and (first in excluded or second in excluded) else None

    return check


def _near_excluded(excluded: Excluded) -> Check:
    """Neither side is nearly one of the excluded texts."""

    def check(first: str, second: str) -> Score | None:
        return excluded.similarity(first) or excluded.similarity(second)

    return check


def _duplicates() -> Filter:
    """The pair has not been seen before; what is seen here has passed every step before this one."""
    seen = Seen()

    def check(firsts: Sequence[str], seconds: Sequence[str]) -> list[Score | None]:
        keys = [digest(f"{first}\n{second}") for first, second in zip(firsts, seconds, strict=True)]
        return [None if new else "pair" for new in seen.add(np.array(keys, dtype=np.uint64)).tolist()]

    return check
