"""The page of a comparison and its tables: differences of configs and software, scores and their differences, cost."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from lander.evaluate.metrics import look, sort_metrics
from lander.report.compare.runs import MAIN, bases, common, methods, paired, read_runs, scores_of
from lander.report.inputs import Inputs
from lander.report.labels import MEAN_LABELS, run_label
from lander.report.provenance import versions
from lander.report.scores import OPEN, Pair, difference_cell, difference_table, score_figure, score_table
from lander.report.significance import SIGNIFICANT, Significance
from lander.report.summary import ONE_SEED, average, sides
from lander.report.tables import MISSING, Cell, Table, counted, duration, markdown, measured, quantity, size
from lander.report.templates import captions, environment, style
from lander.report.training import by_stage
from lander.shared.errors import UserError
from lander.shared.files import write_text

SAME = "The configs that can be read are the same, except for the name of the run."
COSTS = {  # heading -> key of run.json, how it is shown
    "trained": ("parameters_trained", quantity),
    "time": ("seconds", duration),
    "tokens": ("tokens", quantity),
    "memory": ("peak_memory_bytes", size),
    "damage at step 0": ("damage_at_start", lambda nats: f"{nats:.2f}"),
}


def compare(folders: Sequence[Path], out: Path, resamples: int = 0) -> None:
    """Compare runs: print the most important tables, write the page. `resamples`: see `paired`."""
    if out.is_dir():
        raise UserError(f"--out {out}: a folder; name a file, as in compare.html")
    runs = read_runs(folders)
    items, notes = common(runs)
    scores = scores_of(runs, items)
    tested, untested = paired(runs, items, resamples)
    names = list(dict.fromkeys(test for test, _ in items))
    cautions = [*notes, *untested, *_cautions(runs, scores)]
    order = [run.label(method) for method in methods(runs) for run in runs]  # methods together, runs in their order
    parts = []  # test set, tables that everybody reads, other measurements
    for test in names:
        main, others = [], []
        for metric in sort_metrics(scores.loc[scores["test"] == test, "metric"]):
            table = score_table(scores, test, metric, tested)
            rows = sorted(table.rows, key=lambda row: order.index(row[0]))
            made = [replace(table, corner="method · run", rows=rows)]
            made.append(differences(runs, scores, test, metric, tested))
            (main if metric in OPEN else others).extend(table for table in made if table)
        parts.append((test, main, others))
    glance = glance_table(runs, scores, names, tested)
    config, costs = config_table(runs), cost_table(runs)
    first = [config, glance, *(table for _, main, _ in parts for table in main), costs]
    shown = [markdown(replace(table, notes=[])) for table in first if table]
    print("\n\n".join([*shown, *([] if config else [SAME]), *cautions]))
    drawn = [score_figure(Inputs("", scores), [test]) for test in names]
    drawn = [replace(one, name=f"{one.name}-{place}") for place, one in enumerate(drawn) if one]
    costs = [table for table in (costs, stage_table(runs)) if table]
    counts = {"run": len(runs), "test set": len(names), "direction": len({name for _, name in items})}
    sections = {"summary": "Summary", "config": "Config", "scores-section": "Scores"}
    sections |= ({"cost": "Cost"} if costs else {}) | {"provenance": "Provenance"}
    template = environment(Path(__file__).parent).get_template("compare.html")
    text = template.render(
        **style(),
        kind="comparison",
        title=" · ".join(run.name for run in runs),
        facts=counted(counts),
        sections=sections,
        glance=glance,
        cautions=cautions,
        config=config,
        same=SAME,
        software=software_table(runs),
        scores=parts,
        figures=drawn,
        costs=costs,
        command=shlex.join(["lander", "compare", *map(str, folders), "--out", str(out)]),
        captions=captions(),
        configs=[(run.name, run.config) for run in runs if run.config],
    )
    write_text(out, text)
    print(f"\n{out}")


def _cautions(runs: Sequence[Inputs], scores: pd.DataFrame) -> list[str]:
    """Runs without a config, scores with different signatures, and single seeds."""
    found = [f"{run.name} has no config.yaml that can be read." for run in runs if run.setting() is None]
    mixed = scores.groupby(["test", "direction", "metric"])["signature"].nunique()
    if metrics := sorted(set(mixed[mixed > 1].index.get_level_values("metric"))):
        found.append(f"Computed differently in the runs: {', '.join(metrics)}; see the signatures below the tables.")
    if any(run.scores["seed"].nunique() == 1 for run in runs):
        found.append(ONE_SEED)
    return found


# ---------------------------------------------------------------- tables


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
    columns = {run.name: flat(config | {"run": None}) for run in runs if isinstance(config := run.setting(), dict)}
    return _differing("What differs in the configs", "key", columns)


def software_table(runs: Sequence[Inputs]) -> Table | None:
    """Versions of libraries and digests of stages' code that differ."""
    columns = {
        run.name: versions(run) | {f"code of {name}": str(one) for name, one in run.code.items()} for run in runs
    }
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
    factors = ("trained", "time", "memory") if any(run.runs for run in runs) else ()
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
        cells = [replace(measured(own[name], shown), spread=spreads[name]) for name, (_, shown) in COSTS.items()]
        rows.append((label, cells))
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
    notes = ["Wall-clock time; jobs may have run in parallel. Jobs whose results were copied are not counted."]
    return Table.of("Time and memory by stage", "stage", columns, rows, notes=notes)
