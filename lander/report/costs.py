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
from lander.report.summary import average, means_by_run
from lander.report.tables import MISSING, Cell, Head, Table, duration, quantity

PANELS = 3  # test sets in the picture of gain, at most


def gains(inputs: Inputs, tests: list[str]) -> pd.DataFrame:
    """Gain of each trained method over the better zero-shot prompt by mean BLEU, beside what its training took.

    Returns:
        test, method, variant, label, gain (BLEU), parameters, seconds, memory (bytes), best: no other method gains as
        much or more with as few parameters or fewer.
    """
    rows = []
    for test in tests:
        means = means_by_run(inputs.scores, test, "bleu")
        zero = [value for run, value in means.items() if run[0] == "zero-shot"]
        for run in sorted(means.index, key=method_key):
            parameters = average(inputs, run, "parameters_trained")
            if zero and parameters:
                cost = [average(inputs, run, key) for key in ("seconds", "peak_memory_bytes")]
                rows.append((test, *run, run_label(run), means[run] - max(zero), parameters, *cost))
    columns = ["test", "method", "variant", "label", "gain", "parameters", "seconds", "memory"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(best=[_unbeaten(table[table["test"] == row.test], row) for row in table.itertuples()])


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
    figure = Figure(figsize=(6.4, 2.9 * len(shown) + 0.21 * -(-len(labels) // 3) + 0.2), layout="constrained")
    FigureCanvasSVG(figure)
    panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for axes, test in zip(panels, shown, strict=True):
        _gain_panel(axes, data[data["test"] == test], labels)
        axes.set_ylabel(f"gain on {test} (BLEU)")
    panels[-1].set_xlabel("parameters trained")
    panels[0].set_title("Up and left is better; filled: no other gains as much with as few parameters", fontsize=9.5)
    svg.legend_below(figure, panels[0], 3)
    title = "Gain against cost"
    caption = (
        f"Mean BLEU over directions minus that of the better zero-shot prompt (dashed). {_best_text(data)} "
        "What was forgotten is not in this picture: the experiment “forgetting” measures it."
    )
    description = f"Scatter plot. {title} of {len(labels)} trained methods. {caption}"
    columns = data.drop(columns="label")
    return Drawn("gain", title, caption, description, svg.to_svg(figure, "gain", title), columns)


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
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: quantity(value))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.1, y=0.15)


def _best_text(data: pd.DataFrame) -> str:
    found = []
    for test, rows in data[data["best"]].groupby("test", sort=False):
        names = [f"{row.label} ({quantity(row.parameters)})" for row in rows.sort_values("parameters").itertuples()]
        found.append(f"Filled on {test}: {', '.join(names)}.")
    return " ".join(found)


def by_stage(inputs: Inputs) -> pd.DataFrame:
    """stage, jobs, seconds (of all its jobs), longest (job, seconds), memory (bytes, the most that a job had)."""
    groups = inputs.benchmarks.groupby("stage", sort=False)
    how = {"jobs": ("seconds", "size"), "seconds": ("seconds", "sum"), "longest": ("seconds", "max")}
    return groups.agg(**how, memory=("memory", "max")).reset_index()


def stage_table(inputs: Inputs) -> Table | None:
    """What each stage took: jobs, time, memory."""
    if not len(inputs.benchmarks):
        return None
    rows = []
    for row in by_stage(inputs).itertuples():
        cells = [Cell(f"{row.jobs:,}", value=row.jobs), Cell(duration(row.seconds), value=row.seconds)]
        cells += [Cell(duration(row.longest), value=row.longest)]
        cells += [Cell(MISSING) if row.memory != row.memory else Cell(quantity(row.memory, "B"), value=row.memory)]
        rows.append((str(row.stage), cells))
    heads = [Head(text) for text in ("jobs", "time of all jobs", "longest job", "peak memory")]
    notes = ["Wall-clock time; jobs may have run side by side. Memory: the highest of a job's resident memory."]
    return Table("Time and memory by stage", "stage", heads, rows, notes=notes)


@matplotlib.rc_context(svg.RC)
def stages(inputs: Inputs) -> Drawn | None:
    """Time of all jobs of a stage, and the most memory that one of them had."""
    if not len(inputs.benchmarks):
        return None
    data = by_stage(inputs).sort_values("seconds", ascending=False, kind="stable")
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
    most, largest = data.iloc[0], data.loc[data["memory"].fillna(0).idxmax()]
    caption = (
        f"Most time went into {most['stage']} ({duration(most['seconds'])} of "
        f"{duration(data['seconds'].sum())} in {data['jobs'].sum():,} jobs); most memory was held by a job of "
        f"{largest['stage']} ({quantity(largest['memory'], 'B')}). Jobs may have run side by side."
    )
    description = f"Bar chart. {title}. {caption}"
    return Drawn("stages", title, caption, description, svg.to_svg(figure, "stages", title), data)
