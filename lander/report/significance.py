"""Paired tests of methods against baselines (`lander.evaluate.significance`), looked up by what the tables show.

A pair counts as different where the corrected p is below `LEVEL` and the interval of the difference leaves 0 out. The p
is that of approximate randomisation, which takes the seeds as they are; where a method has several seeds, it is the
larger of that and the p of the bootstrap, which draws seeds too. Where the file has a method's seeds apart, they are
taken together with caution: the mean difference, the largest p, the widest interval.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from lander.evaluate.collect import MEANS
from lander.report.metrics import Look, look
from lander.report.order import run_label
from lander.shared.errors import UserError

LEVEL = 0.05
SIGNIFICANT = f"p < {LEVEL:g}, and 0 is outside the interval"
COLUMNS = ["method", "variant", "baseline", "test", "direction", "metric", "low", "high", "difference", "p_holm"]
SPAN = ("difference_low", "difference_high")  # where the file has them
WITH_SEEDS = "p_bootstrap_holm"  # where the file has it
JOINT = ("", "all", "mean")  # values of `seed` that stand for all seeds
Method = tuple[str, str]  # method, variant
Place = tuple[str, str, str]  # test, direction (or a mean of directions), metric


@dataclass(frozen=True)
class Outcome:
    """A method against a baseline: the difference of their scores, the corrected p, the interval of the difference."""

    difference: float
    p: float
    low: float = float("nan")
    high: float = float("nan")

    @property
    def significant(self) -> bool:
        return self.p < LEVEL and not self.low <= 0 <= self.high  # NaN where no interval is known

    @property
    def reversed(self) -> "Outcome":
        """The baseline against the method."""
        return Outcome(-self.difference, self.p, -self.high, -self.low)

    @property
    def text(self) -> str:
        """`p = 0.012`, `p < 0.001`."""
        return "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}" if self.p < 0.1 else f"p = {self.p:.2f}"


@dataclass(frozen=True)
class Significance:
    """All intervals and tests of a run; empty where none were made."""

    intervals: dict[tuple[Method, Place], tuple[float, float]] = field(default_factory=dict)
    tests: dict[tuple[Method, Method, Place], Outcome] = field(default_factory=dict)
    looks: dict[str, Look] = field(default_factory=dict)  # of metrics, by their signatures
    apart: bool = False  # some method's seeds were tested apart
    seeds: bool = False  # some method has several seeds, which the p's take into account
    # (test, metric) -> comparisons of directions and of means, each corrected together; where known
    comparisons: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.intervals or self.tests)

    @property
    def baselines(self) -> list[Method]:
        """What methods were tested against, in the order of the file."""
        return list(dict.fromkeys(baseline for _, baseline, _ in self.tests))

    @property
    def test(self) -> str:
        """What the p's are of."""
        several = "two paired tests, the larger: randomisation of sentences, and bootstrap over sentences and seeds"
        return several if self.seeds else "the paired test"

    def look(self, metric: str) -> Look:
        """How a metric is shown, and which of its scores are better."""
        return self.looks.get(metric) or look(metric)

    def interval(self, method: Method, place: Place) -> tuple[float, float] | None:
        """The 95% interval of a score."""
        return self.intervals.get((method, place))

    def compare(self, method: Method, other: Method, place: Place) -> Outcome | None:
        """The test of two methods, whichever of them was the baseline; None where there was none."""
        if found := self.tests.get((method, other, place)):
            return found
        found = self.tests.get((other, method, place))
        return found.reversed if found else None

    def beaten(self, method: Method, place: Place) -> list[Method]:
        """The baselines that a method is significantly ahead of; none where it is not known which scores are better."""
        outcomes = ((baseline, self.compare(method, baseline, place)) for baseline in self.baselines)
        sign = {"max": 1, "min": -1}.get(self.look(place[2]).best, 0)
        return [one for one, found in outcomes if found and found.significant and sign * found.difference > 0]

    def of_directions(self) -> "Significance":
        """Without those of means over directions."""
        intervals = {key: value for key, value in self.intervals.items() if key[1][1] not in MEANS}
        tests = {key: value for key, value in self.tests.items() if key[2][1] not in MEANS}
        return replace(self, intervals=intervals, tests=tests)

    def letters(self) -> dict[Method, str]:
        """A letter for each baseline, as it marks scores in tables."""
        return {baseline: chr(ord("a") + place % 26) for place, baseline in enumerate(self.baselines)}

    def legend(self) -> str:
        """What the letters stand for."""
        listed = ", ".join(f"{letter} {run_label(one)}" for one, letter in self.letters().items())
        letters = f"Letters: significantly ahead ({self.test}, Holm-corrected {SIGNIFICANT}) of {listed}. "
        caution = " Of several seeds: the largest p and the widest interval." if self.apart else ""
        return f"{letters if listed else ''}Below a score: its 95% bootstrap interval.{caution}"


def read_significance(path: Path) -> Significance:
    """Read the table of `lander.evaluate`'s tests.

    Raises:
        UserError: no such file, not CSV, a column is missing, or a number is not one.
    """
    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; leave --significance out where no tests were made") from None
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"{path}: cannot be read as CSV ({error}); remove it and run snakemake again") from None
    if missing := [name for name in COLUMNS if name not in rows]:
        raise UserError(f"{path}: no column {', '.join(missing)}; it should have {', '.join(COLUMNS)}")
    rows = rows.assign(**{name: "" for name in (*SPAN, WITH_SEEDS, "seeds", "signature") if name not in rows})
    numbers = ["low", "high", "difference", *SPAN, "p_holm", WITH_SEEDS, "seeds"]
    try:
        rows[numbers] = rows[numbers].replace("", "nan").astype(float)
    except ValueError as error:
        raise UserError(f"{path}: {error}; remove it and run snakemake again") from None
    return _collect(rows)


def _collect(rows: pd.DataFrame) -> Significance:
    """Put the rows where they are looked up; rows of all seeds together win over those of single seeds."""
    keys = ["method", "variant", "baseline", "test", "direction", "metric"]
    seed = rows["seed"] if "seed" in rows else pd.Series("", index=rows.index)
    together = seed.str.strip().isin(JOINT)
    joint = rows[keys].apply(tuple, axis=1).isin(set(rows.loc[together, keys].itertuples(index=False, name=None)))
    rows = rows[together | ~joint]
    apart, seeds = bool(rows.duplicated(keys).any()), bool((rows["seeds"] > 1).any())
    if seeds:
        rows = rows.assign(p_holm=rows[["p_holm", WITH_SEEDS]].max(axis="columns", skipna=False))
    intervals, tests = {}, {}
    kept = ["method", "variant", "test", "direction", "metric"]
    spans = rows.dropna(subset=["low", "high"]).groupby(kept, sort=False).agg({"low": "min", "high": "max"})
    for key, low, high in spans.itertuples(name=None):
        intervals[(key[:2], key[2:])] = (low, high)
    paired = rows[rows["baseline"] != ""].dropna(subset=["difference", "p_holm"])
    how = {"difference": "mean", "p_holm": "max", SPAN[0]: "min", SPAN[1]: "max"}
    found = paired.groupby(keys, sort=False).agg(how)
    for key, *numbers in found.itertuples(name=None):
        method, baseline = key[:2], baseline_run(key[2])
        if method != baseline:
            tests[(method, baseline, key[3:])] = Outcome(*numbers)
    looks = {str(metric): look(str(metric), part.unique()) for metric, part in rows.groupby("metric")["signature"]}
    return Significance(intervals, tests, looks, apart, seeds)


def baseline_run(text: str) -> Method:
    """`full` -> (full, main); `zero-shot/best-prompt` -> (zero-shot, best-prompt)."""
    method, _, variant = text.partition("/")
    return method, variant.split("/")[0] or "main"
