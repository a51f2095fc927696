"""Gain against forgetting against cost: what a training gives, and what it takes from the base.

Forgetting is the increase of the loss, in nats per character, on directions that were not trained and on plain text.
It has two parts: that of routing (state `start` minus the base: scaled neurons, and neurons that take no part) and that
of training (state `trained` minus `start`). A method without routing starts as the base.

Scores are compared with both prompts of the base. The base may fail only because the fixed instruction is unfamiliar.
Training in any direction teaches it, so all directions seem to improve.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lander.config.methods import TRAINING_FREE
from lander.experiments import samples
from lander.experiments.samples import KEYS, LOSS, MAIN, METRICS, Inputs, Run
from lander.report import charts
from lander.report.charts import pareto
from lander.report.document import Document, listed, number, numbers
from lander.report.tables import MISSING, Cell, Table, quantity
from lander.shared.errors import UserError

Column = tuple[str, str, int]  # metric, heading, digits
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
    samples.require(other, inputs.scores, "--scores of untrained directions")
    by_language = damage(inputs.losses, "text", ["direction"]).query("metric == 'text total'")
    parts = [
        gains(inputs.scores, trained, "gain"),
        gains(other, [], "untrained"),
        *(damage(inputs.losses, kind) for kind in KINDS),
        by_language.assign(metric="text " + by_language["direction"]).drop(columns="direction"),
        costs(inputs),
    ]
    samples.require(inputs.losses, inputs.scores, "--loss")
    data = samples.summarise(pd.concat(parts, ignore_index=True).fillna({"test": ""}), inputs.draws)
    names = samples.labels(data[data["metric"] == "gain bleu"])
    points = {test: pareto_points(data, names, test) for test in samples.tests_of(data)}
    blocks = [inputs.title, f"Plain text: {inputs.text}." if inputs.text else ""]
    blocks += tables(data, names, points, by_language["direction"].unique())
    marks = pd.concat([rows.assign(test=test) for test, rows in points.items()])
    marks = marks[["method", "variant", "test", "best", "best_of_three"]]
    data = data.merge(marks, on=["method", "variant", "test"], how="left")
    data = data.rename(columns={"best": "pareto", "best_of_three": "pareto_with_cost"})
    most = max(1.0, *(rows["parameters"].max() for rows in points.values()))
    x = "increase of the loss on text (nats per character)"
    heading = "Up and left is better; filled: Pareto-optimal; size: parameters trained"
    panels = []
    for test, rows in points.items():
        sizes = [f" {quantity(size)}" if size else "" for size in rows["parameters"]]
        rows = rows.assign(label=rows["label"] + sizes, size=5 + 5 * np.sqrt(rows["parameters"] / most))
        panels.append(charts.Panel(rows, x, f"gain on {test} (BLEU)", heading))
    heading = f"Gain against forgetting{', ' + inputs.title if inputs.title else ''}"
    drawn = charts.scatter("forgetting", heading, panels)
    title = "Forgetting: gain on the trained directions against damage to untrained directions and to plain text"
    return Document("forgetting", title, blocks, numbers(data), drawn)


def gains(scores: pd.DataFrame, directions: list[str], name: str) -> pd.DataFrame:
    """Mean score (and loss, if known) on some directions minus that of zero-shot with its better, or fixed, prompt.

    The metrics are `<name> bleu`, `<name>_fixed bleu` and so on.
    """
    found = pd.concat([samples.score_samples(scores, directions), samples.reference_losses(scores, directions)])
    means = found[found["direction"] == "mean"].drop(columns="direction")
    zero = means[means["method"] == "zero-shot"]
    fixed = zero[zero["variant"] == MAIN]
    if fixed.empty:
        raise UserError(f"--scores: {name}: no zero-shot/main to compare with; give its score files too")
    levels = zero.groupby(["variant", "test", "metric"], as_index=False)["value"].mean()
    groups = levels.groupby(["test", "metric"])["value"]
    best = groups.max().where(groups.max().index.get_level_values("metric") != LOSS, groups.min()).reset_index()
    parts = {
        name: samples.minus(means, best, ["test", "metric"]),
        f"{name}_fixed": samples.minus(means, fixed, ["test", "metric"]),
    }
    return pd.concat([rows.assign(metric=f"{part} " + rows["metric"]) for part, rows in parts.items()])


def damage(losses: pd.DataFrame, kind: str, by: Sequence[str] = ()) -> pd.DataFrame:
    """Increase of the loss over the base's, nats per character.

    The metrics are `<kind> total` and, for models with a state `start`, `<kind> routing` and `<kind> training`.
    """
    end = samples.loss_samples(losses, kind, "trained", "character", by)
    base = end[(end["method"] == "zero-shot") & (end["variant"] == MAIN)]
    if base.empty:
        raise UserError("--loss: no zero-shot/main, the base; give its file of losses too")
    parts = {"total": samples.minus(end, base, by)}
    rows = losses[losses["kind"] == kind]
    started = rows[rows["state"] == "start"]
    if len(started):
        if gap := set(rows.loc[rows["state"] == "trained", "direction"]) - set(started["direction"]):
            where = listed(sorted(gap))
            raise UserError(f"--loss: state start has no loss of kind {kind} in {where}; measure it again")
        start = samples.loss_samples(losses, kind, "start", "character", by)
        parts["routing"] = samples.minus(start, base, by)
        parts["training"] = samples.minus(end, start, [*KEYS, *by])
    return pd.concat([rows.assign(metric=f"{kind} {name}") for name, rows in parts.items()], ignore_index=True)


def costs(inputs: Inputs) -> pd.DataFrame:
    """Parameters trained, of every model: 0 for prompts; averages of weights (`values`) count as the model averaged."""
    runs = inputs.costs[inputs.costs["metric"] == "parameters_trained"]
    models = inputs.scores[KEYS].drop_duplicates()
    mixed = models["variant"].isin(inputs.values)
    samples.require(runs, models[~mixed], "--runs")
    free = models[models["method"].isin(TRAINING_FREE)].assign(metric="parameters_trained", value=0.0)
    whole = runs[runs["variant"] == MAIN].drop(columns="variant")
    mixes = models[mixed].merge(whole, on=["method", "seed"], how="left")
    if mixes["value"].isna().any():
        raise UserError("--runs: an average of weights lacks the run.json of full/main at its seed; give it too")
    return pd.concat([free, runs.merge(models, on=KEYS), mixes], ignore_index=True)


def pareto_points(data: pd.DataFrame, names: Mapping[Run, str], test: str) -> pd.DataFrame:
    """Gain (y, BLEU) and forgetting (x, nats per character of text) of each model, the best marked."""
    found = samples.by_key(data, "method", "variant", "test", "metric")
    rows = []
    for run, label in names.items():
        gain, text = found[(*run, test, "gain bleu")], found.get((*run, "", "text total"))
        loss = (0.0, np.nan) if run[0] in TRAINING_FREE else (text.mean, text.spread)
        rows.append((*run, label, *loss, gain.mean, gain.spread, found[(*run, "", "parameters_trained")].mean))
    columns = ["method", "variant", "label", "x", "spread_x", "y", "spread_y", "parameters"]
    points = pd.DataFrame(rows, columns=columns)
    points["best"] = pareto(points, ["x"], ["y"])
    points["best_of_three"] = pareto(points, ["x", "parameters"], ["y"])
    return points


def tables(
    data: pd.DataFrame, names: Mapping[Run, str], points: Mapping[str, pd.DataFrame], languages: Sequence[str]
) -> list[Table]:
    """Damage to other directions, gain against forgetting, and increase of the loss. `points`: of each test set."""
    found = samples.by_key(data, "method", "variant", "test", "metric")

    def cells(run: Run, test: str, columns: Sequence[Column]) -> list[Cell | str]:
        rows = [(found.get((*run, test, metric)), digits) for metric, _, digits in columns]
        return [number(row.mean, digits, row.spread, sign=True) if row else MISSING for row, digits in rows]

    def table(caption: str, test: str, columns: Sequence[Column], runs: Mapping[Run, str], *notes: str) -> Table:
        rows = [(label, cells(run, test, columns)) for run, label in runs.items()]
        return Table.of(caption, "model", [heading for _, heading, _ in columns], rows, notes=list(notes))

    def changes(name: str, metrics: Mapping[str, str]) -> list[Column]:
        return [
            (f"{name}{of} {metric}", f"{text} {against}", 1 if metric in METRICS else 3)
            for metric, text in metrics.items()
            for of, against in (("", "change"), ("_fixed", "over fixed prompt"))
        ]

    made = []
    for test in points:
        columns = changes("untrained", {**METRICS, LOSS: "nats/char"})
        there = [one for one in columns if one[0] in set(data.loc[data["test"] == test, "metric"])]
        if there:  # a test set may have no direction that is not trained
            caption = f"Directions that were not trained, {test} (points; nats per character)"
            made.append(table(caption, test, there, names, PROMPTS))
    for test, rows in points.items():
        columns, shown = changes("gain", METRICS), []
        for point in rows.itertuples():
            run, mark = (point.method, point.variant), "with cost" if point.best_of_three else ""
            more = [number(point.x, 3, point.spread_x, sign=True), quantity(point.parameters)]
            shown.append((names[run], [*cells(run, test, columns), *more, "gain, loss" if point.best else mark]))
        titles = [*(heading for _, heading, _ in columns), "text", "parameters trained", "Pareto"]
        caption = f"Gain and forgetting, {test} (points; nats per character)"
        made.append(Table.of(caption, "model", titles, shown, notes=[PROMPTS, PARETO]))
    tuned = {run: label for run, label in names.items() if run[0] not in TRAINING_FREE}
    columns = [(f"{kind} {part}", f"{what}: {by}", 4) for kind, what in KINDS.items() for part, by in PARTS.items()]
    made.append(table("Increase of the loss (nats per character)", "", columns, tuned, DAMAGE))
    columns = [(f"text {language}", language, 4) for language in languages]
    made.append(table("Increase of the loss on text, by language (nats per character)", "", columns, tuned))
    return made
