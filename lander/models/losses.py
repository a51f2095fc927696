"""The loss of a batch's tokens, without ever holding the logits of all of them.

The head of a large vocabulary makes more numbers than the rest of the model: 8 x 75 tokens have 157 million logits over
Gemma's 262,144 tokens, and logits, softmax and their gradients are 2.5 GB in float32. A position's loss depends on its
own logits only. So the head runs on a few positions at a time, and their gradients are computed while their logits
exist (as in Liger-Kernel's fused linear cross-entropy, Hsu et al. 2024):

    L = sum over positions of (log sum_v exp z_v) - z_label,   z = head(hidden), capped in Gemma 2
    dL/dz_v = softmax(z)_v - [v is the label]
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lander.models.tokens import IGNORED, Batch

LOGITS_AT_ONCE = 2**27  # bytes; 256 positions of Gemma: with fewer, reading the head takes longer than multiplying
NUMBERS_AT_ONCE = 2**21  # of their softmax on a CPU: what stays in its cache
PAIRS_AT_ONCE = 2**22  # of tokens that look at each other; BLOOM holds a few numbers for each and each head


def summed_loss(network: nn.Module, batch: Batch, **inputs: torch.Tensor) -> torch.Tensor:
    """The sum of the losses of a batch's predicted tokens, in nats: a scalar with gradients.

    Args:
        inputs: input_ids (batch, tokens) or inputs_embeds (batch, tokens, d_model).
    """
    if not torch.is_grad_enabled():
        return token_losses(network, batch, **inputs).sum()
    return _sum(*_predicting(network, batch, inputs))


def _sum(hidden: torch.Tensor, labels: torch.Tensor, head: nn.Module, cap: float | None) -> torch.Tensor:
    trained = [parameter for parameter in head.parameters() if parameter.requires_grad]
    if any(hasattr(parameter, "ds_id") for parameter in trained):  # ZeRO 3 scatters them again before the gradient
        return cross_entropy(_capped(head(hidden), cap), labels, reduction="sum")
    return _SummedLoss.apply(hidden, labels, head, cap, *trained)


def summed_losses(network: nn.Module, batch: Batch, sizes: Sequence[int], **inputs: torch.Tensor) -> torch.Tensor:
    """The same of each part of a batch: (parts). `sizes`: the rows of each, in order."""
    counts = [int(part.sum()) for part in (batch.labels[:, 1:] != IGNORED).split(list(sizes))]
    if not torch.is_grad_enabled():
        return torch.stack([part.sum() for part in token_losses(network, batch, **inputs).split(counts)])
    hidden, labels, head, cap = _predicting(network, batch, inputs)
    parts = zip(hidden.split(counts), labels.split(counts), strict=True)
    return torch.stack([_sum(states, chosen, head, cap) for states, chosen in parts])


def token_losses(network: nn.Module, batch: Batch, **inputs: torch.Tensor) -> torch.Tensor:
    """The loss of each predicted token, in nats: (predicted), row by row, without gradients."""
    with torch.no_grad():
        hidden, labels, head, cap = _predicting(network, batch, inputs)
        parts = zip(*_chunks(hidden, labels, head), strict=True)
        return torch.cat([cross_entropy(_capped(head(h), cap), chosen, reduction="none") for h, chosen in parts])


def piece(rows: int, width: int) -> int | None:
    """How many tokens of a batch (rows, width) are read at a time, by a cache; None: all. Bounds attention's memory."""
    return None if rows * width**2 <= PAIRS_AT_ONCE else max(16, PAIRS_AT_ONCE // (rows * width))


class _SummedLoss(torch.autograd.Function):
    """Gradients of the hidden states and of the head's trained parameters are computed in the forward pass."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, labels: torch.Tensor, head: nn.Module, cap: float | None, *trained):
        total = torch.zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32), device=hidden.device)
        gradient = torch.empty_like(hidden)
        gradients = [torch.zeros_like(parameter) for parameter in trained]
        for states, chosen, out in zip(*_chunks(hidden, labels, head), _chunks(gradient, labels, head)[0], strict=True):
            with torch.enable_grad():
                states = states.detach().requires_grad_(True)
                raw = head(states)
            slope = raw.detach()  # in place: the head's gradient does not read its output
            rows = max(1, NUMBERS_AT_ONCE // slope.shape[1]) if slope.is_cpu else len(slope)
            for part, label in zip(slope.split(rows), chosen[:, None].split(rows), strict=True):
                total += _turn_into_slope(part, label, cap)
            first, *others = torch.autograd.grad(raw, [states, *trained], slope)
            out.copy_(first)
            for held, one in zip(gradients, others, strict=True):
                held += one
            del raw, slope, part, others  # before the next ones are made
        ctx.save_for_backward(gradient, *gradients)
        return total

    @staticmethod
    def backward(ctx: Any, *above: torch.Tensor):
        gradient, *gradients = (one * above[0].to(one.dtype) for one in ctx.saved_tensors)
        return gradient, None, None, None, *gradients


def _turn_into_slope(logits: torch.Tensor, labels: torch.Tensor, cap: float | None) -> torch.Tensor:
    """The summed loss of some positions; their logits (positions, vocabulary) become dL/dz. `labels`: (positions, 1)"""
    z = _capped(logits, cap)
    slope = z.softmax(-1)
    normaliser = z.amax(-1, keepdim=True) - slope.amax(-1, keepdim=True).log()  # log sum_v exp z_v, of the largest
    own = z.gather(-1, labels)
    slope.scatter_add_(-1, labels, torch.full_like(own, -1.0))
    logits.copy_(slope * (1 - (z / cap).square()) if cap else slope)  # of the cap, tanh' = 1 - tanh^2
    return (normaliser - own).sum()


def _predicting(network: nn.Module, batch: Batch, inputs: dict[str, torch.Tensor]) -> tuple[Any, ...]:
    """Hidden states (predicted, d_model) of the positions with a loss, their labels, the head and its cap."""
    network = network.get_base_model() if hasattr(network, "get_base_model") else network  # behind peft's LoRA
    hidden = _hidden(network.base_model, batch.attention_mask, inputs)
    labels = batch.labels[:, 1:]  # the token at t is predicted at t - 1
    predicted = labels != IGNORED
    cap = getattr(network.config, "final_logit_softcapping", None)  # Gemma 2
    return hidden[:, :-1][predicted], labels[predicted], network.get_output_embeddings(), cap


def _hidden(body: nn.Module, mask: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Hidden states (batch, tokens, d_model); without gradients, long sequences are read in pieces."""
    size = None if torch.is_grad_enabled() else piece(*mask.shape)
    if size is None:
        return body(**inputs, attention_mask=mask, use_cache=False)[0]
    parts, cache = [], None
    for start in range(0, mask.shape[1], size):
        here = {name: value[:, start : start + size] for name, value in inputs.items()}
        read = body(**here, attention_mask=mask[:, : start + size], past_key_values=cache, use_cache=True)
        parts, cache = [*parts, read.last_hidden_state], read.past_key_values
    return torch.cat(parts, 1)


def _chunks(hidden: torch.Tensor, labels: torch.Tensor, head: nn.Module) -> tuple[Any, Any]:
    size = len(hidden) * head.weight.shape[0] * head.weight.element_size()
    parts = max(1, -(-size // LOGITS_AT_ONCE))  # of equal size
    return hidden.tensor_split(parts), labels.tensor_split(parts)


def _capped(logits: torch.Tensor, cap: float | None) -> torch.Tensor:
    """Logits in float32 or finer: a new tensor, unless they are so already."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return cap * torch.tanh(logits / cap) if cap else logits
