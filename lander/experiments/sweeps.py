"""One number of the config over a range: layers.k and neurons.general_share (paper, figures 10 and 11)."""

import re
from collections.abc import Callable

import pandas as pd

from lander.experiments import charts
from lander.experiments.readings import MAIN, dev_samples
from lander.report.document import Document, heads, number, numbers
from lander.report.labels import sort_tests
from lander.report.samples import METRICS, SUMMARY, summarise
from lander.report.score_inputs import Inputs
from lander.report.tables import Cell, Table, quantity
from lander.shared.errors import UserError

SIDE_NAMES = {"": "all", "-into-en": "into en", "-out-of-en": "out of en"}


def sweep_k(inputs: Inputs) -> Document:
    """Number of finetuned layers (figure 10)."""
    first = "Sweep of layers.k, the number of finetuned layers (figure 10): dev loss, BLEU, chrF2++, parameters trained"
    return _sweep(inputs, "sweep_k", r"k(\d+)", int, "layers.k", "k (finetuned layers)", first)


def sweep_epsilon(inputs: Inputs) -> Document:
    """Share of general neurons (figure 11)."""
    first = "Sweep of neurons.general_share, epsilon (figure 11): dev loss, BLEU, chrF2++, parameters trained"
    axis = "epsilon (share of general neurons)"
    return _sweep(inputs, "sweep_epsilon", r"general(.+)", float, "neurons.general_share", axis, first)


def _sweep(
    inputs: Inputs, name: str, pattern: str, kind: Callable[[str], float], key: str, axis: str, first: str
) -> Document:
    values = variant_values(inputs, pattern, kind)
    chosen = inputs.scores[inputs.scores["variant"].isin(values)]
    if methods := sorted(set(chosen["method"]) - {"landermt"}):
        raise UserError(f"{name}: variants of {', '.join(methods)}; give those of landermt only")
    losses, costs = (rows[rows["variant"].isin(values)] for rows in (inputs.losses, inputs.costs))
    data = summarise(dev_samples(Inputs(chosen, losses, costs, inputs.directions), start=False))
    data = data.assign(value=data["variant"].map(values)).sort_values("value", kind="stable")
    best = _lowest(data)
    text = f"Chosen on dev: {key}: {best:g}, the lowest dev loss of {len(values)} values."
    if inputs.main_value is not None:
        text += f" The config has {inputs.main_value}."
    blocks: list[Table | str] = [inputs.title] if inputs.title else []
    blocks += [_sweep_table(data, key, best), text]
    data["chosen"] = data["value"] == best
    table = data[["value", "variant", "test", "metric", *SUMMARY, "chosen"]]
    drawing = _sweep_picture(data, name, axis, best)
    return Document(name, first, blocks, numbers(table), drawing)


def variant_values(inputs: Inputs, pattern: str, kind: Callable[[str], float]) -> dict[str, float]:
    """Variant -> value of the swept key, `main` included.

    Raises:
        UserError: main's value is not known, a value is given twice, or there are fewer than two.
    """
    values: dict[str, float] = {}
    for variant in inputs.scores["variant"].unique():
        if variant == MAIN:
            values[MAIN] = _main_value(inputs, kind)
        elif found := re.fullmatch(pattern, variant):
            values[variant] = kind(found[1])
    if len(set(values.values())) < len(values):
        raise UserError(f"--main-value {inputs.main_value}: a variant has this value too; give each value once")
    if len(values) < 2:
        raise UserError("--scores: a sweep needs the models of two values at least")
    return values


def _main_value(inputs: Inputs, kind: Callable[[str], float]) -> float:
    try:
        return kind(inputs.main_value or "")
    except ValueError:
        raise UserError(f"--main-value {inputs.main_value}: say which value variant main has, a number") from None


def _lowest(data: pd.DataFrame) -> float:
    """The value of the lowest dev loss."""
    dev = data[data["metric"] == "dev loss"]
    return float(dev.loc[dev["mean"].idxmin(), "value"])


def shown_columns(data: pd.DataFrame) -> list[tuple[str, str, str, int]]:
    """(test, metric, heading, digits) of the columns of dev loss and scores."""
    there = set(zip(data["test"], data["metric"], strict=True))
    tests = sort_tests([test for test in data["test"] if test], [])
    scores = [
        (test, f"{metric}{side}", f"{text} {side_name} {test}", 1)
        for test in tests
        for metric, text in METRICS.items()
        for side, side_name in SIDE_NAMES.items()
        if (test, f"{metric}{side}") in there
    ]
    return [("", "dev loss", "dev loss", 4), *scores]


def _sweep_table(data: pd.DataFrame, key: str, best: float) -> Table:
    found = {(row.value, row.test, row.metric): row for row in data.itertuples()}
    columns = shown_columns(data)
    rows = []
    for value in sorted(data["value"].unique()):
        cells = []
        for test, metric, _, digits in columns:
            row = found[(value, test, metric)]
            cells.append(number(row.mean, digits, row.spread, best=metric == "dev loss" and value == best))
        size = quantity(found[(value, "", "parameters_trained")].mean)
        rows.append((f"{value:g}", [*cells, Cell(size)]))
    notes = ["Dev loss: nats per token, mean over tokens. Bold: the lowest. ±: standard deviation over seeds."]
    titles = [text for *_, text, _ in columns] + ["parameters trained"]
    return Table(f"{key} of landermt", key, heads(titles), rows, notes=notes)


def _sweep_picture(data: pd.DataFrame, name: str, axis: str, best: float) -> str:
    """Dev loss above, BLEU of each test set below, over the value."""
    dev = data[data["metric"] == "dev loss"].assign(series="dev loss")
    panels = [charts.Panel(dev, axis, "dev loss (nats per token)", "Ringed: chosen", chosen={"dev loss": best})]
    for test in sort_tests([test for test in data["test"] if test], []):
        parts = [
            data[(data["test"] == test) & (data["metric"] == f"bleu{side}")].assign(series=f"BLEU {text}")
            for side, text in SIDE_NAMES.items()
        ]
        panels.append(charts.Panel(pd.concat(parts), axis, f"BLEU on {test} (0-100)"))
    return charts.curves(name, f"Dev loss and BLEU over {axis}", panels)
