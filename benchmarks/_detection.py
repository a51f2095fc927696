"""The geometry on which detection is measured: a BLOOM of random float32 weights and one batch of random tokens."""

import argparse
import json
import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

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
        medians = {system: statistics.median(values) for system, values in seconds.items()}
        machine_is = {"benchmark": name, "machine": platform.machine()}
        print(json.dumps(machine_is | figures | {"seconds": medians, "flops": flops}))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of the geometry."""
    add = parser.add_argument
    add("--rounds", type=int, default=7)
    add("--threads", type=int, default=1)
    add("--width", type=int, default=384)
    add("--layers", type=int, default=8)
    add("--heads", type=int, default=8)
    add("--vocabulary", type=int, default=8000)
    add("--batch", type=int, default=8, help="sequences")
    add("--tokens", type=int, default=64, help="of a sequence")


def make(args: argparse.Namespace) -> Detection:
    """The network and batch of the command line, as `lander.models.loading.load` gives a network."""
    from transformers import BloomConfig, BloomForCausalLM

    machine.prepare(args.threads)
    torch.manual_seed(0)
    config = BloomConfig(vocab_size=args.vocabulary, hidden_size=args.width, n_layer=args.layers, n_head=args.heads)
    network = BloomForCausalLM(config)
    families.fuse_activations(network)
    ids = torch.randint(4, args.vocabulary, (args.batch, args.tokens))
    batch = Batch(ids, torch.ones_like(ids), ids).to(machine.device())
    words = f"BLOOM, width {args.width}, {args.layers} layers, vocabulary {args.vocabulary}, batch {args.batch} x "
    words += f"{args.tokens}, float32, {args.threads} thread(s), {machine.device()}, {args.rounds} rounds"
    return Detection(network.eval().requires_grad_(False).to(machine.device()), batch, words)
