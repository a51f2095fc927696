"""The runs that are compared: what is read of each, and on which test items they can be compared."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import pandas as pd

from lander.evaluate import translations
from lander.evaluate.collect import MEANS, means
from lander.report.inputs import Inputs, Run, read_benchmarks, read_run, read_scores_table
from lander.report.order import method_key, run_label, sort_directions
from lander.shared.errors import UserError
from lander.shared.files import read_json

REMEDY = "name the folder of a finished run, as in results/demo"
Item = tuple[str, str]  # test set, direction
Method = tuple[str, str]  # method, variant


@dataclass(frozen=True)
class Finished:
    """A finished run: its folder, and what the report reads of it."""

    folder: Path
    inputs: Inputs

    @property
    def name(self) -> str:
        """The folder's name; with those above it where two runs have the same."""
        return self.inputs.name

    @property
    def items(self) -> set[Item]:
        """What it has scores of."""
        scores = self.inputs.scores[~self.inputs.scores["direction"].isin(MEANS)]
        return set(zip(scores["test"], scores["direction"], strict=True))

    @property
    def models(self) -> list[Run]:
        """What it has scores of, seed by seed."""
        return [Run(*key) for key in self.inputs.scores.groupby(["method", "variant", "seed"]).groups]

    def label(self, method: Method) -> str:
        """What a method of this run is called beside those of others."""
        return f"{run_label(method)} · {self.name}"


@dataclass(frozen=True)
class Common:
    """What all runs have: test items, and what is to be said about those that are left out or were not checked."""

    items: list[Item]
    notes: list[str]


def read_runs(folders: Sequence[Path]) -> list[Finished]:
    """Read all runs, in the order given.

    Raises:
        UserError: fewer than two runs, one given twice, a folder that is none of a run, a file that cannot be read.
    """
    if len(folders) < 2:
        raise UserError(f"{folders[0]}: one run only; name two or more, as in `lander compare results/a results/b`")
    paths = [folder.resolve() for folder in folders]
    for place, (folder, path) in enumerate(zip(folders, paths, strict=True)):
        if path in paths[:place]:
            raise UserError(f"{folder}: the run is given twice; name two different runs")
    return [_read(folder, name) for folder, name in zip(folders, names(paths), strict=True)]


def names(paths: Sequence[Path]) -> list[str]:
    """The last parts of paths, as many as it takes to tell them apart."""
    for length in range(1, max(len(path.parts) for path in paths) + 1):
        found = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(found)) == len(paths):
            break
    return found


def _read(folder: Path, name: str) -> Finished:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; {REMEDY}")
    if not (folder / "evaluate/scores.csv").is_file():
        raise UserError(f"{folder}: not a finished run, there is no evaluate/scores.csv in it; {REMEDY}")
    scores = read_scores_table(folder / "evaluate/scores.csv")
    models = scores[["method", "variant", "seed"]].drop_duplicates().itertuples(index=False, name=None)
    costs = {Run(*one): folder / "finetune" / one[0] / one[1] / f"s{one[2]}" / "run.json" for one in models}
    benchmarks, code, config = folder / "benchmarks", folder / ".code.json", folder / "config.yaml"
    inputs = Inputs(
        name=name,
        scores=scores,
        runs={model: read_run(path) for model, path in costs.items() if path.is_file()},
        config=config.read_text(encoding="utf-8", errors="replace") if config.is_file() else None,
        benchmarks=read_benchmarks(benchmarks) if benchmarks.is_dir() else pd.DataFrame(),
        code=read_json(code) if code.is_file() else {},
    )
    return Finished(folder, inputs)


# ---------------------------------------------------------------- what they have in common


def common(runs: Sequence[Finished]) -> Common:
    """The test items that all runs have, the same sentences in each.

    Raises:
        UserError: there are none.
    """
    shared = set.intersection(*(run.items for run in runs))
    if not shared:
        there = "; ".join(f"{run.name} has {_listed(run.items)}" for run in runs)
        raise UserError(f"{runs[1].folder}: no test set and direction that all runs have: {there}; compare other runs")
    notes = [f"Left out, not in all runs: {_listed(run.items - shared)} of {run.name}." for run in runs]
    notes = [note for note, run in zip(notes, runs, strict=True) if run.items - shared]
    digests = {item: {run.name: sentences(run.folder, *item) for run in runs} for item in shared}
    other = {item for item, found in digests.items() if len(set(found.values()) - {None}) > 1}
    if other == shared:
        raise UserError(
            f"{runs[1].folder}: the test sets have the same names as in {runs[0].folder}, and other sentences: "
            f"{_listed(other)}; scores on different sentences cannot be compared"
        )
    if other:
        notes.append(f"Left out, same name but other sentences: {_listed(other)}.")
    if unknown := sorted({name for found in digests.values() for name, digest in found.items() if digest is None}):
        notes.append(f"Not checked, no translations there: whether {', '.join(unknown)} had the same test sentences.")
    return Common(sort_items(shared - other), notes)


def sentences(folder: Path, test: str, direction: str) -> str | None:
    """Digest of a test set's sources and references, from the translations of any method; None without any."""
    pattern = f"translate/*/*/*/{escape(test)}/{escape(direction)}.jsonl"
    for path in sorted(folder.glob(pattern)):
        found = translations.read(path)
        return hashlib.sha256(json.dumps([found.source, found.reference]).encode()).hexdigest()
    return None


def sort_items(items: Iterable[Item]) -> list[Item]:
    """By test set, then directions as in the report."""
    tests: dict[str, list[str]] = defaultdict(list)
    for test, direction in items:
        tests[test].append(direction)
    return [(test, direction) for test in sorted(tests) for direction in sort_directions(tests[test])]


def _listed(items: Iterable[Item]) -> str:
    """`news (en-de, de-en), bible (en-fr)`."""
    tests: dict[str, list[str]] = defaultdict(list)
    for test, direction in sort_items(items):
        tests[test].append(direction)
    return ", ".join(f"{test} ({', '.join(directions)})" for test, directions in tests.items())


def methods(runs: Sequence[Finished]) -> list[Method]:
    """All methods, in the order of the report."""
    return sorted({(model.method, model.variant) for run in runs for model in run.models}, key=method_key)


def bases(runs: Sequence[Finished]) -> dict[str, str]:
    """Label of a method in a run -> its label in the first run that has it, in the order of methods and runs."""
    found = {}
    for method in methods(runs):
        labels = [run.label(method) for run in runs if any(model[:2] == method for model in run.models)]
        found |= dict.fromkeys(labels[1:], labels[0])
    return found


def scores_of(runs: Sequence[Finished], items: Sequence[Item]) -> pd.DataFrame:
    """The scores of all runs on those items as one run's, the method being its label, and means over those items.

    A model that lacks some direction of a test set has no mean on it: it would be over others than the rest.
    """
    wanted, parts = pd.MultiIndex.from_tuples(items), []
    for run in runs:
        scores = run.inputs.scores
        rows = scores[pd.MultiIndex.from_frame(scores[["test", "direction"]]).isin(wanted)]
        labels = [run.label(method) for method in zip(rows["method"], rows["variant"], strict=True)]
        parts.append(rows.assign(method=labels, variant="main"))
    table = pd.concat(parts, ignore_index=True)
    number = pd.Series([test for test, _ in items]).value_counts()
    has = table.groupby(["method", "seed", "test"])["direction"].transform("nunique")
    whole = table[has == table["test"].map(number)]
    return pd.concat([table, pd.DataFrame(means(whole.to_dict("records"))).astype({"score": float})])
