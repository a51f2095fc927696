"""Tables 1 and 2 and figure 9 of the paper: methods beside each other, by direction, with their costs.

`table1` has all methods and controls, `table2` the ablation, `second_model` the method and its strongest rival on
another base. The first table of each says which method is best, by how much, and whether that is more than chance.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from lander.config.methods import SECOND_MODEL, TABLE2
from lander.evaluate import significance
from lander.evaluate.collect import MEANS
from lander.evaluate.segments import Compared, Place, read_all
from lander.experiments.samples import (
    DRAWS,
    LOSS,
    MAIN,
    MEAN_HEADS,
    METRICS,
    Inputs,
    Run,
    by_key,
    labels,
    reference_losses,
    require,
    runs_of,
    score_samples,
    sort_columns,
    summarise,
    tests_of,
)
from lander.report import charts, paper
from lander.report.document import Document, heads, listed, number, numbers
from lander.report.significance import SIGNIFICANT, Outcome
from lander.report.tables import MISSING, Cell, Table, duration, quantity
from lander.shared.errors import UserError

NO_SEED = 10**6  # no seed is as high: draws of a control that count as seeds are not paired with seeds
FLOOR = 5.0  # BLEU below which methods are not ranked
OURS = ("landermt", MAIN)
SIDES = {"mean": "all directions", "mean-into-en": "into English", "mean-out-of-en": "out of English"}
Tested = Mapping[tuple[Run, Run, str], Outcome]  # best, other, mean over directions -> best minus other
COSTS = {  # cost -> heading and how it is printed
    "parameters_trained": ("parameters trained", quantity),
    "learning_rate": ("learning rate", lambda value: f"{value:g}"),
    "tokens": ("tokens", quantity),
    "seconds": ("time", duration),
    "flops": ("FLOPs", quantity),
    "peak_memory_bytes": ("memory", lambda value: quantity(value, "B")),
}


# ---------------------------------------------------------------- experiments


def table1(inputs: Inputs) -> Document:
    """All methods."""
    data, blocks = compared(inputs)
    title = f"Table 1: BLEU and chrF2++ of {_count(data)} in each direction, their costs, and the paper's table 1"
    return Document("table1", title, [*blocks, paper.table(1)], numbers(data), picture("table1", inputs, data))


def table2(inputs: Inputs) -> Document:
    """The ablation: whole layers, general neurons only, specific neurons only, both."""
    data, blocks = compared(_only(inputs, TABLE2, "table2"))
    title = f"Table 2, the ablation: BLEU and chrF2++ of {_count(data)}, their costs, and the paper's table 2"
    return Document("table2", title, [*blocks, paper.table(2)], numbers(data), picture("table2", inputs, data))


def second_model(inputs: Inputs) -> Document:
    """The method on another base, against its strongest rival (figure 9)."""
    data, blocks = compared(_only(inputs, SECOND_MODEL, "second_model"))
    model = f" on {inputs.title}" if inputs.title else " on a second model"
    title = f"Figure 9: BLEU and chrF2++ of zero-shot, adapter-lora and landermt{model}, in each direction"
    names = labels(data)
    panels = []
    for test in tests_of(data):
        rows = data[(data["test"] == test) & (data["metric"] == "bleu")]
        order = sort_columns(rows["direction"].unique(), inputs.directions)
        rows = rows[rows["direction"].isin(order)]
        rows = rows.assign(series=[names[run] for run in runs_of(rows)], value=rows["direction"])
        rows = rows.sort_values("value", key=lambda column: column.map(order.index), kind="stable")
        panels.append(charts.Panel(rows, "direction", "BLEU (0-100)", str(test)))
    drawn = charts.bars("second_model", f"BLEU by direction{model}", panels)
    return Document("second_model", title, blocks, numbers(data), drawn)


def _only(inputs: Inputs, methods: tuple[str, ...], name: str) -> Inputs:
    """The inputs of some methods.

    Raises:
        UserError: one of them has no scores.
    """
    if missing := [method for method in methods if method not in set(inputs.scores["method"])]:
        raise UserError(f"--scores: {name} compares {listed(methods)}, and there are none of {listed(missing)}")
    parts = {name: getattr(inputs, name) for name in ("scores", "losses", "costs")}
    return replace(inputs, **{name: rows[rows["method"].isin(methods)] for name, rows in parts.items()})


def compared(inputs: Inputs) -> tuple[pd.DataFrame, list[Table | str]]:
    """All numbers, and the tables of scores and costs."""
    parts = [summarise(score_samples(inputs.scores, inputs.directions), inputs.draws)]
    losses = reference_losses(inputs.scores, inputs.directions)
    if len(losses):
        parts.append(summarise(losses, inputs.draws))
    if len(inputs.costs):
        require(inputs.costs, inputs.scores, "--runs")
        parts.append(summarise(inputs.costs.assign(test="", direction=""), inputs.draws))
    data = pd.concat(parts, ignore_index=True)
    names = labels(data[data["metric"] == "bleu"])
    tests = tests_of(data)
    segments = read_all(inputs.segments) if inputs.segments and len(names) > 1 else {}
    blocks: list[Table | str] = [_best(inputs, segments, data, names, test) for test in tests]
    blocks += [inputs.title] if inputs.title else []
    for test in tests:
        rows = data[data["test"] == test]
        means = _means(rows)
        plain = sort_columns(rows.loc[rows["metric"].isin(METRICS), "direction"].unique(), inputs.directions)
        both = [(metric, mean, f"{text} {MEAN_HEADS[mean]}") for metric, text in METRICS.items() for mean in means]
        both += [(LOSS, mean, f"nats/char {MEAN_HEADS[mean]}") for mean in means if LOSS in set(rows["metric"])]
        blocks.append(score_table(f"Means over directions on {test}", rows, names, both))
        for metric, text in METRICS.items():
            columns = [(metric, name, MEAN_HEADS.get(name, name)) for name in [*plain, *means]]
            blocks.append(score_table(f"{text} (0-100) on {test}", rows, names, columns))
    if len(inputs.costs):
        blocks.append(cost_table(data, names))
    columns = ["method", "variant", "test", "metric", "direction", "mean", "spread", "number", "over"]
    return data[columns], blocks


def _means(rows: pd.DataFrame) -> list[str]:
    """The means of a test set that are shown: over all directions only if there is no English."""
    there = [mean for mean in MEANS if mean in set(rows["direction"])]
    return [mean for mean in there if mean != "mean"] or there


def _count(data: pd.DataFrame) -> str:
    methods = data["method"].nunique()
    return f"{methods} method{'s' if methods > 1 else ''}"


# ---------------------------------------------------------------- which is best


def _best(
    inputs: Inputs, segments: Mapping[Place, Compared], data: pd.DataFrame, names: Mapping[Run, str], test: str
) -> Table:
    """The best method of a test set, with the tests against all others."""
    rows = data[(data["test"] == test) & (data["metric"] == "bleu")]
    sides = {}
    for mean in _means(data[data["test"] == test]):
        part = rows[rows["direction"] == mean]
        sides[mean] = dict(zip(runs_of(part), part["mean"], strict=True))
    best = [_ranked(scores, names)[0] for scores in sides.values() if max(scores.values()) >= FLOOR]
    scores = {place: found for place, found in segments.items() if (place.test, place.metric) == (test, "bleu")}
    scores = {place: found for place, found in scores.items() if place.direction in set(rows["direction"])}
    tested = outcomes(scores, names, best, inputs.draws) if scores and best else {}
    return best_table(test, sides, names, tested)


def best_table(test: str, sides: Mapping[str, Mapping[Run, float]], names: Mapping[Run, str], tested: Tested) -> Table:
    """Who is best on a test set, by how much, and whether that is more than chance.

    Args:
        sides: mean over directions (one of `MEANS`) -> mean BLEU of each run.
        names: run -> its label, in the order of the tables.
        tested: see `outcomes`; empty if no tests could be made.
    """
    rows = []
    for mean, scores in sides.items():
        first, *others = _ranked(scores, names)
        if scores[first] < FLOOR:
            why = f"not ranked: the highest BLEU, {scores[first]:.1f}, is below {FLOOR:g}"
            rows.append((SIDES[mean], [Cell(why), *[Cell("")] * 5]))
            continue
        cells = [Cell(names[first]), Cell(f"{scores[first]:.1f}")]
        for run in (others[0] if others else None, OURS if OURS in others[1:] else None):
            if run:
                gap = round(scores[first], 1) - round(scores[run], 1)  # as printed, so that the tables agree
                outcome = tested.get((first, run, mean))
                sure = outcome.text if outcome else ""
                if outcome and outcome.p != outcome.p:  # no seed in common: the interval only
                    sure = f"95% interval {outcome.low:+.1f} to {outcome.high:+.1f}"
                cells += [Cell(names[run]), Cell(f"{gap:.1f}", bool(outcome and outcome.significant), sure)]
            else:
                cells += [Cell(""), Cell("")]
        close = {names[run]: tested.get((first, run, mean)) for run in others}
        close = [name for name, found in close.items() if found and found.p == found.p and not found.significant]
        rows.append((SIDES[mean], [*cells[:4], cells[5], Cell(", ".join(close))]))
    titles = ["best", "BLEU", "second", "its gap", f"gap of {OURS[0]}", "not significantly behind"]
    notes = [
        f"Bold: {SIGNIFICANT}; p of paired randomisation of the sentences, with several seeds or draws the larger of "
        "that and of a bootstrap over them, Holm-corrected over all comparisons with the best."
    ]
    if not tested:
        notes = ["Not tested: some scores have no segment scores beside them. A small lead may be chance."]
    if len(names) == 1 or all(max(scores.values()) < FLOOR for scores in sides.values()):
        notes = []
    caption = f"Best method on {test}, mean BLEU"
    return Table(caption, "directions", heads(titles), rows, notes=notes, wide=True, word="significant")


def outcomes(
    scores: Mapping[Place, Compared], runs: Collection[Run], best: Sequence[Run], draws: Sequence[str]
) -> Tested:
    """Tests of the best runs against all of `runs`, in the means over directions.

    The draws of a control count as seeds. If seeds cannot be paired, p is NaN and only the interval is known.
    """
    data = {place: Compared(found.signature) for place, found in scores.items()}
    for place, found in scores.items():
        for model, statistics in found.statistics.items():
            if (model.method, DRAWS) in runs and model.variant in (MAIN, *draws):
                drawn = 1 + (MAIN, *draws).index(model.variant)
                model = replace(model, variant=DRAWS, seed=drawn * NO_SEED + model.seed)
            if (model.method, model.variant) in runs:
                data[place].statistics[model] = statistics
    rows = significance.compare(data, list(dict.fromkeys(f"{method}/{variant}" for method, variant in best)))
    several = any(row["seeds"] > 1 for row in rows)
    tested = {}
    for row in rows:
        if row["baseline"] and row["direction"] in MEANS:
            method, _, variant = row["baseline"].partition("/")
            ps = [row["p_holm"], row["p_bootstrap_holm"]] if several else [row["p_holm"]]
            p = float("nan") if row["p_holm"] is None else max(ps)
            outcome = Outcome(row["difference"], p, row["difference_low"], row["difference_high"]).reversed
            tested[(method, variant or MAIN), (row["method"], row["variant"]), row["direction"]] = outcome
    return tested


def _ranked(scores: Mapping[Run, float], names: Mapping[Run, str]) -> list[Run]:
    """Runs from the highest score; equal ones in the order of the tables."""
    order = list(names)
    return sorted(scores, key=lambda run: (-scores[run], order.index(run)))


# ---------------------------------------------------------------- tables and figures


def score_table(
    caption: str, data: pd.DataFrame, names: Mapping[Run, str], columns: Sequence[tuple[str, str, str]]
) -> Table:
    """Methods x columns, the highest of each in bold where the best BLEU is high enough to rank.

    Args:
        data: the summaries of one test set.
        columns: (metric, direction or mean, heading).
    """
    found = by_key(data, "method", "variant", "metric", "direction")
    bleu = data[data["metric"] == "bleu"].groupby("direction")["mean"].max()
    tops = data.groupby(["metric", "direction"])["mean"].max()
    ranked = [name for name in dict.fromkeys(name for _, name, _ in columns) if bleu[name] >= FLOOR]
    rows = []
    for run, label in names.items():
        cells = []
        for metric, name, _ in columns:
            row = found.get((*run, metric, name))
            if row is None:
                cells.append(Cell(MISSING))
            elif metric == LOSS:
                cells.append(number(row.mean, 3, row.spread))
            else:
                best = name in ranked and len(names) > 1 and round(row.mean, 1) == round(tops[metric, name], 1)
                cells.append(number(row.mean, 1, row.spread, best=best))
        rows.append((label, cells))
    notes = []
    if ranked:
        seeds = data.loc[(data["over"] == "seeds") & (data["metric"] == "bleu"), "number"].max()
        over = [f"{seeds} seeds"] if seeds > 1 else []
        over += ["the draws of a control, at their common seeds"] if any(v == DRAWS for _, v in names) else []
        spread = f"±: standard deviation over {listed(over)}." if over else "One seed: a small gap may be chance."
        notes.append(f"Bold: the highest of a column, as printed. {spread}")
    low = list(dict.fromkeys(MEAN_HEADS.get(name, name) for _, name, _ in columns if name not in ranked))
    if low:
        notes.append(
            f"No ranking in {listed(low) if ranked else 'any column'}: the best BLEU is below {FLOOR:g} there."
        )
    if any(metric == LOSS for metric, *_ in columns):
        notes.append(f"nats/char: loss of the references, lower is better. {MISSING}: none, or the training diverged.")
    return Table(caption, "method", heads([text for *_, text in columns]), rows, notes=notes)


def cost_table(data: pd.DataFrame, names: Mapping[Run, str]) -> Table:
    """Parameters trained, learning rate, tokens, seconds and FLOPs of each method."""
    found = by_key(data, "method", "variant", "metric")
    shown = {key: one for key, one in COSTS.items() if key in set(data["metric"])}
    rows = []
    for run, label in names.items():
        costs = {key: found.get((*run, key)) for key in shown}
        rows.append((label, [Cell(shown[key][1](row.mean) if row else MISSING) for key, row in costs.items()]))
    notes = [f"Mean over the trainings of a method. {MISSING}: nothing is trained, or it was not measured."]
    rates = {f"{rate:g}" for rate in data.loc[data["metric"] == "learning_rate", "mean"]}
    if len(rates) == 1:
        notes.append("One learning rate for all, which may suit some methods better; snakemake tune finds each one's.")
    return Table("What training costs", "method", heads([text for text, _ in shown.values()]), rows, notes=notes)


def picture(name: str, inputs: Inputs, data: pd.DataFrame) -> str:
    """Mean BLEU of each method, into and out of English apart if there is English."""
    names = labels(data[data["metric"] == "bleu"])
    order = list(names.values())
    panels = []
    for test in tests_of(data):
        means = _means(data[data["test"] == test])
        rows = data[(data["test"] == test) & (data["metric"] == "bleu") & data["direction"].isin(means)]
        rows = rows.assign(label=[names[run] for run in runs_of(rows)], series=rows["direction"].map(MEAN_HEADS))
        rows = rows.sort_values("label", key=lambda column: column.map(order.index), kind="stable")
        panels.append(charts.Panel(rows, f"mean BLEU on {test} (0-100)"))
    return charts.dots(name, f"Mean BLEU by method{', ' + inputs.title if inputs.title else ''}", panels)
