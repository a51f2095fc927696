"""Resampling of sentences: what was observed of all methods in one place, and what resampling makes of it.

A resample that draws sentence i w_i times has the statistics sum_i w_i s_i. With one row of weights w per resample and
the statistics of all systems side by side, all their sums are one product of matrices:

    bootstrap       W (resamples, n) @ S (n, statistics),   W multinomial: n draws with replacement
    randomisation   M (trials, n) @ S (n, statistics),      M zeros and ones: the sentences whose outputs are swapped

and swapping the outputs of systems a and b in the sentences of M gives S_a - M S_a + M S_b and S_b - M S_b + M S_a. The
draws are those of sacreBLEU's `PairedTest` with the same seed. They depend on seed and number of sentences alone, so
the lines of a test set that is aligned over many directions are drawn together in all of them.

`lander.evaluate.significance` says what is tested.
"""

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lander.evaluate.collect import merge_signatures
from lander.evaluate.segments import Compared, Model
from lander.evaluate.statistics import scorer

CHUNK = 512  # resamples at a time; a multiple of 32 keeps the stream of random bits that sacreBLEU draws at once
TOLERANCE = 1e-9  # of a score, for ties between sums of floats


def bootstrap_weights(sentences: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks (rows, sentences) of how often each resample draws each sentence."""
    random = np.random.default_rng(seed)
    for rows in _chunks(resamples):
        drawn = random.choice(sentences, size=(rows, sentences), replace=True)
        drawn += sentences * np.arange(rows)[:, None]
        counts = np.bincount(drawn.reshape(-1), minlength=rows * sentences)
        yield counts.reshape(rows, sentences).astype(np.float64)


def halves(sentences: int, trials: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks (rows, sentences) of zeros and ones: the sentences that are swapped."""
    random = np.random.default_rng(seed)
    for rows in _chunks(trials):
        yield random.integers(2, size=(rows, sentences), dtype=bool).astype(np.float64)


def _chunks(number: int) -> Iterator[int]:
    for start in range(0, number, CHUNK):
        yield min(CHUNK, number - start)


def over_seeds(scores: np.ndarray, key: Sequence[int]) -> np.ndarray:
    """Hierarchical bootstrap: in each resample the mean over seeds drawn with replacement.

    Args:
        scores: (seeds, resamples), the seeds' scores of the same resampled sentences.
        key: of the draw of seeds.

    Returns:
        (resamples,).
    """
    seeds, resamples = scores.shape
    if seeds == 1:
        return scores[0]
    drawn = np.random.default_rng(list(key)).integers(seeds, size=(seeds, resamples))
    return np.take_along_axis(scores, drawn, axis=0).mean(axis=0)


def interval(samples: np.ndarray) -> tuple[float, float]:
    """The middle 95% of bootstrap scores, cut as sacreBLEU cuts them: a fortieth at either end."""
    ordered = np.sort(samples)
    out = len(ordered) // 40
    return float(ordered[out]), float(ordered[len(ordered) - out - 1])


def p_bootstrap(differences: np.ndarray, observed: float, sentences: int) -> float:
    """sacreBLEU's p of the paired bootstrap: how often the resamples' absolute differences exceed their own mean by at
    least the observed one. It looks at one tail: about half of a two-sided p.

    Ties count, so that two identical systems have p = 1 (sacreBLEU: 1 / (resamples + 1), its smallest p). A difference
    that is the same in every resample of many `sentences` has that smallest p. With one sentence all resamples are
    equal, so p is 1.
    """
    if sentences == 1:
        return 1.0
    sizes = np.abs(differences)
    return _share(sizes - sizes.mean(), abs(observed))


def p_randomisation(differences: np.ndarray, observed: float) -> float:
    """Two-sided p of approximate randomisation: how often swapped outputs differ by at least what was observed."""
    return _share(np.abs(differences), abs(observed))


def _share(values: np.ndarray, observed: float) -> float:
    return (int((values >= observed - TOLERANCE).sum()) + 1) / (len(values) + 1)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the k-th smallest p (from 0) times m - k, at least a smaller p's, at most 1."""
    order = np.argsort(ps, kind="stable")
    steps = np.asarray(ps, dtype=float)[order] * (len(ps) - np.arange(len(ps)))
    corrected = np.empty(len(ps))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(ps) else []
    return corrected.tolist()


# ---------------------------------------------------------------- methods and their seeds


class Method(NamedTuple):
    """A method and its variant, all seeds together."""

    name: str
    variant: str

    def __str__(self) -> str:
        return self.name if self.variant == "main" else f"{self.name}/{self.variant}"


Pair = tuple[Method, Method]


@dataclass(frozen=True)
class Design:
    """What is compared with what, and how often it is resampled."""

    baselines: list[Method]
    resamples: int  # of the bootstrap and of the randomisation
    seed: int

    def pairs(self, methods: Iterable[Method]) -> list[Pair]:
        """Every method with every baseline that is there, two baselines once."""
        there, found = list(methods), []
        for place, baseline in enumerate(self.baselines):
            earlier = self.baselines[: place + 1]
            found += [(method, baseline) for method in there if method not in earlier and baseline in there]
        return found


@dataclass
class Sampled:
    """A metric of all methods in one place: what was observed, and what resampling makes of it."""

    observed: dict[Method, np.ndarray]  # the scores of the seeds
    bootstrap: dict[Method, np.ndarray]  # (resamples,) means over seeds
    swapped: dict[Pair, np.ndarray]  # (1 + trials,) the difference of paired seeds, and what swapping makes of it
    segments: int
    signature: str
    longest: int  # sentences that are resampled together: of a mean those of its largest member

    def score(self, method: Method) -> float:
        return float(self.observed[method].mean())


def _paired(one: Sequence[Model], other: Sequence[Model]) -> list[tuple[Model, Model]]:
    """Models of two methods, seed by seed; a single one goes with each of the other's."""
    if len(one) == 1 or len(other) == 1:
        return [(a, b) for a in one for b in other]
    by_seed = {model.seed: model for model in other}
    return [(model, by_seed[model.seed]) for model in one if model.seed in by_seed]


def sample(compared: Compared, design: Design) -> Sampled:
    """Resample the sentences of one place."""
    models = list(compared.statistics)
    stack = np.stack([compared.statistics[model].T for model in models], axis=1).astype(np.float64)
    width, _, sentences = stack.shape  # (width, models, sentences)
    score = scorer(width)
    observed = score(stack.sum(axis=2), sentences)
    groups: dict[Method, list[int]] = defaultdict(list)
    for place, model in sorted(enumerate(models), key=lambda item: item[1].seed.zfill(9)):
        groups[Method(model.method, model.variant)].append(place)

    weights = bootstrap_weights(sentences, design.resamples, design.seed)
    drawn = np.concatenate([score(_sums(stack, block), sentences) for block in weights], axis=1)  # (models, resamples)
    bootstrap = {
        method: over_seeds(drawn[places], [design.seed, zlib.crc32(str(method).encode())])
        for method, places in groups.items()
    }
    paired = {
        (one, other): _paired([models[place] for place in groups[one]], [models[place] for place in groups[other]])
        for one, other in design.pairs(groups)
    }
    places = {pair: [(models.index(a), models.index(b)) for a, b in found] for pair, found in paired.items() if found}
    swapped = _swap(stack, list(places.values()), design)
    return Sampled(
        {method: observed[places] for method, places in groups.items()},
        bootstrap,
        dict(zip(places, swapped, strict=True)),
        sentences,
        compared.signature,
        sentences,
    )


def _sums(stack: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sums over sentences: (width, models, rows) of (width, models, sentences) and (rows, sentences)."""
    width, models, sentences = stack.shape
    return (stack.reshape(-1, sentences) @ weights.T).reshape(width, models, -1)


def _swap(stack: np.ndarray, pairs: Sequence[Sequence[tuple[int, int]]], design: Design) -> list[np.ndarray]:
    """Differences of each pair of methods, the mean over its pairs of seeds: as observed, then after each swapping.

    Args:
        stack: statistics (width, models, sentences).
        pairs: for each pair of methods, its pairs of models.
    """
    if not pairs:
        return []
    first, second = np.array([pair for one in pairs for pair in one]).T
    score, sentences = scorer(len(stack)), stack.shape[2]
    total = stack.sum(axis=2)[:, :, None]
    observed = score(total, sentences)
    blocks = [observed[first] - observed[second]]
    for picked in halves(sentences, design.resamples, design.seed):
        half = _sums(stack, picked)
        moved = half[:, second] - half[:, first]
        blocks.append(score(total[:, first] + moved, sentences) - score(total[:, second] - moved, sentences))
    ends = np.cumsum([len(one) for one in pairs])
    return [part.mean(axis=0) for part in np.split(np.concatenate(blocks, axis=1), ends[:-1])]


class Mean:
    """The mean over directions of what was sampled in each, for methods that have all of them, at the same seeds."""

    def __init__(self, name: str, members: Sequence[str], methods: Sequence[dict[Method, list[Model]]]):
        """`methods`: of each member."""
        self.name, self.members, self.number = name, set(members), len(members)
        seeds = [{method: [model.seed for model in models] for method, models in found.items()} for found in methods]
        self.methods = [method for method in seeds[0] if all(one.get(method) == seeds[0][method] for one in seeds)]
        self.sampled: Sampled | None = None
        self.signatures: list[str] = []

    def add(self, one: Sampled) -> None:
        """Add a member's samples."""
        self.signatures.append(one.signature)
        before = self.sampled
        observed = {method: one.observed[method] / self.number for method in self.methods}
        bootstrap = {method: one.bootstrap[method] / self.number for method in self.methods}
        swapped = {pair: values / self.number for pair, values in one.swapped.items() if set(pair) <= set(self.methods)}
        if before is not None:
            observed = {method: values + before.observed[method] for method, values in observed.items()}
            bootstrap = {method: values + before.bootstrap[method] for method, values in bootstrap.items()}
            swapped = {pair: values + before.swapped[pair] for pair, values in swapped.items()}
        segments = one.segments + (before.segments if before else 0)
        signature = f"{merge_signatures(self.signatures)}|mean:{self.number}"
        longest = max(one.longest, before.longest if before else 0)
        self.sampled = Sampled(observed, bootstrap, swapped, segments, signature, longest)
