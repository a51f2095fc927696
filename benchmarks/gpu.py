"""What a large model costs on a GPU: training, scoring and decoding at the geometry of BLOOM-7b1, random weights.

    python -m benchmarks.gpu
    python -m benchmarks.gpu --geometry gemma270
    python -m benchmarks.gpu --geometry tiny --batch 4 --rounds 2     # on a CPU too

Goal: `utilisation` of at least 0.46 for landermt (`ffn`, `layer`), that is 46% of 790 TFLOP/s. Not measured yet.

Measured: each system trains in its own process, as `lander.finetune` does, so that its peak memory is known: allocated
by PyTorch on a GPU, resident above the imports on a CPU. A system that does not fit is tried once more with recomputing
(`finetune.recompute`); recomputed operations do not count as needed. A batch takes random pairs and pads them to the
longest. With --by-length it takes pairs of similar length, as a training does. Padding tokens do not count. Scoring of
all layers takes turns with a forward pass over the same batches. Decoding writes 32 tokens with a routed model and with
the base's own `generate`. Tokens/s and utilisation are medians over rounds.

Bound: the rate of bare products (--peak; the default is 790 TFLOP/s, what an H200 reaches in bfloat16).
`utilisation` is the share of it that the needed operations of the tokens reach (`lander.finetune.cost`). Peers: full
finetuning, PEFT's LoRA, and the base's own `generate`.

Lengths (`LENGTHS`, or --lengths FILE): NTREX-128, en to and from de, it, fr, ar and zh, 19,970 pairs, with the prompt
in the first template of lander/data/templates.yaml, in tokens of the built-in lander-tiny. They are sorted by length
and cut into 32 equal parts; the table has the means of each part. The overall mean is 181 tokens. BLOOM's own tokenizer
makes fewer.
JSON: `memory_vs_full`, `scoring_vs_forward`, `decode_vs_base`, `seconds`, `chosen`, `device`; per system and batch also
utilisation, tokens_per_s, peak_gb and recomputed.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks import _training as training
from benchmarks import memory, translate
from benchmarks._detection import Detection
from benchmarks._geometry import GEOMETRIES
from benchmarks._measuring import measure, ratio
from lander.config.methods import Lora
from lander.finetune import methods
from lander.finetune.cost import training_cost
from lander.finetune.schedule import POOL, Pairs, Schedule
from lander.models import families, loading
from lander.models.tokens import Codec
from lander.shared import machine
from lander.translate.translator import Decoding, Translator

SYSTEMS = ("ffn", "layer", "lora", "full")
PASSES, NEW = "passes", 32  # the process that scores and decodes; tokens to write
H200 = 790e12  # bfloat16 operations a second of bare products; 989e12 in its data sheet
LENGTHS = (  # tokens of prompt and translation, the end token with it
    *((48, 14), (56, 22), (62, 28), (66, 32), (69, 35), (72, 38), (75, 42), (78, 45), (81, 47), (84, 50), (87, 53)),
    *((90, 56), (93, 59), (95, 61), (98, 65), (102, 68), (105, 71), (108, 74), (111, 77), (114, 80), (118, 84)),
    *((121, 88), (125, 91), (128, 95), (132, 99), (137, 103), (141, 107), (147, 113), (153, 120), (163, 129)),
    *((176, 142), (204, 170)),
)


def schedule_of(args: argparse.Namespace) -> Schedule:
    """Random tokens of the wanted lengths: a batch for each round and for the one before."""
    rows, draw = args.batch[0], np.random.default_rng(0)
    n = rows * (POOL if args.by_length else args.rounds + 1)
    text = [line.split("\t") for line in args.lengths.read_text().splitlines()] if args.lengths else LENGTHS
    lengths = np.array(text, dtype=np.int64)[draw.integers(len(text), size=n)]  # (pairs, 2)
    sequence = draw.integers(4, args.shape.config.vocab_size, lengths.sum(), dtype=np.int32)
    pairs = Pairs(sequence, lengths.sum(1).cumsum(), lengths[:, 0].astype(np.int32))
    epochs = {} if args.by_length else {(training.DIRECTION, 0): list(np.arange(n).reshape(-1, rows))}
    return Schedule({training.DIRECTION: pairs}, rows, 0, epochs)


def prepared(system: str, args: argparse.Namespace) -> methods.Prepared:
    """A base as `lander.models.loading` loads it, prepared for a system."""
    network = args.shape.make()
    families.fuse_activations(network)
    if system in ("full", "lora"):
        return methods.prepare(system, network, lora=Lora(rank=training.RANK, alpha=2 * training.RANK))
    masks = training.masks(families.ffn_of(network, 0).n_neurons, args.chosen, absent=0.0)
    return methods.prepare("landermt", network, masks=masks, scope=system)


def train_one(system: str, args: argparse.Namespace) -> dict:
    """In its own process: seconds, tokens and operations of each round, and the peak in bytes."""
    import peft  # noqa: F401

    from lander.finetune.engine import end_processes, import_deepspeed, start_processes

    import_deepspeed()
    start_processes()
    schedule, found = schedule_of(args), {}

    def run() -> None:
        ready = prepared(system, args)
        if args.recompute:
            ready.network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        parameters = sum(parameter.numel() for parameter in ready.trained().values())
        costs = [training_cost(ready, schedule, n) for n in range(1, args.rounds + 2)]
        flops, read = (np.diff([cost[key] for cost in costs]).tolist() for key in ("flops", "tokens_read"))
        step = training.engine_step(ready, schedule, loading.load_codec("lander-tiny"), args.shape)
        seconds = measure({system: step}, args.rounds)
        found.update(seconds=seconds[system], tokens=read, flops=flops, parameters=parameters)

    peak = memory.peak_of(run)
    end_processes()
    return found | {"peak": peak, "recomputed": args.recompute}


def passes(args: argparse.Namespace) -> dict[str, list[float]]:
    """In its own process: seconds of decoding and of scoring, each beside the base's."""
    network, schedule, codec = args.shape.make(), schedule_of(args), loading.load_codec("lander-tiny")
    pairs = schedule.pairs[training.DIRECTION]
    batches = [[pairs[index] for index in schedule.indices(number)] for number in range(min(4, args.rounds + 1))]
    seconds = decoding(args, network, codec, [sequence[:prompt] for sequence, prompt in batches[0]])
    families.fuse_activations(network)
    padded = [codec.pad_right([sequence for sequence, _ in batch], [0] * len(batch)) for batch in batches]
    made = [Detection(network, batch.to(machine.device()), "") for batch in padded]
    found = {"forward": lambda: [one.forward() for one in made], "scoring": lambda: [one.awareness() for one in made]}
    return seconds | measure(found, args.rounds)


def decoding(
    args: argparse.Namespace, network: nn.Module, codec: Codec, prompts: list[list[int]]
) -> dict[str, list[float]]:
    """Seconds of the base's own `generate` and of a routed model that never writes its end token."""
    ready = prepared("ffn", args)
    ready.router.direction = training.DIRECTION
    ready.network.requires_grad_(False).generation_config.min_new_tokens = NEW
    routed = Translator(ready.network, codec)
    found = {
        "base": translate.generation(network, codec.pad_left(prompts).input_ids, NEW),
        "routed": lambda: routed.generate(prompts, Decoding(max_new_tokens=NEW)),
    }
    return measure(found, args.rounds)


def start(what: str, rows: int, *flags: str) -> dict:
    """`train_one` or `passes` in its own process; empty if it does not fit or fails (its stderr shows why)."""
    command = [sys.executable, "-m", "benchmarks.gpu", *sys.argv[1:], "--one", what, "--batch", str(rows), *flags]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}


def show(system: str, rows: int, found: dict, peak: float | None) -> dict[str, float | None]:
    """Print a line of the table. Returns its JSON keys, null for what did not fit or has no peak rate."""
    figures: dict[str, float | None] = dict.fromkeys(("utilisation", "tokens_per_s", "peak_gb", "recomputed"))
    line = f"{system:<10}{rows:>6}  does not fit"
    if found:
        rounds = list(zip(found["seconds"], found["tokens"], found["flops"], strict=True))
        median, rate = statistics.median(found["seconds"]), statistics.median(flops / s for s, _, flops in rounds)
        speed, size, used = statistics.median(n / s for s, n, _ in rounds), found["peak"] / 1e9, rate / (peak or 1)
        figures |= {"utilisation": used if peak else None, "tokens_per_s": speed, "peak_gb": size}
        line = f"{system:<10}{rows:>6}{found['parameters']:>15,}{median:>10.4f}{speed:>10,.0f}{rate / 1e12:>10.3f}"
        line += f"{f'{used:.1%}' if peak else '-':>8}{size:>10.3f}" + "  recomputed" * found["recomputed"]
        figures["recomputed"] = found["recomputed"]
    print(line, flush=True)
    return {f"{key}_{system}_{rows}": value for key, value in figures.items()}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--geometry", choices=GEOMETRIES, default="bloom7b1", help="shape of the model")
    add("--batch", type=int, nargs="+", default=[8, 32], help="sequences of a step")
    add("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    add("--chosen", type=training.layer_list, help="layers, as 7,10,25,27")
    add("--lengths", type=Path, help="lines of two numbers with a tab between: tokens of a prompt, of its translation")
    add("--by-length", action="store_true", help="pairs of similar length share a batch, as in a training")
    add("--recompute", action="store_true", help="activations are computed again in the backward pass")
    add("--rounds", type=int, default=7)
    add("--threads", type=int, default=1)
    add("--peak", type=float, default=H200 if torch.cuda.is_available() else None, help="operations a second")
    add("--one", choices=[*SYSTEMS, PASSES], help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.shape = GEOMETRIES[args.geometry]
    args.chosen = args.chosen or args.shape.chosen
    return args


def main() -> None:
    args = parse()
    if not torch.cuda.is_available() and args.geometry == "bloom7b1":
        print("benchmarks.gpu needs a GPU, or a smaller geometry: --geometry tiny")
        return
    machine.prepare(args.threads)
    if args.one:
        try:
            print(json.dumps(passes(args) if args.one == PASSES else train_one(args.one, args)))
        except (torch.OutOfMemoryError, MemoryError):
            print("{}")
        return
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    print(f"{args.shape.words}, {device},")
    print(f"chosen layers {', '.join(map(str, args.chosen))}; {args.rounds} rounds")
    heads = {"trained": 15, "median s": 10, "tokens/s": 10, "TFLOP/s": 10, "used": 8, "peak GB": 10}
    print(
        "used: of the bound" + (f", {args.peak / 1e12:,.0f} TFLOP/s" if args.peak else ", which is not known (--peak)")
    )
    print(f"{'system':<10}{'batch':>6}" + "".join(f"{head:>{width}}" for head, width in heads.items()))
    first, figures = args.batch[0], {}
    for rows in args.batch:
        for system in args.systems:
            found = start(system, rows) or start(system, rows, "--recompute")
            figures |= show(system, rows, found, args.peak)
    ours, full = (figures.get(f"peak_gb_{system}_{first}") for system in ("ffn", "full"))
    figures["memory_vs_full"] = ours / full if ours and full else None
    seconds = start(PASSES, first)
    for key, one, other in (("scoring_vs_forward", "scoring", "forward"), ("decode_vs_base", "base", "routed")):
        figures[key] = ratio(seconds[one], seconds[other]) if seconds else None
        print(f"{key:<20}" + (f"{figures[key]:.2f}" if seconds else "does not fit"))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(*(f"{name}: {first * NEW / medians[name]:,.0f} tokens/s" for name in ("base", "routed") if seconds), sep=", ")
    record = {
        "benchmark": "gpu",
        "geometry": args.geometry,
        "machine": platform.machine(),
        "device": device,
        "chosen": args.chosen,
    }
    print(json.dumps(record | figures | {"seconds": medians}))


if __name__ == "__main__":
    main()
