"""The tables of a comparison: differences of configs and software, scores and their differences, cost."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import yaml

from lander.report.compare.paired import MAIN
from lander.report.compare.runs import bases, methods
from lander.report.inputs import Inputs
from lander.report.labels import MEAN_LABELS, look, run_label
from lander.report.provenance import versions
from lander.report.scores import Pair, difference_cell, difference_table
from lander.report.significance import SIGNIFICANT, Significance
from lander.report.summary import average, sides
from lander.report.tables import MISSING, Cell, Table, duration, measured, quantity, size
from lander.report.training import by_stage

COSTS = {  # heading -> key of run.json, how it is shown
    "trained": ("parameters_trained", quantity),
    "time": ("seconds", duration),
    "tokens": ("tokens", quantity),
    "memory": ("peak_memory_bytes", size),
}
FACTORS = ("trained", "time", "memory")  # of these also in the table of differences
NAME = "run"  # the key of the config that always differs


def flat(value: Any, key: str = "") -> dict[str, str]:
    """A config as `finetune.steps` -> its value as YAML; lists are values."""
    if isinstance(value, dict) and (value or not key):
        parts = [flat(inner, f"{key}.{name}" if key else str(name)) for name, inner in value.items()]
        return {name: text for part in parts for name, text in part.items()}
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf"), sort_keys=False)
    return {key: text.removesuffix("\n").removesuffix("\n...")}


def _differing(caption: str, corner: str, columns: dict[str, dict[str, str]], *notes: str) -> Table | None:
    """The keys that do not have the same text in all columns; None if there are none."""
    frame = pd.DataFrame(columns, dtype=object).fillna(MISSING)
    rows = [(key, list(texts)) for key, *texts in frame.itertuples(name=None) if len(set(texts)) > 1]
    return Table.of(caption, corner, columns, rows, notes=[*notes], wide=True) if rows else None


def config_table(runs: Sequence[Inputs]) -> Table | None:
    """The keys of the configs that differ."""
    columns = {run.name: flat(config) for run in runs if isinstance(config := run.setting(), dict)}
    for column in columns.values():
        column.pop(NAME, None)
    return _differing("What differs in the configs", "key", columns)


def software_table(runs: Sequence[Inputs]) -> Table | None:
    """Versions of libraries and digests of stages' code that differ."""
    codes = {run.name: {f"code of {name}": str(digest) for name, digest in run.code.items()} for run in runs}
    columns = {run.name: versions(run) | codes[run.name] for run in runs}
    note = "A stage's digest changes with its code, but not with comments. A change of code need not change numbers."
    return _differing("What differs in the software", "library or stage", columns, note)


def _pairs(runs: Sequence[Inputs]) -> list[Pair]:
    """(`method · later − first`, the later, the first) of all comparisons."""
    found, based = [], bases(runs)
    for method in methods(runs):
        names = {run.label(method): run.name for run in runs}
        for label, name in names.items():
            if base := based.get(label):
                text = f"{run_label(method)} · {name} − {names[base]}"
                found.append((text, (label, MAIN), (base, MAIN)))
    return found


def differences(
    runs: Sequence[Inputs], scores: pd.DataFrame, test: str, metric: str, tested: Significance
) -> Table | None:
    """Each method in a later run minus the same in the first run that has it; None if no method is in two runs."""
    rows = scores[(scores["test"] == test) & (scores["metric"] == metric)]
    values = rows.groupby(["method", "variant", "direction"])["score"].mean().to_dict()
    shown = look(metric, rows["signature"].unique())
    caption, notes = f"Differences in {shown.heading}, on {test}", []
    if (test, metric) in tested.comparisons:
        single, means = tested.comparisons[test, metric]
        caption += f" ({single} comparison{'' if single == 1 else 's'})"
        notes = [f"Corrected for {single} comparisons, the means for {means}. Identical outputs are not counted."]
    table = difference_table(caption, tested, test, metric, _pairs(runs), shown, values)
    return table and replace(table, corner="method · runs", notes=[*table.notes, *notes])


def glance_table(
    runs: Sequence[Inputs], scores: pd.DataFrame, tests: Sequence[str], tested: Significance
) -> Table | None:
    """Every method in two runs on one line: change of its means, directions that are better and worse, and of cost."""
    bleu = scores[scores["metric"] == "bleu"]
    values = bleu.groupby(["test", "method", "direction"])["score"].mean()
    factors = FACTORS if any(run.runs for run in runs) else ()
    (_, costs), rows, columns = _costs(runs), [], []
    for label, one, base in _pairs(runs):
        cells = {}
        for test in tests:
            for name in sides(scores, test):
                outcome = tested.compare(one, base, (test, name, "bleu"))
                ends = [values.get((test, method, name)) for method, _ in (one, base)]
                gap = None if None in ends else ends[0] - ends[1]
                cells[f"BLEU on {test}", MEAN_LABELS[name]] = difference_cell(gap, outcome, look("bleu"))
            higher, lower, of = tested.counted(one, base, test)
            for heading, number in (("better", higher), ("worse", lower)):
                cells[f"BLEU on {test}", heading] = Cell(f"{number} of {of}", value=number) if of else MISSING
        cells |= {("training", name): measured(costs.loc[one[0], name], "×{:.2f}".format) for name in factors}
        columns = list(cells)
        rows.append((label, cells.values()))
    if not rows:
        return None
    notes = [f"Better, worse: directions with a significant difference ({SIGNIFICANT}), of all tested. Bold: the mean."]
    if factors:
        notes.append("Training: parameters, time and peak memory of one process, relative to the first run.")
    return Table.of("Differences at a glance", "method · runs", columns, rows, notes=notes, word="significant")


def _costs(runs: Sequence[Inputs]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What training cost (mean over seeds): label x heading, and the same divided by that of the first run."""
    found = {
        run.label(method): {heading: average(run, method, key) for heading, (key, _) in COSTS.items()}
        for method in methods(runs)
        for run in runs
    }
    costs, based = pd.DataFrame(found).T.astype(float), bases(runs)
    first = costs.reindex([based.get(label) for label in costs.index]).set_axis(costs.index)
    return costs, (costs / first).replace(np.inf, np.nan)


def cost_table(runs: Sequence[Inputs]) -> Table | None:
    """What every training cost, also relative to the first run."""
    costs, factors = _costs(runs)
    rows = []
    for label, own in costs.dropna(how="all").iterrows():
        spreads = {name: "" if np.isnan(factor) else f"×{factor:.2f}" for name, factor in factors.loc[label].items()}
        shown = COSTS.items()
        rows.append((label, [replace(measured(own[name], text), spread=spreads[name]) for name, (_, text) in shown]))
    notes = ["Trained: parameters. Memory: the peak of one process. ×: relative to the first run that has the method."]
    return Table.of("What training cost", "method · run", COSTS, rows, notes=notes) if rows else None


def stage_table(runs: Sequence[Inputs]) -> Table | None:
    """Time of all jobs and peak memory of every stage, run by run."""
    found = {run.name: by_stage(run).set_index("stage") for run in runs if len(run.benchmarks)}
    if not found:
        return None
    rows = []
    for stage, jobs in pd.concat(found, axis="columns").iterrows():
        cells = []
        for name in found:
            ran, copied = jobs[name, "jobs"] > 0, jobs[name, "copied"] > 0
            cells.append(measured(jobs[name, "seconds"], duration) if ran else "copied" if copied else MISSING)
        rows.append((stage, [*cells, *(measured(jobs[name, "memory"], size) for name in found)]))
    columns = [(group, name) for group in ("time of all jobs", "peak memory") for name in found]
    notes = [
        "Wall-clock time; jobs may have run in parallel. A job that did not run again keeps the time of its first run. "
        "Jobs whose results were copied from another run are not counted."
    ]
    return Table.of("Time and memory by stage", "stage", columns, rows, notes=notes)
