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
from dataclasses import astuple
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from lander.finetune import blocks, delta
from lander.finetune.adapters import base_of
from lander.models import families, loading, plain
from lander.share.card import NAME, Card
from lander.shared import machine
from lander.shared.errors import UserError
from lander.shared.files import sha256, whole_folder, write_json
from lander.shared.languages import language_name, parse_direction
from lander.translate.translator import Decoding, Model, Translator, load, open_trained

SHARED, OWN = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
EXAMPLE = "Good morning."


@machine.on_cpu()
def export(
    path: str | Path,
    direction: str | None,
    out: Path,
    *,
    dtype: str = "float32",
    base: str | None = None,
    scores: Path | None = None,
    license: str | None = None,
) -> None:
    """Write a direction of a trained model as a plain model folder of the base's architecture, exactly.

    UserError if no plain model equals this one (`adapter`, and gates that read tokens).

    Args:
        path: a trained model's folder, a delta file, or a base.
        direction: None: every trained direction into out/<direction>; what is the same in several is stored once.
        dtype: of the weights written, `float32` or `bfloat16`.
        base: where the base is, if it has moved.
        scores, license: for the card (`lander.share.card.Card`).
    """
    delta.check_out(out)
    trained = open_trained(str(path))
    if trained and "bottlenecks" in trained.parts:
        raise UserError(
            f"{path}: a bottleneck adapter cannot be exported: it is not linear (a gelu is between its two maps), "
            "so no weights of the base's architecture equal it; use lander.load, `lander translate` or `lander delta`"
        )
    if trained and (trained.manifest["routing"] or {}).get("gate") == "token":
        raise UserError(
            f"{path}: a model with routing.gate: token cannot be exported: its gates read each token, so no weights of "
            "the base's architecture equal it; use lander.load, `lander translate` or `lander delta`"
        )
    if trained is None and direction is None:
        raise UserError(f"{path}: --all: not a trained model, it has no directions; use --direction")
    translator = load(path, base=base)
    trained_in = [str(one) for one in translator.directions]
    if direction is not None:
        parsed = parse_direction(direction)
        for code in astuple(parsed):
            translator.languages.get(code) or language_name(code)  # a mistyped code has no name
        if trained_in and str(parsed) not in trained_in:
            were = f"{direction} was not trained ({', '.join(trained_in)} were)"
            print(f"warning: {were}; it is exported as it is routed", file=sys.stderr)
    names = trained_in if direction is None else [direction]
    card = Card(str(path), trained, names, scores, license)  # faults in the scores show before any work
    with whole_folder(out) as temporary:
        if direction is None:
            _write_all(temporary, names, translator, trained, base, dtype)
        else:
            _write(temporary, direction, translator, trained, base, dtype)
        for name in names:
            prompt = translator.prompt(EXAMPLE, parse_direction(name))
            own, called = (temporary / name, name) if direction is None else (temporary, out.name)
            card.write(own / NAME, "plain", called, [name], prompt=prompt, chat=translator.codec.style == "chat")


def _write_all(
    out: Path, names: list[str], translator: Translator, trained: Model, base: str | None, dtype: str
) -> None:
    """The folder of each direction. Files that are the same in several are links to one."""
    layers = families.family_of(base_of(translator.network)).layers
    prefixes = tuple(f"{layers}.{layer}." for layer in translator.ffns)  # of the weights that directions do not share
    known: dict[str, Path] = {}  # digest -> file
    for number, name in enumerate(names, start=1):
        print(f"export: {name} ({number} of {len(names)})", file=sys.stderr, flush=True)
        folder = out / name
        if not translator.ffns and number > 1:  # all directions have the same weights
            shutil.copytree(out / names[0], folder, copy_function=_link)
            continue
        _write(folder, name, translator, trained, base, dtype)
        _split(folder, prefixes)
        for path in sorted(folder.iterdir()):
            if (other := known.setdefault(sha256(path), path)) is not path:
                path.unlink()
                _link(other, path)


def _write(
    folder: Path, direction: str, translator: Translator, trained: Model | None, base: str | None, dtype: str
) -> None:
    """The plain model of a direction; `generate` decodes by default as the translator does."""
    translator.route(direction)
    network = translator.network
    if hasattr(network, "merge_and_unload"):
        untie(base_of(network))
        network = network.merge_and_unload()
    elif translator.ffns:
        where, revision = base or trained.manifest["base"]["path"], trained.manifest["base"].get("revision")
        network = loading.load_model(where, revision, "float32")
        blocks.fold(translator.network, network)
    network.generation_config = translator.generation_config(Decoding())
    plain.save(network.to(getattr(torch, dtype)), translator.codec.tokenizer, folder)


def untie(network: nn.Module) -> None:
    """Give a head that has a LoRA weights of its own: merged into those of the embedding, it would change that too."""
    head, embedding = network.get_output_embeddings(), network.get_input_embeddings()
    if hasattr(head, "base_layer") and head.base_layer.weight is embedding.weight:
        head.base_layer.weight = nn.Parameter(embedding.weight.detach().clone(), requires_grad=False)
        network.config.tie_word_embeddings = False


def _split(folder: Path, prefixes: tuple[str, ...]) -> None:
    """Put the weights whose names have one of these beginnings into one file, the others into another."""
    file = folder / "model.safetensors"
    if not prefixes or not file.is_file():  # nothing differs, or too large for one file: shards by size
        return
    with safe_open(file, "pt") as weights:
        tensors, metadata = {name: weights.get_tensor(name) for name in sorted(weights.keys())}, weights.metadata()
    places = {name: OWN if name.startswith(prefixes) else SHARED for name in tensors}
    if len({*places.values()}) < 2:
        return
    for part in (SHARED, OWN):
        save_file({name: value for name, value in tensors.items() if places[name] == part}, folder / part, metadata)
    size = sum(value.nbytes for value in tensors.values())
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": places})
    file.unlink()


def _link(path: Path, out: Path) -> None:
    """A hard link where the file system has them, else a copy."""
    try:
        os.link(path, out)
    except OSError:
        shutil.copyfile(path, out)
