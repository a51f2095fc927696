"""How the points are read on which the paper can be understood in two ways: the switch keys of the config.

`readings` names a set, and a single key in the config overrides it. Each section declares its switches
(`lander.shared.section.switch`); here they are collected, and resolved once.
"""

from typing import Any

from lander.config.activations import Activations
from lander.config.awareness import Awareness
from lander.config.finetune import Finetune
from lander.config.layers import Layers
from lander.config.masks import Ablation, Routing
from lander.config.neurons import Neurons
from lander.shared.section import Section, keys

SECTIONS: dict[str, type[Section]] = {
    "activations": Activations,
    "layers": Layers,
    "awareness": Awareness,
    "neurons": Neurons,
    "routing": Routing,
    "finetune": Finetune,
    "ablation": Ablation,
}
READINGS: dict[str, dict[str, dict[str, str]]] = {
    reading: {
        name: {key.name: key.readings[reading] for key in keys(section) if key.readings}
        for name, section in SECTIONS.items()
    }
    for reading in ("repaired", "paper")
}


def others(settings: Any) -> list[str]:
    """`section.key: value` of each switch that a resolved config has otherwise than its set."""
    return [
        f"{section}.{key}: {now}"
        for section, switches in READINGS[settings.readings].items()
        for key, value in switches.items()
        if (now := getattr(getattr(settings, section), key)) != value
    ]


def resolve(settings: Any) -> dict[str, Section]:
    """The sections in which every switch has a value: its own, else the one of `readings`."""
    return {
        name: section.model_copy(
            update={key: value for key, value in switches.items() if key not in section.model_fields_set}
        )
        for name, switches in READINGS[settings.readings].items()
        if (section := getattr(settings, name))
    }
