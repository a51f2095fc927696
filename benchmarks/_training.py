"""Training steps to measure: what is trained, on which geometry, in which loop.

Systems: `full`; `lora` (PEFT, rank 16, all linear maps of the layers, adapters in the weights' type); `lora-default`
(PEFT's own default: float32 adapters, which differs where the weights are bfloat16); `ffn` and `layer`, landermt with
these scopes.

Loops: `engine` is what `lander.finetune` runs, DeepSpeed included; `plain` is a bare loop of PyTorch. Both keep
float32 masters and moments of what is trained, clip, and make one update per micro-batch. Float32 weights are
multiplied as `finetune.precision: auto` does it on this machine.

Bound of a step: its matrix products alone (`products`).
"""

import argparse
import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from benchmarks._geometry import Geometry, add_batch
from lander.config.finetune import Training
from lander.config.methods import Lora
from lander.finetune import trainer
from lander.finetune.adapters import base_of
from lander.finetune.cost import running, training_cost
from lander.finetune.engine import BlockAdamW
from lander.finetune.halves import halve, plain_attention
from lander.finetune.methods import Prepared, added, linear_maps, prepare
from lander.finetune.schedule import Pairs, Schedule
from lander.models import loading
from lander.models.families import ffn_of, fuse_activations, layers_of
from lander.models.tokens import Batch, Codec
from lander.shared import machine
from lander.shared.tables import ABSENT, GENERAL, SOURCE, TARGET

SYSTEMS = ("full", "lora", "lora-default", "ffn", "layer")
LOOPS = ("engine", "plain")
DIRECTION = "en-de"
RANK = 16


@dataclass(frozen=True)
class Size:
    """A geometry, and a batch of sequences of the same length."""

    shape: Geometry
    rows: int
    tokens: int
    prompt: int  # tokens at the beginning of a sequence that are not predicted
    absent: float = 0.0  # share of a chosen layer's neurons that belong to other directions' languages

    @property
    def words(self) -> str:
        kind = "float32 weights with bfloat16 arithmetic" if halves(self.shape) else f"{self.shape.weights} weights"
        return (
            f"{self.shape.words}, batch {self.rows} x {self.tokens} ({self.tokens - self.prompt} predicted),\n"
            f"{kind.replace('torch.', '')}, one update per step"
        )


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of the geometry, the systems and the loops."""
    add = parser.add_argument
    add("--systems", nargs="+", choices=SYSTEMS, default=["full", "lora", "ffn", "layer"])
    add("--loops", nargs="+", choices=LOOPS, default=["engine"])
    add("--threads", type=int, default=1)
    add("--absent", type=float, default=0.0, help="share of neurons of other languages, which do not run")
    add_batch(parser, "training")


def size_of(args: argparse.Namespace) -> Size:
    """The geometry and batch of the command line."""
    return Size(args.shape, args.batch, args.tokens, args.prompt, args.absent)


def halves(shape: Geometry) -> bool:
    """Whether training multiplies float32 weights in bfloat16 here."""
    return shape.weights == torch.float32 and machine.autocasts("auto")


def multiplies(shape: Geometry) -> torch.dtype:
    """The type of a step's products."""
    return torch.bfloat16 if halves(shape) else shape.weights


def layer_list(value: str) -> tuple[int, ...]:
    """Layers as written on the command line: 3,4,10,11."""
    return tuple(int(part) for part in value.split(","))


def data(size: Size) -> Schedule:
    """Random tokens, four micro-batches of them."""
    n, draw = size.rows * 4, np.random.default_rng(0)
    tokens = draw.integers(4, size.shape.config.vocab_size, n * size.tokens, dtype=np.int32)
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
    network = size.shape.make()
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


class Map(NamedTuple):
    """A product in a step, x (tokens, width) with w (out, width): a linear map, or in attention one for each head."""

    tokens: int
    width: int
    out: int
    through: bool  # whether x needs a gradient
    trained: bool  # whether w does
    heads: int = 1  # with those of all sequences

    @property
    def flops(self) -> int:
        return 2 * self.heads * self.tokens * self.width * self.out * (1 + self.through + self.trained)


def maps_of(ready: Prepared, size: Size) -> list[Map]:
    """The products that a step needs: linear maps as `lander.finetune.cost` counts them, and those of attention."""
    network, gradients = base_of(ready.network), {id(part): through for part, through in running(ready, DIRECTION)}
    read, predicted, shape = size.rows * size.tokens, size.rows * (size.tokens - size.prompt), size.shape.config
    width = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
    maps, heads = [], size.rows * shape.num_attention_heads
    for layer in layers_of(network):
        parts = [part for part in layer.modules() if id(part) in gradients]
        through = gradients[id(parts[0])]
        maps.append(Map(size.tokens, width, size.tokens, through, through, heads))  # queries with keys
        maps.append(Map(size.tokens, size.tokens, width, through, through, heads))  # weights with values
        maps += [Map(read, m.in_features, m.out_features, through, m.weight.requires_grad) for m in parts]
    head = network.get_output_embeddings()
    return [*maps, Map(predicted, head.in_features, head.out_features, True, head.weight.requires_grad)]


def numbers_of(maps: list[Map]) -> int:
    """How many numbers the maps multiply by."""
    return sum(m.heads * m.out * m.width for m in maps)


def products(maps: list[Map], numbers: torch.Tensor) -> Callable[[], None]:
    """The matrix products of a step and nothing else, in its shapes and its order.

    `numbers` are what all products multiply by, in the type in which a step multiplies; all steps can share them. Each
    product has numbers of its own, which come from memory as the weights of a step do.
    """

    def shape(m: Map, *sides: int) -> tuple[int, ...]:
        return sides if m.heads == 1 else (m.heads, *sides)

    kinds = {shape(m, m.tokens, side) for m in maps for side in (m.width, m.out)}
    states = {kind: numbers.new_empty(kind).normal_() for kind in kinds}
    parts = numbers[: numbers_of(maps)].split([m.heads * m.out * m.width for m in maps])
    ready = [
        (m, states[shape(m, m.tokens, m.width)], part.view(shape(m, m.out, m.width)), states[shape(m, m.tokens, m.out)])
        for m, part in zip(maps, parts, strict=True)
    ]

    @torch.inference_mode()
    def run() -> None:
        for _, x, w, _ in ready:
            x @ w.mT
        for m, x, w, slope in reversed(ready):
            if m.through:
                slope @ w
            if m.trained:
                slope.mT @ x

    return run


@dataclass
class Step:
    """A system in a loop. A call makes one update; `maps` are its products, `flops` is what they cost."""

    run: Callable[[], float]  # returns the loss
    parameters: int
    maps: list[Map]
    flops: int
    loss: float = 0.0  # of the last update

    def __call__(self) -> None:
        self.loss = self.run()


def make(system: str, loop: str, size: Size, chosen: tuple[int, ...]) -> Step:
    """A system in a loop, ready to step."""
    ready, schedule, codec = prepared(system, size, chosen), data(size), loading.load_codec("lander-tiny")
    parameters = sum(parameter.numel() for parameter in ready.trained().values())
    maps, flops = maps_of(ready, size), training_cost(ready, schedule, 1)["flops"]
    run = {"engine": engine_step, "plain": plain_step}[loop](ready, schedule, codec, size.shape)
    return Step(run, parameters, maps, flops)


def engine_step(ready: Prepared, schedule: Schedule, codec: Codec, shape: Geometry) -> Callable[[], float]:
    """One update as `lander.finetune` makes it."""
    precision = "bfloat16" if halves(shape) else "float32"
    as_in_training(ready, schedule, shape)
    settings = Training(steps=10**9, accumulate=1, learning_rate=5e-5, precision=precision)
    with contextlib.redirect_stdout(sys.stderr):  # DeepSpeed prints its memory
        ours = trainer.Trainer(ready, schedule, codec, settings)
    numbers = iter(range(settings.steps))
    return lambda: ours.update(next(numbers))[0]["loss"]


def as_in_training(ready: Prepared, schedule: Schedule, shape: Geometry) -> None:
    """What `lander.finetune.trainer.train` does before the engine."""
    if halves(shape):
        halve(ready.network)
        plain_attention(ready.network, schedule.longest)


def plain_step(ready: Prepared, schedule: Schedule, codec: Codec, shape: Geometry) -> Callable[[], float]:
    """The same in plain PyTorch: gradients to the float32 masters, clipping, AdamW, weights back."""
    as_in_training(ready, schedule, shape)
    loss, weights = trainer.TranslationLoss(ready.network).train(), list(ready.trained().values())
    masters = [w if w.dtype == torch.float32 else nn.Parameter(w.detach().float()) for w in weights]
    optimizer = BlockAdamW(masters, lr=5e-5, weight_decay=0.01)
    numbers = iter(range(10**9))
    apart = [(weight, master) for weight, master in zip(weights, masters, strict=True) if weight is not master]

    def run() -> float:
        with torch.autocast(machine.device().type, torch.bfloat16, enabled=halves(shape)):
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


def batch_of(ready: Prepared, schedule: Schedule, codec: Codec, number: int) -> Batch:
    """A micro-batch, the router set to its direction."""
    ready.router.direction = schedule.direction(number)
    pairs = schedule.pairs[ready.router.direction]
    sequences, skips = zip(*(pairs[index] for index in schedule.indices(number)), strict=True)
    return codec.pad_right(list(sequences), list(skips)).to(machine.device())
