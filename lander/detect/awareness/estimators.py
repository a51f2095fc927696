"""Scores of all FFN neurons of all layers from one pass over the text.

With h_i the activation of neuron i at a token, g_i = dL/dh_i, and L the *summed* token loss (so that the score of a
token does not depend on how many tokens share its batch):

    taylor           mean of |g h|                Phi of eq. 3-4: the change of the loss when h is set to zero
    taylor_squared   mean of (g h)^2
    summed           |sum of g h| / tokens        the change of the whole text's loss: tokens may cancel
    activation       mean of |h|                  no loss in it
    probability      share of tokens with h > 0   Tang et al. 2024 (LAPE); gated FFNs: act(gate(x)) > 0, as they do it

Means are over the tokens that predict a token. Gradients also come from other tokens (a prompt's, where the loss is on
the translation only): they add to the sum, not to the count.

`summed` is not the score of Xie et al. 2021: their code averages |g h| over the tokens of a batch and adds up the
batches, which is `taylor` with every batch weighing the same. What is theirs is the split (`lander.detect.neurons`).

One forward and one backward pass score everything: parameters are frozen, so the backward pass computes gradients of
activations only, and the numbers are summed the moment that g exists; nothing is kept per token.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.hooks import RemovableHandle

from lander.detect.awareness.sums import Sums, predicting
from lander.models import families
from lander.models.families import FFN
from lander.models.loading import predictions
from lander.models.tokens import Batch

GRADIENT: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "taylor": torch.abs_,  # the product is ours to overwrite
    "taylor_squared": torch.square,
    "summed": lambda product: product,  # its absolute value is taken at the end
}
READING = ("activation", "probability")


def scores(
    network: nn.Module, batches: Iterator[Batch], estimator: str = "taylor", site: str = "post"
) -> tuple[np.ndarray, int]:
    """The score of every neuron, float64 (n_layer, p), and the number of tokens that the means are over."""
    sums = sum_scores(network, batches, estimator, site)
    return finish(sums.means(), estimator), sums.tokens


def finish(means: np.ndarray, estimator: str) -> np.ndarray:
    """Scores from means over tokens."""
    return np.abs(means) if estimator == "summed" else means


def sum_scores(
    network: nn.Module,
    batches: Iterator[Batch],
    estimator: str = "taylor",
    site: str = "post",
    parts: list[int] | None = None,
) -> Sums:
    """Sums over tokens of what the estimator averages, for every neuron of every layer.

    Args:
        site: what stands for h, the FFN's activation after its nonlinearity (`post`), or its input (`pre`).
        parts: see `Sums`.
    """
    sums = Sums(shape_of(network), network.get_input_embeddings().weight.device, parts)
    if estimator in GRADIENT:
        _sum_gradients(network, batches, GRADIENT[estimator], site, sums)
    else:
        _sum_readings(network, batches, estimator, site, sums)
    return sums


def shape_of(network: nn.Module) -> tuple[int, int]:
    """(n_layer, p)"""
    return len(families.layers_of(network)), families.ffn_of(network, 0).n_neurons


def at_site(ffn: FFN, site: str, function: Callable[[torch.Tensor], torch.Tensor | None]) -> RemovableHandle:
    """Call `function` with the activations (batch, tokens, p) whenever they are made; what it returns replaces them.

    `post` is h, the input of the output projection. `pre` is the nonlinearity's input: the output of the input
    projection, or of the gate's where there is one.
    """
    if site == "post":
        return ffn.down.register_forward_pre_hook(lambda _module, inputs: function(inputs[0]))
    entry = ffn.up if ffn.gate is None else ffn.gate
    return entry.register_forward_hook(lambda _module, _inputs, output: function(output))


def _sum_gradients(
    network: nn.Module,
    batches: Iterator[Batch],
    statistic: Callable[[torch.Tensor], torch.Tensor],
    site: str,
    sums: Sums,
) -> None:
    """Add the statistic of g * h. Padding stands behind the text and the model is causal: its gradient is zero."""

    def listen(layer: int, h: torch.Tensor) -> None:
        values = h.detach()  # h itself would hold the hook that holds it, and the batch would outlive its turn

        def add(gradient: torch.Tensor) -> None:
            sums.add(layer, statistic(at_least_float32(gradient) * values))

        h.register_hook(add)

    hooks = _listen(network, site, listen)
    try:
        for batch in batches:
            batch = batch.to(sums.total.device)
            sums.begin(batch)
            summed_loss(network, batch).backward()
    finally:
        for hook in hooks:
            hook.remove()


def _sum_readings(network: nn.Module, batches: Iterator[Batch], estimator: str, site: str, sums: Sums) -> None:
    """Add |h|, or whether act(.) > 0, at the tokens that predict one."""
    mask: torch.Tensor | None = None  # bool (batch, tokens, 1)
    act = families.ffn_of(network, 0).act

    def add(layer: int, values: torch.Tensor) -> None:
        read = act(values) > 0 if estimator == "probability" else at_least_float32(values).abs()
        sums.add(layer, (read * mask).to(torch.promote_types(torch.float32, values.dtype)))

    hooks = _listen(network, "pre" if estimator == "probability" else site, add)
    try:
        with torch.no_grad():
            for batch in batches:
                batch = batch.to(sums.total.device)
                sums.begin(batch)
                mask = predicting(batch)[..., None]
                network.base_model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()


def _listen(network: nn.Module, site: str, function: Callable[[int, torch.Tensor], None]) -> list[RemovableHandle]:
    """Call `function(layer, activations)` at every layer."""
    return [
        at_site(families.ffn_of(network, layer), site, lambda h, layer=layer: function(layer, h))
        for layer in range(len(families.layers_of(network)))
    ]


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """bfloat16 is too coarse for sums."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def summed_loss(network: nn.Module, batch: Batch) -> torch.Tensor:
    """L, the sum of the token losses, with a graph from the embeddings on although all parameters are frozen."""
    embedded = network.get_input_embeddings()(batch.input_ids).detach().requires_grad_(True)
    logits, tokens = predictions(network, batch, inputs_embeds=embedded)
    return cross_entropy(logits, tokens, reduction="sum")
