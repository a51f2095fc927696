"""In which order methods, directions and test sets stand in tables and figures, and what they are called."""

from collections.abc import Iterable

from lander.config.methods import METHODS
from lander.evaluate.bleu import base_language
from lander.evaluate.collect import MEANS
from lander.shared.languages import parse_direction

ORDER = tuple(METHODS)
GROUPS = ("out of English", "into English", "other directions")  # of directions
ZERO_SHOT_VARIANTS = {"main": "fixed instruction", "best-prompt": "best prompt"}


def method_key(run: tuple[str, str]) -> tuple:
    """Methods in the order of the design, unknown ones after them; `main` before the other variants."""
    method, variant = run
    place = ORDER.index(method) if method in ORDER else len(ORDER)
    return (place, method, variant != "main", variant)


def run_label(run: tuple[str, str]) -> str:
    """`landermt`, `landermt (k8)`; zero-shot always says which prompt."""
    method, variant = run
    if method == "zero-shot":
        return f"zero-shot ({ZERO_SHOT_VARIANTS.get(variant, variant)})"
    return method if variant == "main" else f"{method} ({variant})"


def direction_group(name: str) -> str:
    """Heading under which a direction stands: out of English, into English, or neither."""
    pair = parse_direction(name)
    if base_language(pair.source) == "en":
        return "out of English"
    return "into English" if base_language(pair.target) == "en" else "other directions"


def group_heading(group: str, groups: Iterable[str]) -> str:
    """What a group is called beside the others: without English in the run the directions are not "other" ones."""
    return "directions" if set(groups) == {"other directions"} else group


def sort_directions(names: Iterable[str]) -> list[str]:
    """Pairs together, the way out of English first: en-ar, ar-en, en-de, de-en."""
    plain = [name for name in names if name not in MEANS]
    return sorted(
        plain, key=lambda name: (str(parse_direction(name).pair), direction_group(name) != "out of English", name)
    )


def sort_tests(names: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Test sets in the order of the config, others after them by name."""
    order = list(wanted)
    return sorted(set(names), key=lambda name: (order.index(name) if name in order else len(order), name))
