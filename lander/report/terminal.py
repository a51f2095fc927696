"""`lander scores`: a run's scores of one metric, as tables for people or as rows for other programs."""

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from lander.evaluate.significance import COLUMNS
from lander.report.inputs import read_scores_table
from lander.report.scores import baseline_tables, score_table
from lander.report.significance import SIGNIFICANT, Significance, read_significance
from lander.report.tables import Table, headings, markdown
from lander.shared.csvfile import read_csv, to_numbers
from lander.shared.errors import UserError

GAP = 2  # spaces between columns


def show(run: Path, metric: str, format: str = "table") -> str:
    """The scores of a metric: a table of each test set, and the means minus the baselines'; or rows (csv, json)."""
    path, tests = run / "evaluate" / "scores.csv", run / "evaluate" / "significance.csv"
    if not path.is_file():
        raise UserError(f"{path}: no such file; name the folder of a finished run, as in results/demo")
    scores = read_scores_table(path)
    if metric not in set(scores["metric"]):
        raise UserError(f"--metric: {metric}: not in {path}; there are: {', '.join(scores['metric'].unique())}")
    if format in ROWS:
        return ROWS[format](_rows(scores, tests, metric))
    tested = read_significance(tests) if tests.is_file() else Significance()
    means, intervals = tested.only(means=True), replace(tested, tests={})
    parts = []
    for test in sorted(scores["test"].unique()):
        if table := score_table(scores, test, metric, intervals):
            rows = []
            for label, (mean, *others) in table.rows:  # of the intervals only those of the means, which come first
                rows.append((label, [replace(mean, spread=f"{mean.spread} {mean.interval}".strip()), *others]))
            parts.append(replace(table, rows=rows))
            parts += [replace(one, notes=[]) for one in baseline_tables(means, test, metric)]
    notes = [] if format == "markdown" else ["*: the best of its column."]
    if means.tests:
        bold = "Bold" if format == "markdown" else "*"
        notes.append(f"Differences: p is Holm-corrected, of {tested.test}. {bold}: {SIGNIFICANT}.")
    return "\n\n".join([*map(markdown if format == "markdown" else aligned, parts), "\n".join(notes)]).rstrip()


def _rows(scores: pd.DataFrame, tests: Path, metric: str) -> pd.DataFrame:
    """Rows as in significance.csv, those of the tests too; without intervals for what was not resampled."""
    if tests.is_file():
        found = read_csv(tests, COLUMNS)
        if len(rows := found[found["metric"] == metric]):
            numbers = {name: to_numbers(tests, rows[name].replace("", "nan")) for name in COLUMNS[6:-1]}
            return rows.assign(**numbers).convert_dtypes()  # whole numbers as such
    by = scores[scores["metric"] == metric].groupby(["method", "variant", "test", "direction", "metric"], sort=False)
    found = by.agg(
        score=("score", "mean"), spread=("score", "std"), seeds=("seed", "size"), signature=("signature", "first")
    )
    return found.reset_index().reindex(columns=COLUMNS)


# ---------------------------------------------------------------- a table in columns


def aligned(table: Table, width: int | None = None) -> str:
    """A table in columns of spaces; `*` stands before a best or significant cell.

    One that is wider than the terminal is cut into parts of some columns each. What is no terminal has no width.
    """
    if width is None:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10**6
    rows = [[table.corner, *headings(table)]]
    for label, cells in table.rows:
        rows.append([label, *(f"{'*' * cell.best}{cell.text} {cell.spread}".strip() for cell in cells)])
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    parts, room = [[]], width - widths[0]
    for place, own in enumerate(widths[1:], start=1):
        room -= GAP + own
        if room < 0 and parts[-1]:
            parts.append([])
            room = width - widths[0] - GAP - own
        parts[-1].append(place)
    blocks = ["\n".join(_line(row, widths, part) for row in rows) for part in parts]
    blocks[0] = f"{table.caption}\n{'=' * len(table.caption)}\n{blocks[0]}"
    return "\n\n".join([*blocks, *(["\n".join(table.notes)] if table.notes else [])])


def _line(row: Sequence[str], widths: Sequence[int], part: Sequence[int]) -> str:
    label = row[0] + " " * (widths[0] - len(row[0]))
    return label + "".join(" " * (GAP + widths[place] - len(row[place])) + row[place] for place in part)


ROWS: dict[str, Callable[[pd.DataFrame], str]] = {
    "csv": lambda rows: rows.to_csv(index=False, lineterminator="\n").removesuffix("\n"),
    "json": lambda rows: rows.to_json(orient="records", indent=1, force_ascii=False, double_precision=6),
}
FORMATS = ("table", "markdown", *ROWS)
