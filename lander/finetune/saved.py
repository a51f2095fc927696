"""The folder of a trained model: what was trained, the tokenizer, and which base it belongs to.

lander.json           manifest, written last: method, base (path, revision, digest), directions, digests of files
tokenizer files

and the parts of its method (`lander.config.methods`), each as `PARTS` writes it and puts it on the base again:
model:       config.json, model.safetensors: a plain model, for methods that train everything
weights:     weights.safetensors: some of the base's own weights
lora:        adapter_config.json, adapter_model.safetensors, in PEFT's own format
bottlenecks: bottlenecks.safetensors; their size is in the manifest
blocks:      trained.safetensors and masks/<direction>.parquet
"""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import pandas as pd
import torch
from pydantic import AfterValidator, BaseModel, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from lander.config.masks import Routing
from lander.config.methods import METHODS, Lora
from lander.finetune import adapters, blocks
from lander.finetune.methods import MARKS, Prepared, with_lora
from lander.finetune.switch import Router
from lander.models import families, loading, plain
from lander.models.tokens import Codec, save_tokenizer
from lander.shared import machine, tables
from lander.shared.errors import UserError, brief
from lander.shared.files import public, read_json, remedy, sha256, whole_file, write_json
from lander.shared.languages import parse_direction
from lander.shared.section import Text

FORMAT = "lander-model-1"
DIGESTED = ("*.safetensors", "*.parquet", "config.json", "adapter_config.json", "tokenizer*.json", "*.jinja")
Tensors = dict[str, torch.Tensor]


class Trained:
    """The folder of a trained model, its files checked."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        where = self.path / "lander.json"
        if not is_trained_model(path):
            raise UserError(f"{path}: not a trained model's folder, results/<run>/finetune/<method>/<variant>/s<seed>")
        self.manifest = read_json(where)
        self.parts = check_manifest(self.manifest, where)
        files = self.manifest.get("files")
        if not isinstance(files, dict):
            raise UserError(f"{where}: `files` is missing or wrong; train the model again")
        for name, digest in files.items():
            file = self.path / name
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise UserError(f"{where}: the file {name!r} is outside the folder; train the model again")
            if not os.path.isfile(file):
                raise UserError(f"{file}: missing, the model is not whole; {remedy(file, where)}")
            if sha256(file) != digest:
                raise UserError(f"{file}: damaged (its digest is not the manifest's); {remedy(file, where)}")


# ------------------------------------------------------------ the parts


class Named:
    """Parameters in one file, by their names in the base; those of LoRA by PEFT's names.

    `mark` is in the names of its parameters; without one it has those that no other part of the method has.
    `ready` gives the base the modules to which the parameters belong.
    """

    def __init__(self, file: str, mark: str = "", ready: Callable[[Trained, nn.Module], nn.Module] | None = None):
        self.file, self.mark, self.ready = file, mark, ready

    def save(self, folder: Path, tensors: Tensors, _base: dict[str, str]) -> None:
        with whole_file(folder / self.file) as temporary:
            save_file(tensors, temporary, metadata={"format": "pt"})

    def read(self, folder: Path) -> Tensors:
        return load_tensors(folder / self.file)

    def load(self, trained: Trained, network: nn.Module, start: bool) -> nn.Module:
        """The network with this part of a trained model; with `start` as its training began."""
        if self.ready:
            network = self.ready(trained, network)
        if start:
            return network
        tensors = self.read(trained.path)
        if not trained.manifest.get("diverged"):
            loading.check_numbers(tensors, str(trained.path / self.file))
        parameters = {name_in_file(name): value for name, value in network.named_parameters()}
        own = [name for name in parameters if self.mark and self.mark in name]
        for name in dict.fromkeys([*own, *tensors]):
            if name not in parameters or name not in tensors or parameters[name].shape != tensors[name].shape:
                where = trained.path / self.file
                raise UserError(f"{where}: parameter {name} is missing or does not fit the base; train the model again")
            parameters[name].data.copy_(tensors[name])
        return network


class Whole:
    """All weights, in a plain model's folder: loading starts from it instead of the base (`load_network`)."""

    file, mark = "model.safetensors", ""

    @machine.on_cpu()
    def save(self, folder: Path, tensors: Tensors, base: dict[str, str]) -> None:
        """The base (whose own parameters a ZeRO engine may have scattered) with these weights."""
        network = loading.load_model(base["path"], base["revision"], type_of(tensors))
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(tensors[name])
        network.save_pretrained(folder)
        plain.add_old_keys(folder)
        for file in folder.glob("*.safetensors"):
            public(file)

    @machine.on_cpu()
    def read(self, folder: Path) -> Tensors:
        config = read_json(folder / "config.json")
        stored = "bfloat16" if "bfloat16" in (config.get("dtype"), config.get("torch_dtype")) else "float32"
        network = loading.load_model(str(folder), dtype=stored)
        return {name: value.detach() for name, value in network.named_parameters()}

    def load(self, _trained: Trained, network: nn.Module, _start: bool) -> nn.Module:
        return network


def _with_lora(trained: Trained, network: nn.Module) -> nn.Module:
    config = read_json(trained.path / "adapter_config.json")
    try:
        targets = tuple(map(str, config["target_modules"]))
        return with_lora(network, Lora(rank=int(config["r"]), alpha=int(config["lora_alpha"]), targets=targets))
    except Exception as error:  # PEFT has many for values that make no sense
        reason = brief(error, 200)
        raise UserError(f"{trained.path}: its LoRA does not fit the base ({reason}); train it again") from None


def _with_blocks(trained: Trained, network: nn.Module) -> nn.Module:
    """With the scope `ffn` everything trained is in the FFNs."""
    ffn = f".{families.family_of(network).ffn}."
    with open_tensors(trained.path / PARTS["blocks"].file) as file:
        scope = "ffn" if all(ffn in name for name in file.keys()) else "layer"  # noqa: SIM118
    masks = read_masks(trained.path / "masks", trained.manifest["masked"])
    blocks.install(network, masks, Router(), Routing(**trained.manifest["routing"]), scope)
    return network


PARTS: dict[str, Named | Whole] = {  # what has a mark comes first
    "lora": Named("adapter_model.safetensors", MARKS["lora"], _with_lora),
    "bottlenecks": Named(
        "bottlenecks.safetensors",
        MARKS["bottlenecks"],
        lambda trained, network: adapters.install(network, trained.manifest["sizes"]["bottleneck"]),
    ),
    "weights": Named("weights.safetensors"),
    "blocks": Named("trained.safetensors", ready=_with_blocks),
    "model": Whole(),
}
UNFINISHED = [["run.json", "loss.csv"], *([PARTS[part].file] for part in ("weights", "bottlenecks", "blocks"))]


def name_in_file(name: str) -> str:
    """A parameter's name in a file: that in PEFT's files for LoRA, that in the base for all others."""
    if MARKS["lora"] in name:
        return re.sub(r"(lora_[AB])\.default\.", r"\1.", name)
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")


# ------------------------------------------------------------ writing


def save(
    folder: Path, prepared: Prepared, masters: Tensors, codec: Codec, masks: dict[str, pd.DataFrame], manifest: dict
) -> None:
    """Write a trained model. `masters` are its trained parameters; the manifest's existence says that all is there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lander.json").unlink(missing_ok=True)
    save_tokenizer(codec.tokenizer, folder)
    for config in getattr(prepared.network, "peft_config", {}).values():
        config.inference_mode = True
        config.target_modules = sorted(config.target_modules)  # PEFT has a set: in another order in each process
        base_id, commit = plain.hub_id(manifest["base"]["path"])
        config.base_model_name_or_path = base_id or manifest["base"]["path"]
        config.revision = commit or manifest["base"]["revision"]
        config.save_pretrained(folder)
    trained = prepared.trained()
    parts = [name for name in PARTS if name in METHODS[manifest["method"]].parts]
    tensors: dict[str, Tensors] = {part: {} for part in parts}
    for name, value in masters.items():
        part = next(part for part in parts if PARTS[part].mark in name)
        tensors[part][name_in_file(name)] = value.to(trained[name].dtype).contiguous()
    for part in parts:
        PARTS[part].save(folder, tensors[part], manifest["base"])
    for direction, mask in masks.items():
        tables.write(folder / "masks" / f"{direction}.parquet", mask, "masks")
    diverged = not all(value.isfinite().all() for value in masters.values())
    write_manifest(folder, manifest | ({"diverged": True} if diverged else {}))


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of a folder that is complete, with the digests of its files."""
    files = sorted(path for pattern in DIGESTED for path in folder.rglob(pattern))
    digests = {str(path.relative_to(folder)): sha256(path) for path in files}
    write_json(folder / "lander.json", {"format": FORMAT} | manifest | {"files": digests})


def type_of(tensors: Tensors) -> str:
    """The type of a model's weights, `float32` or `bfloat16`."""
    return str(next(iter(tensors.values())).dtype).removeprefix("torch.")


# ------------------------------------------------------------ reading


def is_trained_model(path: str) -> bool:
    """Whether a path is a trained model's folder, rather than a base; UserError if its training is not finished."""
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


def read_masks(folder: Path, directions: list[str]) -> dict[str, pd.DataFrame]:
    """The masks of the directions. A direction without a file runs the base's graph and is not trained."""
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


def load_network(trained: Trained, dtype: str, base: str | None = None, *, start: bool = False) -> nn.Module:
    """The network of a trained model: its parts on its base (`base`: its new place, if it has moved).

    With `start` it is as the training began, with its blocks or adapters and the base's weights.
    """
    where = (str(trained.path), None) if "model" in trained.parts else check_base(trained.path, trained.manifest, base)
    diverged = "model" in trained.parts and trained.manifest.get("diverged")
    network = loading.load_model(*where, dtype, numbers=not diverged)
    for part in (name for name in PARTS if name in trained.parts):
        network = PARTS[part].load(trained, network, start)
    return network.eval().requires_grad_(False)


def check_base(path: Path, manifest: dict[str, Any], base: str | None = None) -> tuple[str, str | None]:
    """Path and revision of the base of the trained model at `path`; `base` is its new place, if it has moved.

    UserError if it is missing or not the one of the training.
    """
    known = manifest["base"]
    where = base or known["path"]
    revision = known.get("revision") if where == known["path"] else None  # it names a commit of that place only
    try:
        digest = loading.digest(where, revision)
    except UserError as error:
        remedy = "" if base else f"; {path} needs its base: say where it is with --base (lander.load: base=)"
        raise UserError(f"{error}{remedy}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{where}: the base of {path} cannot be read ({brief(error, 200)})") from None
    if digest != known["digest"]:
        raise UserError(f"{where}: not the base that {path} was trained on (another digest); pass the right one")
    return where, revision


@contextlib.contextmanager
def open_tensors(path: Path) -> Iterator[Any]:
    """A safetensors file, open; UserError if the block cannot read it."""
    try:
        with safe_open(path, "pt") as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (SafetensorError, OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({brief(error, 200)})") from None


def load_tensors(path: Path, prefix: str = "") -> Tensors:
    """The tensors of a safetensors file whose names begin with `prefix`, by the rest of their names."""
    with open_tensors(path) as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}


# ------------------------------------------------------------ what a manifest and a record must have


def _direction(name: str) -> str:
    """A direction as files are called after it: nothing that leads out of a folder."""
    with contextlib.suppress(UserError):
        if str(parse_direction(name)) == name:
            return name
    raise ValueError(name)


Name = Annotated[str, AfterValidator(_direction)]
Size = Annotated[int, Field(gt=0, le=1_000_000)]  # it becomes memory


class Base(BaseModel):
    path: Text  # as it is not empty, pydantic also refuses halves of characters (JSON can spell them)
    digest: str
    revision: str | None = None


class Route(BaseModel):
    scale: Literal["input", "output"]
    gate: Literal["static", "learned", "token", "off"]


class Manifest(BaseModel):
    """What loading relies on. It may come from other people; other keys are allowed."""

    method: str
    base: Base
    directions: list[Name]
    languages: dict[str, Text]
    templates: list[Text] = Field(min_length=1)
    masked: list[Name]
    routing: Route | None
    sizes: dict[str, Size]
    diverged: bool = False  # weights that are no numbers, of a trial of a learning rate


class Inputs(BaseModel):
    train: list[str] = []


class Record(BaseModel):
    """What a card prints of a training's record."""

    settings: Inputs | None = None
    versions: dict[str, Any] | None = None
    pairs: dict[str, dict[str, int]] | None = None
    sources: list[str] | None = None
    updates: int | None = None
    variant: str | None = None
    parameters_trained: int | None = None
    parameters_total: int | None = None
    commit: str | None = None
    git: dict[str, Any] | None = None


def check_manifest(manifest: dict[str, Any], where: Path) -> tuple[str, ...]:
    """The parts of the model. UserError names the first key that is missing or wrong."""
    wrong = _wrong(Manifest, manifest)
    if not wrong and manifest["method"] not in METHODS:
        raise UserError(f"{where}: the method {manifest['method']!r} is unknown to this version of Lander")
    parts = () if wrong else METHODS[manifest["method"]].parts
    if "blocks" in parts and manifest["routing"] is None:
        wrong = "routing"
    if "bottlenecks" in parts and "bottleneck" not in manifest["sizes"]:
        wrong = "sizes.bottleneck"
    if wrong or not parts:
        raise UserError(f"{where}: `{wrong or 'method'}` is missing or wrong; train the model again")
    return parts


def check_record(record: Any, where: Path) -> None:
    """Check the types of what a card prints of a training's record."""
    if wrong := _wrong(Record, record):
        raise UserError(f"{where}: `{wrong}` of the training's record is damaged; train the model again")


def _wrong(kind: type[BaseModel], found: Any) -> str:
    """Dotted name of the first key that is not of its kind; empty if all are."""
    try:
        kind.model_validate(found, strict=True)
    except ValidationError as error:
        return ".".join(map(str, error.errors(include_url=False)[0]["loc"])) or "it"
    return ""
