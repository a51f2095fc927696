"""Section "Scores": the tables of scores, differences to baselines and prompts, and the figure of all scores.

`lander compare` and the section "Beside the paper" use the same tables.
"""

from collections.abc import Sequence
from itertools import groupby

import pandas as pd

from lander.evaluate.collect import MEANS
from lander.report import charts
from lander.report.document import heads
from lander.report.inputs import Inputs
from lander.report.labels import (
    GROUPS,
    MEAN_LABELS,
    Method,
    direction_group,
    group_heading,
    look,
    method_key,
    run_label,
    sort_directions,
    sort_metrics,
)
from lander.report.scoretable import score_notes
from lander.report.significance import SIGNIFICANT, Outcome, Significance
from lander.report.svg import Drawn
from lander.report.tables import MISSING, Cell, Head, Table, signed

UNKNOWN = "It is not known which of these scores are better (evaluate.neural: less_is_better), so none is marked."


def score_columns(directions: Sequence[str]) -> list[tuple[str, str]]:
    """(group, direction or mean) of the columns: means first, where they can be seen, then the directions."""
    plain = sort_directions(directions)
    columns = [("mean", name) for name in MEAN_LABELS if name in directions]
    there = [direction_group(name) for name in plain]
    for group in GROUPS:
        columns += [(group_heading(group, there), name) for name in plain if direction_group(name) == group]
    return columns


def score_heads(columns: Sequence[tuple[str, str]]) -> tuple[list[Head], list[Head]]:
    """The headings of those columns, and the groups above them."""
    groups = [Head(group, len(list(own))) for group, own in groupby(columns, key=lambda column: column[0])]
    return [Head(MEAN_LABELS.get(name, name)) for _, name in columns], groups


def score_table(scores: pd.DataFrame, test: str, metric: str, tested: Significance | None = None) -> Table | None:
    """Methods x directions of one test set and metric: means over seeds, the best of each column marked.

    Args:
        tested: intervals and tests, shown in the cells.
    """
    rows = scores[(scores["test"] == test) & (scores["metric"] == metric)]
    if rows.empty:
        return None
    tested = tested or Significance()
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
            key = (*run, name)
            if key not in mean.index:
                cells.append(Cell(MISSING))
                continue
            # compared as printed: no bold for a difference that the reader cannot see
            top = len(runs) > 1 and round(mean[key], digits) == tops.get(name)
            text = f"±{spread[key]:.{digits}f}" if seeds[key] > 1 else ""
            sure = _sureness(tested, run, (test, name, metric), digits, factor) if tested else {}
            cells.append(Cell(f"{mean[key]:.{digits}f}", top, text, **sure))
        table.append((run_label(run), cells))
    notes = []
    if any(cell.interval or cell.marks for _, cells in table for cell in cells):
        notes = [tested.legend(), *([] if best else [UNKNOWN])]
    names, groups = score_heads(columns)
    return Table(f"{heading}, on {test}", "method", names, table, groups, notes + score_notes(rows))


def _sureness(tested: Significance, run: Method, place: tuple[str, str, str], digits: int, factor: float) -> dict:
    """The parts of a cell that say how sure its score is."""
    span = [f"{end * factor:.{digits}f}" for end in tested.interval(run, place) or ()]
    said = [f"95% interval {' to '.join(span)}"] if span else []
    for baseline in tested.baselines:
        if found := tested.compare(run, baseline, place):
            sure = "significant" if found.significant else "not significant"
            gap = signed(found.difference * factor, digits)
            said.append(f"against {run_label(baseline)} {gap}, {found.text}, {sure}")
    beaten, letters = tested.beaten(run, place), tested.letters()
    return {
        "interval": "–".join(span),
        "marks": "".join(letters[one] for one in beaten),
        "ahead": ", ".join(map(run_label, beaten)),
        "hover": "; ".join(said),
    }


def difference_cell(difference: float, outcome: Outcome | None, digits: int, factor: float) -> Cell:
    """A difference of scores and, if it was tested, its p and interval; bold if it is significant."""
    text = signed(difference * factor, digits)
    if outcome is None:
        return Cell(text)
    span = " to ".join(signed(end * factor, digits) for end in (outcome.low, outcome.high) if end == end)
    said = [text, *([f"95% interval {span}"] if span else []), outcome.text]
    said.append("significant" if outcome.significant else "not significant")
    return Cell(text, outcome.significant, outcome.text, span, hover="; ".join(said))


def difference_note(tested: Significance) -> str:
    """What is below and bold in a table of differences."""
    return f"Below: the Holm-corrected p of {tested.test}, and the 95% interval. Bold: {SIGNIFICANT}."


def difference_table(tested: Significance, test: str, metric: str, baseline: Method) -> Table | None:
    """Methods x directions: the difference to one baseline and its corrected p, bold if it is significant."""
    outcomes = {
        (run, place[1]): found
        for (run, base, place), found in tested.tests.items()
        if base == baseline and (place[0], place[2]) == (test, metric)
    }
    if not outcomes:
        return None
    columns = score_columns(list(dict.fromkeys(name for _, name in outcomes)))
    heading, digits, factor, _ = tested.look(metric)
    rows = []
    for run in sorted({run for run, _ in outcomes}, key=method_key):
        found = [outcomes.get((run, name)) for _, name in columns]
        cells = [difference_cell(one.difference, one, digits, factor) if one else Cell(MISSING) for one in found]
        rows.append((run_label(run), cells))
    title = f"{heading} minus that of {run_label(baseline)}, on {test}"
    names, _ = score_heads(columns)
    return Table(title, "method", names, rows, [], [difference_note(tested)], word="significant")


def score_tables(inputs: Inputs, test: str) -> tuple[list[Table], list[Table], list[Table]]:
    """BLEU and chrF2++, the differences to baselines, and the other measurements."""
    tested = inputs.significance
    known = sort_metrics(inputs.scores.loc[inputs.scores["test"] == test, "metric"])
    made = {name: score_table(inputs.scores, test, name, tested) for name in known}
    first = [made.pop(name) for name in ("bleu", "chrf2++") if name in made]
    differences = [difference_table(tested, test, name, one) for name in known for one in tested.baselines]
    return first, [one for one in differences if one], list(made.values())


def prompt_table(prompts: pd.DataFrame) -> Table:
    """BLEU of every prompt on the dev set, by direction; the chosen ones are marked."""
    columns = sort_directions(prompts["direction"].unique())
    score = prompts.set_index(["prompt", "direction"])["bleu"].to_dict()
    chosen = {(row.prompt, row.direction) for row in prompts.itertuples() if row.chosen}
    rows = []
    for prompt in prompts["prompt"].unique():
        keys = [(prompt, name) for name in columns]
        rows.append((prompt, [Cell(f"{score[key]:.1f}" if key in score else MISSING, key in chosen) for key in keys]))
    notes = ["Bold: the prompt that zero-shot (best prompt) uses in this direction."]
    return Table("BLEU of the untrained base on the dev set", "prompt", heads(columns), rows, notes=notes)


def score_figure(inputs: Inputs, tests: list[str]) -> Drawn | None:
    """BLEU of every method in every direction: a panel per test set, a row per method."""
    rows = inputs.scores.query("metric == 'bleu' and test in @tests")
    rows = rows[~rows["direction"].isin(MEANS)]
    data = rows.groupby(["test", "method", "variant", "direction"])["score"].mean().reset_index()
    if data.empty:
        return None
    groups = data["direction"].map(direction_group)
    runs = list(zip(data["method"], data["variant"], strict=True))
    rows = data.assign(label=list(map(run_label, runs)), place=list(map(method_key, runs)), mean=data["score"])
    rows = rows.assign(series=[group_heading(one, groups) for one in groups], side=groups.map(GROUPS.index))
    rows = rows.sort_values(["place", "side"])
    shown = [test for test in tests if test in set(rows["test"])]
    panels = [charts.Panel(rows[rows["test"] == test], f"BLEU on {test} (0-100)") for test in shown]
    title, kind = f"BLEU by method on {', '.join(shown)}", f"Dot plot of {rows['label'].nunique()} methods"
    return Drawn("scores", title, kind, charts.dots("scores", title, panels), data)
