"""Ten directions in one micro-batch (`finetune.mix_directions`) beside one micro-batch for each: forward and backward.

    python -m benchmarks.mixed
    python -m benchmarks.mixed --geometry gemma270 --rows 1 2

Both are our own code and have the same gradient; no peer routes the rows of a batch. Bound: the time of the same rows
through all neurons of the base, as one direction without blocks of others would run them (`speedup_bound`).

The keys of the JSON line map rows for each direction to how many times faster the mixed micro-batch is.
JSON: `speedup`, `speedup_bound`, `seconds`.
"""

import argparse
import json
import platform
import statistics
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch

from benchmarks import _training as training
from benchmarks._geometry import add_batch, parse
from benchmarks._measuring import measure, ratio
from lander.finetune.halves import halve, plain_attention
from lander.finetune.methods import Prepared, prepare
from lander.finetune.trainer import TranslationLoss
from lander.models.families import ffn_of, fuse_activations
from lander.models.tokens import IGNORED, Batch
from lander.shared import machine
from lander.shared.tables import BASE, GENERAL, SOURCE, TARGET

LANGUAGES = ("de", "fr", "it", "ar", "zh")
DIRECTIONS = [*(f"en-{one}" for one in LANGUAGES), *(f"{one}-en" for one in LANGUAGES)]


def masks(n_neurons: int, chosen: Sequence[int]) -> dict[str, pd.DataFrame]:
    """Nine in ten neurons are general; those of other languages run as the base has them, as by default."""
    owners = np.array(["en", *LANGUAGES], dtype=object)[np.arange(n_neurons) % (1 + len(LANGUAGES))]
    general, found = np.arange(n_neurons) < 0.9 * n_neurons, {}
    for direction in DIRECTIONS:
        source, target = direction.split("-")
        role = np.select([general, owners == source, owners == target], [GENERAL, SOURCE, TARGET], BASE)
        one = {"neuron": range(n_neurons), "role": role, "owner": np.where(general, None, owners), "scale": 1.0}
        layers = [pd.DataFrame({"layer": layer, **one, "trained": role != BASE}) for layer in chosen]
        found[direction] = pd.concat(layers, ignore_index=True)
    return found


def passes(ready: Prepared, size: training.Size, parts: list[list[str | None]]) -> Callable[[], None]:
    """Forward and backward of these micro-batches, each a list of the directions of its parts."""
    loss, vocabulary = TranslationLoss(ready.network).train(), size.shape.config.vocab_size
    draw, autocast = torch.Generator().manual_seed(0), training.halves(size.shape)

    def run() -> None:
        ready.network.zero_grad()
        for directions in parts:
            ids = torch.randint(4, vocabulary, (len(directions) * size.rows, size.tokens), generator=draw)
            labels = ids.clone()
            labels[:, : size.prompt] = IGNORED
            batch = Batch(ids, torch.ones_like(ids), labels).to(machine.device())
            with (
                ready.router.mixed([one for one in directions for _ in range(size.rows)]),
                torch.autocast(machine.device().type, torch.bfloat16, enabled=autocast),
            ):
                (loss(batch, [size.rows] * len(directions)).mean() * len(directions) / len(DIRECTIONS)).backward()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.mixed", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 2, 8], help="of each direction")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    add_batch(parser, "training")
    args = parse(parser)
    machine.prepare(args.threads)
    network = args.shape.make()
    fuse_activations(network)
    ready = prepare("landermt", network, masks=masks(ffn_of(network, 0).n_neurons, args.shape.chosen))
    if training.halves(args.shape):
        halve(network)
        plain_attention(network, args.tokens)
    systems = {}
    for rows in args.rows:
        size = training.Size(args.shape, rows, args.tokens, args.prompt)
        systems[f"apart {rows}"] = passes(ready, size, [[direction] for direction in DIRECTIONS])
        systems[f"mixed {rows}"] = passes(ready, size, [DIRECTIONS])
        systems[f"bound {rows}"] = passes(ready, size, [[None] * len(DIRECTIONS)])
    seconds = measure(systems, args.rounds)
    print(f"{args.shape.words}, ten directions, sequences of {args.tokens} tokens, {args.threads} thread(s)")
    print(f"{'rows each':>9}{'apart s':>10}{'mixed s':>10}{'bound s':>10}{'speedup':>9}")
    found: dict[str, dict[int, float]] = {"speedup": {}, "speedup_bound": {}}
    for rows in args.rows:
        apart, mixed, bound = (seconds[f"{name} {rows}"] for name in ("apart", "mixed", "bound"))
        found["speedup"][rows], found["speedup_bound"][rows] = ratio(apart, mixed), ratio(apart, bound)
        times = "".join(f"{statistics.median(one):>10.4f}" for one in (apart, mixed, bound))
        print(f"{rows:>9}{times}{found['speedup'][rows]:>9.2f}")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    record = {"benchmark": "mixed", "geometry": args.geometry, "machine": platform.machine()}
    print(json.dumps(record | found | {"seconds": medians}))


if __name__ == "__main__":
    main()
