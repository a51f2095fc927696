"""The tables of the page: scores, costs, data, versions. Text only; page.html makes them HTML and escapes it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from lander.evaluate.collect import MEANS
from lander.report.inputs import Inputs
from lander.report.order import GROUPS, direction_group, group_heading, method_key, run_label, sort_directions

MISSING = "–"
MEAN_LABELS = {"mean": "all", "mean-out-of-en": "out of en", "mean-into-en": "into en"}
METRICS = {  # metric -> heading, digits, factor, whether more is better
    "bleu": ("BLEU", 1, 1, True),
    "chrf2++": ("chrF2++", 1, 1, True),
    "bleu_unseen": ("BLEU on items that training has not seen", 1, 1, True),
    "chrf2++_unseen": ("chrF2++ on items that training has not seen", 1, 1, True),
    "bleu_raw": ("BLEU of the raw output, before it is cut at the first line break", 1, 1, True),
    "length_ratio": ("Length ratio: characters of the translations / of the references", 2, 1, False),
    "length_ratio_raw": ("Length ratio of the raw output", 2, 1, False),
    "empty": ("Empty translations, % of items", 1, 100, False),
    "copied": ("Translations that repeat the source, % of items", 1, 100, False),
    "contaminated": ("Test items of which training has seen the source or the reference, %", 1, 100, False),
}


@dataclass(frozen=True)
class Cell:
    """A cell: its text, whether it is the best of its column, and the spread over seeds."""

    text: str
    best: bool = False
    spread: str = ""


@dataclass(frozen=True)
class Head:
    """A heading over `span` columns."""

    text: str
    span: int = 1


@dataclass(frozen=True)
class Table:
    """A table with one or two rows of headings; every row starts with its label."""

    caption: str
    corner: str
    heads: list[Head]
    rows: list[tuple[str, list[Cell]]]
    groups: list[Head] = field(default_factory=list)  # headings above `heads`
    notes: list[str] = field(default_factory=list)
    total: bool = False  # the last row is a sum


def score_columns(directions: Sequence[str]) -> list[tuple[str, str]]:
    """(group, direction or mean) of the columns: the means first, where they are in sight, then the directions."""
    plain = sort_directions(directions)
    columns = [("mean", name) for name in MEAN_LABELS if name in directions]
    there = [direction_group(name) for name in plain]
    for group in GROUPS:
        columns += [(group_heading(group, there), name) for name in plain if direction_group(name) == group]
    return columns


def score_table(scores: pd.DataFrame, test: str, metric: str) -> Table | None:
    """Methods x directions of one test set and metric: means over seeds, the best of each column marked."""
    rows = scores[(scores["test"] == test) & (scores["metric"] == metric)]
    if rows.empty:
        return None
    heading, digits, factor, rank = METRICS.get(metric, (metric, 2, 1, False))
    columns = score_columns(rows["direction"].unique())
    by = rows.assign(score=rows["score"] * factor).groupby(["method", "variant", "direction"])["score"]
    mean, spread, seeds = by.mean(), by.std(), by.count()
    runs = sorted({key[:2] for key in mean.index}, key=method_key)
    tops = {name: round(top, digits) for name, top in mean.groupby("direction").max().items()} if rank else {}
    table = []
    for run in runs:
        cells = []
        for _, name in columns:
            if (*run, name) not in mean.index:
                cells.append(Cell(MISSING))
                continue
            value = mean[(*run, name)]
            many = seeds[(*run, name)] > 1
            text = f"±{spread[(*run, name)]:.{digits}f}" if many else ""
            # compared as printed: no bold for a difference that the reader cannot see
            best = len(runs) > 1 and round(value, digits) == tops.get(name)
            cells.append(Cell(f"{value:.{digits}f}", best, text))
        table.append((run_label(run), cells))
    groups: list[Head] = []
    for group, _ in columns:
        span = groups.pop().span + 1 if groups and groups[-1].text == group else 1
        groups.append(Head(group, span))
    heads = [Head(MEAN_LABELS.get(name, name)) for _, name in columns]
    return Table(f"{heading}, on {test}", "method", heads, table, groups, _score_notes(rows))


def _score_notes(rows: pd.DataFrame) -> list[str]:
    """The signatures, and which seeds the numbers are means of."""
    notes = []
    singles = rows[~rows["direction"].isin(MEANS)]
    signatures = {text: sort_directions(part.unique()) for text, part in singles.groupby("signature")["direction"]}
    order = sorted(signatures, key=lambda text: (-len(signatures[text]), text))
    for place, text in enumerate(order):
        where = f" of {', '.join(signatures[text])}" if place else ""
        notes.append(f"Signature{where}: {text}")
    seeds = sorted(rows["seed"].unique(), key=lambda seed: (len(seed), seed))
    if len(seeds) > 1:
        notes.append(f"Means over the seeds {', '.join(seeds)}; ± is the standard deviation over seeds.")
    return notes


def data_table(counts: pd.DataFrame) -> Table:
    """What became of the pairs that were read, for each direction: kept, or dropped by which filter."""
    sums = counts.groupby(["direction", "reason"], sort=False)["pairs"].sum().unstack(fill_value=0)
    reasons = [name for name in counts["reason"].unique() if name not in ("read", "kept")]
    used = [name for name in reasons if sums[name].any()]
    columns = [name for name in ("read", "kept") if name in sums] + used
    order = sort_directions(sums.index)
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
    return Table("Pairs read, kept and dropped", "direction", heads, rows, groups, notes, total=True)


def prompt_table(prompts: pd.DataFrame) -> Table:
    """BLEU of every prompt on the dev set, direction by direction; the chosen ones marked as best."""
    columns = sort_directions(prompts["direction"].unique())
    score = prompts.set_index(["prompt", "direction"])["bleu"].to_dict()
    chosen = {(row.prompt, row.direction) for row in prompts.itertuples() if row.chosen}
    rows = []
    for prompt in prompts["prompt"].unique():
        keys = [(prompt, name) for name in columns]
        rows.append((prompt, [Cell(f"{score[key]:.1f}" if key in score else MISSING, key in chosen) for key in keys]))
    notes = ["Bold: the prompt that zero-shot (best prompt) uses in this direction."]
    return Table(
        "BLEU of the untrained base on the dev set", "prompt", [Head(name) for name in columns], rows, [], notes
    )


def version_table(inputs: Inputs) -> Table | None:
    """Versions of the libraries that trained the models; several where runs differ."""
    found: dict[str, set[str]] = {}
    for content in inputs.runs.values():
        versions = content.get("versions")
        for name, version in (versions if isinstance(versions, dict) else {}).items():
            found.setdefault(str(name), set()).add(str(version))
    if not found:
        return None
    rows = [(name, [Cell(", ".join(sorted(found[name])))]) for name in sorted(found, key=str.lower)]
    return Table("Versions", "library", [Head("version")], rows)
