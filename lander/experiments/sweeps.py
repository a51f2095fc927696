"""One number of the config over a range: layers.k and neurons.general_share (figures 10 and 11)."""

from dataclasses import replace

import pandas as pd

from lander.experiments.samples import (
    MEAN_HEADS,
    SUMMARY,
    Inputs,
    by_key,
    dev_columns,
    dev_samples,
    summarise,
    tests_of,
)
from lander.report import charts
from lander.report.document import Document, heads, number, numbers
from lander.report.tables import Cell, Table, quantity
from lander.shared.errors import UserError


def sweep_k(inputs: Inputs) -> Document:
    """Number of finetuned layers (figure 10)."""
    title = "Sweep of layers.k, the number of finetuned layers (figure 10): dev loss, BLEU, chrF2++, parameters trained"
    return _sweep(inputs, "sweep_k", "layers.k", "k (finetuned layers)", title)


def sweep_epsilon(inputs: Inputs) -> Document:
    """Share of general neurons (figure 11)."""
    title = "Sweep of neurons.general_share, epsilon (figure 11): dev loss, BLEU, chrF2++, parameters trained"
    return _sweep(inputs, "sweep_epsilon", "neurons.general_share", "epsilon (share of general neurons)", title)


def _sweep(inputs: Inputs, name: str, key: str, axis: str, title: str) -> Document:
    """One table and one figure. `values` has the value of each variant; variants that it does not name are left out."""
    values = _values(inputs)
    chosen = inputs.scores[inputs.scores["variant"].isin(values)]
    if methods := sorted(set(chosen["method"]) - {"landermt"}):
        raise UserError(f"{name}: variants of {', '.join(methods)}; give those of landermt only")
    losses, costs = (rows[rows["variant"].isin(values)] for rows in (inputs.losses, inputs.costs))
    data = summarise(dev_samples(replace(inputs, scores=chosen, losses=losses, costs=costs), start=False))
    data = data.assign(value=data["variant"].map(values)).sort_values("value", kind="stable")
    dev = data[data["metric"] == "dev loss"]
    best = data.loc[dev["mean"].idxmin(), "value"]
    data["chosen"] = data["value"] == best
    text = f"Chosen on dev: {key}: {best:g}, the lowest dev loss of {len(values)} values."
    text += f" The config has {inputs.values['main']}." if "main" in values else ""

    found = by_key(data, "value", "test", "metric")
    columns = dev_columns(data)
    rows = []
    for value in sorted(set(values.values())):
        cells = []
        for test, metric, _, digits in columns:
            row = found[value, test, metric]
            cells.append(number(row.mean, digits, row.spread, best=metric == "dev loss" and value == best))
        rows.append((f"{value:g}", [*cells, Cell(quantity(found[value, "", "parameters_trained"].mean))]))
    titles = heads([*(heading for *_, heading, _ in columns), "parameters trained"])
    notes = ["Dev loss: nats per token. Bold: the lowest. ±: standard deviation over seeds."]
    table = Table(f"{key} of landermt", key, titles, rows, notes=notes)

    ring = {"dev loss": [best]}
    panels = [
        charts.Panel(dev.assign(series="dev loss"), axis, "dev loss (nats per token)", "Ringed: chosen", chosen=ring)
    ]
    for test in tests_of(data):
        parts = [
            data[(data["test"] == test) & (data["metric"] == f"bleu{mean.removeprefix('mean')}")].assign(
                series=f"BLEU {head}"
            )
            for mean, head in MEAN_HEADS.items()
        ]
        panels.append(charts.Panel(pd.concat(parts), axis, f"BLEU on {test} (0-100)"))
    drawing = charts.lines(name, f"Dev loss and BLEU over {axis}", panels)
    blocks = [*([inputs.title] if inputs.title else []), text, table]
    return Document(
        name, title, blocks, numbers(data[["value", "variant", "test", "metric", *SUMMARY, "chosen"]]), drawing
    )


def _values(inputs: Inputs) -> dict[str, float]:
    """Variant -> value of the swept key, of the variants that have scores.

    Raises:
        UserError: a value is no number or given twice, or there are fewer than two.
    """
    there = set(inputs.scores["variant"])
    try:
        values = {variant: float(value) for variant, value in inputs.values.items() if variant in there}
    except ValueError as error:
        raise UserError(f"--values: {error}; write VARIANT=NUMBER") from None
    if len(set(values.values())) < len(values):
        raise UserError(f"--values {' '.join(inputs.values)}: two variants have the same value; give each value once")
    if len(values) < 2:
        raise UserError("--values, --scores: a sweep needs the models of at least two values")
    return values
