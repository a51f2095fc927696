"""The search for each method's learning rate: which trainings come next, given the dev losses of those before.

The workflow repeats rounds until one asks for nothing. The grid of a method is geometric around the rate of the config.
It grows beyond an edge while its best rate lies there. Then each method is tried at more rates near its best, until
all methods have equally many trials.

Reads:  <run>/loss/<method>/lr<rate>/s<seed>.csv of all trials so far
Writes: <run>/tune/round<n>.json   {"rates": {method: [all rates so far and those of this round]}, "done": bool}

Example:
    python -m lander.experiments.rates --start full=0.001 lora=0.01 --factor 2 --loss full/0.001=loss.csv --out 1.json
"""

import argparse
import math
from collections.abc import Mapping
from pathlib import Path

from lander.shared.errors import UserError, run_main
from lander.shared.files import write_json

MOST = 12  # trials of a method in the search of an edge: with a factor of 2 that is a range of 1 to 2048


def rate_name(rate: float) -> str:
    """The variant that tries a learning rate: 0.003 -> `lr0.003`."""
    return f"lr{rate:.3g}"


def next_round(
    losses: Mapping[str, Mapping[float, float]], starts: Mapping[str, float], factor: float
) -> dict[str, list[float]]:
    """Method -> the learning rates to try now, from the dev losses so far; empty lists if the search is over."""
    wider = {method: next_rates(losses[method], start, factor, 0) for method, start in starts.items()}
    if any(wider.values()):
        return wider
    most = max(len(losses[method]) for method in starts)
    return {method: next_rates(losses[method], start, factor, most) for method, start in starts.items()}


def next_rates(losses: Mapping[float, float], start: float, factor: float, trials: int) -> list[float]:
    """The learning rates of one method that are still to be tried; none if the best lies inside and there are enough.

    `start` is in the middle of the first three; neighbours differ by `factor` (above 1). `trials`: how many any method
    has needed until its best lay inside its grid. Losses that are not finite are the worst.
    """
    first = [_round(start / factor), _round(start), _round(start * factor)]
    if missing := [rate for rate in first if rate not in losses]:
        return missing
    best = best_rate(losses, start)
    if not inside(losses, best):
        if len(losses) >= MOST:
            raise UserError(
                f"tune: after {len(losses)} learning rates from {min(losses):g} to {max(losses):g} the best lies at an "
                "edge; set another finetune.learning_rate or a larger experiments.tune_factor"
            )
        return [_round(best * factor if best == max(losses) else best / factor)]
    # geometric means of the best and its neighbours, that in the larger gap first
    lower = max(rate for rate in losses if rate < best)
    upper = min(rate for rate in losses if rate > best)
    between = [_round(math.sqrt(lower * best)), _round(math.sqrt(best * upper))]
    if round(upper / best, 2) > round(best / lower, 2):  # rounded rates of a regular grid have gaps that nearly agree
        between.reverse()
    return [rate for rate in between if rate not in losses][: max(0, trials - len(losses))]


def best_rate(losses: Mapping[float, float], start: float) -> float:
    """The rate of the lowest loss; of equal ones the nearest to `start`; the lowest rate if all have diverged."""
    if not any(map(math.isfinite, losses.values())):
        return min(losses)
    finite = {rate: loss if math.isfinite(loss) else math.inf for rate, loss in losses.items()}
    return min(finite, key=lambda rate: (finite[rate], abs(math.log(rate / start))))


def inside(losses: Mapping[float, float], best: float) -> bool:
    """Whether a rate has neighbours on both sides."""
    return min(losses) < best < max(losses)


def _round(rate: float) -> float:
    """To three significant digits, so that names are stable."""
    return float(f"{rate:.3g}")


def main() -> None:
    """Read the losses, plan the round, write it."""
    parser = argparse.ArgumentParser(prog="lander.experiments.rates", description=__doc__.splitlines()[0])
    parser.add_argument("--start", nargs="+", required=True, metavar="METHOD=RATE", help="middle of the first grid")
    parser.add_argument("--factor", type=float, required=True, help="between neighbouring rates")
    parser.add_argument("--loss", nargs="*", default=[], metavar="METHOD/RATE=FILE", help="losses of trials")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if wrong := [value for value in args.start if "=" not in value]:
        raise UserError(f"--start {wrong[0]}: write METHOD=RATE")
    starts = {method: float(rate) for method, _, rate in (value.partition("=") for value in args.start)}
    losses: dict[str, dict[float, float]] = {method: {} for method in starts}
    for value in args.loss:
        from lander.experiments.samples import loss_samples, read_losses  # pandas is not needed for the first round

        name, _, file = value.partition("=")
        method, _, rate = name.partition("/")
        if not file or method not in losses:
            raise UserError(f"--loss {value}: write METHOD/RATE=FILE, METHOD one of --start")
        losses[method][float(rate)] = loss_samples(read_losses([file]), "dev")["value"].item()
    found = next_round(losses, starts, args.factor)
    rates = {method: sorted([*tried, *found[method]]) for method, tried in losses.items()}
    write_json(args.out, {"rates": rates, "done": not any(found.values())})


if __name__ == "__main__":
    run_main(main, "experiments.rates")
