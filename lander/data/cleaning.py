"""Cleaning of a pair of languages: every line is kept, or dropped and counted under a reason.

In: sources (`lander.data.sources`), settings (`lander.data.settings`). Out: the table `clean`, the table `counts`, and
a few dropped examples of each reason as JSON lines. In memory are one batch of pairs, the digests of the excluded
texts, and 8 bytes for each kept pair (16 for short times, see `lander.data.filters.Seen`).
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lander.data import tmx
from lander.data.filters import build
from lander.data.overlap import Excluded
from lander.data.reading import read
from lander.data.repair import INVISIBLE, decode, repair
from lander.data.settings import repair_options, resolve
from lander.data.sources import Source
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.files import write_text
from lander.shared.languages import Direction

EXAMPLES = 10  # kept per origin and reason
EXAMPLE_CHARACTERS = 500
BATCH = 64  # pairs that a filter looks at together
BATCH_CHARACTERS = 1_000_000  # of a batch without its last pair
# Counted, not dropped: mojibake, entities or escapes were undone, or invisible characters removed
REPAIRED = "repaired"


class Cleaner:
    """The filters of one pair with their counts, {origin: {reason: pairs}}, and examples of dropped pairs."""

    def __init__(self, languages: tuple[str, str], settings: dict[str, Any], excluded: Excluded) -> None:
        if "repair" in settings["order"][1:]:
            raise UserError("data.cleaning.order: `repair` must come first, the filters look at repaired text")
        self.filters = build(settings, languages, excluded)
        self.repairs = [repair_options(settings, language) for language in languages]
        self.counts: dict[str, Counter[str]] = {}
        self.examples: list[dict[str, Any]] = []

    def clean(self, origin: str, rows: Iterator[tuple[int, tuple[str, str]]]) -> Iterator[tuple[str, str, str, int]]:
        """Yield (first, second, origin, line) of the pairs that stay."""
        counts = self.counts.setdefault(origin, Counter())
        for batch in _batches(rows):
            counts["read"] += len(batch)
            batch = [self._repaired(counts, *row) for row in batch]
            for reason, check in self.filters:
                scores = list(check([first for _, first, _ in batch], [second for _, _, second in batch]))
                dropped = [(score, *row) for row, score in zip(batch, scores, strict=True) if score is not None]
                for score, line, first, second in dropped[: max(EXAMPLES - counts[reason], 0)]:
                    score = round(score, 3) if isinstance(score, float) else score
                    texts = {"first": first[:EXAMPLE_CHARACTERS], "second": second[:EXAMPLE_CHARACTERS]}
                    self.examples.append({"reason": reason, "score": score, **texts, "origin": origin, "line": line})
                counts[reason] += len(dropped)
                batch = [row for row, score in zip(batch, scores, strict=True) if score is None]
            counts["kept"] += len(batch)
            for line, first, second in batch:
                yield first, second, origin, line

    def _repaired(self, counts: Counter[str], line: int, *texts: str) -> tuple[int, str, str]:
        """A row with repaired texts; counted if more than their form and white space changes."""
        found, more = [], False
        for options, text in zip(self.repairs, texts, strict=True):
            found.append(text if options is None else repair(text, **options))
            more |= found[-1] != text and (
                bool(INVISIBLE.search(text)) or (options["encoding"] and decode(text) != text)
            )
        counts[REPAIRED] += more
        return line, *found


def _batches(rows: Iterable[tuple[int, tuple[str, str]]]) -> Iterator[list[tuple[int, str, str]]]:
    batch, size = [], 0
    for line, (first, second) in rows:
        batch.append((line, first, second))
        size += len(first) + len(second)
        if len(batch) == BATCH or size > BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def clean_pair(
    pair: Direction,
    sources: Sequence[Source],
    exclude: Sequence[Source],
    cleaning: dict[str, Any],
    out: Path,
    counts: Path,
    dropped: Path,
) -> None:
    """Clean every source of a pair (languages in alphabetical order) into one table. UserError if no pair is left.

    The texts of `exclude`, in any language, must not be trained on. `cleaning` has the order of the steps and their
    thresholds; what it leaves out comes from `settings.DEFAULTS`. The files to write are `out`, `counts` and `dropped`.
    """
    settings = resolve(cleaning)
    languages = (pair.source, pair.target)
    steps = {"exclude", "near_excluded"} & set(settings["order"])
    similarity = settings["default"]["near_excluded"]["similarity"] if "near_excluded" in steps else 1.0
    cleaner = Cleaner(languages, settings, Excluded(exclude if steps else [], languages, similarity, settings))

    def rows() -> Iterator[tuple[str, str, str, int]]:
        for source in sources:
            skipped: Counter[str] = Counter()
            lines = read(source, languages, max_line=settings["max_line"], progress=True, skipped=skipped)
            yield from cleaner.clean(source.name, lines)
            cleaner.counts[source.name].update({"read": skipped.total(), **skipped})
        totals = sum(cleaner.counts.values(), Counter())
        if not totals["kept"]:
            most = totals.most_common(4)
            reasons = ", ".join(f"{reason} {pairs:,}" for reason, pairs in most if reason not in ("read", REPAIRED))
            raise UserError(
                f"pair {pair}: none of {totals['read']:,} pairs is left after cleaning ({reasons}); see data.cleaning"
            )

    if not sources:
        raise UserError(f"pair {pair}: no source of data.train holds a line of it")
    tables.write_rows(out, rows(), "clean")
    reasons = [reason for reason, _ in cleaner.filters]
    examples = sorted(cleaner.examples, key=lambda example: reasons.index(example["reason"]))
    write_text(dropped, "".join(json.dumps(example, ensure_ascii=False) + "\n" for example in examples))
    counted = [
        (str(pair), origin, reason, number[reason])
        for origin, number in cleaner.counts.items()
        for reason in ("read", *filter(number.get, (REPAIRED, *tmx.LEFT_OUT)), *reasons, "kept")
    ]
    tables.write(counts, pd.DataFrame(counted, columns=tables.SCHEMAS["counts"].names), "counts")
