"""Gain against forgetting against cost: what a training gives, and what it takes from the base.

Forgetting is the increase of the loss, in nats per character, on directions that were not trained and on plain text.
It has two parts: that of routing (state `start` minus the base: scaled neurons, and neurons that take no part) and that
of training (state `trained` minus `start`). A method without routing starts as the base.

Scores are compared with both prompts of the base. Behind the fixed instruction a base may fail for want of knowing it,
and whoever learns its form in any direction seems to gain in all.
"""

import numpy as np
import pandas as pd

from lander.config.methods import TRAINING_FREE
from lander.experiments import forgetting_tables as tables
from lander.experiments.forgetting_tables import KINDS
from lander.report.document import Document, listed, numbers
from lander.report.labels import sort_tests
from lander.report.samples import (
    LOSS,
    labels,
    loss_samples,
    minus,
    reference_losses,
    require,
    score_samples,
    summarise,
)
from lander.report.score_inputs import KEYS, Inputs
from lander.report.tables import Table
from lander.shared.errors import UserError

BASE = ("zero-shot", "main")


def forgetting(inputs: Inputs) -> Document:
    """Tables of gain and of damage, and the Pareto picture."""
    trained = inputs.directions or trained_directions(inputs.losses)
    samples = pd.concat(
        [
            gains(inputs.scores, trained, "gain"),
            untrained_changes(inputs.scores, trained),
            *(damage(inputs.losses, kind) for kind in KINDS),
            text_by_language(inputs.losses, inputs.languages),
            costs(inputs),
        ],
        ignore_index=True,
    ).fillna({"test": ""})
    require(inputs.losses, inputs.scores, "--loss")
    data = summarise(samples)
    data = data.assign(metric=data["metric"].astype(str))
    names = labels(data[data["metric"] == "gain bleu"])
    found = {key: (mean, spread) for *key, mean, spread in _rows(data) for key in [tuple(key)]}
    tests = sort_tests([test for test in data["test"] if test], [])
    points = {test: pareto_points(found, names, test) for test in tests}
    blocks: list[Table | str] = [inputs.title] if inputs.title else []
    blocks += [f"Plain text: {inputs.text}."] if inputs.text else []
    blocks += [block for test in tests for block in tables.untrained(found, names, test)]
    blocks += [tables.gain_table(found, names, test, points[test]) for test in tests]
    blocks += [tables.damage_table(found, names), tables.language_table(data, found, names)]
    first = "Forgetting: gain on the trained directions against damage to untrained directions and to plain text"
    flags = [rows.assign(test=test) for test, rows in points.items()]
    marks = pd.concat(flags)[["method", "variant", "test", "best", "best_of_three"]]
    data = data.merge(marks, on=["method", "variant", "test"], how="left")
    data = data.rename(columns={"best": "pareto", "best_of_three": "pareto_with_cost"})
    return Document("forgetting", first, blocks, numbers(data), tables.picture(points, inputs.title))


def _rows(data: pd.DataFrame):
    return data[["method", "variant", "test", "metric", "mean", "spread"]].itertuples(index=False, name=None)


def trained_directions(losses: pd.DataFrame) -> list[str]:
    """The directions of the dev loss: all that are trained.

    Raises:
        UserError: there is no dev loss.
    """
    found = losses.loc[losses["kind"] == "dev", "direction"].unique()
    if not len(found):
        raise UserError("forgetting: --loss has no rows of kind dev and --directions names no trained direction")
    return list(found)


# ---------------------------------------------------------------- numbers


def gains(scores: pd.DataFrame, directions: list[str], name: str) -> pd.DataFrame:
    """Mean score on some directions minus that of zero-shot, with its better prompt and with the fixed one.

    Returns:
        Samples of metric `<name> bleu`, `<name>_fixed bleu` and so on, and of the loss per character where it is known.
    """
    samples = pd.concat([score_samples(scores, directions), reference_losses(scores, directions)])
    means = samples[samples["direction"] == "mean"].drop(columns="direction")
    zero = means[means["method"] == "zero-shot"]
    fixed = zero[zero["variant"] == "main"]
    if fixed.empty:
        raise UserError(f"--scores: {name}: no zero-shot/main to compare with; give its score files too")
    levels = zero.groupby(["variant", "test", "metric"], as_index=False)["value"].mean()
    groups = levels.groupby(["test", "metric"])["value"]
    best = groups.max().where(groups.max().index.get_level_values("metric") != LOSS, groups.min()).reset_index()
    parts = {name: minus(means, best, ["test", "metric"]), f"{name}_fixed": minus(means, fixed, ["test", "metric"])}
    return pd.concat([rows.assign(metric=f"{part} " + rows["metric"]) for part, rows in parts.items()])


def untrained_changes(scores: pd.DataFrame, trained: list[str]) -> pd.DataFrame:
    """`gains` on the other directions, by the name `untrained`.

    Raises:
        UserError: there is no other direction.
    """
    rows = scores[~scores["direction"].isin(trained)]
    if rows.empty:
        raise UserError("--scores: no direction that is not trained; give score files of experiments.untrained")
    models = scores[~scores["method"].isin(TRAINING_FREE)]
    require(rows, models, "--scores of untrained directions")
    return gains(rows, [], "untrained")


def damage(losses: pd.DataFrame, kind: str, by: tuple[str, ...] = ()) -> pd.DataFrame:
    """Increase of the loss over the base's, nats per character: in all, by routing and by training.

    Returns:
        Samples of metric `<kind> total`, `<kind> routing` and `<kind> training`; the last two where a model has a state
        `start`.
    """
    end = loss_samples(losses, kind, "trained", "character", by)
    base = end[(end["method"] == BASE[0]) & (end["variant"] == BASE[1])]
    if base.empty:
        raise UserError("--loss: no zero-shot/main, the base; give its file of losses too")
    parts = {"total": minus(end, base, by)}
    started = losses[(losses["kind"] == kind) & (losses["state"] == "start")]
    if len(started):
        whole = losses[(losses["kind"] == kind) & (losses["state"] == "trained")]
        if gap := set(whole["direction"]) - set(started["direction"]):
            raise UserError(
                f"--loss: state start has no loss of kind {kind} in {listed(sorted(gap))}; measure it again"
            )
        start = loss_samples(losses, kind, "start", "character", by)
        parts["routing"] = minus(start, base, by)
        both = end.merge(start.rename(columns={"value": "start"}), on=[*KEYS, *by], how="inner")
        parts["training"] = both.assign(value=both["value"] - both["start"]).drop(columns="start")
    return pd.concat([rows.assign(metric=f"{kind} {name}") for name, rows in parts.items()], ignore_index=True)


def text_by_language(losses: pd.DataFrame, languages: list[str]) -> pd.DataFrame:
    """Increase of the loss on each language's text: samples of metric `text <language>`.

    Raises:
        UserError: a language has no text.
    """
    there = set(losses.loc[losses["kind"] == "text", "direction"])
    if missing := [name for name in languages if name not in there]:
        raise UserError(f"--loss: no loss of kind text in {listed(missing)}; measure all of --languages")
    found = damage(losses, "text", ("direction",))
    found = found[found["metric"] == "text total"]
    return found.assign(metric="text " + found["direction"]).drop(columns="direction")


def costs(inputs: Inputs) -> pd.DataFrame:
    """Parameters trained, of every model: none for prompts, as `full` for averages of its weights.

    Raises:
        UserError: a trained model has no run.json.
    """
    runs = inputs.costs[inputs.costs["metric"] == "parameters_trained"]
    models = inputs.scores[KEYS].drop_duplicates()
    mixed = models["variant"].str.startswith("mix")
    require(runs, models[~mixed], "--runs")
    trained = runs.merge(models, on=KEYS)
    free = models[models["method"].isin(TRAINING_FREE)].assign(metric="parameters_trained", value=0.0)
    whole = runs[runs["variant"] == "main"].drop(columns="variant")
    mixes = models[mixed].merge(whole, on=["method", "seed"], how="left")
    if mixes["value"].isna().any():
        raise UserError("--runs: an average of weights lacks the run.json of full/main at its seed; give it too")
    return pd.concat([free, trained, mixes], ignore_index=True)


def pareto(points: pd.DataFrame, lower: list[str], higher: list[str]) -> list[bool]:
    """Which points no other point beats: as good in all columns and better in one.

    Args:
        lower: columns in which less is better.
        higher: columns in which more is better.
    """
    values = np.column_stack([points[lower].to_numpy(float), -points[higher].to_numpy(float)])
    return [not any((other <= one).all() and (other < one).any() for other in values) for one in values]


def pareto_points(found: dict, names: dict, test: str) -> pd.DataFrame:
    """Gain (y, BLEU) and forgetting (x, nats per character of text) of each model, the best marked."""
    rows = []
    for run, label in names.items():
        y, spread_y = found[(*run, test, "gain bleu")]
        x, spread_x = (0.0, float("nan")) if run[0] in TRAINING_FREE else found[(*run, "", "text total")]
        rows.append((*run, label, x, spread_x, y, spread_y, found[(*run, "", "parameters_trained")][0]))
    columns = ["method", "variant", "label", "x", "spread_x", "y", "spread_y", "parameters"]
    points = pd.DataFrame(rows, columns=columns)
    points["best"] = pareto(points, ["x"], ["y"])
    points["best_of_three"] = pareto(points, ["x", "parameters"], ["y"])
    return points
