"""The machine that a stage runs on: its device, its threads, its number formats."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from contextvars import ContextVar

import torch

from lander.shared import gpus
from lander.shared.errors import UserError

# Set before anything imports DeepSpeed (transformers does): which device to use, and no messages on the terminal.
os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "error")


def prepare(threads: int) -> None:
    """Set torch's threads and choose a GPU; without one, tell glibc to keep freed memory.

    Asking the kernel for large tensors again and again takes up to a third of the time on a CPU. With a GPU, glibc
    would keep the memory that the model needed on its way there.
    """
    if not 1 <= threads <= 1024:  # the system runs out of them before torch says anything
        raise UserError(f"--threads: {threads} given, wanted 1 to 1,024; more than the machine has cores are no faster")
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        if "LOCAL_RANK" not in os.environ and (free := gpus.claim(1)):
            os.environ["LOCAL_RANK"] = str(free[0])  # read by `device` and DeepSpeed
        return
    with contextlib.suppress(OSError, AttributeError):  # another libc
        libc = ctypes.CDLL("libc.so.6")
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**28)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
            libc.mallopt(option, value)


_in_main_memory = ContextVar("in_main_memory", default=False)


@contextlib.contextmanager
def on_cpu() -> Iterator[None]:
    """Keep models that are loaded in this block in main memory, for models that are only rewritten."""
    token = _in_main_memory.set(True)
    try:
        yield
    finally:
        _in_main_memory.reset(token)


def device() -> torch.device:
    """This process's GPU (torchrun numbers them), or the CPU if there is none."""
    if torch.cuda.is_available() and not _in_main_memory.get():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def native_bfloat16() -> bool:
    """Whether the GPU multiplies in bfloat16 itself; emulated bfloat16 is slower than float32."""
    return torch.cuda.is_bf16_supported(including_emulation=False)


def weight_type(dtype: str) -> torch.dtype:
    """`auto` is bfloat16 on a GPU that supports it, float32 elsewhere."""
    if dtype == "auto":
        return torch.bfloat16 if torch.cuda.is_available() and native_bfloat16() else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]


def autocasts(precision: str) -> bool:
    """Whether training multiplies float32 weights in bfloat16; `auto` does on a CPU with instructions for it.

    On a GPU the weights themselves are bfloat16 (`weight_type`).
    """
    if precision == "auto":
        capabilities = torch.cpu.get_capabilities() if not torch.cuda.is_available() else {}
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return precision == "bfloat16"
