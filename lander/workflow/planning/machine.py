"""The machine that a plan is for: its memory, and how fast it computes, measured.

Speed is measured on a copy of the base: its shapes, in two layers and with a cut vocabulary, with random weights. It
makes training steps of each method, and decodes, each for a fraction of a second.
"""

import copy
import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch.utils.benchmark import Timer

from lander.config import config
from lander.finetune.cost import flops
from lander.finetune.engine import import_deepspeed
from lander.finetune.trainer import TranslationLoss
from lander.shared import machine
from lander.workflow.planning import memory, networks
from lander.workflow.planning.networks import Base
from lander.workflow.planning.texts import Text

GPU_IMPORTS = 0.6e9  # bytes of a GPU that a process takes before it holds anything
SECONDS = 0.2  # of measuring, for each kind of work
WORK = 3e10  # operations of a measured step, about: fewer rows where a batch has more
LAYERS, VOCABULARY = 2, 8192  # of the copy that is measured
DECODING = 0.1  # of the rate that --flops says: decoding reads weights more than it multiplies


@dataclass(frozen=True)
class Machine:
    """One device: a GPU, or all of the machine."""

    gpu: bool
    flops: float | None  # a given rate instead of a measured one
    memory: float | None  # bytes; None: unknown
    imports: float  # bytes of a process before it holds a model

    def weight_type(self, dtype: str) -> str:
        """What `model.dtype` means there (`lander.shared.machine.weight_type`)."""
        return dtype if dtype != "auto" else "bfloat16" if self.gpu else "float32"


def this_machine(devices: str, flops: float | None, gigabytes: float | None, threads: int) -> Machine:
    """The machine of a run that is made here; what is given wins. `devices`: auto, cpu or gpu."""
    machine.prepare(threads)
    here = torch.cuda.is_available()
    gpu = here if devices == "auto" else devices == "gpu"
    memory = gigabytes * 1e9 if gigabytes else None
    if memory is None and gpu and here:
        memory = float(torch.cuda.get_device_properties(0).total_memory)
    elif memory is None and not gpu:  # that of the machine, or less in a container or a job of a cluster
        sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
        limits = [Path("/sys/fs/cgroup", name) for name in ("memory.max", "memory/memory.limit_in_bytes")]
        texts = [limit.read_text().strip() for limit in limits if limit.is_file()]
        memory = float(min(sizes + [int(text) for text in texts if text.isdigit()]))
    return Machine(gpu, flops, memory, GPU_IMPORTS if gpu else imports())


def imports() -> float:
    """Bytes of this process with all that a training imports."""
    import peft  # noqa: F401

    import_deepspeed()
    return float(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024


def rates(settings: config.Config, of: Machine, base: Base, texts: dict[str, Text]) -> dict[str, float]:
    """FLOP/s of training, by method (and `full`), and of decoding; empty if the device is not in this machine."""
    methods = dict.fromkeys(["full", *config.trained(settings)])
    if of.flops:
        return dict.fromkeys(methods, of.flops) | {"decode": DECODING * of.flops}
    if of.gpu != torch.cuda.is_available():
        return {}
    k = math.ceil(settings.layers.k * LAYERS / base.n_layer)
    settings = settings.changed({"layers": {"k": max(1, k)}, "neurons": {"masks": None}})
    length = mean(text.length for text in texts.values())
    target = mean(text.target for text in texts.values())
    device, half = machine.device(), not of.gpu and machine.autocasts(settings.finetune.precision)
    found: dict[str, float] = {}
    for method in methods:
        network = networks.make_network(cut(base.read), of.weight_type(settings.model.dtype), device.type)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.normal_(std=0.02)
        prepared = networks.made_ready(settings, method, network)
        prepared.router.direction = str(settings.directions[0])
        loss = TranslationLoss(prepared.network).train()
        work = flops(prepared, prepared.router.direction, length, target)
        rows = max(1, min(settings.finetune.batch_size, int(WORK / work)))
        batch = memory.batch_of(rows, length, target).to(device)

        def step(loss=loss, batch=batch) -> None:
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                value = loss(batch)
            value.backward()

        found[method] = rows * work / seconds(step)
    work = 2 * sum(parameter.numel() for parameter in network.parameters())  # of a token
    rows = max(1, min(settings.translate.batch_size * settings.translate.beams, int(WORK / work)))
    ids = torch.zeros(rows, 1, dtype=torch.int64, device=device)
    with torch.inference_mode():
        found["decode"] = rows * work / seconds(lambda: prepared.network.eval()(input_ids=ids))
    return found


def cut(read: Any) -> Any:
    """A config with the same shapes in fewer layers, and a smaller vocabulary."""
    small = copy.deepcopy(read)
    for part in {id(one): one for one in (small, small.get_text_config())}.values():
        part.num_hidden_layers = min(LAYERS, part.num_hidden_layers)
        part.vocab_size = min(VOCABULARY, part.vocab_size)
        part.pad_token_id = None  # it may lie beyond the vocabulary
        if getattr(part, "layer_types", None):
            part.layer_types = part.layer_types[: part.num_hidden_layers]
    return small


def seconds(step: Callable[[], None]) -> float:
    """Seconds of a step: the fastest of those within `SECONDS`.

    One thread of a CPU is timed by the CPU's clock, which stops while other programs have the core.
    """
    threads = torch.get_num_threads()
    alone = threads == 1 and not torch.cuda.is_available()
    options = {"timer": time.process_time} if alone else {}  # otherwise by the wall clock, after a GPU has finished
    timer = Timer("step()", globals={"step": step}, num_threads=threads, **options)
    return min(timer.blocked_autorange(min_run_time=SECONDS).times)
