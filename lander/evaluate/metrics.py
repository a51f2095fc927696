"""The metrics of one test set and direction.

| metric | what it is | unit |
|---|---|---|
| `bleu` | sacreBLEU of the hypotheses, tokenizer by target language | 0-100 |
| `chrf2++` | sacreBLEU's chrF with word order 2 (chrF++) | 0-100 |
| `bleu_raw` | BLEU of the raw output, before it is cut at the first line break | 0-100 |
| `spbleu` | BLEU on the pieces of the flores200 model, where it is asked for | 0-100 |
| `bleu_13a` | BLEU with tokenizer 13a for every target, as in the paper's signature, where it is asked for | 0-100 |
| `loss_per_character` | loss of the references behind the same prompts, by their characters; lower is better | nats |
| `length_ratio`, `length_ratio_raw` | characters of all hypotheses (raw outputs) / of all references | ratio |
| `repeated` | share of the hypotheses' 4-grams (BLEU's words) that occur earlier in the same hypothesis | 0-1 |
| `empty` | share of hypotheses without a visible character | 0-1 |
| `copied` | share of hypotheses that repeat the source where the reference does not | 0-1 |
| `cut` | share of hypotheses that the length limit cut off: no end token, and no line break behind them | 0-1 |
| `cut_raw` | share of raw outputs that ended at the length limit, even after a whole translation | 0-1 |
| `off_target` | share of hypotheses identified as another language than the target | 0-1 |
| `language_unknown` | share of hypotheses with too few letters to tell their language (also the empty ones) | 0-1 |
| `contaminated` | share of items whose source or reference occurs in training, in any direction | 0-1 |
| `bleu_unseen`, `chrf2++_unseen` | the same over the items that are not contaminated; absent if there is none | 0-100 |

`loss_per_character` is there only where the translations say what the references cost (those of a model that has
diverged do not), `cut` and `cut_raw` where they say what was cut, `off_target` and `language_unknown` where the
identifier knows the target, the last three where training texts are given.

Every score carries the signature that makes it comparable. A corpus score of sacreBLEU is a function of the sum over
sentences of a few counts (`Extractor`). With the counts at hand, the score of a subset or of a resample costs an
addition; `bleu` and `chrf` are sacreBLEU's functions on arrays of sums. Statistics are on the first axis of these
arrays, so that each of them is contiguous.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from sacrebleu.metrics import CHRF
from sacrebleu.metrics.base import Metric

from lander.evaluate.bleu import bleu_for, extra_bleu
from lander.evaluate.outputs import Flags, repeated_share
from lander.evaluate.translations import Translations

LOSS = "loss_per_character"
LOSS_SIGNATURE = "lander:loss_per_character|unit:nats|v:1"
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


# ---------------------------------------------------------------- all metrics of a test set and direction


class Score(NamedTuple):
    """One number and the signature that says how it was computed."""

    metric: str
    value: float
    signature: str


class Scored(NamedTuple):
    """All scores of a test set and direction, and the metrics whose sentence statistics are kept."""

    scores: list[Score]
    measured: list[Measured]


def score(
    items: Translations,
    target: str,
    flagged: Flags,
    tokenizer: str | None = None,
    extras: Sequence[str] = (),
) -> Scored:
    """All metrics of one test set and direction.

    Args:
        items: at least one translation.
        target: code of the target language, which decides BLEU's tokenizer.
        flagged: from `outputs.flags`.
        tokenizer: another one for BLEU.
        extras: further metrics, of `bleu.EXTRAS`.
    """
    used = {"bleu": bleu_for(target, tokenizer), "chrf2++": chrf_metric()} | {name: extra_bleu(name) for name in extras}
    extractors = {name: Extractor(metric, items.reference) for name, metric in used.items()}
    measured = [
        Measured(name, extractor.signature, extractor.statistics(items.hypothesis))
        for name, extractor in extractors.items()
    ]
    words = extractors["bleu"]
    raw = Measured("bleu_raw", words.signature, words.changed(measured[0].statistics, items.hypothesis, items.raw))
    if items.loss is not None:
        measured.append(Measured(LOSS, LOSS_SIGNATURE, loss_statistics(items.loss, items.reference)))
    scores = [Score(one.metric, one.score(), one.signature) for one in (*measured, raw)]
    repeated = repeated_share(items.hypothesis, words.metric.tokenizer)
    own = {  # metric -> value, what the signature says of it
        "length_ratio": (_length_ratio(items.hypothesis, items.reference), "unit:characters"),
        "length_ratio_raw": (_length_ratio(items.raw, items.reference), "unit:characters"),
        "repeated": (repeated, f"unit:share|n:4|tok:{words.metric.tokenizer_signature}"),
    }
    for name, marks in flagged.marks.items():
        told = "unit:share|by:py3langid+script" if name in ("off_target", "language_unknown") else "unit:share"
        own[name] = (sum(marks) / len(marks), told)
    scores += [Score(name, value, f"lander:{name}|{told}|v:1") for name, (value, told) in own.items()]
    unseen = [line for line, mark in enumerate(flagged.marks.get("contaminated", [])) if not mark]
    if unseen:
        scores += [Score(f"{one.metric}_unseen", one.score(unseen), one.signature) for one in measured[:2]]
    return Scored(scores, measured)


def _length_ratio(hypotheses: list[str], references: list[str]) -> float:
    """Characters written per character wanted; 1 where nothing was wanted and nothing written."""
    written, wanted = (sum(len(text.strip()) for text in texts) for texts in (hypotheses, references))
    return written / wanted if wanted else float(written or 1)


def segments(place: dict[str, str], measured: Sequence[Measured]) -> pa.Table:
    """The table "segments" of one model, test set and direction (`place`: method, variant, seed, test, direction)."""
    parts = []
    for one in measured:
        lines, width = one.statistics.shape
        offsets = pa.array(range(0, lines * width + 1, width), pa.int32())
        columns: dict[str, Any] = {name: [value] * lines for name, value in (*place.items(), ("metric", one.metric))}
        columns |= {"line": range(lines), "score": one.sentence_scores()}
        columns["statistics"] = pa.ListArray.from_arrays(offsets, one.statistics.reshape(-1))
        parts.append(pa.table(columns | {"signature": [one.signature] * lines}))
    return pa.concat_tables(parts)
