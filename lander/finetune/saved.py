"""The folder of a trained model: what was trained, the tokenizer, and which base it belongs to.

lander.json           manifest, written last: method, base (path, revision, digest), directions, digests of files
tokenizer files

and the parts of its method (`lander.finetune.methods`):
model:       config.json, model.safetensors: a plain model
lora:        adapter_config.json, adapter_model.safetensors, in PEFT's own format
bottlenecks: bottlenecks.safetensors (by parameter name in the base); their size is in the manifest
blocks:      trained.safetensors (by parameter name) and masks/<direction>.parquet
"""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from lander import families, model, tables
from lander.codec import Codec
from lander.errors import UserError
from lander.files import read_json, sha256, whole_file, write_json
from lander.finetune import adapters
from lander.finetune.methods import METHODS, Prepared

FORMAT = "lander-model-1"
BLOCKS, BOTTLENECKS = "trained.safetensors", "bottlenecks.safetensors"


def save(
    folder: Path,
    prepared: Prepared,
    masters: dict[str, torch.Tensor],
    codec: Codec,
    masks: dict[str, pd.DataFrame],
    manifest: dict[str, Any],
) -> None:
    """Write a trained model. `masters` are its trained parameters; the manifest's existence says that all is there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lander.json").unlink(missing_ok=True)
    codec.tokenizer.save_pretrained(folder)
    trained = prepared.trained()
    weights = {name: value.to(trained[name].dtype).contiguous() for name, value in masters.items()}
    parts = parts_of(manifest)
    bottlenecks = {name: weights.pop(name) for name in adapters.parameters(prepared.network)}
    if "model" in parts:
        _save_full(folder, weights, manifest["base"])
    if "lora" in parts:
        _save_lora(folder, prepared.network, weights)
    if "bottlenecks" in parts:
        named = {adapters.base_name(name): value for name, value in bottlenecks.items()}
        _save_tensors(folder / BOTTLENECKS, named)
    if "blocks" in parts:
        _save_tensors(folder / BLOCKS, weights)
        for direction, mask in masks.items():
            tables.write(folder / "masks" / f"{direction}.parquet", mask, "masks")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in (".safetensors", ".parquet"))
    digests = {str(path.relative_to(folder)): sha256(path) for path in files}
    write_json(folder / "lander.json", {"format": FORMAT} | manifest | {"files": digests})


def _save_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    with whole_file(path) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})


def _save_full(folder: Path, weights: dict[str, torch.Tensor], base: dict[str, str]) -> None:
    """A plain model folder: the base (whose own parameters a ZeRO engine may have scattered) with new weights."""
    dtype = str(next(iter(weights.values())).dtype).removeprefix("torch.")
    network = model.load_model(base["path"], base["revision"], dtype).cpu()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(weights[name])
    network.save_pretrained(folder)


def _save_lora(folder: Path, network: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    from peft import get_peft_model_state_dict

    config = network.peft_config["default"]
    config.inference_mode = True
    config.save_pretrained(folder)
    _save_tensors(folder / "adapter_model.safetensors", get_peft_model_state_dict(network, state_dict=weights))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a trained model, its files checked against it.

    Raises:
        UserError: no manifest, another format, or a missing or damaged file.
    """
    manifest = read_json(folder / "lander.json")
    if manifest.get("format") != FORMAT:
        raise UserError(f"{folder}/lander.json: not the manifest of a trained model (format {FORMAT})")
    for name, digest in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: missing; the model is not whole, train it again")
        if sha256(path) != digest:
            raise UserError(f"{path}: damaged (its digest is not the manifest's); train the model again")
    return manifest


def read_masks(folder: Path, directions: list[str]) -> dict[str, pd.DataFrame]:
    """The masks of the directions; one without a file has none: it runs the base's graph and is not trained."""
    masks = {}
    for direction in directions:
        path = folder / f"{direction}.parquet"
        if path.is_file():
            masks[direction] = tables.read(path, "masks")
        else:
            print(f"warning: {path}: no such file; {direction} runs the base's graph, untrained", file=sys.stderr)
    if not masks:
        raise UserError(f"{folder}: no mask for any of {', '.join(directions)}; a mask is <direction>.parquet")
    return masks


def parts_of(manifest: dict[str, Any]) -> tuple[str, ...]:
    """What the folder of a trained model holds.

    Raises:
        UserError: a method of another version.
    """
    if manifest["method"] not in METHODS:
        raise UserError(f"lander.json: the method {manifest['method']!r} is unknown to this version of Lander")
    return METHODS[manifest["method"]].parts


def load_bottlenecks(folder: Path, network: nn.Module, size: int) -> None:
    """Give a network, PEFT's or the base, the bottlenecks of a folder.

    Raises:
        UserError: they do not fit.
    """
    adapters.install(network, size)
    load_weights(folder / BOTTLENECKS, adapters.base_of(network))


def trained_scope(folder: Path, network: nn.Module) -> str:
    """What of a layer the blocks of a folder were trained with: `layer`, or `ffn` where all of it is in the FFNs."""
    ffn = families.family_of(network).ffn
    with safe_open(folder / BLOCKS, "pt") as file:
        return "ffn" if all(f".{ffn}." in name for name in file.keys()) else "layer"  # noqa: SIM118 (not a dict)


def load_weights(file: Path, network: nn.Module) -> None:
    """Put trained parameters into a network whose blocks or bottlenecks are installed.

    Raises:
        UserError: a parameter that the network does not have, or of another shape.
    """
    parameters = dict(network.named_parameters())
    for name, value in load_file(file).items():
        if name not in parameters or parameters[name].shape != value.shape:
            raise UserError(f"{file}: trained parameter {name} does not fit its base; train the model again")
        parameters[name].data.copy_(value)


def is_trained_model(path: str) -> bool:
    """Whether a path is a trained model's folder, rather than a base."""
    manifest = Path(path) / "lander.json"
    return manifest.is_file() and read_json(manifest).get("format") == FORMAT
