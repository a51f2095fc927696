"""Corpus `cldr`: multi-parallel phrases generated from the Unicode CLDR; correct, deterministic and endless.

A line is a small tree (a list, a date, "label: value" ...) drawn from the line's number alone. It is written out in
each language with that language's CLDR patterns, through Babel; emoji names come from the `emoji` package. So line n is
the same segment in every language, independent of the range and the other languages.

The corpus has an easy and a hard part (docs/decisions.md). A hash divides the entities (territories, languages,
currencies, units, emoji) into *known* and *new* ones. Lines of the vocabulary `known` hold only known entities in the
common patterns: the bilingual part of pretraining reads these. Lines of the vocabulary `all` mostly hold new entities,
also in two more patterns: a finetune has to learn them.

By convention, pretraining reads lines from 1,000,000 up, and runs read lines below.

    lines(("en", "de"), 0, 2)  ->  {"en": [line 0, line 1], "de": [line 0, line 1]}
"""

import datetime
import hashlib
import random
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

import emoji
from babel import Locale
from babel.dates import format_date, format_interval, format_skeleton, format_time, format_timedelta
from babel.lists import format_list
from babel.numbers import format_currency, format_percent
from babel.units import format_unit

from lander.shared.errors import UserError
from lander.shared.languages import find_language
from lander.shared.yamlfile import read_yaml

LANGUAGES = ("ar", "de", "en", "es", "fa", "fr", "id", "it", "ja", "ko", "pt", "ru", "tr", "zh")
"""Languages of the corpus: those in which the `emoji` package names emoji. CLDR has many more, but a segment must exist
in every language, or line n would depend on the other languages."""

KNOWN_SHARE = 0.5  # of the entities
NEW_DRAWS = 0.7  # share of the entities in lines of the vocabulary `all` that are new ones

ENTITIES = {kind: tuple(codes.split()) for kind, codes in read_yaml(Path(__file__).with_name("cldr.yaml")).items()}

PATTERNS = {  # of CLDR that Babel does not offer: localePattern and localeKeyTypePattern
    "beside": {"": "{0} ({1})", "zh": "{0}（{1}）", "ko": "{0}({1})"},
    "label": {"": "{0}: {1}", "zh": "{0}：{1}", "fr": "{0} : {1}"},
}
# Plain spaces and no invisible direction marks, so that data cleaning leaves the text as it is
_PLAIN = str.maketrans(dict.fromkeys("\u00a0\u2009\u202f", " ") | dict.fromkeys("\u200e\u200f\u061c"))

Tree = tuple  # (kind, arguments...), the same in every language; `_write` and `_write_leaf` have the kinds


def lines(languages: Sequence[str], start: int, stop: int, vocabulary: str = "all") -> dict[str, list[str]]:
    """Lines `start` <= n < `stop` in each language, in order. UserError if the corpus does not have a language."""
    own = {language: find_language(language, LANGUAGES) for language in languages}
    if unserved := [language for language, code in own.items() if code is None]:
        raise UserError(
            f"builtin corpus cldr: it has no language {', '.join(unserved)}, only {' '.join(LANGUAGES)}; "
            "take another source for it"
        )
    trees = [_draw_line(_Dice(f"{vocabulary} {number}"), vocabulary == "all") for number in range(start, stop)]
    return {language: [_write(code, tree).translate(_PLAIN) for tree in trees] for language, code in own.items()}


@cache
def entities(kind: str, new: bool) -> tuple[str, ...]:
    """The known or the new entities of a kind (`territory`, `language`, `currency`, `unit`, `emoji`).

    A code's side follows from a hash of the code alone, so a further entity moves no other.
    """
    hashes = {code: hashlib.blake2b(f"{kind} {code}".encode()).digest()[0] for code in ENTITIES[kind]}
    return tuple(code for code, first in hashes.items() if (first >= KNOWN_SHARE * 256) == new)


class _Dice(random.Random):
    """Draws made from `random` alone: Python promises never to change its sequence."""

    def below(self, stop: int) -> int:
        return int(self.random() * stop)

    def pick(self, values: tuple) -> object:
        return values[self.below(len(values))]


# ---------------------------------------------------------------- the content of a line


def _draw_line(dice: _Dice, every: bool) -> Tree:
    """The tree of a line; `every`: also new entities and the patterns of the vocabulary `all`."""
    shape = dice.below(12 if every else 8)
    if shape < 3:
        return _draw_list(dice, "standard", 2 + dice.below(4), every)
    if shape < 5:
        return ("beside", _draw_list(dice, "standard", 1 + dice.below(3), every), _draw_name(dice, every))
    if shape < 6:
        return ("beside", _draw_time(dice), _draw_name(dice, every))
    if shape < 7:
        return ("list", "standard", (_draw_amount(dice, every), _draw_amount(dice, every), _draw_name(dice, every)))
    if shape < 8:
        return ("beside", _draw_list(dice, "standard", 2, every), _draw_time(dice))
    if shape < 10:
        return _draw_list(dice, "or", 2 + dice.below(3), every)
    return ("label", _draw_name(dice, every), _draw_list(dice, "standard", 1 + dice.below(3), every))


def _draw_list(dice: _Dice, style: str, length: int, every: bool) -> Tree:
    items: dict[Tree, None] = {}
    while len(items) < length:
        items[_draw_name(dice, every)] = None
    return ("list", style, tuple(items))


def _draw_name(dice: _Dice, every: bool) -> Tree:
    """An entity, sometimes an amount of something."""
    chance = dice.random()
    if chance >= 0.9:
        return _draw_amount(dice, every)
    kind = "territory" if chance < 0.3 else "language" if chance < 0.5 else "emoji"
    return (kind, _draw_code(dice, kind, every))


def _draw_amount(dice: _Dice, every: bool) -> Tree:
    chance = dice.random()
    if chance < 0.1:
        return ("percent", 1 + dice.below(99))
    kind = "currency" if chance < 0.7 else "unit"
    number = (2 + dice.below(98)) * dice.pick((1, 1, 10, 100))
    return (kind, _draw_code(dice, kind, every), number)


def _draw_code(dice: _Dice, kind: str, every: bool) -> str:
    return dice.pick(entities(kind, every and dice.random() < NEW_DRAWS))


def _draw_time(dice: _Dice) -> Tree:
    """A date, a month, a range of days, a time of day, or a time from now."""
    shape = dice.below(6)
    day = datetime.date(1990, 1, 1) + datetime.timedelta(days=dice.below(15000))
    if shape < 2:
        return ("date", day, ("full", "long")[shape])
    if shape < 3:
        return ("month", day.replace(day=1))
    if shape < 4:
        return ("interval", day, day + datetime.timedelta(days=2 + dice.below(40)))
    if shape < 5:
        return ("time", datetime.time(dice.below(24), dice.below(60)))
    # above these numbers Babel would round to the next larger unit
    unit, most = dice.pick((("seconds", 50), ("minutes", 50), ("hours", 20), ("days", 5), ("weeks", 3)))
    return ("relative", datetime.timedelta(**{unit: (1 + dice.below(most)) * dice.pick((-1, 1))}))


# ---------------------------------------------------------------- its text in a language


@cache
def _locale(language: str) -> Locale:
    emoji.config.load_language(language)
    return Locale(language)


@lru_cache(maxsize=100_000)
def _write_leaf(language: str, leaf: Tree) -> str:
    locale = _locale(language)
    match leaf:
        case ("territory", code):
            return locale.territories[code]
        case ("language", code):
            return locale.languages[code]
        case ("emoji", character):
            return emoji.EMOJI_DATA[character][language].strip(":").replace("_", " ").strip()
        case ("currency", code, number):
            return format_currency(number, code, locale=locale, format_type="name", currency_digits=False)
        case ("unit", code, number):
            return format_unit(number, code, "long", locale=locale)
        case ("percent", number):
            return format_percent(number / 100, locale=locale)
        case ("date", day, style):
            return format_date(day, style, locale=locale)
        case ("month", day):
            return format_skeleton("yMMMM", day, locale=locale)
        case ("interval", first, last):
            return format_interval(first, last, "yMMMd", locale=locale)
        case ("time", time):
            return format_time(time, "short", locale=locale)
        case ("relative", delta):
            return format_timedelta(delta, add_direction=True, locale=locale)


def _write(language: str, tree: Tree) -> str:
    """A tree as text, in that language's own patterns."""
    match tree:
        case ("list", style, items):
            return format_list([_write(language, item) for item in items], style, locale=_locale(language))
        case ("beside" | "label" as kind, *parts):
            pattern = PATTERNS[kind].get(language, PATTERNS[kind][""])
            return pattern.format(*(_write(language, part) for part in parts))
    return _write_leaf(language, tree)
