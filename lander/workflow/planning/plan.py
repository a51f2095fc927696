"""All that a plan says, as plain values and as text: sizes, memory, hours, disk; what does not fit or is not known."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from statistics import mean
from typing import Any

from lander.config import config
from lander.config.methods import METHODS
from lander.finetune.methods import count
from lander.shared.languages import parse_direction
from lander.shared.machine import autocasts
from lander.workflow import Plan
from lander.workflow.planning import jobs, machine, memory, networks, texts

GIGA = 1e9


def make(
    settings: config.Config,
    of: machine.Machine,
    configfiles: Sequence[Path] = (),
    *,
    count_jobs: bool = True,
    profile: Path | None = None,
) -> dict[str, Any]:
    """A run's plan for a machine.

    Args:
        profile: folder of a profile of Snakemake, whose limits of jobs are compared; only if jobs are counted.
    """
    left = jobs.dry_run(configfiles, profile) if count_jobs else {}
    run = _Run(settings, of)
    methods, stages = [run.method(name) for name in run.plan.trained], run.stages()
    hours = [one["hours"] and one["hours"] * one["trainings"] for one in methods] + [one["hours"] for one in stages]
    base = run.base
    sizes = {"parameters": base.parameters, "n_layer": base.n_layer, "n_neurons": base.n_neurons}
    device = {"device": "gpu" if of.gpu else "cpu", "memory_gb": of.memory and of.memory / GIGA}
    plan: dict[str, Any] = {
        "run": settings.run,
        "model": {"path": settings.model.path, "dtype": run.dtype, **sizes},
        "machine": {**device, "flops": run.rates, "ranks": settings.finetune.ranks},
        "jobs": {rule: one["jobs"] for rule, one in left.items()} if count_jobs and left is not None else None,
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
        batch, half = memory.batch_of(finetune.batch_size, *self.longest), not gpu and autocasts(finetune.precision)
        kept = memory.micro_batch(prepared, next(iter(self.texts)), batch, autocast=half, again=finetune.recompute)
        sizes = {"parameters": total, "trained": trained, "activations": memory.beyond_tensors(gpu, half, kept)}
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
            "memory_gb": {stage: together * (self.of.imports + peak) / GIGA for stage, peak in peaks.items()},
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
            peak = memory.beyond_tensors(self.of.gpu, False, peak) + base.parameters * memory.SIZE[self.dtype]
            memory_gb = (self.of.imports + peak) / GIGA
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
            for item in self.plan.tests[source.name]
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
    notes = [
        f"hours: from FLOP/s {source} ({rates}); starting a job takes some seconds more"
        if rates
        else "hours are not known, for no GPU is here to be measured: give its FLOP/s with --flops, as 3e14",
        "memory: the first and the last layers are taken for the chosen ones; the longest pairs of a sample for all",
    ]
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
    warnings = []
    if have is None:
        warnings.append("the memory of the device is not known; give it with --memory, in GB")
        have = float("inf")
    for one in plan["methods"]:
        need = one["memory_gb"]
        if need[stage] > have:
            fits = [f"finetune.zero_stage: {other} fits" for other, size in need.items() if size <= have]
            remedy = (
                "no ZeRO stage fits; use more ranks, a smaller batch or finetune.recompute, or leave the method out"
            )
            warnings.append(
                f"{one['method']} needs {need[stage]:.1f} GB at ZeRO stage {stage}, there are {have:.1f}; "
                f"{[*fits, remedy][0]}"
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


# ------------------------------------------------------------ for the terminal


def page(plan: dict[str, Any]) -> str:
    """Sizes, methods, stages, notes."""
    model, machine, left = plan["model"], plan["machine"], plan["jobs"]
    have = f"{machine['memory_gb']:.1f} GB" if machine["memory_gb"] else "memory not known"
    pairs = [text["pairs"] for text in plan["texts"].values()]
    lengths = [round(text["prompt"] + text["target"]) for text in plan["texts"].values()]
    jobs = "not counted" if left is None else f"{sum(left.values())} left to do"
    if left:
        jobs += f" ({', '.join(f'{n} {rule}' for rule, n in sorted(left.items(), key=lambda item: -item[1]))})"
    facts = {
        "run": plan["run"],
        "model": f"{model['path']}: {_count(model['parameters'])} parameters, {model['n_layer']} layers of "
        f"{model['n_neurons']:,} neurons, {model['dtype']}",
        "machine": f"{machine['device']}, {have}, {machine['ranks']} rank{'s' if machine['ranks'] > 1 else ''}",
        "directions": f"{len(pairs)}, {_range(pairs)} pairs each; {_range(lengths)} tokens a pair",
        "jobs": jobs,
        "hours": _hours(plan["hours"]) + ("" if plan["hours_complete"] else " and more: what has a ? below"),
        "disk": f"{plan['disk_gb']:.2f} GB",
    }
    parts = ["\n".join(f"{key:12} {value}" for key, value in facts.items())]
    if plan["methods"]:
        head = ["method", "trained", "share", "trainings", "updates", "hours each"]
        head += [f"GB at ZeRO {stage}{' *' if stage == plan['zero_stage'] else ''}" for stage in memory.STAGES]
        rows = [
            [one["method"], _count(one["trained"]), f"{100 * one['share']:.2f}%", str(one["trainings"])]
            + ["?" if one["updates"] is None else f"{one['updates']:,}", _hours(one["hours"])]
            + [f"{one['memory_gb'][str(stage)]:.2f}" for stage in memory.STAGES]
            for one in plan["methods"]
        ]
        parts.append(f"{_table(head, *rows)}\n* what the run uses; a device's peak, {machine['ranks']} rank(s)")
    rows = [[one["stage"], f"{one['memory_gb']:.2f}", _hours(one["hours"])] for one in plan["stages"]]
    parts.append(_table(["stage", "GB", "hours"], *rows))
    parts.append("\n".join(f"- {note}" for note in plan["notes"]))
    return "\n\n".join(parts)


def _table(*rows: list[str]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)


def _hours(hours: float | None) -> str:
    return "?" if hours is None else f"{hours:.1f}" if hours >= 1 else f"{hours:.3f}"


def _count(number: int) -> str:
    sizes = {"B": 1e9, "M": 1e6, "k": 1e3}
    return next((f"{number / size:.2f}{sign}" for sign, size in sizes.items() if number >= size), str(number))


def _range(numbers: list[int | None]) -> str:
    known = [number for number in numbers if number is not None]
    if not known:
        return "unknown"
    low, high = min(known), max(known)
    return (f"{low:,}" if low == high else f"{low:,} to {high:,}") + " or unknown" * (len(known) < len(numbers))
