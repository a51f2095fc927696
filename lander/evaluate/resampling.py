"""Resampling of sentences, vectorised: the sums of a thousand resamples are one product of matrices.

A resample that draws sentence i w_i times has the statistics sum_i w_i s_i. With one row of weights w per resample and
the statistics of all systems side by side, all their sums are

    bootstrap       W (resamples, n) @ S (n, statistics),   W multinomial: n draws with replacement
    randomisation   M (trials, n) @ S (n, statistics),      M zeros and ones: the sentences whose outputs are swapped

and swapping the outputs of systems a and b in the sentences of M gives S_a - M S_a + M S_b and S_b - M S_b + M S_a. The
draws are those of sacreBLEU's `PairedTest` with the same seed. They depend on seed and number of sentences alone, so
the lines of a test set that is aligned over many directions are drawn together in all of them.
"""

from collections.abc import Iterator, Sequence

import numpy as np

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
    that is the same in every resample of many `sentences` has that smallest p; of a single sentence all resamples are
    alike, and nothing can be said: p = 1.
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
