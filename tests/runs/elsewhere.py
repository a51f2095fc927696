"""A device that is not the CPU, with the CPU's numbers: what would fail on a GPU fails on it.

A tensor there wraps one of the CPU. An operation that takes tensors of both places is refused as PyTorch refuses it on
a GPU; so is reading one as an array, or a device that a function of Python names by itself. Numbers, shapes and
speed say nothing of a GPU. Built on PyTorch's hooks for devices written in Python.

Imported by the copy of lander/shared/machine.py that test_elsewhere.py makes;
at the end a process tells what it did there.
"""

import atexit
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "elsewhere"
DEVICE = torch.device("privateuseone", 0)  # renamed below
MIXED = ("aten::index", "aten::_index_put_impl_", "aten::copy_", "aten::_foreach_copy_")  # a GPU takes both here
operations = 0


class Backend(backend_registration._DummyBackendModule):
    """What `torch.elsewhere` is."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """Types of autocast."""
        return [torch.bfloat16]


class There(torch.Tensor):
    """A tensor of the device; `here` has its numbers."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> "There":
        layout = {"strides": here.stride(), "storage_offset": here.storage_offset()}
        made = torch.Tensor._make_wrapper_subclass(cls, here.size(), dtype=here.dtype, device=DEVICE, **layout)
        made.here = here
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation, _types, args=(), kwargs=None):
        return run(operation, args, kwargs or {})


# What PyTorch does not ask a wrapper for: numbers, and what safetensors knows shared weights by.
for name in ("tolist", "storage", "untyped_storage", "data_ptr"):
    setattr(There, name, lambda self, name=name: getattr(self.here, name)())


class Elsewhere(TorchDispatchMode):
    """Operations that are given no tensor of the device may still ask for one."""

    def __torch_dispatch__(self, operation, _types, args=(), kwargs=None):
        return run(operation, args, kwargs or {})


def here(value: Any) -> Any:
    """A tensor's numbers on the CPU; anything else as it is."""
    return value.here if isinstance(value, There) else value


def run(operation: Any, args: tuple, kwargs: dict) -> Any:
    """An operation of PyTorch, done on the CPU; what it makes is where its inputs are, or where it is asked for.

    RuntimeError if inputs are in both places (numbers without a dimension may be).
    """
    global operations
    if torch._C._dispatch_has_kernel_for_dispatch_key(operation.name(), "CompositeImplicitAutograd"):
        with Elsewhere():
            return operation.decompose(*args, **kwargs)
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    away = [isinstance(tensor, There) for tensor in tensors]
    apart = any(away) and any(tensor.dim() and not there for tensor, there in zip(tensors, away, strict=True))
    if apart and operation.name().split(".")[0] not in MIXED:
        raise RuntimeError(f"{operation.name()}: tensors {NAME} and on the CPU")
    asked = kwargs.get("device")
    there = any(away) if asked is None else torch.device(asked).type == NAME
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu"), "pin_memory": None}
    operations += there
    known = {id(here(tensor)): tensor for tensor in tensors}  # of operations in place: the same tensor comes back

    def placed(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or id(value) in known:
            return known.get(id(value), value)
        return There(value) if there else value

    return tree_map(placed, operation(*tree_map(here, args), **tree_map(here, kwargs)))


def copied(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """`torch.tensor` and the like copy to their device without asking a mode."""

    def made(*args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        found = make(*args, **kwargs)
        return found if device is None else found.to(device)

    return made


def made_there(size, stride, *, dtype=None, layout=None, device=None, pin_memory=None) -> There:
    """aten::empty_strided where modes are off: a list that stands as an index is made a tensor so."""
    return There(torch.empty_strided(size, stride, dtype=dtype))


def copied_there(source: torch.Tensor, target: torch.Tensor, _non_blocking: bool = False) -> torch.Tensor:
    """aten::_copy_from, for the same."""
    here(target).copy_(here(source))
    return target


def serve_deepspeed() -> None:
    """Tell DeepSpeed, which believes to be on a CPU, that its device is this one."""
    from deepspeed.accelerator import get_accelerator

    accelerator = get_accelerator()
    accelerator.device_name = lambda index=None: NAME if index is None else f"{NAME}:{index}"
    accelerator.current_device_name = lambda: f"{NAME}:0"
    accelerator.current_device = lambda: 0
    accelerator.on_accelerator = lambda tensor: tensor.device.type == NAME


backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=Backend())
library = torch.library.Library("aten", "IMPL")
library.impl("empty_strided", made_there, "PrivateUse1")
library.impl("_copy_from", copied_there, "PrivateUse1")
casts = torch.library.Library("_", "IMPL")
casts.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")  # autocast casts nothing
torch.tensor, torch.as_tensor = copied(torch.tensor), copied(torch.as_tensor)
torch.inference_mode = torch.no_grad  # wrappers have no version counter there
Elsewhere().__enter__()
atexit.register(lambda: print(f"{NAME}: {operations} operations", file=sys.stderr, flush=True))
