"""The paper's tables 1 and 2 beside ours."""

from dataclasses import dataclass, replace

import pandas as pd

from lander.evaluate.collect import MEANS, means
from lander.report import paper
from lander.report.inputs import Inputs
from lander.report.order import run_label
from lander.report.paper import PAPER
from lander.report.significance import Significance
from lander.report.summary import by_direction
from lander.report.tables import MEAN_LABELS, Cell, Head, Table, score_columns, score_groups, score_table

OURS = "landermt"
VARIANTS = ("main", "best-prompt")  # the others are experiments of ours
TRAINED = "trained"  # heading of the parameters trained


@dataclass(frozen=True)
class Beside:
    """One table of the paper: ours on every test set, the paper's, and who is ahead of whom in both."""

    title: str
    ours: list[Table]
    theirs: Table
    ahead: Table | None


def beside(inputs: Inputs, tests: list[str]) -> list[Beside]:
    """Tables 1 and 2, each where this run has at least two of its methods."""
    theirs1 = {name: scores for name, (_, _, scores) in paper.TABLE1.items()}
    theirs2 = {name: scores for name, (_, scores) in paper.TABLE2.items()}
    made = [
        ("Table 1: all methods", paper.table1(), theirs1, PAPER),
        ("Table 2: which neurons are trained", paper.table2(), theirs2, paper.TABLE2_DIRECTIONS),
    ]
    scores = inputs.scores[inputs.scores["variant"].isin(VARIANTS)]
    there = set(scores["method"])
    found = []
    for title, table, theirs, directions in made:
        if len(there.intersection(theirs)) < 2:
            continue
        own = [name for name in directions if (scores["direction"] == name).any()]
        # where the run has none of the paper's directions, its own
        wanted = [*own, *MEANS[1:]] if own and theirs is theirs1 else own
        parts = [_over(scores, test, own, inputs.significance) for test in tests]
        ours = [
            score_table(part, test, "bleu", tested, list(theirs), wanted)
            for test, (part, tested) in zip(tests, parts, strict=True)
        ]
        if own and set(own) < set(directions):
            note = "Means over the directions shown here; those of the paper are over all of its own."
            ours = [table and replace(table, notes=[note, *table.notes]) for table in ours]
        ahead = _ahead(scores, tests, theirs, list(directions), own)
        found.append(Beside(title, [one for one in ours if one], arranged(table), ahead))
    return found


def _over(
    scores: pd.DataFrame, test: str, directions: list[str], tested: Significance
) -> tuple[pd.DataFrame, Significance]:
    """A test's BLEU in some directions, and its tests; where the run has others, the means are made anew, untested."""
    rows = scores[(scores["test"] == test) & (scores["metric"] == "bleu")]
    single = rows[~rows["direction"].isin(MEANS)]
    shown = single[single["direction"].isin(directions)]
    if len(shown) in (0, len(single)):
        return rows, tested
    made = pd.DataFrame(means(shown.to_dict("records"))).astype({"score": float})
    return pd.concat([shown, made], ignore_index=True), tested.of_directions()


def arranged(table: Table) -> Table:
    """A table of the paper with its columns in the order of ours."""
    texts = {head.text: place for place, head in enumerate(table.heads)}
    names = {label: name for name, label in MEAN_LABELS.items()}
    directions = [names.get(text, text) for text in texts if text != TRAINED]
    columns = score_columns(directions)
    last = [texts[TRAINED]] if TRAINED in texts else []
    order = [texts[MEAN_LABELS.get(name, name)] for _, name in columns] + last
    rows = [(label, [cells[place] for place in order]) for label, cells in table.rows]
    groups = score_groups(columns) + [Head("")] * len(last)
    return replace(table, heads=[table.heads[place] for place in order], rows=rows, groups=groups)


def _ahead(
    scores: pd.DataFrame, tests: list[str], theirs: dict[str, tuple[float, ...]], directions: list[str], own: list[str]
) -> Table | None:
    """In how many directions landermt has the higher BLEU, in the paper and here (in `own` of its directions)."""
    columns = {test: by_direction(scores, test) for test in tests}
    mine = (OURS, "main")
    columns = {test: table for test, table in columns.items() if mine in table.index}
    rivals = [name for name in theirs if name != OURS]
    rows = []
    for name in rivals:
        wins = sum(a > b for a, b in zip(theirs[OURS], theirs[name], strict=True))
        runs = sorted({run for table in columns.values() for run in table.index if run[0] == name})
        for run in runs:
            cells = [Cell(f"{wins} of {len(directions)}", value=wins / len(directions))]
            for table in columns.values():
                if run not in table.index:
                    cells.append(Cell("–"))
                    continue
                pairs = (table.loc[mine] - table.loc[run]).dropna()
                pairs = pairs[[name for name in own if name in pairs.index]] if own else pairs
                wins_here = int((pairs > 0).sum())
                cells.append(Cell(f"{wins_here} of {len(pairs)}", value=wins_here / len(pairs) if len(pairs) else 0.0))
            rows.append((run_label(run), cells))
    if not rows:
        return None
    heads = [Head("in the paper"), *(Head(f"here, on {test}") for test in columns)]
    notes = ["Levels cannot be compared: the base, the data and the test sets differ. Who is ahead of whom can."]
    return Table("Directions in which landermt has the higher BLEU", "against", heads, rows, notes=notes)
