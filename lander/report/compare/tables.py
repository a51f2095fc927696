"""The tables of a comparison: what differs in the configs, scores and differences, cost."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import yaml

from lander.report.compare.paired import MAIN
from lander.report.compare.runs import Finished, bases, methods
from lander.report.costs import by_stage
from lander.report.metrics import look
from lander.report.order import run_label
from lander.report.significance import SIGNIFICANT, Outcome, Significance
from lander.report.summary import sides
from lander.report.tables import (
    MEAN_LABELS,
    MISSING,
    Cell,
    Head,
    Table,
    duration,
    quantity,
    score_columns,
    score_groups,
    score_table,
)

COSTS = {  # heading -> key of run.json, how it is shown
    "trained": ("parameters_trained", quantity),
    "time": ("seconds", duration),
    "tokens": ("tokens", quantity),
    "memory": ("peak_memory_bytes", lambda value: quantity(value, "B")),
}
NAME = "run"  # the key of the config that always differs
COPIED = Cell("copied")  # the time of a stage none of whose jobs was run


def flat(value: Any, key: str = "") -> dict[str, str]:
    """A config as `finetune.steps` -> its value as YAML; lists are values."""
    if isinstance(value, dict) and (value or not key):
        parts = [flat(inner, f"{key}.{name}" if key else str(name)) for name, inner in value.items()]
        return {name: text for part in parts for name, text in part.items()}
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf"), sort_keys=False)
    return {key: text.removesuffix("\n").removesuffix("\n...")}


def difference_table(caption: str, corner: str, columns: dict[str, dict[str, str]], wide: bool = True) -> Table | None:
    """The keys that have not the same text in all columns; None where there are none."""
    keys = list(dict.fromkeys(key for column in columns.values() for key in column))
    differ = [key for key in keys if len({column.get(key) for column in columns.values()}) > 1]
    rows = [(key, [Cell(column.get(key, MISSING)) for column in columns.values()]) for key in differ]
    return Table(caption, corner, [Head(name) for name in columns], rows, wide=wide) if rows else None


def config_table(runs: Sequence[Finished]) -> Table | None:
    """The keys of the configs that differ."""
    columns = {run.name: flat(config) for run in runs if isinstance(config := run.inputs.setting(), dict)}
    for column in columns.values():
        column.pop(NAME, None)
    return difference_table("What differs in the configs", "key", columns)


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
    table = difference_table("What differs in software", "library or stage", columns)
    note = "A stage's digest changes with its code, comments apart; other code need not give other numbers."
    return replace(table, notes=[note]) if table else None


# ---------------------------------------------------------------- scores


def side_by_side(runs: Sequence[Finished], scores: pd.DataFrame, test: str, metric: str, tested: Significance) -> Table:
    """The scores of every method in every run, methods together, runs in their order."""
    order = [run.label(method) for method in methods(runs) for run in runs]
    table = score_table(scores, test, metric, tested)
    rows = sorted(table.rows, key=lambda row: order.index(row[0]))
    return replace(table, corner="method · run", rows=rows)


def differences(
    runs: Sequence[Finished], scores: pd.DataFrame, test: str, metric: str, tested: Significance
) -> Table | None:
    """Each method in a later run minus the same in the first that has it; None where no method is in two runs."""
    rows = scores[(scores["test"] == test) & (scores["metric"] == metric)]
    values = rows.groupby(["method", "direction"])["score"].mean()
    heading, digits, factor, _ = look(metric, rows["signature"].unique())
    columns = score_columns(rows["direction"].unique())
    table = []
    for label, row_label, one, base in _pairs(runs):
        cells = []
        for _, name in columns:
            if (one, name) not in values or (base, name) not in values:
                cells.append(Cell(MISSING))
                continue
            outcome = tested.compare((one, MAIN), (base, MAIN), (test, name, metric))
            cells.append(_cell(values[one, name] - values[base, name], outcome, digits, factor))
        if any(cell.text != MISSING for cell in cells):
            table.append((f"{label} · {row_label}", cells))
    if not table:
        return None
    notes = [f"Below: the Holm-corrected p of {tested.test}, and the 95% interval. Bold: {SIGNIFICANT}."]
    if not tested.tests:
        notes = ["No paired test could be made: a small difference may be chance."]
    heads = [Head(MEAN_LABELS.get(name, name)) for _, name in columns]
    title = f"Differences in {heading}, on {test}"
    if (test, metric) in tested.comparisons:
        single, means = tested.comparisons[test, metric]
        title += f" ({single} comparison{'' if single == 1 else 's'})"
        notes.append(f"Corrected for {single} comparisons, the means for {means}. The same outputs are not counted.")
    return Table(title, "method · runs", heads, table, score_groups(columns), notes, word="significant")


def _pairs(runs: Sequence[Finished]) -> list[tuple[str, str, str, str]]:
    """(method, `later − first`, label of the one, label of the other) of all comparisons."""
    based, found = bases(runs), []
    for method in methods(runs):
        by_label = {run.label(method): run.name for run in runs}
        for label, name in by_label.items():
            if label in based:
                found.append((run_label(method), f"{name} − {by_label[based[label]]}", label, based[label]))
    return found


def _cell(difference: float, outcome: Outcome | None, digits: int, factor: float) -> Cell:
    text = _signed(difference * factor, digits)
    if outcome is None:
        return Cell(text)
    span = " to ".join(_signed(end * factor, digits) for end in (outcome.low, outcome.high))
    sure = "significant" if outcome.significant else "not significant"
    hover = f"{text}; 95% interval {span}; {outcome.text}; {sure}"
    return Cell(text, outcome.significant, outcome.text, span, hover=hover)


def _signed(value: float, digits: int) -> str:
    """`+1.2`, `−3.4`, and `0.0` without a sign for what rounds to it."""
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if float(text.replace("−", "-")) else text[1:]


def glance_table(
    runs: Sequence[Finished], scores: pd.DataFrame, tests: Sequence[str], tested: Significance
) -> Table | None:
    """Every method in two runs on one line: change of its means, directions that are better and worse, and of cost."""
    bleu = scores[scores["metric"] == "bleu"]
    values = bleu.groupby(["test", "method", "direction"])["score"].mean()
    wanted = {test: list(sides(scores, test)) for test in tests}
    rows = []
    for label, row_label, one, base in _pairs(runs):
        cells = []
        for test in tests:
            for name in wanted[test]:
                ends = [values.get((test, label, name)) for label in (one, base)]
                outcome = tested.compare((one, MAIN), (base, MAIN), (test, name, "bleu"))
                missing = None in ends
                cells.append(Cell(MISSING) if missing else _cell(ends[0] - ends[1], outcome, 1, 1))
            cells += _counts(tested, one, base, test)
        rows.append((f"{label} · {row_label}", cells + _factors(runs, one, base)))
    if not rows:
        return None
    heads = {test: [*(MEAN_LABELS[name] for name in names), "better", "worse"] for test, names in wanted.items()}
    groups = [Head(f"BLEU on {test}", len(heads[test])) for test in tests]
    costs = ["trained", "time", "memory"] if any(run.inputs.runs for run in runs) else []
    groups += [Head("training", len(costs))] if costs else []
    notes = [f"Better, worse: in how many directions, of those tested, significantly ({SIGNIFICANT}). Bold: the mean."]
    if costs:
        notes.append("Training: parameters, time and peak memory of one process as multiples of the first run's.")
    texts = [*(text for test in tests for text in heads[test]), *costs]
    heads = [Head(text) for text in texts]
    return Table("Differences at a glance", "method · runs", heads, rows, groups, notes, word="significant")


def _counts(tested: Significance, one: str, base: str, test: str) -> list[Cell]:
    """`3 of 10`: directions that are significantly better, and worse."""
    pair = ((one, MAIN), (base, MAIN))
    found = [
        outcome
        for (*two, place), outcome in tested.tests.items()
        if tuple(two) == pair and (place[0], place[2]) == (test, "bleu") and place[1] not in MEAN_LABELS
    ]
    if not found:
        return [Cell(MISSING)] * 2
    better = sum(outcome.significant and outcome.difference > 0 for outcome in found)
    worse = sum(outcome.significant and outcome.difference < 0 for outcome in found)
    return [Cell(f"{number} of {len(found)}", value=number) for number in (better, worse)]


# ---------------------------------------------------------------- cost


def _costs(runs: Sequence[Finished]) -> dict[str, dict[str, float]]:
    """Label of a method -> heading -> mean over seeds."""
    found: dict[str, dict[str, float]] = {}
    for method in methods(runs):
        for run in runs:
            records = [content for model, content in run.inputs.runs.items() if model[:2] == method]
            for heading, (key, _) in COSTS.items():
                values = [record[key] for record in records if isinstance(record.get(key), int | float)]
                if values:
                    found.setdefault(run.label(method), {})[heading] = sum(values) / len(values)
    return found


def _factors(runs: Sequence[Finished], one: str, base: str) -> list[Cell]:
    costs = _costs(runs)
    if not costs:
        return []
    return [_factor(costs.get(one, {}), costs.get(base, {}), heading) for heading in ("trained", "time", "memory")]


def _factor(own: dict[str, float], base: dict[str, float], heading: str) -> Cell:
    if heading not in own or not base.get(heading):
        return Cell(MISSING)
    return Cell(f"×{own[heading] / base[heading]:.2f}", value=own[heading] / base[heading])


def cost_table(runs: Sequence[Finished]) -> Table | None:
    """What every training cost, and its multiple of the first run's."""
    costs, based = _costs(runs), bases(runs)
    rows = []
    for label, own in costs.items():
        base = costs.get(based.get(label, ""), {})
        cells = []
        for heading, (_, shown) in COSTS.items():
            factor = _factor(own, base, heading)
            spread = "" if factor.text == MISSING else factor.text
            cells.append(Cell(shown(own.get(heading)), spread=spread, value=own.get(heading)))
        rows.append((label, cells))
    notes = ["Trained: parameters. Memory: the peak of one process. ×: of the method in the first run that has it."]
    return (
        Table("What training cost", "method · run", [Head(text) for text in COSTS], rows, [], notes) if rows else None
    )


def stage_table(runs: Sequence[Finished]) -> Table | None:
    """Time of all jobs and peak memory of every stage, run by run."""
    there = [run for run in runs if len(run.inputs.benchmarks)]
    if not there:
        return None
    stages = list(dict.fromkeys(stage for run in there for stage in run.inputs.benchmarks["stage"]))
    found = [by_stage(run.inputs).set_index("stage") for run in there]
    rows = []
    for stage in stages:
        jobs = [one.loc[stage] if stage in one.index else None for one in found]
        seconds = [
            COPIED if job is not None and not job["jobs"] else _cell_of(job, "seconds", duration) for job in jobs
        ]
        peaks = [_cell_of(job, "memory", lambda value: quantity(value, "B")) for job in jobs]
        rows.append((str(stage), seconds + peaks))
    groups = [Head("time of all jobs", len(there)), Head("peak memory", len(there))]
    notes = [
        "Wall-clock time; jobs may have run side by side. What was not run again has the time of its first run; jobs "
        "that were copied from another run are not counted."
    ]
    return Table("Time and memory by stage", "stage", [Head(run.name) for run in there] * 2, rows, groups, notes)


def _cell_of(job: pd.Series | None, key: str, shown: Callable[[float | None], str]) -> Cell:
    value = None if job is None or not job["jobs"] or job[key] != job[key] else float(job[key])
    return Cell(shown(value), value=value)
