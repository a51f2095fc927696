"""All that a plan says, as plain values: sizes, memory, hours, disk; what does not fit, and what is not known."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lander.config import config
from lander.config.methods import METHODS
from lander.finetune.methods import count
from lander.shared.machine import autocasts
from lander.workflow import Plan
from lander.workflow.planning import jobs, machine, memory, networks, texts
from lander.workflow.planning.machine import Machine
from lander.workflow.planning.networks import Base
from lander.workflow.planning.texts import Text

GIGA = 1e9


def make(
    settings: config.Config,
    of: Machine,
    configfiles: Sequence[Path] = (),
    *,
    count_jobs: bool = True,
    profile: Path | None = None,
) -> dict[str, Any]:
    """A run's plan for a machine.

    Args:
        profile: folder of a profile of Snakemake, whose limits of jobs are compared; only where jobs are counted.

    Raises:
        UserError: the base's config is not here or not understood; a text or a profile that cannot be read.
    """
    left = jobs.dry_run(configfiles, profile) if count_jobs else None
    base, found = networks.base_of_run(settings), texts.texts(settings)
    dtype, models = of.weight_type(settings.model.dtype), Plan(settings).trained_models
    methods, sizes = [], {}
    for name in config.trained(settings):
        method, sizes[name] = _method(settings, of, base, found, dtype, name)
        methods.append(method | {"trainings": sum(model.method == name for model in models)})
    rates = machine.rates(settings, of, base, found, sizes)
    ranks = settings.finetune.ranks
    for one in methods:
        rate = rates.get(machine.kind_of(one["method"]), 0) * (ranks if of.gpu else 1)
        one["hours"] = one["flops"] / rate / 3600 if rate and one["flops"] is not None else None
    stages = _stages(settings, of, base, found, dtype, rates)
    hours = [one["hours"] and one["hours"] * one["trainings"] for one in methods] + [one["hours"] for one in stages]
    plan: dict[str, Any] = {
        "run": settings.run,
        "model": {"path": settings.model.path, "dtype": dtype, "parameters": base.parameters}
        | {"n_layer": base.n_layer, "n_neurons": base.n_neurons},
        "machine": {
            "device": "gpu" if of.gpu else "cpu",
            "memory_gb": of.memory and of.memory / GIGA,
            "flops": rates,
            "ranks": ranks,
        },
        "jobs": left and {rule: one["jobs"] for rule, one in left.items()},
        "texts": {name: asdict(text) for name, text in found.items()},
        "zero_stage": memory.effective_stage(dtype, settings.finetune.zero_stage),
        "methods": methods,
        "stages": stages,
        "hours": sum(one for one in hours if one is not None),
        "hours_complete": None not in hours,
        "disk_gb": _disk(settings, base, found, methods) / GIGA,
    }
    notes = _notes(settings, of, plan, left if count_jobs else {}, profile)
    warnings = _warnings(plan)
    if profile and left:
        warnings += jobs.beyond(plan, left, checkpoints=settings.finetune.checkpoint_minutes > 0)
    return plan | {"notes": notes, "warnings": warnings}


def _method(
    settings: config.Config, of: Machine, base: Base, found: dict[str, Text], dtype: str, method: str
) -> tuple[dict[str, Any], dict[str, int]]:
    """What a method trains and takes, and the sizes of what it adds."""
    finetune = settings.finetune
    prepared = networks.made_ready(settings, method, networks.make_network(base.read, dtype))
    trained, total = count(prepared.groups), sum(one.numel() for one in prepared.network.parameters())
    steps = networks.updates(settings, found) if trained else 0
    work = networks.training_flops(settings, prepared, found, steps)
    batch = memory.batch_of(finetune.batch_size, *_longest(found))
    half = not of.gpu and autocasts(finetune.precision)
    kept = memory.micro_batch(prepared, next(iter(found)), batch, autocast=half, again=finetune.recompute)
    peaks = {
        str(stage): memory.training(
            gpu=of.gpu,
            dtype=dtype,
            stage=stage,
            ranks=finetune.ranks,
            parameters=total,
            trained=trained,
            activations=memory.beyond_tensors(of.gpu, half, kept),
            copy=base.parameters if "model" in METHODS[method].parts else 0,
        )
        for stage in memory.STAGES
    }
    together = 1 if of.gpu else finetune.ranks  # processes that share the device's memory
    return {
        "method": method,
        "trained": trained,
        "share": trained / base.parameters,
        **({"sizes": prepared.sizes} if prepared.sizes else {}),
        "updates": steps,
        "flops": work,
        "memory_gb": {stage: together * (of.imports + peak) / GIGA for stage, peak in peaks.items()},
        "saved_gb": trained * memory.SIZE[dtype] / GIGA,
        "checkpoint_gb": trained * 12 / GIGA if finetune.checkpoint_minutes else 0.0,
    }, prepared.sizes


def _longest(found: dict[str, Text]) -> tuple[float, float]:
    """Tokens of the longest pair, and of the translations in the longest micro-batch."""
    return max(text.longest for text in found.values()), max(text.predicted for text in found.values())


def _stages(
    settings: config.Config, of: Machine, base: Base, found: dict[str, Text], dtype: str, rates: dict[str, float]
) -> list[dict[str, Any]]:
    """The other stages that run the model: memory, and hours where their work is known."""
    weights = base.parameters * memory.SIZE[dtype]
    longest, predicted = _longest(found)
    length, sentence = (
        sum(part) / len(found) for part in zip(*((t.length, t.target) for t in found.values()), strict=True)
    )
    seeds, plan, rows = len(settings.seeds), Plan(settings), []

    def add(stage: str, number: int, peak: float, flops: float | None, rate: str) -> None:
        hours = flops / rates[rate] / 3600 if rates and flops is not None else None
        memory_gb = (of.imports + weights + memory.beyond_tensors(of.gpu, False, peak)) / GIGA
        rows.append({"stage": stage, "jobs": number, "memory_gb": memory_gb, "hours": hours})

    def network() -> Any:
        return networks.make_network(base.read, dtype)

    if settings.model.path == "pretrain":
        made = settings.pretrain
        batch = memory.batch_of(max(1, made.batch_tokens // made.context), made.context, made.context - 1)
        full = networks.made_ready(settings, "full", networks.make_network(base.read))
        kept = memory.micro_batch(full, "", batch, autocast=autocasts("auto"), again=False)
        add("pretrain", 1, kept + 12 * base.parameters, 6 * base.parameters * made.tokens, "full")
    if plan.detects:
        read = settings.activations
        work = 2 * base.inside * read.sentences * len(found) * length * seeds
        kept = memory.reading(network(), memory.batch_of(read.batch_size, longest, 1))
        add("activations", len(found) * seeds, kept, work, "read")
        read = settings.awareness
        languages = len(read.languages)
        batch = memory.batch_of(
            read.batch_size, *((predicted, predicted - 1) if read.text == "monolingual" else (longest, predicted))
        )
        kept = memory.awareness(network(), batch)
        work = 4 * (base.inside + base.head) * read.sentences * languages * sentence * seeds
        add("awareness", languages * seeds, kept, work, "full")
    tests = [one for name, served in plan.tests.items() for one in (_lines(settings, name, item) for item in served)]
    sequences, new = settings.translate.batch_size * settings.translate.beams, settings.translate.max_new_tokens
    decoded = None if None in tests else sum(tests) * len(plan.compared) * settings.translate.beams
    work = None if decoded is None else 2 * (base.inside + base.head) * decoded * sentence
    prompt = longest - predicted
    cache = 2 * base.n_layer * base.kv_width * sequences * (prompt + new) * memory.SIZE[dtype]
    references = memory.batch_of(settings.translate.batch_size, longest, predicted)
    kept = memory.translating(network(), references, memory.batch_of(sequences, prompt, 1), cache)
    add("translate", len(plan.compared), kept, work, "decode")
    return rows


def _lines(settings: config.Config, test: str, direction: str) -> int | None:
    """Sentences of a test set in a direction."""
    wanted = next(one for one in settings.directions if str(one) == direction)
    served = [source for source in settings.data.test if source.name == test and source.serves(wanted)]
    counted = [texts.count(source, (wanted.source, wanted.target)) for source in served]
    return None if None in counted else sum(counted)


def _disk(settings: config.Config, base: Base, found: dict[str, Text], methods: list[dict[str, Any]]) -> float:
    """Bytes that the run writes, a download of the base included."""
    models = GIGA * sum(one["saved_gb"] * one["trainings"] for one in methods)
    checkpoints = 2 * GIGA * max((one["checkpoint_gb"] for one in methods), default=0)
    pairs = sum((text.pairs or 0) * text.length * 4 for text in found.values())  # four bytes a token, about
    tables = base.n_layer * base.n_neurons * 20 * (2 * len(found) + len(settings.awareness.languages))
    hub = config.find_base(settings.model.path, settings.pretrain.n_layer).kind == "hub"
    return models + checkpoints + (pairs * 2 + tables) * len(settings.seeds) + base.parameters * 2 * hub


def _notes(
    settings: config.Config, of: Machine, plan: dict[str, Any], left: jobs.Jobs | None, profile: Path | None
) -> list[str]:
    """What the numbers rest on, and what is not known."""
    rates = ", ".join(f"{name} {rate:.2g}" for name, rate in plan["machine"]["flops"].items())
    source = "given by --flops" if of.flops else "measured here just now on two layers of the base"
    notes = [
        f"hours: from FLOP/s {source} ({rates}); starting a job takes seconds more"
        if rates
        else "hours are not known: no GPU is here to measure; give its FLOP/s with --flops, as 3e14",
        "memory: the first and the last layers are taken for the chosen ones; the longest pairs of a sample for all",
    ]
    unknown = [name for name, text in plan["texts"].items() if text["pairs"] is None]
    bounded = [name for name, text in plan["texts"].items() if not text["counted"] and text["pairs"] is not None]
    guessed = [name for name, text in plan["texts"].items() if not text["sampled"]]
    if unknown:
        notes.append(f"pairs not known before a download: {' '.join(unknown)} (data.max_pairs or finetune.steps helps)")
    if bounded:
        notes.append(f"texts not counted, data.max_pairs taken for them: {' '.join(bounded)}")
    if guessed:
        notes.append(f"lengths of sentences not known, 120 tokens a pair taken: {' '.join(guessed)}")
    if settings.awareness.estimator == "ablation":
        notes.append("awareness: memory and hours are those of taylor; ablation takes many times longer")
    if of.gpu:
        notes.append("memory of a GPU follows from the tensors and was not compared with a GPU")
    if left is None:
        limits = f", nor the limits of {profile} compared" if profile else ""
        notes.append(f"the jobs could not be counted{limits}: Snakemake's dry run failed; `snakemake -n` says why")
    return notes


def _warnings(plan: dict[str, Any]) -> list[str]:
    """What will not fit."""
    have, stage = plan["machine"]["memory_gb"], str(plan["zero_stage"])
    warnings = []
    if have is None:
        warnings.append("the memory of the device is not known; give it with --memory, in GB")
        have = float("inf")
    for one in plan["methods"]:
        need = one["memory_gb"]
        if need[stage] > have:
            fits = [other for other, size in need.items() if size <= have]
            remedy = f"finetune.zero_stage: {fits[0]} fits" if fits else (
                "no ZeRO stage fits; use more ranks, a smaller batch or finetune.recompute, or leave the method out"
            )  # fmt: skip
            warnings.append(
                f"{one['method']} needs {need[stage]:.1f} GB at ZeRO stage {stage}, there are {have:.1f}; {remedy}"
            )
    warnings += [
        f"{one['stage']} needs {one['memory_gb']:.1f} GB, there are {have:.1f}; lower {one['stage']}.batch_size"
        for one in plan["stages"]
        if one["memory_gb"] > have
    ]
    free = shutil.disk_usage(".").free / GIGA
    if plan["disk_gb"] > free:
        warnings.append(f"the run writes {plan['disk_gb']:.1f} GB, and {free:.1f} GB are free on this disk")
    return warnings
