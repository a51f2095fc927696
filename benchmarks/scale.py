"""How cost grows: seconds and peak memory against sentences, layers, neurons per layer, directions and ranks.

    python -m benchmarks.scale --out scale   # scale.csv and scale.svg

Measured: one quantity grows at a time, the others stay at `POINT`. For `sentences`, `layers` and `neurons` it is a
scoring pass of `lander.detect.estimators` over that many sentences. For `directions` and `ranks` it is an
update of landermt (scope ffn, in DeepSpeed) over twelve micro-batches, which the directions share. The model is a LLaMA
of random weights. Each point is its own process (with several ranks, one process each). Memory is the peak of a process
above what it has once everything is imported. Seconds are medians over rounds, after one that does not count.

Bound: seconds are proportional to sentences, layers and (apart from attention and head) neurons, and do not depend on
the number of directions. Memory grows with layers, neurons and the blocks of more languages, not with sentences. Peers:
none. `exponents` are the slopes of log seconds and of log memory between the smallest and the largest value (1 means
proportional).
JSON: `exponents`, `rows`.
"""

import argparse
import contextlib
import csv
import json
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

POINT = {"sentences": 64, "layers": 8, "neurons": 1536, "directions": 2, "ranks": 1}
VALUES = {
    "sentences": [64, 256, 1024],
    "layers": [4, 8, 16],
    "neurons": [768, 1536, 3072],
    "directions": [1, 2, 4, 8, 12],
    "ranks": [1, 2],
}
TRAINED = ("directions", "ranks")
OTHERS = ("de", "fr", "it", "ar", "zh", "es")  # beside English
MICRO_BATCHES, ROWS = 12, 8


def base(point: dict[str, int], args: argparse.Namespace) -> Any:
    """The frozen model."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=args.vocabulary,
        hidden_size=args.width,
        intermediate_size=point["neurons"],
        num_hidden_layers=point["layers"],
        num_attention_heads=4,
        num_key_value_heads=4,
    )
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def scoring(point: dict[str, int], args: argparse.Namespace) -> Callable[[], object]:
    """A scoring pass over `sentences` of random tokens."""
    import torch

    from lander.detect.estimators import sum_scores
    from lander.models.tokens import Batch

    network = base(point, args)

    def batches():
        for _ in range(point["sentences"] // ROWS):
            ids = torch.randint(4, args.vocabulary, (ROWS, args.tokens))
            yield Batch(ids, torch.ones_like(ids), ids)

    return lambda: sum_scores(network, batches())


def update(point: dict[str, int], args: argparse.Namespace) -> Callable[[], object]:
    """An update of landermt over `directions`."""
    from lander.config.finetune import Training
    from lander.finetune import trainer
    from lander.finetune.methods import prepare
    from lander.finetune.schedule import Pairs, Schedule
    from lander.models import loading

    names = [name for code in OTHERS for name in (f"en-{code}", f"{code}-en")][: point["directions"]]
    chosen = range(point["layers"] // 2, point["layers"])
    ready = prepare("landermt", base(point, args), masks=masks(point["neurons"], chosen, names), scope="ffn")
    n, draw = ROWS * MICRO_BATCHES, np.random.default_rng(0)
    tokens = draw.integers(4, args.vocabulary, n * args.tokens, dtype=np.int32)
    ends = np.arange(1, n + 1, dtype=np.int64) * args.tokens
    pairs = Pairs(tokens, ends, np.full(n, args.tokens // 2, np.int32))
    settings = Training(steps=10**9, accumulate=MICRO_BATCHES, learning_rate=5e-5, precision="float32")
    schedule, codec = Schedule(dict.fromkeys(names, pairs), ROWS, seed=0), loading.load_codec("lander-tiny")
    with contextlib.redirect_stdout(sys.stderr):  # DeepSpeed tells of its memory
        ours = trainer.Trainer(ready, schedule, codec, settings)
    numbers = iter(range(settings.steps))
    return lambda: ours.update(next(numbers))


def masks(n_neurons: int, chosen: range, names: list[str]) -> dict[str, pd.DataFrame]:
    """Three in five neurons are general, the others belong to the languages of the directions, in equal parts."""
    languages = sorted({code for name in names for code in name.split("-")})
    place = np.arange(n_neurons)
    owner = np.array(["", *languages])[place % 5 // 3 * (1 + place // 5 % len(languages))]
    found = {}
    for name in names:
        roles = {"": "general", **dict(zip(name.split("-"), ("source", "target"), strict=True))}
        role = pd.Series(owner).map(roles).fillna("absent")
        table = pd.DataFrame({"neuron": range(n_neurons), "role": role, "owner": owner, "trained": role != "absent"})
        table["owner"] = table["owner"].replace({"": None})
        table["scale"] = (role != "absent").astype(float)
        found[name] = pd.concat([table.assign(layer=layer) for layer in chosen], ignore_index=True)
    return found


def measure_one(grows: str, value: int, args: argparse.Namespace) -> None:
    """In a process of its own: print seconds, and peak bytes above the imports (of the largest rank)."""
    import torch
    import torch.distributed as dist
    from transformers import LlamaForCausalLM  # noqa: F401

    from benchmarks.memory import resident
    from lander.finetune.engine import end_processes, import_deepspeed, start_processes
    from lander.shared import machine

    machine.prepare(args.threads)
    point = {**POINT, grows: value}
    trains = grows in TRAINED
    if trains:
        import_deepspeed()
        start_processes()
    before = resident("VmRSS")
    run = (update if trains else scoring)(point, args)
    seconds = []
    for _ in range(args.rounds + 1):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    peak = torch.tensor([resident("VmHWM") - before])
    if trains:
        dist.all_reduce(peak, op=dist.ReduceOp.MAX)
    print(json.dumps({"seconds": statistics.median(seconds[1:]), "bytes": int(peak)}), flush=True)
    if trains:
        end_processes()  # several ranks end here


def measure(args: argparse.Namespace, argv: list[str]) -> list[dict[str, float]]:
    """A row for each point: what grows, its value, seconds, bytes."""
    rows = []
    for grows in args.what:
        for value in args.values or VALUES[grows]:
            start = [sys.executable, "-m"]
            if grows == "ranks":
                start += ["torch.distributed.run", "--standalone", "--nproc_per_node", str(value), "-m"]
            command = [*start, "benchmarks.scale", *argv, "--one", grows, str(value)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found = next(json.loads(line) for line in output.splitlines() if line.startswith('{"seconds"'))
            rows.append({"what": grows, "value": value, **found})
            print(f"{grows:<12}{value:>8}{found['seconds']:>11.3f}{found['bytes'] / 1e6:>11,.0f}", flush=True)
    return rows


def exponents(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """What grows -> slope of the logarithms of seconds and bytes, from its smallest to its largest value."""
    found = {}
    for grows in dict.fromkeys(row["what"] for row in rows):
        some = sorted((row for row in rows if row["what"] == grows), key=lambda row: row["value"])
        first, last = some[0], some[-1]
        if last["value"] > first["value"]:
            width = math.log(last["value"] / first["value"])
            found[grows] = {key: math.log(last[key] / first[key]) / width for key in ("seconds", "bytes")}
    return found


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Two rows of panels: seconds and MB against each thing that grows."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    things = list(dict.fromkeys(row["what"] for row in rows))
    figure = Figure(figsize=(2.6 * len(things), 4.6), layout="constrained")
    panels = figure.subplots(2, len(things), squeeze=False)
    for column, grows in enumerate(things):
        some = [row for row in rows if row["what"] == grows]
        for line, (key, unit, title) in enumerate((("seconds", 1, "seconds"), ("bytes", 1e6, "peak MB"))):
            panel = panels[line][column]
            values, costs = [row["value"] for row in some], [row[key] / unit for row in some]
            panel.plot(values, costs, marker="o")
            panel.set(xlabel=grows, ylabel=title, xlim=(0, 1.08 * max(values)), ylim=(0, 1.08 * max(costs)))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "scale"}):  # text stays text; the same bytes each time
        figure.savefig(path, format="svg", metadata={"Date": None})


def parse_args() -> argparse.Namespace:
    """The flags of the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.scale", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--what", nargs="+", choices=list(VALUES), default=list(VALUES))
    add("--values", type=int, nargs="+", help="of what grows; default: its own list")
    add("--rounds", type=int, default=3)
    add("--threads", type=int, default=1)
    add("--width", type=int, default=384)
    add("--vocabulary", type=int, default=8000)
    add("--tokens", type=int, default=64, help="of a sentence")
    add("--out", type=Path, default=Path("scale"), help="CSV and SVG to write, without their suffixes")
    add("--one", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.one:
        measure_one(args.one[0], int(args.one[1]), args)
        return
    print(f"LLaMA, width {args.width}, otherwise {POINT}, {args.threads} thread(s) a process, {args.rounds} rounds")
    print(f"{'what':<12}{'value':>8}{'seconds':>11}{'peak MB':>11}")
    rows = measure(args, sys.argv[1:])
    with open(args.out.with_suffix(".csv"), "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    draw(rows, args.out.with_suffix(".svg"))
    print(json.dumps({"benchmark": "scale", "machine": platform.machine(), "exponents": exponents(rows), "rows": rows}))


if __name__ == "__main__":
    main()
