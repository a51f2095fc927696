"""The files of an experiment, read and checked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from lander.evaluate.collect import MEANS, read_scores
from lander.report.inputs import parse_assignments, read_run
from lander.shared.errors import UserError
from lander.shared.languages import parse_direction

KEYS = ["method", "variant", "seed"]  # of a model
LOSS_COLUMNS = [*KEYS, "state", "kind", "name", "direction", "loss", "tokens", "characters", "loss_per_character"]
COSTS = (
    "parameters_trained", "parameters_total", "tokens", "seconds", "flops", "peak_memory_bytes", "updates",
    "learning_rate",
)  # fmt: skip


@dataclass
class Inputs:
    """What an experiment is made of; seeds are text."""

    scores: pd.DataFrame  # method, variant, seed, test, direction, metric, score (float), signature
    losses: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=LOSS_COLUMNS))
    costs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[*KEYS, "metric", "value"]))
    directions: list[str] = field(default_factory=list)  # the trained ones, in order; empty: all of the scores
    languages: list[str] = field(default_factory=list)
    title: str = ""
    text: str = ""  # what the plain text of the losses is
    main_value: str | None = None  # what variant `main` has of the key that the experiment varies
    segments: list[Path] = field(default_factory=list)  # segment scores that stand beside the files of scores


def read_all_scores(paths: Sequence[str | Path], items: Sequence[str] = ()) -> pd.DataFrame:
    """Scores of all files, without means over directions.

    Args:
        paths: files, or folders of models: `evaluate/<method>/<variant>/s<seed>`.
        items: <test>/<direction>, those that are read of the folders; all that there are where none is given.

    Raises:
        UserError: two files score the same thing, or a folder has none.
    """
    files = [file for path in paths for file in _score_files(Path(path), items)]
    rows = [row for path in files for row in read_scores(path) if row["direction"] not in MEANS]
    columns = [*KEYS, "test", "direction", "metric", "score", "signature"]
    scores = pd.DataFrame(rows, columns=columns).astype({"score": float})
    _once(scores, [*KEYS, "test", "direction", "metric"], "--scores")
    return scores


def segment_files(paths: Sequence[str | Path], items: Sequence[str] = ()) -> list[Path]:
    """Segment scores beside the files of scores that `read_all_scores` reads; none where one of them has none."""
    files = [file for path in paths for file in _score_files(Path(path), items)]
    found = [file.with_suffix(".segments.parquet") for file in files]
    return found if all(file.is_file() for file in found) else []


def _score_files(path: Path, items: Sequence[str]) -> list[Path]:
    """The files of scores in a folder, without those that a model does not have; a file is itself."""
    if not path.is_dir():
        return [path]
    files = [path / f"{item}.csv" for item in items] if items else sorted(path.glob("*/*.csv"))
    found = [file for file in files if file.is_file() and not file.name.endswith(".flags.csv")]
    if not found:
        raise UserError(f"{path}: no <test>/<direction>.csv in it; `python -m lander.evaluate score` makes them")
    return found


def read_losses(files: Sequence[str | Path]) -> pd.DataFrame:
    """Losses of all files; a training that has diverged has infinite ones.

    Raises:
        UserError: a file is missing or damaged, or two measure the same thing.
    """
    parts = [_read_loss(Path(path)) for path in files]
    losses = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=LOSS_COLUMNS)
    _once(losses, [*KEYS, "state", "kind", "name", "direction"], "--loss")
    return losses


def _read_loss(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `python -m lander.translate.loss` makes it") from None
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"{path}: cannot be read as CSV ({error}); remove it and run snakemake again") from None
    if missing := [name for name in LOSS_COLUMNS if name not in table]:
        raise UserError(f"{path}: no column {', '.join(missing)}; remove it and run snakemake again")
    numbers = ["loss", "tokens", "characters", "loss_per_character"]
    try:
        table[numbers] = table[numbers].astype(float)
    except ValueError as error:
        raise UserError(f"{path}: {error}; remove it and run snakemake again") from None
    losses = ["loss", "loss_per_character"]
    table[losses] = table[losses].fillna(float("inf"))
    return table[LOSS_COLUMNS]


def read_costs(assignments: Sequence[str]) -> pd.DataFrame:
    """What trainings cost, from METHOD/VARIANT/sSEED=run.json: a row for each number that is there."""
    rows = []
    for run, path in parse_assignments(assignments, "--runs").items():
        content = read_run(path)
        settings = content.get("settings")
        known = {**content, **({"learning_rate": settings.get("learning_rate")} if isinstance(settings, dict) else {})}
        rows += [(*run, name, float(known[name])) for name in COSTS if isinstance(known.get(name), int | float)]
        if "parameters_trained" not in content:
            raise UserError(f"{path}: no parameters_trained; remove it and run snakemake again")
    return pd.DataFrame(rows, columns=[*KEYS, "metric", "value"])


def read_directions(values: Sequence[str]) -> list[str]:
    """Names of directions, checked."""
    return list(dict.fromkeys(str(parse_direction(value)) for value in values))


def _once(rows: pd.DataFrame, key: list[str], flag: str) -> None:
    double = rows[rows.duplicated(key)]
    if len(double):
        raise UserError(f"{flag}: {' '.join(map(str, double.iloc[0][key]))} is there twice; give each file once")
