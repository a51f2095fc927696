"""All charts of the report and of the experiments: lines, dots, scatter plots, bars, heat maps, clouds of points.

Each function draws panels in one figure, with one legend below them, and returns the figure as an SVG file.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from lander.report import svg
from lander.report.svg import styled
from lander.report.tables import quantity, signed

LIGHT, DARK = "#ffffff", "#1a1a1c"  # of the numbers in heat maps, also on a dark page
SHARES = LinearSegmentedColormap.from_list("share", [LIGHT, svg.PALETTE[0], "#00304d"])  # ever darker, in grey too
CHANGES = LinearSegmentedColormap.from_list("change", [svg.PALETTE[1], LIGHT, svg.PALETTE[0]])  # from worse to better
HOLLOW = {"linestyle": "", "markerfacecolor": "none"}


@dataclass(frozen=True)
class Panel:
    """One set of axes of a figure.

    Attributes:
        data: columns by the kind of chart. What has the same `series` shares a colour; one without a name is not in
            the legend. `spread` may be NaN or missing.
        x, y: labels of the axes, with units.
        title: above the panel.
        line: where to draw a line of reference, on the axis of the values.
        chosen: series -> x values of the points to mark with a ring.
        bands: x values to mark with a band -> its strength, from 0 to 1.
    """

    data: pd.DataFrame
    x: str = ""
    y: str = ""
    title: str = ""
    line: float | None = None
    chosen: Mapping[str, Collection[float]] = field(default_factory=dict)
    bands: Mapping[float, float] = field(default_factory=dict)


@styled
def lines(
    name: str, title: str, panels: Sequence[Panel], ticks: str = "values", styles: Mapping[str, Any] | None = None
) -> str:
    """Lines over a value. Columns: value, series, mean, spread.

    `ticks` of the x axis: `values` (those that were tried), `log` (the same on a logarithmic axis), `whole` numbers, or
    `any`. `styles`: series, in the order of the legend -> what differs from its usual look.
    """
    series = list(styles or _unique(panels, "series"))
    figure, axes = grid(len(panels), 1, 2.7)
    for axis, panel in zip(axes, panels, strict=True):
        for value, strength in panel.bands.items():
            axis.axvspan(value - 0.42, value + 0.42, color=svg.BAND, alpha=strength, linewidth=0, zorder=0)
        for index, one in enumerate(series):
            rows = panel.data[panel.data["series"] == one].sort_values("value")
            if rows.empty:
                continue
            step = len(rows) // 8 if len(rows) > 40 else 1
            style = svg.line_style(index) | (styles or {}).get(one, {})
            marks = {"markevery": (index % step, step), "capsize": 2.5}  # markers of two long lines seldom coincide
            axis.errorbar(rows["value"], _finite(rows["mean"]), _spread(rows), label=one, **style, **marks)
            labels = [f"{one}, {value:g}: {mean:.4g}" for value, mean in zip(rows["value"], rows["mean"], strict=True)]
            hover(axis, rows["value"], rows["mean"], labels)
            ring = rows[rows["value"].isin(panel.chosen.get(one, ()))]
            circle = HOLLOW | {"marker": "o", "markersize": 10, "markeredgecolor": style["color"]}
            axis.plot(ring["value"], _finite(ring["mean"]), **circle)
        _describe(axis, panel, axis.axhline)
        if ticks == "whole":
            whole_numbers(axis)
            axis.set_xlim(panel.data["value"].min() - 0.5, panel.data["value"].max() + 0.5)  # also those without a mean
        elif ticks != "any":  # at the values that were tried, where their labels do not touch
            log = ticks == "log"
            shown = apart(sorted(_unique(panels, "value")), log)
            if log:
                axis.set_xscale("log")
                axis.xaxis.set_minor_locator(NullLocator())
            axis.set_xticks(shown, [f"{value:.3g}" for value in shown], rotation=30 if log else 0)
    return finish(figure, name, title)


@styled
def dots(name: str, title: str, panels: Sequence[Panel]) -> str:
    """Rows of dots with their spreads. Columns: label (in the order of the rows), series, mean, spread.

    Several dots of a series in a row have their mean as a bar. Without a line of reference the axis starts at 0.
    """
    labels, series = _unique(panels, "label"), _unique(panels, "series")
    places = {label: place for place, label in enumerate(labels)}
    figure, axes = grid(len(panels), 1, 0.8 + 0.28 * len(labels))
    for axis, panel in zip(axes, panels, strict=True):
        axis.grid(axis="x")
        for index, one in enumerate(series):
            rows = panel.data[panel.data["series"] == one]
            style = svg.line_style(index) | HOLLOW | {"capsize": 2.5}
            at = np.array([places[label] for label in rows["label"]]) + 0.16 * (index - (len(series) - 1) / 2)
            axis.errorbar(_finite(rows["mean"]), at, xerr=_spread(rows), label=one, **style)
            for place, several in rows["mean"].groupby(at):
                if len(several) > 1:
                    axis.plot([several.mean()] * 2, [place - 0.14, place + 0.14], color=style["color"], linewidth=2.4)
        _describe(axis, panel, axis.axvline)
        axis.set_yticks(range(len(labels)), labels)
        axis.set_ylim(len(labels) - 0.5, -0.5)
        if panel.line is None:
            axis.set_xlim(left=0)
    return finish(figure, name, title)


@styled
def scatter(name: str, title: str, panels: Sequence[Panel], log: bool = False) -> str:
    """A mark for each row, and a line through the best. Columns: label, x, y, best, spread_x, spread_y, size (points).

    With `log`, the x axis is logarithmic and shows numbers of parameters.
    """
    labels = _unique(panels, "label")
    figure, axes = grid(len(panels), min(2, len(panels)), 3.2)
    for axis, panel in zip(axes, panels, strict=True):
        axis.grid(True)
        for row in panel.data.itertuples():
            style = svg.line_style(labels.index(row.label)) | {"linestyle": "", "capsize": 2, "elinewidth": 0.9}
            style |= {"markersize": getattr(row, "size", 7.5)}
            style |= {"markerfacecolor": style["color"] if row.best else svg.PAGE}
            x, y = (getattr(row, name, math.nan) for name in ("spread_x", "spread_y"))
            spread = {name: size for name, size in (("xerr", x), ("yerr", y)) if math.isfinite(size)}
            axis.errorbar(row.x, row.y, label=row.label, **spread, **style)
            hover(axis, [row.x], [row.y], [f"{row.label}: {row.x:.4g}, {row.y:.4g}"])
        front = panel.data[panel.data["best"]].sort_values("x")
        axis.plot(front["x"], front["y"], color=svg.MUTED, linestyle=svg.DASHES[2], linewidth=1, zorder=0)
        _describe(axis, panel, axis.axhline)
        axis.margins(x=0.1, y=0.12)
        axis.xaxis.set_major_locator(MaxNLocator(7))
        if log:
            near = panel.data["x"].max() < 30 * panel.data["x"].min()
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if near else (1,)))
            axis.xaxis.set_major_formatter(lambda value, _: quantity(value))
            axis.xaxis.set_minor_locator(NullLocator())
    return finish(figure, name, title)


@styled
def bars(name: str, title: str, panels: Sequence[Panel], stacked: bool = False) -> str:
    """Bars, those of the series side by side or stacked. Columns: value, series, mean, spread."""
    series = _unique(panels, "series")
    figure, axes = grid(len(panels), 1, 2.7)
    for axis, panel in zip(axes, panels, strict=True):
        values = _unique([panel], "value")
        named = any(isinstance(value, str) for value in values)
        places, bottom = np.arange(len(values)) if named else np.array(values), np.zeros(len(values))
        for index, one in enumerate(series):
            rows = panel.data[panel.data["series"] == one].set_index("value").reindex(values)
            look = {"facecolor": svg.PALETTE[index % len(svg.PALETTE)], "hatch": svg.HATCHES[index % len(svg.HATCHES)]}
            look |= {"edgecolor": svg.PAGE, "linewidth": 0.5, "label": one}
            height = _finite(rows["mean"])
            if stacked:
                axis.bar(places, height, 0.74, bottom, **look)
                bottom += height
            else:
                width = 0.8 / len(series)
                error = {"yerr": _spread(rows), "error_kw": {"ecolor": svg.INK, "linewidth": 0.9, "capsize": 1.5}}
                axis.bar(places - 0.4 + width * (index + 0.5), height, width * 0.94, **look, **error)
        _describe(axis, panel, axis.axhline)
        if named:
            axis.set_xticks(places, values)
        else:
            whole_numbers(axis)
    return finish(figure, name, title)


@styled
def heat(name: str, title: str, panels: Sequence[Panel], top: float | None = None) -> str:
    """Heat maps on one scale, their values printed in the cells; missing ones are blank. `data` is the matrix.

    `top` is the highest possible value (1 or 100), for values from 0; None for changes, which have a sign and colours
    around 0. Of changes, the cells whose row and column have the same name are framed.
    """
    limit = top or max(1e-9, *(float(np.nanmax(np.abs(panel.data.to_numpy(float)))) for panel in panels))
    colours = {"cmap": SHARES if top else CHANGES, "norm": Normalize(0 if top else -limit, limit)}
    side = max(2.6, 0.42 * max(max(panel.data.shape) for panel in panels) + 0.9)  # inches
    columns = min(2, len(panels))
    figure, axes = grid(len(panels), columns, side, max(6.4, side * columns))
    for axis, panel in zip(axes, panels, strict=True):
        axis.grid(False)
        matrix = panel.data
        axis.pcolormesh(np.ma.masked_invalid(matrix.to_numpy(float)), **colours, edgecolors=LIGHT, linewidth=0.6)
        for (row, column), value in np.ndenumerate(matrix.to_numpy(float)):
            if np.isfinite(value):
                look = {"color": LIGHT if abs(value) > (0.4 if top else 0.7) * limit else DARK, "fontsize": 7}
                text = f"{value:.{0 if top > 1 else 2}f}" if top else signed(value)
                axis.text(column + 0.5, row + 0.5, text, ha="center", va="center", **look)
            if not top and matrix.index[row] == matrix.columns[column]:
                axis.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor=DARK, linewidth=1.4))
        axis.set_xticks(np.arange(matrix.shape[1]) + 0.5, matrix.columns, rotation=90 if matrix.shape[1] > 4 else 0)
        axis.set_yticks(np.arange(matrix.shape[0]) + 0.5, matrix.index)
        axis.tick_params(length=0, labelsize=8)
        axis.set_aspect("equal")
        axis.invert_yaxis()
        _describe(axis, panel)
    return finish(figure, name, title)


@styled
def clouds(name: str, title: str, panels: Sequence[Panel], columns: int) -> str:
    """Points of which only the distances mean something, without axes. Columns: series, x, y.

    Filled and hollow markers alternate.
    """
    series = _unique(panels, "series")
    figure, axes = grid(len(panels), columns, 2.3, 7.2)
    for axis, panel in zip(axes, panels, strict=True):
        for index, one in enumerate(series):
            rows = panel.data[panel.data["series"] == one]
            style = svg.line_style(index) | {"linestyle": "", "markersize": 4.2, "markeredgewidth": 0.7}
            style |= {"markerfacecolor": "none"} if index % 2 else {}
            axis.plot(rows["x"], rows["y"], label=one, **style)
        points = panel.data if len(panel.data) else pd.DataFrame({"x": [0.0], "y": [0.0]})
        half = 0.55 * max(1e-12, float(np.ptp(points["x"])), float(np.ptp(points["y"])))
        for which, limit in (("x", axis.set_xlim), ("y", axis.set_ylim)):
            middle = (points[which].max() + points[which].min()) / 2
            limit(middle - half, middle + half)
        axis.grid(False)
        axis.set_xticks([])
        axis.set_yticks([])
        _describe(axis, panel)
        axis.title.set_fontsize(8.5)
    return finish(figure, name, title)


@styled
def message(name: str, text: str) -> str:
    """A figure that says why there is nothing to show."""
    figure, (axis,) = grid(1, 1, 1)
    axis.set_axis_off()
    axis.text(0.5, 0.5, text, ha="center", va="center")
    return finish(figure, name, text)


# ---------------------------------------------------------------- parts of charts


def grid(number: int, columns: int, height: float, width: float = 6.4) -> tuple[Figure, list[Axes]]:
    """A figure and its panels, row by row. `height` is that of a row, `width` that of the figure, in inches."""
    rows = math.ceil(number / columns)
    figure = Figure(figsize=(width, height * rows + 0.4), layout="constrained")
    FigureCanvasSVG(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[number:]:
        axis.set_visible(False)
    return figure, axes[:number]


def finish(figure: Figure, name: str, title: str) -> str:
    """The SVG of a figure, with the series of all its panels named below them."""
    shown: dict[str, Any] = {}
    for axis in figure.axes:
        handles, labels = axis.get_legend_handles_labels()
        shown |= dict(zip(labels, handles, strict=True))
    if shown:
        most = int(figure.get_figwidth() / (0.62 + 0.07 * max(map(len, shown))))  # columns that fit, in inches
        rows = math.ceil(len(shown) / max(1, min(7, most)))
        rows += rows % 2 if rows > 1 else 0  # a legend is filled by column: an even number keeps pairs together
        figure.set_figheight(figure.get_figheight() + 0.21 * rows)
        columns = math.ceil(len(shown) / rows)
        figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=columns)
    return svg.to_svg(figure, name, title)


def hover(axis: Axes, x: Sequence[float], y: Sequence[float], texts: Sequence[str]) -> None:
    """Texts that the page shows where the pointer is over a point; the points themselves cannot be seen."""
    kept = [(one, other, text) for one, other, text in zip(x, y, texts, strict=True) if math.isfinite(other)]
    if kept:
        places, heights, said = zip(*kept, strict=True)
        look = {
            "linestyle": "",
            "marker": "o",
            "markersize": 9,
            "markeredgewidth": 0,
            "alpha": 0,
            "color": svg.INK,
            "zorder": 9,
        }
        axis.plot(places, heights, **look, gid=svg.HOVER)[0].said = said


def whole_numbers(axis: Axes) -> None:
    """Ticks of the x axis at whole numbers: layers, updates."""
    axis.xaxis.set_major_locator(MaxNLocator(nbins=16, integer=True, min_n_ticks=1))


def pareto(points: pd.DataFrame, lower: list[str], higher: list[str]) -> list[bool]:
    """Which points no other beats, in columns of which lower or higher values are better."""
    values = np.column_stack([points[lower].to_numpy(float), -points[higher].to_numpy(float)])
    return [not any((other <= one).all() and (other < one).any() for other in values) for one in values]


def apart(values: Sequence[float], log: bool = False) -> list[float]:
    """Those of sorted values that are at least 7% of the whole range behind the last one kept."""
    places = [math.log(value) if log else value for value in values]
    kept = list(range(min(1, len(values))))
    for place in range(1, len(values)):
        if places[place] - places[kept[-1]] >= 0.07 * (places[-1] - places[0]):
            kept.append(place)
    return [values[place] for place in kept]


def _describe(axis: Axes, panel: Panel, line: Any = None) -> None:
    """Labels and title of a panel, and its line of reference, which `line` draws."""
    axis.set(xlabel=panel.x, ylabel=panel.y, title=panel.title)
    if panel.line is not None and math.isfinite(panel.line):
        line(panel.line, color=svg.MUTED, linewidth=1, linestyle=svg.DASHES[1], zorder=0)


def _unique(panels: Iterable[Panel], column: str) -> list[Any]:
    return list(dict.fromkeys(value for panel in panels for value in panel.data[column]))


def _finite(values: pd.Series) -> np.ndarray:
    return values.astype(float).replace([np.inf, -np.inf], np.nan).to_numpy()


def _spread(rows: pd.DataFrame) -> np.ndarray | None:
    return _finite(rows["spread"].fillna(0)) if "spread" in rows else None
