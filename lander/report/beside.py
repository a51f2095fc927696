"""Section "Beside the paper": tables 1 and 2 of the paper beside the scores of the run."""

from dataclasses import dataclass, replace

import pandas as pd

from lander.evaluate.collect import MEANS, means
from lander.report import paper
from lander.report.inputs import Inputs
from lander.report.labels import run_label
from lander.report.scores import score_columns, score_table
from lander.report.tables import MISSING, Cell, Table

OURS = ("landermt", "main")
VARIANTS = ("main", "best-prompt")  # the others belong to experiments
SOME = "Means over the directions shown here; the paper's means are over all of its directions."


@dataclass(frozen=True)
class Beside:
    """One table of the paper: ours on every test set, the paper's, and which method is ahead in both."""

    title: str
    ours: list[Table]
    theirs: Table
    ahead: Table | None


def beside(inputs: Inputs, tests: list[str]) -> list[Beside]:
    """Tables 1 and 2, each if this run has at least two of its methods."""
    scores = inputs.scores[inputs.scores["variant"].isin(VARIANTS)]
    found = []
    for number, printed in paper.TABLES.items():
        if len(set(scores["method"]) & printed.rows.keys()) < 2:
            continue
        sides = MEANS[1:] if number == 1 else ()
        shared = [name for name in printed.directions if (scores["direction"] == name).any()]
        wanted = [*shared, *sides] if shared else list(scores["direction"].unique())
        ours = []
        for test in tests:
            rows, tested = scores[(scores["test"] == test) & (scores["metric"] == "bleu")], inputs.significance
            single = rows[~rows["direction"].isin(MEANS)]
            shown = single[single["direction"].isin(shared)]
            if 0 < len(shown) < len(single):  # means over other directions than the run's: computed here, not tested
                computed = pd.DataFrame(means(shown.to_dict("records"))).astype({"score": float})
                rows, tested = pd.concat([shown, computed], ignore_index=True), tested.only(means=False)
            rows = rows[rows["method"].isin(printed.rows) & rows["direction"].isin(wanted)]
            if own := score_table(rows, test, "bleu", tested):
                some = 0 < len(shared) < len(printed.directions)
                ours.append(replace(own, notes=[SOME, *own.notes]) if some else own)
        theirs = paper.table(number, score_columns([*printed.directions, *sides]))
        found.append(Beside(printed.title, ours, theirs, _ahead(scores, tests, printed, shared)))
    return found


def _ahead(scores: pd.DataFrame, tests: list[str], printed: paper.Printed, shared: list[str]) -> Table | None:
    """In how many directions landermt has the higher BLEU, in the paper and here (in the shared ones, if there are)."""
    scores = scores[(scores["metric"] == "bleu") & ~scores["direction"].isin(MEANS)]
    means = scores.groupby(["test", "method", "variant", "direction"])["score"].mean()
    tables = {test: means[test].unstack() for test in tests if (test, *OURS) in means.index.droplevel("direction")}
    bleu = {name: pd.Series(values, printed.directions) for name, (*_, values) in printed.rows.items()}
    rows = []
    for name in (name for name in bleu if name != OURS[0]):
        for run in sorted({run for table in tables.values() for run in table.index if run[0] == name}):
            gaps = [bleu[OURS[0]] - bleu[name]]
            for table in tables.values():
                here = table.loc[OURS] - table.loc[run] if run in table.index else pd.Series(dtype=float)
                gaps.append(here[[one for one in here.index if one in shared or not shared]].dropna())
            won = [(int((gap > 0).sum()), len(gap)) for gap in gaps]
            rows.append((run_label(run), [Cell(f"{n} of {of}", value=n / of) if of else MISSING for n, of in won]))
    if not rows:
        return None
    columns = ["in the paper", *(f"here, on {test}" for test in tables)]
    notes = ["Levels cannot be compared: the base, the data and the test sets differ. Which method is ahead can be."]
    return Table.of("Directions in which landermt has the higher BLEU", "against", columns, rows, notes=notes)
