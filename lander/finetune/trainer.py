"""The training loop. Directions take turns; an update is a window of micro-batches.

The gradient of an update is that of the mean of its micro-batches' losses, each the mean over its predicted tokens.
With `mix_directions`, one pass has a micro-batch of each direction as its parts. Its loss is the mean of theirs, so the
gradient is the same.
With several ranks, rank r takes micro-batches r, r + ranks, ... of the window. The number of ranks changes nothing
but the order of summation. What DeepSpeed needs to do this exactly is in `lander.finetune.engine`.
"""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import torch
import torch.distributed as dist
from torch import nn

from lander.config.finetune import Training
from lander.finetune import checkpoint, frozen
from lander.finetune.cost import Spent
from lander.finetune.curves import Curves
from lander.finetune.engine import MASTERS, Engine, say
from lander.finetune.halves import halve, plain_attention
from lander.finetune.methods import Prepared
from lander.finetune.schedule import Schedule
from lander.models.losses import summed_loss, summed_losses
from lander.models.tokens import IGNORED, Batch, Codec
from lander.shared import machine
from lander.shared.errors import UserError
from lander.shared.progress import progress

LOG_COLUMNS = ["update", "direction", "loss", "tokens", "learning_rate"]
DAMAGE = 0.1  # nats per token, of which the user is warned
REMEDY = "lower finetune.learning_rate"


class Diverged(UserError):
    """A loss, a gradient or a weight is not finite any more."""


class TranslationLoss(nn.Module):
    """Mean loss of the predicted tokens, of a batch or of each of its parts."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, batch: Batch, sizes: Sequence[int] = ()) -> torch.Tensor:
        """Loss of a batch in nats per token, a scalar; of several parts, with so many rows each, (parts)."""
        if len(sizes) < 2:
            return summed_loss(self.network, batch, input_ids=batch.input_ids) / batch.predicted
        return summed_losses(self.network, batch, sizes, input_ids=batch.input_ids) / predicted(batch, sizes)


def predicted(batch: Batch, sizes: Sequence[int]) -> torch.Tensor:
    """Number of tokens with a loss in each part of a batch: (parts)."""
    return torch.stack([part.sum() for part in (batch.labels[:, 1:] != IGNORED).split(list(sizes))])


class Trainer:
    """A model with its engine, its data and its settings, of which `steps`, `accumulate`, `learning_rate` are given."""

    def __init__(self, prepared: Prepared, schedule: Schedule, codec: Codec, settings: Training):
        self.prepared, self.schedule, self.codec, self.settings = prepared, schedule, codec, settings
        self.together = settings.together(len(schedule.directions))  # micro-batches of the schedule in one pass
        self.engine = Engine(TranslationLoss(prepared.network), prepared.groups, settings)
        first = schedule.directions[0]
        prepared.router.direction = first
        tokens, skip = schedule.pairs[first][0]
        self.engine.prime(codec.pad_right([tokens], [skip]).to(self.engine.device))

    def update(self, update: int) -> list[dict]:
        """One optimizer update. Returns the window's rows of the loss log, one per direction.

        Diverged if a loss or the gradient is not finite; on all ranks alike, as both are summed over them.
        """
        s = self.settings
        rate = learning_rate(update, s.steps, s.learning_rate, s.warmup, s.schedule)
        window = s.accumulate * self.together
        numbers = range(update * window, (update + 1) * window)  # of the micro-batches, over all ranks
        directions = [self.schedule.direction(number) for number in numbers]
        self.engine.begin(set(directions), rate)
        self.prepared.router.progress = update / s.steps
        rows = loss_rows(self.losses(numbers, self.engine.backward), directions, update, rate)
        if self.engine.overflow:
            raise Diverged(f"finetune: the gradient is not finite at update {update}; {REMEDY}")
        return rows

    def base_loss(self) -> float:
        """The base's loss on the pairs of the first update, in nats per token. To call before any update."""
        losses = self.losses(range(self.settings.accumulate * self.together), self.engine.loss, routed=False)
        return float((losses[:, 0] * losses[:, 1]).sum() / losses[:, 1].sum())

    def losses(self, numbers: range, run: Callable[..., list[float]], routed: bool = True) -> torch.Tensor:
        """Loss and predicted tokens of each micro-batch, over all ranks: float64 (micro-batches, 2).

        `routed`: whether a micro-batch runs its direction's blocks; else it runs all, as text without a direction does.
        """
        found = torch.zeros(len(numbers), 2, dtype=torch.float64)
        passes = range(0, len(numbers), self.together)
        for place in passes[dist.get_rank() :: dist.get_world_size()]:
            batch, sizes = self.micro_batch(numbers[place], routed)
            rows = found[place : place + self.together]
            rows[:, 1] = predicted(batch, sizes)
            rows[:, 0] = torch.tensor(run(batch, sizes), dtype=torch.float64)
        if dist.get_world_size() > 1:
            found = found.to(self.engine.device)
            dist.all_reduce(found)
            found = found.cpu()
        return found

    def micro_batch(self, number: int, routed: bool) -> tuple[Batch, list[int]]:
        """The micro-batches of a pass, of which this is the first, on the device as one, and the rows of each.

        The router and the dice are set for it.
        """
        torch.manual_seed(self.schedule.seed + 7919 * number)  # dropout depends on the micro-batch alone
        parts = {
            self.schedule.direction(one): self.schedule.indices(one) for one in range(number, number + self.together)
        }
        rows = [(direction, index) for direction, indices in parts.items() for index in indices]
        router = self.prepared.router
        router.direction = next(iter(parts)) if routed else None
        router.rows = [direction for direction, _ in rows] if routed and len(parts) > 1 else None
        sequences, skips = zip(*(self.schedule.pairs[direction][index] for direction, index in rows), strict=True)
        batch = self.codec.pad_right(list(sequences), list(skips)).to(self.engine.device)
        return batch, [len(indices) for indices in parts.values()]


def train(
    prepared: Prepared,
    schedule: Schedule,
    codec: Codec,
    settings: Training,
    checkpoints: Path | None,
    fingerprint: dict[str, str],
    spent: Spent,
    keep_diverged: bool = False,
    curves: Curves | None = None,
) -> tuple[dict[str, torch.Tensor], pd.DataFrame, float]:
    """Run all updates, from the last checkpoint with the same fingerprint if there is one.

    Returns the trained parameters by name, float32 masters, on the CPU (rank 0; empty elsewhere); the loss log:
    update, direction, loss (nats per token), tokens, learning_rate; and the damage at step 0, what routing adds to the
    base's loss on the pairs of the first update. With `keep_diverged`, a training that diverges ends there, with NaN as
    weights; else it raises `Diverged`. Without `checkpoints`, their folder, nothing is saved.
    """
    if not prepared.groups:
        say("no layer is chosen (layers.k: 0), so there is nothing to train: the model is the base")
        return {}, pd.DataFrame(columns=LOG_COLUMNS), 0.0
    if machine.autocasts(settings.precision) and settings.zero_stage < 3:  # stage 3 gathers parameters of one type
        halve(prepared.network)
    if machine.autocasts(settings.precision):
        plain_attention(prepared.network, schedule.longest)
    before = frozen.digests(prepared.network)
    if settings.recompute:
        prepared.network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    trainer, updates = Trainer(prepared, schedule, codec, settings), settings.steps
    base = trainer.base_loss() if prepared.routed else None  # before a checkpoint is read
    first, log, clock = 0, [], None
    if checkpoints:
        first, log = checkpoint.resume(checkpoints, trainer.engine, fingerprint, updates, spent)
        clock = checkpoint.Clock(trainer.engine, prepared.network, settings.checkpoint_minutes)
    diverged, tokens, began = False, 0, time.monotonic()
    bar = progress("finetune", updates, first, shown=dist.get_rank() == 0)
    with bar, clock or contextlib.nullcontext(), (curves or Curves()).start(first + 1) as curves:
        for update in range(first, updates):
            try:
                rows = trainer.update(update)
            except Diverged as error:
                if not keep_diverged:
                    raise
                say(f"{error}; the training ends here")
                diverged = True
                break
            log.extend(rows)
            tokens += (predicted := sum(row["tokens"] for row in rows))
            loss = sum(row["loss"] * row["tokens"] for row in rows) / predicted
            speed = f"{tokens / (time.monotonic() - began):,.0f} target tokens/s"
            bar.set_postfix_str(f"update {update + 1}/{updates}, loss {loss:.3f}, {speed}", refresh=False)
            bar.update()
            curves.log(update + 1, loss, rows)
            if clock and clock.is_due(last=update + 1 == updates):
                checkpoint.save(checkpoints, trainer.engine, update + 1, log, fingerprint, spent)
                clock.restart(update + 1, updates)
    frozen.check(prepared.network, before)
    masters = trainer.engine.state(MASTERS)
    if diverged:  # the failed step has moved nothing, but no training may end with weights that look like the best
        masters = {name: torch.full_like(value, torch.nan) for name, value in masters.items()}
    elif bad := [] if keep_diverged else [name for name, value in masters.items() if not value.isfinite().all()]:
        raise Diverged(f"finetune: {bad[0]} is not finite after the last update; nothing was written; {REMEDY}")
    log = pd.DataFrame(log, columns=LOG_COLUMNS)
    return masters, log, damage_at_start(log, base)


def learning_rate(update: int, updates: int, peak: float, warmup: int, schedule: str) -> float:
    """Learning rate of an update (from 0): linear warmup, then `constant`, or `linear` or `cosine` down to zero."""
    if update < warmup:
        return peak * (update + 1) / warmup
    progress = (update - warmup) / max(updates - warmup, 1)
    cosine = 0.5 * (1 + float(torch.cos(torch.tensor(progress * torch.pi))))
    return peak * {"constant": 1.0, "linear": 1 - progress, "cosine": cosine}[schedule]


def damage_at_start(log: pd.DataFrame, base: float | None) -> float:
    """Nats per token by which the first update's loss was above the base's; 0 without routing, NaN if it diverged."""
    first = log[log["update"] == 0]
    if base is None or first.empty:
        return 0.0 if base is None else math.nan
    damage = float((first["loss"] * first["tokens"]).sum() / first["tokens"].sum()) - base
    if damage > DAMAGE:
        say(
            f"warning: before training, routing adds {damage:.2f} nats per token to the loss of the base "
            f"({base:.2f}); routing.others: base with routing.start: identity starts at the base"
        )
    return damage


def loss_rows(losses: torch.Tensor, directions: list[str], update: int, rate: float) -> list[dict]:
    """Rows of the loss log: per direction of the window, the token-weighted mean loss. Diverged if it is not finite.

    `losses`: float64 (micro-batches, 2), the loss and the predicted tokens of each.
    """
    rows = []
    for direction in dict.fromkeys(directions):
        loss, tokens = losses[[name == direction for name in directions]].T
        mean = float((loss * tokens).sum() / tokens.sum())
        if not math.isfinite(mean):
            advice = REMEDY if update else "the base, as routed, computes no numbers for this text, before any update"
            raise Diverged(f"finetune: the loss of {direction} is {mean} at update {update}; {advice}")
        values = update, direction, mean, int(tokens.sum()), rate
        rows.append(dict(zip(LOG_COLUMNS, values, strict=True)))
    return rows
