"""The machine that a plan is for."""

import os
from dataclasses import dataclass
from pathlib import Path

GPU_FLOPS = 2e14  # what a training reaches on a data-centre GPU in bfloat16, about; a stated rate, not a measurement
THREAD_FLOPS = 5e10  # the same of a thread of a CPU, in float32
GPU_IMPORTS = 0.6e9  # bytes of a GPU that a process takes before it holds anything
CPU_IMPORTS = 0.54e9  # the same of a CPU: Python, torch, transformers, deepspeed (measured)


@dataclass(frozen=True)
class Machine:
    """`flops` (per second) and `memory` (bytes) are those of one device: a GPU, or all of the machine."""

    gpu: bool
    flops: float
    memory: float | None

    @property
    def imports(self) -> float:
        """Bytes of a process before it holds a model."""
        return GPU_IMPORTS if self.gpu else CPU_IMPORTS

    def weight_type(self, dtype: str) -> str:
        """What `model.dtype` means there (`lander.shared.machine.weight_type`)."""
        return dtype if dtype != "auto" else "bfloat16" if self.gpu else "float32"


def this_machine(devices: str, flops: float | None, gigabytes: float | None, threads: int) -> Machine:
    """What a run here would have; what is given wins."""
    import torch

    here = torch.cuda.is_available()
    gpu = here if devices == "auto" else devices == "gpu"
    memory: float | None = gigabytes * 1e9 if gigabytes else None
    if memory is None and gpu and here:
        memory = float(torch.cuda.get_device_properties(0).total_memory)
    if memory is None and not gpu:
        memory = cpu_memory()
    return Machine(gpu, flops or (GPU_FLOPS if gpu else THREAD_FLOPS * threads), memory)


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
