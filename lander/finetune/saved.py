"""The folder of a trained model: what was trained, the tokenizer, and which base it belongs to.

lander.json           manifest, written last: method, base (path, revision, digest), directions, digests of files
tokenizer files

and the parts of its method (`lander.finetune.methods`):
model:       config.json, model.safetensors: a plain model
lora:        adapter_config.json, adapter_model.safetensors, in PEFT's own format
bottlenecks: bottlenecks.safetensors (by parameter name in the base); their size is in the manifest
blocks:      trained.safetensors (by parameter name) and masks/<direction>.parquet
"""

import os
import sys
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from lander.finetune import adapters
from lander.finetune.manifest import check_manifest, parts_of
from lander.finetune.methods import Lora, Prepared, with_lora
from lander.models import families, loading
from lander.models.tokens import Codec
from lander.shared import machine, tables
from lander.shared.errors import UserError, brief
from lander.shared.files import public, read_json, remedy, sha256, whole_file, write_json

FORMAT = "lander-model-1"
BLOCKS, BOTTLENECKS, LORA = "trained.safetensors", "bottlenecks.safetensors", "adapter_model.safetensors"
UNFINISHED = (("run.json", "loss.csv"), (BLOCKS,), (BOTTLENECKS,))  # without lander.json: signs of a training
FILES = {"blocks": BLOCKS, "bottlenecks": BOTTLENECKS, "lora": LORA}  # part -> its tensors


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
    parts = parts_of(manifest, folder)
    bottlenecks = {name: weights.pop(name) for name in adapters.parameters(prepared.network)}
    if "model" in parts:
        _save_full(folder, weights, manifest["base"])
    if "lora" in parts:
        from peft import get_peft_model_state_dict

        config = prepared.network.peft_config["default"]
        config.inference_mode = True
        config.target_modules = sorted(config.target_modules)  # PEFT has a set: in another order in each process
        config.save_pretrained(folder)
        save_tensors(folder / LORA, get_peft_model_state_dict(prepared.network, state_dict=weights))
    if "bottlenecks" in parts:
        named = {adapters.base_name(name): value for name, value in bottlenecks.items()}
        save_tensors(folder / BOTTLENECKS, named)
    if "blocks" in parts:
        save_tensors(folder / BLOCKS, weights)
        for direction, mask in masks.items():
            tables.write(folder / "masks" / f"{direction}.parquet", mask, "masks")
    write_manifest(folder, manifest)


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of a folder that is complete, with the digests of its files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in (".safetensors", ".parquet"))
    digests = {str(path.relative_to(folder)): sha256(path) for path in files}
    write_json(folder / "lander.json", {"format": FORMAT} | manifest | {"files": digests})


def save_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write a file of tensors by name, whole or not at all."""
    with whole_file(path) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})


@machine.on_cpu()
def _save_full(folder: Path, weights: dict[str, torch.Tensor], base: dict[str, str]) -> None:
    """A plain model folder: the base (whose own parameters a ZeRO engine may have scattered) with new weights."""
    dtype = str(next(iter(weights.values())).dtype).removeprefix("torch.")
    network = loading.load_model(base["path"], base["revision"], dtype)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(weights[name])
    network.save_pretrained(folder)
    for file in folder.glob("*.safetensors"):
        public(file)


# ------------------------------------------------------------ reading


class Trained(Protocol):
    """A trained model, in a folder (`Folder`) or in one file (`lander.finetune.delta.Delta`)."""

    path: Path
    manifest: dict[str, Any]

    def tensors(self, part: str) -> dict[str, torch.Tensor]:
        """What was trained, by name: `blocks`, `bottlenecks` or `lora`."""

    def names(self, part: str) -> list[str]:
        """The names alone."""

    def masks(self) -> dict[str, pd.DataFrame]:
        """The masks of the directions that have one."""

    def lora_config(self) -> dict[str, Any]:
        """PEFT's adapter_config.json."""

    def whole(self, base: nn.Module | None, dtype: str) -> nn.Module:
        """The network of the method `full`; from a file it is the base with other weights."""


class Folder:
    """The folder of a trained model, its files checked."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not is_trained_model(str(path)):
            raise UserError(f"{path}: not a trained model's folder, results/<run>/finetune/<method>/<variant>/s<seed>")
        self.manifest = read_manifest(self.path)

    def tensors(self, part: str) -> dict[str, torch.Tensor]:
        return load_tensors(self.path / FILES[part])

    def names(self, part: str) -> list[str]:
        with open_tensors(self.path / FILES[part]) as file:
            return list(file.keys())

    def masks(self) -> dict[str, pd.DataFrame]:
        return read_masks(self.path / "masks", self.manifest["masked"])

    def lora_config(self) -> dict[str, Any]:
        return read_json(self.path / "adapter_config.json")

    def whole(self, base: nn.Module | None, dtype: str) -> nn.Module:
        return loading.load_model(str(self.path), dtype=dtype)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a trained model, its files checked against it.

    Raises:
        UserError: no manifest, another format, or a missing or damaged file.
    """
    manifest = read_json(folder / "lander.json")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UserError(f"{folder}/lander.json: not the manifest of a trained model (format {FORMAT})")
    check_manifest(manifest, folder / "lander.json")
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise UserError(f"{folder}/lander.json: `files` is missing or wrong; train the model again")
    for name, digest in files.items():
        path = folder / name
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise UserError(f"{folder}/lander.json: the file {name!r} is outside the folder; train the model again")
        if not os.path.isfile(path):
            raise UserError(f"{path}: missing, the model is not whole; {remedy(path, folder / 'lander.json')}")
        if sha256(path) != digest:
            raise UserError(
                f"{path}: damaged (its digest is not the manifest's); {remedy(path, folder / 'lander.json')}"
            )
    return manifest


def read_masks(folder: Path, directions: list[str]) -> dict[str, pd.DataFrame]:
    """The masks of the directions. A direction without a file runs the base's graph and is not trained.

    Raises:
        UserError: no direction has one.
    """
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


def put_lora(trained: Trained, network: nn.Module) -> nn.Module:
    """The base with the LoRA of a trained model.

    Raises:
        UserError: it does not fit.
    """
    from peft import set_peft_model_state_dict

    config = trained.lora_config()
    try:
        lora = Lora(int(config["r"]), int(config["lora_alpha"]), tuple(map(str, config["target_modules"])))
        network = with_lora(network, lora)
        found = set_peft_model_state_dict(network, trained.tensors("lora"))
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError, UserError) as error:
        raise UserError(
            f"{trained.path}: its LoRA does not fit the base ({brief(error, 200)}); train it again"
        ) from None
    missing = [name for name in found.missing_keys if "lora_" in name] + list(found.unexpected_keys)
    if missing:
        raise UserError(f"{trained.path}: its LoRA does not fit the base ({missing[0]}); train the model again")
    return network.requires_grad_(False).eval()


def put_bottlenecks(trained: Trained, network: nn.Module) -> None:
    """Give a network, PEFT's or the base, the bottlenecks of a trained model.

    Raises:
        UserError: they do not fit.
    """
    adapters.install(network, trained.manifest["sizes"]["bottleneck"])
    put_weights(trained, "bottlenecks", adapters.base_of(network))


def trained_scope(trained: Trained, network: nn.Module) -> str:
    """What of a layer the blocks were trained with: `layer`, or `ffn` where all of it is in the FFNs."""
    ffn = families.family_of(network).ffn
    return "ffn" if all(f".{ffn}." in name for name in trained.names("blocks")) else "layer"


def put_weights(trained: Trained, part: str, network: nn.Module) -> None:
    """Put trained parameters into a network whose blocks or bottlenecks are installed.

    Raises:
        UserError: a parameter that the network does not have, or of another shape.
    """
    copy_weights(trained.tensors(part), network, trained.path / FILES[part] if trained.path.is_dir() else trained.path)


def copy_weights(weights: dict[str, torch.Tensor], network: nn.Module, where: Path) -> None:
    """Copy tensors into the parameters of their names."""
    parameters = dict(network.named_parameters())
    for name, value in weights.items():
        if name not in parameters or parameters[name].shape != value.shape:
            raise UserError(f"{where}: trained parameter {name} does not fit its base; train the model again")
        parameters[name].data.copy_(value)


def open_tensors(path: Path) -> Any:
    """A safetensors file, open.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return safe_open(path, "pt")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({brief(error, 200)})") from None


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file.

    Raises:
        UserError: it cannot be read.
    """
    open_tensors(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({brief(error, 200)})") from None


def is_trained_model(path: str) -> bool:
    """Whether a path is a trained model's folder, rather than a base.

    Raises:
        UserError: its training is not finished, or its lander.json is damaged.
    """
    manifest = Path(path) / "lander.json"
    if not os.path.isfile(manifest):
        if any(all(os.path.isfile(Path(path) / name) for name in names) for names in UNFINISHED):
            raise UserError(
                f"{path}: the training of this model is not finished (lander.json, which is written last, is missing); "
                "run the same command again, or Snakemake with the run's --configfile, to finish it"
            )
        return False
    found = read_json(manifest)
    if not isinstance(found, dict):
        raise UserError(f"{manifest}: not a mapping of keys, as Lander writes it beside a model; {remedy(manifest)}")
    return found.get("format") == FORMAT
