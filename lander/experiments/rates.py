"""The search for a method's learning rate: which ones to try next. Nothing heavy here: Snakemake calls it.

The grid is geometric around the rate of the config. It grows beyond an edge for as long as the best lies there; then
methods that have had fewer trials than others get more of them beside their best, so that all have had as many.

    next_rates({}, 0.01, 2, 0)                                          ->  [0.005, 0.01, 0.02]
    next_rates({0.005: 3.0, 0.01: 2.0, 0.02: 1.9}, 0.01, 2, 0)          ->  [0.04]
    next_rates({0.005: 3.0, 0.01: 2.0, 0.02: 1.9, 0.04: 2.5}, 0.01, 2, 4)  ->  []
"""

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from lander.shared.errors import UserError

MOST = 12  # trials of a method in the search of an edge: with a factor of 2 that is a range of 1 to 2048


def rate_name(rate: float) -> str:
    """The variant that tries a learning rate: 0.003 -> `lr0.003`."""
    return f"lr{rate:.3g}"


def round_rate(rate: float) -> float:
    """To three significant digits, so that names are stable."""
    return float(f"{rate:.3g}")


def next_rates(losses: Mapping[float, float], start: float, factor: float, trials: int) -> list[float]:
    """The learning rates still to be tried.

    Args:
        losses: learning rate -> dev loss, of those that have been tried; NaN and infinity are the worst.
        start: the rate in the middle of the first three.
        factor: between neighbours of the grid, above 1.
        trials: how many any method has needed until its best lay inside its grid.

    Returns:
        Rates, rounded; none when the best lies inside and there are `trials` of them.
    Raises:
        UserError: the best still lies at an edge of a grid that has become very wide.
    """
    first = [round_rate(start / factor), round_rate(start), round_rate(start * factor)]
    if missing := [rate for rate in first if rate not in losses]:
        return missing
    best = best_rate(losses, start)
    if not inside(losses, best):
        if len(losses) >= MOST:
            raise UserError(
                f"tune: after {len(losses)} learning rates from {min(losses):g} to {max(losses):g} the best lies at an "
                "edge; set another finetune.learning_rate or a larger experiments.tune_factor"
            )
        return [round_rate(best * factor if best == max(losses) else best / factor)]
    return _between(losses, best)[: max(0, trials - len(losses))]


def best_rate(losses: Mapping[float, float], start: float) -> float:
    """The rate of the lowest loss; the one nearest to `start` of equal ones, the lowest where all have diverged."""
    if not any(map(math.isfinite, losses.values())):
        return min(losses)
    return min(losses, key=lambda rate: (_finite(losses[rate]), abs(math.log(rate / start))))


def inside(losses: Mapping[float, float], best: float) -> bool:
    """Whether a rate has neighbours on both sides."""
    return min(losses) < best < max(losses)


def _between(losses: Mapping[float, float], best: float) -> list[float]:
    """Geometric means of the best and its neighbours, that in the larger gap first."""
    lower = max(rate for rate in losses if rate < best)
    upper = min(rate for rate in losses if rate > best)
    found = [round_rate(math.sqrt(lower * best)), round_rate(math.sqrt(best * upper))]
    if round(upper / best, 2) > round(best / lower, 2):  # rounded rates of a regular grid have gaps that nearly agree
        found.reverse()
    return [rate for rate in found if rate not in losses]


def dev_loss(path: str | Path) -> float:
    """Dev loss after training, nats per token over all directions, from a model's file of losses.

    Raises:
        UserError: no such file, or none of its rows is of kind dev.
    """
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["kind"] == "dev" and row["state"] == "trained"]
        counts = [float(row["tokens"]) for row in rows]
        nats = [float(row["loss"]) * float(row["tokens"]) for row in rows]
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not a table of losses ({error}); remove it and run snakemake again") from None
    if not sum(counts):
        raise UserError(f"{path}: no loss of kind dev after training; remove it and run snakemake again")
    return sum(nats) / sum(counts)


def _finite(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf
