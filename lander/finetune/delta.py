"""A trained model in one file: what was trained and nothing else, to be put on a base that the reader has.

Ten directions cost one base and some megabytes, and one file is easily sent. It is safetensors, no code, no pickle:

    tensors   <part>/<parameter>: as the parts are in the trained model's folder (`lander.finetune.saved`)
              masks/<direction>: the bytes of the Parquet table
    metadata  format, manifest (method, base with its path, revision and digest, directions, routing, prompts ...),
              adapter_config (PEFT's), provenance (how it was made), tokenizer (digest of the base's), prompt (plain or
              chat), digest (of all of this)

The base is checked by its digest before anything is put on it. The logits are those of the folder, bit for bit:
`lander.load` makes the folder again, in a temporary place, and loads it.

    lander delta results/demo/finetune/landermt/main/s0 --out landermt.safetensors
    lander.load("landermt.safetensors", base="lander-tiny")
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from lander.finetune import saved
from lander.models import loading
from lander.models.tokens import Codec, save_tokenizer
from lander.shared.errors import UserError, brief
from lander.shared.files import read_json, whole_file, whole_folder, write_json

FORMAT = "lander-delta-1"
SUFFIX = ".safetensors"
KEYS = ("format", "manifest", "adapter_config", "provenance", "tokenizer", "prompt")  # of the metadata, with `digest`


class Delta:
    """A delta file, whole and undamaged."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        with saved.open_tensors(self.path) as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise UserError(f"{path}: not a delta file (format {FORMAT}); `lander delta` makes them")
        with saved.open_tensors(self.path) as file:
            digest = _digest(metadata, ((name, file.get_tensor(name)) for name in sorted(file.keys())))
        if metadata.get("digest") != digest:
            raise UserError(f"{path}: damaged (its digest is not that of its contents); copy or make it again")
        self.tokenizer, self.prompt = metadata.get("tokenizer", ""), metadata.get("prompt", "plain")
        try:
            self.manifest, self.adapter_config, self.provenance = (
                json.loads(metadata[key]) for key in ("manifest", "adapter_config", "provenance")
            )
        except (LookupError, ValueError, RecursionError) as error:
            raise UserError(f"{path}: its metadata is damaged ({brief(error)}); make the file again") from None
        self.parts = saved.check_manifest(self.manifest, self.path)
        saved.check_record(self.provenance, self.path)


def is_delta(path: str | Path) -> bool:
    """Whether a path looks like a delta file, rather than a folder or the name of a model."""
    return str(path).endswith(SUFFIX) and not os.path.isdir(path)


def write(folder: str | Path, out: str | Path, provenance: dict[str, Any]) -> None:
    """Write what was trained of a trained model's folder as one file; `provenance` (`share.card`) is for its card."""
    folder, out = Path(folder), Path(out)
    if out.suffix != SUFFIX:
        raise UserError(f"--out: {out}: the name of a delta file ends in {SUFFIX}")
    if out.exists():
        raise UserError(f"--out: {out}: exists; choose another name or remove it")
    trained, codec = saved.Trained(folder), loading.load_codec(str(folder))
    tensors = {}
    for part in trained.parts:
        tensors |= {f"{part}/{name}": value.contiguous() for name, value in saved.PARTS[part].read(folder).items()}
    for direction in trained.manifest["masked"]:
        data = (folder / "masks" / f"{direction}.parquet").read_bytes()
        tensors[f"masks/{direction}"] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    manifest = {key: value for key, value in trained.manifest.items() if key not in ("files", "format")}
    config = folder / "adapter_config.json"
    adapter = read_json(config) if config.is_file() else {}
    contents = {"manifest": manifest, "adapter_config": adapter, "provenance": provenance}
    metadata = {key: json.dumps(value, ensure_ascii=False, sort_keys=True) for key, value in contents.items()}
    metadata |= {"format": FORMAT, "tokenizer": tokenizer_digest(codec), "prompt": codec.style}
    metadata["digest"] = _digest(metadata, sorted(tensors.items()))
    with whole_file(out) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def apply(path: str | Path, out: Path, base: str | None = None) -> None:
    """Make the trained model's folder from a delta file and its base: the reverse of `write`.

    `base` is where the base is now, by default where it was in training.
    """
    check_out(out)
    delta = Delta(path)
    where, revision = saved.check_base(delta.path, delta.manifest, base)
    codec = loading.load_codec(where, revision, delta.prompt)
    if tokenizer_digest(codec) != delta.tokenizer:
        raise UserError(f"{where}: not the tokenizer that {path} was trained with; pass the right base")
    with whole_folder(out) as folder:
        save_tokenizer(codec.tokenizer, folder)
        for part in delta.parts:
            tensors = saved.load_tensors(delta.path, f"{part}/")
            saved.PARTS[part].save(folder, tensors, {"path": where, "revision": revision})
        if delta.adapter_config:
            write_json(folder / "adapter_config.json", delta.adapter_config)
        for direction, data in saved.load_tensors(delta.path, "masks/").items():
            if direction not in delta.manifest["masked"]:
                raise UserError(f"{path}: a mask of {direction!r}, which the manifest does not name; make it again")
            (folder / "masks").mkdir(exist_ok=True)
            (folder / "masks" / f"{direction}.parquet").write_bytes(data.view(torch.uint8).numpy().tobytes())
        place = delta.manifest["base"] | loading.place(where, revision)
        saved.write_manifest(folder, delta.manifest | {"base": place})


def check_out(out: Path) -> None:
    """Check that a folder can be written."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out: {out}: a file, or a folder that is not empty; choose another one or empty it")


def tokenizer_digest(codec: Codec) -> str:
    """SHA-256 of a tokenizer's tokens and their numbers, and of the chat template where it is used."""
    parts = [sorted(codec.tokenizer.get_vocab().items()), codec.tokenizer.chat_template if codec.chat else None]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


def _digest(metadata: dict[str, str], tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """SHA-256 of metadata and tensors, in order."""
    digest = hashlib.sha256()
    for key in KEYS:
        digest.update(f"{key}\0{metadata.get(key, '')}\0".encode())
    for name, value in tensors:
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
