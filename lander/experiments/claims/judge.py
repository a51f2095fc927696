"""Statistics and verdicts that all claims share.

A permutation test compares a statistic of the data with the same statistic of arrangements of the data. Few
arrangements are all tried, many are drawn at random with a seed.
"""

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from lander.shared.languages import parse_direction

ALPHA = 0.05
ALL = 5040  # arrangements (7!) up to which all are tried
DRAWS = 2000
MIXED = 0.1  # languages of at most this silhouette have no clear boundaries
SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE = "supported", "not supported", "not testable here"
BY_TEST = f"value above control, permutation p <= {ALPHA:g}"
GENERA = {  # of the languages people score; WALS
    "Germanic": "en de nl af da sv nb nn no is fy lb",
    "Romance": "fr it es pt ro ca gl oc",
    "Slavic": "ru uk be pl cs sk sl hr sr bs bg mk",
    "Baltic": "lt lv",
    "Celtic": "ga gd cy br",
    "Indic": "hi bn ur mr gu pa ne si",
    "Iranian": "fa ps ku tg",
    "Semitic": "ar he am mt",
    "Chinese": "zh yue",
    "Finnic": "fi et",
    "Turkic": "tr az kk uz ky",
    "Dravidian": "ta te kn ml",
}
GENUS = {code: genus for genus, codes in GENERA.items() for code in codes.split()}
Found = tuple[float, float, "Test | None"]  # value, control, test; None if there is nothing to test


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


def judged(claim: str, where: str, statistic: str, found: Found, rule: str = BY_TEST) -> Verdict:
    """The row of a claim whose verdict is that of its test."""
    value, control, test = found
    if test is None:
        return Verdict(claim, where, statistic, rule=rule)
    return Verdict(claim, where, statistic, value, control, test.p, test.verdict, rule)


def tested(statistic: Callable[[np.ndarray], float], arrangements: Iterable[np.ndarray]) -> Test:
    """A one-sided permutation test.

    Args:
        statistic: of an arrangement; large if the claim is true.
        arrangements: that of the data first.
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


# ---------------------------------------------------------------- arrangements


def orders(n: int, seed: int) -> list[np.ndarray]:
    """Orders of n things, their own first: all of them, or seeded random ones if there are more than `ALL`."""
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
    """(rows, n) orders, each row shuffled separately; the unshuffled first. Only their relative order matters."""
    random = np.random.default_rng(seed)
    plain = np.tile(np.arange(n), (rows, 1))
    return [plain, *(random.permuted(plain, axis=1) for _ in range(DRAWS - 1))]


# ---------------------------------------------------------------- statistics


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


def pairs_against_others(table: np.ndarray, pairs: list[tuple[int, int]], seed: int) -> Found:
    """Are some pairs more alike than the others? Tested by renaming the things.

    Args:
        table: (n, n) symmetric likeness.
        pairs: the pairs in question, lower place first.

    Returns:
        mean likeness of these pairs, of all others, and the test; no test if there are no such pairs or no others.
    """
    others = [pair for pair in itertools.combinations(range(len(table)), 2) if pair not in set(pairs)]
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


def part_above_part(values: np.ndarray, high: str, low: str, seed: int) -> Found:
    """Is a value per layer higher in one part of the depth than in another? Tested by permuting layers.

    Returns:
        mean in the part `high`, in the part `low`, and the test; no test if there are fewer than two layers.
    """
    parts = parts_of_depth(len(values))
    if not parts[high].any() or not parts[low].any():
        return math.nan, math.nan, None
    test = tested(
        lambda order: values[order][parts[high]].mean() - values[order][parts[low]].mean(), orders(len(values), seed)
    )
    return float(values[parts[high]].mean()), float(values[parts[low]].mean()), test


# ---------------------------------------------------------------- languages


def reversed_pairs(directions: list[str]) -> list[tuple[int, int]]:
    """Places of the directions whose reverse is there too, lower place first."""
    parsed = [parse_direction(name) for name in directions]
    both = itertools.combinations(enumerate(parsed), 2)
    return [(i, j) for (i, one), (j, other) in both if (one.source, one.target) == (other.target, other.source)]


def related_pairs(languages: list[str], genus: dict[str, str]) -> list[tuple[int, int]]:
    """Places of the pairs of languages of one genus, lower place first; codes like zh-Hant count as zh."""
    of = [genus.get(code.split("-")[0]) for code in languages]
    return [(i, j) for i, j in itertools.combinations(range(len(of)), 2) if of[i] is not None and of[i] == of[j]]
