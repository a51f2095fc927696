"""The learning rate of each method: dev losses of all that were tried, and the chosen ones as a config file."""

import re

import pandas as pd
import yaml

from lander.experiments import charts, rates
from lander.report.document import Document, heads, listed, number, numbers
from lander.report.labels import method_key
from lander.report.samples import loss_samples, summarise
from lander.report.score_inputs import Inputs
from lander.report.tables import MISSING, Cell, Table
from lander.shared.errors import UserError


def tune(inputs: Inputs) -> Document:
    """Method x learning rate; the lowest dev loss is chosen."""
    trials = inputs.losses[inputs.losses["variant"].str.fullmatch(r"lr[0-9.e-]+")]
    if trials.empty:
        raise UserError("--loss: no variant lr<value>; give the files of losses of the trials")
    data = summarise(loss_samples(trials, "dev"))
    data = data.assign(value=[float(re.sub("^lr", "", variant)) for variant in data["variant"]])
    order = sorted(data["method"].unique(), key=lambda method: method_key((method, "main")))
    chosen = {method: choose(data[data["method"] == method]) for method in order}
    data["chosen"] = [value == chosen[method] for method, value in zip(data["method"], data["value"], strict=True)]
    grids = {method: sorted(data.loc[data["method"] == method, "value"]) for method in order}
    blocks: list[Table | str] = [inputs.title] if inputs.title else []
    blocks += [_table(data, grids, chosen), _sentence(grids, chosen)]
    config = {"finetune": {method: {"learning_rate": chosen[method]} for method in order}}
    head = "# Learning rates with the lowest dev loss, of `snakemake tune`; pass it with --configfile.\n"
    files = {"tune.yaml": head + yaml.safe_dump(config, sort_keys=False)}
    rows = data.assign(series=data["method"], place=data["method"].map(order.index)).sort_values(["place", "value"])
    panel = charts.Panel(rows, "learning rate", "dev loss (nats per token)", "Ringed: chosen", chosen=chosen)
    first = f"Learning rates tried and chosen, by dev loss, of {len(order)} method{'s' if len(order) > 1 else ''}"
    columns = ["method", "value", "mean", "spread", "number", "over", "chosen"]
    table = rows[columns].rename(columns={"value": "learning_rate"})
    drawing = charts.curves("tune", "Dev loss by learning rate", [panel], log=True)
    return Document("tune", first, blocks, numbers(table), drawing, files)


def choose(rows: pd.DataFrame) -> float:
    """The learning rate of the lowest dev loss; of equal ones the nearest to the middle of the grid.

    Raises:
        UserError: every training has diverged.
    """
    losses = dict(zip(rows["value"], rows["mean"], strict=True))
    if not (rows["mean"].abs() < float("inf")).any():
        raise UserError(
            f"tune: {rows['method'].iloc[0]} diverged at every learning rate; set a lower one to start from"
        )
    middle = (min(losses) * max(losses)) ** 0.5
    return rates.best_rate(losses, middle)


def _table(data: pd.DataFrame, grids: dict[str, list[float]], chosen: dict[str, float]) -> Table:
    values = sorted(data["value"].unique())
    found = {(row.method, row.value): row for row in data.itertuples()}
    rows = []
    for method, grid in grids.items():
        cells = []
        for value in values:
            row = found.get((method, value))
            best = value == chosen[method]
            cells.append(number(row.mean, 4, row.spread, best=best) if row else Cell(MISSING))
        within = "inside" if min(grid) < chosen[method] < max(grid) else "at the edge"
        rows.append((method, [Cell(f"{chosen[method]:g}"), Cell(within), Cell(str(len(grid))), *cells]))
    titles = ["chosen", "its place", "trials", *(f"{value:g}" for value in values)]
    notes = [f"Dev loss after training, nats per token, mean over tokens. Bold: chosen. {MISSING}: not tried."]
    return Table("Dev loss by learning rate", "method", heads(titles), rows, notes=notes)


def _sentence(grids: dict[str, list[float]], chosen: dict[str, float]) -> str:
    edge = [method for method, grid in grids.items() if not min(grid) < chosen[method] < max(grid)]
    counts = {len(grid) for grid in grids.values()}
    trials = f"{counts.pop()} trials for each" if len(counts) == 1 else "unequal numbers of trials"
    if edge:
        return (
            f"{trials.capitalize()}. The best of {listed(edge)} lies at the edge of its grid; there may be better ones."
        )
    return f"{trials.capitalize()}; every method's best lies inside its grid."
