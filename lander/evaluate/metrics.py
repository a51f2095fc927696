"""The metrics of one test set and direction.

| metric | what it is | unit |
|---|---|---|
| `bleu` | sacreBLEU of the hypotheses, tokenizer by target language | 0-100 |
| `chrf2++` | sacreBLEU's chrF with word order 2 (chrF++) | 0-100 |
| `bleu_raw` | BLEU of the raw output, before it is cut at the first line break | 0-100 |
| `spbleu` | BLEU on the pieces of the flores200 model, where it is asked for | 0-100 |
| `bleu_13a` | BLEU with tokenizer 13a whatever the target, as in the paper's signature, where it is asked for | 0-100 |
| `loss_per_character` | loss of the references behind the same prompts, by their characters; lower is better | nats |
| `length_ratio`, `length_ratio_raw` | characters of all hypotheses (raw outputs) / of all references | ratio |
| `repeated` | share of the hypotheses' 4-grams (BLEU's words) that stand earlier in the same hypothesis | 0-1 |
| `empty` | share of hypotheses without a visible character | 0-1 |
| `copied` | share of hypotheses that repeat the source where the reference does not | 0-1 |
| `cut` | share of hypotheses that the length limit cut off: no end token, and no line break behind them | 0-1 |
| `cut_raw` | share of raw outputs that ended at the length limit, whatever was written by then | 0-1 |
| `off_target` | share of hypotheses identified as another language than the target | 0-1 |
| `language_unknown` | share of hypotheses with too few letters to tell their language (also the empty ones) | 0-1 |
| `contaminated` | share of items whose source or reference occurs in training, in any direction | 0-1 |
| `bleu_unseen`, `chrf2++_unseen` | the same over the items that are not contaminated; absent if there is none | 0-100 |

`loss_per_character` is there only where the translations say what the references cost (those of a model that has
diverged do not), `cut` and `cut_raw` where they say what was cut, `off_target` and `language_unknown` where the
identifier knows the target, the last three where training texts are given.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from lander.evaluate.outputs import Flags, repeated_share
from lander.evaluate.statistics import Extractor, Measured, chrf_metric, loss_statistics
from lander.evaluate.tokenizers import bleu_with, extra_bleu
from lander.evaluate.translations import Translations

LOSS = "loss_per_character"
LOSS_SIGNATURE = "lander:loss_per_character|unit:nats|v:1"
DETAILS = {
    "off_target": "unit:share|by:py3langid+script",
    "language_unknown": "unit:share|by:py3langid+script",
}


@dataclass(frozen=True)
class Score:
    """One number and the signature that says how it was computed."""

    metric: str
    value: float
    signature: str


@dataclass(frozen=True)
class Scored:
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
        extras: further metrics, of `tokenizers.EXTRAS`.
    """
    bleu, chrf = Extractor(bleu_with(target, tokenizer), items.reference), Extractor(chrf_metric(), items.reference)
    measured = [_measure("bleu", bleu, items.hypothesis), _measure("chrf2++", chrf, items.hypothesis)]
    raw = bleu.changed(measured[0].statistics, items.hypothesis, items.raw)
    measured += [_measure(name, Extractor(extra_bleu(name), items.reference), items.hypothesis) for name in extras]
    if items.loss is not None:
        measured.append(Measured(LOSS, LOSS_SIGNATURE, loss_statistics(items.loss, items.reference)))
    scores = [_corpus(one) for one in (*measured, Measured("bleu_raw", bleu.signature, raw))]
    scores += [
        _own("length_ratio", _length_ratio(items.hypothesis, items.reference), "unit:characters"),
        _own("length_ratio_raw", _length_ratio(items.raw, items.reference), "unit:characters"),
        _own(
            "repeated",
            repeated_share(items.hypothesis, bleu.metric.tokenizer),
            f"unit:share|n:4|tok:{bleu.metric.tokenizer_signature}",
        ),
    ]
    marks = flagged.marks
    scores += [_own(name, sum(one) / len(one), DETAILS.get(name, "unit:share")) for name, one in marks.items()]
    unseen = [line for line, mark in enumerate(marks.get("contaminated", [])) if not mark]
    if unseen:
        scores += [Score(f"{one.metric}_unseen", one.score(unseen), one.signature) for one in measured[:2]]
    return Scored(scores, measured)


def segments(place: dict[str, str], measured: Sequence[Measured]) -> pa.Table:
    """The table "segments" of one model, test set and direction (`place`: method, variant, seed, test, direction)."""
    parts = []
    for one in measured:
        lines, width = one.statistics.shape
        offsets = pa.array(range(0, lines * width + 1, width), pa.int32())
        same = {name: [value] * lines for name, value in (*place.items(), ("metric", one.metric))}
        parts.append(
            pa.table(
                {
                    **same,
                    "line": range(lines),
                    "score": one.sentence_scores(),
                    "statistics": pa.ListArray.from_arrays(offsets, one.statistics.reshape(-1)),
                    "signature": [one.signature] * lines,
                }
            )
        )
    return pa.concat_tables(parts)


def _measure(name: str, extractor: Extractor, hypotheses: Sequence[str]) -> Measured:
    return Measured(name, extractor.signature, extractor.statistics(hypotheses))


def _corpus(measured: Measured) -> Score:
    return Score(measured.metric, measured.score(), measured.signature)


def _own(name: str, value: float, detail: str) -> Score:
    return Score(name, value, f"lander:{name}|{detail}|v:1")


def _length_ratio(hypotheses: list[str], references: list[str]) -> float:
    """Characters written per character wanted; 1 where nothing was wanted and nothing written."""
    written, wanted = (sum(len(text.strip()) for text in texts) for texts in (hypotheses, references))
    return written / wanted if wanted else float(written or 1)
