"""Settings of the cleaning: the order of the steps, their thresholds and defaults, and how languages override them.

The `cleaning` section of the config, and the JSON of `--cleaning`, is

    {"order": [...], "max_line": 100000, "default": {STEP: {KEY: VALUE}}, "languages": {CODE: {STEP: {KEY: VALUE}}}}

and what it leaves out is as declared below. Each side must pass the steps that look at one side (length, long_word,
markup, alphabet, language) by its own thresholds. If a step compares both sides (length_ratio, numbers, copied), a
threshold that one of the two languages states goes before the default; if both state it, the stricter counts.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_serializer

from lander.shared.errors import UserError
from lander.shared.languages import main_language, parse_language
from lander.shared.section import Distinct, Section
from lander.shared.validation import validate
from lander.shared.yamlfile import read_yaml

LANGUAGES = Path(__file__).with_name("languages.yaml")  # what Lander states of single languages

Step = Literal[
    "repair", "empty", "damaged", "length", "long_word", "length_ratio", "markup", "alphabet", "numbers", "copied",
    "language", "exclude", "near_excluded", "duplicates",
]  # fmt: skip
ORDER: tuple[Step, ...] = Step.__args__
"""Every step, cheap ones first: a config may leave steps out or put them in another order."""

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Repair(Section):
    """Unicode and white space."""

    form: Literal["NFC", "NFKC", "none"] = Field("NFC", description="Unicode normal form.")
    encoding: bool = Field(True, description="Whether text that was decoded with the wrong encoding is repaired.")


class Length(Section):
    """Length of a text."""

    unit: Literal["words", "characters"] = Field("words", description="What is counted.")
    min: Count = Field(1, description="Fewest of them.")
    max: Count = Field(200, description="Most of them.")


class LengthRatio(Section):
    """Lengths of the two texts against each other."""

    weight: float = Field(1.0, ge=0, description="How many Latin characters a character of the language is worth.")
    slack: float = Field(15, ge=0, description="Added to both lengths, so that short texts may differ more.")
    max: float = Field(3.0, ge=0, description="Largest ratio.")


class LongWord(Section):
    """Long words, as in web addresses and damaged text."""

    max: Count = Field(60, description="Most characters between spaces.")


class Markup(Section):
    """Tags, entities and web addresses."""

    max: Count = Field(0, description="Most tags and entities in a text.")
    links: Literal["any", "same"] = Field("same", description="Web addresses: any, or the same on both sides.")


class Alphabet(Section):
    """Characters."""

    letters: Share = Field(0.2, description="Least share of letters among the characters.")
    script: Share = Field(0.2, description="Least share of the language's own script among the letters.")


class Numbers(Section):
    """Numbers."""

    # 1 allows all, as good translators do: 3 pm is 15 Uhr, 10 inches are 25 Zentimeter. (0.5 drops 1.2% of a news test
    # set, all of it sound.)
    max: Share = Field(
        1.0, description="Largest share of a side's numbers that the other side lacks; 1 allows everything."
    )


class Copied(Section):
    """Translations that are the source itself."""

    letters: Count = Field(20, description="Fewest letters of a text that counts as copied: names stay the same.")


class Language(Section):
    """Language identification on both sides."""

    # Measured on news, scripture and manuals: of 25 to 35 letters 0.2% of good texts are dropped and 92% of wrong ones,
    # of 35 to 50 0.2% and 98%, beyond 0.02% and 99.9%.
    letters: Count = Field(25, description="Fewest letters of a text that is judged.")
    probability: Share = Field(0.001, description="Least probability of the text's language among the candidates.")


class NearExcluded(Section):
    """Texts that are nearly one of data.exclude."""

    # Off by default: formulaic text (dates, scripture, manuals) is full of sentences that are near and yet new.
    similarity: float = Field(
        1.0,
        gt=0,
        le=1,
        description="A text is dropped if it shares this part of its character n-grams (Jaccard) with an excluded one; "
        "0.7 finds a sentence with one word changed; 1 is off.",
    )


class Duplicates(Section):
    """Repetitions."""

    pair: bool = Field(True, description="Whether a repeated pair is dropped.")
    source: bool = Field(False, description="Whether a repeated text of the first language is dropped.")
    target: bool = Field(False, description="Whether a repeated text of the second language is dropped.")


def step(section: type[Section]) -> Any:
    return Field(section(), description=section.__doc__)


class Thresholds(Section):
    """Thresholds of the cleaning steps."""

    repair: Repair = step(Repair)
    length: Length = step(Length)
    length_ratio: LengthRatio = step(LengthRatio)
    long_word: LongWord = step(LongWord)
    markup: Markup = step(Markup)
    alphabet: Alphabet = step(Alphabet)
    numbers: Numbers = step(Numbers)
    copied: Copied = step(Copied)
    language: Language = step(Language)
    near_excluded: NearExcluded = step(NearExcluded)
    duplicates: Duplicates = step(Duplicates)


class Cleaning(Section):
    """What is dropped from the training pairs, in which order, with which thresholds."""

    order: Annotated[tuple[Step, ...], Distinct] = Field(
        ORDER, description="The steps, first to last; a step that is left out is not taken."
    )
    max_line: Count = Field(
        100_000, description="A line of more characters is an error; 0 leaves it to the step length."
    )
    candidates: tuple[str, ...] = Field(
        ("ar", "de", "en", "es", "fr", "it", "ru", "zh"),
        description="Languages that a text may turn out to be in, beside the two of its pair.",
    )
    default: Thresholds = Field(Thresholds(), description="Thresholds of each step.")
    languages: dict[str, Thresholds] = Field(
        {},
        description="Thresholds of single languages, as code to steps. They win over the default, and are merged over "
        "those that Lander has for zh, ja, ar and others.",
    )

    @field_serializer("languages")
    def _stated(self, languages: dict[str, Thresholds]) -> dict[str, Any]:
        """Only what is stated of a language: the rest is the default's."""
        return {code: own.model_dump(mode="json", exclude_unset=True) for code, own in languages.items()}


def resolve(cleaning: Cleaning | dict[str, Any]) -> dict[str, Any]:
    """The whole section `cleaning` (or raw values of one, as in the JSON of --cleaning) as plain values.

    What it states of single languages is merged over what Lander states of them.
    """
    section = cleaning if isinstance(cleaning, Cleaning) else validate(Cleaning, cleaning, "data.cleaning")
    found = section.model_dump(mode="json")
    stated, found["languages"] = found["languages"], read_yaml(LANGUAGES)
    for code, steps in stated.items():
        own = found["languages"].setdefault(code, {})
        for step, values in steps.items():
            if step in ("duplicates", "near_excluded"):
                raise UserError(
                    f"data.cleaning.languages.{code}: {step} is the same for all languages, set it in `default`"
                )
            own[step] = own.get(step, {}) | values
    return found


DEFAULTS = resolve({})


def thresholds(settings: dict[str, Any], language: str, step: str) -> dict[str, Any]:
    """Thresholds of a step for a language: the default ones and, over them, its own."""
    return settings["default"].get(step, {}) | _own(settings, language, step)


def repair_options(settings: dict[str, Any], language: str) -> dict[str, Any] | None:
    """Options of `repair` for a language; None if nothing is repaired."""
    return thresholds(settings, language, "repair") if "repair" in settings["order"] else None


def pair_threshold(settings: dict[str, Any], languages: tuple[str, str], step: str, key: str, strict: Any) -> Any:
    """The one threshold of a step that compares both sides; `strict` is `min` or `max`, whichever is the stricter."""
    values = [own[key] for language in languages if key in (own := _own(settings, language, step))]
    return strict(values) if values else settings["default"][step][key]


def _own(settings: dict[str, Any], language: str, step: str) -> dict[str, Any]:
    """What is stated for a language, under any of its codes; for `zh-Hant`, over what is stated for `zh`.

    In a script without spaces, it is stated over that of the script's main language, for `yue` over that of `zh`. What
    Lander states is for the usual scripts of a language: not for `zh-Latn`.
    """
    own, found, stated = parse_language(language), {}, settings["languages"]
    base, main = parse_language(own.base), main_language(own.script)
    usual = own.script == base.script or main == own.base or own.base not in read_yaml(LANGUAGES)
    wider = [*([base] if usual else []), own._replace(region=None, variants=()), own]
    if stated.get(main, {}).get("length", {}).get("unit") == "characters":
        wider.insert(0, parse_language(main))
    for wanted in dict.fromkeys(wider):
        for code, steps in stated.items():
            found |= steps.get(step, {}) if parse_language(code) == wanted else {}
    return found
