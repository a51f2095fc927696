"""Sentence statistics of BLEU and chrF2++, taken from sacreBLEU once, and the scores of any sums of them.

A corpus score of sacreBLEU is a function of the sum over sentences of a few counts. With the counts at hand, the score
of a subset or of a resample costs an addition; `bleu` and `chrf` are sacreBLEU's functions on arrays of sums.
Statistics are on the first axis, so that each of them is contiguous.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sacrebleu.metrics import CHRF
from sacrebleu.metrics.base import Metric

BLEU_WIDTH = 10  # hypothesis and reference length, matches of orders 1-4, n-grams of orders 1-4
LOSS_WIDTH = 2  # thousandths of a nat, characters of the reference
CHRF_WIDTH = 24  # n-grams of hypothesis, of reference, matches; 6 orders of characters, 2 of words
ORDERS = 4
BETA = 2
Scorer = Callable[[np.ndarray, int], np.ndarray]  # sums (statistics, ...) over so many sentences -> scores (...)


def chrf_metric() -> CHRF:
    """sacreBLEU's chrF2++."""
    return CHRF(word_order=2)


class Extractor:
    """Sentence statistics of one sacreBLEU metric against fixed references, which are read once."""

    def __init__(self, metric: Metric, references: Sequence[str]):
        self.metric = metric
        self._references = metric._cache_references([list(references)])

    def statistics(self, hypotheses: Sequence[str]) -> np.ndarray:
        """Counts (sentences, statistics) of hypotheses, int32."""
        return np.array([self._line(line, text) for line, text in enumerate(hypotheses)], dtype=np.int32)

    def changed(self, statistics: np.ndarray, before: Sequence[str], after: Sequence[str]) -> np.ndarray:
        """Statistics of `after`, where those of `before` are known: only what differs is counted again."""
        found = statistics.copy()
        for line, (old, new) in enumerate(zip(before, after, strict=True)):
            if old != new:
                found[line] = self._line(line, new)
        return found

    @property
    def signature(self) -> str:
        """sacreBLEU's signature of the metric."""
        return str(self.metric.get_signature())

    def _line(self, line: int, hypothesis: str) -> list[int]:
        text = self.metric._preprocess_segment(hypothesis)
        return self.metric._compute_segment_statistics(text, self._references[line])


@dataclass(frozen=True)
class Measured:
    """A metric of all sentences of a test set: statistics (sentences, width), int32."""

    metric: str
    signature: str
    statistics: np.ndarray

    def score(self, lines: Sequence[int] | None = None) -> float:
        """The corpus score, of all sentences or of those `lines`."""
        chosen = self.statistics if lines is None else self.statistics[list(lines)]
        return float(scorer(chosen.shape[1])(chosen.sum(axis=0, dtype=np.int64).astype(np.float64), len(chosen)))

    def sentence_scores(self) -> np.ndarray:
        """Score of each sentence; BLEU counts only the orders that a sentence has (sacreBLEU's effective order)."""
        columns = self.statistics.T.astype(np.float64)
        if len(columns) == BLEU_WIDTH:
            return bleu(columns, effective_order=True)
        return scorer(len(columns))(columns, 1)


def scorer(width: int) -> Scorer:
    """The function from sums to scores: BLEU, chrF2++, loss per character, or the mean of a segment score (width 1)."""
    if width == BLEU_WIDTH:
        return lambda sums, _sentences: bleu(sums)
    if width == CHRF_WIDTH:
        return lambda sums, _sentences: chrf(sums)
    if width == LOSS_WIDTH:
        return lambda sums, _sentences: loss_per_character(sums)
    if width == 1:
        return lambda sums, sentences: sums[0] / sentences
    raise ValueError(f"no metric has {width} statistics")


def bleu(sums: np.ndarray, effective_order: bool = False) -> np.ndarray:
    """BLEU, 0-100, smoothed as by sacreBLEU's default (`smooth:exp`).

    Args:
        sums: (10, ...): lengths of hypothesis and reference, matches of orders 1-4, n-grams of orders 1-4.
    """
    hypothesis, reference = sums[0], sums[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        brevity = np.where(hypothesis < reference, np.exp(1 - reference / hypothesis), 1.0)
        logs: Any = 0.0
        order: Any = np.zeros(np.shape(hypothesis))
        smooth: Any = np.ones(np.shape(hypothesis))
        for n in range(ORDERS):
            matches, total = sums[2 + n], sums[2 + ORDERS + n]
            there = total > 0
            smooth = np.where(there & (matches == 0), smooth * 2, smooth)
            precision = np.where(matches > 0, matches, 1 / smooth) / total
            logs = logs + np.where(there, np.log(precision), 0.0 if effective_order else -np.inf)
            order = order + there
        mean = logs / (np.maximum(order, 1) if effective_order else ORDERS)
        found = 100 * brevity * np.exp(mean)
    return np.where(sums[2 : 2 + ORDERS].sum(axis=0) > 0, found, 0.0)


def loss_statistics(losses: Sequence[float], references: Sequence[str]) -> np.ndarray:
    """Counts (sentences, 2) of losses in nats and of the references' characters, int32."""
    return np.array([(round(1000 * nats), len(text)) for nats, text in zip(losses, references, strict=True)], np.int32)


def loss_per_character(sums: np.ndarray) -> np.ndarray:
    """Nats per character of the reference; of an empty one, of its end alone.

    Args:
        sums: (2, ...): thousandths of a nat, characters.
    """
    return sums[0] / 1000 / np.maximum(sums[1], 1)


def chrf(sums: np.ndarray) -> np.ndarray:
    """chrF2++, 0-100: F2 of the mean precision and the mean recall over the orders that both sides have.

    Args:
        sums: (24, ...): for each order n-grams of the hypothesis, of the reference, and matches.
    """
    precision: Any = 0.0
    recall: Any = 0.0
    orders: Any = 0
    for first in range(0, len(sums), 3):
        written, wanted, matches = sums[first : first + 3]
        both = (written > 0) & (wanted > 0)
        precision = precision + matches / np.where(both, written, 1) * both
        recall = recall + matches / np.where(both, wanted, 1) * both
        orders = orders + both
    orders = np.maximum(orders, 1)
    precision, recall = precision / orders, recall / orders
    below = BETA**2 * precision + recall
    return 100 * (1 + BETA**2) * precision * recall / np.where(below > 0, below, 1)
