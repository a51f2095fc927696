"""The exact change of the loss when a neuron is zeroed at every token: what the Taylor score approximates (A.2).

Layers below the neuron's are not run again: they give back what they gave before, and many copies of the batch, each
with another neuron zeroed, go through the rest at once. The cost of a layer's neurons is p times the layers from
there on, so it is for small models, or for a sample of neurons.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lander.detect.awareness.estimators import at_least_float32, at_site, shape_of
from lander.detect.awareness.sums import Sums
from lander.models import families
from lander.models.tokens import IGNORED, Batch
from lander.shared.progress import progress

TOKENS_AT_ONCE = 8192
LOGITS_AT_ONCE = 2**27


def choose(shape: tuple[int, int], sample: int | None, seed: int) -> list[np.ndarray]:
    """The neurons to zero, of each layer: all, or a seeded sample of `sample` of them, sorted."""
    n_layer, p = shape
    if sample is None or sample >= p:
        return [np.arange(p)] * n_layer
    return [np.sort(np.random.default_rng([seed, layer]).choice(p, sample, replace=False)) for layer in range(n_layer)]


def ablate(
    network: nn.Module,
    batches: Iterator[Batch],
    neurons: list[np.ndarray],
    site: str = "post",
    parts: list[int] | None = None,
    name: str = "ablation",
) -> tuple[Sums, Sums]:
    """Change of the token losses when each of the neurons is zeroed. Says on stderr now and then how far it is.

    Args:
        neurons: those of each layer; the sums of others stay zero.
        site: what is set to zero, h (`post`) or the nonlinearity's input (`pre`).
        name: what the lines on stderr are about.
    Returns:
        absolute: sums over tokens of |change of the token's loss|, nats.
        signed: sums over tokens of the change, so that their absolute value is the change of the summed loss.
    """
    device = network.get_input_embeddings().weight.device
    absolute, signed = (Sums(shape_of(network), device, parts) for _ in range(2))
    held = list(batches)
    layered = sum(len(chosen) * (len(neurons) - layer) for layer, chosen in enumerate(neurons))
    work = layered * sum(batch.input_ids.numel() for batch in held)  # neurons x layers from theirs on x tokens
    with torch.inference_mode(), progress(f"lander awareness: {name}", work) as bar:
        for batch in held:
            batch = batch.to(device)
            absolute.begin(batch)
            signed.begin(batch)
            for layer, chosen in enumerate(neurons):
                with _from_layer(network, layer, batch, site) as losses:
                    untouched = losses([])
                    for some in np.array_split(chosen, _calls(network, batch, len(chosen))):
                        if not len(some):
                            continue
                        change = losses(some.tolist()) - untouched  # (neurons, batch, tokens - 1)
                        index = torch.as_tensor(some, device=device)
                        absolute.add_rows(layer, index, change.abs().sum(-1).T)
                        signed.add_rows(layer, index, change.sum(-1).T)
                        bar.update(len(some) * (len(neurons) - layer) * batch.input_ids.numel())
    return absolute, signed


def _calls(network: nn.Module, batch: Batch, neurons: int) -> int:
    """How many times to go through the layers for so many neurons."""
    most = min(TOKENS_AT_ONCE, LOGITS_AT_ONCE // network.config.vocab_size)
    at_once = max(1, most // batch.input_ids.numel())
    return max(1, -(-neurons // at_once))


@contextmanager
def _from_layer(network: nn.Module, layer: int, batch: Batch, site: str) -> Iterator[Any]:
    """Yield a function: neurons -> token losses (neurons, batch, tokens - 1), the n-th with the n-th neuron zeroed.

    No neurons: the losses of the untouched model, (1, batch, tokens - 1). While the context lasts the layers below
    `layer` give back what they gave for the batch.
    """
    layers = families.layers_of(network)
    kept: list[Any] = []
    if layer:
        hook = layers[layer - 1].register_forward_hook(lambda _module, _inputs, output: kept.append(output))
        network.base_model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
        hook.remove()
    copies = 1
    zeroed: list[int] = []

    def zero(h: torch.Tensor) -> torch.Tensor | None:
        if not zeroed:
            return None
        h = h.clone().unflatten(0, (copies, -1))  # (neurons, batch, tokens, p)
        h[torch.arange(copies), :, :, torch.tensor(zeroed)] = 0
        return h.flatten(0, 1)

    def losses(neurons: list[int]) -> torch.Tensor:
        nonlocal copies
        zeroed[:] = neurons
        copies = max(1, len(neurons))
        ids, mask = batch.input_ids.repeat(copies, 1), batch.attention_mask.repeat(copies, 1)
        logits = network(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        labels = batch.labels[:, 1:].repeat(copies, 1)
        losses = cross_entropy(
            at_least_float32(logits).flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
        )
        return losses.view(copies, *batch.labels[:, 1:].shape)

    for skipped in layers[:layer]:
        skipped.forward = lambda *_args, **_kwargs: _tile(kept[0], copies)
    hook = at_site(families.ffn_of(network, layer), site, zero)
    try:
        yield losses
    finally:
        hook.remove()
        for skipped in layers[:layer]:
            del skipped.forward


def _tile(output: Any, copies: int) -> Any:
    """A layer's output for `copies` copies of the batch, one after the other."""
    if isinstance(output, torch.Tensor):
        return output.repeat(copies, *[1] * (output.dim() - 1))
    if isinstance(output, tuple):
        return tuple(_tile(part, copies) for part in output)
    return output
