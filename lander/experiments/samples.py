"""From the files of a run to the numbers of a table: one shape for scores, losses and costs.

A *sample* is one number of one model: method, variant, seed, some keys (test, metric, direction), value. `summarise`
turns samples into means and spreads: over the seeds of a model, or over the draws of a control.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lander.config.methods import TRAINING_FREE
from lander.evaluate.collect import MEANS, belongs
from lander.report.inputs import parse_assignments, read_object, read_scores_table
from lander.report.labels import method_key, run_label, sort_directions
from lander.report.paper import PAPER
from lander.report.tables import first
from lander.shared.csvfile import read_csv
from lander.shared.errors import UserError
from lander.shared.runs import Model

MAIN = "main"  # the variant that has the config's own values
DRAWS = "draws"  # stands for all draws of a control
METRICS = {"bleu": "BLEU", "chrf2++": "chrF2++"}
LOSS = "loss_per_character"
KEYS = ["method", "variant", "seed"]  # of a model; seeds are text
SUMMARY = ["mean", "spread", "number", "over"]
LOSS_COLUMNS = [*KEYS, "state", "kind", "name", "direction", "loss", "tokens", "characters", LOSS]
COSTS = (
    "parameters_trained", "parameters_total", "tokens", "seconds", "flops", "peak_memory_bytes", "updates",
    "learning_rate", "damage_at_start",
)  # fmt: skip
Run = tuple[str, str]  # method and variant


@dataclass(frozen=True)
class Inputs:
    """What an experiment is made of."""

    scores: pd.DataFrame  # method, variant, seed, test, direction, metric, score (float), signature
    segments: list[Path]  # segment scores beside the files of scores
    losses: pd.DataFrame  # `LOSS_COLUMNS`
    costs: pd.DataFrame  # method, variant, seed, metric, value
    directions: list[str]  # the trained ones, in order; empty: all of the scores
    languages: list[str]  # whose plain text must be measured
    title: str
    text: str  # what the plain text of the losses is
    values: dict[str, str]  # variant -> its value of what the experiment varies
    draws: list[str]  # variants that are further draws of a control


# ---------------------------------------------------------------- files


def read_all_scores(paths: Sequence[str | Path], items: Sequence[str] = ()) -> tuple[pd.DataFrame, list[Path]]:
    """Scores of all files, without means over directions, and the segment scores beside them (none if a file lacks).

    `paths` are files, or folders of models (`evaluate/<method>/<variant>/s<seed>`), in which those of `items`
    (<test>/<direction>) that are there are read; all without `items`.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        found = [path / f"{item}.csv" for item in items] if items else sorted(path.glob("*/*.csv"))
        found = [file for file in found if file.is_file() and not file.name.endswith(".flags.csv")]
        if path.is_dir() and not found:
            raise UserError(f"{path}: no <test>/<direction>.csv in it; `python -m lander.evaluate score` makes them")
        files += found if path.is_dir() else [path]
    none = pd.DataFrame(columns=[*KEYS, "test", "direction", "metric", "score", "signature"])
    scores = pd.concat(map(read_scores_table, files), ignore_index=True) if files else none
    scores = scores[~scores["direction"].isin(MEANS)].reset_index(drop=True)
    _once(scores, [*KEYS, "test", "direction", "metric"], "--scores")
    segments = [file.with_suffix(".segments.parquet") for file in files]
    return scores, segments if all(file.is_file() for file in segments) else []


def read_losses(files: Sequence[str | Path]) -> pd.DataFrame:
    """`LOSS_COLUMNS` of all files, in nats per predicted token. A training that has diverged has infinite losses."""
    parts = [pd.DataFrame(columns=LOSS_COLUMNS)] if not files else []
    for path in files:
        table = read_csv(path, LOSS_COLUMNS, LOSS_COLUMNS[7:], absent="`python -m lander.translate.loss` makes it")
        parts.append(table[LOSS_COLUMNS].fillna({"loss": float("inf"), LOSS: float("inf")}))
    losses = pd.concat(parts, ignore_index=True)
    _once(losses, [*KEYS, "state", "kind", "name", "direction"], "--loss")
    return losses


def read_costs(assignments: Sequence[str]) -> pd.DataFrame:
    """Costs of trainings, from METHOD/VARIANT/sSEED=run.json: one row for each number of `COSTS` that is there."""
    rows = []
    for model, path in parse_assignments(assignments, "--runs").items():
        content = read_object(path)
        if "parameters_trained" not in content:
            raise UserError(f"{path}: no parameters_trained; remove it and run snakemake again")
        settings = content.get("settings")
        known = content | {"learning_rate": settings.get("learning_rate") if isinstance(settings, dict) else None}
        key = (model.method, model.variant, str(model.seed))
        rows += [(*key, name, float(known[name])) for name in COSTS if isinstance(known.get(name), int | float)]
    return pd.DataFrame(rows, columns=[*KEYS, "metric", "value"])


def _once(rows: pd.DataFrame, key: list[str], flag: str) -> None:
    double = rows[rows.duplicated(key)]
    if len(double):
        raise UserError(f"{flag}: {' '.join(map(str, double.iloc[0][key]))} is there twice; give each file once")


# ---------------------------------------------------------------- samples


def score_samples(scores: pd.DataFrame, directions: Sequence[str]) -> pd.DataFrame:
    """BLEU and chrF2++ of each direction (only of `directions`, if there are any) and their means over directions.

    Columns: method, variant, seed, test, metric, direction (or one of `MEANS`), value.
    """
    rows = scores[scores["metric"].isin(METRICS)]
    rows = rows[rows["direction"].isin(directions)] if len(directions) else rows
    if lacking := [name for name in directions if name not in set(rows["direction"])]:
        raise UserError(f"--scores: no BLEU of {', '.join(lacking)}; give the score files of all directions")
    if rows.empty:
        raise UserError("--scores: no row of BLEU or chrF2++; give the score files of `lander.evaluate score`")
    complete(rows, ["test", "direction", "metric"], "--scores")
    rows = rows.rename(columns={"score": "value"})[[*KEYS, "test", "metric", "direction", "value"]]
    parts = [rows]
    for mean in MEANS:
        members = rows[[belongs(name, mean) for name in rows["direction"]]]
        means = members.groupby([*KEYS, "test", "metric"], sort=False, as_index=False)["value"].mean()
        parts.append(means.assign(direction=mean))
    return pd.concat(parts, ignore_index=True)


def reference_losses(scores: pd.DataFrame, directions: Sequence[str]) -> pd.DataFrame:
    """Loss per character of the references, in each direction and in the mean over directions, as `score_samples`.

    A model that has diverged in a direction has no loss there, and no mean over it.
    """
    rows = scores[scores["metric"] == LOSS]
    rows = rows[rows["direction"].isin(directions)] if len(directions) else rows
    parts = [rows.rename(columns={"score": "value"})[[*KEYS, "test", "direction", "value"]]]
    for test, part in rows.groupby("test", sort=False):
        table = part.pivot(index=KEYS, columns="direction", values="score")
        for mean in MEANS:
            if members := [name for name in table if belongs(name, mean)]:
                values = table[members].mean(axis=1, skipna=False).dropna()
                parts.append(values.rename("value").reset_index().assign(test=test, direction=mean))
    return pd.concat(parts, ignore_index=True).assign(metric=LOSS)


def loss_samples(
    losses: pd.DataFrame, kind: str, state: str = "trained", unit: str = "token", by: Sequence[str] = ()
) -> pd.DataFrame:
    """Mean loss of each model and value of the columns `by`: all nats divided by all tokens or characters (`unit`)."""
    rows = losses[(losses["kind"] == kind) & (losses["state"] == state)]
    if rows.empty:
        raise UserError(f"--loss: no loss of kind {kind} in state {state}; give the files of losses of all models")
    complete(rows, ["kind", "state", "name", "direction"], "--loss")
    weight, loss = {"token": ("tokens", "loss"), "character": ("characters", LOSS)}[unit]
    rows = rows.assign(nats=rows[loss] * rows[weight])
    sums = rows.groupby([*KEYS, *by], sort=False, as_index=False)[["nats", weight]].sum()
    return sums.assign(value=sums["nats"] / sums[weight]).drop(columns=["nats", weight])


def complete(rows: pd.DataFrame, cells: list[str], flag: str) -> None:
    """Check that every model has what any model has; UserError with the first gap."""
    wanted = list(dict.fromkeys(rows[cells].itertuples(index=False, name=None)))
    for model, part in rows.groupby(KEYS, sort=False):
        there = set(part[cells].itertuples(index=False, name=None))
        if missing := [" ".join(cell) for cell in wanted if cell not in there]:
            which = f"{flag}: {Model(*model)} has no {first(missing)}, which other models have"
            raise UserError(f"{which}; give the files of all models and directions")


def require(there: pd.DataFrame, wanted: pd.DataFrame, flag: str) -> None:
    """Check that every trained model of `wanted` is in `there`."""
    have, models = (dict.fromkeys(rows[KEYS].itertuples(index=False, name=None)) for rows in (there, wanted))
    if missing := [str(Model(*one)) for one in models if one not in have and one[0] not in TRAINING_FREE]:
        raise UserError(f"{flag}: nothing for {', '.join(missing)}; give the files of all models")


def minus(samples: pd.DataFrame, base: pd.DataFrame, on: Sequence[str]) -> pd.DataFrame:
    """Samples minus the mean over all seeds of those of `base` that agree in the columns `on`; others are left out."""
    if not on:
        return samples.assign(value=samples["value"] - base["value"].mean())
    level = base.groupby(list(on), as_index=False)["value"].mean().rename(columns={"value": "base"})
    both = samples.merge(level, on=list(on), how="inner", validate="many_to_one")
    return both.assign(value=both["value"] - both["base"]).drop(columns="base")


# ---------------------------------------------------------------- means and spreads


def summarise(samples: pd.DataFrame, draws: Sequence[str] = ()) -> pd.DataFrame:
    """Means and standard deviations over seeds, or over draws: the keys of the samples and `SUMMARY`.

    A control of which variants in `draws` are there becomes one variant `DRAWS`. Its samples are its draws (`main` is
    the first): of each the mean over the seeds that all draws have. The spread of one sample is NaN.
    """
    parts = []
    keys = [name for name in samples if name not in ("seed", "value")]
    for method, rows in samples.groupby("method", sort=False):
        drawn = rows["variant"].isin([MAIN, *draws])
        names = list(rows.loc[drawn, "variant"].unique())
        if set(names) <= {MAIN}:
            parts.append(rows)
            continue
        common = set.intersection(*(set(rows.loc[rows["variant"] == name, "seed"]) for name in names))
        if not common:
            raise UserError(f"{method}: its draws {', '.join(names)} share no seed; give them all at one seed at least")
        own = rows[drawn & rows["seed"].isin(common)]
        means = own.groupby(keys, sort=False, as_index=False, dropna=False)["value"].mean()
        parts += [rows[~drawn], means.assign(seed=means["variant"], variant=DRAWS)]
    merged = pd.concat(parts, ignore_index=True)[list(samples.columns)]
    groups = merged.groupby(keys, sort=False, dropna=False)["value"]
    found = groups.agg(mean=lambda values: values.mean(skipna=False), spread="std", number="size").reset_index()
    return found.assign(over=["draws" if variant == DRAWS else "seeds" for variant in found["variant"]])


def labels(summary: pd.DataFrame) -> dict[Run, str]:
    """(method, variant) -> its label (`random (3 draws)`, else as in the report), in the order of a table's rows."""
    numbers = summary.groupby(["method", "variant"], sort=False)["number"].max()
    order = sorted(numbers.index, key=lambda run: method_key((run[0], MAIN) if run[1] == DRAWS else run))
    return {run: f"{run[0]} ({numbers[run]} draws)" if run[1] == DRAWS else run_label(run) for run in order}


def methods_of(data: pd.DataFrame) -> list[str]:
    """The methods, in the order of a table's rows."""
    return sorted(data["method"].unique(), key=lambda method: method_key((method, MAIN)))


def runs_of(data: pd.DataFrame) -> list[Run]:
    """Method and variant of each row."""
    return list(zip(data["method"], data["variant"], strict=True))


def tests_of(data: pd.DataFrame) -> list[str]:
    """The test sets, in order."""
    return sorted(set(data["test"]) - {""})


def by_key(data: pd.DataFrame, *keys: str) -> dict[tuple, Any]:
    """Values of `keys` -> the row that has them, with its columns as attributes."""
    return dict(zip(zip(*(data[key] for key in keys), strict=True), data.itertuples(), strict=True))


def sort_columns(names: Sequence[str], given: Sequence[str]) -> list[str]:
    """Directions: those of the paper's table 1 in its order, then as given, then by name."""
    order = [*PAPER, *(name for name in given if name not in PAPER)]
    plain = set(names) - set(MEANS)
    return [name for name in order if name in plain] + sort_directions(plain - set(order))
