"""The estimators of awareness beside each other, and beside as many random neurons in the same layers.

The control shuffles the groups of the config's estimator, so its groups have the same sizes. An estimator whose scores
divide the neurons by another rule has groups of other sizes: the control says nothing about it.
"""

from dataclasses import replace
from typing import Any

import pandas as pd

from lander.config.rules import rule_of
from lander.experiments.dev import LOSS, Column, dev_columns, dev_rows, dev_samples
from lander.experiments.samples import DRAWS, MAIN, SUMMARY, Inputs, by_key, labels, runs_of, summarise
from lander.report import charts
from lander.report.document import Document, listed, number, numbers
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
        run: f"control: {text}" if run[0] == CONTROL else inputs.values[run[1]] for run, text in labels(data).items()
    }
    if len(set(names.values())) < len(names):
        raise UserError(f"--values {' '.join(inputs.values)}: two variants have the same estimator; give each once")
    data["estimator"] = [names[run] for run in runs_of(data)]
    levels = by_key(data[data["method"] == CONTROL], "test", "metric")
    others = [name for (method, _), name in names.items() if method != CONTROL and rule_of(name) != rule_of(own)]
    lowest = round(data.loc[data["metric"] == LOSS, "mean"].min(), 4)

    def to_random(row: Any, digits: int) -> Cell | str:
        if row.method == CONTROL or row.estimator in others:
            return ""
        level = levels[row.test, row.metric]
        gap, limit = row.mean - level.mean, 2 * level.spread  # NaN in a single draw: nothing can be said
        ahead = gap * (-1 if row.metric == LOSS else 1)
        return replace(number(gap, digits, sign=True, best=ahead > limit), spread="worse" if ahead < -limit else "")

    *columns, _ = dev_columns(data)  # without the parameters trained
    order, beside = list(names.values()), ("to random", to_random)
    shown = dev_rows(data, "estimator", order, columns, lambda row: round(row.mean, 4) == lowest, beside)
    notes = [
        "Dev loss: nats per token. Bold: the lowest. ±: over seeds, of the control over draws. To random: difference "
        "to the control; bold, or worse: by more than twice the control's standard deviation over draws."
    ]
    if levels["", LOSS].over != DRAWS:
        notes.append("The control has a single draw, so nothing can be said about the differences to it.")
    if others:
        notes.append(
            f"No difference to random for {listed(others)}: another rule divides the neurons, into groups of other "
            f"sizes than the control's, which are those of {own}. The line of the figure does not hold for them either."
        )
    title = "Estimators of awareness beside each other and beside random neurons: dev loss, BLEU, chrF2++"
    return Document(
        "estimators",
        title,
        [inputs.title, Table.of("Estimators", "estimator", *shown, notes=notes)],
        numbers(data[["estimator", "test", "metric", *SUMMARY]]),
        picture(data, order, columns),
    )


def picture(data: pd.DataFrame, order: list[str], columns: list[Column]) -> str:
    """Dev loss and BLEU of each estimator; the line is the mean of the control."""
    rows = data.sort_values("estimator", key=lambda column: column.map(order.index), kind="stable")
    rows = rows.assign(label=rows["estimator"], series="")
    panels = []
    for test, metric, text, _ in columns:
        if metric in (LOSS, "bleu"):
            part = rows[(rows["test"] == test) & (rows["metric"] == metric)]
            line = float(part.loc[part["method"] == CONTROL, "mean"].iloc[0])
            unit = f"{text} (nats per token)" if metric == LOSS else f"{text} (0-100)"
            panels.append(charts.Panel(part, f"{unit}; line: random neurons", line=line))
    return charts.dots("estimators", "Estimators against random neurons", panels)
