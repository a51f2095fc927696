"""Segment scores of all models, sorted by test set, direction and metric, and checked to be comparable.

Files are Parquet (table "segments", as `score` and `neural` write it) or CSV with the columns
`method,variant,seed,test,direction,metric,line,score` (and `signature`), of any metric whose corpus score is the mean.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lander.evaluate.metrics import METRICS
from lander.shared import tables
from lander.shared.csvfile import read_csv
from lander.shared.errors import UserError
from lander.shared.runs import Model

KEYS = ["test", "direction", "metric", "method", "variant", "seed"]
CSV_COLUMNS = [*KEYS, "line", "score"]


class Method(NamedTuple):
    """A method and its variant, all seeds together."""

    name: str
    variant: str

    def __str__(self) -> str:
        return self.name if self.variant == "main" else f"{self.name}/{self.variant}"


class Place(NamedTuple):
    """What is compared in one go."""

    test: str
    direction: str
    metric: str


@dataclass
class Compared:
    """One metric of one test set and direction: every model's statistics (sentences, width) of the same sentences.

    Without counts, the only statistic is the score of the sentence.
    """

    signature: str
    statistics: dict[Model, np.ndarray] = field(default_factory=dict)

    @property
    def methods(self) -> dict[Method, list[Model]]:
        """The methods, with their models in the order of the seeds."""
        found: dict[Method, list[Model]] = defaultdict(list)
        for model in sorted(self.statistics):
            found[Method(model.method, model.variant)].append(model)
        return found

    def differs(self, metric: str, statistics: np.ndarray, signature: str) -> str:
        """Why a further model cannot be compared with these; empty if it can."""
        there = next(iter(self.statistics.values()), statistics)
        if len(there) != len(statistics):
            return f"{len(statistics)} lines, not {len(there)}"
        if there.shape != statistics.shape or signature != self.signature:
            return f"computed differently, {signature} and not {self.signature}"
        # of several references, each output has its own nearest one
        one = "nrefs" not in self.signature or "nrefs:1|" in self.signature
        fixed = METRICS[metric].fixed if one and statistics.shape[1] > 1 else []
        return "" if np.array_equal(there[:, fixed], statistics[:, fixed]) else "other references"


def read_all(files: Iterable[str | Path]) -> dict[Place, Compared]:
    """All segment scores; UserError if two files give the same scores, or if models cannot be compared."""
    found: dict[Place, Compared] = {}
    for path in files:
        for key, rows in _read(Path(path)).groupby(KEYS, sort=False):
            place, model = Place(*key[:3]), Model(key[3], key[4], int(key[5]))
            statistics, signature = _statistics(path, rows), str(rows["signature"].iloc[0])
            compared = found.setdefault(place, Compared(signature))
            if model in compared.statistics:
                raise UserError(f"{path}: {' '.join(place)} of {model} is in another file too; give each file once")
            if why := compared.differs(place.metric, statistics, signature):
                both = f"{model} and of {next(iter(compared.statistics))}"
                raise UserError(f"{path}: {' '.join(place)} of {both}: {why}; score both again, on the same test set")
            compared.statistics[model] = statistics
    return found


def _read(path: Path) -> pd.DataFrame:
    if path.suffix != ".csv":
        return tables.read(path, "segments")
    rows = read_csv(path, CSV_COLUMNS, ["line", "score", "seed"], remedy="score again")
    if not (finite := np.isfinite(rows[["line", "score", "seed"]]).all(axis=1)).all():
        bad = int(np.flatnonzero(~finite)[0]) + 2
        raise UserError(f"{path}, line {bad}: line, score and seed must be finite numbers; score that sentence again")
    signature = rows["signature"] if "signature" in rows else "segments:" + rows["metric"]
    return rows.assign(statistics=None, signature=signature)


def _statistics(path: str | Path, rows: pd.DataFrame) -> np.ndarray:
    """Statistics (sentences, width) of one model's sentences in their order."""
    rows = rows.sort_values("line")
    name = " ".join(map(str, rows[KEYS].iloc[0]))
    if not np.array_equal(rows["line"], np.arange(len(rows))):
        raise UserError(
            f"{path}: the lines of {name} are not 0 to {len(rows) - 1}, each once; score each sentence once"
        )
    if rows["statistics"].isna().all():
        return rows["score"].to_numpy(dtype=np.float64)[:, None]
    metric = METRICS.get(rows["metric"].iloc[0])
    if not (metric and metric.score):
        raise UserError(f"{path}: {name}: the statistics of this metric are not known; score again")
    return np.stack(rows["statistics"].to_list())
