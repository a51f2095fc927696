"""Tables 1 and 2 and figure 9 of the paper: methods beside each other, by direction, with their costs.

`table1` has all methods and controls, `table2` the ablation, `second_model` the method and its strongest rival on
another base. The first table of each says which method is best, by how much, and whether that is more than chance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from lander.config.methods import SECOND_MODEL, TABLE2
from lander.evaluate import significance
from lander.evaluate.collect import MEANS
from lander.evaluate.segments import Compared, Place, read_all
from lander.experiments import samples
from lander.experiments.samples import DRAWS, LOSS, MAIN, METRICS, SUMMARY, Inputs, Run
from lander.report import charts, paper
from lander.report.document import Document, listed, number, numbers
from lander.report.labels import MEAN_LABELS
from lander.report.significance import SIGNIFICANT, Outcome
from lander.report.tables import MISSING, Cell, Table, duration, quantity
from lander.shared.errors import UserError

NO_SEED = 10**6  # no seed is as high: draws of a control that count as seeds are not paired with seeds
FLOOR = 5.0  # BLEU below which methods are not ranked
OURS = ("landermt", MAIN)
Tested = Mapping[tuple[Run, Run, str], Outcome]  # best, other, mean over directions -> best minus other
COSTS = {  # cost -> heading and how it is printed
    "parameters_trained": ("parameters trained", quantity),
    "learning_rate": ("learning rate", lambda value: f"{value:g}"),
    "damage_at_start": ("damage at step 0", lambda value: f"{value:.2f}"),
    "tokens": ("tokens", quantity),
    "seconds": ("time", duration),
    "flops": ("FLOPs", quantity),
    "peak_memory_bytes": ("memory", lambda value: quantity(value, "B")),
}


def table(n: int, inputs: Inputs) -> Document:
    """Table 1 (all methods) or 2 (the ablation), the paper's beside it, and a picture of the mean BLEU."""
    name, title = f"table{n}", "Table 2, the ablation" if n == 2 else "Table 1"
    inputs = _only(inputs, TABLE2, name) if n == 2 else inputs
    data, blocks = compared(inputs)
    names = samples.labels(data[data["metric"] == "bleu"])
    order, panels = list(names.values()), []
    for test in samples.tests_of(data):
        rows = data[(data["test"] == test) & (data["metric"] == "bleu")]
        rows = rows[rows["direction"].isin(_means(rows))]
        rows = rows.assign(
            label=[names[run] for run in samples.runs_of(rows)], series=rows["direction"].map(MEAN_LABELS)
        )
        rows = rows.sort_values("label", key=lambda column: column.map(order.index), kind="stable")
        panels.append(charts.Panel(rows, f"mean BLEU on {test} (0-100)"))
    drawn = charts.dots(name, f"Mean BLEU by method{', ' + inputs.title if inputs.title else ''}", panels)
    title = f"{title}: BLEU and chrF2++ of each method in each direction, costs, and the paper's table"
    return Document(name, title, [*blocks, paper.table(n)], numbers(data), drawn)


def second_model(inputs: Inputs) -> Document:
    """The method on another base, against its strongest rival (figure 9)."""
    data, blocks = compared(_only(inputs, SECOND_MODEL, "second_model"))
    names, panels = samples.labels(data), []
    for test in samples.tests_of(data):
        rows = data[(data["test"] == test) & (data["metric"] == "bleu")]
        order = samples.sort_columns(rows["direction"].unique(), inputs.directions)
        rows = rows[rows["direction"].isin(order)]
        rows = rows.assign(series=[names[run] for run in samples.runs_of(rows)], value=rows["direction"])
        rows = rows.sort_values("value", key=lambda column: column.map(order.index), kind="stable")
        panels.append(charts.Panel(rows, "direction", "BLEU (0-100)", str(test)))
    model = f" on {inputs.title}" if inputs.title else " on a second model"
    drawn = charts.bars("second_model", f"BLEU by direction{model}", panels)
    title = f"Figure 9: BLEU and chrF2++ of zero-shot, adapter-lora and landermt{model}, in each direction"
    return Document("second_model", title, blocks, numbers(data), drawn)


def _only(inputs: Inputs, methods: tuple[str, ...], name: str) -> Inputs:
    """The inputs of some methods, of which none may lack scores."""
    if missing := [method for method in methods if method not in set(inputs.scores["method"])]:
        raise UserError(f"--scores: {name} compares {listed(methods)}, and there are none of {listed(missing)}")
    parts = {name: getattr(inputs, name) for name in ("scores", "losses", "costs")}
    return replace(inputs, **{name: rows[rows["method"].isin(methods)] for name, rows in parts.items()})


def compared(inputs: Inputs) -> tuple[pd.DataFrame, list[Table | str]]:
    """All numbers, and the tables of scores and costs."""
    parts = [
        samples.score_samples(inputs.scores, inputs.directions),
        samples.reference_losses(inputs.scores, inputs.directions),
    ]
    if len(inputs.costs):
        samples.require(inputs.costs, inputs.scores, "--runs")
        parts.append(inputs.costs.assign(test="", direction=""))
    data = pd.concat([samples.summarise(part, inputs.draws) for part in parts if len(part)], ignore_index=True)
    data = data[["method", "variant", "test", "metric", "direction", *SUMMARY]]
    names = samples.labels(data[data["metric"] == "bleu"])
    tests = samples.tests_of(data)
    segments = read_all(inputs.segments) if inputs.segments and len(names) > 1 else {}
    blocks: list[Table | str] = [_best(inputs, segments, data[data["test"] == test], names) for test in tests]
    blocks.append(inputs.title)
    for test in tests:
        rows = data[data["test"] == test]
        means = _means(rows)
        plain = samples.sort_columns(rows.loc[rows["metric"].isin(METRICS), "direction"].unique(), inputs.directions)
        shown = METRICS | ({LOSS: "nats/char"} if LOSS in set(rows["metric"]) else {})
        both = [(metric, mean, f"{text} {MEAN_LABELS[mean]}") for metric, text in shown.items() for mean in means]
        blocks.append(score_table(f"Means over directions on {test}", rows, names, both))
        for metric, text in METRICS.items():
            columns = [(metric, name, MEAN_LABELS.get(name, name)) for name in [*plain, *means]]
            blocks.append(score_table(f"{text} (0-100) on {test}", rows, names, columns))
    return data, [*blocks, cost_table(data, names)] if len(inputs.costs) else blocks


def _means(rows: pd.DataFrame) -> list[str]:
    """The means of a test set that are shown: over all directions only if there is no English."""
    there = [mean for mean in MEANS if mean in set(rows["direction"])]
    return [mean for mean in there if mean != "mean"] or there


# ---------------------------------------------------------------- which is best


def _best(inputs: Inputs, segments: Mapping[Place, Compared], rows: pd.DataFrame, names: Mapping[Run, str]) -> Table:
    """The best method of a test set, with the tests against all others."""
    test, bleu = rows["test"].iloc[0], rows[rows["metric"] == "bleu"]
    sides = {}
    for mean in _means(rows):
        part = bleu[bleu["direction"] == mean]
        scores = dict(zip(samples.runs_of(part), part["mean"], strict=True))
        sides[mean] = {run: scores[run] for run in sorted(names, key=lambda run: -scores[run])}
    best = [run for scores in sides.values() for run in list(scores)[:1] if scores[run] >= FLOOR]
    places = {place: found for place, found in segments.items() if (place.test, place.metric) == (test, "bleu")}
    places = {place: found for place, found in places.items() if place.direction in set(bleu["direction"])}
    tested = outcomes(places, names, best, inputs.draws) if places and best else {}
    return best_table(test, sides, names, tested)


def outcomes(
    scores: Mapping[Place, Compared], names: Mapping[Run, str], best: Sequence[Run], draws: Sequence[str]
) -> Tested:
    """Tests of the best runs against all others, in the means over directions.

    The draws of a control count as seeds. If seeds cannot be paired, p is NaN and only the interval is known.
    """
    data = {place: Compared(found.signature) for place, found in scores.items()}
    for place, found in scores.items():
        for model, statistics in found.statistics.items():
            if (model.method, DRAWS) in names and model.variant in (MAIN, *draws):
                drawn = 1 + (MAIN, *draws).index(model.variant)
                model = replace(model, variant=DRAWS, seed=drawn * NO_SEED + model.seed)
            if (model.method, model.variant) in names:
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


def best_table(test: str, sides: Mapping[str, Mapping[Run, float]], names: Mapping[Run, str], tested: Tested) -> Table:
    """Who is best on a test set, by how much, and whether that is more than chance.

    `sides`: mean over directions -> mean BLEU of each run, the highest first. `tested` is empty without tests.
    """
    rows = []
    for mean, scores in sides.items():
        first, *others = scores
        if scores[first] < FLOOR:
            why = f"not ranked: the highest BLEU, {scores[first]:.1f}, is below {FLOOR:g}"
            cells = [why, *[""] * 5]
        else:
            found = {run: tested.get((first, run, mean)) for run in others}
            # as printed, so that the tables agree
            gaps = {run: _gap(round(scores[first], 1) - round(scores[run], 1), found[run]) for run in others}
            second = others[0] if others else None
            close = [names[run] for run, one in found.items() if one and one.p == one.p and not one.significant]
            cells = [names[first], f"{scores[first]:.1f}", names.get(second, ""), gaps.get(second, "")]
            cells += [gaps[OURS] if OURS in others[1:] else "", ", ".join(close)]
        rows.append((MEAN_LABELS[mean], cells))
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
    return Table.of(caption, "directions", titles, rows, notes=notes, wide=True, word="significant")


def _gap(gap: float, outcome: Outcome | None) -> Cell:
    """How far the best is ahead, and how sure that is. Without a common seed only the interval is known."""
    if outcome is None:
        return Cell(f"{gap:.1f}")
    paired = outcome.p == outcome.p  # not NaN
    sure = outcome.text if paired else f"95% interval {outcome.low:+.1f} to {outcome.high:+.1f}"
    return Cell(f"{gap:.1f}", outcome.significant, sure)


# ---------------------------------------------------------------- tables


def score_table(
    caption: str, data: pd.DataFrame, names: Mapping[Run, str], columns: Sequence[tuple[str, str, str]]
) -> Table:
    """Methods x columns of one test set, the highest of each in bold where the best BLEU is high enough to rank.

    `columns`: (metric, direction or mean, heading).
    """
    found = samples.by_key(data, "method", "variant", "metric", "direction")
    bleu = data[data["metric"] == "bleu"]
    tops, best_bleu = data.groupby(["metric", "direction"])["mean"].max(), bleu.groupby("direction")["mean"].max()
    ranked = [name for name in dict.fromkeys(name for _, name, _ in columns) if best_bleu[name] >= FLOOR]
    rows = []
    for run, label in names.items():
        cells = []
        for metric, name, _ in columns:
            row = found.get((*run, metric, name))
            if row is None:
                cells.append(MISSING)
                continue
            best = metric != LOSS and name in ranked and len(names) > 1
            best = best and round(row.mean, 1) == round(tops[metric, name], 1)
            cells.append(number(row.mean, 3 if metric == LOSS else 1, row.spread, best=best))
        rows.append((label, cells))
    seeds = max(bleu.loc[bleu["over"] == "seeds", "number"], default=1)
    spread = f"Seeds: {seeds}. ±: standard deviation over them, of a control over its draws at their common seeds."
    notes = [f"Bold: the highest of a column, as printed. {spread}"] if ranked else []
    if low := list(dict.fromkeys(MEAN_LABELS.get(name, name) for _, name, _ in columns if name not in ranked)):
        where = listed(low) if ranked else "any column"
        notes.append(f"No ranking in {where}: the best BLEU is below {FLOOR:g} there.")
    if any(metric == LOSS for metric, *_ in columns):
        notes.append(f"nats/char: loss of the references, lower is better. {MISSING}: none, or the training diverged.")
    return Table.of(caption, "method", [text for *_, text in columns], rows, notes=notes)


def cost_table(data: pd.DataFrame, names: Mapping[Run, str]) -> Table:
    """Parameters trained, learning rate, tokens, seconds and FLOPs of each method."""
    found = samples.by_key(data, "method", "variant", "metric")
    shown = {key: one for key, one in COSTS.items() if key in set(data["metric"])}
    rows = []
    for run, label in names.items():
        costs = {key: found.get((*run, key)) for key in shown}
        rows.append((label, [shown[key][1](row.mean) if row else MISSING for key, row in costs.items()]))
    notes = [f"Mean over the trainings of a method. {MISSING}: nothing is trained, or it was not measured."]
    if len({f"{rate:g}" for rate in data.loc[data["metric"] == "learning_rate", "mean"]}) == 1:
        notes.append("One learning rate for all, which may suit some methods better; snakemake tune finds each one's.")
    return Table.of("What training costs", "method", [text for text, _ in shown.values()], rows, notes=notes)
