"""How surely methods differ: intervals, and paired tests of every method against each baseline.

For each metric, test set and direction, and for the means over directions:

- `score`: of a method, the mean over its seeds; `spread` is their standard deviation.
- `low`, `high`: the middle 95% of a bootstrap over sentences and, with several seeds, over seeds too (hierarchical:
  each resample draws sentences, the same for all systems, and seeds, for each method alone). Three seeds show little of
  how seeds vary.
- `difference`: method minus baseline, with the same interval.
- `p_bootstrap`: paired bootstrap as by sacreBLEU's PairedTest (one tail), seeds included.
- `p_randomisation`: paired approximate randomisation, two tails: the outputs of both are swapped in random sentences.
  Common seeds are paired; a single seed (training-free methods) is paired with all.
- `p_bootstrap_holm`, `p_holm`: both p's after Holm's correction for all comparisons (`comparisons`) of the metric on
  the test set, over methods, baselines and directions; the means are another family. Two baselines that are
  compared with each other count once.

The statistics are sacreBLEU's, counted once by `score`; metrics without statistics (COMET) are means of segment scores.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lander.evaluate.resampling import SEED, Design, Sampled, holm, interval, resampled
from lander.evaluate.segments import Compared, Method, Place
from lander.shared.errors import UserError
from lander.shared.files import whole_file
from lander.shared.progress import progress

RESAMPLES = 10_000
LEVEL = 0.05
COLUMNS = (
    "method", "variant", "baseline", "test", "direction", "metric", "score", "spread", "low", "high", "difference",
    "difference_low", "difference_high", "p_bootstrap", "p_randomisation", "p_bootstrap_holm", "p_holm", "comparisons",
    "seeds", "segments", "signature",
)  # fmt: skip
Row = dict[str, Any]


def compare(
    data: Mapping[Place, Compared], baselines: Sequence[str], resamples: int = 0, seed: int = SEED
) -> list[Row]:
    """The rows of the table of tests of every method against the baselines (`full`, `zero-shot/best-prompt`).

    0 `resamples` are 10,000, or more where the correction needs them.
    """
    methods = sorted({method for compared in data.values() for method in compared.methods})
    known: dict[Method, str] = {}
    for name in baselines:
        method, _, variant = name.partition("/")
        known[Method(method, variant or "main")] = name
    pairs = []
    for place, (baseline, name) in enumerate(known.items()):
        if baseline not in methods:
            raise UserError(f"--baselines {name}: no segment scores of it; there are {', '.join(map(str, methods))}")
        earlier = list(known)[: place + 1]
        pairs += [(method, baseline) for method in methods if method not in earlier]  # two baselines once
    design = Design(pairs, resamples or enough(data, Design(pairs, 0)), seed)
    rows = [row for places in families(data) for row in _family(places, design, known)]
    return sorted(rows, key=lambda row: tuple(str(row[name]) for name in (*COLUMNS[:2], *COLUMNS[3:6], "baseline")))


def families(data: Mapping[Place, Compared]) -> list[dict[Place, Compared]]:
    """The places whose comparisons are corrected together: those of a metric on a test set."""
    found: dict[tuple[str, str], dict[Place, Compared]] = defaultdict(dict)
    for place in sorted(data):
        found[place.test, place.metric][place] = data[place]
    return list(found.values())


def enough(data: Mapping[Place, Compared], design: Design) -> int:
    """Resamples with which the smallest p that they can give stays below `LEVEL` / 2 after correction."""
    sizes = [sum(len(design.among(one.methods)) for one in family.values()) for family in families(data)]
    return max(RESAMPLES, math.ceil(2 * max(sizes, default=0) / LEVEL))


def _family(data: Mapping[Place, Compared], design: Design, baselines: Collection[Method]) -> list[Row]:
    """All rows of a metric on a test set, corrected; means apart."""
    rows: list[Row] = []
    averaged: list[Row] = []
    with progress("lander evaluate: significance", len(data)) as bar:
        for place, sampled in resampled(data, design):
            (rows if place in data else averaged).extend(_rows(sampled, place, design, baselines))
            bar.update(place in data)
    return _corrected(rows) + _corrected(averaged)


def _rows(sampled: Sampled, place: Place, design: Design, baselines: Collection[Method]) -> list[Row]:
    """A row for each method, with its interval, and one for each comparison, both ways between two baselines."""
    alone: dict[Method, Row] = {}
    how = f"|bs:{design.resamples}|ar:{design.resamples}|rs:{design.seed}|ci:95"
    for method, seeds in sampled.observed.items():
        low, high = interval(sampled.bootstrap[method])
        alone[method] = {
            **{"method": method.name, "variant": method.variant, "baseline": ""},
            **place._asdict(),
            **{"score": sampled.score(method), "low": low, "high": high},
            "spread": float(seeds.std(ddof=1)) if len(seeds) > 1 else None,
            **{"seeds": len(seeds), "segments": sampled.segments, "signature": sampled.signature + how},
        }
    rows = list(alone.values())
    for one, other in design.among(sampled.observed):
        difference, low, high, *ps = sampled.test(one, other)
        shared = {"pair": (place, one, other), "p_bootstrap": ps[0], "p_randomisation": ps[1]}
        found = {"difference": difference, "difference_low": low, "difference_high": high}
        rows.append({**alone[one], "baseline": str(other), **found, **shared})
        if one in baselines:  # the same comparison seen from the other side
            found = {"difference": -difference, "difference_low": -high, "difference_high": -low}
            rows.append({**alone[other], "baseline": str(one), **found, **shared})
    return rows


def _corrected(rows: list[Row]) -> list[Row]:
    """Add the corrected p's of a family; a comparison that is there both ways counts once."""
    for name, corrected in (("p_bootstrap", "p_bootstrap_holm"), ("p_randomisation", "p_holm")):
        ps = {row["pair"]: row[name] for row in rows if "pair" in row and row[name] is not None}
        found = dict(zip(ps, holm(list(ps.values())), strict=True))
        for row in rows:
            if "pair" in row:
                row |= {corrected: found.get(row["pair"]), "comparisons": len(ps)}
    return [{name: row.get(name) for name in COLUMNS} for row in rows]


def write(path: str | Path, rows: Iterable[Row]) -> None:
    """Write the table as CSV; six digits after the point, empty where there is nothing to tell."""
    found = pd.DataFrame(list(rows), columns=list(COLUMNS))
    found["comparisons"] = found["comparisons"].astype(float).astype("Int64")
    with whole_file(path) as temporary:
        found.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
