"""The methods: what each trains, its settings, and, if it uses masks, how it chooses its neurons.

A method is an entry here, and, where it trains in a new way, a function that makes a base ready for it (`build`).
Config, workflow, training, tables and report read these entries, in their order. Nothing heavy is imported with this
module: the config is checked before any job starts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from lander.shared.section import Section, Text

Settings = Mapping[str, Any]


class MethodSettings(Section):
    """finetune.<method>: the settings of a method."""

    learning_rate: float | None = Field(None, gt=0)
    """Highest learning rate of this method; null is finetune.learning_rate."""


Alpha = Annotated[int, Field(ge=1, description="Numerator of the scale alpha / rank.")]


class LoraMatched(MethodSettings):
    alpha: Alpha = 32


class AdapterLora(MethodSettings):
    rank: int = Field(16, ge=1)
    """Rank of the low-rank update."""
    alpha: Alpha = 32


class Lora(AdapterLora):
    targets: tuple[Text, ...] = ()
    """Names of the modules that get an update, as query_key_value; none is every linear map of a layer."""


class Adapter(MethodSettings):
    bottleneck: int | None = Field(None, ge=1)
    """Width of the bottleneck; null is as many parameters as the chosen layers have."""


@dataclass(frozen=True)
class Recipe:
    """How a masked method chooses its neurons."""

    changes: Mapping[str, Settings] = field(default_factory=dict)  # config keys that have a fixed value
    random: str | None = None  # what is drawn at random instead of detected: "layers" or "neurons"
    train: str = "both"  # the group of neurons that is trained: "both", "general" or "specific"


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        build: module:function, (network, options) -> Prepared (`lander.finetune.methods`); empty: nothing is trained.
        parts: what a trained model's folder has: keys of `lander.finetune.saved.PARTS`.
        settings: the section finetune.<method> of the config.
        rate: learning rate if the config names none: 5e-5 (the paper's) for the model's own weights, 2e-4 for new ones.
        flags: the flags of `lander.finetune` that follow from these and from the rest of the config.
        recipe: of a masked method.
        table1: whether the experiment table1 compares it.
    """

    build: str = ""
    parts: tuple[str, ...] = ()
    settings: type[MethodSettings] = MethodSettings
    rate: float = 5e-5
    flags: Callable[[Any, Any], Settings] = lambda own, config: {}
    recipe: Recipe | None = None
    table1: bool = True


def _lora_flags(own: MethodSettings, _config: Any) -> Settings:
    values = {name: getattr(own, name, None) for name in ("rank", "alpha", "targets")}
    return {f"lora-{name}": value for name, value in values.items() if value}


def _matched_flags(own: MethodSettings, config: Any) -> Settings:
    found = _lora_flags(own, config) | {"scope": config.finetune.scope, "budget-layers": config.layers.k}
    share = config.neurons.trained_share
    return found | ({"budget-share": share} if config.finetune.scope == "neurons" and share < 1 else {})


def _adapter_flags(own: MethodSettings, config: Any) -> Settings:
    width = config.finetune.method("adapter").bottleneck  # of adapter-lora too
    return ({"bottleneck": width} if width else {"budget-layers": config.layers.k}) | _lora_flags(own, config)


def _routed(recipe: Recipe, build: str = "lander.finetune.methods:routed", *, table1: bool = True) -> Method:
    """A method that goes by masks, one way for all: from layers over neurons and masks to blocks."""
    return Method(build, ("blocks",), recipe=recipe, table1=table1)


UNGROUPED = {  # all neurons of the chosen layers in one group, unscaled: the layers as they are
    "neurons": {"general_share": 1.0, "threshold": "general_share", "unactivated_role": "general"},
    "routing": {"gate": "off"},
}

NEW_WEIGHTS = 2e-4  # usual learning rate of LoRA and adapters
METHODS: dict[str, Method] = {
    "zero-shot": Method(),
    "in-context": Method(),
    "full": Method("lander.finetune.methods:full", ("model",)),
    "layers": _routed(Recipe(UNGROUPED), table1=False),
    "landermt": _routed(Recipe()),
    "landermt-lg": _routed(Recipe(train="general"), table1=False),
    "landermt-ls": _routed(Recipe(train="specific"), "lander.finetune.methods:routed_unshared", table1=False),
    "lora": Method("lander.finetune.methods:lora", ("lora",), Lora, NEW_WEIGHTS, _lora_flags),
    "adapter": Method("lander.finetune.methods:adapter", ("bottlenecks",), Adapter, NEW_WEIGHTS, _adapter_flags),
    "adapter-lora": Method(
        "lander.finetune.methods:adapter_lora",
        ("lora", "bottlenecks"),
        AdapterLora,
        NEW_WEIGHTS,
        _adapter_flags,
    ),
    "random": _routed(Recipe(random="neurons")),
    "random-layers": _routed(Recipe(random="layers")),
    "lora-matched": Method("lander.finetune.methods:lora_matched", ("lora",), LoraMatched, NEW_WEIGHTS, _matched_flags),
}
TRAINED = tuple(name for name, method in METHODS.items() if method.build)
TRAINING_FREE = tuple(name for name in METHODS if name not in TRAINED)
MASKED: dict[str, Recipe] = {name: method.recipe for name, method in METHODS.items() if method.recipe}

# What experiments compare beside each other
TABLE1 = tuple(name for name, method in METHODS.items() if method.table1)
TABLE2 = ("zero-shot", "layers", "landermt-lg", "landermt-ls", "landermt")  # which part of ours does it
SECOND_MODEL = ("zero-shot", "adapter-lora", "landermt")  # figure 9
