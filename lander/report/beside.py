"""The paper's tables 1 and 2 beside ours."""

from dataclasses import dataclass

from lander.evaluate.collect import MEANS
from lander.experiments import paper
from lander.experiments.samples import PAPER
from lander.report.inputs import Inputs
from lander.report.order import run_label
from lander.report.summary import by_direction
from lander.report.tables import Cell, Head, Table, score_table

OURS = "landermt"


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
    there = set(inputs.scores["method"])
    found = []
    for title, table, theirs, directions in made:
        if len(there.intersection(theirs)) < 2:
            continue
        # where the run has none of the paper's directions, its own
        own = set(inputs.scores["direction"]).intersection(directions)
        wanted = [*own, *MEANS[1:]] if own and theirs is theirs1 else list(own)
        ours = [score_table(inputs.scores, test, "bleu", inputs.significance, list(theirs), wanted) for test in tests]
        found.append(
            Beside(title, [one for one in ours if one], table, _ahead(inputs, tests, theirs, list(directions)))
        )
    return found


def _ahead(
    inputs: Inputs, tests: list[str], theirs: dict[str, tuple[float, ...]], directions: list[str]
) -> Table | None:
    """In how many directions landermt has the higher BLEU, in the paper and here."""
    columns = {test: by_direction(inputs.scores, test) for test in tests}
    mine = (OURS, "main")
    columns = {test: table for test, table in columns.items() if mine in table.index}
    rivals = [name for name in theirs if name != OURS]
    rows = []
    for name in rivals:
        wins = sum(a > b for a, b in zip(theirs[OURS], theirs[name], strict=True))
        runs = sorted({run for table in columns.values() for run in table.index if run[0] == name})
        for run in [one for one in runs if one[1] in ("main", "best-prompt")]:
            cells = [Cell(f"{wins} of {len(directions)}", value=wins / len(directions))]
            for table in columns.values():
                if run not in table.index:
                    cells.append(Cell("–"))
                    continue
                pairs = (table.loc[mine] - table.loc[run]).dropna()
                wins_here = int((pairs > 0).sum())
                cells.append(Cell(f"{wins_here} of {len(pairs)}", value=wins_here / len(pairs) if len(pairs) else 0.0))
            rows.append((run_label(run), cells))
    if not rows:
        return None
    heads = [Head("in the paper"), *(Head(f"here, on {test}") for test in columns)]
    notes = ["Levels cannot be compared: the base, the data and the test sets differ. Who is ahead of whom can."]
    return Table("Directions in which landermt has the higher BLEU", "against", heads, rows, notes=notes)
