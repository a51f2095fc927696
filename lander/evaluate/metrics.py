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

Every score carries the signature that makes it comparable. Its sentences' counts are in `lander.evaluate.statistics`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from lander.evaluate.outputs import Flags, repeated_share
from lander.evaluate.statistics import Extractor, Measured, chrf_metric, loss_statistics
from lander.evaluate.tokenizers import bleu_with, extra_bleu
from lander.evaluate.translations import Translations

LOSS = "loss_per_character"
LOSS_SIGNATURE = "lander:loss_per_character|unit:nats|v:1"


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
        extras: further metrics, of `tokenizers.EXTRAS`.
    """
    used = {"bleu": bleu_with(target, tokenizer), "chrf2++": chrf_metric()} | {
        name: extra_bleu(name) for name in extras
    }
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
