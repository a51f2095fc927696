"""Table 1 (all methods), table 2 (the ablation) and figure 9 (a second model): scores by direction, and costs."""

from dataclasses import replace

import pandas as pd

from lander.config.methods import SECOND_MODEL, TABLE2
from lander.experiments import charts
from lander.experiments.verdict import FLOOR, by_rank, tests, verdict
from lander.report import paper
from lander.report.document import Document, heads, listed, number, numbers
from lander.report.labels import sort_tests
from lander.report.samples import (
    DRAWS,
    LOSS,
    METRICS,
    labels,
    reference_losses,
    require,
    score_samples,
    sort_columns,
    summarise,
)
from lander.report.score_inputs import Inputs
from lander.report.tables import MISSING, Cell, Table, duration, quantity
from lander.shared.errors import UserError

MEAN_HEADS = {"mean-into-en": "into en", "mean-out-of-en": "out of en"}
Key = tuple[str, str, str, str, str]  # method, variant, test, metric, direction
Found = dict[Key, tuple[float, float]]  # -> mean, spread


def table1(inputs: Inputs) -> Document:
    """All methods."""
    data, blocks = _tables(inputs)
    first = f"Table 1: BLEU and chrF2++ of {_count(data)} in each direction, their costs, and the paper's table 1"
    return Document("table1", first, [*blocks, paper.table1()], numbers(data), _dots("table1", inputs, data))


def table2(inputs: Inputs) -> Document:
    """The ablation: layers as they are, general neurons only, specific neurons only, both."""
    data, blocks = _tables(_only(inputs, TABLE2, "table2"))
    first = f"Table 2, the ablation: BLEU and chrF2++ of {_count(data)}, their costs, and the paper's table 2"
    return Document("table2", first, [*blocks, paper.table2()], numbers(data), _dots("table2", inputs, data))


def second_model(inputs: Inputs) -> Document:
    """The method on another base, against its strongest rival."""
    data, blocks = _tables(_only(inputs, SECOND_MODEL, "second_model"))
    model = f" on {inputs.title}" if inputs.title else " on a second model"
    first = f"Figure 9: BLEU and chrF2++ of zero-shot, adapter-lora and landermt{model}, in each direction"
    names = labels(data)
    panels = []
    for test in _tests(data):
        rows = data[(data["test"] == test) & (data["metric"] == "bleu")]
        order = sort_columns(rows["direction"].unique(), inputs.directions)
        rows = rows[rows["direction"].isin(order)]
        rows = rows.assign(series=[names[run] for run in _runs(rows)])
        place = {name: index for index, name in enumerate([*names.values(), *order])}
        rows = rows.rename(columns={"direction": "group"}).sort_values(["series", "group"], key=lambda c: c.map(place))
        panels.append(charts.Panel(rows, "direction", "BLEU (0-100)", test if len(_tests(data)) > 1 else ""))
    drawing = charts.bars("second_model", f"BLEU by direction{model}", panels)
    return Document("second_model", first, blocks, numbers(data), drawing)


def _only(inputs: Inputs, methods: tuple[str, ...], name: str) -> Inputs:
    """The inputs of some methods.

    Raises:
        UserError: one of them has no scores.
    """
    if missing := [method for method in methods if method not in set(inputs.scores["method"])]:
        raise UserError(f"--scores: {name} compares {listed(methods)}, and there are none of {listed(missing)}")
    scores, losses, costs = (
        rows[rows["method"].isin(methods)] for rows in (inputs.scores, inputs.losses, inputs.costs)
    )
    return replace(inputs, scores=scores, losses=losses, costs=costs)


def _tables(inputs: Inputs) -> tuple[pd.DataFrame, list[Table | str]]:
    """All numbers, and the tables of scores and costs."""
    samples = score_samples(inputs.scores, inputs.directions)
    parts = [summarise(samples)]
    losses = reference_losses(inputs.scores, inputs.directions)
    if len(losses):
        parts.append(summarise(losses))
    if len(inputs.costs):
        require(inputs.costs, inputs.scores, "--runs")
        parts.append(summarise(inputs.costs.assign(test="", direction="")))
    data = pd.concat(parts, ignore_index=True)
    found = as_cells(data)
    names = labels(data[data["metric"] == "bleu"])
    blocks: list[Table | str] = [_verdict(inputs, data, found, names, test) for test in _tests(data)]
    blocks += [inputs.title] if inputs.title else []
    for test in _tests(data):
        blocks.append(_mean_table(data, found, names, test))
        blocks += [_score_table(data, found, names, test, metric, inputs.directions) for metric in METRICS]
    if len(inputs.costs):
        blocks.append(_cost_table(found, names))
    columns = ["method", "variant", "test", "metric", "direction", "mean", "spread", "number", "over"]
    return data[columns], blocks


def _verdict(inputs: Inputs, data: pd.DataFrame, found: Found, names: dict, test: str) -> str:
    """Who is best into and out of English, by how much, and whether that is more than chance."""
    sides = {mean: {run: found[(*run, test, "bleu", mean)][0] for run in names} for mean in mean_heads(data, test)}
    best = [by_rank(scores, names)[0] for scores in sides.values() if max(scores.values()) >= FLOOR]
    rows = data[(data["test"] == test) & (data["metric"] == "bleu")]
    tested = tests(inputs.segments, test, list(rows["direction"].unique()), list(names), best) if best else {}
    return verdict(test, sides, names, tested)


def as_cells(data: pd.DataFrame) -> Found:
    """(method, variant, test, metric, direction) -> mean and spread."""
    keys = data[["method", "variant", "test", "metric", "direction"]].itertuples(index=False, name=None)
    return dict(zip(keys, zip(data["mean"], data["spread"], strict=True), strict=True))


def _mean_table(data: pd.DataFrame, found: Found, names: dict, test: str) -> Table:
    """Means over directions of both metrics, with the loss per character beside them."""
    means = mean_heads(data, test)
    columns = [(metric, mean, f"{text} {side}") for metric, text in METRICS.items() for mean, side in means.items()]
    losses = [mean for mean in means if any(key[2:] == (test, LOSS, mean) for key in found)]
    ranked = _ranked(found, names, test, list(means))
    rows = []
    for run, label in names.items():
        cells = [_cell(found, names, run, test, metric, mean, ranked) for metric, mean, _ in columns]
        for mean in losses:
            value, spread = found.get((*run, test, LOSS, mean), (None, None))
            cells.append(number(value, 3, spread))
        rows.append((label, cells))
    titles = [text for *_, text in columns] + [f"nats/char {means[mean]}" for mean in losses]
    notes = _notes(data, names, list(means), ranked)
    if losses:
        notes.append(
            "nats/char: loss per character of the references behind the same prompts, lower is better. "
            f"{MISSING}: it has none, or is no number because the training has diverged."
        )
    return Table(f"Means over directions on {test}", "method", heads(titles), rows, notes=notes)


def mean_heads(data: pd.DataFrame, test: str) -> dict[str, str]:
    """The means of a test set and what they are called: over all directions only where there is no English."""
    there = set(data.loc[data["test"] == test, "direction"])
    return {mean: text for mean, text in MEAN_HEADS.items() if mean in there} or {"mean": "mean"}


def _score_table(data: pd.DataFrame, found: Found, names: dict, test: str, metric: str, directions: list[str]) -> Table:
    """Methods x directions, and the means."""
    there = data[(data["test"] == test) & (data["metric"] == metric)]["direction"].unique()
    means = mean_heads(data, test)
    columns = [*sort_columns(there, directions), *means]
    ranked = _ranked(found, names, test, columns)
    rows = [
        (label, [_cell(found, names, run, test, metric, name, ranked) for name in columns])
        for run, label in names.items()
    ]
    titles = [means.get(name, name) for name in columns]
    notes = _notes(data, names, columns, ranked)
    return Table(f"{METRICS[metric]} (0-100) on {test}", "method", heads(titles), rows, notes=notes)


def _cell(
    found: Found, names: dict, run: tuple[str, str], test: str, metric: str, name: str, ranked: list[str]
) -> Cell:
    mean, spread = found[(*run, test, metric, name)]
    best = name in ranked and len(names) > 1 and round(mean, 1) == round(_top(found, names, test, metric, name), 1)
    return number(mean, 1, spread, best=best)


def _top(found: Found, names: dict, test: str, metric: str, direction: str) -> float:
    return max(found[(*run, test, metric, direction)][0] for run in names)


def _ranked(found: Found, names: dict, test: str, columns: list[str]) -> list[str]:
    """Directions and means in which the best is good enough for a ranking."""
    return [name for name in columns if _top(found, names, test, "bleu", name) >= FLOOR]


def _notes(data: pd.DataFrame, names: dict, columns: list[str], ranked: list[str]) -> list[str]:
    notes = [f"Bold: the highest of a column, as printed.{_spread_note(data, names)}"] if ranked else []
    if low := [MEAN_HEADS.get(name, name) for name in columns if name not in ranked]:
        where = "any column" if not ranked else listed(low)
        notes.append(
            f"No ranking in {where}: the best BLEU is below {FLOOR:g} there, and at that level BLEU says little of how "
            "good a translation is. Read the loss and chrF2++ instead."
        )
    return notes


def _spread_note(data: pd.DataFrame, names: dict) -> str:
    seeds = data[(data["over"] == "seeds") & (data["metric"] == "bleu")]["number"].max()
    parts = [f"over {seeds} seeds"] if seeds > 1 else []
    parts += ["of controls over draws, at the seeds that all draws have"] if any(v == DRAWS for _, v in names) else []
    return f" ±: standard deviation {', '.join(parts)}." if parts else " One seed: small differences may be chance."


def _cost_table(found: Found, names: dict) -> Table:
    """Parameters trained, learning rate, tokens, seconds and FLOPs of each method."""
    shown = {
        "parameters_trained": ("parameters trained", quantity),
        "learning_rate": ("learning rate", lambda value: f"{value:g}"),
        "tokens": ("tokens", quantity),
        "seconds": ("time", duration),
        "flops": ("FLOPs", quantity),
        "peak_memory_bytes": ("memory", lambda value: quantity(value, "B")),
    }
    shown = {key: one for key, one in shown.items() if any(metric == key for *_, metric, _ in found)}
    rows = []
    for run, label in names.items():
        costs = [(one, found.get((*run, "", key, ""), (None, None))[0]) for key, (_, one) in shown.items()]
        rows.append((label, [Cell(show(value) if value is not None else MISSING) for show, value in costs]))
    notes = [f"Of one training, mean over trainings. {MISSING}: nothing is trained, or it was not measured."]
    rates = {f"{mean:g}" for (*_, metric, _), (mean, _) in found.items() if metric == "learning_rate"}
    if len(rates) == 1:
        notes.append(
            "All were trained at one learning rate, which suits some better than others: what is tuned for none is "
            "compared at a rate that may be right for one. snakemake tune finds each method's own on dev."
        )
    elif rates:
        notes.append("Learning rates are the config's; snakemake tune finds those of the run's methods, no others.")
    return Table("What training costs", "method", heads([text for text, _ in shown.values()]), rows, notes=notes)


def _dots(name: str, inputs: Inputs, data: pd.DataFrame) -> str:
    """Mean BLEU of each method, into and out of English apart where there is English."""
    names = labels(data[data["metric"] == "bleu"])
    order = list(names.values())
    panels = []
    for test in _tests(data):
        sides = mean_heads(data, test)
        rows = data[(data["test"] == test) & (data["metric"] == "bleu") & data["direction"].isin(sides)]
        rows = rows.assign(label=[names[run] for run in _runs(rows)], series=rows["direction"].map(sides))
        rows = rows.sort_values(["label"], key=lambda column: column.map(order.index), kind="stable")
        panels.append(charts.Panel(rows, f"mean BLEU on {test} (0-100)"))
    return charts.dots(name, f"Mean BLEU by method{', ' + inputs.title if inputs.title else ''}", panels)


def _runs(rows: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(rows["method"], rows["variant"], strict=True))


def _tests(data: pd.DataFrame) -> list[str]:
    return sort_tests([test for test in data["test"] if test], [])


def _count(data: pd.DataFrame) -> str:
    number_of = data["method"].nunique()
    return f"{number_of} method{'s' if number_of > 1 else ''}"
