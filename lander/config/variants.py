"""Variants: a trained model is a method, a variant of the config and a seed; a variant is known by its name alone.

| variant | what differs from the config |
|---|---|
| `main` | nothing |
| `k3` | `layers.k: 3` |
| `general0.5` | `neurons.general_share: 0.5` |
| `only-en-de` | one direction is trained; all are tested |
| `draw2` | the second draw of the controls `random` and `random-layers` |
| `paper`, `repaired` | all switches, as that set of `readings` has them |
| `routing.gate-off` | one key, of those of `readings` and `awareness.estimator` |
| `lr0.003` | the learning rate, and `experiments.tune_share` of the budget: a trial of `tune` |
| `mix0.5` | of `full`: the average of the base and the tuned weights, half each; nothing is trained |

Models that differ in nothing that a stage looks at share its tables: `selection` names the folder of layers, neurons
and masks that a model uses.
"""

import re
from collections.abc import Mapping
from typing import Any

from lander.config.config import Config
from lander.config.methods import MASKED, METHODS
from lander.config.readings import READINGS
from lander.config.schema import choices
from lander.shared.errors import UserError
from lander.shared.languages import parse_direction

MAIN = "main"
NUMBER = r"\d+(?:\.\d+)?(?:e-?\d+)?"
MIX = re.compile(rf"mix({NUMBER})")
TRIAL = re.compile(rf"lr({NUMBER})")
SWITCH = re.compile(r"([a-z]+\.[a-z]+)-([a-z_]+)")
Changes = Mapping[str, Any]


def configure(settings: Config, variant: str, method: str | None = None) -> Config:
    """The config of a variant, and of a masked method of it.

    Raises:
        UserError: no such variant or method, or a value that the key cannot have.
    """
    if method is not None and method not in METHODS:
        raise UserError(f"{method}: no such method; there are {', '.join(METHODS)}")
    changed = settings.changed(changes(settings, variant))
    return changed.changed(MASKED[method].changes) if method in MASKED else changed


def changes(settings: Config, variant: str) -> Changes:
    """The config keys that a variant changes, as nested mappings."""
    if variant == MAIN or re.fullmatch(r"draw\d+", variant) or MIX.fullmatch(variant):
        return {}
    if variant in READINGS:
        return READINGS[variant]
    if found := re.fullmatch(r"k(\d+)", variant):
        return {"layers": {"k": int(found[1])}}
    if (found := re.fullmatch(rf"general({NUMBER})", variant)) and float(found[1]) <= 1:
        return {"neurons": {"general_share": float(found[1])}}
    if (found := TRIAL.fullmatch(variant)) and float(found[1]) > 0:
        return _trial(settings, float(found[1]))
    if (found := re.fullmatch(r"only-(.+)", variant)) and parse_direction(found[1]) in settings.directions:
        return {"directions": (parse_direction(found[1]),), "finetune": {"accumulate": _turns(settings)}}
    if found := SWITCH.fullmatch(variant):
        section, key = found[1].split(".")
        switch = found[1] == "awareness.estimator" or key in READINGS["paper"].get(section, {})
        if switch and found[2] in choices(found[1]):
            return {section: {key: found[2]}}
    raise UserError(
        f"{variant}: no such variant, or no value that its key can have; lander/config/variants.py lists them"
    )


def _trial(settings: Config, learning_rate: float) -> Changes:
    """Changes of a trial of a learning rate, for whichever method: a shorter training, with a warmup in proportion."""
    finetune, share = settings.finetune, settings.experiments.tune_share
    steps = finetune.steps and max(1, round(finetune.steps * share))
    methods = {name: {"learning_rate": learning_rate} for name in finetune.methods}
    shorter = {"steps": steps, "epochs": finetune.epochs * share, "warmup": round(finetune.warmup * share)}
    return {"finetune": {**shorter, **methods}}


def _turns(settings: Config) -> int:
    """Micro-batches per update where one direction is trained: one, where the config has one per direction."""
    given = settings.finetune.accumulate
    return settings.finetune.ranks if given == len(settings.directions) else given


def draw(variant: str) -> int:
    """Number of the draw of a control, from 1; `main` is the first."""
    return int(variant.removeprefix("draw")) if re.fullmatch(r"draw\d+", variant) else 1


def is_trial(variant: str) -> bool:
    """Whether the variant is a trial of a learning rate."""
    return TRIAL.fullmatch(variant) is not None


def mix(variant: str) -> float | None:
    """Share of the tuned weights, where the variant is an average of weights."""
    found = MIX.fullmatch(variant)
    return float(found[1]) if found else None


def switches(settings: Config) -> list[str]:
    """The variants that change one switch of the readings each."""
    found = []
    for section, keys in READINGS["paper"].items():
        for key in keys:
            now = getattr(getattr(settings, section), key)
            found += [f"{section}.{key}-{value}" for value in choices(f"{section}.{key}") if value != now]
    return found


# ---------------------------------------------------------------- shared tables


def selection(settings: Config, stage: str, method: str, variant: str) -> str:
    """Name of the folder `<stage>/<name>/s<seed>` whose tables a model uses: the first with the same settings.

    Args:
        stage: layers, neurons or masks.
    """
    wanted = seen_by(settings, stage, method, variant)
    for candidate in (("landermt", MAIN), (method, MAIN), ("landermt", variant)):
        if seen_by(settings, stage, *candidate) == wanted:
            return _name(*candidate)
    return _name(method, variant)


def selected(name: str) -> tuple[str, str]:
    """Method and variant of a selection: the reverse of `_name`."""
    method, _, variant = name.partition("+")
    return (method, variant) if variant else ("landermt", name)


def _name(method: str, variant: str) -> str:
    return variant if method == "landermt" else f"{method}+{variant}"


def seen_by(settings: Config, stage: str, method: str, variant: str) -> tuple:
    """Everything on which the tables of a stage hang, for a model."""
    config, recipe = configure(settings, variant, method), MASKED[method]
    kind = recipe.random if stage != "layers" or recipe.random == "layers" else None
    seen: tuple = (config.activations, config.layers, (kind, draw(variant)) if kind else None)
    if stage in ("neurons", "masks"):
        seen += (config.awareness, config.neurons)
    if stage == "masks":
        seen += (config.routing, recipe.train, config.ablation if recipe.train != "both" else None)
    return seen


def reading(section: Any, main: Any, keys: tuple[str, ...]) -> str:
    """Folder, with its slash, of tables made with other values of some keys than the config's; else nothing."""
    other = [getattr(section, key) for key in keys if getattr(section, key) != getattr(main, key)]
    return f"{'-'.join(other)}/" if other else ""
