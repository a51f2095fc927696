"""All that a plan says, as plain values; and what will not fit."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lander.config import config
from lander.shared.machine import autocasts
from lander.workflow import Plan
from lander.workflow.planning import corpus, jobs, limits, memory
from lander.workflow.planning.base import Shape, network_maker, shape_of
from lander.workflow.planning.corpus import Text
from lander.workflow.planning.machine import Machine
from lander.workflow.planning.training import Training, training

DECODING = 0.1  # of the rate of training: token by token, weights are read more than multiplied
GIGA = 1e9


def make(
    settings: config.Config,
    machine: Machine,
    configfiles: Sequence[Path] = (),
    *,
    count_jobs: bool = True,
    profile: Path | None = None,
) -> dict[str, Any]:
    """A run's plan.

    Args:
        profile: a folder with a profile of Snakemake, whose limits of jobs are looked at; where jobs are counted only.

    Raises:
        UserError: the base's config is not here or not understood; a text or a profile that cannot be read.
    """
    given = limits.flags(profile) if profile else ()
    told = jobs.dry_run(configfiles, given) if count_jobs else None
    network = network_maker(settings)
    shape = shape_of(network())
    texts = corpus.texts(settings)
    dtype = machine.weight_type(settings.model.dtype)
    models = Plan(settings).trained_models
    methods = [
        _method(settings, machine, shape, texts, dtype, training(settings, name, network, shape, texts))
        | {"trainings": sum(model.method == name for model in models)}
        for name in config.trained(settings)
    ]
    stages = _stages(settings, machine, shape, texts, dtype)
    hours = [one["hours"] and one["hours"] * one["trainings"] for one in methods] + [one["hours"] for one in stages]
    plan: dict[str, Any] = {
        "run": settings.run,
        "model": {"path": settings.model.path, "dtype": dtype, **vars(shape)},
        "machine": {
            "device": "gpu" if machine.gpu else "cpu",
            "memory_gb": machine.memory and machine.memory / GIGA,
            "flops": machine.flops,
            "ranks": settings.finetune.ranks,
        },
        "jobs": None if told is None else jobs.counts(told),
        "texts": {name: corpus.plain(text) for name, text in texts.items()},
        "zero_stage": memory.effective_stage(dtype, settings.finetune.zero_stage),
        "methods": methods,
        "stages": stages,
        "hours": sum(one for one in hours if one is not None),
        "hours_complete": None not in hours,
        "disk_gb": _disk(settings, shape, texts, dtype, methods) / GIGA,
    }
    return plan | {"notes": _notes(plan), "warnings": [*_warnings(plan), *_beyond(plan, settings, told, profile)]}


def _beyond(plan: dict[str, Any], settings: config.Config, told: str | None, profile: Path | None) -> list[str]:
    """What will not do with what the profile gives to jobs."""
    if profile is None:
        return []
    if told is None:
        return [f"what {profile} gives to jobs was not looked at, for the jobs were not counted"]
    return limits.warnings(plan, limits.limits(told), checkpoints=settings.finetune.checkpoint_minutes > 0)


def _method(
    settings: config.Config, machine: Machine, shape: Shape, texts: dict[str, Text], dtype: str, one: Training
) -> dict[str, Any]:
    finetune = settings.finetune
    batch = finetune.batch_size
    longest = max(text.longest for text in texts.values())
    predicted = batch * max(text.target for text in texts.values())
    kept = memory.kept(
        shape,
        batch * longest,
        one.depth,
        longest,
        dtype,
        frozen=one.frozen,
        lora="lora" in one.parts,
        recompute=finetune.recompute,
    )
    programs = memory.PROGRAMS if not machine.gpu and autocasts(finetune.precision) else 0
    together = 1 if machine.gpu else finetune.ranks  # processes that share the device's memory
    peaks = {
        stage: together
        * (
            machine.imports
            + memory.finetune(
                gpu=machine.gpu,
                dtype=dtype,
                stage=stage,
                ranks=finetune.ranks,
                parameters=one.parameters,
                trained=one.trained,
                activations=kept + memory.logits(shape, predicted) + programs,
                copy=shape.parameters if "model" in one.parts else 0,
            )
        )
        for stage in memory.STAGES
    }
    rate = machine.flops * (finetune.ranks if machine.gpu else 1)
    return {
        "method": one.method,
        "trained": one.trained,
        "share": one.trained / shape.parameters,
        **({"sizes": one.sizes} if one.sizes else {}),
        "updates": one.updates,
        "flops": one.flops,
        "hours": None if one.flops is None else one.flops / rate / 3600,
        "memory_gb": {str(stage): peak / GIGA for stage, peak in peaks.items()},
        "saved_gb": one.trained * memory.SIZE[dtype] / GIGA,
        "checkpoint_gb": one.trained * 12 / GIGA if finetune.checkpoint_minutes else 0.0,
    }


def _stages(
    settings: config.Config, machine: Machine, shape: Shape, texts: dict[str, Text], dtype: str
) -> list[dict[str, Any]]:
    """The other stages that run the model: memory, and hours where their work is known."""
    weights = shape.parameters * memory.SIZE[dtype]
    longest = max(text.longest for text in texts.values())
    length = sum(text.length for text in texts.values()) / len(texts)
    sentence = sum(text.target for text in texts.values()) / len(texts)
    plan, rows = Plan(settings), []

    def add(stage: str, jobs: int, peak: float, flops: float | None, rate: float = machine.flops) -> None:
        hours = None if flops is None else flops / rate / 3600
        memory_gb = (machine.imports + weights + peak) / GIGA
        rows.append({"stage": stage, "jobs": jobs, "memory_gb": memory_gb, "hours": hours})

    if settings.model.path == "pretrain":
        tokens = settings.pretrain.batch_tokens
        kept = memory.kept(shape, tokens, shape.n_layer, settings.pretrain.context, "float32")
        add("pretrain", 1, 16 * shape.parameters + kept + memory.logits(shape, tokens),
            6 * shape.parameters * settings.pretrain.tokens)  # fmt: skip
    if plan.detects:
        batch, read = settings.activations.batch_size, settings.activations.sentences * len(texts)
        work = 2 * shape.parameters * read * length * len(settings.seeds)
        add("activations", len(texts) * len(settings.seeds), memory.forward(shape, batch * longest, dtype), work)
        batch, read = settings.awareness.batch_size, settings.awareness.sentences * len(settings.awareness.languages)
        kept = memory.kept(shape, batch * longest / 2, shape.n_layer, longest / 2, dtype, frozen=shape.n_layer)
        kept += memory.logits(shape, batch * sentence)
        work = 4 * shape.parameters * read * sentence * len(settings.seeds)
        add("awareness", len(settings.awareness.languages) * len(settings.seeds), kept, work)
    new, beams = settings.translate.max_new_tokens, settings.translate.beams
    sequences = settings.translate.batch_size * beams
    counted = [_lines(settings, name, item) for name, served in plan.tests.items() for item in served]
    decoded = None if None in counted else sum(counted) * len(plan.compared)
    flops = None if decoded is None else 2 * shape.parameters * decoded * beams * length
    peak = memory.decoding(shape, sequences, longest + new, dtype)
    add("translate", len(plan.compared), peak, flops, DECODING * machine.flops)
    return rows


def _lines(settings: config.Config, test: str, direction: str) -> int | None:
    """Sentences of a test set in a direction."""
    wanted = next(one for one in settings.directions if str(one) == direction)
    served = [source for source in settings.data.test if source.name == test and source.serves(wanted)]
    counted = [corpus.count(source, (wanted.source, wanted.target)) for source in served]
    return None if None in counted else sum(counted)


def _disk(
    settings: config.Config, shape: Shape, texts: dict[str, Text], dtype: str, methods: list[dict[str, Any]]
) -> float:
    """Bytes that the run writes, a download of the base included."""
    models = GIGA * sum(one["saved_gb"] * one["trainings"] for one in methods)
    checkpoints = 2 * GIGA * max((one["checkpoint_gb"] for one in methods), default=0)
    pairs = sum((text.pairs or 0) * text.length * 4 for text in texts.values())  # four bytes a token, about
    tables = shape.n_layer * shape.n_neurons * 20 * (2 * len(texts) + len(settings.awareness.languages))
    base = config.find_base(settings.model.path, settings.pretrain.n_layer)
    download = shape.parameters * 2 if base.kind == "hub" else 0
    return models + checkpoints + (pairs * 2 + tables) * len(settings.seeds) + download


def _notes(plan: dict[str, Any]) -> list[str]:
    """What the numbers rest on."""
    notes = [
        f"hours: operations at {plan['machine']['flops']:.3g} a second and device (--flops), decoding at a tenth of "
        "that; tiny models and short jobs take longer, for loading",
        "memory: the first and the last layers are taken for the chosen ones, and the longest pair of a sample for all",
    ]
    unknown = [name for name, text in plan["texts"].items() if text["pairs"] is None]
    bounded = [name for name, text in plan["texts"].items() if not text["counted"] and text["pairs"] is not None]
    guessed = [name for name, text in plan["texts"].items() if not text["sampled"]]
    if unknown:
        notes.append(f"pairs not known before a download: {' '.join(unknown)} (data.max_pairs or finetune.steps helps)")
    if bounded:
        notes.append(f"pairs taken to be data.max_pairs, for their texts were not counted: {' '.join(bounded)}")
    if guessed:
        notes.append(f"lengths of sentences guessed, for there is no text to look at: {' '.join(guessed)}")
    if plan["machine"]["device"] == "gpu":
        notes.append("memory of a GPU is computed from what the optimizer keeps, and was not compared with a GPU")
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
