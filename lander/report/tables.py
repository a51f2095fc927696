"""Tables, and those of the scores and prompts. Text only; table.html makes them HTML and escapes it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from lander.evaluate.collect import MEANS
from lander.report.metrics import look
from lander.report.order import GROUPS, direction_group, group_heading, method_key, run_label, sort_directions
from lander.report.significance import SIGNIFICANT, Method, Outcome, Place, Significance

MISSING = "–"
UNKNOWN = "Which of these scores are better is not known (evaluate.neural: less_is_better), so none is marked."
MEAN_LABELS = {"mean": "all", "mean-out-of-en": "out of en", "mean-into-en": "into en"}


@dataclass(frozen=True)
class Cell:
    """A cell: its text, whether it is the best of its column, and the spread over seeds.

    Attributes:
        interval: the 95% interval, below the text.
        marks: letters of the baselines that it is significantly ahead of, and `ahead` their names.
        hover: all of this in words.
        value: what the column is sorted by, where the text is not the number itself (`12 min`).
        lang: language of the text, where it is user text.
    """

    text: str
    best: bool = False
    spread: str = ""
    interval: str = ""
    marks: str = ""
    ahead: str = ""
    hover: str = ""
    value: float | None = None
    lang: str = ""


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
    wide: bool = False  # cells hold sentences, which may be broken
    word: str = "best"  # what bold means, for those who hear the table


def score_columns(directions: Sequence[str]) -> list[tuple[str, str]]:
    """(group, direction or mean) of the columns: the means first, where they are in sight, then the directions."""
    plain = sort_directions(directions)
    columns = [("mean", name) for name in MEAN_LABELS if name in directions]
    there = [direction_group(name) for name in plain]
    for group in GROUPS:
        columns += [(group_heading(group, there), name) for name in plain if direction_group(name) == group]
    return columns


def score_groups(columns: Sequence[tuple[str, str]]) -> list[Head]:
    """Headings above those columns."""
    groups: list[Head] = []
    for group, _ in columns:
        span = groups.pop().span + 1 if groups and groups[-1].text == group else 1
        groups.append(Head(group, span))
    return groups


def score_table(
    scores: pd.DataFrame,
    test: str,
    metric: str,
    significance: Significance | None = None,
    only: Sequence[str] = (),
    directions: Sequence[str] = (),
) -> Table | None:
    """Methods x directions of one test set and metric: means over seeds, the best of each column marked.

    Args:
        significance: intervals and tests, shown in the cells.
        only: methods, where not all are wanted.
        directions: directions and means, where not all are wanted.
    """
    rows = scores[(scores["test"] == test) & (scores["metric"] == metric)]
    rows = rows[rows["method"].isin(only)] if only else rows
    rows = rows[rows["direction"].isin(directions)] if directions else rows
    if rows.empty:
        return None
    tested = significance or Significance()
    heading, digits, factor, best = look(metric, rows["signature"].unique())
    columns = score_columns(rows["direction"].unique())
    by = rows.assign(score=rows["score"] * factor).groupby(["method", "variant", "direction"])["score"]
    mean, spread, seeds = by.mean(), by.std(), by.count()
    runs = sorted({key[:2] for key in mean.index}, key=method_key)
    tops = mean.groupby("direction").agg(best).round(digits).to_dict() if best else {}
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
            top = len(runs) > 1 and round(value, digits) == tops.get(name)
            extra = _tested(tested, run, (test, name, metric), digits, factor) if tested else {}
            cells.append(Cell(f"{value:.{digits}f}", top, text, **extra))
        table.append((run_label(run), cells))
    heads = [Head(MEAN_LABELS.get(name, name)) for _, name in columns]
    marked = any(cell.interval or cell.marks for _, cells in table for cell in cells)
    notes = [tested.legend()] if marked else []
    notes += [UNKNOWN] if marked and not best else []
    groups = score_groups(columns)
    return Table(f"{heading}, on {test}", "method", heads, table, groups, notes + score_notes(rows))


def _tested(tested: Significance, run: Method, place: Place, digits: int, factor: float) -> dict[str, str]:
    """The parts of a cell that say how sure its score is."""
    span = [f"{end * factor:.{digits}f}" for end in tested.interval(run, place) or ()]
    said = [f"95% interval {' to '.join(span)}"] if span else []
    for baseline in tested.baselines:
        if found := tested.compare(run, baseline, place):
            sure = "significant" if found.significant else "not significant"
            difference = f"{found.difference * factor:+.{digits}f}".replace("-", "−")
            said.append(f"against {run_label(baseline)} {difference}, {found.text}, {sure}")
    letters, beaten = tested.letters(), tested.beaten(run, place)
    return {
        "interval": "–".join(span),
        "marks": "".join(letters[one] for one in beaten),
        "ahead": ", ".join(run_label(one) for one in beaten),
        "hover": "; ".join(said),
    }


def difference_table(tested: Significance, test: str, metric: str, baseline: Method) -> Table | None:
    """Methods x directions: the difference to one baseline and its corrected p, bold where it is significant."""
    outcomes = {
        (run, place[1]): found
        for (run, base, place), found in tested.tests.items()
        if base == baseline and (place[0], place[2]) == (test, metric)
    }
    if not outcomes:
        return None
    columns = score_columns(list(dict.fromkeys(name for _, name in outcomes)))
    heading, digits, _, _ = tested.look(metric)
    rows = []
    for run in sorted({run for run, _ in outcomes}, key=method_key):
        cells = []
        for _, name in columns:
            found = outcomes.get((run, name))
            cells.append(_difference_cell(found, digits) if found else Cell(MISSING))
        rows.append((run_label(run), cells))
    notes = [f"Below: the Holm-corrected p of {tested.test}, and the 95% interval. Bold: {SIGNIFICANT}."]
    title = f"{heading} minus that of {run_label(baseline)}, on {test}"
    heads = [Head(MEAN_LABELS.get(name, name)) for _, name in columns]
    return Table(title, "method", heads, rows, [], notes, word="significant")


def _difference_cell(found: Outcome, digits: int) -> Cell:
    text = f"{found.difference:+.{digits}f}".replace("-", "−")
    sure = "significant" if found.significant else "not significant"
    span = [f"{end:+.{digits}f}".replace("-", "−") for end in (found.low, found.high) if end == end]
    said = [text, f"95% interval {' to '.join(span)}"] if span else [text]
    hover = "; ".join([*said, found.text, sure])
    return Cell(text, found.significant, found.text, " to ".join(span), hover=hover)


def score_notes(rows: pd.DataFrame) -> list[str]:
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


def duration(seconds: float | None) -> str:
    """`45 s`, `12 min`, `3.4 h`."""
    if seconds is None:
        return MISSING
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def quantity(value: float | None, unit: str = "") -> str:
    """`950`, `12.3k`, `4.56M`, `7.07G`, `1.3 GB`, with three digits."""
    if value is None or math.isnan(value):
        return MISSING
    rounded = float(f"{value:.3g}")  # 999,700 is 1M, not 1000k
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rounded >= size:
            return f"{rounded / size:.3g}{unit and ' '}{letter}{unit}"
    return f"{value:.0f}{unit and ' '}{unit}"


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
