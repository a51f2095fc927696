"""A trained model in one file: what was trained and nothing else, to be put on a base that the reader has.

Ten directions cost one base and some megabytes, and one file is easily sent. It is safetensors, no code, no pickle:

    tensors   blocks/<parameter>, bottlenecks/<parameter>, lora/<parameter>: as in the trained model's folder
              model/<parameter>: of the method `full`, everything
              masks/<direction>: the bytes of the Parquet table
    metadata  format, manifest (method, base with its path, revision and digest, directions, routing, prompts ...),
              adapter_config (PEFT's), provenance (how it was made), tokenizer (digest of the base's), prompt (plain or
              chat), digest (of all of this)

The base is checked by its digest before anything is put on it. The logits are those of the folder, bit for bit.

    lander delta results/demo/finetune/landermt/main/s0 --out landermt.safetensors
    lander.load("landermt.safetensors", base="lander-tiny")
"""

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save_file
from torch import nn

from lander.finetune import saved
from lander.finetune.manifest import check_provenance
from lander.models import loading
from lander.models.tokens import Codec
from lander.shared import machine, tables
from lander.shared.errors import UserError, brief
from lander.shared.files import read_json, whole_file, whole_folder, write_json

FORMAT = "lander-delta-1"
SUFFIX = ".safetensors"
KEYS = ("format", "manifest", "adapter_config", "provenance", "tokenizer", "prompt")  # of the metadata, with `digest`


class Delta:
    """A delta file, whole and undamaged. Its methods are those of `lander.finetune.saved.Trained`."""

    def __init__(self, path: str | Path):
        """
        Raises:
            UserError: not a delta file, or damaged.
        """
        self.path = Path(path)
        with saved.open_tensors(self.path) as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise UserError(f"{path}: not a delta file (format {FORMAT}); `lander delta` makes them")
            keys = list(file.keys())
            try:
                digest = _digest(metadata, ((name, file.get_tensor(name)) for name in sorted(keys)))
            except Exception as error:  # a type of numbers that is known to the file and not to torch, for example
                raise UserError(f"{path}: damaged ({brief(error)}); copy or make it again") from None
        if metadata.get("digest") != digest:
            raise UserError(f"{path}: damaged (its digest is not that of its contents); copy or make it again")
        self.manifest, self._adapter_config, self.provenance = (
            _json(metadata.get(key), key, self.path) for key in ("manifest", "adapter_config", "provenance")
        )
        self.tokenizer, self.prompt = metadata.get("tokenizer", ""), metadata.get("prompt", "plain")
        saved.check_manifest(self.manifest, self.path)
        check_provenance(self.provenance, self.path)
        self._names = [tuple(name.partition("/")[::2]) for name in keys]

    def names(self, part: str) -> list[str]:
        return [name for kind, name in self._names if kind == part]

    def tensors(self, part: str) -> dict[str, torch.Tensor]:
        with saved.open_tensors(self.path) as file:
            return {name: file.get_tensor(f"{part}/{name}") for name in self.names(part)}

    def masks(self) -> dict[str, pd.DataFrame]:
        return {
            name: tables.read(io.BytesIO(data), "masks", name=f"{self.path}, mask of {name}")
            for name, data in self.mask_files().items()
        }

    def mask_files(self) -> dict[str, bytes]:
        """Direction -> its mask, as a Parquet file."""
        return {name: value.view(torch.uint8).numpy().tobytes() for name, value in self.tensors("masks").items()}

    def lora_config(self) -> dict[str, Any]:
        return self._adapter_config

    def whole(self, base: nn.Module | None, dtype: str) -> nn.Module:
        assert base is not None
        saved.copy_weights(self.tensors("model"), base, self.path)
        return base

    def codec(self, base: str, revision: str | None) -> Codec:
        """The base's tokenizer.

        Raises:
            UserError: it has another vocabulary or chat template than that of the training.
        """
        codec = loading.load_codec(base, revision, self.prompt)
        if tokenizer_digest(codec) != self.tokenizer:
            raise UserError(f"{base}: not the tokenizer that {self.path} was trained with; pass the right base")
        return codec


def is_delta(path: str | Path) -> bool:
    """Whether a path looks like a delta file, rather than a folder or the name of a model."""
    return str(path).endswith(SUFFIX) and not os.path.isdir(path)


def write(folder: str | Path, out: str | Path, provenance: dict[str, Any]) -> None:
    """Write what was trained of a trained model's folder as one file.

    Args:
        provenance: how the model was made (`lander.share.card.provenance`), for its card.
    Raises:
        UserError: not a trained model, or `out` is there already or has another ending.
    """
    folder, out = Path(folder), Path(out)
    if out.suffix != SUFFIX:
        raise UserError(f"--out: {out}: the name of a delta file ends in {SUFFIX}")
    if out.exists():
        raise UserError(f"--out: {out}: exists; choose another name or remove it")
    trained = saved.Folder(folder)
    parts = saved.parts_of(trained.manifest, folder)
    tensors = _parameters(trained, parts)
    for direction in trained.manifest["masked"] if "blocks" in parts else []:
        data = (folder / "masks" / f"{direction}.parquet").read_bytes()
        tensors[f"masks/{direction}"] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    codec = loading.load_codec(str(folder))
    manifest = {key: value for key, value in trained.manifest.items() if key not in ("files", "format")}
    metadata = {
        "format": FORMAT,
        "manifest": _text(manifest),
        "adapter_config": _text(trained.lora_config() if "lora" in parts else {}),
        "provenance": _text(provenance),
        "tokenizer": tokenizer_digest(codec),
        "prompt": codec.style,
    }
    metadata["digest"] = _digest(metadata, ((name, tensors[name]) for name in sorted(tensors)))
    with whole_file(out) as temporary:
        save_file(tensors, temporary, metadata=metadata)


@machine.on_cpu()
def _parameters(trained: saved.Folder, parts: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """What was trained, by part and name."""
    if "model" in parts:
        network = loading.load_model(str(trained.path), dtype=stored_type(trained.path))
        return {f"model/{name}": value.detach().contiguous() for name, value in network.named_parameters()}
    return {
        f"{part}/{name}": value.contiguous() for part in parts for name, value in trained.tensors(part).items()
    }  # fmt: skip


def stored_type(folder: Path) -> str:
    """The type of a plain model's weights."""
    config = read_json(folder / "config.json")
    return "bfloat16" if "bfloat16" in (config.get("dtype"), config.get("torch_dtype")) else "float32"


@machine.on_cpu()
def apply(path: str | Path, out: Path, base: str | None = None) -> None:
    """Make the trained model's folder from a delta file and its base: the reverse of `write`.

    Args:
        base: where the base is; by default where it was in training.
    Raises:
        UserError: `out` is there already, another base, or see `Delta`.
    """
    check_out(out)
    delta = Delta(path)
    where, revision = check_base(delta, base)
    codec = delta.codec(where, revision)
    parts = saved.parts_of(delta.manifest, delta.path)
    with whole_folder(out) as folder:
        codec.tokenizer.save_pretrained(folder)
        if "model" in parts:
            kinds = {str(value.dtype).removeprefix("torch.") for value in delta.tensors("model").values()}
            network = delta.whole(loading.load_model(where, revision, min(kinds, default="float32")), "")
            network.save_pretrained(folder)
        for part in parts:
            if part in saved.FILES:
                saved.save_tensors(folder / saved.FILES[part], delta.tensors(part))
        if "lora" in parts:
            write_json(folder / "adapter_config.json", delta.lora_config())
        for direction, data in delta.mask_files().items():
            if direction not in delta.manifest["masked"]:
                raise UserError(f"{path}: a mask of {direction!r}, which the manifest does not name; make it again")
            (folder / "masks").mkdir(exist_ok=True)
            (folder / "masks" / f"{direction}.parquet").write_bytes(data)
        base_now = delta.manifest["base"] | loading.place(where, revision)
        saved.write_manifest(folder, delta.manifest | {"base": base_now})


def check_out(out: Path) -> None:
    """Check that a folder can be written.

    Raises:
        UserError: it is there already, and not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out: {out}: a file, or a folder that is not empty; choose another one or empty it")


def check_base(trained: saved.Trained, base: str | None = None) -> tuple[str, str | None]:
    """Path and revision of a trained model's base, which is the one that it was trained on.

    Args:
        base: where it is now, if it has moved since.
    Raises:
        UserError: it is another one, or is missing.
    """
    known = trained.manifest["base"]
    where = base or known["path"]
    revision = known.get("revision") if where == known["path"] else None  # it names a commit of that place only
    try:
        digest = loading.digest(where, revision)
    except UserError as error:
        remedy = "" if base else f"; {trained.path} needs its base: say where it is with --base (lander.load: base=)"
        raise UserError(f"{error}{remedy}") from None
    except (OSError, ValueError) as error:
        reason = brief(error, 200)
        raise UserError(f"{where}: the base of {trained.path} cannot be read ({reason})") from None
    if digest != known["digest"]:
        raise UserError(
            f"{where}: not the base that {trained.path} was trained on (another digest); pass the right one"
        )
    return where, revision


def tokenizer_digest(codec: Codec) -> str:
    """SHA-256 of a tokenizer's tokens and their numbers, and of the chat template where it is used."""
    parts = [sorted(codec.tokenizer.get_vocab().items()), codec.tokenizer.chat_template if codec.chat else None]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


def _digest(metadata: dict[str, str], tensors: Any) -> str:
    """SHA-256 of metadata and tensors, in order."""
    digest = hashlib.sha256()
    for key in KEYS:
        digest.update(f"{key}\0{metadata.get(key, '')}\0".encode())
    for name, value in tensors:
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _json(text: str | None, key: str, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(text or "")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UserError(f"{path}: its `{key}` is missing or damaged; make the file again")
    return value
