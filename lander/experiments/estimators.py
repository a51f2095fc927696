"""The estimators of awareness beside each other, and beside as many random neurons in the same layers.

The control shuffles the groups of the config's estimator, so its groups have the same sizes. An estimator whose scores
divide the neurons by another rule has groups of other sizes: the control says nothing about it.
"""

from dataclasses import replace

import pandas as pd

from lander.config.rules import rule_of
from lander.experiments.samples import (
    DRAWS,
    MAIN,
    METRICS,
    SUMMARY,
    Inputs,
    by_key,
    dev_columns,
    dev_samples,
    labels,
    runs_of,
    summarise,
)
from lander.report import charts
from lander.report.document import Document, heads, listed, number, numbers
from lander.report.tables import Cell, Table
from lander.shared.errors import UserError

CONTROL = "random"


def estimators(inputs: Inputs) -> Document:
    """The ways to score neurons. `values` has the estimator of each variant of landermt."""
    own = inputs.values.get(MAIN)
    if not own:
        raise UserError("estimators: --values has no main=ESTIMATOR; say which awareness.estimator main has")
    if CONTROL not in set(inputs.scores["method"]):
        raise UserError(f"--scores: no method {CONTROL}, the control; give its draws")
    mine = (inputs.scores["method"] == "landermt") & inputs.scores["variant"].isin(inputs.values)
    kept = inputs.scores[mine | (inputs.scores["method"] == CONTROL)]
    data = summarise(dev_samples(replace(inputs, scores=kept), start=False), inputs.draws)
    names = {
        run: inputs.values[run[1]] if run[0] == "landermt" else f"control: {text}" for run, text in labels(data).items()
    }
    if len(set(names.values())) < len(names):
        raise UserError(f"--values {' '.join(inputs.values)}: two variants have the same estimator; give each once")
    control = next(name for run, name in names.items() if run[0] == CONTROL)
    data = data.assign(estimator=[names[run] for run in runs_of(data)])
    same = [name for run, name in names.items() if run[0] == "landermt" and rule_of(name) == rule_of(own)]
    others = [name for run, name in names.items() if run[0] == "landermt" and name not in same]
    columns = dev_columns(data)
    found = by_key(data, "estimator", "test", "metric")
    lowest = data.loc[data["metric"] == "dev loss", "mean"].min()
    rows = []
    for name in names.values():
        cells = []
        for test, metric, _, digits in columns:
            row, level = found[name, test, metric], found[control, test, metric]
            best = metric == "dev loss" and round(row.mean, 4) == round(lowest, 4)
            cells.append(number(row.mean, digits, row.spread, best=best))
            if metric not in ("dev loss", *METRICS):
                continue
            gap, limit = row.mean - level.mean, 2 * level.spread  # NaN in a single draw: nothing can be said
            ahead = gap * (-1 if metric == "dev loss" else 1)
            shown = replace(
                number(gap, digits, sign=True, best=ahead > limit), spread="worse" if ahead < -limit else ""
            )
            cells.append(shown if name in same else Cell(""))
        rows.append((name, cells))
    titles = []
    for _, metric, heading, _ in columns:
        titles += [heading, "to random"] if metric in ("dev loss", *METRICS) else [heading]
    notes = [
        "Dev loss: nats per token. Bold: the lowest. ±: over seeds, of the control over draws. To random: difference "
        "to the control; bold, or worse: by more than twice the control's standard deviation over draws."
    ]
    if found[control, "", "dev loss"].over != DRAWS:
        notes.append("The control has a single draw, so nothing can be said about the differences to it.")
    if others:
        notes.append(
            f"No difference to random for {listed(others)}: another rule divides the neurons, into groups of other "
            f"sizes than the control's, which are those of {own}. The line of the figure does not hold for them either."
        )
    table = Table("Estimators", "estimator", heads(titles), rows, notes=notes)
    title = "Estimators of awareness beside each other and beside random neurons: dev loss, BLEU, chrF2++"
    blocks = [*([inputs.title] if inputs.title else []), table]
    csv = numbers(data[["estimator", "test", "metric", *SUMMARY]])
    return Document("estimators", title, blocks, csv, picture(data, list(names.values())))


def picture(data: pd.DataFrame, order: list[str]) -> str:
    """Dev loss and BLEU of each estimator; the line is the mean of the control."""
    rows = data.sort_values("estimator", key=lambda column: column.map(order.index), kind="stable")
    rows = rows.assign(label=rows["estimator"], series="")
    panels = []
    for test, metric, text, _ in dev_columns(data):
        if metric in ("dev loss", "bleu"):
            part = rows[(rows["test"] == test) & (rows["metric"] == metric)]
            line = part.loc[part["method"] == CONTROL, "mean"].iloc[0]
            unit = "dev loss (nats per token)" if metric == "dev loss" else f"{text} (0-100)"
            panels.append(charts.Panel(part, f"{unit}; line: random neurons", line=float(line)))
    return charts.dots("estimators", "Estimators against random neurons", panels)
