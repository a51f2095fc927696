"""The picture of gain against cost, sections "Training" and "Time and memory": loss curves, costs of the results."""

import numpy as np
import pandas as pd

from lander.report import charts
from lander.report.charts import Panel
from lander.report.inputs import Inputs
from lander.report.labels import method_key, method_of, run_label
from lander.report.summary import average, means_by_run, sides
from lander.report.svg import Drawn
from lander.report.tables import MISSING, Table, duration, measured, size

POINTS = 60  # of a loss curve: enough to see its shape, few enough to average over batches
PANELS = 3  # test sets in the figure of gain, at most


def binned_loss(losses: list[pd.DataFrame]) -> pd.DataFrame:
    """Mean loss over directions and seeds in at most `POINTS` stretches: its last update, loss (nats per token)."""
    rows = pd.concat(losses)
    rows = rows[np.isfinite(rows["loss"]) & (rows["tokens"] > 0)]
    if rows.empty:
        return pd.DataFrame({"update": [], "loss": []})
    first, last = rows["update"].min(), rows["update"].max()
    width = max(1, -(-(last - first + 1) // POINTS))
    stretch = ((rows["update"] - first) // width).astype(int)
    sums = (rows["loss"] * rows["tokens"]).groupby(stretch).sum() / rows["tokens"].groupby(stretch).sum()
    return pd.DataFrame({"update": rows["update"].groupby(stretch).max().astype(int), "loss": sums})


def loss(inputs: Inputs) -> Drawn | None:
    """Training loss of every trained method."""
    runs: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for model, rows in inputs.losses.items():
        if len(rows):  # nothing is trained with layers.k: 0
            runs.setdefault(method_of(model), []).append(rows)
    curves = {run_label(run): binned_loss(runs[run]) for run in sorted(runs, key=method_key)}
    curves = {label: rows.assign(method=label) for label, rows in curves.items() if len(rows)}
    if not curves:
        return None
    data = pd.concat(curves.values())[["method", "update", "loss"]]
    rows = data.set_axis(["series", "value", "mean"], axis="columns")
    panel = Panel(rows, "optimizer update", "training loss (nats per token)")
    drawing = charts.lines("loss", "Training loss", [panel], "whole")
    return Drawn("loss", "Training loss", drawing, data, ("update", "method", "loss"))


def gains(inputs: Inputs, tests: list[str]) -> pd.DataFrame:
    """Gain of each trained method over the better zero-shot prompt by mean BLEU, and what its training cost.

    Returns:
        test, directions (which the mean is over), method, variant, label, gain (BLEU), parameters, seconds, memory
        (bytes), best: no other method has at least this gain with at most as many parameters.
    """
    rows = []
    for test in tests:
        for name, of in sides(inputs.scores, test).items():
            means = means_by_run(inputs.scores, test, "bleu", name)
            zero = [value for run, value in means.items() if run[0] == "zero-shot"]
            for run in sorted(means.index, key=method_key):
                parameters = average(inputs, run, "parameters_trained")
                if zero and parameters:
                    cost = [average(inputs, run, key) for key in ("seconds", "peak_memory_bytes")]
                    rows.append((test, of, *run, run_label(run), means[run] - max(zero), parameters, *cost))
    columns = ["test", "directions", "method", "variant", "label", "gain", "parameters", "seconds", "memory"]
    table = pd.DataFrame(rows, columns=columns).assign(best=True)
    for _, panel in table.groupby(["test", "directions"]):
        table.loc[panel.index, "best"] = charts.pareto(panel, ["parameters"], ["gain"])
    return table


def gain(inputs: Inputs, tests: list[str]) -> Drawn | None:
    """Gain against cost, for runs in which forgetting, the third axis, was not measured."""
    data = gains(inputs, tests[:PANELS])
    if data.empty:
        return None
    rows = data.rename(columns={"parameters": "x", "gain": "y"})
    panels = [
        Panel(one, "parameters trained", f"gain on {test} (BLEU)", str(of), line=0.0)
        for (test, of), one in rows.groupby(["test", "directions"], sort=False)
    ]
    drawing = charts.scatter("gain", "Gain against cost", panels, log=True)
    return Drawn("gain", "Gain against cost", drawing, data.drop(columns="label"))


def by_stage(inputs: Inputs) -> pd.DataFrame:
    """What the jobs of each stage took.

    Returns:
        stage; of the jobs that ran: jobs (number), seconds (of all), longest (seconds of a job), memory (bytes of the
        largest job, NaN if it was not measured); copied: number of jobs whose results come from another run.
    """
    copied = inputs.benchmarks["copied"]
    run = inputs.benchmarks.assign(**{name: inputs.benchmarks[name].mask(copied) for name in ("seconds", "memory")})
    how = {"jobs": ("seconds", "count"), "seconds": ("seconds", "sum"), "longest": ("seconds", "max")}
    return run.groupby("stage", sort=False).agg(**how, memory=("memory", "max"), copied=("copied", "sum")).reset_index()


def stage_table(inputs: Inputs) -> Table | None:
    """What each stage took: jobs, time, memory."""
    if not len(inputs.benchmarks):
        return None
    rows = []
    for row in by_stage(inputs).itertuples():
        times = [measured(value, duration) for value in (row.seconds, row.longest)]
        costs = [*times, measured(row.memory, size)] if row.jobs else [MISSING] * 3
        rows.append((row.stage, [f"{row.jobs:,}", f"{row.copied:,}", *costs]))
    columns = ["jobs", "copied", "time of all jobs", "longest job", "peak memory"]
    notes = [
        "Memory: the highest resident memory of a job. Copied: jobs that did not run; another run had their results."
    ]
    return Table.of("Time and memory by stage", "stage", columns, rows, notes=notes)


def stages(inputs: Inputs) -> Drawn | None:
    """Time of all jobs of a stage, and the memory of its largest job."""
    if inputs.benchmarks.empty or inputs.benchmarks["copied"].all():
        return None
    data = by_stage(inputs).query("jobs > 0").sort_values("seconds", ascending=False, kind="stable")
    scale, unit = next((one for one in ((3600, "h"), (60, "min")) if data["seconds"].max() >= 2 * one[0]), (1, "s"))
    rows = data.assign(label=data["stage"], series="")
    panels = [
        Panel(rows.assign(mean=data["seconds"] / scale), f"time of all jobs ({unit})"),
        Panel(rows.assign(mean=data["memory"] / 1e9), "peak memory of a job (GB)"),
    ]
    drawing = charts.dots("stages", "Time and memory by stage", panels)
    return Drawn("stages", "Time and memory by stage", drawing, data)
