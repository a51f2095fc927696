"""What a training step costs: landermt beside full finetuning, LoRA and the bare matrix products.

    python -m benchmarks.finetune
    python -m benchmarks.finetune --geometry gemma270
    python -m benchmarks.finetune --chosen 0,1,2,3 --loops plain

Measured: seconds of an update. All systems take turns; a ratio is the median over rounds. `benchmarks/_training.py`
describes the systems and the loops. Peers: full finetuning and PEFT's LoRA.

Bound: the seconds of the matrix products that a step needs, measured in turn with it: those of its linear maps and of
attention, forward, and backward for gradients of activations down to the lowest trained layer and for gradients of the
trained weights. They run as bare products of the same shapes, in the type in which the step multiplies. Everything else
in a step is above the bound: norms, activations, softmax, casts, the optimizer. `flops` are those of the linear maps
alone (`lander.finetune.cost`).

The JSON line has the ratios of the first loop at the top and those of all loops under `loops`. Of several sets of
chosen layers, the first is `ffn` and `layer`; the names of the others end with their layers. `bound_ratio` is of `ffn`,
with `_layer` of `layer`, and `bound_ratios` has those of all systems.
JSON: `speedup_vs_full`, `bound_ratio`, `bound_ratios`, `loops`, `seconds`, `losses`, `flops`.
"""

import argparse
import json
import platform
import statistics

import torch

from benchmarks import _training as training
from benchmarks._geometry import parse
from benchmarks._measuring import measure, ratio
from lander.finetune.engine import end_processes, start_processes
from lander.shared import machine

PRODUCTS = "products"
SPEEDUPS = {"full": "speedup_vs_full", "lora": "speedup_vs_lora", "lora-default": "speedup_vs_lora_default"}


def systems(args: argparse.Namespace) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Row name -> system and its chosen layers; the scopes once for each set of layers."""
    found = {}
    for name in args.systems:
        sets = args.chosen if name in ("ffn", "layer") else args.chosen[:1]
        for place, chosen in enumerate(sets):
            found[name if place == 0 else f"{name} {','.join(map(str, chosen))}"] = name, chosen
    return found


def ratios(seconds: dict[str, list[float]], rows: list[str], loop: str) -> dict[str, float]:
    """The JSON keys of a loop: of scope `ffn`, the same with `_layer`, and of further sets of layers."""
    found = {}
    for row in (name for name in rows if name.split()[0] in (f"{loop}:ffn", f"{loop}:layer")):
        scope, _, chosen = row.partition(":")[2].partition(" ")
        suffix = ("_layer" if scope == "layer" else "") + (f"_{chosen}" if chosen else "")
        for other, key in SPEEDUPS.items():
            if f"{loop}:{other}" in seconds:
                found[key + suffix] = ratio(seconds[f"{loop}:{other}"], seconds[row])
        found["bound_ratio" + suffix] = bound_ratio(seconds, row)
    return found


def products_of(row: str) -> str:
    """The name of the products of a row, which its loops share."""
    return f"{PRODUCTS}:{row.partition(':')[2]}"


def bound_ratio(seconds: dict[str, list[float]], row: str) -> float:
    """Seconds of a step to those of its matrix products alone."""
    return ratio(seconds[row], seconds[products_of(row)])


def print_table(seconds: dict[str, list[float]], steps: dict[str, training.Step], tokens: int) -> None:
    """A line per system and loop."""
    print(
        f"{'loop':<8}{'system':<22}{'trained':>12}{'GFLOP':>9}{'median s':>10}{'bound s':>10}{'tokens/s':>10}"
        f"{'x full':>8}{'x lora':>8}{'x default':>11}{'x bound':>9}"
    )
    for row, step in steps.items():
        loop, _, name = row.partition(":")
        median, bound = (statistics.median(seconds[of]) for of in (row, products_of(row)))
        line = f"{loop:<8}{name:<22}{step.parameters:>12,}{step.flops / 1e9:>9.1f}{median:>10.4f}{bound:>10.4f}"
        line += f"{tokens / median:>10,.0f}"
        for other, width in zip(SPEEDUPS, (8, 8, 11), strict=True):
            known = f"{loop}:{other}" in seconds
            line += f"{ratio(seconds[f'{loop}:{other}'], seconds[row]):>{width}.2f}" if known else " " * width
        print(line + f"{bound_ratio(seconds, row):>9.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.finetune", description=__doc__.splitlines()[0])
    training.add_flags(parser)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--chosen",
        type=training.layer_list,
        nargs="+",
        help="sets of chosen layers, as 3,4,10,11: autograd stops below the lowest",
    )
    args = parse(parser)
    args.chosen = args.chosen or [args.shape.chosen]
    machine.prepare(args.threads)
    start_processes()
    size, steps = training.size_of(args), {}
    for loop in args.loops:
        for name, (system, chosen) in systems(args).items():
            steps[f"{loop}:{name}"] = training.make(system, loop, size, chosen)
    most = max(training.numbers_of(step.maps) for step in steps.values())
    numbers = torch.randn(most, dtype=training.multiplies(args.shape), device=machine.device())
    bounds = {products_of(row): training.products(step.maps, numbers) for row, step in steps.items()}
    seconds = measure(steps | bounds, args.rounds)
    print(f"{size.words}, {args.threads} thread(s), {machine.device()}, {args.rounds} rounds")
    print(f"chosen layers {', '.join(map(str, args.chosen[0]))}; {args.absent:.0%} of their neurons do not run")
    print("bound s: the matrix products of the step alone")
    print_table(seconds, steps, size.rows * size.tokens)
    loops = {loop: ratios(seconds, list(steps), loop) for loop in args.loops}
    record = {
        "benchmark": "finetune",
        "geometry": args.geometry,
        "machine": platform.machine(),
        "device": str(machine.device()),
        **loops[args.loops[0]],
        "bound_ratios": {row: bound_ratio(seconds, row) for row in steps},
        "loops": loops,
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "losses": {name: step.loss for name, step in steps.items()},
        "flops": {name: step.flops for name, step in steps.items()},
    }
    end_processes()
    print(json.dumps(record))


if __name__ == "__main__":
    main()
