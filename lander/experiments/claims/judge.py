"""Statistics and verdicts that all claims share."""

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

ALPHA = 0.05
ALL = 5040  # arrangements (7!) up to which all are tried
DRAWS = 2000
SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE = "supported", "not supported", "not testable here"
BY_TEST = f"value above control, permutation p <= {ALPHA:g}"


@dataclass(frozen=True)
class Verdict:
    """A row of the table of claims."""

    claim: str
    where: str  # section or figure of the paper
    statistic: str  # what value and control are
    value: float = math.nan
    control: float = math.nan
    p: float = math.nan
    verdict: str = NOT_TESTABLE
    rule: str = BY_TEST


@dataclass(frozen=True)
class Test:
    """`p`: share of arrangements at least as far up as the data's own; `floor`: the smallest p that any could have."""

    value: float
    mean: float  # over the arrangements
    p: float
    floor: float

    @property
    def verdict(self) -> str:
        if not self.floor <= ALPHA:
            return NOT_TESTABLE
        return SUPPORTED if self.p <= ALPHA else NOT_SUPPORTED


def tested(statistic: Callable[[np.ndarray], float], arrangements: Iterable[np.ndarray]) -> Test:
    """A one-sided permutation test.

    Args:
        statistic: of an arrangement; large where the claim is true.
        arrangements: the data's own first.
    """
    values = np.array([statistic(arrangement) for arrangement in arrangements])
    values = np.where(np.isnan(values), -np.inf, values)
    near = 1e-12 * max(1.0, abs(values[0]))
    return Test(
        value=float(values[0]),
        mean=float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else math.nan,
        p=float((values >= values[0] - near).mean()),
        floor=float((values >= values.max() - near).mean()),
    )


def orders(n: int, seed: int) -> list[np.ndarray]:
    """Orders of n things, their own first: all of them, or seeded random ones where there are more than `ALL`."""
    if math.factorial(min(n, 20)) <= ALL:
        return [np.array(order, dtype=int) for order in itertools.permutations(range(n))]
    random = np.random.default_rng(seed)
    return [np.arange(n), *(random.permutation(n) for _ in range(DRAWS - 1))]


def signs(n: int, seed: int) -> list[np.ndarray]:
    """Rows of +1 and -1, all + first: all of them, or seeded random ones."""
    if 2**n <= ALL:
        return [np.array(row) for row in itertools.product((1, -1), repeat=n)]
    random = np.random.default_rng(seed)
    return [np.ones(n), *(random.choice([1, -1], n) for _ in range(DRAWS - 1))]


def shuffles(rows: int, n: int, seed: int) -> list[np.ndarray]:
    """(rows, n) orders, each row on its own; the unshuffled first. One row may stay: only relative order matters."""
    random = np.random.default_rng(seed)
    plain = np.tile(np.arange(n), (rows, 1))
    return [plain, *(random.permuted(plain, axis=1) for _ in range(DRAWS - 1))]


def correlations(rows: np.ndarray) -> np.ndarray:
    """Pearson's correlation of all pairs of rows; a constant row correlates with nothing (0)."""
    x = rows - rows.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    x = np.divide(
        x, norm, out=np.zeros_like(x, dtype=np.float64), where=norm > 1e-12 * np.abs(rows).max(initial=1e-300)
    )
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


def mean_pair(table: np.ndarray) -> float:
    """Mean of a symmetric matrix off its diagonal."""
    return float(table[~np.eye(len(table), dtype=bool)].mean())


def pairs_against_others(
    table: np.ndarray, pairs: list[tuple[int, int]], seed: int
) -> tuple[float, float, Test | None]:
    """Are some pairs more alike than the others? Tested by renaming the things.

    Args:
        table: (n, n) symmetric likeness; pairs: the pairs in question.
    Returns:
        mean likeness of these pairs, of all others, and the test; None where either is empty.
    """
    others = [pair for pair in itertools.combinations(range(len(table)), 2) if tuple(sorted(pair)) not in set(pairs)]
    if not pairs or not others:
        return math.nan, math.nan, None
    first, second = np.array(pairs).T

    def likeness(order: np.ndarray) -> float:
        return float(table[order[first], order[second]].mean())

    control = float(np.mean([table[pair] for pair in others]))
    return likeness(np.arange(len(table))), control, tested(likeness, orders(len(table), seed))


def parts_of_depth(n: int) -> dict[str, np.ndarray]:
    """Boolean masks over n layers: `early` and `late` halves (an odd one out in neither), `middle` and `outer`."""
    place = np.arange(n)
    third = n // 3
    middle = (place >= third) & (place < n - third)
    return {"early": place < n // 2, "late": place >= n - n // 2, "middle": middle, "outer": ~middle}


def part_above_part(values: np.ndarray, high: str, low: str, seed: int) -> tuple[float, float, Test | None]:
    """Is a value per layer higher in one part of the depth than in another? Tested by permuting layers.

    Returns:
        mean in the part `high`, in the part `low`, and the test; None where there are fewer than two layers.
    """
    parts = parts_of_depth(len(values))
    if not parts[high].any() or not parts[low].any():
        return math.nan, math.nan, None
    test = tested(
        lambda order: values[order][parts[high]].mean() - values[order][parts[low]].mean(), orders(len(values), seed)
    )
    return float(values[parts[high]].mean()), float(values[parts[low]].mean()), test


def judged(
    claim: str, where: str, statistic: str, found: tuple[float, float, Test | None], rule: str = BY_TEST
) -> Verdict:
    """The row of a claim whose verdict is its test's."""
    value, control, test = found
    if test is None:
        return Verdict(claim, where, statistic, rule=rule)
    return Verdict(claim, where, statistic, value, control, test.p, test.verdict, rule)
