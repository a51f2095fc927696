"""Training steps to measure: what is trained, on which geometry, in which loop.

Systems: `full`; `lora` (PEFT, rank 16, all linear maps of the layers, adapters in the weights' type); `lora-default`
(PEFT's own default: float32 adapters on bfloat16 weights); `ffn` and `layer`, landermt with these scopes.

Loops: `engine` is what `lander.finetune` runs, DeepSpeed included; `plain` is a bare loop of PyTorch. Both keep
float32 masters and moments of what is trained, clip, and make one update per micro-batch.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from lander.config.finetune import Training
from lander.config.methods import Lora
from lander.finetune import trainer
from lander.finetune.cost import training_cost
from lander.finetune.engine import BlockAdamW
from lander.finetune.methods import Prepared, added, linear_maps, prepare
from lander.finetune.schedule import Pairs, Schedule
from lander.models import loading
from lander.models.families import ffn_of, fuse_activations
from lander.models.tokens import Batch, Codec
from lander.shared import machine
from lander.shared.tables import ABSENT, GENERAL, SOURCE, TARGET

SYSTEMS = ("full", "lora", "lora-default", "ffn", "layer")
LOOPS = ("engine", "plain")
DIRECTION = "en-de"
RANK = 16


@dataclass(frozen=True)
class Size:
    """A BLOOM of random bfloat16 weights, and a batch of sequences of the same length."""

    width: int
    layers: int
    heads: int
    vocabulary: int
    rows: int
    tokens: int
    prompt: int  # tokens at the beginning of a sequence that are not predicted
    absent: float  # share of a chosen layer's neurons that belong to other directions' languages

    @property
    def words(self) -> str:
        return (
            f"BLOOM, width {self.width}, {self.layers} layers, vocabulary {self.vocabulary}, batch {self.rows} x "
            f"{self.tokens} ({self.tokens - self.prompt} predicted), bfloat16, one update per step"
        )


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of the geometry, the systems and the loops."""
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=list(LOOPS))
    parser.add_argument("--threads", type=int, default=1)
    add_geometry(parser)


def add_geometry(parser: argparse.ArgumentParser) -> None:
    """Flags of `Size`."""
    add = parser.add_argument
    add("--width", type=int, default=768)
    add("--layers", type=int, default=12)
    add("--heads", type=int, default=12)
    add("--vocabulary", type=int, default=8000)
    add("--batch", type=int, default=8, help="sequences of a step")
    add("--tokens", type=int, default=64, help="of a sequence")
    add("--prompt", type=int, default=32, help="tokens of a sequence that are not predicted")
    add("--absent", type=float, default=0.0, help="share of neurons of other languages, which do not run")


def size_of(args: argparse.Namespace) -> Size:
    """The geometry of the command line."""
    of = args.width, args.layers, args.heads, args.vocabulary, args.batch, args.tokens, args.prompt, args.absent
    return Size(*of)


def layer_list(value: str) -> tuple[int, ...]:
    """Layers as written on the command line: 3,4,10,11."""
    return tuple(int(part) for part in value.split(","))


def base(size: Size) -> nn.Module:
    """The frozen model, made in bfloat16 without a float32 copy."""
    from transformers import BloomConfig, BloomForCausalLM

    torch.manual_seed(0)
    config = BloomConfig(vocab_size=size.vocabulary, hidden_size=size.width, n_layer=size.layers, n_head=size.heads)
    network = BloomForCausalLM._from_config(config, dtype=torch.bfloat16)
    return network.eval().requires_grad_(False).to(machine.device())


def data(size: Size) -> Schedule:
    """Random tokens, four micro-batches of them."""
    n, draw = size.rows * 4, np.random.default_rng(0)
    tokens = draw.integers(4, size.vocabulary, n * size.tokens, dtype=np.int32)
    ends = np.arange(1, n + 1, dtype=np.int64) * size.tokens
    return Schedule({DIRECTION: Pairs(tokens, ends, np.full(n, size.prompt, np.int32))}, size.rows, seed=0)


def masks(n_neurons: int, chosen: tuple[int, ...], absent: float) -> dict[str, pd.DataFrame]:
    """Of the neurons that run, three in five are general and one in five belongs to each language; all layers alike."""
    draw = np.random.default_rng(0).random(n_neurons)
    running = np.select([draw < 0.6 * (1 - absent), draw < 0.8 * (1 - absent)], [GENERAL, SOURCE], TARGET)
    role = np.where(draw < 1 - absent, running, ABSENT)
    owner = pd.Series(role).map({GENERAL: None, SOURCE: "en", TARGET: "de", ABSENT: "fr"}).to_numpy()
    scale = pd.Series(role).map({GENERAL: 0.8, SOURCE: 0.2, TARGET: 0.2, ABSENT: 0.0}).to_numpy()
    one = {"neuron": range(n_neurons), "role": role, "owner": owner, "trained": role != ABSENT, "scale": scale}
    return {DIRECTION: pd.concat([pd.DataFrame({"layer": layer, **one}) for layer in chosen], ignore_index=True)}


def prepared(system: str, size: Size, chosen: tuple[int, ...]) -> Prepared:
    """The base, as `lander.models.loading` loads it, prepared for a system."""
    network = base(size)
    fuse_activations(network)
    if system == "lora-default":
        return peft_default(network)
    if system in ("full", "lora"):
        return prepare(system, network, lora=Lora(rank=RANK, alpha=2 * RANK))
    table = masks(ffn_of(network, 0).n_neurons, chosen, size.absent)
    return prepare("landermt", network, masks=table, scope=system)


def peft_default(network: nn.Module) -> Prepared:
    """LoRA as `get_peft_model` makes it from rank and targets alone."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=list(linear_maps(network)), task_type="CAUSAL_LM")
    network = get_peft_model(network, config)
    return Prepared(network, [added(network, "lora")], {"lora_rank": RANK})


@dataclass
class Step:
    """A system in a loop. A call makes one update; `flops` is its cost by `lander.finetune.cost`."""

    run: Callable[[], float]  # returns the loss
    parameters: int
    flops: int
    loss: float = 0.0  # of the last update

    def __call__(self) -> None:
        self.loss = self.run()


def make(system: str, loop: str, size: Size, chosen: tuple[int, ...]) -> Step:
    """A system in a loop, ready to step."""
    ready, schedule, codec = prepared(system, size, chosen), data(size), loading.load_codec("lander-tiny")
    parameters = sum(parameter.numel() for parameter in ready.trained().values())
    flops = training_cost(ready, schedule, 1)["flops"]
    return Step({"engine": engine_step, "plain": plain_step}[loop](ready, schedule, codec), parameters, flops)


def engine_step(ready: Prepared, schedule: Schedule, codec: Codec) -> Callable[[], float]:
    """One update as `lander.finetune` makes it."""
    settings = Training(steps=10**9, accumulate=1, learning_rate=5e-5, precision="float32")
    with contextlib.redirect_stdout(sys.stderr):  # DeepSpeed prints its memory
        ours = trainer.Trainer(ready, schedule, codec, settings)
    numbers = iter(range(settings.steps))
    return lambda: ours.update(next(numbers))[0]["loss"]


def plain_step(ready: Prepared, schedule: Schedule, codec: Codec) -> Callable[[], float]:
    """The same in plain PyTorch: gradients to the float32 masters, clipping, AdamW, weights back."""
    loss, weights = trainer.TranslationLoss(ready.network).train(), list(ready.trained().values())
    masters = [w if w.dtype == torch.float32 else nn.Parameter(w.detach().float()) for w in weights]
    optimizer = BlockAdamW(masters, lr=5e-5, weight_decay=0.01)
    numbers = iter(range(10**9))
    apart = [(weight, master) for weight, master in zip(weights, masters, strict=True) if weight is not master]

    def run() -> float:
        value = loss(batch_of(ready, schedule, codec, next(numbers)))
        value.backward()
        for weight, master in apart:
            master.grad, weight.grad = weight.grad.float(), None
        nn.utils.clip_grad_norm_(masters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for weight, master in apart:
                weight.copy_(master)
        return value.item()

    return run


def forward_step(size: Size) -> Step:
    """A forward pass of the untouched base with its loss, which keeps nothing for a backward pass."""
    network, schedule, codec = base(size), data(size), loading.load_codec("lander-tiny")
    loss, numbers = trainer.TranslationLoss(network), iter(range(10**9))
    ready = Prepared(network, [])

    @torch.inference_mode()
    def run() -> float:
        return loss(batch_of(ready, schedule, codec, next(numbers))).item()

    return Step(run, 0, forward_flops(network, size))


def forward_flops(network: nn.Module, size: Size) -> int:
    """Of the linear maps, as `lander.finetune.cost` counts them; the head runs on predicted tokens."""
    inside = sum(part.weight.numel() for part in linear_maps(network).values())
    head = network.get_output_embeddings().weight.numel()
    return 2 * size.rows * (size.tokens * inside + (size.tokens - size.prompt) * head)


def batch_of(ready: Prepared, schedule: Schedule, codec: Codec, number: int) -> Batch:
    """A micro-batch, the router set to its direction."""
    ready.router.direction = schedule.direction(number)
    pairs = schedule.pairs[ready.router.direction]
    sequences, skips = zip(*(pairs[index] for index in schedule.indices(number)), strict=True)
    return codec.pad_right(list(sequences), list(skips)).to(machine.device())
