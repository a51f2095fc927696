"""What methods, directions, test sets and metrics are called, and in which order they are shown."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from lander.config.methods import METHODS
from lander.evaluate.bleu import base_language
from lander.evaluate.collect import MEANS
from lander.shared.languages import parse_direction
from lander.shared.runs import Model

Method = tuple[str, str]  # method, variant
ORDER = tuple(METHODS)
GROUPS = ("out of English", "into English", "other directions")  # of directions
MEAN_LABELS = {"mean": "all", "mean-out-of-en": "out of en", "mean-into-en": "into en"}
ZERO_SHOT_VARIANTS = {"main": "fixed instruction", "best-prompt": "best prompt"}
LESS, MORE = "better:less", "better:more"  # in the signature of a metric of `evaluate.neural`


# ---------------------------------------------------------------- methods, directions, test sets


def method_of(model: Model) -> Method:
    """The method and variant of a model, without its seed."""
    return model.method, model.variant


def method_key(run: Method) -> tuple:
    """Sort key: methods in the order of the registry, unknown ones last; `main` before the other variants."""
    method, variant = run
    place = ORDER.index(method) if method in ORDER else len(ORDER)
    return (place, method, variant != "main", variant)


def run_label(run: Method) -> str:
    """`landermt`, `landermt (k8)`; for zero-shot always the prompt."""
    method, variant = run
    if method == "zero-shot":
        return f"zero-shot ({ZERO_SHOT_VARIANTS.get(variant, variant)})"
    return method if variant == "main" else f"{method} ({variant})"


def direction_group(name: str) -> str:
    """The group of a direction: out of English, into English, or neither."""
    pair = parse_direction(name)
    if base_language(pair.source) == "en":
        return "out of English"
    return "into English" if base_language(pair.target) == "en" else "other directions"


def group_heading(group: str, groups: Iterable[str]) -> str:
    """Heading of a group of directions. In a run without English the directions are not "other" ones."""
    return "directions" if set(groups) == {"other directions"} else group


def sort_directions(names: Iterable[str]) -> list[str]:
    """Pairs together, the direction out of English first: en-ar, ar-en, en-de, de-en. Means are left out."""

    def key(name: str) -> tuple:
        return str(parse_direction(name).pair), direction_group(name) != "out of English", name

    return sorted((name for name in names if name not in MEANS), key=key)


def sort_tests(names: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Test sets in the order of the config, then the others by name."""
    order = list(wanted)
    return sorted(set(names), key=lambda name: (order.index(name) if name in order else len(order), name))


# ---------------------------------------------------------------- metrics


class Look(NamedTuple):
    """How the scores of a metric are shown. `best` is `max` or `min`; empty if neither is better, or it is unknown."""

    heading: str
    digits: int
    factor: float
    best: str

    def text(self, score: float) -> str:
        """A score as it is printed; a dash for NaN."""
        return "–" if math.isnan(score) else f"{score * self.factor:.{self.digits}f}"


METRICS: dict[str, Look] = {
    "bleu": Look("BLEU", 1, 1, "max"),
    "chrf2++": Look("chrF2++", 1, 1, "max"),
    "bleu_unseen": Look("BLEU on the items that are not in the training data", 1, 1, "max"),
    "chrf2++_unseen": Look("chrF2++ on the items that are not in the training data", 1, 1, "max"),
    "spbleu": Look("spBLEU", 1, 1, "max"),
    "comet": Look("COMET", 3, 1, "max"),
    "loss_per_character": Look("Loss of the references, nats per character (less is better)", 3, 1, "min"),
    "bleu_13a": Look("BLEU with tokenizer 13a for every target language, as in the paper", 1, 1, "max"),
    "bleu_raw": Look("BLEU of the raw output, before it is cut at the first line break", 1, 1, "max"),
    "length_ratio": Look("Length ratio: characters of the translations / of the references", 2, 1, ""),
    "length_ratio_raw": Look("Length ratio of the raw output", 2, 1, ""),
    "empty": Look("Empty translations, % of items", 1, 100, ""),
    "copied": Look("Translations that repeat the source, % of items", 1, 100, ""),
    "off_target": Look("Off-target translations (in a wrong language), % of items", 1, 100, ""),
    "language_unknown": Look("Translations too short to identify their language, % of items", 1, 100, ""),
    "cut": Look("Translations cut off at the length limit, % of items", 1, 100, ""),
    "cut_raw": Look("Raw outputs that ended at the length limit, % of items", 1, 100, ""),
    "repeated": Look("Repetition: 4-grams that occurred before in the same translation, %", 1, 100, ""),
    "contaminated": Look("Test items whose source or reference is in the training data, %", 1, 100, ""),
}


def look(metric: str, signatures: Iterable[str] = ()) -> Look:
    """How a metric is shown. The signatures decide for a metric that is not in `METRICS`."""
    if metric in METRICS:
        return METRICS[metric]
    words = metric.replace("_", " ")
    fields = [set(signature.split("|")) for signature in signatures]
    if fields and all("unit:share" in one for one in fields):
        return Look(f"{words}, % of items", 1, 100, "")
    if fields and all(LESS in one for one in fields):
        return Look(f"{words} (less is better)", 3, 1, "min")
    return Look(words, 3, 1, "max" if fields and all(MORE in one for one in fields) else "")


def sort_metrics(names: Iterable[str]) -> list[str]:
    """Metrics in the order of `METRICS`, then the others by name."""
    there = set(names)
    return [name for name in METRICS if name in there] + sorted(there - set(METRICS))
