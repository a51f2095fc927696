"""The loss log of a training, and the word for a training that has come apart."""

import math

import torch

from lander.shared.errors import UserError

LOG_COLUMNS = ["update", "direction", "loss", "tokens", "learning_rate"]
REMEDY = "lower finetune.learning_rate"


class Diverged(UserError):
    """A loss, a gradient or a weight is no finite number any more."""


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
    """What is trained, before it is written.

    Raises:
        Diverged: names a parameter with a value that is not finite.
    """
    for name, value in weights.items():
        if not value.isfinite().all():
            raise Diverged(f"finetune: {name} is not finite after the last update; nothing was written; {REMEDY}")
