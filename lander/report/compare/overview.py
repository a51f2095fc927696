"""The overview of runs: a line for each run and test set."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd

from lander.evaluate.collect import MEANS
from lander.report.compare.runs import REMEDY, SCORES, read_runs
from lander.report.document import listed
from lander.report.inputs import Inputs
from lander.report.labels import run_label
from lander.report.summary import OWN, leaders, means_by_run, test_names
from lander.report.tables import MISSING, Table
from lander.report.terminal import aligned
from lander.shared.errors import UserError

RESULTS = Path("results")
COLUMNS = ("made", "base", "test set", "directions", "methods", "seeds", "best", "BLEU", "landermt", "zero-shot")
NOTE = "BLEU: the mean over a run's directions. `lander compare RUN RUN` compares on the same sentences, with tests."


def overview(folders: Sequence[Path]) -> str:
    """The runs of some folders, or all finished ones of `results`, the latest first."""
    found = folders or [path.parents[1] for path in RESULTS.glob(f"*/{SCORES}")]
    if not found:
        raise UserError(f"{RESULTS}: no finished run in it; {REMEDY}")
    runs = read_runs(sorted(found, key=_made, reverse=True))
    rows = [(run.name, _line(run, test)) for run in runs for test in test_names(run)]
    return aligned(Table.of("Runs", "run", COLUMNS, rows, notes=[NOTE]))


def _made(folder: Path) -> float:
    scores = folder / SCORES
    return scores.stat().st_mtime if scores.is_file() else 0


def _line(run: Inputs, test: str) -> list[str]:
    """One line: when scores were made, what was run, and the best method beside landermt and the base."""
    means, rows = means_by_run(run.scores, test, "bleu"), run.scores[run.scores["test"] == test]
    zero = means[[method for method in means.index if method[0] == "zero-shot"]]
    counts = rows.loc[~rows["direction"].isin(MEANS), ["direction", "method", "seed"]].nunique()
    scores = [means.max(), means.get(OWN), zero.max()]
    made = f"{datetime.fromtimestamp(_made(run.folder)):%Y-%m-%d %H:%M}"
    shown = [MISSING if pd.isna(score) else f"{score:.1f}" for score in scores]
    best = listed(map(run_label, leaders(means))) or MISSING
    return [made, str(run.setting("model", "path") or MISSING), test, *map(str, counts), best, *shown]
