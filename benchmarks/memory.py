"""How much memory a training takes: landermt beside full finetuning and LoRA, each in its own process.

    python -m benchmarks.memory
    python -m benchmarks.memory --geometry gemma270

Measured: the peak of a process while it builds its model and makes some updates, above what it has once everything is
imported. That is resident memory on a CPU, and what PyTorch has allocated on a GPU. `benchmarks/_training.py` describes
the systems and the loops. Peers: full finetuning and PEFT's LoRA.

Bound: what must be in memory, the frozen weights in bfloat16, and for each trained parameter a float32 master, two
moments and the gradient (14 bytes more than a frozen one).
`landermt_gb` is the larger of the peaks of landermt's two scopes.
JSON: `landermt_gb`, `loops`, `bytes`, and the ratios of the first loop, such as `ratio_vs_full`.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import _training as training
from benchmarks._geometry import parse
from lander.shared import machine

STATUS = Path("/proc/self/status")


def resident(field: str) -> int:
    """Bytes of this process: `VmRSS` now, `VmHWM` the peak so far. Without /proc it is always the peak."""
    if not STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def peak_of(run: Callable[[], object]) -> int:
    """Bytes that this process takes at most while it runs a function, above what it has before."""
    from transformers import BloomForCausalLM, Gemma3ForCausalLM, LlamaForCausalLM  # noqa: F401

    gpu = torch.cuda.is_available()
    before = torch.cuda.memory_allocated() if gpu else resident("VmRSS")
    run()
    return (torch.cuda.max_memory_allocated() if gpu else resident("VmHWM")) - before


def measure_one(args: argparse.Namespace) -> dict[str, int]:
    """In its own process: a system's peak above its imports, in bytes."""
    import peft  # noqa: F401

    from lander.finetune.engine import end_processes, import_deepspeed, start_processes

    machine.prepare(args.threads)
    import_deepspeed()
    start_processes()
    parameters = 0

    def run() -> None:
        nonlocal parameters
        step = training.make(args.systems[0], args.loops[0], training.size_of(args), args.chosen)
        parameters = step.parameters
        for _ in range(args.steps):
            step()

    peak = peak_of(run)
    end_processes()
    return {"peak": peak, "parameters": parameters}


def measure(args: argparse.Namespace, argv: list[str]) -> dict[str, dict[str, dict[str, int]]]:
    """Loop -> system -> what its process measured."""
    found: dict[str, dict[str, dict[str, int]]] = {loop: {} for loop in args.loops}
    for loop in args.loops:
        for system in args.systems:
            command = [sys.executable, "-m", "benchmarks.memory", *argv, "--one", "--systems", system, "--loops", loop]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found[loop][system] = json.loads(output.splitlines()[-1])
    return found


def ratios(found: dict[str, dict[str, int]]) -> dict[str, float]:
    """The JSON keys of a loop: of scope `ffn`, and the same with `_layer`."""
    keys = {"full": "ratio_vs_full", "lora": "ratio_vs_lora", "lora-default": "ratio_vs_lora_default"}
    scopes = {scope: suffix for scope, suffix in {"ffn": "", "layer": "_layer"}.items() if scope in found}
    return {
        key + suffix: found[scope]["peak"] / found[other]["peak"]
        for scope, suffix in scopes.items()
        for other, key in keys.items()
        if other in found
    }


def landermt_gb(found: dict[str, dict[str, int]]) -> float | None:
    """The larger peak of the measured scopes of landermt."""
    return max((found[scope]["peak"] / 1e9 for scope in ("ffn", "layer") if scope in found), default=None)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description=__doc__.splitlines()[0])
    training.add_flags(parser)
    parser.add_argument("--chosen", type=training.layer_list, help="layers, as 3,4,10,11")
    parser.add_argument("--steps", type=int, default=3, help="updates")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parse(parser)
    args.chosen = args.chosen or args.shape.chosen
    if args.one:
        print(json.dumps(measure_one(args)))
        return
    size = training.size_of(args)
    found, base = measure(args, sys.argv[1:]), 2 * args.shape.parameters()
    print(f"{size.words}, {args.threads} thread(s), {machine.device()}")
    print(f"weights in bfloat16 {base / 1e6:,.0f} MB; chosen layers {', '.join(map(str, args.chosen))}")
    print(f"{'loop':<8}{'system':<14}{'trained':>12}{'peak MB':>10}{'bound MB':>10}{'x full':>9}{'x lora':>9}")
    for loop, rows in found.items():
        for system, row in rows.items():
            line = f"{loop:<8}{system:<14}{row['parameters']:>12,}{row['peak'] / 1e6:>10,.0f}"
            line += f"{(base + 14 * row['parameters']) / 1e6:>10,.0f}"
            for other in ("full", "lora"):
                line += f"{row['peak'] / rows[other]['peak']:>9.2f}" if other in rows else " " * 9
            print(line)
    loops = {loop: ratios(rows) for loop, rows in found.items()}
    record = {"benchmark": "memory", "geometry": args.geometry, "machine": platform.machine()}
    record |= {"device": str(machine.device()), "landermt_gb": landermt_gb(found[args.loops[0]])}
    print(json.dumps({**record, **loops[args.loops[0]], "loops": loops, "bytes": found}))


if __name__ == "__main__":
    main()
