"""A round of the search for learning rates: which trainings come next, given the dev losses of those before.

The workflow repeats rounds until one asks for nothing. First every method's grid grows until its best rate lies
inside; then the methods that needed fewer trials get more of them, so that all have had as many.

Reads:  <run>/loss/<method>/lr<rate>/s<seed>.csv of all trials so far
Writes: <run>/tune/round<n>.json   {"rates": {method: [all rates so far and those of this round]}, "done": bool}

Example:
    python -m lander.experiments.rounds --start full=0.001 lora=0.01 --factor 2 --loss full/0.001=loss.csv --out 1.json
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from lander.experiments.rates import dev_loss, next_rates
from lander.shared.errors import UserError, run_main
from lander.shared.files import write_json

Losses = Mapping[str, Mapping[float, float]]  # method -> learning rate -> dev loss


def next_round(losses: Losses, starts: Mapping[str, float], factor: float) -> dict[str, list[float]]:
    """Method -> the learning rates to be tried now; empty lists where the search is over."""
    wider = {method: next_rates(losses[method], start, factor, 0) for method, start in starts.items()}
    if any(wider.values()):
        return wider
    most = max(len(losses[method]) for method in starts)
    return {method: next_rates(losses[method], start, factor, most) for method, start in starts.items()}


def main() -> None:
    """Read the losses, plan the round, write it."""
    parser = argparse.ArgumentParser(prog="lander.experiments.rounds", description=__doc__.splitlines()[0])
    parser.add_argument("--start", nargs="+", required=True, metavar="METHOD=RATE", help="middle of the first grid")
    parser.add_argument("--factor", type=float, required=True, help="between neighbouring rates")
    parser.add_argument("--loss", nargs="*", default=[], metavar="METHOD/RATE=FILE", help="losses of trials")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    starts = {}
    for value in args.start:
        method, equals, rate = value.partition("=")
        if not equals:
            raise UserError(f"--start {value}: write METHOD=RATE")
        starts[method] = float(rate)
    losses: dict[str, dict[float, float]] = {method: {} for method in starts}
    for value in args.loss:
        name, _, file = value.partition("=")
        method, _, rate = name.partition("/")
        if not file or method not in losses:
            raise UserError(f"--loss {value}: write METHOD/RATE=FILE, METHOD one of --start")
        losses[method][float(rate)] = dev_loss(file)
    found = next_round(losses, starts, args.factor)
    rates = {method: sorted([*losses[method], *found[method]]) for method in starts}
    write_json(args.out, {"rates": rates, "done": not any(found.values())})


if __name__ == "__main__":
    run_main(main, "experiments.rounds")
