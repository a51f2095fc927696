"""Trained models' folders for tests, made without training: what a method trains gets random weights."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import toys
from safetensors.torch import save_file
from torch import nn

from lander.config.masks import Routing
from lander.config.methods import MASKED, Lora
from lander.finetune import delta, saved
from lander.finetune.methods import prepare
from lander.models import families, loading

DIRECTIONS = ("en-de", "de-en", "en-fr")


@dataclass(frozen=True)
class Trained:
    """`network` as it was in memory when the folder was written; `route` chooses its direction."""

    path: Path
    base: Path
    network: nn.Module
    router: object

    def logits(self, direction: str | None) -> torch.Tensor:
        self.router.direction = direction
        with torch.inference_mode():
            return self.network(toys.ids()).logits


def base(folder: Path, family: str = "bloom", tokenizer=None) -> Path:
    """A base of three layers whose vocabulary holds the tokenizer's."""
    network = toys.bloom(3, vocabulary=300) if family == "bloom" else toys.FAMILIES[family]()
    network.save_pretrained(folder)
    (tokenizer or toys.bloom_tokenizer()).save_pretrained(folder)
    return folder


def make(
    folder: Path,
    method: str,
    *,
    family: str = "bloom",
    partly: bool = False,
    gate: str = "learned",
    chat: bool = False,
    targets: tuple[str, ...] = (),
    generation: dict | None = None,
    where: Path | None = None,
    diverged: bool = False,
) -> Trained:
    """A trained model in folder/model, its base in folder/base or `where`.

    Args:
        partly: en-fr has not chosen layer 2.
        gate: of the routing.
        chat: trained on turns of a chat.
        targets: of LoRA.
        generation: the base's generation_config.json.
        diverged: a trial of a learning rate that left no numbers.
    """
    where = where or base(folder / "base", family, toys.chat_tokenizer("qwen") if chat else None)
    if generation:
        (where / "generation_config.json").write_text(json.dumps(generation))
    network = loading.load_model(str(where), dtype="float32")
    neurons = families.ffn_of(network, 1).n_neurons
    masks = toys.masks([1, 2], neurons, DIRECTIONS) if method in MASKED else {}
    if partly:
        changed = masks["en-fr"]
        untouched = {"role": "base", "owner": None, "trained": False, "scale": 1.0}
        masks["en-fr"] = changed.mask(changed["layer"] == 2, changed.assign(**untouched))
    prepared = prepare(
        method, network, masks=masks, routing=Routing(gate=gate), lora=Lora(rank=2, targets=targets), budget_layers=2
    )
    torch.manual_seed(3)
    for parameter in prepared.trained().values():
        parameter.data.fill_(torch.nan) if diverged else parameter.data.normal_()
    manifest = {
        "method": method,
        "seed": 0,
        "base": {"path": str(where), "revision": None, "digest": loading.digest(str(where))},
        "directions": list(DIRECTIONS),
        "languages": {"en": "English", "de": "German"},
        "templates": ["Translate {source_language} to {target_language}: {source}\n"],
        "masked": list(masks),
        "routing": {"scale": "output", "gate": gate} if masks else None,
        "sizes": prepared.sizes,
    }
    masters = {name: parameter.detach().clone() for name, parameter in prepared.trained().items()}
    codec = loading.load_codec(str(where), prompt="chat" if chat else None)
    saved.save(folder / "model", prepared, masters, codec, masks, manifest)
    network = prepared.network.eval().requires_grad_(False)
    return Trained(folder / "model", where, network, prepared.router)


def forge(file: Path, metadata: dict[str, str], manifest: object, tensors: dict[str, torch.Tensor]) -> None:
    """Write a delta file with another manifest or other tensors, whose digest is right."""
    changed = metadata | {"manifest": json.dumps(manifest)}
    save_file(tensors, file, changed | {"digest": delta._digest(changed, sorted(tensors.items()))})
