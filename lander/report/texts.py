"""The tables of the data: what was read, kept and dropped and why, examples of it, the languages."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lander.report.inputs import Inputs
from lander.report.order import sort_directions
from lander.report.tables import MISSING, Cell, Head, Table
from lander.shared.languages import parse_direction


def data_tables(counts: pd.DataFrame) -> list[Table]:
    """What became of the pairs that were read: of each direction and, where there are several, of each source."""
    order = sort_directions(counts["direction"].unique())
    found = [_counted(counts, "direction", order, "Pairs read, kept and dropped")]
    origins = list(counts["origin"].unique())
    if len(origins) > 1:
        found.append(_counted(counts, "origin", origins, "The same by source"))
    return found


def _counted(counts: pd.DataFrame, by: str, order: list[str], title: str) -> Table:
    sums = counts.groupby([by, "reason"], sort=False)["pairs"].sum().unstack(fill_value=0)
    reasons = [name for name in counts["reason"].unique() if name not in ("read", "kept")]
    used = [name for name in reasons if sums[name].any()]
    columns = [name for name in ("read", "kept") if name in sums] + used
    rows = [(name, [Cell(f"{sums.loc[name, column]:,}") for column in columns]) for name in order]
    rows.append(("all", [Cell(f"{sums[column].sum():,}") for column in columns]))
    heads = [Head(column.replace("_", " ")) for column in columns]
    dropped = len(columns) - len(used)
    groups = [Head("pairs", dropped)] + ([Head("dropped because of", len(used))] if used else [])
    notes = []
    if idle := [name.replace("_", " ") for name in reasons if name not in used]:
        notes.append(f"Filters that dropped nothing: {', '.join(idle)}.")
    if {"read", "kept"} <= set(sums):
        off = [name for name in order if sums.loc[name, "read"] != sums.loc[name].sum() - sums.loc[name, "read"]]
        notes.append(
            f"Does not add up for {', '.join(off)}: read is not kept + dropped." if off else "Read = kept + dropped."
        )
    return Table(title, by if by == "direction" else "source", heads, rows, groups, notes, total=True)


def languages_table(inputs: Inputs) -> Table | None:
    """Each language: its name, directions, training sentences and their lengths."""
    lengths = inputs.lengths
    if not len(lengths):
        return None
    directions = inputs.counts["direction"].unique() if inputs.counts is not None else []
    pairs = [parse_direction(name) for name in directions]
    rows = []
    for language, part in lengths.groupby("language"):
        part = part.sort_values("characters")
        total, below = int(part["sentences"].sum()), part["sentences"].cumsum()
        quantiles = [int(part["characters"].iloc[below.searchsorted(total * share)]) for share in (0.5, 0.95)]
        numbers = [total, *quantiles, int(part["characters"].max())]
        served = [sum(getattr(pair, side) == language for pair in pairs) for side in ("source", "target")]
        texts = [f"{number:,}" if pairs else MISSING for number in served] + [f"{number:,}" for number in numbers]
        rows.append((inputs.language(str(language)), [Cell(text) for text in texts]))
    heads = [Head(text) for text in ("source in", "target in", "sentences", "median", "95%", "longest")]
    groups = [Head("directions", 2), Head("training", 1), Head("length in characters", 3)]
    notes = ["A sentence counts once for each direction that it trains. 95%: so many are not longer."]
    return Table("Languages", "language", heads, rows, groups, notes)


def dropped_table(pair: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Examples of pairs that were dropped, with the filter that dropped each."""
    sides = parse_direction(pair)
    shown = []
    for row in rows:
        place = f"{row.get('origin', '')}, line {row.get('line', MISSING)}"
        texts = [Cell(_short(row["first"]), lang=sides.source), Cell(_short(row["second"]), lang=sides.target)]
        shown.append((str(row["reason"]).replace("_", " "), [*texts, Cell(place)]))
    heads = [Head(sides.source), Head(sides.target), Head("from")]
    notes = ["Lines count from 0, as in the tables and in `lines` of the config."]
    return Table(f"Examples of dropped pairs, {pair}", "dropped because of", heads, shown, notes=notes, wide=True)


def _short(text: str, length: int = 200) -> str:
    return text if len(text) <= length else f"{text[:length]}…"
