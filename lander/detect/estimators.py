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
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lander.models import families, losses
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

    def add_rows(self, layer: int, values: torch.Tensor) -> None:
        """Add a layer's values that are summed over tokens already: float64 (batch, p)."""
        self.total[layer] += values.sum(0)
        if len(self._rows):
            self.by_part[:, layer].index_add_(0, self._rows, values)

    def scores(self) -> np.ndarray:
        """The score of every neuron, the size of its mean over tokens: float64 (n_layer, p)."""
        return (self.total.abs() / max(self.tokens, 1)).cpu().numpy()


# ------------------------------------------------------------ one pass over the text scores everything


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
    sums = Sums(families.shape_of(network), network.get_input_embeddings().weight.device, parts)
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
        sums.add(layer, at_least_float32(read * mask))

    site = "pre" if estimator == "probability" else site
    with families.watched(network, site, by_gradient if estimator in GRADIENT else by_reading):
        for batch in batches:
            batch = batch.to(sums.total.device)
            sums.begin(batch)
            if estimator in GRADIENT:
                summed_loss(network, batch).backward()
                continue
            mask = predicting(batch)[..., None]  # bool (batch, tokens, 1)
            with torch.no_grad():
                network.base_model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    return sums


def summed_loss(network: nn.Module, batch: Batch) -> torch.Tensor:
    """L, the sum of the token losses, with a graph from the embeddings on although all parameters are frozen."""
    embedded = network.get_input_embeddings()(batch.input_ids).detach().requires_grad_(True)
    return losses.summed_loss(network, batch, inputs_embeds=embedded)


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
    name: str = "lander awareness",
) -> tuple[Sums, Sums]:
    """The exact change of the token losses when each of the neurons is zeroed at every token.

    Layers below the neuron's are not run again: they return what they returned before, and many copies of the batch,
    each with another neuron zeroed, go through the rest at once. A layer's neurons cost p times the layers from there
    on, so this is for small models, or for a sample of neurons.

    Args:
        neurons: those of each layer; the sums of others stay zero.
        site: what is set to zero, h (`post`) or the nonlinearity's input (`pre`).
        name: of the work, for the progress on stderr.
    Returns:
        absolute: sums over tokens of |change of the token's loss|, nats.
        signed: sums over tokens of the change, so that their absolute value is the change of the summed loss.
    """
    device, (n_layer, p) = network.get_input_embeddings().weight.device, families.shape_of(network)
    absolute, signed = (Sums((n_layer, p), device, parts) for _ in range(2))
    held = list(batches)
    layered = sum(len(chosen) * (n_layer - layer) for layer, chosen in enumerate(neurons))
    work = layered * sum(batch.input_ids.numel() for batch in held)  # neurons x layers x tokens
    most = min(TOKENS_AT_ONCE, LOGITS_AT_ONCE // network.config.vocab_size)
    with torch.inference_mode(), progress(name, work) as bar:
        for batch in held:
            batch = batch.to(device)
            absolute.begin(batch)
            signed.begin(batch)
            copies = max(1, most // batch.input_ids.numel())
            for layer, chosen in enumerate(neurons):
                sizes, changes = torch.zeros(2, len(batch.input_ids), p, dtype=torch.float64, device=device)
                with _from_layer(network, layer, batch, site) as losses:
                    untouched = losses([])
                    for some in np.array_split(chosen, max(1, -(-len(chosen) // copies))):
                        change = losses(some.tolist()) - untouched  # (neurons, batch, tokens - 1)
                        sizes[:, some] = change.abs().sum(-1).T.double()
                        changes[:, some] = change.sum(-1).T.double()
                        bar.update(len(some) * (n_layer - layer) * batch.input_ids.numel())
                absolute.add_rows(layer, sizes)
                signed.add_rows(layer, changes)
    return absolute, signed


@contextmanager
def _from_layer(network: nn.Module, layer: int, batch: Batch, site: str) -> Iterator[Callable[..., torch.Tensor]]:
    """Yield a function: neurons -> token losses (neurons, batch, tokens - 1), the n-th with the n-th neuron zeroed.

    No neurons: the losses of the untouched model, (1, batch, tokens - 1). While the context lasts the layers below
    `layer` return what they returned for the batch.
    """
    layers = families.layers_of(network)
    kept: list[Any] = []
    zeroed: list[int] = []
    if layer:
        hook = layers[layer - 1].register_forward_hook(lambda _module, _inputs, output: kept.append(output))
        network.base_model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
        hook.remove()

    def zero(h: torch.Tensor) -> torch.Tensor | None:
        if not zeroed:
            return None
        h = h.clone().unflatten(0, (len(zeroed), -1))  # (neurons, batch, tokens, p)
        h[torch.arange(len(zeroed)), :, :, torch.tensor(zeroed)] = 0
        return h.flatten(0, 1)

    def repeated(value: Any) -> Any:
        """A tensor of the batch, or a layer's output, for as many copies of the batch as neurons are zeroed."""
        if isinstance(value, tuple):
            return tuple(map(repeated, value))
        return value.repeat(len(zeroed) or 1, *[1] * (value.dim() - 1)) if isinstance(value, torch.Tensor) else value

    def losses(neurons: list[int]) -> torch.Tensor:
        zeroed[:] = neurons
        ids, mask, labels = map(repeated, (batch.input_ids, batch.attention_mask, batch.labels))
        logits = network(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        logits, labels = at_least_float32(logits).flatten(0, 1), labels[:, 1:].flatten()
        found = cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
        return found.view(len(zeroed) or 1, len(batch.input_ids), -1)

    for skipped in layers[:layer]:
        skipped.forward = lambda *_args, **_kwargs: repeated(kept[0])
    hook = families.ffn_of(network, layer).at_site(site, zero)
    try:
        yield losses
    finally:
        hook.remove()
        for skipped in layers[:layer]:
            del skipped.forward
