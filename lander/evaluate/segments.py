"""Segment scores of all models, sorted by test set, direction and metric, and checked to be comparable.

Files are Parquet (table "segments", as `score` and `neural` write it) or CSV with the columns
`method,variant,seed,test,direction,metric,line,score` (and `signature`), of any metric whose corpus score is the mean.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lander.evaluate.statistics import BLEU_WIDTH, CHRF_WIDTH, LOSS_WIDTH
from lander.shared import tables
from lander.shared.csvfile import read_csv
from lander.shared.errors import UserError

KEYS = ["test", "direction", "metric", "method", "variant", "seed"]
CSV_COLUMNS = [*KEYS, "line", "score"]
REFERENCE_COUNTS = {  # what depends on the reference alone
    BLEU_WIDTH: [1],
    CHRF_WIDTH: list(range(1, CHRF_WIDTH, 3)),
    LOSS_WIDTH: [1],
}


class Model(NamedTuple):
    """What made the translations; a method and variant have a model for each seed."""

    method: str
    variant: str
    seed: str

    def __str__(self) -> str:
        return f"{self.method}/{self.variant}/s{self.seed}"


class Place(NamedTuple):
    """What is compared in one go."""

    test: str
    direction: str
    metric: str


@dataclass
class Compared:
    """One metric of one test set and direction: every model's statistics (sentences, width) of the same sentences.

    The statistics of a segment score are the score itself, width 1.
    """

    signature: str
    statistics: dict[Model, np.ndarray] = field(default_factory=dict)


def read_all(files: Iterable[str | Path]) -> dict[Place, Compared]:
    """All segment scores.

    Raises:
        UserError: a file is missing or damaged, two give the same scores, or models cannot be compared: other lines,
            other references, another signature.
    """
    found: dict[Place, Compared] = {}
    for path in files:
        for key, rows in _read(Path(path)).groupby(KEYS, sort=False):
            place, model = Place(*key[:3]), Model(*key[3:])
            statistics, signature = _statistics(path, rows), str(rows["signature"].iloc[0])
            compared = found.setdefault(place, Compared(signature))
            if model in compared.statistics:
                raise UserError(f"{path}: {' '.join(place)} of {model} is in another file too; give each file once")
            _comparable(path, place, model, compared, statistics, signature)
            compared.statistics[model] = statistics
    return found


def _read(path: Path) -> pd.DataFrame:
    if path.suffix != ".csv":
        return tables.read(path, "segments")
    rows = read_csv(path, CSV_COLUMNS, ["line", "score"], remedy="score again")
    if not (finite := np.isfinite(rows[["line", "score"]]).all(axis=1)).all():
        bad = int(np.flatnonzero(~finite)[0]) + 2
        raise UserError(f"{path}, line {bad}: line and score must be finite numbers; score that sentence again")
    signature = rows["signature"] if "signature" in rows else "segments:" + rows["metric"]
    return rows.assign(statistics=None, signature=signature)


def _statistics(path: str | Path, rows: pd.DataFrame) -> np.ndarray:
    """Statistics of one model's sentences in their order."""
    rows = rows.sort_values("line")
    if not np.array_equal(rows["line"], np.arange(len(rows))):
        name = " ".join(rows[KEYS].iloc[0])
        raise UserError(
            f"{path}: the lines of {name} are not 0 to {len(rows) - 1}, each once; score every sentence once"
        )
    if rows["statistics"].isna().all():
        return rows["score"].to_numpy(dtype=np.float64)[:, None]
    return np.stack(rows["statistics"].to_list())


def _comparable(
    path: str | Path, place: Place, model: Model, compared: Compared, statistics: np.ndarray, signature: str
) -> None:
    """Check that a model's scores can be compared with those that are there.

    Raises:
        UserError: they cannot.
    """
    other, there = next(iter(compared.statistics.items()), (model, statistics))
    what = f"{path}: {' '.join(place)} of {model} and of {other}"
    if len(there) != len(statistics):
        raise UserError(f"{what} have {len(statistics)} and {len(there)} lines; score the same test set")
    if there.shape != statistics.shape or signature != compared.signature:
        raise UserError(f"{what} were computed differently ({signature} and {compared.signature}); score both again")
    fixed = REFERENCE_COUNTS.get(statistics.shape[1], [])
    if not np.array_equal(there[:, fixed], statistics[:, fixed]):
        raise UserError(f"{what} have other references; score the same test set")
