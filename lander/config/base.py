"""The base model that a path names: what kind it is, where its files are, how many layers it has.

Only file names and config.json are read: torch is not imported.
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from lander.shared.errors import UserError, brief, nearest
from lander.shared.files import remedy

BUILT_IN = Path(__file__).parents[1] / "models"  # holds code, and built-in models: folders with a config.json
WEIGHT_FILES = ("model.safetensors", "model*-of-*.safetensors", "pytorch_model.bin", "pytorch_model*-of-*.bin")
DEPTH_KEYS = ("n_layer", "num_hidden_layers", "num_layers")  # BLOOM; LLaMA and most others; GPT-Neo
MOST_LAYERS = 1_000  # a config with more is nonsense, and its network would take forever to build
PRETRAIN = "pretrain"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Base:
    """`kind` is built-in, local, pretrain or hub; `n_layer` is None if it is not known before a download."""

    kind: str
    folder: Path | None
    n_layer: int | None

    def files(self) -> list[str]:
        """The model's files, sorted; relative to the working directory if they are below it."""
        if self.folder is None:
            return []
        here = Path.cwd()
        files = sorted(path.absolute() for path in self.folder.iterdir() if path.is_file() and path.suffix != ".md")
        return [str(path.relative_to(here)) if path.is_relative_to(here) else str(path) for path in files]

    @property
    def weight_bytes(self) -> int | None:
        """Size of the weights on disk; None if they are not there."""
        return None if self.folder is None else _weight_bytes(self.folder)


def find_folder(path: str) -> Path | None:
    """The folder of a built-in or local model; None for an id of the hub (owner/name)."""
    built_in = Path(path).name == path and is_model(BUILT_IN / path)
    folder = BUILT_IN / path if built_in else Path(path)
    if os.path.isdir(folder):
        if not is_model(folder):
            raise UserError(f"model.path: {folder}: not a model folder, it has no config.json")
        if not _weight_bytes(folder):
            raise UserError(f"model.path: {folder}: the model folder has no weights (*.safetensors); {again(folder)}")
        return folder
    if HUB_NAME.fullmatch(path):
        return None
    known = [*(folder.name for folder in sorted(BUILT_IN.iterdir()) if is_model(folder)), PRETRAIN]
    advice = nearest(path, known, f"built in: {', '.join(known)}")
    raise UserError(f"model.path: {path}: no such folder, and not a model on the hub (owner/name); {advice}")


def again(folder: Path) -> str:
    """What to do about a damaged model: the command that makes it again, if a run has made it."""
    return remedy(folder, folder / "lander.json") if "results" in folder.parts else "copy the model again"


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model; `os.path`, unlike `Path`, says no to names that no file can have."""
    return os.path.isfile(folder / "config.json")


def _weight_bytes(folder: Path) -> int:
    return sum((folder / name).stat().st_size for name in weights(os.listdir(folder)))


def weights(names: Iterable[str]) -> list[str]:
    """The weight files that transformers reads, among the names of a model's files: the first kind that exists."""
    names = sorted(names)
    kinds = ([name for name in names if fnmatch(name, pattern)] for pattern in WEIGHT_FILES)
    return next(filter(None, kinds), [])


def depth(file: Path) -> int | None:
    """Number of layers in a config.json; None if it does not say."""

    def wrong(what: str) -> UserError:
        return UserError(f"model.path: {file}: {what}; {again(file.parent)}")

    try:
        config: Any = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise wrong(f"cannot be read as JSON ({brief(error)})") from None
    if not isinstance(config, dict):
        raise wrong("not the config of a model, it has no keys")
    found = next((config[key] for key in DEPTH_KEYS if isinstance(config.get(key), int)), None)
    if found is not None and not 1 <= found <= MOST_LAYERS:
        raise wrong(f"{found} is no number of layers")
    return found
