"""All that a plan says, as plain values and as text: sizes, memory, hours, disk; what does not fit or is not known."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from lander.config import config
from lander.config.methods import METHODS
from lander.finetune.halves import halve
from lander.finetune.methods import count
from lander.report.tables import MISSING, Table, duration, markdown, quantity
from lander.shared.languages import parse_direction
from lander.shared.machine import autocasts
from lander.workflow import Plan
from lander.workflow.planning import jobs, machine, memory, networks, texts

GIGA = 1e9


def make(
    settings: config.Config, of: machine.Machine, files: Sequence[Path] | None = None, profile: Path | None = None
) -> dict[str, Any]:
    """A run's plan for a machine.

    With the config's `files`, the jobs that are left are counted, and compared with the limits of a profile's folder.
    """
    left = {} if files is None else jobs.dry_run(files, profile)
    run = _Run(settings, of)
    base, methods, stages = run.base, [run.method(name) for name in run.plan.trained], run.stages()
    hours = [one["hours"] and one["hours"] * one["trainings"] for one in methods] + [one["hours"] for one in stages]
    sizes = {"parameters": base.parameters, "n_layer": base.n_layer, "n_neurons": base.n_neurons}
    device = {"device": "gpu" if of.gpu else "cpu", "memory_gb": of.memory and of.memory / GIGA}
    plan: dict[str, Any] = {
        "run": settings.run,
        "model": {"path": settings.model.path, "dtype": run.dtype, **sizes},
        "machine": {**device, "flops": run.rates, "ranks": settings.finetune.ranks},
        "jobs": None if files is None or left is None else {rule: one["jobs"] for rule, one in left.items()},
        "texts": {name: asdict(text) for name, text in run.texts.items()},
        "zero_stage": memory.effective_stage(run.dtype, settings.finetune.zero_stage),
        "methods": methods,
        "stages": stages,
        "hours": sum(one for one in hours if one is not None),
        "hours_complete": None not in hours,
        "disk_gb": run.disk(methods) / GIGA,
    }
    warnings = _warnings(plan)
    if profile and left:
        warnings += jobs.beyond(plan, left, checkpoints=settings.finetune.checkpoint_minutes > 0)
    return plan | {"notes": _notes(settings, of, plan, left), "warnings": warnings}


class _Run:
    """What the parts of a plan rest on."""

    def __init__(self, settings: config.Config, of: machine.Machine) -> None:
        self.settings, self.of, self.plan = settings, of, Plan(settings)
        self.base, self.texts = networks.base_of_run(settings), texts.texts(settings)
        self.before = of.imports + (0 if of.gpu else self.base.tokenizer)  # bytes of a process before it holds a model
        self.dtype = of.weight_type(settings.model.dtype)
        self.rates = machine.rates(settings, of, self.base, self.texts)
        found = self.texts.values()
        self.longest = max(text.longest for text in found), max(text.predicted for text in found)

    def hours(self, flops: float | None, rate: str, devices: int = 1) -> float | None:
        """None if the work or the speed is not known."""
        return flops / self.rates[rate] / devices / 3600 if self.rates and flops is not None else None

    def method(self, name: str) -> dict[str, Any]:
        """What a method trains and takes."""
        finetune, gpu = self.settings.finetune, self.of.gpu
        prepared = networks.made_ready(self.settings, name, networks.make_network(self.base.read, self.dtype))
        trained, total = count(prepared.groups), sum(one.numel() for one in prepared.network.parameters())
        steps = networks.updates(self.settings, self.texts) if trained else 0
        work = networks.training_flops(self.settings, prepared, self.texts, steps)
        rows, half = finetune.batch_size * finetune.together(len(self.texts)), not gpu and autocasts(finetune.precision)
        batch = memory.batch_of(rows, *self.longest)
        loaded, file = networks.weight_bytes(prepared.network), self.base.file_bytes(self.dtype)
        if half:
            halve(prepared.network, lossless=self.base.saved == torch.bfloat16)
        halved = loaded - networks.weight_bytes(prepared.network)
        if halved and not file:  # a mapped file stays in memory as long as one weight is in it
            halved = -networks.weight_bytes(prepared.network, torch.bfloat16)
        kept = memory.micro_batch(prepared, next(iter(self.texts)), batch, autocast=half, again=finetune.recompute)
        sizes = {"parameters": total, "trained": trained, "activations": memory.beyond_tensors(gpu, half, kept)}
        sizes |= {"halved": halved, "file": file}
        sizes["copy"] = self.base.parameters if "model" in METHODS[name].parts else 0
        together = 1 if gpu else finetune.ranks  # processes that share the device
        peaks = {
            str(stage): memory.training(gpu=gpu, dtype=self.dtype, stage=stage, ranks=finetune.ranks, **sizes)
            for stage in memory.STAGES
        }
        return {
            "method": name,
            "trained": trained,
            "share": trained / self.base.parameters,
            **({"sizes": prepared.sizes} if prepared.sizes else {}),
            "updates": steps,
            "flops": work,
            "hours": self.hours(work, name, finetune.ranks if gpu else 1),
            "memory_gb": {stage: together * (self.before + peak) / GIGA for stage, peak in peaks.items()},
            "saved_gb": trained * memory.SIZE[self.dtype] / GIGA,
            "checkpoint_gb": trained * 12 / GIGA if finetune.checkpoint_minutes else 0.0,
            "trainings": sum(model.method == name for model in self.plan.compared),
        }

    def stages(self) -> list[dict[str, Any]]:
        """The other stages that run the model."""
        settings, base, found, rows = self.settings, self.base, self.texts, []
        length, sentence = mean(text.length for text in found.values()), mean(text.target for text in found.values())
        seeds, models, everything = len(settings.seeds), len(self.plan.compared), base.inside + base.head

        def add(stage: str, number: int, peak: float, flops: float | None, rate: str = "full") -> None:
            peak = memory.beyond_tensors(self.of.gpu, False, peak)
            peak = (
                max(peak, 0 if self.of.gpu else base.file_bytes(self.dtype)) + base.parameters * memory.SIZE[self.dtype]
            )
            memory_gb = (self.before + peak) / GIGA
            rows.append({"stage": stage, "jobs": number, "memory_gb": memory_gb, "hours": self.hours(flops, rate)})

        if settings.model.path == "pretrain":
            made = settings.pretrain
            batch = memory.batch_of(max(1, made.batch_tokens // made.context), made.context, made.context - 1)
            full = networks.made_ready(settings, "full", networks.make_network(base.read))
            kept = memory.micro_batch(full, "", batch, autocast=autocasts("auto"), again=False)
            add("pretrain", 1, kept + 12 * base.parameters, 6 * base.parameters * made.tokens)
        peaks = memory.stages(settings, lambda: networks.make_network(base.read, self.dtype), *self.longest)
        if self.plan.detects:
            jobs = len(found) * seeds
            read = settings.activations.sentences * length * jobs  # tokens
            add("activations", jobs, peaks["activations"], 2 * base.inside * read)
            jobs = len(settings.awareness.languages) * seeds
            read = settings.awareness.sentences * sentence * jobs
            add("awareness", jobs, peaks["awareness"], 4 * everything * read)
        tests = [
            texts.count(source, astuple(parse_direction(item)))
            for source in settings.data.test
            for item in self.plan.tested.tests[source.name]
            if source.serves(parse_direction(item))
        ]
        decoded = None if None in tests else sum(tests) * models * settings.translate.beams * sentence
        add("translate", models, peaks["translate"], decoded and 2 * everything * decoded, "decode")
        return rows

    def disk(self, methods: list[dict[str, Any]]) -> float:
        """Bytes that the run writes, a download of the base included."""
        settings, base = self.settings, self.base
        models = GIGA * sum(one["saved_gb"] * one["trainings"] for one in methods)
        checkpoints = 2 * GIGA * max((one["checkpoint_gb"] for one in methods), default=0)
        pairs = sum((text.pairs or 0) * text.length * 4 for text in self.texts.values())  # four bytes a token, about
        tables = base.n_layer * base.n_neurons * 20 * (2 * len(self.texts) + len(settings.awareness.languages))
        hub = self.plan.models.base.kind == "hub"
        return models + checkpoints + (pairs * 2 + tables) * len(settings.seeds) + base.parameters * 2 * hub


def _notes(settings: config.Config, of: machine.Machine, plan: dict[str, Any], left: jobs.Jobs | None) -> list[str]:
    """What the numbers rest on, and what is not known."""
    source = "given by --flops" if of.flops else "measured on this machine just now"
    rates = ", ".join(f"{name} {rate:.2g}" for name, rate in plan["machine"]["flops"].items())
    hours = f"hours: from FLOP/s {source} ({rates}); starting a job takes some seconds more"
    unknown = "hours are not known, for no GPU is here to be measured: give its FLOP/s with --flops, as 3e14"
    taken = "memory: the first and the last layers are taken for the chosen ones; the longest pairs of a sample for all"
    notes = [hours if rates else unknown, taken]
    for note, is_so in (
        ("pairs not known before a download (data.max_pairs or finetune.steps helps)", lambda t: t["pairs"] is None),
        ("texts not counted, data.max_pairs taken for them", lambda t: t["pairs"] is not None and not t["counted"]),
        ("lengths of sentences not known, 120 tokens a pair taken", lambda t: not t["sampled"]),
    ):
        if names := [name for name, text in plan["texts"].items() if is_so(text)]:
            notes.append(f"{note}: {' '.join(names)}")
    if settings.awareness.estimator == "ablation":
        notes.append("awareness: memory and hours are those of taylor; ablation takes many times longer")
    if of.gpu:
        notes.append("memory of a GPU follows from the tensors and was not compared with a GPU")
    if left is None:
        notes.append("jobs not counted, nor compared with a profile: Snakemake's dry run fails, and says why itself")
    return notes


def _warnings(plan: dict[str, Any]) -> list[str]:
    """What will not fit."""
    have, stage = plan["machine"]["memory_gb"], str(plan["zero_stage"])
    warnings, needs = [], []
    if have is None:
        warnings.append("the memory of the device is not known; give it with --memory, in GB")
        have = float("inf")
    none = "no ZeRO stage fits; use more ranks, a smaller batch or finetune.recompute, or leave the method out"
    for one in plan["methods"]:
        sizes = one["memory_gb"]
        fits = [f"finetune.zero_stage: {other} fits" for other, size in sizes.items() if size <= have]
        needs.append((one["method"], sizes[stage], f" at ZeRO stage {stage}", [*fits, none][0]))
    needs += [(one["stage"], one["memory_gb"], "", f"lower {one['stage']}.batch_size") for one in plan["stages"]]
    for name, need, at, remedy in needs:
        if need > have:
            warnings.append(f"{name} needs {need:.1f} GB{at}, there are {have:.1f}; {remedy}")
    if plan["disk_gb"] > (free := shutil.disk_usage(".").free / GIGA):
        warnings.append(f"the run writes {plan['disk_gb']:.1f} GB, and {free:.1f} GB are free on this disk")
    return warnings


def page(plan: dict[str, Any]) -> str:
    """A plan for the terminal: sizes, methods, stages, notes."""
    model, machine, left, texts = plan["model"], plan["machine"], plan["jobs"], plan["texts"].values()
    have = f"{machine['memory_gb']:.1f} GB" if machine["memory_gb"] else "memory not known"
    pairs, lengths = [text["pairs"] for text in texts], [round(text["prompt"] + text["target"]) for text in texts]
    kinds = ", ".join(f"{number} {rule}" for rule, number in Counter(left or {}).most_common())
    facts = {
        "run": plan["run"],
        "model": f"{model['path']}: {quantity(model['parameters'])} parameters, {model['n_layer']} layers of "
        f"{model['n_neurons']:,} neurons, {model['dtype']}",
        "machine": f"{machine['device']}, {have}, {machine['ranks']} rank{'s' if machine['ranks'] > 1 else ''}",
        "directions": f"{len(pairs)}, {_range(pairs)} pairs each; {_range(lengths)} tokens a pair",
        "jobs": "not counted" if left is None else f"{sum(left.values())} left to do ({kinds or 'none'})",
        "time": _time(plan["hours"]) + ("" if plan["hours_complete"] else f" and more: what has {MISSING} below"),
        "disk": f"{plan['disk_gb']:.2f} GB",
    }
    used = {stage: " *" if stage == plan["zero_stage"] else "" for stage in memory.STAGES}
    columns = ["trained", "share", "trainings", "updates", "time each"]
    columns += [f"GB at ZeRO {stage}{sign}" for stage, sign in used.items()]
    methods = []
    for one in plan["methods"]:
        updates = MISSING if one["updates"] is None else f"{one['updates']:,}"
        cells = [quantity(one["trained"]), f"{one['share']:.2%}", one["trainings"], updates, _time(one["hours"])]
        methods.append((one["method"], cells + [f"{size:.2f}" for size in one["memory_gb"].values()]))
    note = f"* what the run uses; a device's peak, {machine['ranks']} rank(s)"
    stages = [(one["stage"], [f"{one['memory_gb']:.2f}", _time(one["hours"])]) for one in plan["stages"]]
    tables = [Table.of("Trainings", "method", columns, methods, notes=[note])] if methods else []
    tables.append(Table.of("Other stages", "stage", ["GB", "time"], stages))
    parts = ["\n".join(f"{key:12} {value}" for key, value in facts.items()), *map(markdown, tables)]
    return "\n\n".join([*parts, "\n".join(f"- {note}" for note in plan["notes"])])


def _time(hours: float | None) -> str:
    return duration(None if hours is None else 3600 * hours)


def _range(numbers: list[int | None]) -> str:
    known = sorted({*numbers} - {None})
    if not known:
        return "unknown"
    shown = f"{known[0]:,} to {known[-1]:,}" if len(known) > 1 else f"{known[0]:,}"
    return f"{shown} or unknown" if None in numbers else shown
