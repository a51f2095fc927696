"""Section "Data": what was read, kept and dropped and why, examples, languages, lengths of the training sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lander.report import charts
from lander.report.inputs import Inputs
from lander.report.labels import sort_directions
from lander.report.svg import Drawn
from lander.report.tables import MISSING, Cell, Table
from lander.shared.languages import parse_direction

SHOWN = 200  # characters of an example


def count_tables(inputs: Inputs) -> list[Table]:
    """How many pairs were read, kept and dropped: by direction and, if there are several, by source."""
    if inputs.counts is None:
        return []
    counts = inputs.counts
    order = sort_directions(counts["direction"].unique())
    found = [_counted(counts, "direction", "direction", order, "Pairs read, kept and dropped")]
    origins = list(counts["origin"].unique())
    return found + ([_counted(counts, "origin", "source", origins, "The same by source")] if len(origins) > 1 else [])


def _counted(counts: pd.DataFrame, by: str, corner: str, order: list[str], title: str) -> Table:
    sums = counts.groupby([by, "reason"], sort=False)["pairs"].sum().unstack(fill_value=0).loc[order]
    reasons = [name for name in counts["reason"].unique() if name not in ("read", "repaired", "kept")]
    used = [name for name in reasons if sums[name].any()]
    columns = {name: ("pairs", name) for name in ("read", "repaired", "kept") if name in sums}
    columns |= {name: ("dropped because of", name.replace("_", " ")) for name in used}
    notes = []
    if idle := [name.replace("_", " ") for name in reasons if name not in used]:
        notes.append(f"Filters that dropped nothing: {', '.join(idle)}.")
    if {"read", "kept"} <= set(sums):
        off = sums.index[2 * sums["read"] != sums.drop(columns="repaired", errors="ignore").sum(axis="columns")]
        wrong = f"The numbers of {', '.join(off)} do not add up: read is not kept + dropped."
        notes.append(wrong if len(off) else "Read = kept + dropped.")
    if "repaired" in sums:
        notes.append("Repaired: mojibake, HTML entities or escapes of a terminal were undone. These pairs went on.")
    sums.loc["all"] = sums.sum()
    rows = [(name, [f"{number:,}" for number in numbers]) for name, numbers in sums[list(columns)].iterrows()]
    return Table.of(title, corner, columns.values(), rows, notes=notes, total=True)


def languages_table(inputs: Inputs) -> Table | None:
    """Each language: its name, directions, training sentences and their lengths."""
    lengths = inputs.lengths
    if not len(lengths):
        return None
    pairs = [] if inputs.counts is None else [parse_direction(name) for name in inputs.counts["direction"].unique()]
    rows = []
    for language, part in lengths.groupby("language"):
        numbers = [part["sentences"].sum(), quantile(part, 0.5), quantile(part, 0.95), part["characters"].max()]
        served = [sum(getattr(pair, side) == language for pair in pairs) for side in ("source", "target")]
        numbers = [*(served if pairs else [None, None]), *numbers]
        rows.append((inputs.language(str(language)), [MISSING if one is None else f"{one:,}" for one in numbers]))
    columns = [("directions", "source in"), ("directions", "target in"), ("training", "sentences")]
    columns += [("length in characters", name) for name in ("median", "95%", "longest")]
    notes = ["A sentence counts once for each direction that it trains. 95%: 95% of the sentences are not longer."]
    return Table.of("Languages", "language", columns, rows, notes=notes)


def quantile(lengths: pd.DataFrame, share: float) -> int:
    """The number of characters that a share of one language's sentences does not exceed."""
    ordered = lengths.sort_values("characters")
    below = ordered["sentences"].cumsum()
    return int(ordered["characters"].iloc[below.searchsorted(below.iloc[-1] * share)])


def dropped_table(pair: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Examples of dropped pairs, with the filter that dropped each."""
    sides = parse_direction(pair)
    shown = []
    for row in rows:
        texts = [text if len(text) <= SHOWN else f"{text[:SHOWN]}…" for text in (row["first"], row["second"])]
        cells = [Cell(text, lang=lang) for text, lang in zip(texts, (sides.source, sides.target), strict=True)]
        place = f"{row.get('origin', '')}, line {row.get('line', MISSING)}"
        shown.append((str(row["reason"]).replace("_", " "), [*cells, place]))
    notes = ["Lines count from 0, as in the tables and in `lines` of the config."]
    columns = [sides.source, sides.target, "from"]
    return Table.of(f"Examples of dropped pairs, {pair}", "dropped because of", columns, shown, notes=notes, wide=True)


def lengths(inputs: Inputs) -> Drawn | None:
    """Length of the training sentences, by language: a line over at most 24 stretches of equal width."""
    rows = inputs.lengths
    if not len(rows):
        return None
    longest = int(rows["characters"].quantile(0.999))
    width = next(size for size in (1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000, 10**6) if longest / size <= 24)
    ends = list(range(0, longest + width + 1, width))
    parts = []
    for language, mine in rows.groupby("language"):
        counts, _ = np.histogram(mine["characters"].clip(upper=ends[-1] - 1), ends, weights=mine["sentences"])
        share = (100 * counts / counts.sum()).round(3)
        table = {"characters": ends[:-1], "language": language, "percent": share, "sentences": counts}
        parts.append(pd.DataFrame(table))
    data = pd.concat(parts)
    x = f"length in characters (from; stretches of {width}, the last includes all longer ones)"
    rows = data.set_axis(["value", "series", "mean", "sentences"], axis="columns")
    title = "Length of the training sentences, by language"
    drawing = charts.lines("lengths", title, [charts.Panel(rows, x, "sentences (%)")], "any")
    return Drawn("lengths", title, drawing, data, ("characters", "language", "percent"))
