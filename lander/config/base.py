"""The base model as the config names it: what kind it is, where its files are, how many layers it has.

Looks at the model's config.json only: torch is not imported.
"""

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lander.config.modelconfig import depth
from lander.shared.errors import UserError

BUILT_IN = Path(__file__).parent.parent / "models"  # beside the code that reads models: folders with a config.json
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
PRETRAIN = "pretrain"
PATHS = (("model", "path"), ("data", "templates"), ("neurons", "masks"))
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class Base:
    """`kind` is built-in, local, pretrain or hub; `n_layer` is None where it is not known before a download."""

    kind: str
    folder: Path | None
    n_layer: int | None

    def files(self) -> list[str]:
        """The model's files, sorted; relative to the working directory where they are below it."""
        if self.folder is None:
            return []
        here = Path.cwd()
        files = sorted(path.absolute() for path in self.folder.iterdir() if path.is_file() and path.suffix != ".md")
        return [str(path.relative_to(here)) if path.is_relative_to(here) else str(path) for path in files]

    @property
    def weight_bytes(self) -> int | None:
        """Size of the weights on disk."""
        if self.folder is None:
            return None
        files = [path for pattern in WEIGHTS for path in self.folder.glob(pattern) if path.is_file()]
        return sum(path.stat().st_size for path in files)


def no_flags(config: dict[str, Any]) -> dict[str, Any]:
    """The config with `./` before paths that begin with a dash: on a stage's command line they would be flags."""
    places = [(config[section], key) for section, key in PATHS]
    for mapping, key in [*places, *((metric, "model") for metric in config["evaluate"]["neural"])]:
        if mapping[key] and mapping[key].startswith("-"):
            mapping[key] = f"./{mapping[key]}"
    return config


def find_base(path: str, pretrain_layers: int) -> Base:
    """The base that `model.path` names.

    Args:
        pretrain_layers: layers of a base that the stage pretrain makes.
    Raises:
        UserError: no such model, or a folder without config.json or weights.
    """
    if path == PRETRAIN:
        return Base("pretrain", None, pretrain_layers)
    for kind, folder in (("built-in", BUILT_IN / path), ("local", Path(path))):
        if os.path.isdir(folder) and (
            kind == "local" or is_built_in(folder)
        ):  # unlike Path.is_dir it says no to names that no folder can have
            return Base(kind, folder, _n_layer(folder))
    built_in = [folder.name for folder in sorted(BUILT_IN.glob("*")) if is_built_in(folder)]
    if HUB_NAME.fullmatch(path):
        return Base("hub", None, None)
    near = difflib.get_close_matches(path, [*built_in, PRETRAIN], 1)
    remedy = f"did you mean {near[0]}?" if near else f"built in: {', '.join([*built_in, PRETRAIN])}"
    raise UserError(f"model.path: {path}: no such folder, and not a model on the hub (owner/name); {remedy}")


def is_built_in(folder: Path) -> bool:
    """Whether a folder of `BUILT_IN` is a model; the others hold code."""
    return (folder / "config.json").is_file()


def _n_layer(folder: Path) -> int | None:
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"model.path: {folder}: not a model folder, it has no config.json")
    weights = [path for pattern in WEIGHTS for path in folder.glob(pattern) if path.is_file()]
    if not any(path.stat().st_size for path in weights):
        raise UserError(f"model.path: {folder}: the model folder has no weights (*.safetensors); copy them there")
    return depth(file)
