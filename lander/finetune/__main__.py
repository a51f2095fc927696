"""Finetune a model by one method, on one process or (through torchrun) several.

Paper: sections 3.3 and 4.2.

Reads:  <run>/data/s<seed>/train/<direction>.parquet, <run>/masks/<variant>/s<seed>/<direction>.parquet, the base
Writes: <run>/finetune/<method>/<variant>/s<seed>/   the model (see `lander.finetune.saved`; lander.json comes last)
            loss.csv   update, direction, loss, tokens, learning_rate
            run.json   settings, versions, parameters trained, sizes of adapters, peak memory, what routing does to the
                        base before training (`damage_at_start`, nats per token), and the cost: seconds (of all
                        processes, if it was stopped: up to the checkpoint from which the next went on), tokens
                        predicted (`tokens`) and read (`tokens_read`), `flops` (see `lander.finetune.cost`)
        <run>/checkpoints/...   while training

Example:
    python -m lander.finetune --method landermt --model lander-tiny --train en-de.parquet de-en.parquet \\
        --directions en-de de-en --languages '{"en": "English", "de": "German"}' --masks masks --steps 100 \\
        --out landermt
"""

import argparse
import contextlib
import hashlib
import json
import time
from array import array
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist

from lander.config.finetune import Training
from lander.config.masks import Routing
from lander.config.methods import MASKED, METHODS, TRAINED, Adapter, Lora
from lander.data.templates import Template, load_templates
from lander.finetune import checkpoint, saved
from lander.finetune.cost import Spent, training_cost
from lander.finetune.curves import Curves
from lander.finetune.engine import end_processes, start_processes
from lander.finetune.methods import count, prepare
from lander.finetune.schedule import Pairs, Schedule
from lander.finetune.trainer import train
from lander.models import loading
from lander.models.flags import add_model_flags, add_prompt_flags
from lander.models.tokens import Codec
from lander.shared import guard, machine, provenance, tables
from lander.shared.digest import code_digest
from lander.shared.errors import UserError, run_main
from lander.shared.files import whole_file, write_json
from lander.shared.languages import parse_direction
from lander.shared.section import add_flags, names_of, settings

PIECE = 1_000  # pairs that are tokenized together: as lists, tokens take many times what they take in `Pairs`

# Flags that may change between a training and the one that goes on from its checkpoint
FREE = ("out", "checkpoints", "checkpoint_minutes", "threads", "zero_stage", "recompute", "report_to")


def tokenize(
    parts: Iterable[Mapping[str, Any]], codec: Codec, templates: list[Template], names: tuple[str, str], max_length: int
) -> Pairs:
    """Tokens of a direction's training pairs. Pairs over `max_length` tokens are left out and counted.

    `parts` of the table have the columns source, target, template; `names` of the languages are for the prompts.
    """
    tokens, ends, prompts, too_long = array("i"), array("q"), array("i"), 0
    for part in parts:
        sources, targets, numbers = (list(part[name]) for name in ("source", "target", "template"))
        for start in range(0, len(sources), PIECE):
            here = slice(start, start + PIECE)
            filled = [templates[n].fill(source, *names) for n, source in zip(numbers[here], sources[here], strict=True)]
            for prompt, target in zip(codec.prompts(filled), codec.targets(targets[here]), strict=True):
                if len(prompt) + len(target) > max_length:
                    too_long += 1
                    continue
                tokens.extend(prompt)
                tokens.extend(target)
                ends.append(len(tokens))
                prompts.append(len(prompt))
    return Pairs(np.array(tokens, np.int32), np.array(ends, np.int64), np.array(prompts, np.int32), too_long)


def read_pairs(args: argparse.Namespace, codec: Codec, masks: Mapping[str, pd.DataFrame]) -> dict[str, Pairs]:
    """The training pairs of every direction; if there are masks, of those that have one."""
    templates = load_templates(args.templates)
    pairs = {}
    for direction, path in zip(args.directions, args.train, strict=True):
        if masks and str(direction) not in masks:  # it runs the base's graph, and nothing of it is trained
            continue
        names = args.languages[direction.source], args.languages[direction.target]
        parts = (part.to_pydict() for part in tables.read_chunks(path, "train", ("source", "target", "template")))
        pairs[str(direction)] = found = tokenize(parts, codec, templates, names, args.max_length)
        if not len(found):
            raise UserError(f"{path}: no pair of at most {args.max_length} tokens to train on; see finetune.max_length")
    if not pairs:
        names = ", ".join(map(str, args.directions))
        raise UserError(f"{args.masks}: no mask for any of {names}, so there is nothing to train")
    return pairs


def fingerprint(
    args: argparse.Namespace, base: str, pairs: dict[str, Pairs], masks: dict[str, pd.DataFrame]
) -> dict[str, str]:
    """What a checkpoint must share with a training that goes on from it, as part -> digest or version."""
    flags = {key: str(value) for key, value in vars(args).items() if key not in FREE}
    text, chosen = hashlib.sha256(), hashlib.sha256()
    for name, value in pairs.items():
        text.update(name.encode() + value.tokens.tobytes() + value.ends.tobytes() + value.prompt_lengths.tobytes())
    for name, mask in masks.items():
        chosen.update(name.encode() + pd.util.hash_pandas_object(mask, index=False).to_numpy().tobytes())
    return {
        "settings": hashlib.sha256(json.dumps(flags).encode()).hexdigest(),
        "base": base,
        "text": text.hexdigest(),
        "masks": chosen.hexdigest(),
        "code": code_digest("lander.finetune"),
        **{name: version(name) for name in ("torch", "deepspeed", "transformers", "peft")},
    }


def write_record(args: argparse.Namespace, pairs: dict[str, Pairs], log: pd.DataFrame, facts: dict[str, Any]) -> None:
    """Write loss.csv and run.json: settings, code, machine, versions, cost, and the given facts."""
    record = {
        "settings": json.loads(json.dumps(vars(args), default=str)),  # paths and directions as text
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "tokens": int(log["tokens"].sum()) if len(log) else 0,
        "pairs": {name: {"used": len(value), "too_long": value.too_long} for name, value in pairs.items()},
        **provenance.collect(),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    with whole_file(args.out / "loss.csv") as temporary:
        log.to_csv(temporary, index=False, lineterminator="\n")
    write_json(args.out / "run.json", record | facts)


def main() -> None:
    """Train in all processes; the first one writes, and keeps others out of the model's folder."""
    parser = argparse.ArgumentParser(prog="lander.finetune", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--method", choices=TRAINED, required=True)
    add_model_flags(parser)
    add("--train", type=Path, nargs="+", required=True, help="training pairs, one table per direction")
    add("--directions", type=parse_direction, nargs="+", required=True, help="their directions, in the same order")
    add_prompt_flags(parser)
    add("--masks", type=Path, help="folder of <direction>.parquet, for methods that use masks")
    add("--routes", type=parse_direction, nargs="*", default=[], help="directions with masks (default: --directions)")
    add("--seed", type=int, default=0)
    add_flags(parser, Training, *names_of(Training, "ranks"))
    add_flags(parser, Routing, "scale", "gate", "noise")
    add_flags(parser, Lora, "rank", "alpha", "targets", prefix="lora-")
    add_flags(parser, Adapter, "bottleneck")
    add("--budget-layers", type=int, help="for adapters and lora-matched: as many parameters as so many layers")
    add("--budget-share", type=float, default=1.0, help="of their neurons, with the scope neurons (default: 1)")
    add("--keep-diverged", action="store_true", help="write the model of a training that diverges (trials of a rate)")
    add("--checkpoints", type=Path, help="folder of checkpoints; removed when the model is written (default: none)")
    add("--out", type=Path, required=True, help="folder of the model")
    args = parser.parse_args()
    args.learning_rate = args.learning_rate or METHODS[args.method].rate
    if args.method in MASKED and args.masks is None:
        raise UserError(f"--masks: {args.method} needs a folder of masks")
    spent = Spent(time.monotonic())
    machine.prepare(args.threads)
    start_processes()
    with guard.output_held(args.out) if dist.get_rank() == 0 else contextlib.nullcontext():
        finetune(args, spent)
    end_processes()


def finetune(args: argparse.Namespace, spent: Spent) -> None:
    """Read the base, the masks and the pairs; prepare the method; train; write the model."""
    torch.manual_seed(args.seed)
    network, codec = loading.load(args.model, args.revision, args.dtype, args.prompt)
    masked = args.method in MASKED
    masks = saved.read_masks(args.masks, list(map(str, args.routes or args.directions))) if masked else {}
    pairs = read_pairs(args, codec, masks)
    schedule = Schedule(pairs, args.batch_size, args.seed)
    together = len(pairs) if args.mix_directions else 1
    accumulate = args.accumulate or len(pairs) // together
    steps = args.steps if args.steps is not None else schedule.updates(args.epochs, accumulate * together)
    training = settings(Training, args).changed({"steps": steps, "accumulate": accumulate})
    total = sum(parameter.numel() for parameter in network.parameters())
    prepared = prepare(
        args.method,
        network,
        masks=masks,
        trained_in=frozenset(map(str, args.directions)),
        routing=settings(Routing, args),
        scope=args.scope,
        lora=settings(Lora, args, "lora-"),
        bottleneck=args.bottleneck,
        budget_layers=args.budget_layers,
        budget_share=args.budget_share,
    )
    facts = {
        "updates": steps,
        "parameters_trained": count(prepared.groups),
        "parameters_total": total,
        "sizes": prepared.sizes,
        **training_cost(prepared, schedule, steps * accumulate * together),
    }
    digest = loading.digest(args.model, args.revision)
    manifest = {
        "method": args.method,
        "seed": args.seed,
        "base": {**loading.place(args.model, args.revision), "digest": digest},
        "prompt": codec.style,
        "directions": [str(direction) for direction in args.directions],
        "languages": args.languages,
        "templates": [template.text for template in load_templates(args.templates)],
        "masked": list(masks),
        "routing": {"scale": args.scale, "gate": args.gate} if masked else None,
        "sizes": prepared.sizes,
    }
    same = fingerprint(args, digest, pairs, masks)
    curves = Curves(args.report_to if dist.get_rank() == 0 else (), args.out)
    masters, log, damage = train(
        prepared, schedule, codec, training, args.checkpoints, same, spent, args.keep_diverged, curves
    )
    if dist.get_rank() == 0:
        write_record(args, pairs, log, facts | {"damage_at_start": damage} | spent.record())
        saved.save(args.out, prepared, masters, codec, masks, manifest)
        if args.checkpoints:
            checkpoint.remove(args.checkpoints)


if __name__ == "__main__":
    run_main(main, "finetune")
