"""Rounds of the search for learning rates: a simulated search ends with the best inside, and as many trials for all."""

import math

from lander.experiments.rates import inside
from lander.experiments.rounds import next_round


def search(curves, starts, factor=2.0):
    """Play rounds against known dev losses; returns all losses that were asked for, and the number of rounds."""
    losses = {method: {} for method in starts}
    for number in range(50):
        found = next_round(losses, starts, factor)
        if not any(found.values()):
            return losses, number
        for method, rates in found.items():
            for rate in rates:
                assert rate not in losses[method]
                losses[method][rate] = curves[method](rate)
    raise AssertionError("the search does not end")


def bowl(best):
    return lambda rate: (math.log(rate) - math.log(best)) ** 2


def test_every_method_ends_with_its_best_inside_and_as_many_trials() -> None:
    curves = {"full": bowl(0.001), "lora": bowl(0.03), "landermt": bowl(0.0011)}
    losses, _ = search(curves, dict.fromkeys(curves, 0.001))
    assert len({len(tried) for tried in losses.values()}) == 1
    for method, best in {"full": 0.001, "lora": 0.03, "landermt": 0.0011}.items():
        found = min(losses[method], key=losses[method].get)
        assert inside(losses[method], found)
        assert max(found / best, best / found) <= 2**0.5 + 0.01


def test_a_diverged_training_is_the_worst() -> None:
    losses, _ = search({"full": lambda rate: math.nan if rate > 0.0005 else bowl(0.0003)(rate)}, {"full": 0.001})
    assert {0.00025, 0.002} <= set(losses["full"])


def test_the_first_round_is_three_rates_each() -> None:
    assert next_round({"full": {}, "lora": {}}, {"full": 0.001, "lora": 0.01}, 2) == {
        "full": [0.0005, 0.001, 0.002],
        "lora": [0.005, 0.01, 0.02],
    }
