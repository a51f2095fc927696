"""What each method trains, and its arithmetic, by the code that trains: the base on the meta device, made ready.

The masks are not known before the run: they are made here, with as many general and specific neurons as the config
says. Which layers will be chosen is not known either: the first and the last ones are taken, so the gradient goes all
the way down and the estimate is on the safe side.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from lander.config import config, variants
from lander.config.methods import METHODS
from lander.detect.masks import Rules, direction_mask
from lander.finetune import saved
from lander.finetune.adapters import base_of
from lander.finetune.blocks import Routing
from lander.finetune.cost import weights
from lander.finetune.methods import Lora, Prepared, count, prepare
from lander.models import families
from lander.workflow.planning.base import Shape
from lander.workflow.planning.corpus import Text


@dataclass(frozen=True)
class Training:
    """One method. `depth`: layers that the gradient passes, of which in `frozen` no linear map of the base is trained
    or has an update; `flops`: None where the length is not known."""

    method: str
    trained: int
    parameters: int  # of the network, what was added included
    depth: float
    frozen: float
    updates: int | None
    flops: float | None
    sizes: dict[str, int]

    @property
    def parts(self) -> tuple[str, ...]:
        return METHODS[self.method].parts


def training(
    settings: config.Config, method: str, make: Callable[[], nn.Module], shape: Shape, texts: dict[str, Text]
) -> Training:
    """What a method trains and how long.

    Raises:
        UserError: sizes that make no sense, masks that are damaged.
    """
    own = variants.configure(settings, variants.MAIN, method)
    prepared = made_ready(own, method, make, shape)
    trained = count(prepared.groups)
    steps = updates(settings, texts)
    if not prepared.groups:
        return Training(method, 0, shape.parameters, 0.0, 0.0, 0, 0.0, {})
    network = base_of(prepared.network)
    head = network.get_output_embeddings().weight
    depth, flops = 0.0, 0.0
    for direction, text in texts.items():
        run, above, moved = weights(prepared, direction)
        depth = max(depth, shape.n_layer * above / max(run, 1))
        batches = (steps or 0) * settings.finetune.accumulate / len(texts)
        share = batches * batch(text.pairs, settings.finetune.batch_size)  # pairs of the direction
        flops += 2 * share * text.length * (run + above + moved)
        flops += 2 * share * text.target * head.numel() * (3 if head.requires_grad else 2)
    total = sum(parameter.numel() for parameter in prepared.network.parameters())
    layers = families.layers_of(network)
    moving = sum(any(p.requires_grad for p in layer.parameters()) for layer in layers)
    frozen = depth if METHODS[method].parts == ("bottlenecks",) else max(0.0, depth - moving)
    return Training(method, trained, total, depth, frozen, steps, flops if steps is not None else None, prepared.sizes)


def batch(pairs: int | None, size: int) -> float:
    """Pairs of a micro-batch, in the mean over an epoch: the last one has what is left."""
    return pairs / math.ceil(pairs / size) if pairs else size


def updates(settings: config.Config, texts: dict[str, Text]) -> int | None:
    """Optimizer updates of a training; None where the texts' sizes are not known (`Schedule.updates`)."""
    finetune = settings.finetune
    if finetune.steps is not None:
        return finetune.steps
    if any(text.pairs is None for text in texts.values()):
        return None
    turns = max(math.ceil((text.pairs or 0) / finetune.batch_size) for text in texts.values()) * finetune.epochs
    return max(1, round(turns * len(texts) / finetune.accumulate))


def made_ready(own: config.Config, method: str, make: Callable[[], nn.Module], shape: Shape) -> Prepared:
    """The base of a method's config, made ready for it, without weights."""
    entry = METHODS[method]
    flags = {} if entry.masked else entry.flags(own.finetune.method(method), own)
    with torch.device("meta"):
        return prepare(
            method,
            make(),
            masks=masks_of(own, method, shape) if entry.masked else {},
            trained_in=frozenset(map(str, own.directions)),
            routing=Routing(own.routing.scale, own.routing.gate == "learned"),
            scope=own.finetune.scope,
            lora=Lora(flags.get("lora-rank", 16), flags.get("lora-alpha", 32), tuple(flags.get("lora-targets", ()))),
            bottleneck=flags.get("bottleneck"),
            budget_layers=flags.get("budget-layers"),
        )


def masks_of(own: config.Config, method: str, shape: Shape) -> dict[str, pd.DataFrame]:
    """Masks of the sizes that a run will make; the user's own where the config names them."""
    names = [str(direction) for direction in own.directions]
    if own.neurons.masks and method == "landermt":
        from pathlib import Path

        return saved.read_masks(Path(own.neurons.masks), names)
    k = min(own.layers.k, shape.n_layer)
    layers = sorted({0, *range(shape.n_layer - k + 1, shape.n_layer)}) if k else []
    share = own.neurons.general_share
    general = round(shape.n_neurons * (share if own.neurons.threshold == "general_share" else 1 - share))
    place = np.arange(shape.n_neurons)
    owners = np.array(own.awareness.languages, dtype=object)[place % len(own.awareness.languages)]
    rows = {
        "neuron": place,
        "kind": np.where(place < general, "general", "specific").astype(object),
        "language": np.where(place < general, None, owners),
    }
    neurons = pd.concat([pd.DataFrame({"layer": layer, **rows}) for layer in layers]) if layers else pd.DataFrame()
    recipe = METHODS[method].recipe
    assert recipe is not None
    rules = Rules(train=recipe.train, untrained=own.ablation.untrained, scaled=own.routing.gate != "off")
    phi = np.ones((shape.n_layer, shape.n_neurons))
    if not layers:
        return {}
    return {str(d): direction_mask(neurons, phi, layers, d, rules) for d in own.directions}
