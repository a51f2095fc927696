"""A run's scores as tables for a terminal: means, intervals, and which methods differ from the baselines."""

from pathlib import Path

import pandas as pd

from lander.evaluate.collect import MEANS
from lander.report.inputs import read_scores_table
from lander.report.labels import Method, look, method_key, sort_directions
from lander.report.significance import SIGNIFICANT, Place, Significance, read_significance
from lander.shared.errors import UserError


def show(run: Path, metric: str) -> str:
    """A run's scores of one metric: a Markdown table per test set, means first, averaged over seeds.

    Below each table: signatures, seeds, and the methods whose means differ significantly from those of the baselines.

    Raises:
        UserError: the folder has no scores, or none of the metric.
    """
    path, tests = run / "evaluate" / "scores.csv", run / "evaluate" / "significance.csv"
    if not path.is_file():
        raise UserError(f"{path}: no such file; name the folder of a finished run, as in results/demo")
    table = read_scores_table(path)
    if metric not in set(table["metric"]):
        raise UserError(f"--metric: {metric}: not in {path}; there are: {', '.join(table['metric'].unique())}")
    table = table[table["metric"] == metric]
    tested = read_significance(tests) if tests.is_file() else Significance()
    shown = look(metric, table["signature"].unique())
    lines = []
    for test, rows in table.groupby("test"):
        directions = [name for name in rows["direction"].unique() if name not in MEANS]
        columns = [name for name in [*MEANS, *directions] if name in set(rows["direction"])]
        by = rows.groupby(["method", "variant", "direction"])["score"]
        mean, spread = (one.unstack()[columns] for one in (by.mean(), by.std()))
        runs, place = sorted(mean.index, key=method_key), (test, "mean", metric)
        sure = any(tested.interval(run, place) for run in runs)
        heads = [*columns[:1], *(["95% of mean"] if sure else []), *columns[1:]]
        lines += [f"\n{shown.heading}, on {test}\n", f"| method | {' | '.join(heads)} |"]
        lines.append(f"|---|{'---:|' * len(heads)}")
        for run in runs:
            values = zip(map(shown.text, mean.loc[run]), spread.loc[run], strict=True)
            cells = [f"{text} ±{shown.text(more)}" if more == more else text for text, more in values]
            if sure:
                cells.insert(1, "–".join(map(shown.text, tested.interval(run, place) or ())))
            lines.append(f"| {_name(run)} | {' | '.join(cells)} |")
        notes = [*score_notes(rows), *_differences(runs, tested, place)]
        lines += [""] * bool(notes) + notes
    return "\n".join(lines)


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


def _differences(runs: list[Method], tested: Significance, place: Place) -> list[str]:
    """A line per baseline: the methods whose means are significantly ahead of its mean, and behind it."""
    lines = []
    for base in tested.baselines:
        outcomes = {run: tested.compare(run, base, place) for run in runs if run != base}
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


def _name(run: Method) -> str:
    return run[0] if run[1] == "main" else " ".join(run)
