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
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from lander.evaluate.collect import MEANS, belongs, merge_signatures
from lander.evaluate.metrics import scores
from lander.evaluate.segments import Compared, Method, Place

CHUNK = 512  # resamples at a time; a multiple of 32 keeps the stream of random bits that sacreBLEU draws at once
TOLERANCE = 1e-9  # of a score, for ties between sums of floats
SEED = 12345  # sacreBLEU's
Pair = tuple[Method, Method]


@dataclass(frozen=True)
class Design:
    """What is compared with what (a method and its baseline), and how often it is resampled."""

    pairs: Sequence[Pair]
    resamples: int  # of the bootstrap and of the randomisation
    seed: int = SEED

    def among(self, there: Collection[Method]) -> list[Pair]:
        """The pairs of which both methods are there."""
        return [pair for pair in self.pairs if pair[0] in there and pair[1] in there]


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
        """The mean over seeds."""
        return float(self.observed[method].mean())

    def test(self, one: Method, other: Method) -> tuple[float, float, float, float, float | None]:
        """The difference of two methods, its interval, and the p's of bootstrap and randomisation.

        If their seeds cannot be paired, randomisation has none.
        """
        difference, drawn = self.score(one) - self.score(other), self.bootstrap[one] - self.bootstrap[other]
        swapped = self.swapped.get((one, other))
        p = None if swapped is None else p_randomisation(swapped[1:], swapped[0])
        return difference, *interval(drawn), p_bootstrap(drawn, difference, self.longest), p


def interval(samples: np.ndarray) -> tuple[float, float]:
    """The middle 95% of bootstrap scores, cut as sacreBLEU cuts them: a fortieth at either end."""
    ordered = np.sort(samples)
    out = len(ordered) // 40
    return float(ordered[out]), float(ordered[len(ordered) - out - 1])


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the k-th smallest p (from 0) times m - k, at least a smaller p's, at most 1."""
    order = np.argsort(ps, kind="stable")
    steps = np.asarray(ps, dtype=float)[order] * (len(ps) - np.arange(len(ps)))
    corrected = np.empty(len(ps))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(ps) else []
    return corrected.tolist()


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


def over_seeds(scores: np.ndarray, key: Sequence[int]) -> np.ndarray:
    """Hierarchical bootstrap (resamples,): in each resample the mean over seeds drawn with replacement.

    `scores` (seeds, resamples) are of the same resampled sentences; `key` decides the draw of seeds.
    """
    seeds, resamples = scores.shape
    if seeds == 1:
        return scores[0]
    drawn = np.random.default_rng(list(key)).integers(seeds, size=(seeds, resamples))
    return np.take_along_axis(scores, drawn, axis=0).mean(axis=0)


# ---------------------------------------------------------------- one place, and means over places


def sample(metric: str, compared: Compared, design: Design) -> Sampled:
    """Resample the sentences of one place."""
    models = list(compared.statistics)
    stack = np.stack([compared.statistics[model].T for model in models], axis=1).astype(np.float64)
    sentences = stack.shape[2]  # of (width, models, sentences)
    observed = scores(metric, stack.sum(axis=2), sentences)
    random, blocks = np.random.default_rng(design.seed), []
    for start in range(0, design.resamples, CHUNK):
        rows = min(CHUNK, design.resamples - start)
        drawn = random.choice(sentences, size=(rows, sentences), replace=True) + sentences * np.arange(rows)[:, None]
        weights = np.bincount(drawn.reshape(-1), minlength=rows * sentences).reshape(rows, sentences)
        blocks.append(scores(metric, _sums(stack, weights), sentences))
    drawn = np.concatenate(blocks, axis=1)  # (models, resamples)
    places = {  # method -> seed -> place of the model
        method: {model.seed: models.index(model) for model in found} for method, found in compared.methods.items()
    }
    found = Sampled({}, {}, {}, sentences, compared.signature, sentences)
    for method, seeds in places.items():
        own = list(seeds.values())
        found.observed[method] = observed[own]
        found.bootstrap[method] = over_seeds(drawn[own], [design.seed, zlib.crc32(str(method).encode())])
    pairs = {}  # of methods -> of models, seed by seed; a single one goes with each of the other's
    for one, other in design.among(places):
        alone = 1 in (len(places[one]), len(places[other]))
        seeds = [(a, b) for a in places[one] for b in places[other] if alone or a == b]
        if seeds:
            pairs[one, other] = [(places[one][a], places[other][b]) for a, b in seeds]
    found.swapped = _swap(metric, stack, pairs, design)
    return found


def _sums(stack: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sums over sentences: (width, models, rows) of (width, models, sentences) and (rows, sentences)."""
    width, models, sentences = stack.shape
    return (stack.reshape(-1, sentences) @ weights.T.astype(np.float64)).reshape(width, models, -1)


def _swap(
    metric: str, stack: np.ndarray, pairs: Mapping[Pair, Sequence[tuple[int, int]]], design: Design
) -> dict[Pair, np.ndarray]:
    """Differences of each pair of methods, the mean over its pairs of models: as observed, then after each swapping.

    `stack`: statistics (width, models, sentences).
    """
    if not pairs:
        return {}
    first, second = np.array([models for own in pairs.values() for models in own]).T
    total, sentences = stack.sum(axis=2)[:, :, None], stack.shape[2]
    observed = scores(metric, total, sentences)
    random, blocks = np.random.default_rng(design.seed), [observed[first] - observed[second]]
    for start in range(0, design.resamples, CHUNK):
        rows = min(CHUNK, design.resamples - start)
        half = _sums(stack, random.integers(2, size=(rows, sentences), dtype=bool))  # the sentences that are swapped
        moved = half[:, second] - half[:, first]
        ahead = scores(metric, total[:, first] + moved, sentences)
        blocks.append(ahead - scores(metric, total[:, second] - moved, sentences))
    ends = np.cumsum([len(own) for own in pairs.values()])
    parts = np.split(np.concatenate(blocks, axis=1), ends[:-1])
    return {pair: part.mean(axis=0) for pair, part in zip(pairs, parts, strict=True)}


def resampled(
    data: Mapping[Place, Compared], design: Design, means: Sequence[str] = MEANS
) -> Iterator[tuple[Place, Sampled]]:
    """Each place of a metric and test set, resampled; then its means over directions.

    A mean has the methods that all of its directions have, at the same seeds.
    """
    found: dict[Place, Sampled] = {}
    for place, compared in data.items():
        found[place] = sample(place.metric, compared, design)
        yield place, found[place]
    for mean in means:
        if members := [place for place in data if belongs(place.direction, mean)]:
            methods, *others = (data[place].methods for place in members)
            common = [one for one, models in methods.items() if all(other.get(one) == models for other in others)]
            yield members[0]._replace(direction=mean), _mean([found[place] for place in members], common)


def _mean(parts: Sequence[Sampled], methods: Collection[Method]) -> Sampled:
    """The mean of what was sampled in several places, for some methods."""
    kept = {*methods, *product(methods, methods)}
    fields = ([one.observed for one in parts], [one.bootstrap for one in parts], [one.swapped for one in parts])
    return Sampled(
        *({key: sum(one[key] / len(parts) for one in field) for key in field[0] if key in kept} for field in fields),
        sum(one.segments for one in parts),
        f"{merge_signatures(one.signature for one in parts)}|mean:{len(parts)}",
        max(one.longest for one in parts),
    )
