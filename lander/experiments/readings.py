"""The points on which the paper can be read in two ways, one switch at a time: what each does to loss and scores.

The dev loss alone decides what is better. The test scores are shown and decide nothing.
"""

import pandas as pd

from lander.experiments.samples import MAIN, METRICS, Inputs, by_key, dev_samples, runs_of, summarise, tests_of
from lander.report import charts
from lander.report.document import Document, heads, listed, number, numbers
from lander.report.labels import method_key
from lander.report.tables import Cell, Table, quantity
from lander.shared.errors import UserError


def readings(inputs: Inputs) -> Document:
    """A table for each method whose switches are varied. `values` names the sets of readings, that of main first."""
    samples = dev_samples(inputs)
    data = summarise(samples)
    change = summarise(against_main(samples))
    keys = ["method", "variant", "test", "metric"]
    change = change[[*keys, "mean", "spread"]].rename(columns={"mean": "difference", "spread": "difference_spread"})
    data = data.merge(change, on=keys, how="left")
    methods = sorted(data["method"].unique(), key=lambda method: method_key((method, MAIN)))
    dev = data[data["metric"] == "dev loss"]
    below = (dev["variant"] != MAIN) & (dev["difference"].round(4) < 0)  # as printed
    better = dev[below].sort_values("difference")
    data["better_on_dev"] = [run in set(runs_of(better)) for run in runs_of(data)]
    default = f"readings: {inputs.values[MAIN]}" if MAIN in inputs.values else "the config's readings"
    blocks: list[Table | str] = [inputs.title] if inputs.title else []
    for method in methods:
        rows = data[data["method"] == method]
        blocks += [sentence(method, rows, default), table(method, rows, list(inputs.values), default)]
    title = "Readings of the paper, one switch at a time: loss at step 0, dev loss, scores and parameters trained"
    return Document("readings", title, blocks, numbers(data), picture(data, methods))


def against_main(samples: pd.DataFrame) -> pd.DataFrame:
    """Samples minus those of variant main of the same method, seed by seed.

    Raises:
        UserError: a variant has no seed in common with main, or a method has no other variant.
    """
    on = [name for name in samples if name not in ("variant", "value")]
    level = samples[samples["variant"] == MAIN].drop(columns="variant").rename(columns={"value": "base"})
    both = samples.merge(level, on=on, how="inner", validate="many_to_one")
    found = set(runs_of(both))
    for method, variant in dict.fromkeys(runs_of(samples)):
        if (method, variant) not in found:
            raise UserError(f"readings: {method}/{variant} shares no seed with {method}/{MAIN}; give both")
    for method, part in samples.groupby("method", sort=False):
        if part["variant"].nunique() < 2:
            raise UserError(f"readings: {method} has no variant beside main; give the models that change a switch")
    return both.assign(value=both["value"] - both["base"]).drop(columns="base")


def sentence(method: str, rows: pd.DataFrame, default: str) -> str:
    """Which readings the dev loss prefers to main's, and how sure that is."""
    dev = rows[rows["metric"] == "dev loss"].set_index("variant")
    better = dev[dev["better_on_dev"]].sort_values("difference")
    text = f"{method}: {len(better) or 'none'} of {len(dev) - 1} other readings have a lower dev loss than {default}"
    if better.empty:
        return f"{text}."
    text += f", {better.index[0]} the lowest ({better['difference'].iloc[0]:+.4f} nats per token)."
    if dev.loc[MAIN, "number"] < 2:
        return f"{text} With one seed these differences may be chance."
    clear = better.index[better["difference"].abs() > better["difference_spread"]]
    return f"{text} The difference is larger than its standard deviation over seeds for: {listed(clear) or 'none'}."


def table(method: str, rows: pd.DataFrame, sets: list[str], default: str) -> Table:
    """Variants (main, the sets of readings, then the switches by name) x losses, scores and parameters."""
    found = by_key(rows, "variant", "test", "metric")
    columns = [("", name, name, 4) for name in ("dev loss at step 0", "dev loss")]
    columns += [(test, metric, f"{text} {test}", 1) for test in tests_of(rows) for metric, text in METRICS.items()]
    shown = []
    for variant in sorted(rows["variant"].unique(), key=lambda name: (name != MAIN, name not in sets, name)):
        cells: list[Cell] = []
        for test, metric, _, digits in columns:
            row = found[variant, test, metric]
            cells.append(number(row.mean, digits, row.spread, best=metric == "dev loss" and row.better_on_dev))
            change = number(row.difference, digits, row.difference_spread, sign=True)
            cells.append(Cell("") if variant == MAIN else change)
        cells.append(Cell(quantity(found[variant, "", "parameters_trained"].mean)))
        shown.append((variant, cells))
    titles = [text for *_, name, _ in columns for text in (name, "to main")] + ["parameters trained"]
    notes = [
        f"main is {default}. Losses: nats per token on dev. Bold: a dev loss below main's. Scores are means over all "
        "directions of a test set; they decide nothing."
    ]
    return Table(f"Switches of {method}", "variant", heads(titles), shown, notes=notes)


def picture(data: pd.DataFrame, methods: list[str]) -> str:
    """Difference of the dev loss to main's; left of the line is better."""
    rows = data[(data["metric"] == "dev loss") & (data["variant"] != MAIN)]
    names = [variant if len(methods) == 1 else f"{variant} ({method})" for method, variant in runs_of(rows)]
    rows = rows.assign(label=names, series="", mean=rows["difference"], spread=rows["difference_spread"])
    title, x = "Left of the line is better", "dev loss minus main's (nats per token)"
    panel = charts.Panel(rows.sort_values("mean"), x, title=title, line=0.0)
    return charts.dots("readings", "Dev loss of each reading against main", [panel])
