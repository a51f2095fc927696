"""Frozen weights in bfloat16, where training multiplies in bfloat16 (`finetune.precision`).

Autocast rounds every matrix to bfloat16 at each step. Of a frozen matrix that is the same numbers each time, so they
are rounded once: equal products to the bit, no cast in a step, and half the memory. Norms and biases stay as they are.
An embedding is kept in float32, since what it gives is added to the residual stream unrounded, unless rounding changes
none of its numbers; then its rows are made float32 when they are read.

Attention changes its kernel where sequences are short (`plain_attention`).
"""

import torch
from torch import nn

SHORT = 256  # tokens


def halve(network: nn.Module, lossless: bool | None = None) -> None:
    """Round the frozen matrices of a network to bfloat16, in place; a frozen head that is tied gets its own copy.

    `lossless`: whether rounding changes no number of the embedding, if that is known (a plan has no numbers).
    """
    embedding, head = network.get_input_embeddings(), network.get_output_embeddings()
    head = getattr(head, "base_layer", head)  # behind a LoRA
    weight = embedding.weight
    if not weight.requires_grad and weight.dtype == torch.float32:
        half = weight.detach().to(torch.bfloat16)
        if lossless is None:
            lossless = all(torch.equal(a.float(), b) for a, b in zip(half.split(8192), weight.split(8192), strict=True))
        if lossless:
            embedding.weight = _frozen(half)
            embedding.register_forward_hook(lambda _module, _inputs, rows: rows.float())
        if head.weight is weight:
            head.weight = _frozen(half)
    for module in network.modules():
        if isinstance(module, nn.Linear) and not module.weight.requires_grad and module.weight.dtype == torch.float32:
            module.weight = _frozen(module.weight.detach().to(torch.bfloat16))


def plain_attention(network: nn.Module, longest: int) -> None:
    """Attention as plain products, for sequences of at most `SHORT` tokens, on a CPU.

    Forward and backward, torch's fused kernel takes four times as long there. Its memory does not grow with the square
    of the tokens, so longer sequences keep it.
    """
    if longest <= SHORT and network.device.type == "cpu" and network.config._attn_implementation == "sdpa":
        network.set_attn_implementation("eager")


def _frozen(weight: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(weight, requires_grad=False)
