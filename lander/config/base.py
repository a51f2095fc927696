"""The base model that a path names: what kind it is, where its files are, how many layers it has.

What file names and config.json show to be no base is refused here, for every command and before a run starts. Only
these are read: torch is not imported.
"""

import json
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lander.config.families import unsupported
from lander.shared.errors import UserError, brief, nearest
from lander.shared.files import remedy

BUILT_IN = Path(__file__).parents[1] / "models"  # holds code, and built-in models: folders with a config.json
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")  # each may be in shards, which <name>.index.json names
TEXT_FILES = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")  # config and tokenizer; no code
TOKENIZERS = ("tokenizer.json", "tokenizer.model")
LIMITS = {  # numbers of config.json -> the smallest and the largest of which torch can make a model
    r"n_head|num_.*_heads|head_dim|(hidden|intermediate|vocab)_size|max_position_embeddings": (1, 1e12),
    r"sliding_window|rope_theta|factor|\w+_softcapping": (math.ulp(0), 1e12),
    r".*_eps(ilon)?": (0, 1),
    r".*dropout.*": (0, 1),
}
DEPTH_KEYS = ("n_layer", "num_hidden_layers", "num_layers")  # BLOOM; LLaMA and most others; GPT-Neo
MOST_LAYERS = 1_000  # a config with more is nonsense, and its network would take forever to build
PRETRAIN = "pretrain"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
INSTEAD = {  # what a folder may have instead of a model or its weights -> what it is, and what to do
    "adapter_config.json": "a PEFT adapter; merge it into its base (PEFT: merge_and_unload, save_pretrained) and take "
    "what this writes",
    "*.gguf": "a model in a GGUF file; convert it: `lander convert {found} --out FOLDER`",
    "checkpoint-*/config.json": "the folder of a training; name one of its checkpoints, as {found}",
    "snapshots/*/config.json": "a folder of the hub's cache; name a snapshot in it, as {found}",
    "zero_to_fp32.py": "a checkpoint of DeepSpeed; make a model of it: `python zero_to_fp32.py . OUT` in the folder",
    "*/*.distcp": "a checkpoint of FSDP in pieces ({found}); join them: `accelerate merge-weights` with their folder",
    "params.json": "a model in its makers' own format; take the one in the format of transformers",
    "tf_model.h5": "a model of TensorFlow; take the one of PyTorch",
    "flax_model.msgpack": "a model of Flax; take the one of PyTorch",
    "*.onnx": "a model in ONNX; take the one of PyTorch",
    "*.safetensors": "weights by other names ({found}) without model.safetensors.index.json; copy the model again",
}


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
    """The folder of a built-in or local model, checked; None for an id of the hub (owner/name)."""
    name = path.rstrip("/")
    built_in = Path(name).name == name and is_model(BUILT_IN / name)
    folder = BUILT_IN / path if built_in else Path(path)
    if os.path.isdir(folder):
        check_folder(folder)
        return folder
    if os.path.isfile(folder):
        advice = f"convert it: `lander convert {path} --out FOLDER`" if path.endswith(".gguf") else "name its folder"
        raise UserError(f"model.path: {path}: a file, and a model is a folder; {advice}")
    if HUB_NAME.fullmatch(path) and not _is_local(path):
        return None
    known = [*(folder.name for folder in sorted(BUILT_IN.iterdir()) if is_model(folder)), PRETRAIN]
    below = folder.parent != Path()
    beside = sorted(other.name for other in folder.parent.glob("*/") if below or is_model(other))
    there = f"{folder.parent} has {', '.join(beside[:5])}" if below and beside else f"built in: {', '.join(known)}"
    advice = nearest(folder.name, [*beside, *known], there)
    if HUB_NAME.fullmatch(path):
        more = "" if folder.parts[0] == "results" else f"; for a model of the hub: `hf download {path}` first"
        raise UserError(f"model.path: {path}: no such folder; {advice}{more}")
    if "://" in path or path.startswith("~"):
        advice = "write the whole path of a folder here, or the owner/name of a model on the hub"
    raise UserError(f"model.path: {path}: no such folder, and not a model on the hub (owner/name); {advice}")


def check_cached(path: str, revision: str | None) -> bool:
    """Whether the hub's cache has the config of a model. UserError if it is not one that Lander can use."""
    import huggingface_hub

    file = huggingface_hub.try_to_load_from_cache(path, "config.json", revision=revision)
    if isinstance(file, str):
        check_config(Path(file))
    return isinstance(file, str)


def _is_local(path: str) -> bool:
    """Whether owner/name must be a mistyped folder: its first part is one here, and the hub's cache has no such id."""
    owner = path.split("/")[0]
    return (owner == "results" or os.path.isdir(owner)) and not check_cached(path, None)


def check_folder(folder: Path) -> None:
    """UserError if a folder is no model that Lander can use, as its file names and its config.json tell."""
    other = instead(lambda pattern: [str(file) for file in folder.glob(pattern)])
    if not is_model(folder):
        if (folder / "lander.json").is_file():
            other = "trained by Lander, and not a base; `lander export` writes it as a plain model, which can be one"
        raise UserError(f"model.path: {folder}: {other or 'not a model folder, it has no config.json'}")
    check_config(folder / "config.json")
    if (folder / "adapter_config.json").is_file():  # transformers would put it on the model in silence
        raise UserError(
            f"model.path: {folder}: a whole model and a PEFT adapter in one folder; move adapter_config.json away to "
            "use the model alone, or merge the adapter into it (PEFT: merge_and_unload)"
        )
    if links := [file for file in folder.iterdir() if file.is_symlink() and not file.exists()]:
        what = f"a link to a file that is not there ({links[0].readlink()})"
        raise UserError(f"model.path: {links[0]}: {what}; {again(folder)}, with the files behind its links (`cp -L`)")
    files = weights(folder)
    if missing := [file for file in files if not (folder / file).is_file()]:
        raise UserError(f"model.path: {folder}: {missing[0]} is missing, which the index names; {again(folder)}")
    if pointers := [name for name in (*files, *TOKENIZERS) if _is_pointer(folder / name)]:
        what = f"{pointers[0]} is a pointer of git LFS, and not the file itself"
        raise UserError(f"model.path: {folder}: {what}; run `git lfs install && git lfs pull` in the folder")
    if not _weight_bytes(folder):
        none = f"the model folder has no weights (*.safetensors); {again(folder)}"
        raise UserError(f"model.path: {folder}: {none if files else other or none}")


def _is_pointer(file: Path) -> bool:
    """Whether a file is what a clone without git LFS has in its place."""
    if not file.is_file() or file.stat().st_size > 1000:
        return False
    return file.read_bytes().startswith(b"version https://git-lfs")


def instead(find: Callable[[str], list[str]]) -> str | None:
    """What a folder holds that is no model, and what to do; `find` gives the files of a pattern."""
    for pattern, what in INSTEAD.items():
        if files := find(pattern):
            file = max(files, key=lambda name: (len(name), name))
            return what.format(found=file.removesuffix("/config.json"))
    return None


def again(folder: Path) -> str:
    """What to do about a damaged model: the command that makes it again, if a run has made it."""
    return remedy(folder, folder / "lander.json") if "results" in folder.parts else "copy the model again"


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model; `os.path`, unlike `Path`, says no to names that no file can have."""
    return os.path.isfile(folder / "config.json")


def _weight_bytes(folder: Path) -> int:
    return sum((folder / name).stat().st_size for name in weights(folder))


def weights(folder: Path) -> list[str]:
    """The weight files that transformers reads from a model's folder, by the names that its index gives to shards."""
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return [name]
        if (folder / f"{name}.index.json").is_file():
            return shards(folder / f"{name}.index.json")
    return []


def shards(index: Path) -> list[str]:
    """The files that an index names, sorted."""
    names = read_keys(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) and name for name in names.values()):
        raise UserError(f"model.path: {index}: names no weights (weight_map); {again(index.parent)}")
    return sorted(set(names.values()))


def depth(file: Path) -> int | None:
    """Number of layers in a config.json; None if it does not say."""
    config = read_keys(file)
    found = next((config[key] for key in DEPTH_KEYS if isinstance(config.get(key), int)), None)
    if found is not None and not 1 <= found <= MOST_LAYERS:
        raise UserError(f"model.path: {file}: {found} is no number of layers; {again(file.parent)}")
    return found


def check_config(file: Path) -> None:
    """UserError if a config.json is not that of a model that Lander can use."""
    config = read_keys(file)
    if reason := unsupported(config):
        raise UserError(f"model.path: {file}: {reason}")
    depth(file)
    for key, value in _numbers(config):
        limits = (limits for name, limits in LIMITS.items() if re.fullmatch(name, key))
        low, high = next(limits, (-math.inf, math.inf))
        if not low <= value <= high:  # NaN too; torch would fail in a pass, or compute no numbers
            raise UserError(
                f"model.path: {file}: {key} is {value}, of which no model can be made; {again(file.parent)}"
            )


def _numbers(config: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a config.json, those of its positions too."""
    for key, value in config.items():
        if isinstance(value, int | float):
            yield key, value
        elif isinstance(value, dict) and ("rope" in key or key.endswith("_attention")):
            yield from _numbers(value)


def read_keys(file: Path) -> dict[str, Any]:
    """A JSON file of a model that has keys, as its config.json."""
    try:
        config: Any = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        what = f"cannot be read as JSON ({brief(error)})"
        raise UserError(f"model.path: {file}: {what}; {again(file.parent)}") from None
    if not isinstance(config, dict):
        raise UserError(f"model.path: {file}: not the file of a model, it has no keys; {again(file.parent)}")
    return config
