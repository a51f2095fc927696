"""Paired tests between runs: each method against itself in the first run that has it, on the same sentences.

Intervals, tests and correction are those of `lander.evaluate.significance`. All comparisons of one metric on one test
set are corrected together, the means separately. If both runs wrote the same outputs, nothing is compared: the
difference is 0, p is 1, and it does not count among the comparisons. As in a run's report, the p is that of
randomisation or, if a method has several seeds, the larger of that and the p of the bootstrap, which also draws seeds.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lander.evaluate.collect import MEANS, belongs
from lander.evaluate.resampling import TOLERANCE, Design, Pair, Sampled, holm, interval, resampled
from lander.evaluate.segments import Compared, Method, Place, read_all
from lander.evaluate.significance import enough, families
from lander.report.compare.runs import Item, bases
from lander.report.inputs import Inputs
from lander.report.labels import look
from lander.report.significance import Outcome, Significance
from lander.report.tables import first
from lander.shared.runs import Model

MAIN = "main"  # the variant of all labels
Tested = tuple[Outcome, tuple[float, float]]  # with the uncorrected p's of randomisation and of the bootstrap


def paired(runs: Sequence[Inputs], items: Sequence[Item], resamples: int = 0) -> tuple[Significance, list[str]]:
    """Intervals of all scores and the tests, by the labels of the methods, and notes on what could not be tested.

    `resamples` of the bootstrap and of the randomisation; 0: 10,000, or more if the correction needs them.
    """
    joint, notes = _joint(runs, items)
    pairs = [(Method(one, MAIN), Method(base, MAIN)) for one, base in bases(runs).items()]
    design = Design(pairs, resamples or enough(joint, Design(pairs, 0)))
    several = any(len(models) > 1 for compared in joint.values() for models in compared.methods.values())
    found = Significance(seeds=several)
    for family in families(joint):
        metric = next(iter(family)).metric
        found.looks[metric] = look(metric, {compared.signature for compared in family.values()})
        _family(family, items, design, found)
    return found, notes


def _joint(runs: Sequence[Inputs], items: Sequence[Item]) -> tuple[dict[Place, Compared], list[str]]:
    """Segment scores of all runs together, with labels as methods; and notes on those that do not fit together."""
    joint: dict[Place, Compared] = {}
    untested: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        files = []  # of sacreBLEU's segment scores, and of neural metrics'
        for model in run.models:
            for test, direction in items:
                folder = run.folder / "evaluate" / str(model) / test
                files += [path for path in [folder / f"{direction}.segments.parquet"] if path.is_file()]
                files += sorted(folder.glob(f"{direction}.*.segments.parquet"))
        found = read_all(files)
        if not found:
            untested[f"no segment scores in {run.name}"] = []
        for place, compared in found.items():
            there = joint.setdefault(place, Compared(compared.signature))
            own = next(iter(compared.statistics.values()))
            if why := there.differs(place.metric, own, compared.signature):
                untested[f"{run.name}: {why}"].append(" ".join(place))
                continue
            for model, statistics in compared.statistics.items():
                label = run.label((model.method, model.variant))
                there.statistics[Model(label, MAIN, model.seed)] = statistics
    notes = [f"Not tested: {why}" + (f" ({first(places)})." if places else ".") for why, places in untested.items()]
    return joint, notes


def _family(data: Mapping[Place, Compared], items: Sequence[Item], design: Design, found: Significance) -> None:
    """Add the outcomes of one metric on one test set; of means only if all their directions can be tested."""
    test, _, metric = next(iter(data))
    wanted = [direction for name, direction in items if name == test]
    there = {place.direction for place in data}
    means = [mean for mean in MEANS if all(one in there for one in wanted if belongs(one, mean))]
    single: dict[tuple[Pair, Place], Tested] = {}
    averaged: dict[tuple[Pair, Place], Tested] = {}
    for place, sampled in resampled(data, design, means):
        (single if place in data else averaged).update(_outcomes(sampled, place, found))
    found.comparisons[test, metric] = (len(single), len(averaged))
    for part in (single, averaged):
        corrected = [holm(ps) for ps in zip(*(ps for _, ps in part.values()), strict=True)]
        for ((one, base), place), *ps in zip(part, *corrected, strict=True):
            outcome, _ = part[(one, base), place]
            p = max(ps) if found.seeds else ps[0]
            found.tests[tuple(one), tuple(base), tuple(place)] = replace(outcome, p=p)


def _outcomes(sampled: Sampled, place: Place, found: Significance) -> dict[tuple[Pair, Place], Tested]:
    """The tests in one place. Intervals of the scores, and pairs that wrote the same, go directly to `found`."""
    for method, drawn in sampled.bootstrap.items():
        found.intervals[tuple(method), tuple(place)] = interval(drawn)
    outcomes = {}
    for (one, base), swapped in sampled.swapped.items():
        difference, low, high, p_bootstrap, p_randomisation = sampled.test(one, base)
        outcome = Outcome(difference, 1.0, low, high)
        if np.abs(swapped).max() <= TOLERANCE:  # the scores of all sentences are equal
            found.tests[tuple(one), tuple(base), tuple(place)] = outcome
        else:
            outcomes[(one, base), place] = outcome, (p_randomisation, p_bootstrap)
    return outcomes
