"""Gain against forgetting against cost: what a training gives, and what it takes from the base.

Forgetting is the increase of the loss, in nats per character, on directions that were not trained and on plain text.
It has two parts: that of routing (state `start` minus the base: scaled neurons, and neurons that take no part) and that
of training (state `trained` minus `start`). A method without routing starts as the base.

Scores are compared with both prompts of the base. The base may fail only because the fixed instruction is unfamiliar.
Training in any direction teaches it, so all directions seem to improve.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lander.config.methods import TRAINING_FREE
from lander.experiments.samples import (
    KEYS,
    LOSS,
    MAIN,
    METRICS,
    Inputs,
    Run,
    by_key,
    labels,
    loss_samples,
    minus,
    reference_losses,
    require,
    score_samples,
    summarise,
    tests_of,
)
from lander.report import charts
from lander.report.charts import pareto
from lander.report.document import Document, heads, listed, number, numbers
from lander.report.tables import MISSING, Cell, Table, quantity
from lander.shared.errors import UserError

KINDS = {"untrained": "untrained directions", "text": "text"}
PARTS = {"routing": "by routing", "training": "by training", "total": "in all"}
PROMPTS = (
    "Change: mean over these directions minus that of the better zero-shot prompt; over fixed prompt: minus that of "
    "zero-shot/main. ±: standard deviation over seeds, of controls over draws."
)
PARETO = (
    'Text: increase of the loss on plain text. Pareto "gain, loss": no other model gains as much for as little '
    'forgetting on text; "with cost": only if the number of parameters trained counts too.'
)
DAMAGE = (
    "By routing: before the first update, against the base. By training: from there on. A method that routes nothing "
    "starts as the base. Text has no direction, so it runs through the base's graph and routing cannot harm it. "
    "Untrained directions are read behind the fixed prompt, by the base too."
)


def forgetting(inputs: Inputs) -> Document:
    """Tables of gain and of damage, and the Pareto picture."""
    trained = inputs.directions or list(inputs.losses.loc[inputs.losses["kind"] == "dev", "direction"].unique())
    if not trained:
        raise UserError("forgetting: --loss has no rows of kind dev and --directions names no trained direction")
    if missing := sorted(set(inputs.languages) - set(inputs.losses.loc[inputs.losses["kind"] == "text", "direction"])):
        raise UserError(f"--loss: no loss of kind text in {listed(missing)}; measure all of --languages")
    other = inputs.scores[~inputs.scores["direction"].isin(trained)]
    if other.empty:
        raise UserError("--scores: no direction that is not trained; give score files of experiments.untrained")
    models = inputs.scores[~inputs.scores["method"].isin(TRAINING_FREE)]
    require(other, models, "--scores of untrained directions")
    by_language = damage(inputs.losses, "text", ("direction",))
    by_language = by_language[by_language["metric"] == "text total"]
    languages = by_language["direction"].unique()
    parts = [
        gains(inputs.scores, trained, "gain"),
        gains(other, [], "untrained"),
        *(damage(inputs.losses, kind) for kind in KINDS),
        by_language.assign(metric="text " + by_language["direction"]).drop(columns="direction"),
        costs(inputs),
    ]
    require(inputs.losses, inputs.scores, "--loss")
    data = summarise(pd.concat(parts, ignore_index=True).fillna({"test": ""}), inputs.draws)
    names = labels(data[data["metric"] == "gain bleu"])
    points = {test: pareto_points(data, names, test) for test in tests_of(data)}

    blocks: list[Table | str] = [inputs.title] if inputs.title else []
    blocks += [f"Plain text: {inputs.text}."] if inputs.text else []
    tuned = {run: label for run, label in names.items() if run[0] not in TRAINING_FREE}
    for test in points:
        columns = changes("untrained", {**METRICS, LOSS: "nats/char"})
        there = set(data.loc[data["test"] == test, "metric"])
        columns = [one for one in columns if one[0] in there]
        if columns:  # a test set may have no direction that is not trained
            caption = f"Directions that were not trained, {test} (points; nats per character)"
            blocks.append(table(caption, data, names, test, columns, PROMPTS))
    for test, rows in points.items():
        caption = f"Gain and forgetting, {test} (points; nats per character)"
        found = table(caption, data, names, test, changes("gain", METRICS), PROMPTS, PARETO)
        found.heads.extend(heads(["text", "parameters trained", "Pareto"]))
        for (_, cells), point in zip(found.rows, rows.itertuples(), strict=True):
            mark = "gain, loss" if point.best else "with cost" if point.best_of_three else ""
            loss = number(point.x, 3, point.spread_x, sign=True)
            cells.extend([loss, Cell(quantity(point.parameters)), Cell(mark)])
        blocks.append(found)
    columns = [(f"{kind} {part}", f"{what}: {by}", 4) for kind, what in KINDS.items() for part, by in PARTS.items()]
    blocks.append(table("Increase of the loss (nats per character)", data, tuned, "", columns, DAMAGE))
    columns = [(f"text {language}", language, 4) for language in languages]
    blocks.append(table("Increase of the loss on text, by language (nats per character)", data, tuned, "", columns))

    marks = pd.concat([rows.assign(test=test) for test, rows in points.items()])
    marks = marks[["method", "variant", "test", "best", "best_of_three"]]
    data = data.merge(marks, on=["method", "variant", "test"], how="left")
    data = data.rename(columns={"best": "pareto", "best_of_three": "pareto_with_cost"})
    title = "Forgetting: gain on the trained directions against damage to untrained directions and to plain text"
    return Document("forgetting", title, blocks, numbers(data), scatter(points, inputs.title))


# ---------------------------------------------------------------- numbers


def gains(scores: pd.DataFrame, directions: list[str], name: str) -> pd.DataFrame:
    """Mean score on some directions minus that of zero-shot, with its better prompt and with the fixed one.

    Returns:
        Samples of metric `<name> bleu`, `<name>_fixed bleu` and so on, and of the loss per character if it is known.
    """
    samples = pd.concat([score_samples(scores, directions), reference_losses(scores, directions)])
    means = samples[samples["direction"] == "mean"].drop(columns="direction")
    zero = means[means["method"] == "zero-shot"]
    fixed = zero[zero["variant"] == MAIN]
    if fixed.empty:
        raise UserError(f"--scores: {name}: no zero-shot/main to compare with; give its score files too")
    levels = zero.groupby(["variant", "test", "metric"], as_index=False)["value"].mean()
    groups = levels.groupby(["test", "metric"])["value"]
    best = groups.max().where(groups.max().index.get_level_values("metric") != LOSS, groups.min()).reset_index()
    parts = {name: minus(means, best, ["test", "metric"]), f"{name}_fixed": minus(means, fixed, ["test", "metric"])}
    return pd.concat([rows.assign(metric=f"{part} " + rows["metric"]) for part, rows in parts.items()])


def damage(losses: pd.DataFrame, kind: str, by: tuple[str, ...] = ()) -> pd.DataFrame:
    """Increase of the loss over the base's, nats per character: in all, by routing and by training.

    Returns:
        Samples of metric `<kind> total`, `<kind> routing` and `<kind> training`; the last two of models that have a
        state `start`.
    """
    end = loss_samples(losses, kind, "trained", "character", by)
    base = end[(end["method"] == "zero-shot") & (end["variant"] == MAIN)]
    if base.empty:
        raise UserError("--loss: no zero-shot/main, the base; give its file of losses too")
    parts = {"total": minus(end, base, by)}
    rows = losses[losses["kind"] == kind]
    started = rows[rows["state"] == "start"]
    if len(started):
        if gap := set(rows.loc[rows["state"] == "trained", "direction"]) - set(started["direction"]):
            where = listed(sorted(gap))
            raise UserError(f"--loss: state start has no loss of kind {kind} in {where}; measure it again")
        start = loss_samples(losses, kind, "start", "character", by)
        parts["routing"] = minus(start, base, by)
        both = end.merge(start.rename(columns={"value": "start"}), on=[*KEYS, *by], how="inner")
        parts["training"] = both.assign(value=both["value"] - both["start"]).drop(columns="start")
    return pd.concat([rows.assign(metric=f"{kind} {name}") for name, rows in parts.items()], ignore_index=True)


def costs(inputs: Inputs) -> pd.DataFrame:
    """Parameters trained, of every model: 0 for prompts; averages of weights (`values`) count as the model averaged.

    Raises:
        UserError: a trained model has no run.json.
    """
    runs = inputs.costs[inputs.costs["metric"] == "parameters_trained"]
    models = inputs.scores[KEYS].drop_duplicates()
    mixed = models["variant"].isin(inputs.values)
    require(runs, models[~mixed], "--runs")
    free = models[models["method"].isin(TRAINING_FREE)].assign(metric="parameters_trained", value=0.0)
    whole = runs[runs["variant"] == MAIN].drop(columns="variant")
    mixes = models[mixed].merge(whole, on=["method", "seed"], how="left")
    if mixes["value"].isna().any():
        raise UserError("--runs: an average of weights lacks the run.json of full/main at its seed; give it too")
    return pd.concat([free, runs.merge(models, on=KEYS), mixes], ignore_index=True)


def pareto_points(data: pd.DataFrame, names: Mapping[Run, str], test: str) -> pd.DataFrame:
    """Gain (y, BLEU) and forgetting (x, nats per character of text) of each model, the best marked."""
    found = by_key(data, "method", "variant", "test", "metric")
    rows = []
    for run, label in names.items():
        gain = found[(*run, test, "gain bleu")]
        x, spread_x = 0.0, float("nan")
        if run[0] not in TRAINING_FREE:
            x, spread_x = found[(*run, "", "text total")].mean, found[(*run, "", "text total")].spread
        size = found[(*run, "", "parameters_trained")].mean
        rows.append((*run, label, x, spread_x, gain.mean, gain.spread, size))
    columns = ["method", "variant", "label", "x", "spread_x", "y", "spread_y", "parameters"]
    points = pd.DataFrame(rows, columns=columns)
    points["best"] = pareto(points, ["x"], ["y"])
    points["best_of_three"] = pareto(points, ["x", "parameters"], ["y"])
    return points


# ---------------------------------------------------------------- tables and figure


def changes(name: str, metrics: Mapping[str, str]) -> list[tuple[str, str, int]]:
    """(metric, heading, digits) of what `gains` measures under a name."""
    return [
        (f"{name}{of} {metric}", f"{text} {against}", 1 if metric in METRICS else 3)
        for metric, text in metrics.items()
        for of, against in (("", "change"), ("_fixed", "over fixed prompt"))
    ]


def table(
    caption: str,
    data: pd.DataFrame,
    names: Mapping[Run, str],
    test: str,
    columns: list[tuple[str, str, int]],
    *notes: str,
) -> Table:
    """Models x some metrics of the samples. Args: columns: (metric, heading, digits)."""
    found = by_key(data, "method", "variant", "test", "metric")
    rows = []
    for run, label in names.items():
        cells = []
        for metric, _, digits in columns:
            row = found.get((*run, test, metric))
            cells.append(number(row.mean, digits, row.spread, sign=True) if row else Cell(MISSING))
        rows.append((label, cells))
    return Table(caption, "model", heads([heading for _, heading, _ in columns]), rows, notes=list(notes))


def scatter(panels: Mapping[str, pd.DataFrame], title: str) -> str:
    """Gain over increase of the loss on text, a panel for each test set; markers grow with the parameters trained."""
    most = max(1.0, *(rows["parameters"].max() for rows in panels.values()))
    x, heading = "increase of the loss on text (nats per character)", "Up and left is better; filled: Pareto-optimal"
    drawn = []
    for test, rows in panels.items():
        sizes = [f" {quantity(size)}" if size else "" for size in rows["parameters"]]
        rows = rows.assign(label=rows["label"] + sizes, size=5 + 5 * np.sqrt(rows["parameters"] / most))
        drawn.append(charts.Panel(rows, x, f"gain on {test} (BLEU)", f"{heading}; size: parameters trained"))
    return charts.scatter("forgetting", f"Gain against forgetting{', ' + title if title else ''}", drawn)
