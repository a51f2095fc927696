"""The training loop: DeepSpeed ZeRO over parameter groups, directions taking turns, idle groups left alone.

The gradient of an update is that of the mean of its micro-batches' losses, each the mean over its predicted tokens.
With several ranks, rank r takes micro-batches r, r + ranks, ... of the window: the number of ranks changes nothing
but the order of summation.
"""

import logging
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy

from lander.finetune import checkpoint, frozen
from lander.finetune.losses import LOG_COLUMNS, REMEDY, Diverged, check_finite, loss_rows
from lander.finetune.methods import Prepared
from lander.finetune.optimizer import BlockAdamW, learning_rate
from lander.finetune.schedule import Schedule
from lander.models.loading import predictions
from lander.models.tokens import Batch, Codec
from lander.shared import machine
from lander.shared.errors import UserError

PATIENCE = timedelta(days=1)  # of ranks that wait while the first writes a checkpoint or a model of many GB


@dataclass(frozen=True)
class Settings:
    """How to train. `updates` is the length of the run; `accumulate` counts micro-batches over all ranks."""

    updates: int
    accumulate: int
    learning_rate: float
    schedule: str = "linear"
    warmup: int = 0
    weight_decay: float = 0.01
    clip: float = 1.0
    zero_stage: int = 0
    seed: int = 0
    autocast: bool = False  # bfloat16 arithmetic on float32 weights
    checkpoint_every: int = 0  # updates; 0: never
    recompute: bool = False  # gradient checkpointing
    keep_diverged: bool = False  # a training whose loss is no number ends there, and its model is written


class TranslationLoss(nn.Module):
    """Mean cross-entropy of the predicted tokens; the output head runs on their positions only."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, batch: Batch) -> torch.Tensor:
        """Loss of a batch in nats per token, a scalar."""
        return cross_entropy(*predictions(self.network, batch, input_ids=batch.input_ids))


def start_processes() -> None:
    """Join the process group that torchrun prepared, or make one of this process alone."""
    if not dist.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(machine.device())
        if "RANK" in os.environ:
            dist.init_process_group(backend, timeout=PATIENCE)
        else:
            os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed asks for it
            dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)


def end_processes() -> None:
    """Leave the process group; several ranks leave together, when all is written, and without tearing down.

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


def recompute(network: nn.Module) -> None:
    """Compute the activations of a block again in its backward pass, instead of keeping them."""
    network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def make_engine(prepared: Prepared, settings: Settings, batch_size: int) -> tuple[Any, BlockAdamW]:
    """DeepSpeed's engine around the loss, with one optimizer group per parameter group, in the same order.

    Raises:
        UserError: the window cannot be shared evenly by the ranks.
    """
    ranks = dist.get_world_size()
    if settings.accumulate % ranks:
        raise UserError(
            f"finetune.accumulate: {settings.accumulate} micro-batches cannot be shared by {ranks} ranks; "
            f"use a multiple of {ranks}"
        )
    deepspeed = import_deepspeed()
    groups = [
        # Matrices first: DeepSpeed puts a group's weights end to end, and a bias of odd length would leave all after
        # it off the boundaries that the fast kernels of a GPU want.
        {"params": sorted(group.parameters.values(), key=lambda weight: weight.dim() < 2)}
        | ({} if group.decays else {"weight_decay": 0.0})
        for group in prepared.groups
    ]
    # One pass over the memory instead of ten, and no temporary copies.
    optimizer = BlockAdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    bf16 = next(iter(prepared.trained().values())).dtype == torch.bfloat16
    config = {
        "train_micro_batch_size_per_gpu": batch_size,
        "gradient_accumulation_steps": settings.accumulate // ranks,
        "gradient_clipping": settings.clip,
        # With bfloat16 weights DeepSpeed has float32 masters that can be read by name from stage 1 on only.
        "zero_optimization": {"stage": max(settings.zero_stage, 1) if bf16 else settings.zero_stage},
        "zero_allow_untested_optimizer": True,
        # A gradient goes to its float32 sum as soon as it exists, and its bfloat16 tensor is given back.
        "bf16": {"enabled": bf16, "immediate_grad_update": True},
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",  # between ranks too: gradients are summed as they are kept
    }
    engine, *_ = deepspeed.initialize(
        model=TranslationLoss(prepared.network), optimizer=optimizer, config=config, dist_init_required=False
    )
    if ranks == 1:  # DeepSpeed would flatten all gradients, round them to the weights' type, and copy them back
        engine.buffered_allreduce_fallback = lambda *_args, **_kwargs: None
    return engine, optimizer


def import_deepspeed() -> Any:
    """DeepSpeed, told not to chat and not to compile.

    On a CPU it would compile a communication kernel: 25 s, and a lock that a killed run leaves behind for ever.
    """
    import deepspeed
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    return deepspeed


@dataclass
class Trainer:
    """Everything that an update needs; `engine` is DeepSpeed's, `optimizer` the one inside it."""

    engine: Any
    optimizer: BlockAdamW
    prepared: Prepared
    schedule: Schedule
    codec: Codec
    settings: Settings
    state: checkpoint.State

    def window(self, update: int) -> list[str]:
        """The directions of an update's micro-batches, over all ranks, in order."""
        start = update * self.settings.accumulate
        return [self.schedule.direction(start + place) for place in range(self.settings.accumulate)]

    def update(self, update: int) -> list[dict]:
        """One optimizer update. Returns the window's rows of the loss log, one per direction.

        Raises:
            Diverged: a loss or the gradient is not finite; on all ranks alike, as both are summed over them.
        """
        s = self.settings
        rate = learning_rate(update, s.updates, s.learning_rate, s.warmup, s.schedule)
        directions = self.window(update)
        groups = zip(self.optimizer.param_groups, self.prepared.groups, self.state.updates, strict=True)
        for options, group, updates in groups:
            options.update(lr=rate, idle=group.idle(set(directions)), updates=updates)
        losses = torch.zeros(s.accumulate, 2, dtype=torch.float64)  # loss and predicted tokens of each micro-batch
        for place in range(dist.get_rank(), s.accumulate, dist.get_world_size()):
            losses[place] = torch.tensor(self.micro_batch(update * s.accumulate + place), dtype=torch.float64)
        if dist.get_world_size() > 1:
            losses = losses.to(self.engine.device)
            dist.all_reduce(losses)
            losses = losses.cpu()
        self.state.count_update(set(directions))
        rows = loss_rows(losses, directions, update, rate)
        if self.engine.optimizer.overflow:  # then no ZeRO stage has moved anything, and none says a word
            raise Diverged(f"finetune: the gradient is not finite at update {update}; {REMEDY}")
        return rows

    def micro_batch(self, number: int) -> tuple[float, int]:
        """Forward and backward of one micro-batch; the last of a window steps. Returns its loss and tokens."""
        torch.manual_seed(self.settings.seed + 7919 * number)  # dropout depends on the micro-batch alone
        self.prepared.router.direction = self.schedule.direction(number)
        pairs = self.schedule.pairs[self.prepared.router.direction]
        sequences, skips = zip(*(pairs[index] for index in self.schedule.indices(number)), strict=True)
        batch = self.codec.pad_right(list(sequences), list(skips))
        with torch.autocast(self.engine.device.type, torch.bfloat16, enabled=self.settings.autocast):
            loss = self.engine(batch.to(self.engine.device))
        self.engine.backward(loss)
        self.engine.step()
        return loss.item(), batch.predicted

    def prime(self) -> None:
        """Make the optimizer's state exist, for all groups: one update that changes no weight.

        The state comes with a group's first step, and DeepSpeed links it to the parameters' names at the first step
        of all: a group that is idle then would never be found again, nor could a checkpoint be put into it.
        """
        decays = [group["weight_decay"] for group in self.optimizer.param_groups]
        for group in self.optimizer.param_groups:
            group.update(lr=0.0, weight_decay=0.0, idle=False)
        self.prepared.router.direction = self.schedule.directions[0]
        tokens, skip = self.schedule.pairs[self.schedule.directions[0]][0]
        batch = self.codec.pad_right([tokens], [skip]).to(self.engine.device)
        for _ in range(self.settings.accumulate // dist.get_world_size()):
            self.engine.backward(self.engine(batch) * 0)
            self.engine.step()
        if self.engine.optimizer.overflow:
            raise UserError(
                f"finetune: before any update the loss of {self.schedule.directions[0]} or its gradient is not finite; "
                "use another base, or model.dtype: float32"
            )
        for group, decay in zip(self.optimizer.param_groups, decays, strict=True):
            group["weight_decay"] = decay
        wrapper = self.engine.optimizer
        if hasattr(wrapper, "_hp_optimizer_states_linked"):  # ZeRO 1 and 2 link once the first group has its state
            wrapper._hp_optimizer_states_linked = False
            wrapper._lazy_init_hp_params_optimizer_state()

    def resume(self, checkpoints: Path, fingerprint: Any) -> tuple[int, list[dict]]:
        """Load the last checkpoint where there is one. Returns the update to go on with and the loss log so far."""
        found = checkpoint.latest(checkpoints, fingerprint)
        if found is None:
            if told := checkpoint.foreign(checkpoints, fingerprint):
                _say(told)
            return 0, []
        update, log = checkpoint.restore(found, self.state)
        _say(f"resuming at update {update} of {self.settings.updates}")
        return update, log


def train(
    prepared: Prepared, schedule: Schedule, codec: Codec, settings: Settings, checkpoints: Path | None, fingerprint: Any
) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
    """Run all updates, from the last checkpoint of the same settings where there is one.

    Returns:
        The trained parameters by name, float32 masters, on the CPU (rank 0; empty elsewhere), and the loss log:
        update, direction, loss (nats per token), tokens, learning_rate.
    Raises:
        Moved: a parameter that is not trained has changed.
        Diverged: a loss, a gradient or a trained weight is not finite.
        UserError: the job's time is up, and the state is saved.
    """
    if not prepared.groups:
        _say("no layer is chosen (layers.k: 0), so there is nothing to train: the model is the base")
        return {}, pd.DataFrame(columns=LOG_COLUMNS)
    before = frozen.digests(prepared.network)
    if settings.recompute:
        recompute(prepared.network)
    engine, optimizer = make_engine(prepared, settings, schedule.batch_size)
    state = checkpoint.State(engine, optimizer, prepared)
    trainer = Trainer(engine, optimizer, prepared, schedule, codec, settings, state)
    engine.train()
    trainer.prime()
    first, log = trainer.resume(checkpoints, fingerprint) if checkpoints else (0, [])
    diverged = False
    progress = Progress(settings.updates, first)
    turn = checkpoint.Turn(state) if checkpoints else None
    for update in range(first, settings.updates):
        try:
            rows = trainer.update(update)
        except Diverged as error:
            if not settings.keep_diverged:
                raise
            _say(f"{error}; the training ends here")
            diverged = True
            break
        log.extend(rows)
        progress.report(update, rows)
        last = update + 1 == settings.updates
        over = turn is not None and turn.is_over(last)
        due = not last and settings.checkpoint_every and (update + 1) % settings.checkpoint_every == 0
        if checkpoints and (over or due):
            checkpoint.save(checkpoints, state, update + 1, log, fingerprint)
            if over:
                turn.leave(update + 1, settings.updates)
    frozen.check(prepared.network, before)
    return finished(state.masters(), diverged, settings.keep_diverged), pd.DataFrame(log, columns=LOG_COLUMNS)


def finished(masters: dict[str, torch.Tensor], diverged: bool, keep: bool) -> dict[str, torch.Tensor]:
    """The weights to be written: checked, unless a model that diverged is to be kept, which then has no numbers.

    The step that failed has moved nothing: what is left may be the best of all trials, but no training ends in it.
    """
    if diverged:
        return {name: torch.full_like(value, torch.nan) for name, value in masters.items()}
    if not keep:
        check_finite(masters)
    return masters


class Progress:
    """A line every few seconds: update, loss, speed, time left."""

    def __init__(self, updates: int, first: int):
        self.updates, self.first = updates, first
        self.started = self.last = time.monotonic()
        self.tokens = 0

    def report(self, update: int, rows: Iterable[dict]) -> None:
        """Count an update (from 0) by its rows of the loss log; print at most every ten seconds."""
        rows = list(rows)
        self.tokens += sum(row["tokens"] for row in rows)
        now = time.monotonic()
        if dist.get_rank() or (now - self.last < 10 and update + 1 < self.updates):
            return
        self.last = now
        spent = now - self.started
        left = spent / (update + 1 - self.first) * (self.updates - update - 1)
        loss = sum(row["loss"] * row["tokens"] for row in rows) / sum(row["tokens"] for row in rows)
        _say(
            f"update {update + 1}/{self.updates}  loss {loss:.3f}  {self.tokens / spent:,.0f} target tokens/s  "
            f"{int(left) // 60}:{int(left) % 60:02d} left"
        )


def _say(message: str) -> None:
    if dist.get_rank() == 0:
        print(f"finetune: {message}", file=sys.stderr, flush=True)
