"""A run's evaluate/scores.csv, checked; and as tables for a terminal, with what `evaluate/significance.csv` says."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lander.shared.errors import UserError, brief

if TYPE_CHECKING:
    from lander.report.metrics import Look
    from lander.report.significance import Significance

MEANS = ("mean", "mean-into-en", "mean-out-of-en")
SCORES = ("method", "variant", "test", "direction", "metric", "score")  # columns of scores.csv that are never empty


def read_scores(file: Path, columns: Sequence[str], flag: str = "") -> Any:
    """A run's scores.csv as a data frame.

    Args:
        columns: those that it must have.
        flag: that names the file, for messages.
    Raises:
        UserError: no such table, or a damaged one.
    """
    import pandas as pd

    try:
        table = pd.read_csv(file)
    except FileNotFoundError:
        raise UserError(f"{flag}{file}: no such file; a run has results/<run>/evaluate/scores.csv") from None
    except (OSError, ValueError, MemoryError) as error:
        raise UserError(f"{flag}{file}: not a readable table ({brief(error, 200)})") from None
    if missing := [name for name in columns if name not in table]:
        raise UserError(f"{flag}{file}: no column {missing[0]}; it is results/<run>/evaluate/scores.csv that is meant")
    if not pd.api.types.is_numeric_dtype(table["score"]):
        raise UserError(f"{flag}{file}: a score is no number; make the table again")
    if table[list(SCORES)].isna().any(axis=None):
        raise UserError(f"{flag}{file}: a value is missing; make the table again")
    return table.astype({name: str for name in SCORES if name != "score"})


def show(run: Path, metric: str) -> str:
    """A run's scores of one metric: a Markdown table per test set, means first, means over seeds; below, how sure.

    Raises:
        UserError: no scores of a run there, or none of the metric.
    """
    from lander.report.metrics import look
    from lander.report.significance import Significance, read_significance

    path, tests = run / "evaluate" / "scores.csv", run / "evaluate" / "significance.csv"
    if not os.path.isfile(path):
        raise UserError(f"{path}: no such file; name the folder of a finished run, as in results/demo")
    table = read_scores(path, [*SCORES, "seed", "signature"]).astype({"seed": str, "signature": str})
    if metric not in set(table["metric"]):
        raise UserError(f"--metric: {metric}: not in {path}; there are: {', '.join(table['metric'].unique())}")
    table = table[table["metric"] == metric]
    tested = read_significance(tests) if os.path.isfile(tests) else Significance()
    shown = look(metric, table["signature"].unique())
    return "\n".join(_of_test(test, rows, shown, tested, metric) for test, rows in table.groupby("test"))


def _of_test(test: str, rows: Any, shown: "Look", tested: "Significance", metric: str) -> str:
    """The table of one test set; below it signatures, seeds, and which means differ from the baselines'."""
    from lander.report.order import method_key
    from lander.report.tables import score_notes

    directions = [name for name in rows["direction"].unique() if name not in MEANS]
    columns = [name for name in [*MEANS, *directions] if name in set(rows["direction"])]
    by = rows.groupby(["method", "variant", "direction"])["score"]
    mean, spread = (one.unstack()[columns] for one in (by.mean(), by.std()))
    place = (test, "mean", metric)
    sure = any(tested.interval(run, place) for run in mean.index)
    lines = []
    for run in sorted(mean.index, key=method_key):
        cells = [shown.text(value) for value in mean.loc[run]]
        cells = [f"{cell} ±{shown.text(n)}" if n == n else cell for cell, n in zip(cells, spread.loc[run], strict=True)]
        if sure:
            cells.insert(1, "–".join(map(shown.text, tested.interval(run, place) or ())))
        lines.append(f"| {_name(run)} | {' | '.join(cells)} |")
    heads = [*columns[:1], *(["95% of mean"] if sure else []), *columns[1:]]
    head = f"| method | {' | '.join(heads)} |\n|---|{'---:|' * len(heads)}"
    notes = [*score_notes(rows), *_differences(list(mean.index), tested, place)]
    return "\n".join([f"\n{shown.heading}, on {test}\n", head, *lines, *([""] if notes else []), *notes])


def _differences(runs: list[tuple[str, str]], tested: "Significance", place: tuple[str, str, str]) -> list[str]:
    """A line a baseline: the methods whose means are significantly ahead of its mean, and behind it."""
    from lander.report.order import method_key
    from lander.report.significance import SIGNIFICANT

    lines = []
    for base in tested.baselines:
        outcomes = {run: tested.compare(run, base, place) for run in sorted(runs, key=method_key) if run != base}
        differ = [run for run, found in outcomes.items() if found and found.significant]
        if not any(outcomes.values()):
            continue
        if not tested.look(place[2]).best:
            parts = {"other than": differ}
        else:
            ahead = [run for run in differ if base in tested.beaten(run, place)]
            parts = {"ahead of": ahead, "behind": [run for run in differ if run not in ahead]}
        said = [f"{how} {_name(base)}: {', '.join(map(_name, there))}" for how, there in parts.items() if there]
        lines.append("; ".join(said) or f"apart from {_name(base)}: none")
    return [f"Means, significantly (Holm-corrected {SIGNIFICANT}):", *lines] if lines else []


def _name(run: tuple[str, str]) -> str:
    return run[0] if run[1] == "main" else " ".join(run)
