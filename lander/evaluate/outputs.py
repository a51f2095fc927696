"""What went wrong in outputs, item by item: nothing written, source copied, cut short, another language, seen before.

The language is identified by `lander.data.langid` (offline; a script test first, then py3langid among a few candidates)
with the cleaning's measured thresholds: an output is off-target only where the target language is *im*probable. Texts
with too few letters to tell are counted apart, as `language_unknown`. The language that an off-target output is in is
named where it is known. A copy is in the source's language; of a short text in another script it is only known that
it is not in the target's.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lander.data import settings
from lander.data.langid import OWN_SCRIPT, Judge
from lander.data.measures import letters, script_share
from lander.evaluate.contamination import normalise
from lander.evaluate.translations import Translations
from lander.shared.languages import Direction, find_language, script_of

SCRIPT_LETTERS = 8  # letters that settle a script; the language within a script takes more (see lander.data.settings)
SURE = 0.5  # probability among the candidates from which on another language is named
OTHER = ""  # another language than the target, not known which
REPEATED_ORDER = 4


@dataclass(frozen=True)
class Flags:
    """Which items have which fault."""

    marks: dict[str, list[bool]]  # name of the flag -> a mark for each item
    languages: dict[int, str] = field(default_factory=dict)  # off-target item -> its language, or `OTHER`

    def rows(self) -> list[tuple[int, str, str]]:
        """`line, flag, detail` of all that is marked, sorted; the detail of `off_target` is a language or empty."""
        return sorted(
            (line, name, self.languages.get(line, OTHER) if name == "off_target" else "")
            for name, marks in self.marks.items()
            for line, mark in enumerate(marks)
            if mark
        )


def flags(items: Translations, direction: Direction, seen: set[str] | None) -> Flags:
    """All flags of the items that are known (`lander.evaluate.scoring`); `seen`: normalised texts of training."""
    triples = zip(items.source, items.references, items.hypothesis, strict=True)
    same = [(normalise(one), set(map(normalise, wanted)), normalise(written)) for one, wanted, written in triples]
    marks = {
        "empty": [not text.strip() for text in items.hypothesis],
        "copied": [bool(written) and written == one and one not in wanted for one, wanted, written in same],
    }
    if items.cut is not None:
        marks["cut"] = [cut and unfinished(raw) for cut, raw in zip(items.cut, items.raw, strict=True)]
        marks["cut_raw"] = list(items.cut)
    found = {}
    if judge := target_judge(direction):
        verdicts = [judge(text) for text in items.hypothesis]
        marks["off_target"] = [verdict is not None and verdict != direction.target for verdict in verdicts]
        marks["language_unknown"] = [verdict is None for verdict in verdicts]
        found = {
            line: direction.source if marks["copied"][line] else verdicts[line] or OTHER
            for line, mark in enumerate(marks["off_target"])
            if mark
        }
    if seen is not None:
        marks["contaminated"] = [one in seen or not wanted.isdisjoint(seen) for one, wanted, _ in same]
    return Flags(marks, found)


def unfinished(raw: str) -> bool:
    """Whether the first line that is not empty, which is the translation, has no line break behind it."""
    lines = [line for line in raw.splitlines(keepends=True) if line.strip()]
    return not lines or lines[0].splitlines()[0] == lines[0]


def target_judge(direction: Direction) -> Callable[[str], str | None] | None:
    """A function from a text to its language: the target, the likeliest other candidate, or `OTHER` if it is not sure.

    It gives None for a text with too few letters. If the identifier does not know the target, there is no function.
    """
    target, partners = direction.target, (direction.source, direction.target)
    usual = [code for code in settings.DEFAULTS["candidates"] if not find_language(code, partners)]
    candidates = sorted({*partners, *usual})
    judge = Judge(target, settings.DEFAULTS["candidates"], partners)
    if not judge.knows:
        note = f"the language identifier does not know {target}; off-target outputs are not counted"
        print(f"lander evaluate: note: {note}", file=sys.stderr)
        return None
    limits = settings.thresholds(settings.DEFAULTS, target, "language")
    script = script_of(target)
    others = {code: Judge(code, candidates) for code in candidates if code != target}
    others = {code: other for code, other in others.items() if other.knows}
    fewest = {code: settings.thresholds(settings.DEFAULTS, code, "language")["letters"] for code in others}

    def language(text: str) -> str | None:
        count = len(letters(text))
        foreign = bool(script) and count >= SCRIPT_LETTERS and script_share(text, script) < OWN_SCRIPT
        if not foreign and count < limits["letters"]:
            return None
        if not foreign and judge.probabilities([text])[0] >= limits["probability"]:
            return target
        likeliest = max(others, key=lambda code: others[code].probabilities([text])[0])
        known = count >= fewest[likeliest] and others[likeliest].probabilities([text])[0] >= SURE
        return likeliest if known else OTHER

    return language


def repeated_share(texts: Sequence[str], tokenize: Callable[[str], str]) -> float:
    """Share of the 4-grams of words that occur earlier in the same text; 0 where no text has four words."""
    total = distinct = 0
    for text in texts:
        words = tokenize(text.rstrip()).split()
        grams = list(zip(*(words[start:] for start in range(REPEATED_ORDER)), strict=False))
        total += len(grams)
        distinct += len(set(grams))
    return (total - distinct) / total if total else 0.0
