"""The tables of a comparison: differences of configs and software, scores and their differences, cost."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import yaml

from lander.report.compare.paired import MAIN
from lander.report.compare.runs import Finished, bases, methods
from lander.report.document import heads
from lander.report.labels import MEAN_LABELS, look, run_label
from lander.report.scores import difference_cell, difference_note, score_columns, score_heads, score_table
from lander.report.significance import SIGNIFICANT, Significance
from lander.report.summary import average, sides
from lander.report.tables import MISSING, Cell, Head, Table, duration, quantity
from lander.report.training import by_stage

COSTS = {  # heading -> key of run.json, how it is shown
    "trained": ("parameters_trained", quantity),
    "time": ("seconds", duration),
    "tokens": ("tokens", quantity),
    "memory": ("peak_memory_bytes", lambda value: quantity(value, "B")),
}
FACTORS = ("trained", "time", "memory")  # of these also in the table of differences
NAME = "run"  # the key of the config that always differs


# ---------------------------------------------------------------- configs and software


def flat(value: Any, key: str = "") -> dict[str, str]:
    """A config as `finetune.steps` -> its value as YAML; lists are values."""
    if isinstance(value, dict) and (value or not key):
        parts = [flat(inner, f"{key}.{name}" if key else str(name)) for name, inner in value.items()]
        return {name: text for part in parts for name, text in part.items()}
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf"), sort_keys=False)
    return {key: text.removesuffix("\n").removesuffix("\n...")}


def _differing(caption: str, corner: str, columns: dict[str, dict[str, str]], *notes: str) -> Table | None:
    """The keys that do not have the same text in all columns; None if there are none."""
    keys = dict.fromkeys(key for column in columns.values() for key in column)
    differ = [key for key in keys if len({column.get(key) for column in columns.values()}) > 1]
    rows = [(key, [Cell(column.get(key, MISSING)) for column in columns.values()]) for key in differ]
    return Table(caption, corner, heads(columns), rows, notes=[*notes], wide=True) if rows else None


def config_table(runs: Sequence[Finished]) -> Table | None:
    """The keys of the configs that differ."""
    columns = {run.name: flat(config) for run in runs if isinstance(config := run.inputs.setting(), dict)}
    for column in columns.values():
        column.pop(NAME, None)
    return _differing("What differs in the configs", "key", columns)


def software_table(runs: Sequence[Finished]) -> Table | None:
    """Versions of libraries and digests of stages' code that differ."""
    columns = {}
    for run in runs:
        versions: dict[str, set[str]] = {}
        for content in run.inputs.runs.values():
            there = content.get("versions")
            for name, version in (there if isinstance(there, dict) else {}).items():
                versions.setdefault(str(name), set()).add(str(version))
        found = {name: ", ".join(sorted(there)) for name, there in versions.items()}
        columns[run.name] = found | {f"code of {name}": str(digest) for name, digest in run.inputs.code.items()}
    note = "A stage's digest changes with its code, but not with comments. A change of code need not change numbers."
    return _differing("What differs in the software", "library or stage", columns, note)


# ---------------------------------------------------------------- scores


def side_by_side(runs: Sequence[Finished], scores: pd.DataFrame, test: str, metric: str, tested: Significance) -> Table:
    """The scores of every method in every run: methods together, runs in their order."""
    order = [run.label(method) for method in methods(runs) for run in runs]
    table = score_table(scores, test, metric, tested)
    rows = sorted(table.rows, key=lambda row: order.index(row[0]))
    return replace(table, corner="method · run", rows=rows)


def _pairs(runs: Sequence[Finished]) -> list[tuple[str, str, str]]:
    """(`method · later − first`, label of the later, label of the first) of all comparisons."""
    found, based = [], bases(runs)
    for method in methods(runs):
        names = {run.label(method): run.name for run in runs}
        for label, name in names.items():
            if label in based:
                found.append((f"{run_label(method)} · {name} − {names[based[label]]}", label, based[label]))
    return found


def differences(
    runs: Sequence[Finished], scores: pd.DataFrame, test: str, metric: str, tested: Significance
) -> Table | None:
    """Each method in a later run minus the same in the first run that has it; None if no method is in two runs."""
    rows = scores[(scores["test"] == test) & (scores["metric"] == metric)]
    values = rows.groupby(["method", "direction"])["score"].mean()
    heading, digits, factor, _ = look(metric, rows["signature"].unique())
    columns = score_columns(rows["direction"].unique())
    table = []
    for row_label, one, base in _pairs(runs):
        cells = []
        for _, name in columns:
            if (one, name) not in values or (base, name) not in values:
                cells.append(Cell(MISSING))
                continue
            outcome = tested.compare((one, MAIN), (base, MAIN), (test, name, metric))
            cells.append(difference_cell(values[one, name] - values[base, name], outcome, digits, factor))
        if any(cell.text != MISSING for cell in cells):
            table.append((row_label, cells))
    if not table:
        return None
    chance = "No paired tests were possible: small differences may be chance."
    notes = [difference_note(tested) if tested.tests else chance]
    title = f"Differences in {heading}, on {test}"
    if (test, metric) in tested.comparisons:
        single, means = tested.comparisons[test, metric]
        title += f" ({single} comparison{'' if single == 1 else 's'})"
        notes.append(f"Corrected for {single} comparisons, the means for {means}. Identical outputs are not counted.")
    names, groups = score_heads(columns)
    return Table(title, "method · runs", names, table, groups, notes, word="significant")


def glance_table(
    runs: Sequence[Finished], scores: pd.DataFrame, tests: Sequence[str], tested: Significance
) -> Table | None:
    """Every method in two runs on one line: change of its means, directions that are better and worse, and of cost."""
    bleu = scores[scores["metric"] == "bleu"]
    values = bleu.groupby(["test", "method", "direction"])["score"].mean()
    wanted = {test: list(sides(scores, test)) for test in tests}
    factors = FACTORS if any(run.inputs.runs for run in runs) else ()
    costs, rows = _costs(runs), []
    for row_label, one, base in _pairs(runs):
        cells = []
        for test in tests:
            for name in wanted[test]:
                outcome = tested.compare((one, MAIN), (base, MAIN), (test, name, "bleu"))
                ends = [values.get((test, label, name)) for label in (one, base)]
                cells.append(Cell(MISSING) if None in ends else difference_cell(ends[0] - ends[1], outcome, 1, 1))
            found = [
                outcome
                for (method, other, place), outcome in tested.tests.items()
                if (method, other) == ((one, MAIN), (base, MAIN))
                and (place[0], place[2]) == (test, "bleu")
                and place[1] not in MEAN_LABELS
            ]
            for sign in (1, -1):  # directions that are significantly better, and worse
                number = sum(outcome.significant and sign * outcome.difference > 0 for outcome in found)
                cells.append(Cell(f"{number} of {len(found)}", value=number) if found else Cell(MISSING))
        cells += [_factor(costs.get(one, {}), costs.get(base, {}), heading) for heading in factors]
        rows.append((row_label, cells))
    if not rows:
        return None
    texts = {test: [*(MEAN_LABELS[name] for name in names), "better", "worse"] for test, names in wanted.items()}
    groups = [Head(f"BLEU on {test}", len(texts[test])) for test in tests]
    groups += [Head("training", len(factors))] if factors else []
    notes = [f"Better, worse: directions with a significant difference ({SIGNIFICANT}), of all tested. Bold: the mean."]
    if factors:
        notes.append("Training: parameters, time and peak memory of one process, relative to the first run.")
    columns = heads([*(text for test in tests for text in texts[test]), *factors])
    return Table("Differences at a glance", "method · runs", columns, rows, groups, notes, word="significant")


# ---------------------------------------------------------------- cost


def _costs(runs: Sequence[Finished]) -> dict[str, dict[str, float]]:
    """Label of a method -> heading -> mean over seeds."""
    found: dict[str, dict[str, float]] = {}
    for method in methods(runs):
        for run in runs:
            own = {heading: average(run.inputs, method, key) for heading, (key, _) in COSTS.items()}
            if own := {heading: value for heading, value in own.items() if value is not None}:
                found[run.label(method)] = own
    return found


def _factor(own: dict[str, float], base: dict[str, float], heading: str) -> Cell:
    if heading not in own or not base.get(heading):
        return Cell(MISSING)
    return Cell(f"×{own[heading] / base[heading]:.2f}", value=own[heading] / base[heading])


def cost_table(runs: Sequence[Finished]) -> Table | None:
    """What every training cost, also relative to the first run."""
    costs, based = _costs(runs), bases(runs)
    rows = []
    for label, own in costs.items():
        cells = []
        for heading, (_, shown) in COSTS.items():
            factor = _factor(own, costs.get(based.get(label, ""), {}), heading).text
            spread = "" if factor == MISSING else factor
            cells.append(Cell(shown(own.get(heading)), spread=spread, value=own.get(heading)))
        rows.append((label, cells))
    notes = ["Trained: parameters. Memory: the peak of one process. ×: relative to the first run that has the method."]
    return Table("What training cost", "method · run", heads(COSTS), rows, notes=notes) if rows else None


def stage_table(runs: Sequence[Finished]) -> Table | None:
    """Time of all jobs and peak memory of every stage, run by run."""
    there = [run for run in runs if len(run.inputs.benchmarks)]
    if not there:
        return None
    found = [by_stage(run.inputs).set_index("stage").to_dict("index") for run in there]
    rows = []
    for stage in dict.fromkeys(stage for one in found for stage in one):
        seconds, peaks = [], []
        for job in (one.get(stage, {"jobs": 0, "copied": 0}) for one in found):
            if not job["jobs"]:  # the stage is not in this run, or all its jobs were copied
                seconds.append(Cell("copied" if job["copied"] else MISSING))
                peaks.append(Cell(MISSING))
                continue
            memory = None if job["memory"] != job["memory"] else job["memory"]
            seconds.append(Cell(duration(job["seconds"]), value=job["seconds"]))
            peaks.append(Cell(quantity(memory, "B"), value=memory))
        rows.append((str(stage), seconds + peaks))
    groups = [Head("time of all jobs", len(there)), Head("peak memory", len(there))]
    notes = [
        "Wall-clock time; jobs may have run in parallel. A job that did not run again keeps the time of its first run. "
        "Jobs whose results were copied from another run are not counted."
    ]
    return Table("Time and memory by stage", "stage", heads([run.name for run in there] * 2), rows, groups, notes)
