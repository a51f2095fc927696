"""The machine that a plan is for: its memory, and how fast it computes, measured.

Speed is measured on a copy of the base: its shapes, in two layers and with a cut vocabulary, with random weights. It
makes training steps of each method, and decodes, each for a fraction of a second.
"""

import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch

from lander.config import config
from lander.finetune.cost import flops
from lander.finetune.engine import import_deepspeed
from lander.finetune.trainer import TranslationLoss
from lander.shared import machine
from lander.workflow.planning.memory import batch_of
from lander.workflow.planning.networks import Base, cut, made_ready, make_network
from lander.workflow.planning.texts import Text

GPU_IMPORTS = 0.6e9  # bytes of a GPU that a process takes before it holds anything
CPU_IMPORTS = 0.45e9  # the same of a CPU, where it cannot be measured
SECONDS = 0.2  # of measuring, for each kind of work
WORK = 3e10  # operations of a measured step, about: fewer rows where a batch has more
LAYERS, VOCABULARY = 2, 8192  # of the copy that is measured
DECODING = 0.1  # of the rate that --flops says: decoding reads weights more than it multiplies


@dataclass(frozen=True)
class Machine:
    """One device: a GPU, or all of the machine. `flops`: a given rate instead of a measured one; `memory`, `imports`:
    bytes, of a process before it holds a model."""

    gpu: bool
    flops: float | None
    memory: float | None
    imports: float

    def weight_type(self, dtype: str) -> str:
        """What `model.dtype` means there (`lander.shared.machine.weight_type`)."""
        return dtype if dtype != "auto" else "bfloat16" if self.gpu else "float32"


def this_machine(devices: str, flops: float | None, gigabytes: float | None, threads: int) -> Machine:
    """What a run here would have; what is given wins."""
    machine.prepare(threads)
    here = torch.cuda.is_available()
    gpu = here if devices == "auto" else devices == "gpu"
    memory = gigabytes * 1e9 if gigabytes else None
    if memory is None and gpu and here:
        memory = float(torch.cuda.get_device_properties(0).total_memory)
    if memory is None and not gpu:
        memory = cpu_memory()
    return Machine(gpu, flops, memory, GPU_IMPORTS if gpu else imports())


def imports() -> float:
    """Bytes of this process with all that a training imports."""
    import peft  # noqa: F401

    import_deepspeed()
    try:
        found = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    return float(found[1]) * 1024 if found else CPU_IMPORTS


def cpu_memory() -> float:
    """Bytes of main memory that processes may take: the machine's, or less in a container or a job of a cluster."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = Path("/sys/fs/cgroup", name).read_text().strip()
        except OSError:
            continue
        sizes += [int(text)] if text.isdigit() else []
    return float(min(sizes))


# ------------------------------------------------------------ speed


def rates(settings: config.Config, of: Machine, base: Base, texts: dict[str, Text]) -> dict[str, float]:
    """FLOP/s of training, by method (those of the run, and `full`), and of decoding (`decode`).

    Empty where the run's device is not in this machine.
    """
    methods = dict.fromkeys(["full", *config.trained(settings)])
    if of.flops:
        return dict.fromkeys(methods, of.flops) | {"decode": DECODING * of.flops}
    if of.gpu != torch.cuda.is_available():
        return {}
    dtype, small = of.weight_type(settings.model.dtype), cut(base.read, LAYERS, VOCABULARY)
    k = math.ceil(settings.layers.k * LAYERS / base.n_layer)
    settings = settings.changed({"layers": {"k": max(1, k)}, "neurons": {"masks": None}})
    length = mean(text.length for text in texts.values())
    target = mean(text.target for text in texts.values())
    half = not of.gpu and machine.autocasts(settings.finetune.precision)
    found: dict[str, float] = {}
    for method in methods:
        network = make_network(small, dtype, machine.device().type)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.normal_(std=0.02)
        prepared = made_ready(settings, method, network)
        prepared.router.direction = str(settings.directions[0])
        loss = TranslationLoss(prepared.network).train()
        work = flops(prepared, prepared.router.direction, length, target)
        rows = max(1, min(settings.finetune.batch_size, int(WORK / work)))
        batch = batch_of(rows, length, target).to(machine.device())

        def step(loss=loss, batch=batch) -> None:
            with torch.autocast(machine.device().type, torch.bfloat16, enabled=half):
                value = loss(batch)
            value.backward()

        found[method] = rows * work / seconds(step)
    work = 2 * sum(parameter.numel() for parameter in network.parameters())  # of a token
    rows = max(1, min(settings.translate.batch_size * settings.translate.beams, int(WORK / work)))
    ids = torch.zeros(rows, 1, dtype=torch.int64, device=machine.device())
    with torch.inference_mode():
        found["decode"] = rows * work / seconds(lambda: prepared.network.eval()(input_ids=ids))
    return found


def seconds(step: Callable[[], None]) -> float:
    """Seconds of a step: the fastest of those within `SECONDS`, after one that does not count.

    One thread of a CPU is timed by the CPU's clock, which stops while other programs have the core.
    """
    gpu = torch.cuda.is_available()
    clock = time.process_time if not gpu and torch.get_num_threads() == 1 else time.perf_counter
    step()
    taken: list[float] = []
    while sum(taken) < SECONDS:
        began = clock()
        step()
        if gpu:
            torch.cuda.synchronize()
        taken.append(clock() - began)
    return min(taken)
