"""The training loop. Directions take turns; an update is a window of micro-batches.

A parameter group is skipped if no row of the update uses it.

The gradient of an update is that of the mean of its micro-batches' losses, each the mean over its predicted tokens.
With several ranks, rank r takes micro-batches r, r + ranks, ... of the window. The number of ranks changes nothing
but the order of summation.

What DeepSpeed needs to do this exactly is in `lander.finetune.engine`.
"""

import contextlib
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import torch.distributed as dist
from torch import nn

from lander.finetune import checkpoint, frozen
from lander.finetune.engine import Engine
from lander.finetune.halves import halve
from lander.finetune.methods import Prepared
from lander.finetune.schedule import Schedule
from lander.models.losses import summed_loss
from lander.models.tokens import Batch, Codec
from lander.shared.errors import UserError
from lander.shared.progress import progress

LOG_COLUMNS = ["update", "direction", "loss", "tokens", "learning_rate"]
REMEDY = "lower finetune.learning_rate"


class Diverged(UserError):
    """A loss, a gradient or a weight is not finite any more."""


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
    checkpoint_minutes: float = 0.0  # between checkpoints; 0: none by time
    recompute: bool = False  # gradient checkpointing
    keep_diverged: bool = False  # a training that diverges ends there, and its model is written


class TranslationLoss(nn.Module):
    """Mean loss of the predicted tokens. `autocast`: bfloat16 arithmetic on float32 weights."""

    def __init__(self, network: nn.Module, autocast: bool = False):
        super().__init__()
        self.network, self.autocast = network, autocast

    def forward(self, batch: Batch) -> torch.Tensor:
        """Loss of a batch in nats per token, a scalar."""
        with torch.autocast(batch.input_ids.device.type, torch.bfloat16, enabled=self.autocast):
            return summed_loss(self.network, batch, input_ids=batch.input_ids) / batch.predicted


class Trainer:
    """A model with its engine, its data and its settings, ready for updates."""

    def __init__(self, prepared: Prepared, schedule: Schedule, codec: Codec, settings: Settings):
        self.prepared, self.schedule, self.codec, self.settings = prepared, schedule, codec, settings
        self.engine = Engine(
            TranslationLoss(prepared.network, settings.autocast),
            prepared.groups,
            batch_size=schedule.batch_size,
            accumulate=settings.accumulate,
            weight_decay=settings.weight_decay,
            clip=settings.clip,
            zero_stage=settings.zero_stage,
        )
        first = schedule.directions[0]
        prepared.router.direction = first
        tokens, skip = schedule.pairs[first][0]
        self.engine.prime(codec.pad_right([tokens], [skip]).to(self.engine.device))

    def update(self, update: int) -> list[dict]:
        """One optimizer update. Returns the window's rows of the loss log, one per direction.

        Raises:
            Diverged: a loss or the gradient is not finite; on all ranks alike, as both are summed over them.
        """
        s = self.settings
        rate = learning_rate(update, s.updates, s.learning_rate, s.warmup, s.schedule)
        numbers = range(update * s.accumulate, (update + 1) * s.accumulate)  # of the micro-batches, over all ranks
        directions = [self.schedule.direction(number) for number in numbers]
        self.engine.begin(set(directions), rate)
        losses = torch.zeros(s.accumulate, 2, dtype=torch.float64)  # loss and predicted tokens of each micro-batch
        for place in range(dist.get_rank(), s.accumulate, dist.get_world_size()):
            losses[place] = torch.tensor(self.micro_batch(numbers[place]), dtype=torch.float64)
        if dist.get_world_size() > 1:
            losses = losses.to(self.engine.device)
            dist.all_reduce(losses)
            losses = losses.cpu()
        rows = loss_rows(losses, directions, update, rate)
        if self.engine.overflow:
            raise Diverged(f"finetune: the gradient is not finite at update {update}; {REMEDY}")
        return rows

    def micro_batch(self, number: int) -> tuple[float, int]:
        """Forward and backward pass of one micro-batch. Returns its loss and its predicted tokens."""
        torch.manual_seed(self.settings.seed + 7919 * number)  # dropout depends on the micro-batch alone
        self.prepared.router.direction = self.schedule.direction(number)
        pairs = self.schedule.pairs[self.prepared.router.direction]
        sequences, skips = zip(*(pairs[index] for index in self.schedule.indices(number)), strict=True)
        batch = self.codec.pad_right(list(sequences), list(skips))
        return self.engine.backward(batch.to(self.engine.device)), batch.predicted


def train(
    prepared: Prepared,
    schedule: Schedule,
    codec: Codec,
    settings: Settings,
    checkpoints: Path | None,
    fingerprint: dict[str, str],
) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
    """Run all updates, from the last checkpoint of the same settings if there is one.

    Args:
        checkpoints: their folder. The state is saved there every `checkpoint_minutes`, when the job's time is nearly
            up, and on SIGINT or SIGTERM; the last two end the training. None: nothing is saved.
        fingerprint: what a checkpoint must share with this training, by name.
    Returns:
        The trained parameters by name, float32 masters, on the CPU (rank 0; empty elsewhere), and the loss log:
        update, direction, loss (nats per token), tokens, learning_rate.
    Raises:
        Moved: a parameter that is not trained has changed.
        Diverged: a loss, a gradient or a trained weight is not finite.
        UserError: the job's time is nearly up, and the state is saved.
        SystemExit: a signal came, and the state is saved; the status is the signal's.
    """
    if not prepared.groups:
        _say("no layer is chosen (layers.k: 0), so there is nothing to train: the model is the base")
        return {}, pd.DataFrame(columns=LOG_COLUMNS)
    if settings.autocast and settings.zero_stage < 3:  # stage 3 gathers parameters of one type
        halve(prepared.network)
    before = frozen.digests(prepared.network)
    if settings.recompute:
        prepared.network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    trainer = Trainer(prepared, schedule, codec, settings)
    first, log = _resume(checkpoints, trainer, fingerprint) if checkpoints else (0, [])
    diverged, tokens, began = False, 0, time.monotonic()
    bar = progress("finetune", settings.updates, first, shown=dist.get_rank() == 0)
    timed = checkpoint.clock(checkpoints, trainer.engine, prepared.network, settings.checkpoint_minutes)
    with bar, timed as clock:
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
            tokens += (predicted := sum(row["tokens"] for row in rows))
            loss = sum(row["loss"] * row["tokens"] for row in rows) / predicted
            speed = f"{tokens / (time.monotonic() - began):,.0f} target tokens/s"
            bar.set_postfix_str(f"update {update + 1}/{settings.updates}, loss {loss:.3f}, {speed}", refresh=False)
            bar.update()
            if clock and clock.is_due(last=update + 1 == settings.updates):
                checkpoint.save(checkpoints, trainer.engine, update + 1, log, fingerprint)
                clock.restart(update + 1, settings.updates)
    frozen.check(prepared.network, before)
    masters = trainer.engine.masters()
    if diverged:  # the failed step has moved nothing, but no training may end with weights that look like the best
        masters = {name: torch.full_like(value, torch.nan) for name, value in masters.items()}
    elif not settings.keep_diverged:
        check_finite(masters)
    return masters, pd.DataFrame(log, columns=LOG_COLUMNS)


def _resume(checkpoints: Path, trainer: Trainer, fingerprint: dict[str, str]) -> tuple[int, list[dict]]:
    """Load the last checkpoint that fits. Returns the update to go on with and the loss log so far."""
    found = checkpoint.latest(checkpoints, fingerprint)
    if found is None:
        if reason := checkpoint.foreign(checkpoints, fingerprint):
            _say(reason)
        return 0, []
    update, log = checkpoint.restore(found, trainer.engine)
    _say(f"resuming at update {update} of {trainer.settings.updates}")
    return update, log


def learning_rate(update: int, updates: int, peak: float, warmup: int, schedule: str) -> float:
    """Learning rate of an update (from 0): linear warmup, then `constant`, or `linear` or `cosine` down to zero."""
    if update < warmup:
        return peak * (update + 1) / warmup
    if schedule == "constant":
        return peak
    progress = (update - warmup) / max(updates - warmup, 1)
    if schedule == "linear":
        return peak * (1 - progress)
    return peak * 0.5 * (1 + float(torch.cos(torch.tensor(progress * torch.pi))))


def loss_rows(losses: torch.Tensor, directions: list[str], update: int, rate: float) -> list[dict]:
    """Rows of the loss log: per direction of the window, the token-weighted mean loss.

    Args:
        losses: float64 (micro-batches, 2), the loss and the predicted tokens of each.
    Raises:
        Diverged: a loss is not finite.
    """
    rows = []
    for direction in dict.fromkeys(directions):
        loss, tokens = losses[[name == direction for name in directions]].T
        mean = float((loss * tokens).sum() / tokens.sum())
        if not math.isfinite(mean):
            raise Diverged(f"finetune: the loss of {direction} is {mean} at update {update}; {REMEDY}")
        row = {"update": update, "direction": direction, "loss": mean, "tokens": int(tokens.sum())}
        rows.append(row | {"learning_rate": rate})
    return rows


def check_finite(weights: dict[str, torch.Tensor]) -> None:
    """Check the trained weights before they are written.

    Raises:
        Diverged: names a parameter with a value that is not finite.
    """
    for name, value in weights.items():
        if not value.isfinite().all():
            raise Diverged(f"finetune: {name} is not finite after the last update; nothing was written; {REMEDY}")


def _say(message: str) -> None:
    if dist.get_rank() == 0:
        with contextlib.suppress(BrokenPipeError):  # Ctrl-C has ended the reader; the state is still to be saved
            print(f"finetune: {message}", file=sys.stderr, flush=True)
