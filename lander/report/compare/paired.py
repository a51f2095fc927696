"""Paired tests between runs: each method against itself in the first run that has it, on the same sentences.

Intervals, tests and correction are those of `lander.evaluate.significance`. All comparisons of one metric on one test
set are corrected together, the means separately. If both runs wrote the same outputs, nothing is compared: the
difference is 0, p is 1, and it does not count among the comparisons. As in a run's report, the p is that of
randomisation or, if a method has several seeds, the larger of that and the p of the bootstrap, which also draws seeds.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lander.evaluate import resampling
from lander.evaluate.collect import MEANS, belongs
from lander.evaluate.resampling import Mean, Method, Pair, Sampled, sample
from lander.evaluate.segments import REFERENCE_COUNTS, Compared, Model, Place, read_all
from lander.evaluate.significance import SEED, enough
from lander.report.compare.runs import Item, bases
from lander.report.inputs import Inputs
from lander.report.labels import look
from lander.report.significance import Outcome, Significance
from lander.report.tables import first

MAIN = "main"  # the variant of all labels
Tested = tuple[Outcome, tuple[float, float]]  # with the uncorrected p's of randomisation and of the bootstrap


@dataclass(frozen=True)
class Across:
    """What is compared with what, and the number of resamples: `sample` takes it instead of a run's `Design`."""

    pairs_of: dict[Method, Method]
    resamples: int
    seed: int = SEED

    def pairs(self, there: Mapping[Method, object]) -> list[Pair]:
        """The methods that are there, each with its base, if that is there too."""
        return [(one, base) for one, base in self.pairs_of.items() if one in there and base in there]


def paired(runs: Sequence[Inputs], items: Sequence[Item], resamples: int = 0) -> tuple[Significance, list[str]]:
    """Intervals of all scores and the tests, by the labels of the methods, and notes on what could not be tested.

    `resamples` of the bootstrap and of the randomisation; 0: 10,000, or more if the correction needs them.
    """
    joint, notes = _joint(runs, items)
    families: dict[tuple[str, str], list[Place]] = defaultdict(list)
    for place in sorted(joint):
        families[place.test, place.metric].append(place)
    design = Across({Method(one, MAIN): Method(base, MAIN) for one, base in bases(runs).items()}, resamples)
    if not resamples and joint:
        sizes = [sum(len(design.pairs(_methods(joint[one]))) for one in places) for places in families.values()]
        design = Across(design.pairs_of, enough(max(sizes)))
    found = Significance(seeds=any(len(models) > 1 for one in joint.values() for models in _methods(one).values()))
    for places in families.values():
        found.looks[places[0].metric] = look(places[0].metric, {joint[one].signature for one in places})
        _family({place: joint[place] for place in places}, items, design, found)
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
            if why := _apart(there, compared):
                untested[f"{run.name}: {why}"].append(" ".join(place))
                continue
            for model, statistics in compared.statistics.items():
                own = run.label((model.method, model.variant))
                there.statistics[Model(own, MAIN, model.seed)] = statistics
    notes = [f"Not tested: {why}" + (f" ({first(places)})." if places else ".") for why, places in untested.items()]
    return joint, notes


def _apart(there: Compared, other: Compared) -> str:
    """Why segment scores of two runs cannot be compared; empty if they can."""
    if not there.statistics:
        return ""
    one, two = next(iter(there.statistics.values())), next(iter(other.statistics.values()))
    if len(one) != len(two):
        return f"{len(two)} test sentences, while the others have {len(one)}"
    if one.shape != two.shape or there.signature != other.signature:
        return f"computed differently, {other.signature} and not {there.signature}"
    fixed = REFERENCE_COUNTS.get(one.shape[1], [])
    return "" if np.array_equal(one[:, fixed], two[:, fixed]) else "other references"


def _methods(compared: Compared) -> dict[Method, list[Model]]:
    """The methods with their models in the order of the seeds."""
    found: dict[Method, list[Model]] = defaultdict(list)
    for model in sorted(compared.statistics, key=lambda model: (model.seed.zfill(9), model)):
        found[Method(model.method, model.variant)].append(model)
    return found


def _family(data: Mapping[Place, Compared], items: Sequence[Item], design: Across, found: Significance) -> None:
    """Add the outcomes of one metric on one test set; of means only if all their directions can be tested."""
    places = list(data)
    means = []
    for name in MEANS:
        members = [place for place in places if belongs(place.direction, name)]
        number = sum(test == places[0].test and belongs(direction, name) for test, direction in items)
        if members and len(members) == number:
            means.append(Mean(name, [one.direction for one in members], [_methods(data[one]) for one in members]))
    single: dict[tuple[Pair, Place], Tested] = {}
    for place in places:
        sampled = sample(data[place], design)
        single |= _outcomes(sampled, place, found)
        for mean in means:
            if place.direction in mean.members:
                mean.add(sampled)
    averaged: dict[tuple[Pair, Place], Tested] = {}
    for mean in means:
        if mean.sampled:
            averaged |= _outcomes(mean.sampled, places[0]._replace(direction=mean.name), found)
    found.comparisons[places[0].test, places[0].metric] = (len(single), len(averaged))
    for part in (single, averaged):
        corrected = [resampling.holm(ps) for ps in zip(*(ps for _, ps in part.values()), strict=True)]
        for ((one, base), place), *ps in zip(part, *corrected, strict=True):
            outcome, _ = part[(one, base), place]
            p = max(ps) if found.seeds else ps[0]
            found.tests[tuple(one), tuple(base), tuple(place)] = replace(outcome, p=p)


def _outcomes(sampled: Sampled, place: Place, found: Significance) -> dict[tuple[Pair, Place], Tested]:
    """The tests in one place. Intervals of the scores, and pairs that wrote the same, go directly to `found`."""
    for method, drawn in sampled.bootstrap.items():
        found.intervals[tuple(method), tuple(place)] = resampling.interval(drawn)
    outcomes = {}
    for (one, base), swapped in sampled.swapped.items():
        difference, drawn = sampled.score(one) - sampled.score(base), sampled.bootstrap[one] - sampled.bootstrap[base]
        outcome = Outcome(difference, 1.0, *resampling.interval(drawn))
        if np.abs(swapped).max() <= resampling.TOLERANCE:  # the scores of all sentences are equal
            found.tests[tuple(one), tuple(base), tuple(place)] = outcome
            continue
        p = resampling.p_randomisation(swapped[1:], swapped[0])
        outcomes[(one, base), place] = outcome, (p, resampling.p_bootstrap(drawn, difference, sampled.longest))
    return outcomes
