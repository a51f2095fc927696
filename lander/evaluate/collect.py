"""All scores of a run in one table, with their means over directions."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from lander.shared.csvfile import AGAIN, read_csv, to_numbers
from lander.shared.errors import UserError
from lander.shared.files import whole_file
from lander.shared.languages import base_language, parse_direction

COLUMNS = ("method", "variant", "seed", "test", "direction", "metric", "score", "signature")
MEANS = ("mean", "mean-into-en", "mean-out-of-en")
Row = dict[str, str]


def read_scores(path: str | Path) -> list[Row]:
    """Rows of a table of scores, with all of `COLUMNS` and no empty value."""
    table = read_csv(path, COLUMNS, absent="`python -m lander.evaluate score` makes it")[list(COLUMNS)]
    rows = table.to_dict("records")
    for line, row in enumerate(rows, start=2):
        if missing := [name for name, value in row.items() if not value]:
            raise UserError(f"{path}, line {line}: no {', '.join(missing)}; {AGAIN}")
    to_numbers(path, table["score"])
    if not rows:
        raise UserError(f"{path}: no scores in it; {AGAIN}")
    return rows


def write_scores(path: str | Path, rows: Iterable[Row]) -> None:
    """Write a table of scores whole or not at all."""
    with whole_file(path) as temporary:
        pd.DataFrame(list(rows), columns=COLUMNS).to_csv(temporary, index=False, lineterminator="\n")


def collect(files: Sequence[str | Path]) -> list[Row]:
    """All rows of the files of scores, and their means, sorted; UserError if two files score the same thing."""
    origin: dict[tuple[str, ...], str | Path] = {}
    rows = []
    for path in files:
        for row in read_scores(path):
            key = tuple(row[name] for name in COLUMNS[:6])
            if key in origin:
                raise UserError(f"{path}: {' '.join(key)} is scored in {origin[key]} too; give each file once")
            origin[key] = path
            rows.append(row)

    def order(row: Row) -> tuple:
        mean = MEANS.index(row["direction"]) + 1 if row["direction"] in MEANS else 0
        seed = row["seed"].zfill(9)
        return (row["method"], row["variant"], seed, row["test"], mean, row["direction"], row["metric"])

    return sorted(rows + means(rows), key=order)


def means(rows: Sequence[Row]) -> list[Row]:
    """Rows `mean`, `mean-into-en` and `mean-out-of-en`: plain means over directions, for each test, metric and run.

    A metric that some direction lacks (`bleu_unseen` where training has seen every item) has no mean: a mean over fewer
    directions would not be comparable. Without a direction into (out of) English there is no row for it.
    """
    directions: dict[tuple[str, ...], set[str]] = defaultdict(set)  # of a run and test
    groups: dict[tuple[str, ...], dict[str, Row]] = defaultdict(dict)  # of a run, test and metric
    for row in rows:
        run = (row["method"], row["variant"], row["seed"], row["test"])
        directions[run].add(row["direction"])
        groups[(*run, row["metric"])][row["direction"]] = row
    found = []
    for (*run, metric), scores in groups.items():
        for name in MEANS:
            members = sorted(direction for direction in directions[tuple(run)] if belongs(direction, name))
            if members and all(direction in scores for direction in members):
                rows_of = [scores[direction] for direction in members]
                value = sum(float(row["score"]) for row in rows_of) / len(members)
                signature = f"{merge_signatures(row['signature'] for row in rows_of)}|mean:{len(members)}"
                found.append(dict(zip(COLUMNS, (*run, name, metric, number(value), signature), strict=True)))
    return found


def belongs(direction: str, mean: str) -> bool:
    """Whether a mean is over a direction."""
    pair = parse_direction(direction)
    side = {"mean-into-en": pair.target, "mean-out-of-en": pair.source}.get(mean)
    return side is None or base_language(side) == "en"


def number(value: float) -> str:
    """A score as it is in the table: six digits after the point, the same on every machine."""
    return f"{value:.6f}"


def merge_signatures(signatures: Iterable[str]) -> str:
    """One signature for several: fields that differ list their values, as in `tok:13a+zh`; words without one stay."""
    fields: dict[str, list[str]] = {}
    for signature in signatures:
        for field in signature.split("|"):
            name, _, value = field.partition(":")
            values = fields.setdefault(name, [])
            if value not in values:
                values.append(value)
    return "|".join(f"{name}:{'+'.join(sorted(values))}" if any(values) else name for name, values in fields.items())
