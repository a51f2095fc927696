"""All that a plan says, as plain values: sizes, memory, hours, disk; what does not fit, and what is not known."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
    left = jobs.dry_run(configfiles, profile) if count_jobs else {}
    base, found = networks.base_of_run(settings), texts.texts(settings)
    run = _Run(
        settings, of, base, found, of.weight_type(settings.model.dtype), machine.rates(settings, of, base, found)
    )
    trained = [model.method for model in Plan(settings).trained_models]
    methods = [run.method(name) | {"trainings": trained.count(name)} for name in config.trained(settings)]
    stages = run.stages()
    hours = [one["hours"] and one["hours"] * one["trainings"] for one in methods] + [one["hours"] for one in stages]
    plan: dict[str, Any] = {
        "run": settings.run,
        "model": {"path": settings.model.path, "dtype": run.dtype, "parameters": base.parameters}
        | {"n_layer": base.n_layer, "n_neurons": base.n_neurons},
        "machine": {"device": "gpu" if of.gpu else "cpu", "memory_gb": of.memory and of.memory / GIGA}
        | {"flops": run.rates, "ranks": settings.finetune.ranks},
        "jobs": {rule: one["jobs"] for rule, one in left.items()} if count_jobs and left is not None else None,
        "texts": {name: asdict(text) for name, text in found.items()},
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


@dataclass(frozen=True)
class _Run:
    """What the parts of a plan rest on. `rates`: FLOP/s (`lander.workflow.planning.machine.rates`)."""

    settings: config.Config
    of: Machine
    base: Base
    texts: dict[str, Text]
    dtype: str
    rates: dict[str, float]

    @property
    def longest(self) -> tuple[float, float]:
        """Tokens of the longest pair, and of the translations in the longest micro-batch."""
        texts = self.texts.values()
        return max(text.longest for text in texts), max(text.predicted for text in texts)

    def hours(self, flops: float | None, rate: str, devices: int = 1) -> float | None:
        """None where the work or the speed is not known."""
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
        }

    def stages(self) -> list[dict[str, Any]]:
        """The other stages that run the model."""
        settings, base, found, rows = self.settings, self.base, self.texts, []
        length, sentence = mean(text.length for text in found.values()), mean(text.target for text in found.values())
        seeds, plan = len(settings.seeds), Plan(settings)

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
        if plan.detects:
            read = settings.activations.sentences * len(found) * length * seeds  # tokens
            add("activations", len(found) * seeds, peaks["activations"], 2 * base.inside * read)
            languages = len(settings.awareness.languages)
            read = settings.awareness.sentences * languages * sentence * seeds
            add("awareness", languages * seeds, peaks["awareness"], 4 * (base.inside + base.head) * read)
        pairs = {str(direction): (direction.source, direction.target) for direction in settings.directions}
        tests = [
            texts.count(source, pairs[item])
            for source in settings.data.test
            for item in plan.tests[source.name]
            if source.serves(parse_direction(item))
        ]
        decoded = None if None in tests else sum(tests) * len(plan.compared) * settings.translate.beams * sentence
        work = None if decoded is None else 2 * (base.inside + base.head) * decoded
        add("translate", len(plan.compared), peaks["translate"], work, "decode")
        return rows

    def disk(self, methods: list[dict[str, Any]]) -> float:
        """Bytes that the run writes, a download of the base included."""
        settings, base = self.settings, self.base
        models = GIGA * sum(one["saved_gb"] * one["trainings"] for one in methods)
        checkpoints = 2 * GIGA * max((one["checkpoint_gb"] for one in methods), default=0)
        pairs = sum((text.pairs or 0) * text.length * 4 for text in self.texts.values())  # four bytes a token, about
        tables = base.n_layer * base.n_neurons * 20 * (2 * len(self.texts) + len(settings.awareness.languages))
        hub = settings.base.kind == "hub"
        return models + checkpoints + (pairs * 2 + tables) * len(settings.seeds) + base.parameters * 2 * hub


def _notes(settings: config.Config, of: Machine, plan: dict[str, Any], left: jobs.Jobs | None) -> list[str]:
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
