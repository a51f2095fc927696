"""The one place that reaches into DeepSpeed: its processes, its ZeRO stages, and what they need to be exact.

DeepSpeed's ZeRO spreads gradients (stage 1 and 2) and weights (stage 3) over the ranks. Routed blocks ask for things
that it does not foresee; each is below with its reason, except for `lander.finetune.switch.no_rows`, which decoding
shares. All were tried with DeepSpeed 0.19.8 and torch 2.13.0 on two gloo ranks, and tests/runs compares every stage
with a single process.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.utils import get_total_norm

from lander.config.finetune import Training
from lander.finetune.methods import ParameterGroup
from lander.shared import machine
from lander.shared.errors import UserError

MASTERS = "weights"  # in float32
KINDS = (MASTERS, "exp_avg", "exp_avg_sq")  # of the state of a training: also AdamW's moments


def start_processes() -> None:
    """Join the process group that torchrun prepared, or make one of this process alone.

    Without a launcher DeepSpeed's own `init_distributed` wants mpi4py, so the group is made here.
    """
    if not dist.is_initialized():
        backend = "gloo"
        if torch.cuda.is_available():
            backend = "nccl"
            torch.cuda.set_device(machine.device())
        if "RANK" in os.environ:
            patience = timedelta(days=1)  # while the first rank writes a checkpoint or a model of many GB
            dist.init_process_group(backend, timeout=patience)
        else:
            os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed asks for it
            dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)


def end_processes() -> None:
    """Leave the process group. Several ranks leave together, when all is written, and without tearing down.

    Torn down one by one, a rank that had nothing left to do was twice seen to be aborted (SIGABRT, in about
    sixty runs on two gloo ranks) while rank 0 still wrote the model, and torchrun then killed rank 0.
    """
    if dist.get_world_size() == 1:
        dist.destroy_process_group()
        return
    dist.barrier()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def say(message: str) -> None:
    """Print a line on stderr, in the first process."""
    if dist.get_rank() == 0:
        with contextlib.suppress(BrokenPipeError):  # Ctrl-C has ended the reader; the state is still to be saved
            print(f"finetune: {message}", file=sys.stderr, flush=True)


def import_deepspeed() -> Any:
    """DeepSpeed, quiet and without its communication kernel for CPUs.

    It would compile that kernel: 25 s, and a killed run leaves a lock behind on which every later run hangs.
    """
    import deepspeed
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    return deepspeed


class BlockAdamW(torch.optim.AdamW):
    """AdamW over parameter groups; those with `group["idle"]` are left out of a step.

    A gradient of zeros is not nothing: AdamW still decays the weights and moves them by their old momentum (3.4 times
    a live step over ten idle updates). A block that no row of an update used must not move at all, so its group is
    taken away for the step. Works inside every ZeRO stage, which step their groups one by one and keep their keys.

    A gradient that is not finite moves nothing, and sets `overflow` until the next step, as DeepSpeed's optimizers do.

    `group["updates"]`, if given, is how many updates the group has had, for the bias correction. A checkpoint can
    restore it there, no matter which tensors a ZeRO stage puts in the parameters' place.
    """

    overflow = False

    def step(self, closure=None):  # signature of torch.optim.Optimizer
        """One update of the groups that are not idle."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group.get("idle")]
        try:
            used = [weight.grad for group in self.param_groups for weight in group["params"] if weight.grad is not None]
            # One by one: the kernel for lists has failed with tensors of more than 2^31 numbers (pytorch #169930).
            self.overflow = not bool(get_total_norm(used, foreach=False).isfinite())
            if self.overflow:
                return None
            for group in self.param_groups:
                for state in (self.state[parameter] for parameter in group["params"] if parameter in self.state):
                    if "step" in state and "updates" in group:
                        state["step"].fill_(group["updates"])
            return super().step(closure)
        finally:
            self.param_groups = groups


class Engine:
    """DeepSpeed's engine around a loss, with one optimizer group per `ParameterGroup`, in the same order.

    Use: `prime` once; then for each update `begin`, and `backward` for each micro-batch of this rank.
    """

    def __init__(self, loss: nn.Module, groups: Sequence[ParameterGroup], settings: Training):
        """`loss`: batch -> the losses of its parts, or a scalar.

        `settings.accumulate` counts the micro-batches of an update over all ranks.
        """
        ranks = dist.get_world_size()
        if settings.accumulate % ranks:
            raise UserError(
                f"finetune.accumulate: {settings.accumulate} micro-batches cannot be shared by {ranks} ranks; "
                f"use a multiple of {ranks}"
            )
        self.groups, self.micro_batches = groups, settings.accumulate // ranks
        self.autocast = machine.autocasts(settings.precision)  # bfloat16 arithmetic on float32 weights
        self.trained = {name: value for group in groups for name, value in group.parameters.items()}
        self.updates = [0] * len(groups)  # that each group has had
        options = [
            # Matrices first: DeepSpeed puts a group's weights end to end, and a bias of odd length would leave all
            # after it off the boundaries that the fast kernels of a GPU want.
            {"params": sorted(group.parameters.values(), key=lambda weight: weight.dim() < 2)}
            | ({} if group.decays else {"weight_decay": 0.0})
            for group in groups
        ]
        # Fused: one pass over the memory instead of ten, and no temporary copies.
        self.optimizer = BlockAdamW(options, lr=0.0, weight_decay=settings.weight_decay, fused=True)
        bf16 = next(iter(self.trained.values())).dtype == torch.bfloat16
        config = {
            "train_micro_batch_size_per_gpu": settings.batch_size,
            "gradient_accumulation_steps": self.micro_batches,
            "gradient_clipping": settings.clip,
            # With bfloat16 weights DeepSpeed has float32 masters that can be read by name from stage 1 on only.
            "zero_optimization": {"stage": max(settings.zero_stage, 1) if bf16 else settings.zero_stage},
            "zero_allow_untested_optimizer": True,
            # A gradient goes to its float32 sum as soon as it exists, and its bfloat16 tensor is given back.
            "bf16": {"enabled": bf16, "immediate_grad_update": True},
            "data_types": {"grad_accum_dtype": "fp32"},
            "communication_data_type": "fp32",  # between ranks too: gradients are summed as they are kept
        }
        deepspeed = import_deepspeed()
        # It wants every parameter in float32 if the trained ones are, though it never touches the frozen ones.
        deepspeed.DeepSpeedEngine._DeepSpeedEngine__check_params = lambda *_: None
        self.deepspeed, *_ = deepspeed.initialize(
            model=loss, optimizer=self.optimizer, config=config, dist_init_required=False
        )
        self.device = self.deepspeed.device
        self.plain = self.deepspeed.optimizer is self.optimizer  # no ZeRO wrapper: the parameters are the masters
        if ranks == 1:  # DeepSpeed would flatten all gradients, round them to the weights' type, and copy them back
            self.deepspeed.buffered_allreduce_fallback = lambda *_args, **_kwargs: None
        self.deepspeed.train()

    def prime(self, batch: Any) -> None:
        """Make the optimizer's state exist for all groups, by one update that changes no weight.

        The state comes with a group's first step, and DeepSpeed links it to the parameters' names at the first step
        of all. A group that is idle then would never be linked, and no checkpoint could be put into it.
        """
        decays = [options["weight_decay"] for options in self.optimizer.param_groups]
        for options in self.optimizer.param_groups:
            options.update(lr=0.0, weight_decay=0.0, idle=False)
        for _ in range(self.micro_batches):
            self.backward(batch, factor=0)
        if self.overflow:
            what = "before any update the loss or its gradient is not finite"
            raise UserError(f"finetune: {what}; use another base, or model.dtype: float32")
        for options, decay in zip(self.optimizer.param_groups, decays, strict=True):
            options["weight_decay"] = decay
        wrapper = self.deepspeed.optimizer
        if hasattr(wrapper, "_hp_optimizer_states_linked"):  # ZeRO 1 and 2 link once the first group has its state
            wrapper._hp_optimizer_states_linked = False
            wrapper._lazy_init_hp_params_optimizer_state()

    def begin(self, directions: set[str], rate: float) -> None:
        """Begin an update over these directions, at a learning rate; groups that it has no row for are idle."""
        for number, (options, group) in enumerate(zip(self.optimizer.param_groups, self.groups, strict=True)):
            idle = group.idle(directions)
            options.update(lr=rate, idle=idle, updates=self.updates[number])
            self.updates[number] += not idle

    def backward(self, *batch: Any, factor: float = 1.0) -> list[float]:
        """Forward and backward pass of one micro-batch; the last one of an update steps. Returns its parts' losses."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            loss = self.deepspeed(*batch)
        self.deepspeed.backward(loss.mean() * factor)
        self.deepspeed.step()
        return loss.reshape(-1).tolist()

    def loss(self, *batch: Any) -> list[float]:
        """The losses of the parts of a micro-batch, without a gradient."""
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            return self.deepspeed(*batch).reshape(-1).tolist()

    @property
    def overflow(self) -> bool:
        """Whether the gradient of the last update was not finite. No ZeRO stage has moved anything then."""
        return bool(self.deepspeed.optimizer.overflow)

    # -------------------------------------------------------- state, by the parameters' names

    def state(self, kind: str) -> dict[str, torch.Tensor]:
        """One of `KINDS` of all trained parameters, float32, on the CPU of rank 0. All ranks must call it."""
        from deepspeed import utils

        found = {}
        for name, parameter in self.trained.items():
            if self.plain:
                value = parameter if kind == MASTERS else self.optimizer.state[parameter][kind]
            elif kind == MASTERS:
                value = utils.safe_get_full_fp32_param(parameter)
            else:
                value = utils.safe_get_full_optimizer_state(parameter, kind)
            if dist.get_rank() == 0:
                found[name] = value.detach().float().cpu().reshape(full_shape(parameter)).clone()
        return found

    def put(self, read: Callable[[str, str], torch.Tensor], updates: list[int]) -> None:
        """Give back what `state` gathered, one tensor at a time: `read` (kind, name). After `prime`."""
        from deepspeed import utils

        for name, parameter in self.trained.items():
            for kind in KINDS:
                value = read(kind, name).to(self.device)
                if kind == MASTERS:
                    with gathered(parameter, modified=True):  # the weights that the model computes with
                        parameter.data.copy_(value)
                if self.plain:
                    if kind != MASTERS:
                        self.optimizer.state[parameter][kind].copy_(value)
                    continue
                extent = "full"
                if hasattr(parameter, "ds_tensor"):  # ZeRO 3, which gets this rank's part: given the whole, it forgets
                    # the padding of a tensor whose size is not a multiple of the ranks
                    size = parameter.ds_tensor.ds_numel
                    whole = nn.functional.pad(value.flatten(), (0, size * dist.get_world_size() - value.numel()))
                    extent, value = "local", whole[size * dist.get_rank() :][:size]
                if kind == MASTERS:
                    getattr(utils, f"safe_set_{extent}_fp32_param")(parameter, value)
                else:
                    getattr(utils, f"safe_set_{extent}_optimizer_state")(parameter, value, kind)
        self.updates = list(updates)


def gathered(parameter: nn.Parameter, modified: bool = False) -> contextlib.AbstractContextManager:
    """The full parameter for a moment, where ZeRO 3 has scattered it; `modified`: rank 0's value goes to all ranks."""
    if not hasattr(parameter, "ds_id"):
        return contextlib.nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters([parameter], modifier_rank=0 if modified else None)


def full_shape(parameter: nn.Parameter) -> torch.Size:
    """A parameter's shape. ZeRO 3 leaves the parameter itself with the shape [0]."""
    return getattr(parameter, "ds_shape", parameter.shape)


def largest(value: int, device: torch.device) -> int:
    """The largest of the ranks' numbers, so that all ranks decide alike. All ranks must call it."""
    if dist.get_world_size() == 1:
        return value
    numbers = torch.tensor(value, device=device)
    dist.all_reduce(numbers, dist.ReduceOp.MAX)
    return int(numbers)
