"""A trained model for others: directions of it as plain Hugging Face folders, with a model card in each.

Blocks are folded into the base's dense FFNs (a group's factor goes into its rows or columns, absent neurons are zero),
LoRA is merged; `full` is a plain model already. Any code that loads the base loads the result. In float32 it equals the
routed model except for the order of sums; another type rounds once, after folding.

    lander export results/demo/finetune/landermt/main/s0 --direction en-de --out my-model
    lander export results/demo/finetune/landermt/main/s0 --all --out my-models

Folders of several directions are hard links to each other's files where these are the same: tokenizer and config, all
weights of `full` and `lora`, and, in a separate file, the weights outside the chosen layers of a model with blocks.
"""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from lander.finetune import blocks, delta, saved
from lander.finetune.adapters import base_of
from lander.models import families, loading
from lander.share import card
from lander.shared import machine
from lander.shared.errors import UserError
from lander.shared.files import sha256, whole_folder, write_json
from lander.shared.languages import language_name, parse_direction
from lander.translate.translator import Translator, load, open_trained

SHARED, OWN = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
EXAMPLE = "Good morning."


@machine.on_cpu()
def export(
    path: str | Path,
    direction: str,
    out: Path,
    *,
    dtype: str = "float32",
    base: str | None = None,
    scores: Path | None = None,
    license: str | None = None,
) -> None:
    """Write one direction of a trained model as a plain model folder of the base's architecture, exactly.

    Args:
        path: a trained model's folder, a delta file, or a base.
        dtype: of the weights written, `float32` or `bfloat16`.
        base: where the base is, if it has moved.
        scores: the run's evaluate/scores.csv, for the card.
        license: for the card, as on the hub; by default the base's where it is known.
    Raises:
        UserError: `out` is there already, the model has bottleneck adapters, or see `load`.
    """
    delta.check_out(out)
    trained = _foldable(str(path))
    translator = load(path, base=base)
    for code in astuple(parse_direction(direction)):
        translator.languages.get(code) or language_name(code)  # a mistyped code has no name
    if translator.directions and parse_direction(direction) not in translator.directions:
        names = ", ".join(map(str, translator.directions))
        print(f"warning: {direction} was not trained ({names} were); it is exported as it is routed", file=sys.stderr)
    card_of = _cards(path, trained, translator, [direction], scores, license)
    with whole_folder(out) as temporary:
        _write(temporary, _fold(translator, trained, direction, base), translator, dtype)
        card_of(temporary, direction, out.name)


@machine.on_cpu()
def export_all(
    path: str | Path,
    out: Path,
    *,
    dtype: str = "float32",
    base: str | None = None,
    scores: Path | None = None,
    license: str | None = None,
) -> None:
    """Write every trained direction into out/<direction>; what is the same in several is stored once.

    Raises:
        UserError: as `export`; the path is a base.
    """
    delta.check_out(out)
    trained = _foldable(str(path))
    if trained is None:
        raise UserError(f"{path}: --all: not a trained model, it has no directions; use --direction")
    translator = load(path, base=base)
    names = [str(direction) for direction in translator.directions]
    card_of = _cards(path, trained, translator, names, scores, license)
    layers = families.family_of(base_of(translator.network)).layers
    prefixes = tuple(f"{layers}.{layer}." for layer in translator.ffns)  # of the weights that directions do not share
    known: dict[str, Path] = {}
    network: nn.Module | None = None
    with whole_folder(out) as temporary:
        for number, name in enumerate(names, start=1):
            print(f"export: {name} ({number} of {len(names)})", file=sys.stderr, flush=True)
            folder = temporary / name
            if translator.ffns or network is None:
                network = None  # of the direction before
                network = _fold(translator, trained, name, base)
                _write(folder, network, translator, dtype)
                _split(folder, prefixes)
                share(folder, known)
            else:  # all directions have the same weights
                folder.mkdir()
                for path in (temporary / names[0]).iterdir():
                    if path.name != card.NAME:
                        _link(path, folder / path.name)
            card_of(folder, name, name)


def _foldable(path: str) -> saved.Trained | delta.Delta | None:
    """The trained model, None for a base.

    Raises:
        UserError: no plain model equals it.
    """
    trained = open_trained(path)
    if trained and "bottlenecks" in trained.parts:
        raise UserError(
            f"{path}: a bottleneck adapter cannot be exported: it is not linear (a gelu is between its two maps), "
            "so no weights of the base's architecture equal it; use lander.load, `lander translate` or `lander delta`"
        )
    return trained


def _fold(
    translator: Translator, trained: saved.Trained | delta.Delta | None, direction: str, base: str | None
) -> nn.Module:
    """The plain network of a direction."""
    translator.route(direction)
    network = translator.network
    if hasattr(network, "merge_and_unload"):
        return network.merge_and_unload()
    if not translator.ffns or trained is None:
        return network
    where, revision = base or trained.manifest["base"]["path"], trained.manifest["base"].get("revision")
    plain = loading.load_model(where, revision, "float32")
    blocks.fold(network, plain)
    return plain


def _write(folder: Path, network: nn.Module, translator: Translator, dtype: str) -> None:
    """A plain model's folder; `generate` ends where the translator ends."""
    ends = translator.codec.ends
    network.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
    network.generation_config.pad_token_id = translator.codec.pad
    network.to({"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]).save_pretrained(folder)
    translator.codec.tokenizer.save_pretrained(folder)


def _cards(
    path: str | Path,
    trained: saved.Trained | delta.Delta | None,
    translator: Translator,
    directions: list[str],
    scores: Path | None,
    license: str | None,
) -> Callable[[Path, str, str], None]:
    """A function that writes the card of a direction into a folder. Faults in the scores show before any work."""
    if trained is None:  # a base as it is
        digest = loading.digest(str(path))
        manifest: dict[str, Any] = {"method": "base", "base": {"path": str(path), "digest": digest}}
        manifest |= {"directions": [], "languages": {}}
        made: dict[str, Any] = {}
    else:
        manifest = trained.manifest
        in_file = isinstance(trained, delta.Delta)
        made = trained.provenance if in_file else card.provenance(trained.path, manifest)
    rows = card.scores_of(scores, manifest, made, directions) if scores else []

    def write(folder: Path, direction: str, name: str) -> None:
        prompt = translator.prompt(EXAMPLE, parse_direction(direction))
        own = [row for row in rows if row["direction"] == direction]
        card.write(
            folder / card.NAME, manifest, made, kind="plain", name=name, directions=[direction], prompt=prompt,
            chat=translator.codec.style == "chat", scores=own, license=license,
        )  # fmt: skip

    return write


# ------------------------------------------------------------ what directions share


def _split(folder: Path, prefixes: tuple[str, ...]) -> None:
    """Put the weights whose names have one of these beginnings into one file, the others into another."""
    file = folder / "model.safetensors"
    if not prefixes or not file.is_file():  # nothing differs, or too large for one file: shards by size
        return
    with safe_open(file, "pt") as weights:
        names = sorted(weights.keys())
        tensors = {name: weights.get_tensor(name) for name in names}
        metadata = weights.metadata()
    own = {name: value for name, value in tensors.items() if name.startswith(prefixes)}
    if not own or len(own) == len(tensors):
        return
    save_file({name: value for name, value in tensors.items() if name not in own}, folder / SHARED, metadata)
    save_file(own, folder / OWN, metadata)
    size = sum(value.numel() * value.element_size() for value in tensors.values())
    places = {name: OWN if name in own else SHARED for name in names}
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": places})
    file.unlink()


def share(folder: Path, known: dict[str, Path]) -> None:
    """Replace files of a folder by hard links to those with the same content that are known; note the others.

    Args:
        known: digest -> file; grows.
    """
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        other = known.setdefault(sha256(path), path)
        if other is not path:
            path.unlink()
            _link(other, path)


def _link(path: Path, out: Path) -> None:
    """A hard link where the file system has them, else a copy."""
    try:
        os.link(path, out)
    except OSError:
        shutil.copyfile(path, out)
