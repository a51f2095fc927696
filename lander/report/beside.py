"""Section "Beside the paper": tables 1 and 2 of the paper beside the scores of the run."""

from dataclasses import dataclass, replace

import pandas as pd

from lander.evaluate.collect import MEANS, means
from lander.report import paper
from lander.report.inputs import Inputs
from lander.report.labels import run_label
from lander.report.paper import PAPER
from lander.report.scores import score_columns, score_heads, score_table
from lander.report.tables import MISSING, Cell, Head, Table

OURS = "landermt"
VARIANTS = ("main", "best-prompt")  # the others belong to experiments
TRAINED = "trained"  # the column of the parameters trained


@dataclass(frozen=True)
class Beside:
    """One table of the paper: ours on every test set, the paper's, and which method is ahead in both."""

    title: str
    ours: list[Table]
    theirs: Table
    printed: Table  # theirs, with its columns in the order of the paper
    ahead: Table | None


def beside(inputs: Inputs, tests: list[str]) -> list[Beside]:
    """Tables 1 and 2, each if this run has at least two of its methods."""
    theirs1 = {name: scores for name, (_, _, scores) in paper.TABLE1.items()}
    theirs2 = {name: scores for name, (_, scores) in paper.TABLE2.items()}
    columns1 = [*PAPER, *MEANS[1:], TRAINED]  # of the paper's tables, in their order
    four = paper.TABLE2_DIRECTIONS
    made = [
        ("Table 1: all methods", paper.table1(), columns1, theirs1, PAPER),
        ("Table 2: which neurons are trained", paper.table2(), four, theirs2, four),
    ]
    scores = inputs.scores[inputs.scores["variant"].isin(VARIANTS)]
    found = []
    for title, table, columns, theirs, directions in made:
        if len(set(scores["method"]).intersection(theirs)) < 2:
            continue
        shared = [name for name in directions if (scores["direction"] == name).any()]
        wanted = [*shared, *MEANS[1:]] if shared and theirs is theirs1 else shared  # all of ours if none is shared
        ours = []
        for test in tests:
            rows, tested = scores[(scores["test"] == test) & (scores["metric"] == "bleu")], inputs.significance
            single = rows[~rows["direction"].isin(MEANS)]
            shown = single[single["direction"].isin(shared)]
            if 0 < len(shown) < len(single):  # means over other directions than the run's: computed here, not tested
                computed = pd.DataFrame(means(shown.to_dict("records"))).astype({"score": float})
                rows, tested = pd.concat([shown, computed], ignore_index=True), tested.of_directions()
            rows = rows[rows["method"].isin(theirs) & (rows["direction"].isin(wanted) | (not wanted))]
            if own := score_table(rows, test, "bleu", tested):
                note = "Means over the directions shown here; the paper's means are over all of its directions."
                ours.append(replace(own, notes=[note, *own.notes]) if 0 < len(shared) < len(directions) else own)
        found.append(
            Beside(title, ours, _arranged(table, columns), table, _ahead(scores, tests, theirs, directions, shared))
        )
    return found


def _arranged(table: Table, names: list[str]) -> Table:
    """A table of the paper with its columns, whose names are given, in the order of ours."""
    columns = score_columns([name for name in names if name != TRAINED])
    last = [TRAINED] if TRAINED in names else []
    places = [list(names).index(name) for name in [*(name for _, name in columns), *last]]
    heads, groups = score_heads(columns)
    heads, groups = heads + [Head(name) for name in last], groups + [Head("") for _ in last]
    rows = [(label, [cells[place] for place in places]) for label, cells in table.rows]
    return replace(table, heads=heads, rows=rows, groups=groups)


def _ahead(
    scores: pd.DataFrame, tests: list[str], theirs: dict[str, tuple[float, ...]], directions: list[str], own: list[str]
) -> Table | None:
    """In how many directions landermt has the higher BLEU, in the paper and here (in `own` of its directions)."""
    rows, mine = [], (OURS, "main")
    columns = {test: by_direction(scores, test) for test in tests}
    columns = {test: table for test, table in columns.items() if mine in table.index}
    for name in (name for name in theirs if name != OURS):
        wins = sum(a > b for a, b in zip(theirs[OURS], theirs[name], strict=True))
        for run in sorted({run for table in columns.values() for run in table.index if run[0] == name}):
            cells = [Cell(f"{wins} of {len(directions)}", value=wins / len(directions))]
            for table in columns.values():
                if run not in table.index:
                    cells.append(Cell(MISSING))
                    continue
                gaps = (table.loc[mine] - table.loc[run]).dropna()
                gaps = gaps[[name for name in own if name in gaps.index]] if own else gaps
                here = int((gaps > 0).sum())
                cells.append(Cell(f"{here} of {len(gaps)}", value=here / len(gaps) if len(gaps) else 0.0))
            rows.append((run_label(run), cells))
    if not rows:
        return None
    heads = [Head("in the paper"), *(Head(f"here, on {test}") for test in columns)]
    notes = ["Levels cannot be compared: the base, the data and the test sets differ. Which method is ahead can be."]
    return Table("Directions in which landermt has the higher BLEU", "against", heads, rows, notes=notes)


def by_direction(scores: pd.DataFrame, test: str) -> pd.DataFrame:
    """BLEU, mean over seeds: a row for each (method, variant), a column for each direction."""
    rows = scores.query("test == @test and metric == 'bleu'")
    rows = rows[~rows["direction"].isin(MEANS)]
    return rows.groupby(["method", "variant", "direction"])["score"].mean().unstack()
