"""How the points are read on which the paper can be understood in two ways: the switch keys of the config.

`readings` names a set; a single key in the config overrides it. The schema has no defaults for these keys, so that
they are resolved here and nowhere else.
"""

from typing import Any

READINGS: dict[str, dict[str, dict[str, str]]] = {
    "repaired": {
        "activations": {"text": "prompt_reference"},  # eq. 1: what the model reads
        "layers": {
            "difference": "vector",  # eq. 1: mean over neurons of the change
            "side": "upper",  # D_l chooses l + 1, where the change shows
            "selection": "shared",  # L_LPR: the same layers for all directions
        },
        "awareness": {"site": "post", "text": "monolingual"},  # eq. 3-4: h after the nonlinearity, text in one language
        "neurons": {"normalize": "language_mean", "threshold": "general_share"},  # eq. 5
        "routing": {"share": "general", "pool": "sum", "scale": "output", "gate": "learned"},  # eq. 6-8
        "finetune": {"scope": "layer"},  # the paper's 805M trained parameters are whole layers
        "ablation": {"untrained": "frozen"},  # table 2: the group that is not trained still runs
    },
    "paper": {  # as printed
        "activations": {"text": "prompt"},
        "layers": {"difference": "scalar", "side": "lower", "selection": "shared"},
        "awareness": {"site": "post", "text": "monolingual"},
        "neurons": {"normalize": "none", "threshold": "literal"},
        "routing": {"share": "literal", "pool": "sum", "scale": "input", "gate": "static"},
        "finetune": {"scope": "layer"},
        "ablation": {"untrained": "frozen"},
    },
}


def others(settings: Any) -> list[str]:
    """`section.key: value` of each switch that a resolved config has otherwise than its set."""
    return [
        f"{section}.{key}: {now}"
        for section, switches in READINGS[settings.readings].items()
        for key, value in switches.items()
        if (now := getattr(getattr(settings, section), key)) != value
    ]


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """A copy of a validated config in which every switch has a value: its own, else the one of `readings`."""
    resolved = dict(config)
    for section, switches in READINGS[config["readings"]].items():
        resolved[section] = {**switches, **config[section]}
    return resolved
