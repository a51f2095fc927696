"""The machine that a plan is for: its memory, and how fast it computes, measured.

Speed is measured on a small copy of the base: its shapes, in two layers and with a cut vocabulary, with random weights.
It makes training steps of each kind of method, reads, and decodes, each for a fraction of a second.
"""

import os
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lander.config import config
from lander.config.methods import METHODS
from lander.finetune.engine import import_deepspeed
from lander.finetune.trainer import TranslationLoss
from lander.models.tokens import Batch
from lander.shared import machine
from lander.workflow.planning.memory import batch_of
from lander.workflow.planning.networks import Base, cut, flops, made_ready, make_network
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


def kind_of(method: str) -> str:
    """The method whose speed is taken for a method: one for all that train in the same way."""
    parts = METHODS[method].parts
    return next(name for part, name in KINDS.items() if part in parts)


KINDS = {"model": "full", "lora": "lora", "bottlenecks": "adapter", "blocks": "landermt"}  # part -> method


def rates(
    settings: config.Config, of: Machine, base: Base, texts: dict[str, Text], sizes: dict[str, dict[str, int]]
) -> dict[str, float]:
    """FLOP/s of training (by `kind_of` method), of reading (`read`) and of decoding (`decode`).

    Empty where the run's device is not in this machine.

    Args:
        sizes: of what the methods of the run add (`Prepared.sizes`), by method.
    """
    if of.flops:
        given = dict.fromkeys(["full", "read", *map(kind_of, sizes)], of.flops)
        return given | {"decode": DECODING * of.flops}
    if of.gpu != torch.cuda.is_available():
        return {}
    dtype, direction = of.weight_type(settings.model.dtype), str(settings.directions[0])
    small = cut(base.read, LAYERS, VOCABULARY)
    chosen = max(1, round(settings.layers.k * LAYERS / base.n_layer))
    settings = replace(
        settings, layers=replace(settings.layers, k=chosen), neurons=replace(settings.neurons, masks=None)
    )
    length, target = (max(1.0, statistics.mean(part)) for part in
                      zip(*((text.length, text.target) for text in texts.values()), strict=True))  # fmt: skip
    half = not of.gpu and machine.autocasts(settings.finetune.precision)
    found: dict[str, float] = {}
    for method in ["full", *sizes]:
        if (kind := kind_of(method)) in found:
            continue
        network = make_network(small, dtype, machine.device().type)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.normal_(std=0.02)
        prepared = made_ready(settings, kind, network, sizes.get(method, {}))
        prepared.router.direction = direction
        loss = TranslationLoss(prepared.network).train()
        work = flops(prepared, direction, length, target)
        batch = _rows(settings.finetune.batch_size, work, length, target)

        def step(loss=loss, batch=batch) -> None:
            with torch.autocast(machine.device().type, torch.bfloat16, enabled=half):
                value = loss(batch)
            value.backward()

        found[kind] = len(batch.input_ids) * work / seconds(step)
    weights = sum(parameter.numel() for parameter in network.parameters())  # of the last one: nearly the base
    batch = _rows(settings.activations.batch_size, 2 * weights * length, length, target)

    @torch.inference_mode()
    def read(batch: Batch = batch) -> None:
        network.eval()(input_ids=batch.input_ids, attention_mask=batch.attention_mask, logits_to_keep=1)

    inside = weights - network.get_output_embeddings().weight.numel()
    found["read"] = 2 * inside * batch.input_ids.numel() / seconds(read)
    one = _rows(settings.translate.batch_size * settings.translate.beams, 2 * weights, 1, 1)
    one = Batch(one.input_ids[:, :1], torch.ones_like(one.input_ids[:, :1]), one.labels[:, :1])
    found["decode"] = 2 * weights * len(one.input_ids) / seconds(lambda: read(one))
    return found


def _rows(most: int, work: float, tokens: float, predicted: float) -> Batch:
    return batch_of(max(1, min(most, int(WORK / work))), tokens, predicted).to(machine.device())


def seconds(step: Callable[[], None]) -> float:
    """Seconds of a step: the fastest of those within `SECONDS`, after one that does not count."""
    step()
    taken: list[float] = []
    while sum(taken) < SECONDS:
        began = time.perf_counter()
        step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return min(taken)
