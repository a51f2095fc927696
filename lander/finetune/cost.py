"""The floating point operations of a training, estimated from its linear maps.

A linear map of n weights takes 2 n floating point operations a token, and as many again for the gradient of its input
and for that of its weights. With T_d tokens of direction d read (prompts and translations), P_d of them predicted:

    FLOPs = sum over d of  2 T_d (N_d + U_d + W_d) + 2 P_d (2 H + H')

    N_d  weights of the layers' linear maps that run in direction d: absent blocks and idle copies do not
    U_d  those of them in the lowest layer with a trained parameter and above: no gradient goes further down
    W_d  the trained ones among them
    H    weights of the output head, which runs on predicted tokens only; H' = H where it is trained, else 0

Left out: products of queries, keys and values, norms, the optimizer, padding, and what gradient checkpointing computes
twice; a few percent together for sentences on a large model, more on a tiny one.
"""

import resource
import sys
import time
from collections import defaultdict

import torch
from torch import nn

from lander.finetune.adapters import base_of
from lander.finetune.blocks import BlockFFN
from lander.finetune.methods import Prepared
from lander.finetune.schedule import Schedule
from lander.finetune.switch import switches
from lander.models import families


class Spent:
    """Time and memory of a training. It may have been stopped: those of its earlier processes are in its checkpoint."""

    def __init__(self, started: float):
        """`started`: of this process, by `time.monotonic`."""
        self.started, self.seconds, self.peak = started, 0.0, 0

    def add(self, seconds: float, peak_memory_bytes: int) -> None:
        """Count earlier processes too, up to the checkpoint from which this one goes on."""
        self.seconds, self.peak = seconds, peak_memory_bytes

    def record(self) -> dict[str, float | int]:
        """The sum of the seconds and the largest memory so far, as in run.json."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        if torch.cuda.is_available():
            peak = torch.cuda.max_memory_allocated()
        seconds = round(self.seconds + time.monotonic() - self.started, 1)
        return {"seconds": seconds, "peak_memory_bytes": max(self.peak, int(peak))}


def training_cost(prepared: Prepared, schedule: Schedule, micro_batches: int) -> dict[str, int]:
    """`tokens_read` and `flops` of so many micro-batches. Before an engine takes the parameters apart."""
    if not prepared.groups:  # nothing to train, so nothing is run
        return {"tokens_read": 0, "flops": 0}
    read: dict[str, int] = defaultdict(int)
    predicted: dict[str, int] = defaultdict(int)
    for number in range(micro_batches):
        direction, indices = schedule.direction(number), schedule.indices(number)
        pairs = schedule.pairs[direction]
        lengths = pairs.lengths[indices]
        read[direction] += int(lengths.sum())
        predicted[direction] += int((lengths - pairs.prompt_lengths[indices]).sum())
    total = sum(flops(prepared, direction, read[direction], predicted[direction]) for direction in read)
    return {"tokens_read": sum(read.values()), "flops": total}


def flops(prepared: Prepared, direction: str, read: float, predicted: float) -> float:
    """Floating point operations of a training on so many tokens of a direction."""
    head = base_of(prepared.network).get_output_embeddings().weight
    each = 2 * sum(weights(prepared, direction))
    return read * each + 2 * predicted * head.numel() * (3 if head.requires_grad else 2)


def weights(prepared: Prepared, direction: str) -> tuple[int, int, int]:
    """N_d, U_d and W_d of a direction."""
    run = above = trained = 0
    for part, gradient in running(prepared, direction):
        run += part.weight.numel()
        above += part.weight.numel() * gradient
        trained += part.weight.numel() * part.weight.requires_grad
    return run, above, trained


def running(prepared: Prepared, direction: str) -> list[tuple[nn.Linear, bool]]:
    """The layers' linear maps that run in a direction, and whether a gradient goes through each."""
    prepared.router.direction = direction
    layers = families.layers_of(base_of(prepared.network))
    outside = {id(p) for p in prepared.trained().values()} - {id(p) for p in layers.parameters()}
    depths = [i for i, layer in enumerate(layers) if any(p.requires_grad for p in layer.parameters())]
    lowest = 0 if outside else min(depths)  # what is trained outside the layers has the embeddings with it
    # What does not run in this direction
    absent = [part.trained if part.is_off else part.untouched for part in switches(layers).values()]
    for ffn in (part for part in layers.modules() if isinstance(part, BlockFFN)):
        absent += [block for block, scale in zip(ffn.blocks, ffn.scales({}, direction), strict=True) if scale is None]
        absent += [gate for name, gate in ffn.gates.items() if name != direction]
    left_out = {id(part) for module in absent for part in module.modules()}
    return [
        (part, depth >= lowest)
        for depth, layer in enumerate(layers)
        for part in layer.modules()
        if isinstance(part, nn.Linear) and id(part) not in left_out
    ]
