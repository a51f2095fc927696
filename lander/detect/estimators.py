"""Scores of all FFN neurons of all layers: the Taylor score of the paper (eq. 3-4), its rivals, and exact ablation.

With h_i the activation of neuron i at a token, g_i = dL/dh_i, and L the *summed* token loss (so that the score of a
token does not depend on how many tokens share its batch):

    taylor           mean of |g h|                Phi of eq. 3-4: to first order, what the loss changes if h is zero
    taylor_squared   mean of (g h)^2
    summed           |sum of g h| / tokens        the change of the whole text's loss: tokens may cancel
    activation       mean of |h|                  no loss in it
    probability      share of tokens with h > 0   Tang et al. 2024 (LAPE); gated FFNs: act(gate(x)) > 0, as they do it
    ablation         mean of |change of the loss| the exact value that `taylor` approximates (A.2)
    random           uniform in [0, 1)            the control

Means are over the tokens that predict a token. Gradients also come from other tokens (those of a prompt, where only the
translation has a loss): they add to the sum, not to the count.

`summed` is not the score of Xie et al. 2021. Their code averages |g h| over the tokens of a batch and adds up the
batches, which is `taylor` with every batch weighing the same. What is theirs is the split (`lander.detect.neurons`).
"""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.hooks import RemovableHandle

from lander.models import families, losses
from lander.models.families import FFN
from lander.models.tokens import IGNORED, Batch
from lander.shared.progress import progress

GRADIENT = ("taylor", "taylor_squared", "summed")
READING = ("activation", "probability")
TOKENS_AT_ONCE = 8192  # of ablation: copies of a batch, in tokens
LOGITS_AT_ONCE = 2**27  # and in numbers of their logits


class Sums:
    """Sums over tokens of a number per neuron: `total` float64 (n_layer, p), `by_part` float64 (n_parts, n_layer, p).

    Args:
        parts: part of the text of each row of the batches, in their order; None: sums of parts are not kept.
    """

    def __init__(self, shape: tuple[int, int], device: torch.device, parts: list[int] | None = None) -> None:
        n_parts = max(parts) + 1 if parts else 0
        self.total = torch.zeros(shape, dtype=torch.float64, device=device)
        self.by_part = torch.zeros(n_parts, *shape, dtype=torch.float64, device=device)
        self.tokens = 0
        self.part_tokens = np.zeros(n_parts, dtype=np.int64)
        self.part_rows = np.zeros(n_parts, dtype=np.int64)  # sentences
        self._parts = torch.tensor(parts or [], dtype=torch.int64, device=device)
        self._row, self._rows = 0, self._parts[:0]

    def begin(self, batch: Batch) -> None:
        """Count the batch's tokens and rows. What is added next belongs to them."""
        self.tokens += batch.predicted
        if not len(self._parts):
            return
        self._rows = self._parts[self._row : self._row + len(batch.input_ids)]
        self._row += len(self._rows)
        rows = self._rows.cpu().numpy()
        np.add.at(self.part_tokens, rows, predicting(batch).sum(1).cpu().numpy())
        np.add.at(self.part_rows, rows, 1)

    def add(self, layer: int, values: torch.Tensor) -> None:
        """Add a layer's values (batch, tokens, p): float32 within a batch, float64 over batches."""
        self.total[layer] += values.reshape(-1, values.shape[-1]).sum(0)
        if len(self._rows):
            self.by_part[:, layer].index_add_(0, self._rows, values.sum(1).double())

    def add_rows(self, layer: int, neurons: torch.Tensor, values: torch.Tensor) -> None:
        """Add some neurons' values, already summed over tokens: (batch, neurons)."""
        self.total[layer, neurons] += values.double().sum(0)
        if len(self._rows):
            grown = torch.zeros(len(values), self.total.shape[1], dtype=torch.float64, device=values.device)
            grown[:, neurons] = values.double()
            self.by_part[:, layer].index_add_(0, self._rows, grown)

    def means(self) -> np.ndarray:
        """Means over tokens, float64 (n_layer, p)."""
        return (self.total / max(self.tokens, 1)).cpu().numpy()

    def scores(self) -> np.ndarray:
        """The score of every neuron, float64 (n_layer, p); only means of `summed` may be negative."""
        return np.abs(self.means())


# ------------------------------------------------------------ one pass over the text scores everything


def scores(
    network: nn.Module, batches: Iterator[Batch], estimator: str = "taylor", site: str = "post"
) -> tuple[np.ndarray, int]:
    """The score of every neuron, float64 (n_layer, p), and the number of tokens that the means are over."""
    sums = sum_scores(network, batches, estimator, site)
    return sums.scores(), sums.tokens


def sum_scores(
    network: nn.Module,
    batches: Iterator[Batch],
    estimator: str = "taylor",
    site: str = "post",
    parts: list[int] | None = None,
) -> Sums:
    """Sums over tokens of what the estimator averages, for every neuron of every layer.

    Parameters are frozen, so the backward pass computes gradients of activations only. The numbers are summed as soon
    as g exists; nothing is kept per token. Padding follows the text and the model is causal: its g is zero.

    Args:
        site: what h is, the output of the FFN's nonlinearity (`post`) or its input (`pre`).
        parts: see `Sums`.
    """
    sums = Sums(shape_of(network), network.get_input_embeddings().weight.device, parts)
    act, mask = families.ffn_of(network, 0).act, None

    def by_gradient(layer: int, h: torch.Tensor) -> None:  # h: (batch, tokens, p)
        values = h.detach()  # h itself would hold the hook that holds it, and the batch would outlive its turn

        def add(g: torch.Tensor) -> None:  # g = dL/dh: (batch, tokens, p)
            gh = at_least_float32(g) * values
            if estimator == "taylor":
                gh = gh.abs_()  # |g h|: equation 3
            elif estimator == "taylor_squared":
                gh = gh.square()
            sums.add(layer, gh)  # the sum over tokens: equation 4

        h.register_hook(add)

    def by_reading(layer: int, h: torch.Tensor) -> None:
        read = act(h) > 0 if estimator == "probability" else at_least_float32(h).abs()
        sums.add(layer, (read * mask).to(torch.promote_types(torch.float32, h.dtype)))

    listen = by_gradient if estimator in GRADIENT else by_reading
    place = "pre" if estimator == "probability" else site
    ffns = [families.ffn_of(network, layer) for layer in range(len(sums.total))]
    hooks = [at_site(ffn, place, partial(listen, layer)) for layer, ffn in enumerate(ffns)]
    try:
        for batch in batches:
            batch = batch.to(sums.total.device)
            sums.begin(batch)
            if estimator in GRADIENT:
                summed_loss(network, batch).backward()
                continue
            mask = predicting(batch)[..., None]  # bool (batch, tokens, 1)
            with torch.no_grad():
                network.base_model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return sums


def summed_loss(network: nn.Module, batch: Batch) -> torch.Tensor:
    """L, the sum of the token losses, with a graph from the embeddings on although all parameters are frozen."""
    embedded = network.get_input_embeddings()(batch.input_ids).detach().requires_grad_(True)
    return losses.summed_loss(network, batch, inputs_embeds=embedded)


def at_site(ffn: FFN, site: str, function: Callable[[torch.Tensor], torch.Tensor | None]) -> RemovableHandle:
    """Call `function` with the activations (batch, tokens, p) whenever they are made; what it returns replaces them.

    `post` is h, the input of the output projection. `pre` is the nonlinearity's input: the output of the input
    projection, or of the gate's where there is one.
    """
    if site == "post":
        return ffn.down.register_forward_pre_hook(lambda _module, inputs: function(inputs[0]))
    entry = ffn.up if ffn.gate is None else ffn.gate
    return entry.register_forward_hook(lambda _module, _inputs, output: function(output))


def shape_of(network: nn.Module) -> tuple[int, int]:
    """(n_layer, p)"""
    return len(families.layers_of(network)), families.ffn_of(network, 0).n_neurons


def predicting(batch: Batch) -> torch.Tensor:
    """Which tokens predict a token that has a loss: bool (batch, tokens)."""
    mask = torch.zeros_like(batch.labels, dtype=torch.bool)
    mask[:, :-1] = batch.labels[:, 1:] != IGNORED
    return mask


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """bfloat16 is too coarse for sums."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def random_scores(shape: tuple[int, int], seed: int, language: str) -> np.ndarray:
    """The control: uniform in [0, 1), another draw for every language."""
    return np.random.default_rng([seed, zlib.crc32(language.encode())]).random(shape)


# ------------------------------------------------------------ exact ablation


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
    """The exact change of the token losses when each of the neurons is zeroed at every token.

    Layers below the neuron's are not run again: they return what they returned before, and many copies of the batch,
    each with another neuron zeroed, go through the rest at once. A layer's neurons cost p times the layers from there
    on, so this is for small models, or for a sample of neurons.

    Args:
        neurons: those of each layer; the sums of others stay zero.
        site: what is set to zero, h (`post`) or the nonlinearity's input (`pre`).
        name: of the text, for the progress on stderr.
    Returns:
        absolute: sums over tokens of |change of the token's loss|, nats.
        signed: sums over tokens of the change, so that their absolute value is the change of the summed loss.
    """
    device = network.get_input_embeddings().weight.device
    absolute, signed = (Sums(shape_of(network), device, parts) for _ in range(2))
    held = list(batches)
    layered = sum(len(chosen) * (len(neurons) - layer) for layer, chosen in enumerate(neurons))
    work = layered * sum(batch.input_ids.numel() for batch in held)  # neurons x layers x tokens
    most = min(TOKENS_AT_ONCE, LOGITS_AT_ONCE // network.config.vocab_size)
    with torch.inference_mode(), progress(f"lander awareness: {name}", work) as bar:
        for batch in held:
            batch = batch.to(device)
            absolute.begin(batch)
            signed.begin(batch)
            copies = max(1, most // batch.input_ids.numel())
            for layer, chosen in enumerate(neurons):
                with _from_layer(network, layer, batch, site) as losses:
                    untouched = losses([])
                    for some in np.array_split(chosen, -(-len(chosen) // copies) or 1):
                        if not len(some):
                            continue
                        change = losses(some.tolist()) - untouched  # (neurons, batch, tokens - 1)
                        index = torch.as_tensor(some, device=device)
                        absolute.add_rows(layer, index, change.abs().sum(-1).T)
                        signed.add_rows(layer, index, change.sum(-1).T)
                        bar.update(len(some) * (len(neurons) - layer) * batch.input_ids.numel())
    return absolute, signed


@contextmanager
def _from_layer(network: nn.Module, layer: int, batch: Batch, site: str) -> Iterator[Any]:
    """Yield a function: neurons -> token losses (neurons, batch, tokens - 1), the n-th with the n-th neuron zeroed.

    No neurons: the losses of the untouched model, (1, batch, tokens - 1). While the context lasts the layers below
    `layer` return what they returned for the batch.
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
