"""How surely methods differ: intervals, and paired tests of every method against each baseline.

For each metric, test set and direction, and for the means over directions:

- `score`: of a method, the mean over its seeds; `spread` is their standard deviation.
- `low`, `high`: the middle 95% of a bootstrap over sentences and, with several seeds, over seeds too (hierarchical:
  each resample draws sentences, the same for all systems, and seeds, apart for each method). Three seeds show little of
  how seeds vary; no resampling mends that.
- `difference`: method minus baseline, with the same interval.
- `p_bootstrap`: paired bootstrap as by sacreBLEU's PairedTest (one tail), seeds included.
- `p_randomisation`: paired approximate randomisation, two tails: the outputs of both are swapped in random sentences.
  The seeds are taken as they are: those that both have, in pairs; a single seed (training-free methods) goes with all.
- `p_bootstrap_holm`, `p_holm`: both p's after Holm's correction for all comparisons (`comparisons`) of the metric on
  the test set, over methods, baselines and directions; the means are another family. Two baselines that are
  compared with each other count once.

The statistics are sacreBLEU's, counted once by `score`; metrics without statistics (COMET) are means of segment scores.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from lander.evaluate import resampling
from lander.evaluate.collect import MEANS, belongs
from lander.evaluate.resampling import Design, Mean, Method, Sampled, sample
from lander.evaluate.segments import Compared, Model, Place, read_all
from lander.shared.errors import UserError
from lander.shared.files import whole_file
from lander.shared.progress import progress

SEED = 12345  # sacreBLEU's
RESAMPLES = 10_000
LEVEL = 0.05
COLUMNS = (
    "method", "variant", "baseline", "test", "direction", "metric", "score", "spread", "low", "high", "difference",
    "difference_low", "difference_high", "p_bootstrap", "p_randomisation", "p_bootstrap_holm", "p_holm", "comparisons",
    "seeds", "segments", "signature",
)  # fmt: skip
Row = dict[str, Any]


def table(files: Sequence[str | Path], baselines: Sequence[str], resamples: int = 0, seed: int = SEED) -> list[Row]:
    """The rows of the table of tests.

    Args:
        files: segment scores, see `lander.evaluate.segments`.
        baselines: `full`, `zero-shot/best-prompt`; what every method is compared with.
        resamples: of the bootstrap and of the randomisation; 0: 10,000, or more where the correction needs them.

    Raises:
        UserError: a file cannot be used, or nothing is scored of a baseline.
    """
    data = read_all(files)
    if not data:
        raise UserError("--segments: no segment scores in the files; `python -m lander.evaluate score` writes them")
    return compare(data, baselines, resamples, seed)


def compare(
    data: Mapping[Place, Compared], baselines: Sequence[str], resamples: int = 0, seed: int = SEED
) -> list[Row]:
    """The rows of the table of tests, of segment scores that were read."""
    methods = _methods(data)
    design = Design(_baselines(baselines, {method for found in methods.values() for method in found}), resamples, seed)
    families: dict[tuple[str, str], list[Place]] = defaultdict(list)
    for place in sorted(data):
        families[place.test, place.metric].append(place)
    if not resamples:
        sizes = [sum(len(design.pairs(methods[place])) for place in places) for places in families.values()]
        design = replace(design, resamples=enough(max(sizes)))
    rows = [row for places in families.values() for row in _family({place: data[place] for place in places}, design)]
    return sorted(rows, key=lambda row: tuple(str(row[name]) for name in (*COLUMNS[:2], *COLUMNS[3:6], "baseline")))


def enough(comparisons: int) -> int:
    """Resamples with which the smallest p that they can give stays below `LEVEL` / 2 after correction."""
    return max(RESAMPLES, math.ceil(2 * comparisons / LEVEL))


def _methods(data: Mapping[Place, Compared]) -> dict[Place, dict[Method, list[Model]]]:
    """The methods of each place, with their models in the order of the seeds."""
    found: dict[Place, dict[Method, list[Model]]] = {}
    for place, compared in data.items():
        models: dict[Method, list[Model]] = defaultdict(list)
        for model in sorted(compared.statistics, key=lambda model: (model.seed.zfill(9), model)):
            models[Method(model.method, model.variant)].append(model)
        found[place] = dict(sorted(models.items()))
    return found


def _baselines(names: Sequence[str], there: set[Method]) -> list[Method]:
    found = {}
    for name in names:
        method, _, variant = name.partition("/")
        found[Method(method, variant or "main")] = name
    for baseline, name in found.items():
        if baseline not in there:
            known = ", ".join(sorted(map(str, there)))
            raise UserError(f"--baselines {name}: no segment scores of it; there are {known}")
    return list(found)


# ---------------------------------------------------------------- rows


def _family(data: Mapping[Place, Compared], design: Design) -> list[Row]:
    """All rows of a metric on a test set, corrected."""
    methods = _methods(data)
    means = []
    for name in MEANS:
        members = [place for place in data if belongs(place.direction, name)]
        if members:
            means.append(Mean(name, [one.direction for one in members], [methods[one] for one in members]))
    rows: list[Row] = []
    with progress("lander evaluate: significance", len(data)) as bar:
        for place, compared in data.items():
            sampled = sample(compared, design)
            rows += _rows(sampled, place, design)
            for mean in means:
                if place.direction in mean.members:
                    mean.add(sampled)
            bar.update()
    averaged = [
        row
        for mean in means
        if mean.sampled
        for row in _rows(mean.sampled, place._replace(direction=mean.name), design)
    ]
    return _corrected(rows) + _corrected(averaged)


def _rows(sampled: Sampled, place: Place, design: Design) -> list[Row]:
    """A row for each method, with its interval, and one for each comparison, both ways between two baselines."""
    alone: dict[Method, Row] = {}
    how = f"|bs:{design.resamples}|ar:{design.resamples}|rs:{design.seed}|ci:95"
    for method, seeds in sampled.observed.items():
        low, high = resampling.interval(sampled.bootstrap[method])
        alone[method] = {
            **dict.fromkeys(COLUMNS, None),
            **{"method": method.name, "variant": method.variant, "baseline": ""},
            **place._asdict(),
            **{"score": sampled.score(method), "low": low, "high": high},
            "spread": float(seeds.std(ddof=1)) if len(seeds) > 1 else None,
            **{"seeds": len(seeds), "segments": sampled.segments, "signature": sampled.signature + how},
        }
    rows = list(alone.values())
    for pair in design.pairs(sampled.observed):
        one, other = pair
        difference = sampled.score(one) - sampled.score(other)
        drawn = sampled.bootstrap[one] - sampled.bootstrap[other]
        low, high = resampling.interval(drawn)
        found: Row = {"difference": difference, "difference_low": low, "difference_high": high, "pair": pair}
        found["p_bootstrap"] = resampling.p_bootstrap(drawn, difference, sampled.longest)
        if pair in sampled.swapped:
            observed, swapped = sampled.swapped[pair][0], sampled.swapped[pair][1:]
            found["p_randomisation"] = resampling.p_randomisation(swapped, observed)
        rows.append({**alone[one], "baseline": str(other), **found})
        if one in design.baselines:  # the same comparison seen from the other side
            found = {**found, "difference": -difference, "difference_low": -high, "difference_high": -low}
            rows.append({**alone[other], "baseline": str(one), **found})
    return rows


def _corrected(rows: list[Row]) -> list[Row]:
    """Add the corrected p's of a family; a comparison that is there both ways counts once."""
    for name, corrected in (("p_bootstrap", "p_bootstrap_holm"), ("p_randomisation", "p_holm")):
        ps = {(row["direction"], row["pair"]): row[name] for row in rows if row.get("pair") and row[name] is not None}
        found = dict(zip(ps, resampling.holm(list(ps.values())), strict=True))
        for row in rows:
            if row.get("pair"):
                row[corrected] = found.get((row["direction"], row["pair"]))
                row["comparisons"] = len(ps)
    return [{name: row[name] for name in COLUMNS} for row in rows]


def write(path: str | Path, rows: Iterable[Row]) -> None:
    """Write the table as CSV; six digits after the point, empty where there is nothing to tell."""
    found = pd.DataFrame(list(rows), columns=list(COLUMNS))
    found["comparisons"] = found["comparisons"].astype(float).astype("Int64")
    with whole_file(path) as temporary:
        found.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
