"""The methods: what each trains, what it can be told, and, where it goes by masks, how it chooses its neurons.

A method is an entry here, and, where it trains in a new way, a function that makes a base ready for it (`build`).
Config, workflow, training, tables and report read these entries, in their order. Nothing heavy is imported with this
module: the config is checked before any job starts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Settings = Mapping[str, Any]

RANK = {"description": "Rank of the low-rank update.", "type": "integer", "minimum": 1, "default": 16}
ALPHA = {"description": "Numerator of the scale alpha / rank.", "type": "integer", "minimum": 1, "default": 32}
TARGETS = {
    "description": "Names of the modules that get an update, as query_key_value; none is every linear map of a layer.",
    "type": "array",
    "items": {"type": "string", "minLength": 1},
    "default": [],
}
BOTTLENECK = {
    "description": "Width of the bottleneck; null is as many parameters as the chosen layers have.",
    "type": ["integer", "null"],
    "minimum": 1,
    "default": None,
}


@dataclass(frozen=True)
class Recipe:
    """How a masked method chooses its neurons.

    Attributes:
        changes: config keys that have a fixed value for the method.
        random: what is drawn at random instead of detected, "layers" or "neurons".
        train: which group of neurons is trained, "both", "general" or "specific".
    """

    changes: Mapping[str, Settings] = field(default_factory=dict)
    random: str | None = None
    train: str = "both"


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        build: module:function, (network, options) -> Prepared (`lander.finetune.methods`); empty: nothing is trained.
        parts: what a trained model's folder has (`lander.finetune.saved`).
        settings: keys of finetune.<method> beside learning_rate, as in the schema of the config.
        flags: the flags of `lander.finetune` that follow from these and from the rest of the config.
        recipe: of a masked method.
    """

    build: str = ""
    parts: tuple[str, ...] = ()
    settings: Mapping[str, Settings] = field(default_factory=dict)
    flags: Callable[[Settings, Any], Settings] = lambda own, config: {}
    recipe: Recipe | None = None

    @property
    def masked(self) -> bool:
        """Whether it needs masks."""
        return self.recipe is not None


def _lora_flags(own: Settings, _config: Any) -> Settings:
    targets = {"lora-targets": own["targets"]} if own["targets"] else {}
    return {"lora-rank": own["rank"], "lora-alpha": own["alpha"]} | targets


def _matched_flags(own: Settings, config: Any) -> Settings:
    return {"lora-alpha": own["alpha"], "scope": config.finetune.scope, "budget-layers": config.layers.k}


def _adapter_flags(_own: Settings, config: Any) -> Settings:
    width = config.finetune.method("adapter")["bottleneck"]
    return {"bottleneck": width} if width else {"budget-layers": config.layers.k}


def _adapter_lora_flags(own: Settings, config: Any) -> Settings:
    return _adapter_flags(own, config) | {"lora-rank": own["rank"], "lora-alpha": own["alpha"]}


def _routed(recipe: Recipe, build: str = "lander.finetune.methods:routed") -> Method:
    """A method that goes by masks, one way for all: from layers over neurons and masks to blocks."""
    return Method(build, ("blocks",), recipe=recipe)


UNGROUPED = {  # all neurons of the chosen layers in one group, unscaled: the layers as they are
    "neurons": {"general_share": 1.0, "threshold": "general_share", "unactivated_role": "general"},
    "routing": {"gate": "off"},
}

METHODS: dict[str, Method] = {
    "zero-shot": Method(),
    "in-context": Method(),
    "full": Method("lander.finetune.methods:full", ("model",)),
    "layers": _routed(Recipe(UNGROUPED)),
    "landermt": _routed(Recipe()),
    "landermt-lg": _routed(Recipe(train="general")),
    "landermt-ls": _routed(Recipe(train="specific"), "lander.finetune.methods:routed_unshared"),
    "lora": Method(
        "lander.finetune.methods:lora", ("lora",), {"rank": RANK, "alpha": ALPHA, "targets": TARGETS}, _lora_flags
    ),
    "adapter": Method("lander.finetune.methods:adapter", ("bottlenecks",), {"bottleneck": BOTTLENECK}, _adapter_flags),
    "adapter-lora": Method(
        "lander.finetune.methods:adapter_lora",
        ("lora", "bottlenecks"),
        {"rank": RANK, "alpha": ALPHA},
        _adapter_lora_flags,
    ),
    "random": _routed(Recipe(random="neurons")),
    "random-layers": _routed(Recipe(random="layers")),
    "lora-matched": Method("lander.finetune.methods:lora_matched", ("lora",), {"alpha": ALPHA}, _matched_flags),
}
TRAINED = tuple(name for name, method in METHODS.items() if method.build)
TRAINING_FREE = tuple(name for name in METHODS if name not in TRAINED)
MASKED: dict[str, Recipe] = {name: method.recipe for name, method in METHODS.items() if method.recipe}

# What the paper's tables compare: table 1 every method but those that only say which part of ours does it.
ABLATIONS = ("layers", "landermt-lg", "landermt-ls")
TABLE1 = tuple(name for name in METHODS if name not in ABLATIONS)
TABLE2 = ("zero-shot", *ABLATIONS, "landermt")
SECOND_MODEL = ("zero-shot", "adapter-lora", "landermt")  # figure 9
