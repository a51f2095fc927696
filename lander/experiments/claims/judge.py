"""Permutation tests and the statistics that several claims share.

A permutation test compares a statistic of the data with the same statistic of arrangements of the data: of all if
they are few, else of seeded random ones. Tests that permute layers treat them as exchangeable; neighbouring layers are
alike, so their p is on the small side.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lander.shared.yamlfile import read_yaml

ALPHA = 0.05
ALIKE = 0.8  # curves of this mean correlation have "a similar trend"
MIXED = 0.1  # languages of at most this silhouette have no clear boundaries
LOWEST = 0.1  # a cell among this share of the lowest "does not improve significantly"
LIMITS = {"alpha": ALPHA, "alike": ALIKE, "mixed": MIXED, "lowest": LOWEST}
ALL = 5040  # arrangements (7!) up to which all are tried
DRAWS = 2000
SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE = "supported", "not supported", "not testable here"
GENERA, RULES, CLAIMS = read_yaml(Path(__file__).with_name("claims.yaml")).values()
GENUS = {code: genus for genus, codes in GENERA.items() for code in codes.split()}


class Result(NamedTuple):
    """What was found about a claim; without numbers it could not be tested."""

    value: float = math.nan
    control: float = math.nan
    p: float = math.nan
    verdict: str = NOT_TESTABLE
    note: str = ""  # about the statistic
    of: str = ""  # which of several tests of the claim this is


Found = list[tuple[str, Result]]  # key of the claim, result


def tested(statistic: Callable[[np.ndarray], float], arrangements: Iterable[np.ndarray]) -> Result:
    """A one-sided permutation test: is the statistic of the first arrangement, that of the data, among the largest?

    The control is the mean over the arrangements. Not testable if even the best arrangement has p > `ALPHA`.
    """
    values = np.array([statistic(arrangement) for arrangement in arrangements])
    values = np.where(np.isnan(values), -np.inf, values)
    near = 1e-12 * max(1.0, abs(values[0]))
    p, lowest = ((values >= top - near).mean() for top in (values[0], values.max()))
    verdict = (SUPPORTED if p <= ALPHA else NOT_SUPPORTED) if lowest <= ALPHA else NOT_TESTABLE
    mean = values[np.isfinite(values)].mean() if np.isfinite(values).any() else math.nan
    return Result(float(values[0]), float(mean), float(p), verdict)


def arrangements(
    own: Any, all_of_them: Iterable[Any], number: float, draw: Callable[[np.random.Generator], Any], seed: int
) -> list[Any]:
    """All arrangements if their number is at most `ALL`, or else seeded random ones; that of the data first."""
    if number <= ALL:
        return list(map(np.array, all_of_them))
    random = np.random.default_rng(seed)
    return [own, *(draw(random) for _ in range(DRAWS - 1))]


def orders(n: int, seed: int) -> list[np.ndarray]:
    """Orders of n things."""
    every = itertools.permutations(range(n))
    return arrangements(np.arange(n), every, math.factorial(min(n, 20)), lambda random: random.permutation(n), seed)


def signs(n: int, seed: int) -> list[np.ndarray]:
    """Rows of +1 and -1."""
    every = itertools.product((1, -1), repeat=n)
    return arrangements(np.ones(n), every, 2**n, lambda random: random.choice([1, -1], n), seed)


def correlations(rows: np.ndarray) -> np.ndarray:
    """Pearson's correlation of all pairs of rows; a constant row correlates with nothing (0)."""
    x = rows - rows.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    varies = norm > 1e-12 * np.abs(rows).max(initial=1e-300)
    x = np.divide(x, norm, out=np.zeros_like(x, dtype=np.float64), where=varies)
    return x @ x.T


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, from 0; ties by place."""
    return values.argsort(axis=-1, kind="stable").argsort(axis=-1, kind="stable")


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Rank correlation of two vectors, over the places where both are numbers; NaN for fewer than three."""
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < 3:
        return math.nan
    return float(correlations(np.stack([ranks(x[known]), ranks(y[known])]).astype(np.float64))[0, 1])


def relative_spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation over rows divided by their mean, per column; 0 if the mean is."""
    mean = np.abs(values.mean(axis=0))
    return np.divide(values.std(axis=0), mean, out=np.zeros_like(mean), where=mean > 0)


def pairs_against_others(table: np.ndarray, keys: Sequence[object], seed: int) -> Result:
    """Are things of the same key (None: like no other) more alike than others? Tested by renaming the things.

    `table` is their likeness, (n, n) and symmetric; the control is its mean over all other pairs.
    """
    pairs, others = [], []
    for i, j in itertools.combinations(range(len(table)), 2):
        (pairs if keys[i] is not None and keys[i] == keys[j] else others).append((i, j))
    if not pairs or not others:
        return Result()
    first, second = np.array(pairs).T
    found = tested(lambda order: float(table[order[first], order[second]].mean()), orders(len(table), seed))
    return found._replace(control=float(np.mean([table[pair] for pair in others])))


def part_above_part(values: np.ndarray, high: str, low: str, seed: int) -> Result:
    """Is a value per layer higher in one part of the depth than in another (the control)? Tested by permuting layers.

    The parts: `early` or `late` half (an odd layer is in neither), `middle` third or `outer` thirds.
    """
    n = len(values)
    place, third = np.arange(n), n // 3
    middle = (place >= third) & (place < n - third)
    parts = {"early": place < n // 2, "late": place >= n - n // 2, "middle": middle, "outer": ~middle}
    above, below = parts[high], parts[low]
    if not above.any() or not below.any():
        return Result()
    found = tested(lambda order: values[order][above].mean() - values[order][below].mean(), orders(n, seed))
    return found._replace(value=float(values[above].mean()), control=float(values[below].mean()))
