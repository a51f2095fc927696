"""The points on which the paper can be read in two ways, one switch at a time: what each does to loss and scores.

What is better is decided by the dev loss; the test scores are shown and decide nothing.
"""

import pandas as pd

from lander.experiments import charts
from lander.experiments.verdict import FLOOR
from lander.report.document import Document, heads, listed, number, numbers
from lander.report.labels import method_key, sort_tests
from lander.report.samples import METRICS, against, loss_samples, require, score_samples, summarise
from lander.report.score_inputs import KEYS, Inputs
from lander.report.tables import Cell, Table, quantity
from lander.shared.errors import UserError

MAIN = "main"
SETS = ("paper", "repaired")


def dev_samples(inputs: Inputs, start: bool = True) -> pd.DataFrame:
    """Dev losses after training and at step 0, mean scores and parameters trained, as samples with `test` and `metric`.

    Raises:
        UserError: a trained model has no loss, or no cost.
    """
    require(inputs.losses, inputs.scores, "--loss")
    require(inputs.costs, inputs.scores, "--runs")
    dev = inputs.losses[inputs.losses["kind"] == "dev"]
    parts = [loss_samples(dev, "dev").assign(metric="dev loss")]
    if start:
        begun = dev[dev["state"] == "start"]
        require(begun, inputs.scores, "--loss in state start")
        parts.append(loss_samples(dev, "dev", "start").assign(metric="dev loss at step 0"))
    scores = score_samples(inputs.scores, inputs.directions)
    means = scores[scores["direction"].str.startswith("mean")]
    means = means.assign(metric=means["metric"] + means["direction"].str.removeprefix("mean"))
    costs = inputs.costs[inputs.costs["metric"] == "parameters_trained"]
    parts += [means.drop(columns="direction"), costs]
    samples = pd.concat(parts, ignore_index=True).fillna({"test": ""})
    models = inputs.scores[KEYS].drop_duplicates()
    return samples.merge(models, on=KEYS)[[*KEYS, "test", "metric", "value"]]


def readings(inputs: Inputs) -> Document:
    """A table for each method whose switches are varied."""
    samples = dev_samples(inputs)
    data = summarise(samples)
    change = summarise(against(samples, MAIN, "readings"))
    keys = ["method", "variant", "test", "metric"]
    change = change[[*keys, "mean", "spread"]].rename(columns={"mean": "difference", "spread": "difference_spread"})
    data = data.merge(change, on=keys, how="left")
    methods = sorted(data["method"].unique(), key=lambda method: method_key((method, MAIN)))
    better = {method: better_on_dev(data[data["method"] == method]) for method in methods}
    data["better_on_dev"] = [variant in better[method] for method, variant in _runs(data)]
    default = f"readings: {inputs.main_value}" if inputs.main_value else "the config's readings"
    blocks: list[Table | str] = [_found(methods[0], data[data["method"] == methods[0]], better[methods[0]], default)]
    blocks += [inputs.title] if inputs.title else []
    for method in methods:
        rows = data[data["method"] == method]
        blocks += [_table(method, rows, default), _sentence(method, rows, better[method], default)]
    first = "Readings of the paper, one switch at a time: loss at step 0, dev loss, scores and parameters trained"
    return Document("readings", first, blocks, numbers(data), _picture(data, methods))


def _runs(data: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(data["method"], data["variant"], strict=True))


def _found(method: str, rows: pd.DataFrame, better: list[str], default: str) -> str:
    """What was found, in two sentences: the best reading by dev loss, and the other set of readings as a whole."""
    dev = rows[rows["metric"] == "dev loss"].set_index("variant")
    others = len(dev) - 1
    if better:
        best = dev.loc[better[0]]
        size = "with one seed perhaps by chance"
        if best["difference_spread"] == best["difference_spread"]:
            larger = abs(best["difference"]) > best["difference_spread"]
            size = f"{'more' if larger else 'no more'} than the standard deviation over seeds"
        text = f"By the dev loss, {len(better)} of {others} other readings of {method} are better than {default}"
        text += f", most of all {better[0]} ({best['difference']:+.4f} nats per token, {size})."
    else:
        text = f"By the dev loss, none of {others} other readings of {method} is better than {default}."
    whole = [name for name in SETS if name in dev.index]
    return " ".join([text, *(_whole(name, dev.loc[name, "difference"], rows) for name in whole)])


def _whole(name: str, difference: float, rows: pd.DataFrame) -> str:
    """A set of readings against main: dev loss, and mean BLEU where that says something."""
    found = {(row.variant, row.test, row.metric): row.mean for row in rows.itertuples()}
    both = {"bleu-into-en": "into English", "bleu-out-of-en": "out of English"}
    parts = [f"{difference:+.4f} nats per token on dev"]
    for test in sort_tests([test for test in rows["test"] if test], []):
        there = set(rows.loc[rows["test"] == test, "metric"])
        sides = {side: text for side, text in both.items() if side in there} or {"bleu": "in the mean"}
        for side, where in sides.items():
            one, main = found[(name, test, side)], found[(MAIN, test, side)]
            if max(one, main) >= FLOOR:
                parts.append(f"{round(one, 1) - round(main, 1):+.1f} BLEU {where} on {test}")
    return f"All of {name} together: {listed(parts)}."


def better_on_dev(rows: pd.DataFrame) -> list[str]:
    """Variants of one method whose dev loss after training is below main's, as printed; the lowest first."""
    dev = rows[(rows["metric"] == "dev loss") & (rows["variant"] != MAIN)].sort_values("difference")
    return [str(row.variant) for row in dev.itertuples() if round(row.difference, 4) < 0]


def _order(variants: pd.Series) -> list[str]:
    """Main, the sets of readings, then the switches by name."""
    return sorted(variants.unique(), key=lambda name: (name != MAIN, name not in SETS, name))


def _table(method: str, rows: pd.DataFrame, default: str) -> Table:
    found = {(row.variant, row.test, row.metric): row for row in rows.itertuples()}
    tests = sort_tests([test for test in rows["test"] if test], [])
    columns: list[tuple[str, str, str, int]] = [("", "dev loss at step 0", "dev loss at step 0", 4)]
    columns.append(("", "dev loss", "dev loss", 4))
    columns += [(test, metric, f"{text} {test}", 1) for test in tests for metric, text in METRICS.items()]
    shown = []
    for variant in _order(rows["variant"]):
        cells: list[Cell] = []
        for test, metric, _, digits in columns:
            row = found[(variant, test, metric)]
            better = metric == "dev loss" and variant != MAIN and round(row.difference, 4) < 0
            cells.append(number(row.mean, digits, row.spread, best=better))
            empty = Cell("") if variant == MAIN else number(row.difference, digits, row.difference_spread, sign=True)
            cells.append(empty)
        cells.append(Cell(quantity(found[(variant, "", "parameters_trained")].mean)))
        shown.append((variant, cells))
    titles = [text for _, _, name, _ in columns for text in (name, "to main")] + ["parameters trained"]
    notes = [
        f"main is {default}. Losses: nats per token on dev, mean over tokens. Bold: a dev loss below main's, the only "
        "ground for a choice. Scores: means over all directions of a test set, shown and not used."
    ]
    return Table(f"Switches of {method}", "variant", heads(titles), shown, notes=notes)


def _sentence(method: str, rows: pd.DataFrame, better: list[str], default: str) -> str:
    """What the dev loss says, and how sure it is."""
    others = rows.loc[rows["variant"] != MAIN, "variant"].nunique()
    if not others:
        raise UserError(f"readings: {method} has no variant beside main; give the models that change a switch")
    dev = rows[rows["metric"] == "dev loss"].set_index("variant")
    if not better:
        return f"{method}: none of {others} variants has a lower dev loss than {default}."
    clear = [name for name in better if abs(dev.loc[name, "difference"]) > dev.loc[name, "difference_spread"]]
    text = f"{method}: {len(better)} of {others} variants have a lower dev loss than {default}: {listed(better)}."
    if dev.loc[MAIN, "number"] < 2:
        return f"{text} With one seed nobody knows which of these differences are chance."
    sure = listed(clear) if clear else "none"
    return f"{text} Of these, the difference to main is larger than its standard deviation over seeds for: {sure}."


def _picture(data: pd.DataFrame, methods: list[str]) -> str:
    """Difference of the dev loss to main's; left of the line is better."""
    rows = data[(data["metric"] == "dev loss") & (data["variant"] != MAIN)]
    names = [variant if len(methods) == 1 else f"{variant} ({method})" for method, variant in _runs(rows)]
    rows = rows.assign(label=names, series="dev", mean=rows["difference"], spread=rows["difference_spread"])
    rows = rows.sort_values("mean")
    title = "Left of the line is better"
    panel = charts.Panel(rows, "dev loss minus main's (nats per token)", title=title, line=0.0)
    return charts.dots("readings", "Dev loss of each reading against main", [panel])
