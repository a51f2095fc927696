"""How the scores of each metric are shown, and which of them are the better ones."""

import math
from collections.abc import Iterable
from typing import NamedTuple

LESS, MORE = "better:less", "better:more"  # in the signature of a metric that is not listed here: `evaluate.neural`


class Look(NamedTuple):
    """How a metric stands in tables; `best` is `max`, `min`, or empty where no score is better, or it is not known."""

    heading: str
    digits: int
    factor: float
    best: str

    def text(self, score: float) -> str:
        """A score as it is printed; a dash where there is none."""
        return "–" if math.isnan(score) else f"{score * self.factor:.{self.digits}f}"


METRICS: dict[str, Look] = {
    "bleu": Look("BLEU", 1, 1, "max"),
    "chrf2++": Look("chrF2++", 1, 1, "max"),
    "bleu_unseen": Look("BLEU on items that training has not seen", 1, 1, "max"),
    "chrf2++_unseen": Look("chrF2++ on items that training has not seen", 1, 1, "max"),
    "spbleu": Look("spBLEU", 1, 1, "max"),
    "comet": Look("COMET", 3, 1, "max"),
    "loss_per_character": Look("Loss of the references, nats per character (less is better)", 3, 1, "min"),
    "bleu_13a": Look("BLEU with tokenizer 13a whatever the target, as in the paper", 1, 1, "max"),
    "bleu_raw": Look("BLEU of the raw output, before it is cut at the first line break", 1, 1, "max"),
    "length_ratio": Look("Length ratio: characters of the translations / of the references", 2, 1, ""),
    "length_ratio_raw": Look("Length ratio of the raw output", 2, 1, ""),
    "empty": Look("Empty translations, % of items", 1, 100, ""),
    "copied": Look("Translations that repeat the source, % of items", 1, 100, ""),
    "off_target": Look("Off-target translations: in another language, % of items", 1, 100, ""),
    "language_unknown": Look("Translations too short to tell their language, % of items", 1, 100, ""),
    "cut": Look("Translations cut off by the limit of length, % of items", 1, 100, ""),
    "cut_raw": Look("Raw outputs that ended at the limit of length, % of items", 1, 100, ""),
    "repeated": Look("Repetition: 4-grams that stand earlier in the same translation, %", 1, 100, ""),
    "contaminated": Look("Test items of which training has seen the source or the reference, %", 1, 100, ""),
}


def look(metric: str, signatures: Iterable[str] = ()) -> Look:
    """How a metric is shown; of one that is not listed, as its signatures say."""
    if metric in METRICS:
        return METRICS[metric]
    words = metric.replace("_", " ")
    fields = [set(signature.split("|")) for signature in signatures]
    if fields and all("unit:share" in one for one in fields):
        return Look(f"{words}, % of items", 1, 100, "")
    if fields and all(LESS in one for one in fields):
        return Look(f"{words} (less is better)", 3, 1, "min")
    return Look(words, 3, 1, "max" if fields and all(MORE in one for one in fields) else "")
