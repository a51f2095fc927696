"""The translation browser: source, reference and what every method made of them, sentence by sentence.

The texts are in the page as HTML, so that they can be read without scripts; page.js only filters, searches and sorts.
"""

import csv
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from sacrebleu.metrics import CHRF

from lander.config.methods import TRAINING_FREE
from lander.evaluate import translations
from lander.evaluate.translations import Translations
from lander.report.inputs import Run
from lander.report.order import method_key, run_label, sort_directions, sort_tests
from lander.shared.errors import UserError
from lander.shared.languages import parse_direction

SENTENCES = 100  # of each direction and test set, where the page has room for them
FLAGS = {"off_target": "off-target", "cut": "cut off", "contaminated": "seen in training"}
SHARED = "contaminated"  # the flag of the item, whatever the method wrote
NOT_SHOWN = (SHARED, "language_unknown", "cut_raw")
Marks = dict[str, dict[int, str]]  # flag -> line (from 0) -> detail
RIGHT_TO_LEFT = {"ar", "arc", "ckb", "dv", "fa", "he", "iw", "ks", "ps", "sd", "syr", "ug", "ur", "yi"}
RIGHT_TO_LEFT_SCRIPTS = {"Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm"}
LONG = 1500  # characters of a text that are shown


@dataclass(frozen=True)
class Flag:
    """A fault of an output, and what is known of it: the language that it is in, or `not de`."""

    name: str
    detail: str = ""


@dataclass(frozen=True)
class Output:
    """What one model wrote for one sentence."""

    model: int  # place in the list of models
    text: str
    lang: str
    dir: str
    chrf: float
    flags: list[Flag]


@dataclass(frozen=True)
class Sentence:
    """One item of a test set; `line` counts from 0, as in all tables."""

    line: int
    source: str
    reference: str
    outputs: list[Output]
    flags: list[Flag]


@dataclass(frozen=True)
class Group:
    """The sentences of one test set and direction that are shown; `total` is how many there are."""

    test: str
    direction: str
    source: str  # language codes
    target: str
    source_dir: str
    target_dir: str
    total: int
    sentences: list[Sentence]

    def shortened(self, number: int) -> "Group":
        """The same with at most `number` sentences, spread evenly."""
        kept = [self.sentences[place] for place in spread(len(self.sentences), number)]
        return Group(**{**self.__dict__, "sentences": kept})


@dataclass(frozen=True)
class Browser:
    """All that the browser shows.

    Attributes:
        models: labels, in the order of the tables.
        groups: tests in the run's order, directions in that of the tables.
        flags: all that occur.
        cap: how many sentences are left out, and why; empty where all are shown.
        notes: which models lack which directions.
        pair: the models that are compared at first, places in `models`.
    """

    models: list[str]
    groups: list[Group]
    flags: list[str] = field(default_factory=list)
    cap: str = ""
    notes: list[str] = field(default_factory=list)
    pair: tuple[int, int] = (0, 0)

    @property
    def all_notes(self) -> list[str]:
        return [self.cap, *self.notes] if self.cap else self.notes

    @property
    def tests(self) -> list[str]:
        return list(dict.fromkeys(group.test for group in self.groups))

    @property
    def directions(self) -> list[str]:
        return sort_directions({group.direction for group in self.groups})

    def shortened(self, number: int, why: str) -> "Browser":
        """With at most `number` sentences of each group, and why there are no more."""
        return replace(self, groups=[group.shortened(number) for group in self.groups], cap=why)


def read_browser(
    folders: Mapping[Run, Path], flagged: Mapping[Run, Path], sentences: int = SENTENCES, tests: Iterable[str] = ()
) -> Browser | None:
    """Read the translations of all models, and score the sentences that are shown.

    Args:
        folders: of each model, `translate/<method>/<variant>/s<seed>`.
        flagged: of each model, `evaluate/<method>/<variant>/s<seed>` with `<test>/<direction>.flags.csv`.
        sentences: how many of each direction and test set, spread evenly over the file.
        tests: names of test sets in the order of the config.

    Raises:
        UserError: a folder has no translations, or the texts of two models differ.
    """
    runs = sorted(folders, key=lambda run: (*method_key(run[:2]), run.seed))
    places: dict[tuple[str, str], dict[int, Path]] = {}
    for model, run in enumerate(runs):
        for path in _files(folders[run]):
            places.setdefault((path.parent.name, path.stem), {})[model] = path
    if not places:
        return None
    seeds = len({run.seed for run in runs}) > 1
    labels = [run_label(run[:2]) + (f", seed {run.seed}" if seeds else "") for run in runs]
    groups, notes, known = [], [], set()
    order = sort_tests([test for test, _ in places], tests)
    for test in order:
        for direction in sort_directions([name for one, name in places if one == test]):
            files = places[(test, direction)]
            marks = [_read_flags(flagged, runs[model], test, direction) for model in files]
            group = _group(test, direction, files, marks, sentences, labels)
            known |= {flag.name for one in group.sentences for part in [one, *one.outputs] for flag in part.flags}
            groups.append(group)
            if lacking := [labels[model] for model in range(len(runs)) if model not in files]:
                notes.append(f"{test}, {direction}: no translations of {', '.join(lacking)}.")
    cut = any(len(group.sentences) < group.total for group in groups)
    cap = f"At most {sentences:,} sentences of each direction and test set are shown, spread evenly." if cut else ""
    return Browser(labels, groups, sorted(known), cap, notes, first_pair(runs, groups))


def first_pair(runs: Sequence[Run], groups: Iterable[Group]) -> tuple[int, int]:
    """The better zero-shot and landermt, or the best trained model without it, by the mean score of what is shown."""
    scores: dict[int, list[float]] = {}
    for output in (one for group in groups for sentence in group.sentences for one in sentence.outputs):
        scores.setdefault(output.model, []).append(output.chrf)
    mean = {model: sum(found) / len(found) for model, found in scores.items()}
    zero = [model for model in mean if runs[model].method == "zero-shot"]
    trained = [model for model in mean if runs[model].method not in TRAINING_FREE]
    own = [model for model in sorted(trained) if runs[model][:2] == ("landermt", "main")]
    one, other = max(zero, key=mean.get, default=0), max(own[:1] or trained, key=mean.get, default=len(runs) - 1)
    return (one, other) if one != other else (0, len(runs) - 1)


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*/*.jsonl"))
    if not found:
        raise UserError(f"{folder}: no <test>/<direction>.jsonl in it; give a folder translate/<method>/<variant>/s<n>")
    for path in found:
        parse_direction(path.stem)
    return found


def _read_flags(folders: Mapping[Run, Path], run: Run, test: str, direction: str) -> Marks | None:
    """The flags of a file; None where the model's outputs were not looked at."""
    if run not in folders:
        return None
    path = folders[run] / test / f"{direction}.flags.csv"
    found: Marks = {}
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                found.setdefault(row["flag"], {})[int(row["line"])] = row.get("detail") or ""
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: not a table of flags ({error}); remove it and run snakemake again") from None
    return found


def _group(
    test: str,
    direction: str,
    files: Mapping[int, Path],
    marks: list[Marks | None],
    sentences: int,
    labels: list[str],
) -> Group:
    pair = parse_direction(direction)
    items = {model: translations.read(path) for model, path in files.items()}
    first = next(iter(items.values()))
    for model, one in items.items():
        if (one.source, one.reference) != (first.source, first.reference):
            other = labels[next(iter(items))]
            raise UserError(
                f"{files[model]}: other sentences than {other} has; the test set has changed since, translate again"
            )
    lines = spread(len(first), sentences)
    pairs = zip(marks, items.values(), strict=True)
    marks = [found if found is not None else _own_flags(one, lines) for found, one in pairs]
    shown = []
    for line in lines:
        outputs = [
            _output(model, one, line, pair.target, found)
            for (model, one), found in zip(items.items(), marks, strict=True)
        ]
        common = [Flag(FLAGS[SHARED])] if any(line in found.get(SHARED, ()) for found in marks) else []
        shown.append(Sentence(line, first.source[line], first.reference[line], outputs, common))
    sides = [text_direction("", code) for code in (pair.source, pair.target)]
    return Group(test, direction, pair.source, pair.target, *sides, len(first), shown)


def _output(model: int, items: Translations, line: int, target: str, marks: Marks) -> Output:
    text = items.hypothesis[line]
    found = {name: marks[name][line] for name in sorted(marks) if line in marks[name] and name not in NOT_SHOWN}
    score = _chrf().sentence_score(text, [items.reference[line]]).score
    if "off_target" in found:
        found["off_target"] = found["off_target"] or f"not {target}"
    flags = [Flag(FLAGS.get(name, name.replace("_", " ")), detail) for name, detail in found.items()]
    return Output(model, text, target, text_direction(text, target), score, flags)


def _own_flags(items: Translations, lines: list[int]) -> Marks:
    """What can be told of some lines without a file of flags: empty and copied outputs."""
    texts = {line: (items.hypothesis[line].strip(), items.source[line].strip()) for line in lines}
    copied = {line: "" for line, (text, source) in texts.items() if text and text == source != items.reference[line]}
    return {"empty": {line: "" for line, (text, _) in texts.items() if not text}, "copied": copied}


@cache
def _chrf() -> CHRF:
    return CHRF(word_order=2)


def spread(total: int, number: int) -> list[int]:
    """At most `number` places out of `total`, at even distances; all of them where they are fewer."""
    if number >= total:
        return list(range(total))
    return [place * total // number for place in range(number)]


def text_direction(text: str, language: str) -> str:
    """`rtl` or `ltr`: that of the language, or of the letters where all of them run the other way (off-target)."""
    parts = language.replace("_", "-").split("-")
    own = "rtl" if parts[0].lower() in RIGHT_TO_LEFT or RIGHT_TO_LEFT_SCRIPTS.intersection(parts[1:]) else "ltr"
    kinds = {unicodedata.bidirectional(letter) for letter in text}
    right, left = bool(kinds & {"R", "AL"}), "L" in kinds
    return ("rtl" if right else "ltr") if right != left else own


def readable(text: str) -> str:
    """A text that HTML can hold and people can see: control characters as pictures (`␀`), no lone surrogates."""
    text = text if len(text) <= LONG else f"{text[:LONG]} […{len(text) - LONG:,} characters more]"
    return visible(text)


def visible(text: str) -> str:
    """Control characters other than tab and line feed as their pictures, lone surrogates as U+FFFD."""
    return text.translate(_PICTURES)


class _Pictures(dict):
    """A table for `str.translate`: what is not a control or a surrogate stays."""

    def __missing__(self, code: int) -> int:
        if code < 0x20 and code not in (0x09, 0x0A):
            return 0x2400 + code
        if code == 0x7F:
            return 0x2421
        lost = 0x80 <= code < 0xA0 or 0xD800 <= code < 0xE000 or code & 0xFFFE == 0xFFFE
        return 0xFFFD if lost else code


_PICTURES = _Pictures()


def cap_for(size: int, room: int, sentences: int) -> int:
    """How many sentences of each group fit into `room` bytes, where `sentences` take `size`."""
    return max(0, math.floor(sentences * room / size * 0.97)) if size > room else sentences
