"""The metrics of one test set and direction.

| metric | what it is | unit |
|---|---|---|
| `bleu` | sacreBLEU of the hypotheses, tokenizer by target language | 0-100 |
| `chrf2++` | sacreBLEU's chrF with word order 2 (chrF++) | 0-100 |
| `bleu_raw` | BLEU of the raw output, before it is cut at the first line break | 0-100 |
| `length_ratio`, `length_ratio_raw` | characters of all hypotheses (raw outputs) / of all references | ratio |
| `empty` | share of hypotheses without a visible character | 0-1 |
| `copied` | share of hypotheses that repeat the source where the reference does not | 0-1 |
| `contaminated` | share of items whose source or reference occurs in training, in any direction | 0-1 |
| `bleu_unseen`, `chrf2++_unseen` | the same over the items that are not contaminated; absent if there is none | 0-100 |

The last three are there only when training texts are given.
"""

from dataclasses import dataclass

from sacrebleu.metrics import CHRF
from sacrebleu.metrics.base import Metric

from lander.evaluate.bleu import bleu_for
from lander.evaluate.contamination import normalise
from lander.evaluate.translations import Translations


@dataclass(frozen=True)
class Score:
    """One number and the signature that says how it was computed."""

    metric: str
    value: float
    signature: str


def flags(items: Translations, seen: set[str] | None) -> dict[str, list[bool]]:
    """Which items are `empty`, `copied` and (if `seen`, the normalised texts of training, is given) `contaminated`."""
    sources, references, hypotheses = (
        [normalise(text) for text in texts] for texts in (items.source, items.reference, items.hypothesis)
    )
    found = {
        "empty": [not text.strip() for text in items.hypothesis],
        "copied": [
            bool(hypothesis) and hypothesis == source != reference
            for source, reference, hypothesis in zip(sources, references, hypotheses, strict=True)
        ],
    }
    if seen is not None:
        found["contaminated"] = [a in seen or b in seen for a, b in zip(sources, references, strict=True)]
    return found


def score(items: Translations, target: str, flagged: dict[str, list[bool]]) -> list[Score]:
    """All metrics of one test set and direction.

    Args:
        items: at least one translation.
        target: code of the target language, which decides BLEU's tokenizer.
        flagged: from `flags`.
    """
    bleu, chrf = bleu_for(target), CHRF(word_order=2)
    scores = [
        _corpus("bleu", bleu, items.hypothesis, items.reference),
        _corpus("chrf2++", chrf, items.hypothesis, items.reference),
        _corpus("bleu_raw", bleu, items.raw, items.reference),
        _own("length_ratio", _length_ratio(items.hypothesis, items.reference), "unit:characters"),
        _own("length_ratio_raw", _length_ratio(items.raw, items.reference), "unit:characters"),
    ]
    scores += [_own(name, sum(marks) / len(marks), "unit:share") for name, marks in flagged.items()]
    if "contaminated" in flagged:
        unseen = [index for index, mark in enumerate(flagged["contaminated"]) if not mark]
        hypotheses = [items.hypothesis[index] for index in unseen]
        references = [items.reference[index] for index in unseen]
        if unseen:
            scores.append(_corpus("bleu_unseen", bleu, hypotheses, references))
            scores.append(_corpus("chrf2++_unseen", chrf, hypotheses, references))
    return scores


def _corpus(name: str, metric: Metric, hypotheses: list[str], references: list[str]) -> Score:
    value = metric.corpus_score(hypotheses, [references]).score
    return Score(name, value, str(metric.get_signature()))


def _own(name: str, value: float, detail: str) -> Score:
    return Score(name, value, f"lander:{name}|{detail}|v:1")


def _length_ratio(hypotheses: list[str], references: list[str]) -> float:
    """Characters written per character wanted; 1 where nothing was wanted and nothing written."""
    written, wanted = (sum(len(text.strip()) for text in texts) for texts in (hypotheses, references))
    return written / wanted if wanted else float(written or 1)
