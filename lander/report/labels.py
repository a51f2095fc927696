"""What methods, directions, test sets and metrics are called, and in which order they are shown."""

from collections.abc import Iterable

from lander.config.methods import METHODS
from lander.evaluate.collect import MEANS
from lander.shared.languages import base_language, parse_direction
from lander.shared.runs import Model

Method = tuple[str, str]  # method, variant
ORDER = tuple(METHODS)
GROUPS = ("out of English", "into English", "other directions")  # of directions
SIDES = {"mean-out-of-en": "out of English", "mean-into-en": "into English"}
MEAN_LABELS = {"mean": "all", "mean-out-of-en": "out of en", "mean-into-en": "into en"}
ZERO_SHOT_VARIANTS = {"main": "fixed instruction", "best-prompt": "best prompt"}


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


def in_order(names: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Names in a wanted order, such as test sets in that of the config; then the others by name."""
    order = list(wanted)
    return sorted(set(names), key=lambda name: (order.index(name) if name in order else len(order), name))
