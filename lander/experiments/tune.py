"""The learning rate of each method: dev losses of all rates that were tried, and the chosen ones as a config file."""

import pandas as pd
import yaml

from lander.experiments import rates
from lander.experiments.samples import MAIN, Inputs, by_key, loss_samples, summarise
from lander.report import charts
from lander.report.document import Document, heads, listed, number, numbers
from lander.report.labels import method_key
from lander.report.tables import MISSING, Cell, Table
from lander.shared.errors import UserError


def tune(inputs: Inputs) -> Document:
    """Method x learning rate; the lowest dev loss is chosen. `values` has the learning rate of each variant."""
    trials = inputs.losses[inputs.losses["variant"].isin(inputs.values)]
    if trials.empty:
        raise UserError("--values, --loss: no losses of trials; give VARIANT=RATE and the files of losses")
    data = summarise(loss_samples(trials, "dev"))
    data = data.assign(value=[float(inputs.values[variant]) for variant in data["variant"]])
    order = sorted(data["method"].unique(), key=lambda method: method_key((method, MAIN)))
    losses = {method: _losses(data[data["method"] == method]) for method in order}
    # of equal losses the rate nearest to the middle of the grid
    chosen = {one: rates.best_rate(tried, (min(tried) * max(tried)) ** 0.5) for one, tried in losses.items()}
    data["chosen"] = [value == chosen[method] for method, value in zip(data["method"], data["value"], strict=True)]

    values = sorted(data["value"].unique())
    found = by_key(data, "method", "value")
    rows = []
    for method, tried in losses.items():
        within = "inside" if rates.inside(tried, chosen[method]) else "at the edge"
        cells = [Cell(f"{chosen[method]:g}"), Cell(within), Cell(str(len(tried)))]
        shown = [(value, found.get((method, value))) for value in values]
        cells += [number(r.mean, 4, r.spread, best=v == chosen[method]) if r else Cell(MISSING) for v, r in shown]
        rows.append((method, cells))
    titles = heads(["chosen", "its place", "trials", *(f"{value:g}" for value in values)])
    notes = [f"Dev loss after training, nats per token. Bold: chosen. {MISSING}: not tried."]
    table = Table("Dev loss by learning rate", "method", titles, rows, notes=notes)
    edge = [method for method, tried in losses.items() if not rates.inside(tried, chosen[method])]
    text = f"The best rate of {listed(edge)} is at the edge of its grid; there may be better ones." if edge else ""

    config = {"finetune": {method: {"learning_rate": chosen[method]} for method in order}}
    head = "# Learning rates with the lowest dev loss, of `snakemake tune`; pass it with --configfile.\n"
    files = {"tune.yaml": head + yaml.safe_dump(config, sort_keys=False)}
    data = data.assign(series=data["method"], place=data["method"].map(order.index)).sort_values(["place", "value"])
    rings = {method: [rate] for method, rate in chosen.items()}
    panel = charts.Panel(data, "learning rate", "dev loss (nats per token)", "Ringed: chosen", chosen=rings)
    drawing = charts.lines("tune", "Dev loss by learning rate", [panel], "log")
    columns = ["method", "value", "mean", "spread", "number", "over", "chosen"]
    csv = numbers(data[columns].rename(columns={"value": "learning_rate"}))
    title = f"Learning rates tried and chosen, by dev loss, of {len(order)} method{'s' if len(order) > 1 else ''}"
    blocks = [text for text in (inputs.title, text) if text]
    return Document("tune", title, [*blocks, table], csv, drawing, files)


def _losses(rows: pd.DataFrame) -> dict[float, float]:
    """Learning rate -> dev loss of one method.

    Raises:
        UserError: every training has diverged.
    """
    if not (rows["mean"].abs() < float("inf")).any():
        method = rows["method"].iloc[0]
        raise UserError(f"tune: {method} diverged at every learning rate; set a lower one to start from")
    return dict(zip(rows["value"], rows["mean"], strict=True))
