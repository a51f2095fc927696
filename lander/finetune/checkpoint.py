"""Checkpoints of what is trained: master weights and moments by name, in safetensors, independent of the ranks.

DeepSpeed's own checkpoints need pickle and the same number of ranks. Here the full tensors are gathered at update
boundaries and given back to whatever partition the next run has. A checkpoint is a folder that appears whole; the
last one is kept.
"""

import shutil
from pathlib import Path
from typing import NoReturn

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from lander import deadline
from lander.errors import UserError
from lander.files import read_json, whole_folder, write_json
from lander.finetune.methods import Prepared

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

    def put(
        self, masters: dict[str, torch.Tensor], moments: dict[str, dict[str, torch.Tensor]], updates: list[int]
    ) -> None:
        """Give back what `masters` and `moments` gathered. The optimizer's state must exist."""
        from deepspeed.runtime.zero import GatheredParameters
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        for name, parameter in self.prepared.trained().items():
            with GatheredParameters([parameter], modifier_rank=0):  # the weights that the model computes with
                parameter.data.copy_(masters[name])
            if self.plain:
                for key in MOMENTS:
                    self.optimizer.state[parameter][key].copy_(moments[key][name])
            else:
                safe_set_full_fp32_param(parameter, masters[name].to(self.engine.device))
                for key in MOMENTS:
                    safe_set_full_optimizer_state(parameter, moments[key][name].to(self.engine.device), key)
        self.updates = list(updates)


class Turn:
    """The time that this job has for its training, by the clock of rank 0. All ranks must make one and ask it."""

    def __init__(self, state: State):
        trained = sum(_shape(parameter).numel() for parameter in state.prepared.trained().values())
        size = 4 * trained * (1 + len(MOMENTS))  # bytes of a checkpoint
        self.device = state.engine.device
        self.timer = deadline.Timer(deadline.job_end() if dist.get_rank() == 0 else None, size)
        self.ends = self._agreed(self.timer.end is not None)

    def is_over(self) -> bool:
        """Whether to save and leave; to be asked once after each update."""
        return self.ends and self._agreed(self.timer.is_up())

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


def save(folder: Path, state: State, update: int, log: list[dict], fingerprint: str) -> None:
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


def latest(folder: Path, fingerprint: str) -> Path | None:
    """The last checkpoint, if it was made with the same settings and data; others are of no use."""
    for path in sorted(folder.glob("update-*"), reverse=True):
        if (path / "state.json").is_file() and _record(path)["fingerprint"] == fingerprint:
            return path
    return None


def restore(path: Path, state: State) -> tuple[int, list[dict]]:
    """Load a checkpoint into the engine. Returns the update to go on with and the loss log so far."""
    record = _record(path)
    try:
        masters = load_file(path / "weights.safetensors")
        moments = {key: load_file(path / f"{key}.safetensors") for key in MOMENTS}
    except Exception as error:
        raise UserError(f"{path}: the checkpoint is damaged ({error}); {_remedy(path)}") from None
    state.put(masters, moments, record["updates"])
    return record["update"], record["log"]


def _record(path: Path) -> dict:
    record = read_json(path / "state.json")
    if not isinstance(record, dict) or not {"fingerprint", "update", "updates", "log"} <= record.keys():
        raise UserError(f"{path}/state.json: not the state of a training; {_remedy(path)}")
    return record


def _remedy(path: Path) -> str:
    return f"`rm -r {path}` and run snakemake again: the training starts anew"


def _shape(parameter: torch.nn.Parameter) -> torch.Size:
    return getattr(parameter, "ds_shape", parameter.shape)  # ZeRO-3 leaves parameters with the shape [0]
