"""Section "Translations", the browser: source, reference and the output of every method, sentence by sentence.

The texts are in the page as HTML, so that it can be read without scripts; page.js only filters, searches and sorts.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from sacrebleu.metrics import CHRF

from lander.config.methods import TRAINED
from lander.evaluate import translations
from lander.report.labels import in_order, method_key, method_of, run_label, sort_directions
from lander.shared.csvfile import read_csv
from lander.shared.errors import UserError
from lander.shared.languages import Direction, parse_direction, script_of
from lander.shared.runs import Model

FLAGS = {"off_target": "off-target", "cut": "cut off"}
SHARED = "contaminated"  # a flag of the item: it does not depend on the method
NOT_SHOWN = (SHARED, "language_unknown", "cut_raw")
FLAG_COLUMNS = ["flag", "line", "detail"]
RIGHT_TO_LEFT = {"Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm", "Rohg", "Samr", "Mand"}  # scripts
LONG = 1500  # characters of a text that are shown
Flag = tuple[str, str]  # a fault of an output, and its detail: the language that the output is in, or `not de`


class Output(NamedTuple):
    """What one model wrote for one sentence. `model` is an index into the list of models."""

    model: int
    text: str
    chrf: float
    flags: list[Flag]


class Sentence(NamedTuple):
    """One item of a test set; `line` counts from 0, as in all tables."""

    line: int
    source: str
    references: list[str]
    outputs: list[Output]
    flags: list[Flag]


class Group(NamedTuple):
    """The sentences of one test set and direction that are shown; `total` is how many there are."""

    test: str
    direction: Direction
    total: int
    sentences: list[Sentence]


@dataclass(frozen=True)
class Browser:
    """All that the browser shows.

    Attributes:
        models: labels, in the order of the tables.
        groups: tests in the run's order, directions in that of the tables.
        pair: the models that are compared at first, indices into `models`.
        notes: which models lack which directions.
        cap: how many sentences are left out, and why; empty if all are shown.
    """

    models: list[str]
    groups: list[Group]
    pair: tuple[int, int]
    notes: list[str] = field(default_factory=list)
    cap: str = ""

    @property
    def flags(self) -> list[str]:
        """All that occur."""
        items = [one for group in self.groups for sentence in group.sentences for one in (sentence, *sentence.outputs)]
        return sorted({name for one in items for name, _ in one.flags})

    def shortened(self, number: int, why: str) -> "Browser":
        """With at most `number` sentences of each group, spread evenly, and why there are no more."""
        kept = [[group.sentences[one] for one in spread(len(group.sentences), number)] for group in self.groups]
        groups = [group._replace(sentences=some) for group, some in zip(self.groups, kept, strict=True)]
        return replace(self, groups=groups, cap=why)


def read_browser(
    folders: Mapping[Model, Path], flagged: Mapping[Model, Path], sentences: int, tests: Iterable[str] = ()
) -> Browser | None:
    """Read the translations of all models, and score the sentences that are shown.

    Args:
        folders: of each model, `translate/<method>/<variant>/s<seed>`.
        flagged: of each model, `evaluate/<method>/<variant>/s<seed>` with `<test>/<direction>.flags.csv`.
        sentences: how many of each direction and test set, spread evenly over the file.
        tests: names of test sets in the order of the config.
    """
    models = sorted(folders, key=lambda model: (*method_key(method_of(model)), model.seed))
    places: dict[tuple[str, str], dict[int, Path]] = {}
    for index, model in enumerate(models):
        files = sorted(folders[model].glob("*/*.jsonl"))
        if not files:
            raise UserError(f"{folders[model]}: no <test>/<direction>.jsonl in it; give translate/METHOD/VARIANT/sSEED")
        for path in files:
            places.setdefault((path.parent.name, str(parse_direction(path.stem))), {})[index] = path
    if not places:
        return None
    seeds = len({model.seed for model in models}) > 1
    labels = [run_label(method_of(model)) + (f", seed {model.seed}" if seeds else "") for model in models]
    groups, notes = [], []
    for test in in_order([test for test, _ in places], tests):
        for direction in sort_directions([name for one, name in places if one == test]):
            files = places[(test, direction)]
            items = {index: translations.read(path) for index, path in files.items()}
            one, first = next(iter(items.items()))
            for index, own in items.items():
                if (own.source, own.references) != (first.source, first.references):
                    other = f"{files[index]}: other sentences than {labels[one]} has"
                    raise UserError(f"{other}; the test set has changed, translate again")
            scored = {index: flagged.get(models[index]) for index in items}
            marks = {
                index: _flags(folder and folder / test / f"{direction}.flags.csv", items[index])
                for index, folder in scored.items()
            }
            groups.append(_group(test, parse_direction(direction), items, marks, sentences))
            if lacking := [label for index, label in enumerate(labels) if index not in files]:
                notes.append(f"{test}, {direction}: no translations of {', '.join(lacking)}.")
    cut = any(len(group.sentences) < group.total for group in groups)
    cap = f"At most {sentences:,} sentences of each direction and test set are shown, spread evenly." if cut else ""
    return Browser(labels, groups, first_pair(models, groups), notes, cap)


def first_pair(models: Sequence[Model], groups: Iterable[Group]) -> tuple[int, int]:
    """The better zero-shot and landermt, or the best trained model without it, by the mean score of what is shown."""
    scores: dict[int, list[float]] = {}
    for output in (one for group in groups for sentence in group.sentences for one in sentence.outputs):
        scores.setdefault(output.model, []).append(output.chrf)
    mean = {index: sum(found) / len(found) for index, found in scores.items()}
    zero = [index for index in mean if models[index].method == "zero-shot"]
    trained = [index for index in mean if models[index].method in TRAINED]
    own = [index for index in sorted(trained) if method_of(models[index]) == ("landermt", "main")]
    one, other = max(zero, key=mean.get, default=0), max(own[:1] or trained, key=mean.get, default=len(models) - 1)
    return (one, other) if one != other else (0, len(models) - 1)


def _group(
    test: str,
    direction: Direction,
    items: Mapping[int, translations.Translations],
    marks: Mapping[int, Mapping[int, Mapping[str, str]]],
    sentences: int,
) -> Group:
    """Some sentences of a test set in a direction, with the outputs of all models that have translated them."""
    first, scorer, shown = next(iter(items.values())), CHRF(word_order=2), []
    references = first.references
    for line in spread(len(first), sentences):
        outputs = []
        for model, own in items.items():
            found = {flag: detail for flag, detail in marks[model].get(line, {}).items() if flag not in NOT_SHOWN}
            if found.get("off_target") == "":
                found["off_target"] = f"not {direction.target}"
            flags = [(FLAGS.get(flag, flag.replace("_", " ")), detail) for flag, detail in sorted(found.items())]
            score = scorer.sentence_score(own.hypothesis[line], references[line]).score
            outputs.append(Output(model, own.hypothesis[line], score, flags))
        common = [("in the training data", "")] if any(SHARED in one.get(line, ()) for one in marks.values()) else []
        shown.append(Sentence(line, first.source[line], references[line], outputs, common))
    return Group(test, direction, len(first), shown)


def _flags(path: Path | None, items: translations.Translations) -> dict[int, dict[str, str]]:
    """Line -> flag -> detail of a model's outputs; without a file of them, those that can be seen: empty, copied."""
    found: dict[int, dict[str, str]] = {}
    if path and path.exists():
        for flag, line, detail in read_csv(path, FLAG_COLUMNS, ["line"])[FLAG_COLUMNS].itertuples(index=False):
            found.setdefault(int(line), {})[flag] = detail
        return found
    texts = zip(items.hypothesis, items.source, items.references, strict=True)
    for line, (text, source, references) in enumerate(texts):
        if not text.strip():
            found[line] = {"empty": ""}
        elif text.strip() == source.strip() and source.strip() not in references:
            found[line] = {"copied": ""}
    return found


# ---------------------------------------------------------------- texts


def spread(total: int, number: int) -> list[int]:
    """At most `number` indices below `total`, at even distances."""
    number = min(number, total)
    return [place * total // number for place in range(number)]


def text_direction(text: str, language: str) -> str:
    """`rtl` or `ltr`: that of the language, or of the letters if all of them run the other way (off-target)."""
    own = "rtl" if script_of(language) in RIGHT_TO_LEFT else "ltr"
    kinds = {unicodedata.bidirectional(letter) for letter in text}
    right, left = bool(kinds & {"R", "AL"}), "L" in kinds
    return ("rtl" if right else "ltr") if right != left else own


def shortened(text: str) -> str:
    """A text, cut if it is very long."""
    return text if len(text) <= LONG else f"{text[:LONG]} […{len(text) - LONG:,} characters more]"


_ENDS = [plane + end for plane in range(0, 0x110000, 0x10000) for end in (0xFFFE, 0xFFFF)]  # no characters
_PICTURES = {code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)} | {0x7F: 0x2421}
_PICTURES |= dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000), *_ENDS], 0xFFFD)


def visible(text: str) -> str:
    """Control characters other than tab and line feed as their pictures (`␀`), lone surrogates as U+FFFD."""
    return text.translate(_PICTURES)
