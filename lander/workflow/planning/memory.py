"""Bytes that a stage takes beside its imports.

A training's peak is the larger of two moments, with W bytes of weights, T trained parameters and A bytes of what the
backward pass keeps:

    backward   W + T (gradients, masters, moments) + A
    the end    W + T (the same, buffers, and the float32 masters gathered for writing) [+ the base again: `full`]

The bytes for each trained parameter are DeepSpeed's: those on a CPU were measured on one process (a BLOOM of 50M
parameters, all ZeRO stages, float32 and bfloat16); those on a GPU follow from what its optimizers keep.
"""

from dataclasses import dataclass

from lander.workflow.planning.base import Shape

STAGES = (0, 1, 2, 3)
SIZE = {"float32": 4, "bfloat16": 2}
BUCKET = 5e8  # numbers that DeepSpeed reduces at a time
PROGRAMS = 32e6  # bytes of oneDNN's, where a CPU multiplies in bfloat16 (`lander.models.loading` bounds them; measured)


@dataclass(frozen=True)
class Bytes:
    """For each trained parameter: what every rank holds, what the ranks share, and how much of the first is there at
    the end only."""

    whole: float
    shared: float
    end: float


CPU = {
    ("float32", 0): Bytes(20, 0, 8),  # gradients 4, moments 8; at the end a buffer 4 and masters 4
    ("float32", 1): Bytes(20, 21, 12),
    ("float32", 2): Bytes(16, 17, 12),
    ("float32", 3): Bytes(16, 24, 12),
    ("bfloat16", 1): Bytes(14, 21, 12),
    ("bfloat16", 2): Bytes(12, 33, 12),
    ("bfloat16", 3): Bytes(12, 35, 12),
}
GPU = {
    ("float32", 0): Bytes(12, 0, 0),  # gradients 4, moments 8
    ("float32", 1): Bytes(4, 16, 0),  # gradients 4; masters 4, moments 8, their gradients 4
    ("float32", 2): Bytes(0, 20, 0),
    ("float32", 3): Bytes(0, 20, 0),
    ("bfloat16", 1): Bytes(6, 12, 0),  # gradients 2 and their sums 4; masters 4, moments 8
    ("bfloat16", 2): Bytes(0, 18, 0),
    ("bfloat16", 3): Bytes(0, 18, 0),
}


def effective_stage(dtype: str, stage: int) -> int:
    """bfloat16 weights use stage 1 at least (`lander.finetune.engine.Engine`)."""
    return max(stage, 1) if dtype == "bfloat16" else stage


def finetune(
    *,
    gpu: bool,
    dtype: str,
    stage: int,
    ranks: int,
    parameters: int,
    trained: int,
    activations: float,
    copy: int = 0,
) -> float:
    """Peak of one rank.

    Args:
        parameters: of the network; of these are trained: trained.
        activations: bytes, `kept` and `logits`.
        copy: parameters of the base that is loaded again to write the model (`full`; in main memory).
    """
    stage = effective_stage(dtype, stage)
    each = (GPU if gpu else CPU)[dtype, stage]
    weights = parameters * SIZE[dtype] / (ranks if stage == 3 else 1)
    states = trained * (each.whole + each.shared / ranks)
    if gpu:
        return weights + states + activations + min(trained, BUCKET) * SIZE[dtype]
    return weights + max(states - trained * each.end + activations, states + copy * SIZE[dtype])


def kept(
    shape: Shape,
    tokens: float,
    depth: float,
    longest: float,
    dtype: str,
    *,
    frozen: float = 0.0,
    lora: bool = False,
    recompute: bool = False,
) -> float:
    """What the backward pass keeps of so many tokens in `depth` layers, of which `frozen` are passed and not trained.

    Numbers per token and layer: 10 d of attention and norms, 4 of each neuron (5 where it is gated), 3 weights of
    attention for each head and token of the sentence, and with LoRA the outputs of all linear maps twice more. A
    frozen layer needs no inputs of its linear maps: 3 d and a number of each neuron less.
    """
    d, p = shape.d_model, shape.n_neurons
    layer = 10 * d + (5 if shape.gated else 4) * p + 3 * shape.heads * longest
    if lora:
        layer += 2 * (3 * d + 2 * shape.kv_width + (2 if shape.gated else 1) * p)
    numbers = (d * depth + layer) if recompute else layer * depth - (3 * d + p) * min(frozen, depth)
    return tokens * numbers * SIZE[dtype]


def logits(shape: Shape, predicted: float) -> float:
    """Logits of predicted tokens, their float32 copy and its gradient."""
    return predicted * shape.vocabulary * 4 * 3


def forward(shape: Shape, tokens: float, dtype: str) -> float:
    """A pass without gradients: the largest layer's values, a few of them at a time."""
    return tokens * (6 * shape.d_model + 3 * shape.n_neurons) * SIZE[dtype]


def decoding(shape: Shape, sequences: float, length: float, dtype: str) -> float:
    """Keys and values of all layers, twice while they grow, and the logits of one token each."""
    cache = 2 * shape.n_layer * shape.kv_width * length * SIZE[dtype]
    return sequences * (2 * cache + shape.vocabulary * 4 * 2)
