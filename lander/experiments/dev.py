"""What readings, sweeps and estimators share: dev losses, mean scores and parameters trained, and their table."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from lander.evaluate.collect import MEANS
from lander.experiments import samples
from lander.experiments.samples import KEYS, METRICS, Inputs
from lander.report.document import number
from lander.report.labels import MEAN_LABELS
from lander.report.tables import Cell, quantity

LOSS, START = "dev loss", "dev loss at step 0"
Column = tuple[str, str, str, int | None]  # test, metric, heading, digits; None: a number of parameters


def dev_samples(inputs: Inputs, start: bool = True) -> pd.DataFrame:
    """Dev losses after training and (`start`) before it, mean scores, parameters trained; keys `test` and `metric`."""
    samples.require(inputs.losses, inputs.scores, "--loss")
    samples.require(inputs.costs, inputs.scores, "--runs")
    models = inputs.scores[KEYS].drop_duplicates()
    dev = inputs.losses[inputs.losses["kind"] == "dev"].merge(models, on=KEYS)
    parts = [samples.loss_samples(dev, "dev").assign(metric=LOSS)]
    if start:
        samples.require(dev[dev["state"] == "start"], inputs.scores, "--loss in state start")
        parts.append(samples.loss_samples(dev, "dev", "start").assign(metric=START))
    scores = samples.score_samples(inputs.scores, inputs.directions)
    means = scores[scores["direction"].isin(MEANS)]
    parts.append(means.assign(metric=means["metric"] + means["direction"].str.removeprefix("mean")))
    parts.append(inputs.costs[inputs.costs["metric"] == "parameters_trained"].merge(models, on=KEYS))
    return pd.concat(parts, ignore_index=True).fillna({"test": ""})[[*KEYS, "test", "metric", "value"]]


def dev_columns(data: pd.DataFrame, sides: bool = True) -> list[Column]:
    """The columns of a table. Args: sides: whether the means into and out of English are shown too."""
    means = {mean: f" {MEAN_LABELS[mean]}" for mean in MEANS} if sides else {"mean": ""}
    columns: list[Column] = [("", name, name, 4) for name in (START, LOSS)]
    columns += [
        (test, f"{metric}{mean.removeprefix('mean')}", f"{text}{label} {test}", 1)
        for test in samples.tests_of(data)
        for metric, text in METRICS.items()
        for mean, label in means.items()
    ]
    columns.append(("", "parameters_trained", "parameters trained", None))
    there = set(zip(data["test"], data["metric"], strict=True))
    return [column for column in columns if column[:2] in there]


def dev_rows(
    data: pd.DataFrame,
    by: str,
    order: Sequence[str],
    columns: Sequence[Column],
    best: Callable[[Any], bool],
    beside: tuple[str, Callable[[Any, int], Cell | str]] | None = None,
) -> tuple[list[str], list[tuple[str, list[Cell | str]]]]:
    """Headings and rows of a table, a row for each value of the column `by`.

    Args:
        order: of the values.
        best: whether the dev loss of a row of `data` is bold.
        beside: heading of a second column behind the losses and the means over all directions, and its cell, of a row
            of `data` and a number of digits.
    """
    found = samples.by_key(data, by, "test", "metric")
    rows: list[tuple[str, list[Cell | str]]] = [(value, []) for value in order]
    titles = []
    for test, metric, heading, digits in columns:
        double = beside if metric in (START, LOSS, *METRICS) else None
        titles += [heading, double[0]] if double else [heading]
        for value, cells in rows:
            row = found[value, test, metric]
            bold = metric == LOSS and best(row)
            cells.append(number(row.mean, digits, row.spread, best=bold) if digits else quantity(row.mean))
            cells += [double[1](row, digits)] if double else []
    return titles, rows
