"""The methods of a run, and what the masked ones ask of the detection of neurons.

What a method trains is `lander/finetune/methods.py`'s; here is what the workflow must know. All masked methods go one
way, from layers over neurons and masks to blocks; they differ in what they change on that way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TRAINING_FREE = ("zero-shot", "in-context")
UNMASKED = ("full", "lora", "lora-matched", "adapter", "adapter-lora")


@dataclass(frozen=True)
class Recipe:
    """How a masked method chooses its neurons.

    Attributes:
        changes: config keys that have a fixed value for the method.
        random: what is drawn at random instead of detected, "layers" or "neurons".
        train: which group of neurons is trained, "both", "general" or "specific".
    """

    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    random: str | None = None
    train: str = "both"


MASKED: dict[str, Recipe] = {
    "landermt": Recipe(),
    # all neurons of the chosen layers in one group, unscaled: the layers as they are
    "layers": Recipe(
        {
            "neurons": {"general_share": 1.0, "threshold": "general_share", "unactivated_role": "general"},
            "routing": {"gate": "off"},
        }
    ),
    "landermt-lg": Recipe(train="general"),
    "landermt-ls": Recipe(train="specific"),
    "random": Recipe(random="neurons"),
    "random-layers": Recipe(random="layers"),
}
TRAINED = (*UNMASKED, *MASKED)
METHODS = (*TRAINING_FREE, *TRAINED)
