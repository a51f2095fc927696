"""The runs to compare: what is read of each, on which test items they can be compared, and paired tests between them.

A method is tested against itself in the first run that has it, on the same sentences. Intervals, tests and correction
are those of `lander.evaluate.significance`. All comparisons of one metric on one test set are corrected together, the
means separately. If both runs wrote the same outputs, nothing is compared: the difference is 0, p is 1, and it does not
count among the comparisons. `lander.report.significance` says which p counts.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path

import numpy as np
import pandas as pd

from lander.evaluate import segments, translations
from lander.evaluate.collect import MEANS, belongs, means
from lander.evaluate.metrics import look
from lander.evaluate.resampling import TOLERANCE, Design, holm, interval, resampled
from lander.evaluate.segments import Compared, Place
from lander.evaluate.significance import enough, families
from lander.report.inputs import Inputs, read_benchmarks, read_object, read_scores_table
from lander.report.labels import Method, method_key, sort_directions
from lander.report.significance import Outcome, Significance
from lander.report.tables import first
from lander.shared.errors import UserError
from lander.shared.files import check, read_json
from lander.shared.runs import Model

REMEDY = "name the folder of a finished run, as in results/demo"
SCORES = "evaluate/scores.csv"  # of a finished run
MAIN = "main"  # the variant of all labels
Item = tuple[str, str]  # test set, direction


def read_runs(folders: Sequence[Path]) -> list[Inputs]:
    """Read all runs, in the order given. A name is that of the folder, with its parents if two runs have the same."""
    paths = [folder.resolve() for folder in folders]
    for place, (folder, path) in enumerate(zip(folders, paths, strict=True)):
        if path in paths[:place]:
            raise UserError(f"{folder}: the run is given twice; name two different runs")
    for length in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(names)) == len(paths):
            break
    return [read_run(folder, name) for folder, name in zip(folders, names, strict=True)]


def read_run(folder: Path, name: str) -> Inputs:
    """What a comparison shows of a run."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; {REMEDY}")
    if not (folder / SCORES).is_file():
        raise UserError(f"{folder}: not a finished run, there is no {SCORES} in it; {REMEDY}")
    run = Inputs(name, read_scores_table(folder / SCORES), folder)
    records = {model: folder / "finetune" / str(model) / "run.json" for model in run.models}
    run.runs = {model: read_object(path) for model, path in records.items() if path.is_file()}
    if (folder / "config.yaml").is_file():
        check(folder / "config.yaml")
        run.config = (folder / "config.yaml").read_text(encoding="utf-8", errors="replace")
    if (folder / "benchmarks").is_dir():
        run.benchmarks = read_benchmarks(folder / "benchmarks")
    if (folder / ".code.json").is_file():
        run.code = read_json(folder / ".code.json")
    return run


def items_of(run: Inputs) -> set[Item]:
    """The items that a run has scores of."""
    scores = run.scores[~run.scores["direction"].isin(MEANS)]
    return set(zip(scores["test"], scores["direction"], strict=True))


def common(runs: Sequence[Inputs]) -> tuple[list[Item], list[str]]:
    """The test items that all runs have, with the same sentences in each, and notes on those that are left out."""
    shared = set.intersection(*(items_of(run) for run in runs))
    if not shared:
        there = "; ".join(f"{run.name} has {_listed(items_of(run))}" for run in runs)
        raise UserError(f"{runs[1].folder}: no test set and direction that all runs have: {there}; compare other runs")
    left = {run.name: items_of(run) - shared for run in runs}
    notes = [f"Left out, not in all runs: {_listed(items)} of {name}." for name, items in left.items() if items]
    digests = {item: {run.name: sentences(run.folder, *item) for run in runs} for item in shared}
    other = {item for item, found in digests.items() if len(set(found.values()) - {None}) > 1}
    if other == shared:
        raise UserError(
            f"{runs[1].folder}: the test sets have the same names as in {runs[0].folder}, but other sentences: "
            f"{_listed(other)}; scores on different sentences cannot be compared"
        )
    if other:
        notes.append(f"Left out, same name but other sentences: {_listed(other)}.")
    if unknown := sorted({name for found in digests.values() for name, digest in found.items() if digest is None}):
        notes.append(f"Not checked, because translations are missing: the test sentences of {', '.join(unknown)}.")
    return [(test, direction) for test, names in _by_test(shared - other).items() for direction in names], notes


def sentences(folder: Path, test: str, direction: str) -> str | None:
    """Digest of a test set's sources and references, from the translations of any method; None without any."""
    pattern = f"translate/*/*/*/{escape(test)}/{escape(direction)}.jsonl"
    for path in sorted(folder.glob(pattern)):
        found = translations.read(path)
        return hashlib.sha256(json.dumps([found.source, found.references]).encode()).hexdigest()
    return None


def _by_test(items: Iterable[Item]) -> dict[str, list[str]]:
    """Test set -> its directions, in the order of the report."""
    tests: dict[str, list[str]] = defaultdict(list)
    for test, direction in items:
        tests[test].append(direction)
    return {test: sort_directions(tests[test]) for test in sorted(tests)}


def _listed(items: Iterable[Item]) -> str:
    """`bible (en-fr), news (en-de, de-en)`."""
    return ", ".join(f"{test} ({', '.join(directions)})" for test, directions in _by_test(items).items())


def methods(runs: Sequence[Inputs]) -> list[Method]:
    """All methods, in the order of the report."""
    return sorted({method for run in runs for method in run.methods}, key=method_key)


def bases(runs: Sequence[Inputs]) -> dict[str, str]:
    """Label of a method in a run -> its label in the first run that has it, in the order of methods and runs."""
    found = {}
    for method in methods(runs):
        labels = [run.label(method) for run in runs if method in run.methods]
        found |= dict.fromkeys(labels[1:], labels[0])
    return found


def scores_of(runs: Sequence[Inputs], items: Sequence[Item]) -> pd.DataFrame:
    """The scores of all runs on those items as if of one run, with labels as methods, and means over those items.

    A model that lacks some direction of a test set has no mean on it: its mean would be over other directions.
    """
    wanted, parts = pd.MultiIndex.from_tuples(items), []
    for run in runs:
        scores = run.scores
        rows = scores[pd.MultiIndex.from_frame(scores[["test", "direction"]]).isin(wanted)]
        labels = [run.label(method) for method in zip(rows["method"], rows["variant"], strict=True)]
        parts.append(rows.assign(method=labels, variant=MAIN))
    table = pd.concat(parts, ignore_index=True)
    number = pd.Series([test for test, _ in items]).value_counts()
    has = table.groupby(["method", "seed", "test"])["direction"].transform("nunique")
    whole = table[has == table["test"].map(number)]
    return pd.concat([table, pd.DataFrame(means(whole.to_dict("records"))).astype({"score": float})])


# ---------------------------------------------------------------- paired tests


def paired(runs: Sequence[Inputs], items: Sequence[Item], resamples: int = 0) -> tuple[Significance, list[str]]:
    """Intervals of all scores and the tests, by the labels of the methods, and notes on what could not be tested.

    `resamples` of the bootstrap and of the randomisation; 0: 10,000, or more if the correction needs them.
    """
    joint, notes = _joint(runs, items)
    pairs = [(segments.Method(one, MAIN), segments.Method(base, MAIN)) for one, base in bases(runs).items()]
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
        found = segments.read_all(files)
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
    averages = [mean for mean in MEANS if all(one in there for one in wanted if belongs(one, mean))]
    single, averaged = {}, {}  # keys of `found.tests` -> uncorrected p's of randomisation and of the bootstrap
    for place, sampled in resampled(data, design, averages):
        for method, drawn in sampled.bootstrap.items():
            found.intervals[tuple(method), tuple(place)] = interval(drawn)
        for (one, base), swapped in sampled.swapped.items():
            difference, low, high, p_bootstrap, p_randomisation = sampled.test(one, base)
            key = (tuple(one), tuple(base), tuple(place))
            found.tests[key] = Outcome(difference, 1.0, low, high)
            if np.abs(swapped).max() > TOLERANCE:  # else the scores of all sentences are equal
                (single if place in data else averaged)[key] = p_randomisation, p_bootstrap
    found.comparisons[test, metric] = (len(single), len(averaged))
    for part in (single, averaged):
        corrected = [holm(ps) for ps in zip(*part.values(), strict=True)]
        for key, *ps in zip(part, *corrected, strict=True):
            found.tests[key] = replace(found.tests[key], p=max(ps) if found.seeds else ps[0])
