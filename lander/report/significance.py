"""Intervals of scores, and paired tests of methods against baselines, from the table of `lander.evaluate.significance`.

A pair is significantly different if the Holm-corrected p is below `LEVEL` and the interval of the difference leaves
out 0. The p is that of approximate randomisation, which takes the seeds as given. If a method has several seeds, it is
the larger of that p and the p of the bootstrap, which also draws seeds.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from lander.evaluate.collect import MEANS
from lander.evaluate.metrics import Look, look
from lander.report.labels import Method, run_label
from lander.shared.csvfile import read_csv, to_numbers

LEVEL = 0.05
SIGNIFICANT = f"p < {LEVEL:g}, and 0 is outside the interval"
NUMBERS = ["low", "high", "difference", "difference_low", "difference_high", "p_bootstrap_holm", "p_holm", "seeds"]
COLUMNS = ["method", "variant", "baseline", "test", "direction", "metric", *NUMBERS, "signature"]
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
        return self.p < LEVEL and not self.low <= 0 <= self.high  # NaN if no interval is known

    @property
    def sure(self) -> str:
        return "significant" if self.significant else "not significant"

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
    """All intervals and tests of a run. Empty if none were made."""

    intervals: dict[tuple[Method, Place], tuple[float, float]] = field(default_factory=dict)  # of 95%
    tests: dict[tuple[Method, Method, Place], Outcome] = field(default_factory=dict)
    looks: dict[str, Look] = field(default_factory=dict)  # of metrics, by their signatures
    seeds: bool = False  # some method has several seeds, which the p's take into account
    # (test, metric) -> number of comparisons of directions and of means; each kind is corrected together
    comparisons: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    @property
    def baselines(self) -> list[Method]:
        """What methods were tested against, in the order of the file."""
        return list(dict.fromkeys(baseline for _, baseline, _ in self.tests))

    @property
    def test(self) -> str:
        """Which test the p's come from."""
        several = "the stricter of two paired tests: randomisation of sentences, bootstrap over sentences and seeds"
        return several if self.seeds else "the paired test"

    def look(self, metric: str) -> Look:
        """How a metric is shown, and which of its scores are better."""
        return self.looks.get(metric) or look(metric)

    def compare(self, method: Method, other: Method, place: Place) -> Outcome | None:
        """The test of two methods, whichever of them was the baseline. None if there was no test."""
        if found := self.tests.get((method, other, place)):
            return found
        found = self.tests.get((other, method, place))
        return found.reversed if found else None

    def beaten(self, method: Method, place: Place) -> list[Method]:
        """The baselines that a method is significantly ahead of. Empty if it is unknown which scores are better."""
        outcomes = ((baseline, self.compare(method, baseline, place)) for baseline in self.baselines)
        sign = {"max": 1, "min": -1}.get(self.look(place[2]).best, 0)
        return [one for one, found in outcomes if found and found.significant and sign * found.difference > 0]

    def counted(self, method: Method, other: Method, test: str) -> tuple[int, int, int]:
        """In how many directions a method's BLEU is significantly above and below another's, of how many tested."""
        places = {place for *_, place in self.tests if (place[0], place[2]) == (test, "bleu") and place[1] not in MEANS}
        found = [one for place in places if (one := self.compare(method, other, place))]
        higher, lower = (sum(one.significant and sign * one.difference > 0 for one in found) for sign in (1, -1))
        return higher, lower, len(found)

    def only(self, means: bool) -> "Significance":
        """The tests and intervals of means over directions, or those of single directions."""
        intervals = {key: value for key, value in self.intervals.items() if (key[1][1] in MEANS) == means}
        tests = {key: value for key, value in self.tests.items() if (key[2][1] in MEANS) == means}
        return replace(self, intervals=intervals, tests=tests)

    def letters(self) -> dict[Method, str]:
        """The letter with which each baseline marks scores in tables."""
        return {baseline: chr(ord("a") + place % 26) for place, baseline in enumerate(self.baselines)}

    def legend(self) -> str:
        """What the letters and the small numbers in tables mean."""
        listed = ", ".join(f"{letter} {run_label(one)}" for one, letter in self.letters().items())
        letters = f"Letters: significantly ahead ({self.test}, Holm-corrected {SIGNIFICANT}) of {listed}. "
        return f"{letters if listed else ''}Ranges: 95% bootstrap intervals."


def read_significance(path: Path) -> Significance:
    """Read the table of `lander.evaluate.significance`."""
    rows = read_csv(path, COLUMNS, absent="leave --significance out if no tests were made")
    for name in NUMBERS:
        rows[name] = to_numbers(path, rows[name].replace("", "nan"))
    seeds = bool((rows["seeds"] > 1).any())
    looks = {str(name): look(str(name), part.unique()) for name, part in rows.groupby("metric")["signature"]}
    found = Significance(seeds=seeds, looks=looks)
    p_of_both = rows[["p_holm", "p_bootstrap_holm"]].max(axis="columns", skipna=False)
    for row in rows.assign(p=p_of_both if seeds else rows["p_holm"]).itertuples():
        method, place = (row.method, row.variant), (row.test, row.direction, row.metric)
        if row.low == row.low and row.high == row.high:  # not NaN
            found.intervals[method, place] = (row.low, row.high)
        baseline, _, variant = row.baseline.partition("/")  # `full`, `zero-shot/best-prompt`
        if baseline and row.difference == row.difference and row.p == row.p:
            outcome = Outcome(row.difference, row.p, row.difference_low, row.difference_high)
            found.tests[method, (baseline, variant or "main"), place] = outcome
    return found
