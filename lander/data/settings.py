"""Settings of the cleaning: the order of the steps, their thresholds and defaults, and how languages override them.

The `cleaning` section of the config, and the JSON of `--cleaning`, is

    {"order": [...], "max_line": 100000, "default": {STEP: {KEY: VALUE}}, "languages": {CODE: {STEP: {KEY: VALUE}}}}

and whatever it leaves out comes from `DEFAULTS`. A pair must pass what is looked at on one side (length, long_word,
markup, alphabet, language) by that side's thresholds. Where a step compares both sides (length_ratio, numbers,
copied), a threshold that one of the two languages states goes before the default; where both do, the stricter counts.
"""

from copy import deepcopy
from typing import Any

from lander.shared.errors import UserError

ORDER = (
    "repair", "empty", "damaged", "length", "long_word", "length_ratio", "markup", "alphabet", "numbers", "copied",
    "language", "exclude", "near_excluded", "duplicates",
)  # fmt: skip
"""Every step, cheap ones first: a config may leave steps out or put them in another order."""

# Scripts without spaces between words: a character stands for itself
_NO_SPACES = {"length": {"unit": "characters", "max": 400}, "language": {"letters": 8}}
_IDEOGRAPHS = {**_NO_SPACES, "alphabet": {"script": 0.1}}  # a name in Latin letters soon outnumbers them

DEFAULTS: dict[str, Any] = {
    "order": list(ORDER),
    "max_line": 100_000,  # characters; a longer line in a source is an error, 0 leaves it to the length filter
    "default": {
        # Unicode form (NFC, NFKC, none) and repair of text decoded with the wrong encoding; spaces always collapse
        "repair": {"form": "NFC", "encoding": True},
        "length": {"unit": "words", "min": 1, "max": 200},
        # lengths in characters without spaces, times `weight` (what a character of the language says, in Latin ones);
        # `slack` is added to both, so that short texts may differ more
        "length_ratio": {"weight": 1.0, "slack": 15, "max": 3.0},
        "long_word": {"max": 60},  # characters between spaces; texts of web addresses and of damage
        # tags and entities allowed in a text; `links`: web addresses may be "any", must be the "same" on both sides
        "markup": {"max": 0, "links": "same"},
        # least share of letters among the characters, and of the language's own script among the letters
        "alphabet": {"letters": 0.2, "script": 0.2},
        # largest share of the numbers of the side with fewer that the other lacks; 1 allows all, as good translators
        # do: 3 pm is 15 Uhr, 10 inches are 25 Zentimeter (0.5 drops 1.2% of a news test set, all of it sound)
        "numbers": {"max": 1.0},
        "copied": {"letters": 20},  # fewest letters of a text that counts as copied: names stay the same
        # fewest letters of a text that is judged, and least probability of its language among the candidates. Measured
        # on news, scripture and manuals: of 25 to 35 letters 0.2% of good texts are dropped and 92% of wrong ones, of
        # 35 to 50 0.2% and 98%, beyond 0.02% and 99.9%
        "language": {"letters": 25, "probability": 0.001},
        # texts as similar as this to one of data.exclude are dropped too (lander.data.overlap); 1 is off, the default,
        # because formulaic text (dates, scripture, manuals) is full of sentences that are near and yet new
        "near_excluded": {"similarity": 1.0},
        "duplicates": {"pair": True, "source": False, "target": False},
    },
    "languages": {
        "zh": {**_IDEOGRAPHS, "length_ratio": {"weight": 2.8}},
        "ja": {**_IDEOGRAPHS, "length_ratio": {"weight": 2.2}},
        "ko": {"length_ratio": {"weight": 2.0}},
        "th": _NO_SPACES,
        "lo": _NO_SPACES,
        "km": _NO_SPACES,
        "my": _NO_SPACES,
        "ar": {"length_ratio": {"weight": 1.3}},
        "he": {"length_ratio": {"weight": 1.3}},
        "fa": {"length_ratio": {"weight": 1.2}},
    },
    # beside the two languages of a pair: others that a text of it may turn out to be in
    "candidates": ["ar", "de", "en", "es", "fr", "it", "ru", "zh"],
}


def resolve(cleaning: dict[str, Any] | None) -> dict[str, Any]:
    """Fill what `cleaning` leaves out from `DEFAULTS`, and check names and types.

    Raises:
        UserError: an unknown step or key, or a value of the wrong type; the message names the key.
    """
    cleaning = cleaning or {}
    settings = deepcopy(DEFAULTS)
    for key in cleaning:
        if key not in settings:
            raise UserError(f"data.cleaning: unknown key {key!r}; there are: {', '.join(settings)}")
    for key in ("order", "max_line", "candidates"):
        if key in cleaning:
            _check_type(key, cleaning[key], settings[key])
            settings[key] = deepcopy(cleaning[key])
    for step in settings["order"]:
        if step not in ORDER:
            raise UserError(f"data.cleaning.order: unknown step {step!r}; there are: {', '.join(ORDER)}")
        if settings["order"].count(step) > 1:
            raise UserError(f"data.cleaning.order: {step!r} stands there twice")
    _merge(settings["default"], cleaning.get("default") or {}, "default")
    languages = cleaning.get("languages") or {}
    if not isinstance(languages, dict):
        raise UserError("data.cleaning.languages: must map language codes to steps")
    if not all(isinstance(code, str) for code in settings["candidates"]):
        raise UserError("data.cleaning.candidates: must be a list of language codes")
    for language, steps in languages.items():
        _merge(settings["languages"].setdefault(language, {}), steps or {}, f"languages.{language}")
    return settings


def thresholds(settings: dict[str, Any], language: str, step: str) -> dict[str, Any]:
    """Thresholds of a step for a language: the default ones and, over them, its own."""
    return {**settings["default"].get(step, {}), **_own(settings, language).get(step, {})}


def pair_threshold(settings: dict[str, Any], languages: tuple[str, str], step: str, key: str, strict: Any) -> Any:
    """The one threshold of a step that compares both sides; `strict` is `min` or `max`, whichever is the stricter."""
    stated = [_own(settings, language).get(step, {}) for language in languages]
    values = [own[key] for own in stated if key in own]
    return strict(values) if values else settings["default"][step][key]


def _own(settings: dict[str, Any], language: str) -> dict[str, dict[str, Any]]:
    """What is stated for a language; for `zh-Hant`, over what is stated for `zh`."""
    general = settings["languages"].get(language.split("-")[0], {})
    special = settings["languages"].get(language, {})
    return {step: {**general.get(step, {}), **special.get(step, {})} for step in {*general, *special}}


def _merge(into: dict[str, Any], steps: dict[str, Any], place: str) -> None:
    """Merge {step: {key: value}} over `into`, checked against the default's keys and types."""
    if not isinstance(steps, dict):
        raise UserError(f"data.cleaning.{place}: must map steps to their thresholds")
    for step, values in steps.items():
        known = DEFAULTS["default"].get(step)
        if known is None:
            raise UserError(
                f"data.cleaning.{place}: unknown step {step!r}; with thresholds are: {', '.join(DEFAULTS['default'])}"
            )
        if step in ("duplicates", "near_excluded") and place != "default":
            raise UserError(f"data.cleaning.{place}: {step} is the same for all languages, set it in `default`")
        if not isinstance(values, dict):
            raise UserError(f"data.cleaning.{place}.{step}: must be a mapping of {', '.join(known)}")
        for key, value in values.items():
            if key not in known:
                raise UserError(f"data.cleaning.{place}.{step}: unknown key {key!r}; there are: {', '.join(known)}")
            _check_type(f"{place}.{step}.{key}", value, known[key])
        into[step] = {**into.get(step, {}), **values}


CHOICES = {"form": ("NFC", "NFKC", "none"), "unit": ("words", "characters"), "links": ("any", "same")}


def _check_type(place: str, value: object, example: object) -> None:
    kind = (int, float) if isinstance(example, int | float) and not isinstance(example, bool) else type(example)
    if not isinstance(value, kind) or (isinstance(value, bool) and not isinstance(example, bool)):
        raise UserError(f"data.cleaning.{place}: {value!r} should be of the kind of {example!r}")
    choices = CHOICES.get(place.rsplit(".", 1)[-1])
    if choices and value not in choices:
        raise UserError(f"data.cleaning.{place}: {value!r} is none of {', '.join(choices)}")
    if isinstance(value, int | float) and not isinstance(value, bool) and not value >= 0:
        raise UserError(f"data.cleaning.{place}: {value!r} is below 0, or no number")
    if place.endswith(".similarity") and not 0 < value <= 1:
        raise UserError(f"data.cleaning.{place}: {value!r} is not above 0 and at most 1")
