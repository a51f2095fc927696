"""What results cost: gain against parameters trained (where forgetting was not measured), time and memory by stage."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from lander.report import svg
from lander.report.figures import Drawn
from lander.report.inputs import Inputs
from lander.report.order import method_key, run_label
from lander.report.summary import average, means_by_run, sides
from lander.report.tables import MISSING, Cell, Head, Table, duration, quantity

PANELS = 3  # test sets in the picture of gain, at most


def gains(inputs: Inputs, tests: list[str]) -> pd.DataFrame:
    """Gain of each trained method over the better zero-shot prompt by mean BLEU, beside what its training took.

    Returns:
        test, directions (which the mean is over), method, variant, label, gain (BLEU), parameters, seconds, memory
        (bytes), best: no other method gains as much or more with as few parameters or fewer.
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
    table = pd.DataFrame(rows, columns=columns)
    panels = dict(list(table.groupby(["test", "directions"])))
    return table.assign(best=[_unbeaten(panels[row.test, row.directions], row) for row in table.itertuples()])


def _unbeaten(rows: pd.DataFrame, one) -> bool:
    as_good = (rows["gain"] >= one.gain) & (rows["parameters"] <= one.parameters)
    return not (as_good & ((rows["gain"] > one.gain) | (rows["parameters"] < one.parameters))).any()


@matplotlib.rc_context(svg.RC)
def gain(inputs: Inputs, tests: list[str]) -> Drawn | None:
    """Gain against cost; forgetting is a third axis that this picture lacks."""
    data = gains(inputs, tests[:PANELS])
    if data.empty:
        return None
    labels = list(dict.fromkeys(data["label"]))
    shown = list(dict.fromkeys(data["test"]))
    columns = list(dict.fromkeys(data["directions"]))
    figure = Figure(figsize=(6.4, 2.9 * len(shown) + 0.21 * -(-len(labels) // 3) + 0.2), layout="constrained")
    FigureCanvasSVG(figure)
    panels = figure.subplots(len(shown), len(columns), squeeze=False, sharex="col", sharey="row")
    for (test, of), rows in data.groupby(["test", "directions"], sort=False):
        axes = panels[shown.index(test), columns.index(of)]
        _gain_panel(axes, rows, labels)
        axes.set_title(of, fontsize=9.5)
        if of == columns[0]:
            axes.set_ylabel(f"gain on {test} (BLEU)")
    for axes in panels[-1]:
        axes.set_xlabel("parameters trained")
    svg.legend_below(figure, panels[0, 0], 3)
    title = "Gain against cost"
    caption = (
        "Mean BLEU over directions minus that of the better zero-shot prompt (dashed); up and left is better. Filled: "
        f"no other method gains as much with as few parameters. {_best_text(data)} "
        "What was forgotten is not in this picture: the experiment “forgetting” measures it."
    )
    description = f"Scatter plot. {title} of {len(labels)} trained methods. {caption}"
    return Drawn("gain", title, caption, description, svg.to_svg(figure, "gain", title), data.drop(columns="label"))


def _gain_panel(axes: Axes, rows: pd.DataFrame, labels: list[str]) -> None:
    axes.grid(True)
    for row in rows.itertuples():
        index = labels.index(row.label)
        colour = svg.PALETTE[index % len(svg.PALETTE)]
        look = {"color": colour, "marker": svg.MARKERS[index % len(svg.MARKERS)], "markersize": 7.5, "linestyle": ""}
        axes.plot(row.parameters, row.gain, label=row.label, markerfacecolor=colour if row.best else svg.PAGE, **look)
    front = rows[rows["best"]].sort_values("parameters")
    axes.plot(front["parameters"], front["gain"], color=svg.MUTED, linestyle=svg.DASHES[2], linewidth=1, zorder=0)
    axes.axhline(0, color=svg.MUTED, linewidth=1, linestyle=svg.DASHES[1], zorder=0)
    axes.set_xscale("log")
    near = rows["parameters"].max() < 30 * rows["parameters"].min()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if near else (1,)))
    axes.xaxis.set_major_formatter(lambda value, _: quantity(value))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.1, y=0.15)


def _best_text(data: pd.DataFrame) -> str:
    found = []
    for (test, of), rows in data[data["best"]].groupby(["test", "directions"], sort=False):
        names = [f"{row.label} ({quantity(row.parameters)})" for row in rows.sort_values("parameters").itertuples()]
        found.append(f"On {test}, {of}: {', '.join(names)}.")
    return " ".join(found)


def by_stage(inputs: Inputs) -> pd.DataFrame:
    """Of the jobs that were run: stage, jobs, seconds (of all), longest (job, seconds), memory (bytes, of the largest
    job; NaN where it was not measured); and copied, how many were not: their results are those of another run.
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
        numbers = [(row.seconds, duration(row.seconds)), (row.longest, duration(row.longest))]
        numbers.append((row.memory, quantity(row.memory, "B")))
        known = [Cell(text, value=value) if row.jobs and value == value else Cell(MISSING) for value, text in numbers]
        counts = [Cell(f"{number:,}", value=number) for number in (row.jobs, row.copied)]
        rows.append((str(row.stage), [*counts, *known]))
    heads = [Head(text) for text in ("jobs", "copied", "time of all jobs", "longest job", "peak memory")]
    notes = [
        "Wall-clock time; jobs may have run side by side. Memory: the highest of a job's resident memory. Copied: "
        "further jobs, whose results were taken from another run that had made them; they are not counted."
    ]
    return Table("Time and memory by stage", "stage", heads, rows, notes=notes)


@matplotlib.rc_context(svg.RC)
def stages(inputs: Inputs) -> Drawn | None:
    """Time of all jobs of a stage, and the most memory that one of them had."""
    if not len(inputs.benchmarks):
        return None
    data = by_stage(inputs).sort_values("seconds", ascending=False, kind="stable")
    data = data[data["jobs"] > 0]
    if data.empty:
        return None
    size, unit = next((one for one in ((3600, "h"), (60, "min")) if data["seconds"].max() >= 2 * one[0]), (1, "s"))
    figure = Figure(figsize=(6.4, 0.8 + 0.26 * len(data)), layout="constrained")
    FigureCanvasSVG(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(data))
    for axes, values, colour, hatch in (
        (left, data["seconds"] / size, svg.PALETTE[0], ""),
        (right, data["memory"] / 1e9, svg.PALETTE[4], "////"),
    ):
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.barh(places, values.fillna(0), 0.7, color=colour, hatch=hatch, edgecolor=svg.PAGE, linewidth=0.6)
    left.set_yticks(places, data["stage"])
    left.invert_yaxis()
    left.set_xlabel(f"time of all jobs ({unit})")
    right.set_xlabel("peak memory of a job (GB)")
    title = "Time and memory by stage"
    most = data.iloc[0]
    caption = (
        f"Most time went into {most['stage']} ({duration(most['seconds'])} of "
        f"{duration(data['seconds'].sum())} in {data['jobs'].sum():,} jobs). Jobs may have run side by side."
    )
    if data["memory"].notna().any():
        largest = data.loc[data["memory"].idxmax()]
        caption += f" Most memory was held by a job of {largest['stage']} ({quantity(largest['memory'], 'B')})."
    if copied := by_stage(inputs)["copied"].sum():
        caption += f" {copied:,} further jobs were not run: their results were copied from other runs."
    description = f"Bar chart. {title}. {caption}"
    return Drawn("stages", title, caption, description, svg.to_svg(figure, "stages", title), data)
