"""Checkpoints of what is trained: master weights and moments by name, in safetensors, independent of the ranks.

DeepSpeed's own checkpoints need pickle and the same number of ranks. Here the full tensors are gathered at update
boundaries and given back to whatever partition the next run has. A checkpoint is a folder that appears whole; the
last one is kept.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lander.finetune.methods import Prepared
from lander.shared import deadline
from lander.shared.errors import UserError
from lander.shared.files import read_json, whole_folder, write_json

MOMENTS = ("exp_avg", "exp_avg_sq")


class State:
    """The trained parameters' float32 masters and their AdamW state, through whichever ZeRO stage holds them."""

    def __init__(self, engine, optimizer, prepared: Prepared):
        self.engine, self.optimizer, self.prepared = engine, optimizer, prepared
        self.plain = engine.optimizer is optimizer  # no ZeRO wrapper: parameters are the masters
        self.updates = [0] * len(prepared.groups)  # that each group has had

    def count_update(self, directions: set[str]) -> None:
        """Note that an update over these directions has happened."""
        for index, group in enumerate(self.prepared.groups):
            self.updates[index] += not group.idle(directions)

    def masters(self) -> dict[str, torch.Tensor]:
        """float32 weights of all trained parameters, on the CPU of rank 0. All ranks must call it."""
        from deepspeed.utils import safe_get_full_fp32_param

        get = torch.Tensor.detach if self.plain else safe_get_full_fp32_param
        return self._gather(get)

    def moments(self, key: str) -> dict[str, torch.Tensor]:
        """`exp_avg` or `exp_avg_sq` of all trained parameters, on the CPU of rank 0. All ranks must call it."""
        from deepspeed.utils import safe_get_full_optimizer_state

        if self.plain:
            return self._gather(lambda p: self.optimizer.state[p][key])
        return self._gather(lambda p: safe_get_full_optimizer_state(p, key))

    def _gather(self, get) -> dict[str, torch.Tensor]:
        gathered = {}
        for name, parameter in self.prepared.trained().items():
            value = get(parameter)
            if dist.get_rank() == 0:
                gathered[name] = value.detach().float().cpu().reshape(_shape(parameter)).clone()
        return gathered

    def put(self, read: Callable[[str, str], torch.Tensor], updates: list[int]) -> None:
        """Give back what `masters` and `moments` gathered, one parameter at a time. The optimizer's state must exist.

        Args:
            read: gives the tensor of a kind (`weights` or one of `MOMENTS`) and of a parameter's name.
        """
        from deepspeed.runtime.zero import GatheredParameters

        for name, parameter in self.prepared.trained().items():
            master = read("weights", name).to(self.engine.device)
            with GatheredParameters([parameter], modifier_rank=0):  # the weights that the model computes with
                parameter.data.copy_(master)
            if not self.plain:
                self._set(parameter, master)
            for key in MOMENTS:
                if self.plain:
                    self.optimizer.state[parameter][key].copy_(read(key, name))
                else:
                    self._set(parameter, read(key, name).to(self.engine.device), key)
        self.updates = list(updates)

    def _set(self, parameter: torch.nn.Parameter, value: torch.Tensor, key: str | None = None) -> None:
        """Give a ZeRO wrapper a parameter's float32 master, or its moment `key`.

        ZeRO 3 takes this rank's part: of whole tensors it forgets the padding of those that the ranks cannot halve.
        """
        from deepspeed import utils

        extent = "full"
        if hasattr(parameter, "ds_tensor"):
            size = parameter.ds_tensor.ds_numel
            whole = torch.nn.functional.pad(value.flatten(), (0, size * dist.get_world_size() - value.numel()))
            extent, value = "local", whole[size * dist.get_rank() :][:size]
        if key is None:
            getattr(utils, f"safe_set_{extent}_fp32_param")(parameter, value)
        else:
            getattr(utils, f"safe_set_{extent}_optimizer_state")(parameter, value, key)


class Turn:
    """The time that this job has for its training, by the clock of rank 0. All ranks must make one and ask it."""

    def __init__(self, state: State):
        trained = 4 * sum(_shape(parameter).numel() for parameter in state.prepared.trained().values())  # bytes
        read = sum(
            _shape(one).numel() * one.element_size() for one in state.prepared.network.parameters()
        )  # at the end
        self.device = state.engine.device
        end = deadline.job_end() if dist.get_rank() == 0 else None
        self.timer = deadline.Timer(end, trained * (1 + len(MOMENTS)), trained + read)
        self.ends = self._agreed(self.timer.end is not None)

    def is_over(self, last: bool) -> bool:
        """Whether to save and leave; to be asked once after each update. `last`: the model comes next."""
        return self.ends and self._agreed(self.timer.is_up(last))

    def _agreed(self, value: bool) -> bool:
        if dist.get_world_size() == 1:
            return value
        said = torch.tensor(float(value), device=self.device)
        dist.broadcast(said, src=0)
        return bool(said)

    def leave(self, update: int, updates: int) -> NoReturn:
        """End the job, whose state is saved; all ranks, together.

        Raises:
            UserError: if it is not ended by being put back into the queue.
        """
        if dist.get_rank() == 0:
            deadline.requeue()
        if dist.get_world_size() > 1:
            dist.barrier()
        raise deadline.stopped(update, updates)


def save(folder: Path, state: State, update: int, log: list[dict], fingerprint: Any) -> None:
    """Write a checkpoint after `update` updates and remove all others. All ranks must call it."""
    written = folder / f"update-{update:08d}"
    masters = state.masters()
    moments = {key: state.moments(key) for key in MOMENTS}
    if dist.get_rank() == 0:
        with whole_folder(written) as temporary:
            save_file(masters, temporary / "weights.safetensors")
            for key in MOMENTS:
                save_file(moments[key], temporary / f"{key}.safetensors")
            write_json(
                temporary / "state.json",
                {"fingerprint": fingerprint, "update": update, "updates": state.updates, "log": log},
            )
        for other in set(folder.glob("update-*")) - {written}:  # a later one can be left of a run with other settings
            (other / "state.json").unlink(missing_ok=True)  # first: without it, what a kill leaves is no checkpoint
            shutil.rmtree(other)
    if dist.get_world_size() > 1:
        dist.barrier()


def latest(folder: Path, fingerprint: Any) -> Path | None:
    """The last checkpoint that was made with the same settings, data and code; others are of no use."""
    return next((path for path in _whole(folder) if _record(path)["fingerprint"] == fingerprint), None)


def foreign(folder: Path, fingerprint: dict[str, str]) -> str | None:
    """Why the training does not go on from the last checkpoint that is there, in one line."""
    for path in _whole(folder):
        found = _record(path)["fingerprint"]
        if not isinstance(found, dict):
            return f"{path} is of an older Lander and is not used: the training starts anew"
        other = [part for part, value in fingerprint.items() if found.get(part) != value]
        return f"{path} is not used, it was made with other {', '.join(other)}: the training starts anew"
    return None


def sweep(folder: Path) -> None:
    """Remove what a kill has left of a checkpoint that was being written. Only for the process that holds the model."""
    for path in folder.glob(".update-*"):
        shutil.rmtree(path)


def restore(path: Path, state: State) -> tuple[int, list[dict]]:
    """Load a checkpoint into the engine. Returns the update to go on with and the loss log so far."""
    record = _record(path)
    with contextlib.ExitStack() as stack:
        files = {}

        def read(kind: str, name: str) -> torch.Tensor:
            try:
                if kind not in files:
                    files[kind] = stack.enter_context(safe_open(path / f"{kind}.safetensors", "pt"))
                return files[kind].get_tensor(name)
            except (SafetensorError, OSError) as error:
                raise UserError(f"{path}: the checkpoint is damaged ({error}); {_remedy(path)}") from None

        state.put(read, record["updates"])
    return record["update"], record["log"]


def _whole(folder: Path) -> Iterator[Path]:
    """The checkpoints of a folder, the last one first."""
    return (path for path in sorted(folder.glob("update-*"), reverse=True) if (path / "state.json").is_file())


def _record(path: Path) -> dict:
    record = read_json(path / "state.json")
    if not isinstance(record, dict) or not {"fingerprint", "update", "updates", "log"} <= record.keys():
        raise UserError(f"{path}/state.json: not the state of a training; {_remedy(path)}")
    return record


def _remedy(path: Path) -> str:
    return f"`rm -r {path}` and run snakemake again: the training starts anew"


def _shape(parameter: torch.nn.Parameter) -> torch.Size:
    return getattr(parameter, "ds_shape", parameter.shape)  # ZeRO-3 leaves parameters with the shape [0]
