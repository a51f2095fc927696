"""The estimators of awareness beside each other, and beside as many random neurons in the same layers.

The control shuffles the groups of the config's estimator, so its groups have the same sizes. An estimator whose scores
divide the neurons by another rule has groups of other sizes: the control says nothing about it.
"""

from dataclasses import replace

import pandas as pd

from lander.config.rules import rule_of
from lander.experiments import charts
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
from lander.report.document import Document, heads, listed, number, numbers
from lander.report.tables import Table
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
    data = data.assign(estimator=[names[run] for run in runs_of(data)])
    columns = dev_columns(data)
    found = by_key(data, "method", "variant", "test", "metric")
    lowest = data.loc[data["metric"] == "dev loss", "mean"].min()
    rows = []
    for run, name in names.items():
        cells = []
        for test, metric, _, digits in columns:
            row = found[(*run, test, metric)]
            best = metric == "dev loss" and round(row.mean, 4) == round(lowest, 4)
            cells.append(number(row.mean, digits, row.spread, best=best))
        rows.append((name, cells))
    notes = ["Dev loss: nats per token. Bold: the lowest. ±: over seeds, of the control over draws."]
    table = Table("Estimators", "estimator", heads([heading for *_, heading, _ in columns]), rows, notes=notes)

    same = [name for run, name in names.items() if run[0] == "landermt" and rule_of(name) == rule_of(own)]
    others = [name for run, name in names.items() if run[0] == "landermt" and name not in same]
    verdicts = [against_control(data, same, *column[:2]) for column in columns if column[1] in ("dev loss", *METRICS)]
    if others:
        verdicts.append(
            f"No verdict on {listed(others)}: another rule divides the neurons, into groups of other sizes than the "
            f"control's, which are those of {own}. The line of the figure does not hold for them either."
        )
    title = "Estimators of awareness beside each other and beside random neurons: dev loss, BLEU, chrF2++"
    blocks = [*([inputs.title] if inputs.title else []), *verdicts, table]
    csv = numbers(data[["estimator", "test", "metric", *SUMMARY]])
    return Document("estimators", title, blocks, csv, picture(data, list(names.values())))


def against_control(data: pd.DataFrame, names: list[str], test: str, metric: str) -> str:
    """Whether the detected neurons beat random ones: the difference against twice the spread over draws."""
    rows = data[(data["test"] == test) & (data["metric"] == metric)]
    level = rows[rows["method"] == CONTROL].iloc[0]
    digits, sign = (4, -1) if metric == "dev loss" else (1, 1)
    gaps = {row.estimator: row.mean - level["mean"] for row in rows.itertuples() if row.estimator in names}
    what = "Dev loss" if metric == "dev loss" else f"{METRICS[metric]} on {test}"
    start = f"{what}: random neurons have {level['mean']:.{digits}f}"
    if level["over"] != DRAWS:
        shown = ", ".join(f"{name} {gap:+.{digits}f}" for name, gap in gaps.items())
        return f"{start} in a single draw, so nothing can be said about the differences: {shown}."
    limit = 2 * level["spread"]
    groups = {
        "better": {name: gap for name, gap in gaps.items() if sign * gap > limit},
        "worse": {name: gap for name, gap in gaps.items() if sign * gap < -limit},
        "no different": {name: gap for name, gap in gaps.items() if abs(gap) <= limit},
    }
    texts = [
        f"{group}: {', '.join(f'{name} {gap:+.{digits}f}' for name, gap in members.items()) or 'none'}"
        for group, members in groups.items()
    ]
    spread = f"±{level['spread']:.{digits}f} over {level['number']} draws"
    return f"{start} {spread}. By more than twice that spread {'; '.join(texts)}."


def picture(data: pd.DataFrame, order: list[str]) -> str:
    """Dev loss and BLEU of each estimator; the line is the mean of the control."""
    rows = data.sort_values("estimator", key=lambda column: column.map(order.index), kind="stable")
    rows = rows.assign(label=rows["estimator"], series="mean")
    panels = []
    for test, metric, text, _ in dev_columns(data):
        if metric in ("dev loss", "bleu"):
            part = rows[(rows["test"] == test) & (rows["metric"] == metric)]
            line = part.loc[part["method"] == CONTROL, "mean"].iloc[0]
            unit = "dev loss (nats per token)" if metric == "dev loss" else f"{text} (0-100)"
            panels.append(charts.Panel(part, f"{unit}; line: random neurons", line=float(line)))
    return charts.dots("estimators", "Estimators against random neurons", panels)
