"""How each method does on short and long sentences, and on rare and frequent words."""

import re
from collections import Counter, defaultdict

from lander.report.tables import MISSING, Cell, Table
from lander.report.translations import Browser

LENGTHS = ("shortest", "short", "long", "longest")  # quarters
COUNTS = {1: "1", 2: "2–4", 5: "5–19", 20: "20 or more"}  # occurrences in the references, from
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")  # Chinese, Japanese: characters


def words(text: str) -> Counter[str]:
    """How often each word is in a text."""
    return Counter(WORD.findall(text.lower()))


def analysis(browser: Browser) -> Table | None:
    """Mean chrF2++ by quarters of length, and F1 of words by how often the references have them, as in compare-mt."""
    chrf: dict[tuple[int, str], list[float]] = defaultdict(list)
    sums: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0])  # words in both, words of both
    for group in browser.groups:
        order = sorted(group.sentences, key=lambda sentence: (len(sentence.references[0]), sentence.line))
        known = [words(sentence.references[0]) for sentence in order]
        frequency = sum(known, Counter())
        for place, (sentence, wanted) in enumerate(zip(order, known, strict=True)):
            for output in sentence.outputs:
                chrf[output.model, LENGTHS[4 * place // len(order)]].append(output.chrf)
                given = words(output.text)
                for word in wanted | given:
                    own = sums[output.model, bucket(frequency[word])]
                    own[0] += 2 * min(wanted[word], given[word])
                    own[1] += wanted[word] + given[word]
    values = {key: sum(found) / len(found) for key, found in chrf.items()}
    values |= {key: 100 * both / every for key, (both, every) in sums.items() if every}
    columns = [("chrF2++ by length of the reference", name) for name in LENGTHS]
    columns += [("F1 of words by their number in the references", name) for name in COUNTS.values()]
    columns = [column for column in columns if any(head == column[1] for _, head in values)]
    best = {head: max(value for (_, one), value in values.items() if one == head) for _, head in columns}
    rows = []
    for model, label in enumerate(browser.models):
        found = {head: values.get((model, head)) for _, head in columns}
        cells = [MISSING if one is None else Cell(f"{one:.1f}", one == best[head]) for head, one in found.items()]
        rows.append((label, cells))
    notes = [
        "Means over the sentences of the browser. Lengths: quarters of each direction and test set, in characters.",
        "F1 (0 to 100): of the words of outputs and references, counted by direction. Words that no "
        "reference has count as those of number 1. Chinese and Japanese: characters.",
    ]
    title = "Translations by sentence length and word frequency"
    return Table.of(title, "method", columns, rows, notes=notes) if columns else None


def bucket(number: int) -> str:
    """The column of words that the references have `number` times."""
    return COUNTS[max(start for start in COUNTS if start <= max(1, number))]
