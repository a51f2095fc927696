"""All metrics of one test set and direction, each with the signature that makes its scores comparable.

Some scores need more than texts: `loss_per_character` what the references cost (translations of a model that has
diverged do not say), `cut` and `cut_raw` what was cut, `off_target` and `language_unknown` a target that the identifier
knows, `contaminated` and the scores of what is unseen the training texts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from sacrebleu.metrics.base import Metric

from lander.data.repair import composed
from lander.evaluate import metrics
from lander.evaluate.bleu import bleu_for
from lander.evaluate.metrics import LOSS, METRICS
from lander.evaluate.outputs import Flags, repeated_share
from lander.evaluate.translations import Translations, streams


class Score(NamedTuple):
    """One number and the signature that says how it was computed."""

    metric: str
    value: float
    signature: str


@dataclass(frozen=True)
class Measured:
    """A metric of all sentences of a test set: statistics (sentences, width), int32."""

    metric: str
    signature: str
    statistics: np.ndarray

    def score(self, lines: Sequence[int] | slice = slice(None)) -> Score:
        """The corpus score, of all sentences or of those `lines`."""
        chosen = self.statistics[lines]
        sums = chosen.sum(axis=0, dtype=np.int64).astype(np.float64)
        return Score(self.metric, float(metrics.scores(self.metric, sums, len(chosen))), self.signature)

    def sentence_scores(self) -> np.ndarray:
        """Score of each sentence; BLEU counts only the orders that a sentence has (sacreBLEU's effective order)."""
        metric = METRICS[self.metric]
        return (metric.sentence or metric.score)(self.statistics.T.astype(np.float64))


def counter(metric: Metric, references: Sequence[Sequence[str]]) -> Callable[[Sequence[str]], np.ndarray]:
    """A function from hypotheses to their statistics (sentences, width), int32.

    The references of each sentence are read once; several are scored as sacreBLEU does.
    """
    known = metric._cache_references(streams(references))

    @cache  # most raw outputs are the hypotheses themselves
    def count(line: int, hypothesis: str) -> list[int]:
        return metric._compute_segment_statistics(metric._preprocess_segment(hypothesis), known[line])

    return lambda hypotheses: np.array([count(*place) for place in enumerate(hypotheses)], dtype=np.int32)


def score(
    items: Translations, target: str, flagged: Flags, tokenizer: str | None = None, extras: Sequence[str] = ()
) -> tuple[list[Score], list[Measured]]:
    """All scores of one test set and direction, and the metrics whose statistics are kept.

    The target language decides BLEU's tokenizer, unless another one is given; `extras` are further metrics, of
    `metrics.OPTIONAL`.
    """
    bleu = bleu_for(target, tokenizer)
    made = {"bleu": bleu} | {name: METRICS[name].make(target) for name in ("chrf2++", *extras)}
    counters = {name: counter(metric, items.references) for name, metric in made.items()}
    signatures = {name: str(metric.get_signature()) for name, metric in made.items()}
    measured = [Measured(name, signatures[name], count(items.hypothesis)) for name, count in counters.items()]
    raw = Measured("bleu", signatures["bleu"], counters["bleu"](items.raw))
    if items.loss is not None:
        costs = zip(items.loss, items.reference, strict=True)
        statistics = np.array([(round(1000 * nats), len(text)) for nats, text in costs], np.int32)
        measured.append(Measured(LOSS, f"lander:{LOSS}|unit:nats|v:1", statistics))
    found = [*(one.score() for one in measured), raw.score()._replace(metric="bleu_raw")]
    own = {  # metric -> value, what the signature says of it
        "length_ratio": (_length_ratio(items.hypothesis, items.reference), "unit:characters"),
        "length_ratio_raw": (_length_ratio(items.raw, items.reference), "unit:characters"),
        "repeated": (
            repeated_share(items.hypothesis, bleu.tokenizer),
            f"unit:share|n:4|tok:{bleu.tokenizer_signature}",
        ),
    }
    for name, marks in flagged.marks.items():
        by = "|by:py3langid+script" if name in ("off_target", "language_unknown") else ""
        own[name] = (sum(marks) / len(marks), f"unit:share{by}")
    found += [Score(name, value, f"lander:{name}|{how}|v:1") for name, (value, how) in own.items()]
    unseen = [line for line, mark in enumerate(flagged.marks.get("contaminated", [])) if not mark]
    if unseen:
        found += [one.score(unseen)._replace(metric=f"{one.metric}_unseen") for one in measured[:2]]
    return found + _composed_scores(items, made, found), measured


def _composed_scores(items: Translations, made: Mapping[str, Metric], found: Sequence[Score]) -> list[Score]:
    """BLEU and chrF2++ of texts in one Unicode form, as far as they differ from those of the texts as they are."""
    references = [list(map(composed, texts)) for texts in items.references]
    hypotheses = list(map(composed, items.hypothesis))
    if references == items.references and hypotheses == items.hypothesis:
        return []
    plain, other = {score.metric: score for score in found}, []
    for name in ("bleu", "chrf2++"):
        measured = Measured(name, plain[name].signature, counter(made[name], references)(hypotheses))
        if (value := measured.score().value) != plain[name].value:
            other.append(Score(f"{name}_nfc", value, f"{plain[name].signature}|form:nfc"))
    return other


def other_form(items: Translations) -> int:
    """How many items have a reference that is not in NFC, or holds invisible characters such as direction marks."""
    return sum(any(composed(text) != text for text in texts) for texts in items.references)


def _length_ratio(hypotheses: list[str], references: list[str]) -> float:
    """Characters written per character wanted; 1 if nothing was wanted and nothing written."""
    written, wanted = (sum(len(text.strip()) for text in texts) for texts in (hypotheses, references))
    return written / wanted if wanted else float(written or 1)


def segments(place: Mapping[str, str], measured: Sequence[Measured]) -> pa.Table:
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
