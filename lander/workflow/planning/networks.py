"""The base as a network without weights, from its config.json alone, made ready for each method by the training's code.

Masks are not known before the run. They are made here, with as many general and specific neurons as the config says,
in the first layer and the last ones: the gradient then goes through all layers, so the estimate is on the safe side.
"""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from lander.config import config, variants
from lander.config.methods import MASKED, METHODS, Lora
from lander.detect.masks import Rules, direction_mask
from lander.finetune import saved
from lander.finetune.cost import flops
from lander.finetune.methods import Prepared, prepare
from lander.models import families, loading
from lander.shared.errors import UserError, brief
from lander.shared.tables import UNTRAINED
from lander.workflow.planning.texts import Text

TOKENIZER = 16  # bytes in memory for each byte of tokenizer.json (measured: Gemma 3's, of 33 MB)


@dataclass(frozen=True)
class Base:
    """A base: its config of transformers and its sizes."""

    read: Any
    parameters: int
    n_layer: int
    n_neurons: int
    head: int  # parameters of the output head
    inside: int  # parameters of the layers
    saved: torch.dtype  # type of the weights in the file
    tokenizer: float  # bytes that it takes in main memory, with its check

    def file_bytes(self, dtype: str) -> int:
        """Bytes of the file that are in memory beside weights of a type while they are read.

        None if the file has this type: then it is mapped, and the weights are the file.
        """
        return 0 if self.saved == getattr(torch, dtype) else self.parameters * self.saved.itemsize


def base_of_run(settings: config.Config) -> Base:
    """The base of a config. UserError if its config.json is not on this machine or no model can be made of it."""
    if settings.base.folder:
        loading.check(str(settings.base.folder), prompt=settings.model.prompt)
    tokenizer = Path(settings.base.folder or "", "tokenizer.json")
    read = read_config(settings)
    saved = read.dtype or torch.float32  # a network made of the config changes this
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # of libraries, about each other
    try:
        network = make_network(read)
    except Exception as error:  # what a config can say wrong has no end
        reason = brief(error, 200)
        raise UserError(f"model.path: {settings.model.path}: its config.json makes no model ({reason})") from None
    layers, (n_layer, n_neurons) = families.layers_of(network), families.shape_of(network)
    return Base(
        read=read,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        n_layer=n_layer,
        n_neurons=n_neurons,
        head=network.get_output_embeddings().weight.numel(),
        inside=sum(parameter.numel() for parameter in layers.parameters()),
        saved=saved,
        tokenizer=TOKENIZER * tokenizer.stat().st_size if tokenizer.is_file() else 0.0,
    )


def read_config(settings: config.Config) -> Any:
    """The base's config of transformers; nothing is downloaded."""
    from transformers import AutoConfig, BloomConfig

    base, revision = settings.base, settings.model.revision
    if base.kind == "pretrain":
        made = settings.pretrain
        sizes = {"hidden_size": made.d_model, "n_layer": made.n_layer, "n_head": made.n_head}
        return BloomConfig(vocab_size=made.vocabulary, **sizes)
    where, options = str(base.folder or settings.model.path), {"local_files_only": True, "trust_remote_code": False}
    try:
        return AutoConfig.from_pretrained(where, revision=None if base.folder else revision, **options)
    except Exception as error:
        if base.folder:
            reason = brief(error, 200)
            raise UserError(f"model.path: {where}: its config.json is not that of a model ({reason})") from None
        at = f" --revision {revision}" if revision else ""
        raise UserError(
            f"model.path: {where}: its config.json is not in this machine's cache of the hub, and a plan downloads "
            f"nothing; fetch these few kB first: hf download {where} config.json{at}"
        ) from None


def make_network(read: Any, dtype: str = "float32", device: str = "meta") -> nn.Module:
    """A network of a config, frozen; by default without memory for its weights (PyTorch's meta device)."""
    from transformers import AutoModelForCausalLM

    with torch.device(device):
        network = AutoModelForCausalLM.from_config(read, dtype=getattr(torch, dtype))
    families.fuse_activations(network)
    return network.eval().requires_grad_(False)


def weight_bytes(network: nn.Module, *types: torch.dtype) -> int:
    """Bytes of a network's parameters, or of those of some types; what several share counts once."""
    chosen = [one for one in network.parameters() if one.dtype in types or not types]
    return sum({one.untyped_storage()._cdata: one.nbytes for one in chosen}.values())


def made_ready(settings: config.Config, method: str, network: nn.Module) -> Prepared:
    """A network made ready for a method of a config."""
    own = variants.configure(settings, variants.MAIN, method)
    flags = METHODS[method].flags(own.finetune.method(method), own)
    lora = {name.removeprefix("lora-"): value for name, value in flags.items() if name.startswith("lora-")}
    with torch.device(next(network.parameters()).device):
        return prepare(
            method,
            network,
            masks=masks_of(own, method, network) if method in MASKED else {},
            trained_in=frozenset(map(str, own.directions)),
            routing=own.routing,
            scope=own.finetune.scope,
            lora=Lora(**lora),
            bottleneck=flags.get("bottleneck"),
            budget_layers=flags.get("budget-layers"),
            budget_share=flags.get("budget-share", 1.0),
        )


def masks_of(own: config.Config, method: str, network: nn.Module) -> dict[str, pd.DataFrame]:
    """Masks of the sizes that a run will make; the user's own if the config names them."""
    n_layer, n_neurons = families.shape_of(network)
    if own.neurons.masks and method == "landermt":
        return saved.read_masks(Path(own.neurons.masks), [str(direction) for direction in own.directions])
    k = min(own.layers.k, n_layer)
    if not k:
        return {}
    layers = sorted({0, *range(n_layer - k + 1, n_layer)})
    share = own.neurons.general_share
    general = round(n_neurons * (share if own.neurons.threshold == "general_share" else 1 - share))
    place = np.arange(n_neurons)
    owners = np.array(own.awareness.languages, dtype=object)[place % len(own.awareness.languages)]
    rows = {
        "neuron": place,
        "kind": np.where(place < general, "general", "specific").astype(object),
        "language": np.where(place < general, None, owners),
    }
    neurons = pd.concat([pd.DataFrame({"layer": layer, **rows}) for layer in layers])
    group = neurons.groupby(["layer", "kind", "language"], dropna=False)["neuron"]
    left = group.cumcount() >= own.neurons.trained_share * group.transform("size")
    neurons.loc[left, ["kind", "language"]] = UNTRAINED, None
    rules = Rules(train=MASKED[method].train, untrained=own.ablation.untrained, **own.routing.model_dump())
    phi = np.ones((n_layer, n_neurons))
    return {str(d): direction_mask(neurons, phi, layers, d, rules) for d in own.directions}


def training_flops(
    settings: config.Config, prepared: Prepared, texts: dict[str, Text], steps: int | None
) -> float | None:
    """Floating point operations of a training of so many updates; None if their number is unknown."""
    if steps is None or not prepared.groups:
        return None if prepared.groups else 0.0
    total, size = 0.0, settings.finetune.batch_size
    batches = steps * settings.finetune.accumulate * settings.finetune.together(len(texts)) / len(texts)
    for direction, text in texts.items():
        rows = text.pairs / math.ceil(text.pairs / size) if text.pairs else size  # an epoch's last batch is smaller
        total += flops(prepared, direction, batches * rows * text.length, batches * rows * text.target)
    return total


def updates(settings: config.Config, texts: dict[str, Text]) -> int | None:
    """Optimizer updates of a training; None if the texts' sizes are not known (`Schedule.updates`)."""
    finetune, pairs = settings.finetune, [text.pairs for text in texts.values()]
    if finetune.steps is not None or None in pairs:
        return finetune.steps
    turns = max(math.ceil(number / finetune.batch_size) for number in pairs) * finetune.epochs
    return max(1, round(turns * len(texts) / (finetune.accumulate * finetune.together(len(texts)))))
