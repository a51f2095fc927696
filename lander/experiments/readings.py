"""The points on which the paper can be read in two ways, one switch at a time: what each does to loss and scores.

The dev loss alone decides what is better. The test scores are shown and decide nothing.
"""

from typing import Any

import pandas as pd

from lander.experiments.dev import LOSS, dev_columns, dev_rows, dev_samples
from lander.experiments.samples import MAIN, Inputs, methods_of, minus, runs_of, summarise
from lander.report import charts
from lander.report.document import Document, listed, number, numbers
from lander.report.tables import Cell, Table
from lander.shared.errors import UserError


def readings(inputs: Inputs) -> Document:
    """A table for each method whose switches are varied. `values` names the sets of readings, that of main first."""
    samples = dev_samples(inputs)
    change = summarise(against_main(samples))
    keys = ["method", "variant", "test", "metric"]
    change = change[[*keys, "mean", "spread"]].rename(columns={"mean": "difference", "spread": "difference_spread"})
    data = summarise(samples).merge(change, on=keys, how="left")
    dev = data[data["metric"] == LOSS]
    better = set(runs_of(dev[(dev["variant"] != MAIN) & (dev["difference"].round(4) < 0)]))  # as printed
    data["better_on_dev"] = [run in better for run in runs_of(data)]
    methods, columns = methods_of(data), dev_columns(data, sides=False)
    default = f"readings: {inputs.values[MAIN]}" if MAIN in inputs.values else "the config's readings"
    notes = [
        f"main is {default}. Losses: nats per token on dev. Bold: a dev loss below main's. Scores are means over all "
        "directions of a test set; they decide nothing."
    ]

    def to_main(row: Any, digits: int) -> Cell | str:
        return "" if row.variant == MAIN else number(row.difference, digits, row.difference_spread, sign=True)

    blocks: list[Table | str] = [inputs.title]
    for method in methods:
        rows = data[data["method"] == method]
        order = sorted(rows["variant"].unique(), key=lambda name: (name != MAIN, name not in inputs.values, name))
        shown = dev_rows(rows, "variant", order, columns, lambda row: row.better_on_dev, ("to main", to_main))
        blocks.append(sentence(method, rows[rows["metric"] == LOSS], default))
        blocks.append(Table.of(f"Switches of {method}", "variant", *shown, notes=notes))
    rows = data[(data["metric"] == LOSS) & (data["variant"] != MAIN)]
    labels = [variant if len(methods) == 1 else f"{variant} ({method})" for method, variant in runs_of(rows)]
    rows = rows.assign(label=labels, series="", mean=rows["difference"], spread=rows["difference_spread"])
    x, heading = "dev loss minus main's (nats per token)", "Left of the line is better"
    panel = charts.Panel(rows.sort_values("mean"), x, title=heading, line=0.0)
    drawn = charts.dots("readings", "Dev loss of each reading against main", [panel])
    title = "Readings of the paper, one switch at a time: loss at step 0, dev loss, scores and parameters trained"
    return Document("readings", title, blocks, numbers(data), drawn)


def against_main(samples: pd.DataFrame) -> pd.DataFrame:
    """Samples minus those of variant main of the same method, seed by seed."""
    on = [name for name in samples if name not in ("variant", "value")]
    found = minus(samples, samples[samples["variant"] == MAIN], on)
    for method, variant in dict.fromkeys(runs_of(samples)):
        if (method, variant) not in set(runs_of(found)):
            raise UserError(f"readings: {method}/{variant} shares no seed with {method}/{MAIN}; give both")
    for method, part in samples.groupby("method", sort=False):
        if part["variant"].nunique() < 2:
            raise UserError(f"readings: {method} has no variant beside main; give the models that change a switch")
    return found


def sentence(method: str, dev: pd.DataFrame, default: str) -> str:
    """Which readings have a lower dev loss than main, and how sure that is."""
    better = dev[dev["better_on_dev"]].sort_values("difference")
    text = f"{method}: {len(better) or 'none'} of {len(dev) - 1} other readings have a lower dev loss than {default}"
    if better.empty:
        return f"{text}."
    best = better.iloc[0]
    text += f", {best['variant']} the lowest ({best['difference']:+.4f} nats per token)."
    if dev["number"].max() < 2:
        return f"{text} With one seed these differences may be chance."
    clear = better.loc[better["difference"].abs() > better["difference_spread"], "variant"]
    return f"{text} The difference is larger than its standard deviation over seeds for: {listed(clear) or 'none'}."
