"""From rows of files to the numbers of a table: one shape for scores, losses and costs.

A *sample* is a number of one model: method, variant, seed, some keys (test, metric, direction), value. `summarise`
makes samples means and spreads: over the seeds of a model, or over the draws of a control.
"""

import re
from collections.abc import Sequence

import pandas as pd

from lander.config.methods import TRAINING_FREE
from lander.evaluate.collect import MEANS
from lander.report.labels import direction_group, method_key, run_label, sort_directions
from lander.report.score_inputs import KEYS
from lander.shared.errors import UserError

METRICS = {"bleu": "BLEU", "chrf2++": "chrF2++"}
LOSS = "loss_per_character"
SIDES = dict(zip(MEANS, (None, "into English", "out of English"), strict=True))  # mean -> its directions
PAPER = ("en-de", "de-en", "en-it", "it-en", "en-fr", "fr-en", "en-ar", "ar-en", "en-zh", "zh-en")
DRAWS = "draws"  # the variant that stands for all draws of a control
SUMMARY = ["mean", "spread", "number", "over"]


# ---------------------------------------------------------------- samples


def score_samples(scores: pd.DataFrame, directions: Sequence[str] = ()) -> pd.DataFrame:
    """BLEU and chrF2++ of each direction and their means over directions.

    Args:
        directions: only these; all that there are where none is given.

    Returns:
        method, variant, seed, test, metric, direction (or one of `MEANS`), value.
    Raises:
        UserError: a model lacks a score that another model has.
    """
    rows = scores[scores["metric"].isin(METRICS)]
    rows = rows[rows["direction"].isin(directions)] if len(directions) else rows
    if lacking := [name for name in directions if name not in set(rows["direction"])]:
        raise UserError(f"--scores: no BLEU of {', '.join(lacking)}; give the score files of all directions")
    if rows.empty:
        raise UserError("--scores: no row of BLEU or chrF2++; give the score files of `lander.evaluate score`")
    complete(rows, ["test", "direction", "metric"], "--scores")
    rows = rows.rename(columns={"score": "value"})[[*KEYS, "test", "metric", "direction", "value"]]
    return pd.concat([rows, *(_mean(rows, name) for name in MEANS)], ignore_index=True)


def _mean(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    members = _members(rows, name)
    means = members.groupby([*KEYS, "test", "metric"], sort=False, as_index=False)["value"].mean()
    return means.assign(direction=name)


def _members(rows: pd.DataFrame, mean: str) -> pd.DataFrame:
    """Rows of the directions that a mean is over."""
    side = SIDES[mean]
    return rows if side is None else rows[rows["direction"].map(direction_group) == side]


def loss_samples(
    losses: pd.DataFrame, kind: str, state: str = "trained", unit: str = "token", by: Sequence[str] = ()
) -> pd.DataFrame:
    """Mean loss of each model: all nats of the rows by all their tokens or characters.

    Args:
        kind: dev, test, untrained or text.
        state: start or trained.
        unit: token or character.
        by: further columns that are kept apart.

    Returns:
        method, variant, seed, the columns `by`, value (nats per token or character).
    Raises:
        UserError: no such loss, or a model lacks a part that another has.
    """
    rows = losses[(losses["kind"] == kind) & (losses["state"] == state)]
    if rows.empty:
        raise UserError(f"--loss: no loss of kind {kind} in state {state}; give the files of losses of all models")
    complete(rows, ["kind", "state", "name", "direction"], "--loss")
    weight, loss = {"token": ("tokens", "loss"), "character": ("characters", "loss_per_character")}[unit]
    rows = rows.assign(nats=rows[loss] * rows[weight])
    sums = rows.groupby([*KEYS, *by], sort=False, as_index=False)[["nats", weight]].sum()
    return sums.assign(value=sums["nats"] / sums[weight]).drop(columns=["nats", weight])


def reference_losses(scores: pd.DataFrame, directions: Sequence[str] = ()) -> pd.DataFrame:
    """Loss per character of the references, in each direction and in the mean over directions, as `score_samples`.

    A model that has diverged has none in some direction, and no mean over it.
    """
    rows = scores[scores["metric"] == LOSS]
    rows = rows[rows["direction"].isin(directions)] if len(directions) else rows
    parts = [rows.rename(columns={"score": "value"})[[*KEYS, "test", "direction", "value"]]]
    for test, part in rows.groupby("test", sort=False):
        table = part.pivot(index=KEYS, columns="direction", values="score")
        for mean in MEANS:
            if members := [name for name in table if SIDES[mean] in (None, direction_group(name))]:
                values = table[members].mean(axis=1, skipna=False).dropna()
                parts.append(values.rename("value").reset_index().assign(test=test, direction=mean))
    return pd.concat(parts, ignore_index=True).assign(metric=LOSS)


def complete(rows: pd.DataFrame, cells: list[str], flag: str) -> None:
    """Every model must have what any model has.

    Raises:
        UserError: names the first model with a gap, and the gap.
    """
    wanted = list(dict.fromkeys(rows[cells].itertuples(index=False, name=None)))
    for model, part in rows.groupby(KEYS, sort=False):
        there = set(part[cells].itertuples(index=False, name=None))
        if missing := [" ".join(cell) for cell in wanted if cell not in there]:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise UserError(
                f"{flag}: {model_name(*model)} has no {', '.join(missing[:3])}{more}, which other models have; "
                "give the files of all models and directions"
            )


def require(there: pd.DataFrame, wanted: pd.DataFrame, flag: str) -> None:
    """Every trained model of `wanted` must be in `there`.

    Raises:
        UserError: names the models that are not.
    """
    have = set(there[KEYS].itertuples(index=False, name=None))
    models = dict.fromkeys(wanted[KEYS].itertuples(index=False, name=None))
    if missing := [model_name(*model) for model in models if model not in have and model[0] not in TRAINING_FREE]:
        raise UserError(f"{flag}: nothing for {', '.join(missing)}; give the files of all models")


def model_name(method: str, variant: str, seed: str) -> str:
    """Folder of a model below a stage's."""
    return f"{method}/{variant}/s{seed}"


def minus(samples: pd.DataFrame, base: pd.DataFrame, on: Sequence[str] = ()) -> pd.DataFrame:
    """Samples minus the mean over samples of `base`, which has seeds of its own.

    Args:
        on: columns in which both must agree; samples of what `base` lacks are left out.
    """
    if not on:
        return samples.assign(value=samples["value"] - base["value"].mean())
    level = base.groupby(list(on), as_index=False)["value"].mean().rename(columns={"value": "base"})
    both = samples.merge(level, on=list(on), how="inner", validate="many_to_one")
    return both.assign(value=both["value"] - both["base"]).drop(columns="base")


def against(samples: pd.DataFrame, variant: str, flag: str) -> pd.DataFrame:
    """Samples minus those of a variant of the same method, seed by seed.

    Raises:
        UserError: a method lacks the variant at a seed that the others share with it nowhere.
    """
    on = [name for name in samples if name not in ("variant", "value")]
    level = samples[samples["variant"] == variant].drop(columns="variant").rename(columns={"value": "base"})
    both = samples.merge(level, on=on, how="inner", validate="many_to_one")
    models = samples[["method", "variant"]].drop_duplicates()
    found = set(both[["method", "variant"]].itertuples(index=False, name=None))
    for method, other in models.itertuples(index=False, name=None):
        if (method, other) not in found:
            raise UserError(f"{flag}: {method}/{other} shares no seed with {method}/{variant}; give both")
    return both.assign(value=both["value"] - both["base"]).drop(columns="base")


# ---------------------------------------------------------------- means and spreads


def summarise(samples: pd.DataFrame) -> pd.DataFrame:
    """Means and standard deviations over seeds, or over draws.

    Returns:
        method, variant, the keys of the samples, mean, spread (NaN for one sample), number, over (`seeds` or `draws`).
    """
    merged = merge_draws(samples)
    keys = [name for name in merged if name not in ("seed", "value")]
    groups = merged.groupby(keys, sort=False, dropna=False)["value"]
    found = groups.agg(mean=lambda values: values.mean(skipna=False), spread="std", number="size").reset_index()
    return found.assign(over=["draws" if variant == DRAWS else "seeds" for variant in found["variant"]])


def merge_draws(samples: pd.DataFrame) -> pd.DataFrame:
    """The draws of a control as one variant: a sample for each draw, its mean over the seeds that all draws have.

    Raises:
        UserError: the draws of a control share no seed.
    """
    parts = []
    for method, rows in samples.groupby("method", sort=False):
        draws = [name for name in rows["variant"].unique() if re.fullmatch(r"main|draw\d+", name)]
        if draws in ([], ["main"]):
            parts.append(rows)
            continue
        common = set.intersection(*(set(rows.loc[rows["variant"] == name, "seed"]) for name in draws))
        if not common:
            raise UserError(f"{method}: its draws {', '.join(draws)} share no seed; give them all at one seed at least")
        parts.append(rows[~rows["variant"].isin(draws)])
        mine = rows[rows["variant"].isin(draws) & rows["seed"].isin(common)]
        keys = [name for name in rows if name not in ("seed", "value")]
        means = mine.groupby(keys, sort=False, as_index=False, dropna=False)["value"].mean()
        parts.append(means.assign(seed=means["variant"], variant=DRAWS))
    return pd.concat(parts, ignore_index=True)[list(samples.columns)] if parts else samples


def label(method: str, variant: str, number: int) -> str:
    """What a row is called: `random (3 draws)`, else as in the report."""
    return f"{method} ({number} draws)" if variant == DRAWS else run_label((method, variant))


def labels(summary: pd.DataFrame) -> dict[tuple[str, str], str]:
    """(method, variant) -> its label, in the order of the rows of a table."""
    numbers = summary.groupby(["method", "variant"], sort=False)["number"].max()
    return {run: label(*run, numbers[run]) for run in sorted(numbers.index, key=_place)}


def _place(run: tuple[str, str]) -> tuple:
    return method_key((run[0], "main") if run[1] == DRAWS else run)


def sort_columns(names: Sequence[str], given: Sequence[str] = ()) -> list[str]:
    """Directions: those of the paper's table 1 in its order, then as given, then by name."""
    order = [*PAPER, *(name for name in given if name not in PAPER)]
    plain = set(names) - set(MEANS)
    return [name for name in order if name in plain] + sort_directions(plain - set(order))
