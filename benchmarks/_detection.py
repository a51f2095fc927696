"""What detection is measured on: a geometry as detection loads it, and one batch of random tokens."""

import argparse
import json
import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks._geometry import add_batch
from benchmarks._measuring import measure, ratio
from lander.detect.activations import mean_activations
from lander.detect.estimators import sum_scores
from lander.models import families
from lander.models.tokens import Batch
from lander.shared import machine


@dataclass(frozen=True)
class Detection:
    """A frozen network in evaluation mode and the batch that it reads; every token but the first is predicted."""

    network: nn.Module
    batch: Batch
    words: str

    def forward(self) -> None:
        """The forward pass with logits of every token, to which everything is compared."""
        with torch.inference_mode():
            self.network(input_ids=self.batch.input_ids, attention_mask=self.batch.attention_mask, use_cache=False)

    def activations(self) -> None:
        mean_activations(self.network, iter([self.batch]))

    def awareness(self) -> None:
        sum_scores(self.network, iter([self.batch]))

    @property
    def flops(self) -> dict[str, int]:
        """Of the linear maps: `forward`, `head` (the output projection, included in `forward`)."""
        layers = [m for m in families.layers_of(self.network).modules() if isinstance(m, nn.Linear)]
        tokens = self.batch.input_ids.numel()
        head = 2 * tokens * self.network.get_output_embeddings().weight.numel()
        return {"forward": 2 * tokens * sum(m.weight.numel() for m in layers) + head, "head": head}

    def measured(self, systems: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
        """Seconds of the forward pass and of each system in each round."""
        return measure({"forward": self.forward, **systems}, rounds)

    def show(self, name: str, seconds: dict[str, list[float]], flops: dict[str, int], **figures: float) -> None:
        """Print the table of the systems, and the last line of JSON with `figures`."""
        forward = flops["forward"]
        print(self.words)
        print(f"{'system':<14}{'GFLOP':>9}{'median s':>10}{'x forward':>11}{'bound':>8}")
        for system, values in seconds.items():
            row = f"{system:<14}{flops[system] / 1e9:>9.2f}{statistics.median(values):>10.4f}"
            print(f"{row}{ratio(values, seconds['forward']):>11.2f}{flops[system] / forward:>8.2f}")
        if "peak_gb" in figures:
            print(f"peak {figures['peak_gb']:.2f} GB above the imports, the weights {figures['peak_bound_gb']:.2f} GB")
        medians = {system: statistics.median(values) for system, values in seconds.items()}
        machine_is = {"benchmark": name, "machine": platform.machine()}
        print(json.dumps(machine_is | figures | {"seconds": medians, "flops": flops}))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of the geometry and the batch."""
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    add_batch(parser, "scoring")


def make(args: argparse.Namespace) -> Detection:
    """The network and batch of the command line, as `lander.models.loading.load` gives a network."""
    machine.prepare(args.threads)
    network = args.shape.make("auto")
    families.fuse_activations(network)
    ids = torch.randint(4, args.shape.config.vocab_size, (args.batch, args.tokens))
    batch = Batch(ids, torch.ones_like(ids), ids).to(machine.device())
    words = f"{args.shape.words}, batch {args.batch} x {args.tokens},\n{str(network.dtype).removeprefix('torch.')}, "
    words += f"{args.threads} thread(s), {machine.device()}, {args.rounds} rounds"
    return Detection(network, batch, words)
