"""The metrics: what each is called, how it is shown, and how its scores are made. docs/tables.md explains them.

sacreBLEU computes a corpus score from a few counts per sentence (the *statistics*), added up. So the score of a subset
or of a resample costs an addition. `bleu` and `chrf` do the same on arrays of sums, with the statistics on the first
axis. The corpus score of a metric without statistics is the mean of sentence scores.

Config, checks, stages and report read `METRICS`, in its order. Nothing heavy is imported with this module: the config
is checked before any job starts.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lander.evaluate.bleu import FLORES, bleu_for, bleu_with, flores
from lander.shared.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from sacrebleu.metrics.base import Metric as Counts

LOSS = "loss_per_character"
ORDERS = 4  # of BLEU's n-grams
BETA = 2  # of chrF


class Look(NamedTuple):
    """How the scores of a metric are shown. `best` is `max` or `min`; empty if neither is better, or it is unknown."""

    heading: str
    digits: int = 1
    factor: float = 1
    best: str = ""

    def text(self, score: float) -> str:
        """A score as it is printed; a dash for NaN."""
        return "–" if math.isnan(score) else f"{score * self.factor:.{self.digits}f}"


@dataclass(frozen=True)
class Metric:
    """One metric; those without `score` are computed in another way (`lander.evaluate.scoring`)."""

    look: Look
    make: "Callable[[str], Counts] | None" = None  # target language -> sacreBLEU's metric, which counts the statistics
    score: "Callable[[np.ndarray], np.ndarray] | None" = None  # sums of statistics (statistics, ...) -> scores (...)
    sentence: "Callable[[np.ndarray], np.ndarray] | None" = None  # the same for single sentences, if it differs
    fixed: Sequence[int] = ()  # statistics that depend on the reference alone: equal in models that are compared
    optional: bool = False  # computed only if `evaluate.metrics` names it
    neural: bool = False  # a metric of `evaluate.neural`, known by its name
    file: Callable[[], tuple[Path, str]] | None = None  # that sacreBLEU fetches: where it is kept, and its URL


def bleu(sums: "np.ndarray", effective_order: bool = False) -> "np.ndarray":
    """BLEU, 0-100, smoothed as by sacreBLEU's default (`smooth:exp`).

    `sums` (10, ...): lengths of hypothesis and reference, matches of orders 1-4, n-grams of orders 1-4. With
    `effective_order`, orders that the hypothesis is too short for are left out.
    """
    import numpy as np

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


def chrf(sums: "np.ndarray") -> "np.ndarray":
    """chrF2++, 0-100: F2 of the mean precision and the mean recall over the orders that both sides have.

    `sums` (24, ...): of 6 orders of characters and 2 of words, n-grams of hypothesis and of reference, and matches.
    """
    import numpy as np

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


def make_chrf(_target: str) -> "Counts":
    """sacreBLEU's chrF2++."""
    from sacrebleu.metrics import CHRF

    return CHRF(word_order=2)


def _bleu(heading: str, make: "Callable[[str], Counts]", **options: Any) -> Metric:
    return Metric(Look(heading, best="max"), make, bleu, partial(bleu, effective_order=True), fixed=[1], **options)


def _share(heading: str) -> Metric:
    return Metric(Look(heading, factor=100))


METRICS = {
    "bleu": _bleu("BLEU", bleu_for),
    "chrf2++": Metric(Look("chrF2++", best="max"), make_chrf, chrf, fixed=range(1, 24, 3)),
    "bleu_unseen": Metric(Look("BLEU on the items that are not in the training data", best="max")),
    "chrf2++_unseen": Metric(Look("chrF2++ on the items that are not in the training data", best="max")),
    "bleu_nfc": Metric(Look("BLEU of outputs and references in NFC, without invisible characters", best="max")),
    "chrf2++_nfc": Metric(Look("chrF2++ of outputs and references in NFC, without invisible characters", best="max")),
    "spbleu": _bleu("spBLEU", lambda _target: bleu_with(FLORES), optional=True, file=flores),
    "comet": Metric(Look("COMET", 3, best="max"), neural=True),
    LOSS: Metric(  # statistics: thousandths of a nat, characters of the reference; of an empty one, its end alone
        Look("Loss of the references, nats per character (less is better)", 3, best="min"),
        score=lambda sums: sums[0] / 1000 / sums[1].clip(1),
        fixed=[1],
    ),
    "bleu_13a": _bleu(
        "BLEU with tokenizer 13a for every target language, as in the paper",
        lambda _target: bleu_with("13a"),
        optional=True,
    ),
    "bleu_raw": Metric(Look("BLEU of the raw output, before it is cut at the first line break", best="max")),
    "length_ratio": Metric(Look("Length ratio: characters of the translations / of the references", 2)),
    "length_ratio_raw": Metric(Look("Length ratio of the raw output", 2)),
    "empty": _share("Empty translations, % of items"),
    "copied": _share("Translations that repeat the source, % of items"),
    "off_target": _share("Off-target translations (in a wrong language), % of items"),
    "language_unknown": _share("Translations too short to identify their language, % of items"),
    "cut": _share("Translations cut off at the length limit, % of items"),
    "cut_raw": _share("Raw outputs that ended at the length limit, % of items"),
    "repeated": _share("Repetition: 4-grams that occurred before in the same translation, %"),
    "contaminated": _share("Test items whose source or reference is in the training data, %"),
}
OPTIONAL = tuple(name for name, metric in METRICS.items() if metric.optional)


def scores(metric: str, sums: "np.ndarray", sentences: int) -> "np.ndarray":
    """Scores (...) of sums (statistics, ...) over so many sentences. A single statistic is the sentence's score."""
    return METRICS[metric].score(sums) if len(sums) > 1 else sums[0] / sentences


def check_files(names: Sequence[str]) -> None:
    """UserError if a file of a metric is not on this machine: sacreBLEU would fetch it in the middle of a run."""
    for name in names:
        if find := METRICS[name].file:
            path, _url = find()
            if not path.is_file() or not path.stat().st_size:
                raise UserError(
                    f"metric {name}: sacreBLEU's file for it is not on this machine ({path} is missing or empty); with "
                    "a network, `lander prefetch` fetches it once; else copy the file there, or leave the metric out"
                )


def look(metric: str, signatures: Iterable[str] = ()) -> Look:
    """How a metric is shown. The signatures decide for a metric that is not in `METRICS`."""
    if metric in METRICS:
        return METRICS[metric].look
    words = metric.replace("_", " ")
    parts = [set(signature.split("|")) for signature in signatures]
    shared = set.intersection(*parts) if parts else set()
    if "unit:share" in shared:
        return Look(f"{words}, % of items", 1, 100, "")
    if "better:less" in shared:  # of a metric of `evaluate.neural`
        return Look(f"{words} (less is better)", 3, 1, "min")
    return Look(words, 3, 1, "max" if "better:more" in shared else "")


def sort_metrics(names: Iterable[str]) -> list[str]:
    """Metrics in the order of `METRICS`, then the others by name."""
    order = list(METRICS)
    return sorted(set(names), key=lambda name: (order.index(name) if name in order else len(order), name))
