"""Models that differ in one value of the config, beside each other by dev loss: readings, sweeps, estimators, tune.

The dev loss alone decides what is better. The test scores are shown and decide nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import yaml

from lander.config.awareness import RULES
from lander.evaluate.collect import MEANS
from lander.experiments import rates, samples
from lander.experiments.samples import DRAWS, KEYS, MAIN, METRICS, SUMMARY, Inputs, by_key, runs_of, summarise
from lander.report import charts
from lander.report.document import Document, listed, number, numbers
from lander.report.labels import MEAN_LABELS
from lander.report.tables import MISSING, Cell, Table, quantity
from lander.shared.errors import UserError

LOSS, START = "dev loss", "dev loss at step 0"
SWEEPS = {  # experiment -> key of the config, axis of the figure, what it is
    "sweep_k": ("layers.k", "k (finetuned layers)", "the number of finetuned layers (figure 10)"),
    "sweep_epsilon": ("neurons.general_share", "epsilon (share of general neurons)", "epsilon (figure 11)"),
}
CONTROL = "random"  # random neurons in the same layers
Column = tuple[str, str, str, int | None]  # test, metric, heading, digits; None: a number of parameters


# ---------------------------------------------------------------- what they share


def dev_samples(inputs: Inputs, start: bool = False) -> pd.DataFrame:
    """Dev losses after training and (`start`) before it, mean scores, parameters trained; keys `test` and `metric`."""
    samples.require(inputs.losses, inputs.scores, "--loss")
    samples.require(inputs.costs, inputs.scores, "--runs")
    models = inputs.scores[KEYS].drop_duplicates()
    dev = inputs.losses[inputs.losses["kind"] == "dev"].merge(models, on=KEYS)
    parts = [samples.loss_samples(dev, "dev").assign(metric=LOSS)]
    if start:
        samples.require(dev[dev["state"] == "start"], inputs.scores, "--loss in state start")
        parts.append(samples.loss_samples(dev, "dev", "start").assign(metric=START))
    scores = samples.score_samples(inputs.scores, inputs.directions)
    means = scores[scores["direction"].isin(MEANS)]
    parts.append(means.assign(metric=means["metric"] + means["direction"].str.removeprefix("mean")))
    parts.append(inputs.costs[inputs.costs["metric"] == "parameters_trained"].merge(models, on=KEYS))
    return pd.concat(parts, ignore_index=True).fillna({"test": ""})[[*KEYS, "test", "metric", "value"]]


def dev_columns(data: pd.DataFrame, sides: bool = True) -> list[Column]:
    """The columns of a table; with `sides` also the means into and out of English."""
    means = {mean: f" {MEAN_LABELS[mean]}" for mean in MEANS} if sides else {"mean": ""}
    columns: list[Column] = [("", name, name, 4) for name in (START, LOSS)]
    columns += [
        (test, f"{metric}{mean.removeprefix('mean')}", f"{text}{label} {test}", 1)
        for test in samples.tests_of(data)
        for metric, text in METRICS.items()
        for mean, label in means.items()
    ]
    columns.append(("", "parameters_trained", "parameters trained", None))
    there = set(zip(data["test"], data["metric"], strict=True))
    return [column for column in columns if column[:2] in there]


def dev_table(
    caption: str,
    data: pd.DataFrame,
    by: str,
    order: Sequence[str],
    columns: Sequence[Column],
    best: str,
    notes: list[str],
    beside: tuple[str, Callable[[Any, int], Cell | str]] | None = None,
) -> Table:
    """A table with a row for each value of the column `by`; the column `best` says where the dev loss is bold.

    `beside`: heading of a second column behind the losses and the means over all directions, and its cell, of a row of
    `data` and a number of digits.
    """
    found = by_key(data, by, "test", "metric")
    rows: list[tuple[str, list[Cell | str]]] = [(value, []) for value in order]
    titles = []
    for test, metric, heading, digits in columns:
        double = beside if metric in (START, LOSS, *METRICS) else None
        titles += [heading, double[0]] if double else [heading]
        for value, cells in rows:
            row = found[value, test, metric]
            bold = metric == LOSS and getattr(row, best)
            cells.append(number(row.mean, digits, row.spread, best=bold) if digits else quantity(row.mean))
            cells += [double[1](row, digits)] if double else []
    return Table.of(caption, by, titles, rows, notes=notes)


# ---------------------------------------------------------------- readings


def readings(inputs: Inputs) -> Document:
    """The points on which the paper can be read in two ways, one switch at a time: a table for each method.

    `values` names the sets of readings, that of main first.
    """
    found = dev_samples(inputs, start=True)
    change = summarise(against_main(found))
    keys = ["method", "variant", "test", "metric"]
    change = change[[*keys, "mean", "spread"]].rename(columns={"mean": "difference", "spread": "difference_spread"})
    data = summarise(found).merge(change, on=keys, how="left")
    dev = data[data["metric"] == LOSS]
    better = set(runs_of(dev[(dev["variant"] != MAIN) & (dev["difference"].round(4) < 0)]))  # as printed
    data["better_on_dev"] = [run in better for run in runs_of(data)]
    methods, columns = samples.methods_of(data), dev_columns(data, sides=False)
    default = f"readings: {inputs.values[MAIN]}" if MAIN in inputs.values else "the config's readings"
    notes = [
        f"main is {default}. Losses: nats per token on dev. Bold: a dev loss below main's. A difference within its "
        "standard deviation over seeds, or of a single seed, may be chance. Scores are means over all directions of a "
        "test set; they decide nothing."
    ]

    def to_main(row: Any, digits: int) -> Cell | str:
        return "" if row.variant == MAIN else number(row.difference, digits, row.difference_spread, sign=True)

    blocks: list[Table | str] = [inputs.title]
    beside = ("to main", to_main)
    for method in methods:
        rows = data[data["method"] == method]
        order = sorted(rows["variant"].unique(), key=lambda name: (name != MAIN, name not in inputs.values, name))
        lower = rows[rows["better_on_dev"] & (rows["metric"] == LOSS)]
        clear = lower.loc[lower["difference"].abs() > lower["difference_spread"], "variant"]  # NaN of a single seed
        blocks.append(
            f"{method}: {len(lower) or 'none'} of {len(order) - 1} other readings have a lower dev loss than "
            f"{default}, by more than the standard deviation over seeds: {listed(clear) or 'none'}."
        )
        caption = f"Switches of {method}"
        blocks.append(dev_table(caption, rows, "variant", order, columns, "better_on_dev", notes, beside))
    rows = data[(data["metric"] == LOSS) & (data["variant"] != MAIN)]
    labels = [variant if len(methods) == 1 else f"{variant} ({method})" for method, variant in runs_of(rows)]
    rows = rows.assign(label=labels, series="", mean=rows["difference"], spread=rows["difference_spread"])
    x, heading = "dev loss minus main's (nats per token)", "Left of the line is better"
    panel = charts.Panel(rows.sort_values("mean"), x, title=heading, line=0.0)
    drawn = charts.dots("readings", "Dev loss of each reading against main", [panel])
    title = "Readings of the paper, one switch at a time: loss at step 0, dev loss, scores and parameters trained"
    return Document("readings", title, blocks, numbers(data), drawn)


def against_main(found: pd.DataFrame) -> pd.DataFrame:
    """Samples minus those of variant main of the same method, seed by seed."""
    on = [name for name in found if name not in ("variant", "value")]
    change = samples.minus(found, found[found["variant"] == MAIN], on)
    for method, variant in dict.fromkeys(runs_of(found)):
        if (method, variant) not in set(runs_of(change)):
            raise UserError(f"readings: {method}/{variant} shares no seed with {method}/{MAIN}; give both")
    for method, part in found.groupby("method", sort=False):
        if part["variant"].nunique() < 2:
            raise UserError(f"readings: {method} has no variant beside main; give the models that change a switch")
    return change


# ---------------------------------------------------------------- sweeps


def sweep(name: str, inputs: Inputs) -> Document:
    """One number of the config over a range (figures 10 and 11): one table and one figure.

    `values` has the value of each variant; variants that it does not name are left out.
    """
    key, axis, what = SWEEPS[name]
    there = set(inputs.scores["variant"])
    try:
        values = {variant: float(value) for variant, value in inputs.values.items() if variant in there}
    except ValueError as error:
        raise UserError(f"--values: {error}; write VARIANT=NUMBER") from None
    if len(set(values.values())) < len(values):
        raise UserError(f"--values {' '.join(inputs.values)}: two variants have the same value; give each value once")
    if len(values) < 2:
        raise UserError("--values, --scores: a sweep needs the models of at least two values")
    scores = inputs.scores[inputs.scores["variant"].isin(values)]
    if methods := sorted(set(scores["method"]) - {"landermt"}):
        raise UserError(f"{name}: variants of {', '.join(methods)}; give those of landermt only")
    data = summarise(dev_samples(replace(inputs, scores=scores)))
    data = data.assign(value=data["variant"].map(values)).sort_values("value", kind="stable")
    dev = data[data["metric"] == LOSS]
    best = data.loc[dev["mean"].idxmin(), "value"]
    data["chosen"] = data["value"] == best
    text = f"Chosen on dev: {key}: {best:g}, the lowest dev loss of {len(values)} values."
    text += f" The config has {inputs.values['main']}." if "main" in values else ""

    data[key] = data["value"].map("{:g}".format)
    notes = ["Dev loss: nats per token. Bold: the lowest. ±: standard deviation over seeds."]
    table = dev_table(f"{key} of landermt", data, key, data[key].unique(), dev_columns(data), "chosen", notes)
    ring, unit = {LOSS: [best]}, "dev loss (nats per token)"
    panels = [charts.Panel(dev.assign(series=LOSS), axis, unit, "Ringed: chosen", chosen=ring)]
    series = {f"bleu{mean.removeprefix('mean')}": f"BLEU {MEAN_LABELS[mean]}" for mean in MEANS}
    for test in samples.tests_of(data):
        rows = data[(data["test"] == test) & data["metric"].isin(series)]
        rows = rows.assign(series=rows["metric"].map(series)).sort_values("metric", kind="stable")
        panels.append(charts.Panel(rows, axis, f"BLEU on {test} (0-100)"))
    title = f"Sweep of {key}, {what}: dev loss, BLEU, chrF2++, parameters trained"
    found = numbers(data[["value", "variant", "test", "metric", *SUMMARY, "chosen"]])
    drawn = charts.lines(name, f"Dev loss and BLEU over {axis}", panels)
    return Document(name, title, [inputs.title, text, table], found, drawn)


# ---------------------------------------------------------------- which neurons are trained

PICKS = {
    "most": "most aware",
    "least": "least aware",
    "exchanged": "owners exchanged",
    CONTROL: "random",
    "lora-matched": "LoRA of this size",
}  # beginning of a variant's name, or another method -> what is trained


def sweep_trained(inputs: Inputs) -> Document:
    """Fewer and fewer trained neurons, chosen in several ways: a table for each share, one figure of the dev loss.

    `values` has the share of each variant; the rest of a variant's name says how its neurons are chosen. The line of
    the figure is the base, if its losses are given.
    """
    shares = {variant: float(share) for variant, share in inputs.values.items()}
    kept = inputs.scores[inputs.scores["variant"].isin(shares)]
    data = summarise(dev_samples(replace(inputs, scores=kept)))
    data["value"] = data["variant"].map(shares)
    ways = [variant.removesuffix(f"{shares[variant]:g}") for variant in data["variant"]]
    ways = [method if method in PICKS else way for method, way in zip(data["method"], ways, strict=True)]
    data["series"] = [PICKS[way] for way in ways]
    dev = data[data["metric"] == LOSS]
    data["lowest"] = data["mean"] == data["value"].map(dev.groupby("value")["mean"].min())
    names = [name for name in PICKS.values() if name in set(data["series"])]
    notes = ["Dev loss: nats per token. Bold: the lowest. ±: standard deviation over seeds."]
    tables = []
    for share, rows in sorted(data.groupby("value"), reverse=True):
        there = [name for name in names if name in set(rows["series"])]
        caption = f"{share:.3g} of the neurons of the chosen layers trained"
        tables.append(dev_table(caption, rows, "series", there, dev_columns(rows), "lowest", notes))
    base = inputs.losses[(inputs.losses["method"] == "zero-shot") & (inputs.losses["variant"] == MAIN)]
    line = None if base.empty else samples.loss_samples(base, "dev")["value"].mean()
    axis, unit = "share of trained neurons", f"dev loss (nats per token){'; line: the base' if line else ''}"
    dev = dev.sort_values("series", key=lambda column: column.map(names.index), kind="stable")
    drawn = charts.lines("sweep_trained", "Dev loss over the share", [charts.Panel(dev, axis, unit, line=line)], "log")
    title = "Fewer trained neurons, chosen in several ways: dev loss, BLEU, chrF2++, parameters trained"
    found = numbers(data[["series", "value", "variant", "test", "metric", *SUMMARY]])
    return Document("sweep_trained", title, [inputs.title, *tables], found, drawn)


# ---------------------------------------------------------------- estimators


def estimators(inputs: Inputs) -> Document:
    """The estimators of awareness beside each other, and beside as many random neurons in the same layers.

    `values` has the estimator of each variant of landermt. The control shuffles the groups of the config's estimator,
    so its groups have the same sizes. An estimator whose scores divide the neurons by another rule has groups of other
    sizes: the control says nothing about it.
    """
    own = inputs.values.get(MAIN)
    if not own:
        raise UserError("estimators: --values has no main=ESTIMATOR; say which awareness.estimator main has")
    if CONTROL not in set(inputs.scores["method"]):
        raise UserError(f"--scores: no method {CONTROL}, the control; give its draws")
    mine = (inputs.scores["method"] == "landermt") & inputs.scores["variant"].isin(inputs.values)
    kept = inputs.scores[mine | (inputs.scores["method"] == CONTROL)]
    data = summarise(dev_samples(replace(inputs, scores=kept)), inputs.draws)
    names = {
        run: f"control: {text}" if run[0] == CONTROL else inputs.values[run[1]]
        for run, text in samples.labels(data).items()
    }
    if len(set(names.values())) < len(names):
        raise UserError(f"--values {' '.join(inputs.values)}: two variants have the same estimator; give each once")
    data["estimator"] = [names[run] for run in runs_of(data)]
    levels = by_key(data[data["method"] == CONTROL], "test", "metric")
    others = [name for (method, _), name in names.items() if method != CONTROL and RULES.get(name) != RULES.get(own)]
    data["lowest"] = data["mean"].round(4) == data.loc[data["metric"] == LOSS, "mean"].round(4).min()

    def to_random(row: Any, digits: int) -> Cell | str:
        if row.method == CONTROL or row.estimator in others:
            return ""
        level = levels[row.test, row.metric]
        gap, limit = row.mean - level.mean, 2 * level.spread  # NaN in a single draw: nothing can be said
        ahead = gap * (-1 if row.metric == LOSS else 1)
        return replace(number(gap, digits, sign=True, best=ahead > limit), spread="worse" if ahead < -limit else "")

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
    *columns, _ = dev_columns(data)  # without the parameters trained
    order, beside = list(names.values()), ("to random", to_random)
    table = dev_table("Estimators", data, "estimator", order, columns, "lowest", notes, beside)
    title = "Estimators of awareness beside each other and beside random neurons: dev loss, BLEU, chrF2++"
    found = numbers(data[["estimator", "test", "metric", *SUMMARY]])
    return Document("estimators", title, [inputs.title, table], found, picture(data, order, columns))


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


# ---------------------------------------------------------------- learning rates


def tune(inputs: Inputs) -> Document:
    """The learning rate of each method: dev losses of all that were tried, and those chosen as a config file.

    `values` has the learning rate of each variant.
    """
    trials = inputs.losses[inputs.losses["variant"].isin(inputs.values)]
    if trials.empty:
        raise UserError("--values, --loss: no losses of trials; give VARIANT=RATE and the files of losses")
    data = summarise(samples.loss_samples(trials, "dev"))
    data["learning_rate"] = [float(inputs.values[variant]) for variant in data["variant"]]
    found, values = by_key(data, "method", "learning_rate"), sorted(data["learning_rate"].unique().tolist())
    rows, chosen = [], {}
    for method in samples.methods_of(data):
        tried = {value: found[method, value].mean for value in values if (method, value) in found}
        if not any(abs(loss) < float("inf") for loss in tried.values()):
            raise UserError(f"tune: {method} diverged at every learning rate; set a lower one to start from")
        # of equal losses the rate nearest to the middle of the grid
        best = chosen[method] = rates.best_rate(tried, (min(tried) * max(tried)) ** 0.5)
        within = "inside" if rates.inside(tried, best) else "at the edge"
        cells = [f"{best:g}", within, len(tried)]
        for value in values:
            row = found.get((method, value))
            cells.append(number(row.mean, 4, row.spread, best=value == best) if row else MISSING)
        rows.append((method, cells))
    titles = ["chosen", "its place", "trials", *(f"{value:g}" for value in values)]
    notes = [
        f"Dev loss after training, nats per token. Bold: chosen. {MISSING}: not tried. At the edge: rates beyond those "
        "tried may be better."
    ]
    data["chosen"] = data["learning_rate"] == data["method"].map(chosen)
    config = {"finetune": {method: {"learning_rate": rate} for method, rate in chosen.items()}}
    head = "# Learning rates with the lowest dev loss, of `snakemake tune`; pass it with --configfile.\n"
    place = data["method"].map(list(chosen).index)
    data = data.assign(place=place, series=data["method"], value=data["learning_rate"]).sort_values(["place", "value"])
    rings, unit = {method: [rate] for method, rate in chosen.items()}, "dev loss (nats per token)"
    panel = charts.Panel(data, "learning rate", unit, "Ringed: chosen", chosen=rings)
    return Document(
        "tune",
        f"Learning rates tried and chosen, by dev loss, of {len(chosen)} method{'s' if len(chosen) > 1 else ''}",
        [inputs.title, Table.of("Dev loss by learning rate", "method", titles, rows, notes=notes)],
        numbers(data[["method", "learning_rate", *SUMMARY, "chosen"]]),
        charts.lines("tune", "Dev loss by learning rate", [panel], "log"),
        {"tune.yaml": head + yaml.safe_dump(config, sort_keys=False)},
    )
