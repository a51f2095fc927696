"""Paired tests between runs: each method against itself in the first run that has it, on the same sentences.

Intervals, tests and correction are those of `lander.evaluate.significance`; what is corrected together are all
comparisons of one metric on one test set, the means apart. Where both runs wrote the same, nothing is compared: the
difference is 0, p is 1, and it does not count among the comparisons. As in a run's own report the p is that of
randomisation and, where a method has several seeds, the larger of that and of the bootstrap's, which draws seeds too.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lander.evaluate import resampling
from lander.evaluate.collect import MEANS, belongs
from lander.evaluate.resampling import Mean, Method, Pair, Sampled, sample
from lander.evaluate.segments import REFERENCE_COUNTS, Compared, Model, Place, read_all
from lander.evaluate.significance import SEED, enough
from lander.report.compare.runs import Finished, Item, bases
from lander.report.metrics import look
from lander.report.significance import Outcome, Significance

MAIN = "main"  # the variant of all labels
Tested = tuple[Outcome, tuple[float, float]]  # the p's of randomisation and of the bootstrap, not yet corrected


@dataclass(frozen=True)
class Across:
    """What is compared with what, and how often it is resampled; stands where a run's own tests have a `Design`."""

    pairs_of: dict[Method, Method]
    resamples: int
    seed: int = SEED

    def pairs(self, there: Mapping[Method, object]) -> list[Pair]:
        """The methods that are there, each with its base."""
        return [(one, base) for one, base in self.pairs_of.items() if one in there and base in there]


def paired(runs: Sequence[Finished], items: Sequence[Item], resamples: int = 0) -> tuple[Significance, list[str]]:
    """Intervals of all scores, and the tests, by the labels of the methods.

    Args:
        resamples: of the bootstrap and of the randomisation; 0: 10,000, or more where the correction needs them.

    Returns:
        the tests, and what could not be tested.
    """
    joint, notes = _joint(runs, items)
    families: dict[tuple[str, str], list[Place]] = defaultdict(list)
    for place in sorted(joint):
        families[place.test, place.metric].append(place)
    design = Across({Method(one, MAIN): Method(base, MAIN) for one, base in bases(runs).items()}, resamples)
    if not resamples and joint:
        sizes = [sum(len(design.pairs(_methods(joint[one]))) for one in places) for places in families.values()]
        design = Across(design.pairs_of, enough(max(sizes)))
    seeds = any(len(models) > 1 for compared in joint.values() for models in _methods(compared).values())
    found = Significance(seeds=seeds)
    for places in families.values():
        found.looks[places[0].metric] = look(places[0].metric, {joint[one].signature for one in places})
        _family({place: joint[place] for place in places}, items, design, found)
    return found, notes


def _joint(runs: Sequence[Finished], items: Sequence[Item]) -> tuple[dict[Place, Compared], list[str]]:
    """Segment scores of all runs together, the method being its label; and which of them do not go together."""
    joint: dict[Place, Compared] = {}
    untested: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        found = read_all(_files(run, items))
        if not found:
            untested[f"no segment scores in {run.name}"] = []
        for place, compared in found.items():
            there = joint.setdefault(place, Compared(compared.signature))
            if why := _apart(there, compared):
                untested[f"{run.name}: {why}"].append(" ".join(place))
                continue
            for model, statistics in compared.statistics.items():
                label = run.label((model.method, model.variant))
                there.statistics[Model(label, MAIN, model.seed)] = statistics
    return joint, [f"Not tested: {why}{_where(places)}." for why, places in untested.items()]


def _where(places: Sequence[str]) -> str:
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return f" ({', '.join(places[:3])}{more})" if places else ""


def _files(run: Finished, items: Sequence[Item]) -> list[Path]:
    """Files of segment scores: sacreBLEU's, and those of neural metrics."""
    folders = [run.folder / "evaluate" / one.method / one.variant / f"s{one.seed}" for one in run.models]
    known = [folder / test / direction for folder in folders for test, direction in items]
    names = [(one.parent, f"{one.name}.segments.parquet") for one in known]
    files = [folder / name for folder, name in names if (folder / name).is_file()]
    return files + [path for one in known for path in sorted(one.parent.glob(f"{one.name}.*.segments.parquet"))]


def _apart(there: Compared, other: Compared) -> str:
    """Why segment scores of two runs cannot stand beside each other; empty where they can."""
    if not there.statistics:
        return ""
    one, two = next(iter(there.statistics.values())), next(iter(other.statistics.values()))
    if len(one) != len(two):
        return f"{len(two)} test sentences where the others have {len(one)}"
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
    """Add the outcomes of one metric on one test set; of means only where all their directions can be tested."""
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
    """The tests in one place; the intervals of the scores go to `found`, and so do pairs that wrote the same."""
    for method, drawn in sampled.bootstrap.items():
        found.intervals[tuple(method), tuple(place)] = resampling.interval(drawn)
    outcomes = {}
    for (one, base), swapped in sampled.swapped.items():
        difference, drawn = sampled.score(one) - sampled.score(base), sampled.bootstrap[one] - sampled.bootstrap[base]
        outcome = Outcome(difference, 1.0, *resampling.interval(drawn))
        if np.abs(swapped).max() <= resampling.TOLERANCE:  # whatever is swapped: the scores of all sentences are equal
            found.tests[tuple(one), tuple(base), tuple(place)] = outcome
            continue
        ps = (
            resampling.p_randomisation(swapped[1:], swapped[0]),
            resampling.p_bootstrap(drawn, difference, sampled.longest),
        )
        outcomes[(one, base), place] = outcome, ps
    return outcomes
