"""A look at a model's files before anybody builds a network from them."""

import json
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from lander.shared.errors import UserError, brief

DEPTH_KEYS = ("n_layer", "num_hidden_layers", "num_layers")  # BLOOM; LLaMA and most others; GPT-Neo
MOST_LAYERS = 1_000  # a config with more is nonsense, and to build them would take for ever
WEIGHT_FILES = ("model.safetensors", "model*-of-*.safetensors", "pytorch_model.bin", "pytorch_model*-of-*.bin")


def weights(names: Iterable[str]) -> list[str]:
    """The weights that transformers reads, among the names of a model's files: those of the first kind there is."""
    names = sorted(names)
    kinds = ([name for name in names if fnmatch(name, pattern)] for pattern in WEIGHT_FILES)
    return next(filter(None, kinds), [])


def depth(file: Path) -> int | None:
    """Number of layers that a config.json names; None where it names none.

    Raises:
        UserError: it cannot be read, or is no model's.
    """
    try:
        config: Any = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"model.path: {file}: cannot be read as JSON ({brief(error)}); copy the model again") from None
    if not isinstance(config, dict):
        raise UserError(f"model.path: {file}: not the config of a model, it has no keys; copy the model again")
    found = next((config[key] for key in DEPTH_KEYS if isinstance(config.get(key), int)), None)
    if found is not None and not 1 <= found <= MOST_LAYERS:
        raise UserError(f"model.path: {file}: no number of layers that a model has; copy the model again")
    return found
