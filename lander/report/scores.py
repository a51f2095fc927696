"""Section "Scores": the tables of scores, differences to baselines and prompts, and the figure of all scores.

`lander compare`, `lander scores` (`lander.report.terminal`) and the section "Beside the paper" use the same tables.
"""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from lander.evaluate.collect import MEANS
from lander.evaluate.metrics import Look, look, sort_metrics
from lander.report import charts, labels
from lander.report.inputs import Inputs
from lander.report.labels import MEAN_LABELS, Method, method_key, run_label, sort_directions
from lander.report.significance import SIGNIFICANT, Outcome, Significance
from lander.report.svg import Drawn
from lander.report.tables import MISSING, Cell, Table, signed

OPEN = ("bleu", "chrf2++")  # shown openly; the other measurements are in a closed part
UNKNOWN = "It is not known which of these scores are better (evaluate.neural: less_is_better), so none is marked."
Pair = tuple[str, Method, Method]  # label, method, what it is compared with


def score_columns(directions: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Direction or mean -> (group, heading) of its column: means first, where they can be seen, then the directions."""
    there = list(directions)
    columns = {name: ("mean", label) for name, label in MEAN_LABELS.items() if name in there}
    groups = {name: labels.direction_group(name) for name in sort_directions(there)}
    for group in labels.GROUPS:
        heading = labels.group_heading(group, groups.values())
        columns |= {name: (heading, name) for name, own in groups.items() if own == group}
    return columns


def score_table(scores: pd.DataFrame, test: str, metric: str, tested: Significance | None = None) -> Table | None:
    """Methods x directions of one test set and metric: means over seeds, the best marked, and their tests."""
    rows = scores[(scores["test"] == test) & (scores["metric"] == metric)]
    if rows.empty:
        return None
    tested = tested or Significance()
    shown = look(metric, rows["signature"].unique())
    columns = score_columns(rows["direction"].unique())
    by = rows.groupby(["method", "variant", "direction"])["score"]
    mean, spread = by.mean(), by.std().dropna()
    runs = sorted({key[:2] for key in mean.index}, key=method_key)
    tops, letters = {}, tested.letters()
    if shown.best and len(runs) > 1:
        tops = mean.dropna().groupby("direction").agg(shown.best).map(shown.text).to_dict()
    table = []
    for run in runs:
        cells = []
        for name in columns:
            score, place = mean.get((*run, name)), (test, name, metric)
            if score is None:
                cells.append(Cell(MISSING))
                continue
            best = shown.text(score) == tops.get(name)  # as printed: no bold for a difference that cannot be seen
            more = f"±{shown.text(spread[(*run, name)])}" if (*run, name) in spread else ""
            span = [shown.text(end) for end in tested.intervals.get((run, place), ())]
            said = [f"95% interval {' to '.join(span)}"] if span else []
            for baseline in tested.baselines:
                if found := tested.compare(run, baseline, place):
                    gap = f"against {run_label(baseline)} {_signed(found.difference, shown)}"
                    said.append(f"{gap}, {found.text}, {found.sure}")
            beaten = tested.beaten(run, place)
            marks, ahead = "".join(letters[one] for one in beaten), ", ".join(map(run_label, beaten))
            cells.append(Cell(shown.text(score), best, more, "–".join(span), marks, ahead, "; ".join(said)))
        table.append((run_label(run), cells))
    notes = score_notes(rows)
    if any(cell.interval or cell.marks for _, cells in table for cell in cells):
        notes = [tested.legend(), *([] if shown.best else [UNKNOWN]), *notes]
    return Table.of(f"{shown.heading}, on {test}", "method", columns.values(), table, notes=notes)


def score_notes(rows: pd.DataFrame) -> list[str]:
    """The signatures, and the seeds that the numbers are means over."""
    notes = []
    singles = rows[~rows["direction"].isin(MEANS)]
    signatures = {text: sort_directions(part.unique()) for text, part in singles.groupby("signature")["direction"]}
    for place, text in enumerate(sorted(signatures, key=lambda text: (-len(signatures[text]), text))):
        where = f" of {', '.join(signatures[text])}" if place else ""
        notes.append(f"Signature{where}: {text}")
    seeds = sorted(rows["seed"].unique(), key=lambda seed: (len(seed), seed))
    if len(seeds) > 1:
        notes.append(f"Means over the seeds {', '.join(seeds)}; ± is the standard deviation over seeds.")
    return notes


def difference_cell(difference: float | None, outcome: Outcome | None, shown: Look) -> Cell:
    """A difference of scores and, if it was tested, its p and interval; bold if it is significant."""
    if difference is None:
        return Cell(MISSING)
    text = _signed(difference, shown)
    if outcome is None:
        return Cell(text)
    span = " to ".join(_signed(end, shown) for end in (outcome.low, outcome.high) if end == end)
    said = [text, *([f"95% interval {span}"] if span else []), outcome.text, outcome.sure]
    return Cell(text, outcome.significant, outcome.text, span, hover="; ".join(said))


def _signed(difference: float, shown: Look) -> str:
    return signed(difference * shown.factor, shown.digits)


def difference_table(
    caption: str,
    tested: Significance,
    test: str,
    metric: str,
    pairs: Iterable[Pair],
    shown: Look,
    scores: Mapping[tuple[str, str, str], float],
) -> Table | None:
    """Pairs of methods x directions: the difference, its corrected p and interval, bold if it is significant.

    `scores`, (method, variant, direction) -> score, gives differences that were not tested.
    """
    tests = [key for key in tested.tests if (key[2][0], key[2][2]) == (test, metric)]
    columns = score_columns(dict.fromkeys([*(place[1] for *_, place in tests), *(name for *_, name in scores)]))
    table = []
    for label, one, base in pairs:
        cells = []
        for name in columns:
            outcome = tested.compare(one, base, (test, name, metric))
            ends = [scores.get((*run, name)) for run in (one, base)]
            gap = outcome.difference if outcome else None if None in ends else ends[0] - ends[1]
            cells.append(difference_cell(gap, outcome, shown))
        if any(cell.text != MISSING for cell in cells):
            table.append((label, cells))
    if not table:
        return None
    notes = [f"p: Holm-corrected, of {tested.test}. Ranges: 95% intervals. Bold: {SIGNIFICANT}."]
    if not tested.tests:
        notes = ["No paired tests were possible: small differences may be chance."]
    return Table.of(caption, "method", columns.values(), table, notes=notes, word="significant")


def baseline_tables(tested: Significance, test: str, metric: str) -> list[Table]:
    """The difference of every method to each baseline that it was tested against."""
    found, shown = [], tested.look(metric)
    for baseline in tested.baselines:
        runs = {one for one, base, place in tested.tests if base == baseline and place[0] == test}
        pairs = [(run_label(run), run, baseline) for run in sorted(runs, key=method_key)]
        caption = f"{shown.heading} minus that of {run_label(baseline)}, on {test}"
        found.append(difference_table(caption, tested, test, metric, pairs, shown, {}))
    return [table for table in found if table]


def score_tables(inputs: Inputs, test: str) -> tuple[list[Table], list[Table], list[Table]]:
    """BLEU and chrF2++, the differences to baselines, and the other measurements."""
    tested = inputs.significance
    known = sort_metrics(inputs.scores.loc[inputs.scores["test"] == test, "metric"])
    made = {name: score_table(inputs.scores, test, name, tested) for name in known}
    differences = [table for name in known for table in baseline_tables(tested, test, name)]
    main = [made.pop(name) for name in OPEN if name in made]
    return main, differences, list(made.values())


def prompt_table(prompts: pd.DataFrame) -> Table:
    """BLEU of every prompt on the dev set, by direction; the chosen ones are marked."""
    columns = sort_directions(prompts["direction"].unique())
    found = {(row.prompt, row.direction): Cell(f"{row.bleu:.1f}", bool(row.chosen)) for row in prompts.itertuples()}
    names = prompts["prompt"].unique()
    rows = [(prompt, [found.get((prompt, name), MISSING) for name in columns]) for prompt in names]
    notes = ["Bold: the prompt that zero-shot (best prompt) uses in this direction."]
    return Table.of("BLEU of the untrained base on the dev set", "prompt", columns, rows, notes=notes)


def score_figure(inputs: Inputs, tests: Sequence[str]) -> Drawn | None:
    """BLEU of every method in every direction: a panel per test set, a row per method."""
    rows = inputs.scores.query("metric == 'bleu' and test in @tests")
    rows = rows[~rows["direction"].isin(MEANS)]
    data = rows.groupby(["test", "method", "variant", "direction"])["score"].mean().reset_index()
    if data.empty:
        return None
    groups = data["direction"].map(labels.direction_group)
    runs = list(zip(data["method"], data["variant"], strict=True))
    rows = data.assign(label=list(map(run_label, runs)), place=list(map(method_key, runs)), mean=data["score"])
    rows = rows.assign(
        series=[labels.group_heading(one, groups) for one in groups], side=groups.map(labels.GROUPS.index)
    )
    rows = rows.sort_values(["place", "side"])
    shown = [test for test in tests if test in set(rows["test"])]
    panels = [charts.Panel(rows[rows["test"] == test], f"BLEU on {test} (0-100)") for test in shown]
    title = f"BLEU by method on {', '.join(shown)}"
    return Drawn("scores", title, charts.dots("scores", title, panels), data)
