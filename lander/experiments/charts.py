"""The charts of the experiments, in the look of the report: dots, curves, bars, heat maps, a scatter plot."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from lander.report import svg

# from worse to better; each end is dark, so that in grey the strength is seen and the printed sign says which
DIVERGING = LinearSegmentedColormap.from_list("change", [svg.PALETTE[1], "#ffffff", svg.PALETTE[0]])


@dataclass(frozen=True)
class Panel:
    """One set of axes of a figure.

    Attributes:
        data: columns by the kind of chart; `series` names what shares a colour, `spread` may be NaN.
        title: above the panel.
        x, y: labels of the axes, with units.
        line: where a line of reference stands, on the axis of the values.
        chosen: x value -> series of points that are ringed.
    """

    data: pd.DataFrame
    x: str
    y: str = ""
    title: str = ""
    line: float | None = None
    chosen: Mapping[str, float] = field(default_factory=dict)


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A grid of panels; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _finite(values: pd.Series) -> np.ndarray:
    return values.astype(float).replace([np.inf, -np.inf], np.nan).to_numpy()


def _spreads(rows: pd.DataFrame) -> np.ndarray:
    return _finite(rows["spread"].fillna(0))


@matplotlib.rc_context(svg.RC)
def dots(name: str, title: str, panels: Sequence[Panel]) -> str:
    """Rows of dots with their spreads. Columns: label (in the order of the rows), series, mean, spread."""
    labels = list(dict.fromkeys(label for panel in panels for label in panel.data["label"]))
    series = list(dict.fromkeys(one for panel in panels for one in panel.data["series"]))
    height = 0.9 + 0.28 * len(labels)
    figure, axes = _figure(len(panels), 1, 6.4, height * len(panels) + 0.3 * (len(series) > 1))
    places = {label: place for place, label in enumerate(labels)}
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        axis.grid(axis="x")
        for index, one in enumerate(series):
            rows = panel.data[panel.data["series"] == one]
            offset = 0.16 * (index - (len(series) - 1) / 2)
            style = svg.line_style(index) | {"linestyle": "", "markerfacecolor": "none", "capsize": 2.5}
            at = np.array([places[label] for label in rows["label"]]) + offset  # empty where it has no such series
            axis.errorbar(_finite(rows["mean"]), at, xerr=_spreads(rows), label=one, **style)
        _reference(axis, panel.line, vertical=True)
        axis.set_yticks(range(len(labels)), labels)
        axis.set_ylim(len(labels) - 0.5, -0.5)
        axis.set_xlabel(panel.x)
        axis.set_title(panel.title, fontsize=9.5, loc="left")
    if len(series) > 1:
        svg.legend_below(figure, axes[0, 0], min(4, len(series)))
    return svg.to_svg(figure, name, title)


@matplotlib.rc_context(svg.RC)
def curves(name: str, title: str, panels: Sequence[Panel], log: bool = False) -> str:
    """Lines over a value, one panel below the other. Columns: value, series, mean, spread."""
    series = list(dict.fromkeys(one for panel in panels for one in panel.data["series"]))
    legend = -(-len(series) // 3) if len(series) > 1 else 0
    figure, axes = _figure(len(panels), 1, 6.4, 2.4 * len(panels) + 0.4 + 0.21 * legend)
    shown: dict[str, object] = {}
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        for one in panel.data["series"].unique():
            rows = panel.data[panel.data["series"] == one].sort_values("value")
            style = svg.line_style(series.index(one)) | {"capsize": 2.5}
            shown[one] = axis.errorbar(rows["value"], _finite(rows["mean"]), yerr=_spreads(rows), **style)
            ring = rows[rows["value"] == panel.chosen.get(one)]
            circle = {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": style["color"]}
            axis.plot(ring["value"], _finite(ring["mean"]), linestyle="", marker="o", **circle)
        _reference(axis, panel.line, vertical=False)
        axis.set_ylabel(panel.y)
        axis.set_title(panel.title, fontsize=9.5, loc="left")
        _value_axis(axis, sorted({value for one in panels for value in one.data["value"]}), log)
    axes[-1, 0].set_xlabel(panels[-1].x)
    if len(series) > 1:
        figure.legend(list(shown.values()), list(shown), loc="outside lower center", ncols=min(3, len(series)))
    return svg.to_svg(figure, name, title)


def _value_axis(axis: Axes, values: list[float], log: bool) -> None:
    """Ticks at the values that were tried, where their labels do not touch."""
    if log:
        axis.set_xscale("log")
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_minor_formatter(NullFormatter())
    shown = apart(values, log)
    axis.set_xticks(shown, [f"{value:.3g}" for value in shown], rotation=30 if log else 0)


def apart(values: Sequence[float], log: bool = False, share: float = 0.07) -> list[float]:
    """Those of sorted values that lie behind the last one kept by at least a share of the whole range."""
    places = [math.log(value) if log else value for value in values]
    kept = list(range(min(1, len(values))))
    for place in range(1, len(values)):
        if places[place] - places[kept[-1]] >= share * (places[-1] - places[0]):
            kept.append(place)
    return [values[place] for place in kept]


@matplotlib.rc_context(svg.RC)
def bars(name: str, title: str, panels: Sequence[Panel]) -> str:
    """Groups of bars with their spreads. Columns: group, series, mean, spread."""
    series = list(dict.fromkeys(one for panel in panels for one in panel.data["series"]))
    figure, axes = _figure(len(panels), 1, 6.4, 2.6 * len(panels) + 0.5)
    width = 0.8 / len(series)
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        groups = list(dict.fromkeys(panel.data["group"]))
        for index, one in enumerate(series):
            rows = panel.data[panel.data["series"] == one]
            at = [groups.index(group) - 0.4 + width * (index + 0.5) for group in rows["group"]]
            look = {"facecolor": svg.PALETTE[index % 7], "hatch": svg.HATCHES[index % 10], "edgecolor": svg.PAGE}
            error = {"yerr": _spreads(rows), "error_kw": {"ecolor": svg.INK, "linewidth": 0.9, "capsize": 1.5}}
            axis.bar(at, _finite(rows["mean"]), width * 0.94, label=one, linewidth=0.4, **look, **error)
        axis.set_xticks(range(len(groups)), groups)
        axis.set_xlabel(panel.x)
        axis.set_ylabel(panel.y)
        axis.set_title(panel.title, fontsize=9.5, loc="left")
    svg.legend_below(figure, axes[0, 0], min(3, len(series)))
    return svg.to_svg(figure, name, title)


@matplotlib.rc_context(svg.RC)
def heatmaps(name: str, title: str, panels: Mapping[str, pd.DataFrame], x: str, y: str, unit: str) -> str:
    """Matrices of changes, two side by side, on one scale around zero; the value stands in each cell.

    Cells whose row and column have the same name are framed.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    size = max(matrix.shape[1] for matrix in panels.values()), max(matrix.shape[0] for matrix in panels.values())
    side = (max(2.6, 0.42 * size[0] + 0.7), max(2.0, 0.34 * size[1] + 0.8))
    figure, axes = _figure(rows, columns, side[0] * columns + 0.9, side[1] * rows)
    top = max(1e-9, *(float(np.nanmax(np.abs(matrix.to_numpy()))) for matrix in panels.values()))
    scale = Normalize(-top, top)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (heading, matrix) in zip(axes.flat, panels.items(), strict=False):
        axis.grid(False)
        image = axis.pcolormesh(matrix.to_numpy(), cmap=DIVERGING, norm=scale, edgecolors=svg.PAGE, linewidth=0.6)
        _values(axis, matrix, top)
        axis.set_xticks(np.arange(matrix.shape[1]) + 0.5, matrix.columns, rotation=90)
        axis.set_yticks(np.arange(matrix.shape[0]) + 0.5, matrix.index)
        axis.tick_params(length=0, labelsize=7.5)
        axis.invert_yaxis()
        axis.set_title(heading, fontsize=9.5, loc="left")
        axis.set_xlabel(x)
        axis.set_ylabel(y)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=30)
    bar.set_label(unit)
    bar.solids.set_rasterized(False)
    bar.outline.set_visible(False)
    return svg.to_svg(figure, name, title)


def _values(axis: Axes, matrix: pd.DataFrame, top: float) -> None:
    """Each cell's value, and a frame around the cells of what was trained."""
    for row, trained in enumerate(matrix.index):
        for column, tested in enumerate(matrix.columns):
            value = matrix.iloc[row, column]
            text = f"{value:+.1f}" if round(value, 1) else "0.0"
            colour = svg.PAGE if abs(value) > 0.7 * top else svg.INK
            axis.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=6.5, color=colour)
            if trained == tested:
                frame = {"fill": False, "edgecolor": svg.INK, "linewidth": 1.4}
                axis.add_patch(matplotlib.patches.Rectangle((column, row), 1, 1, **frame))


@matplotlib.rc_context(svg.RC)
def scatter(name: str, title: str, panels: Sequence[Panel]) -> str:
    """Points with names. Columns: label, x, y, spread_x, spread_y, size (of the marker, in points), best (filled)."""
    most = max(len(panel.data) for panel in panels)
    figure, axes = _figure(len(panels), 1, 6.4, 3.6 * len(panels) + 0.21 * -(-most // 2))
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        axis.grid(True)
        rows = panel.data.reset_index(drop=True)
        for index, row in rows.iterrows():
            colour = svg.PALETTE[index % len(svg.PALETTE)]
            style = {"color": colour, "marker": svg.MARKERS[index % len(svg.MARKERS)], "linestyle": "", "capsize": 2}
            style |= {"markersize": row["size"], "markerfacecolor": colour if row["best"] else svg.PAGE}
            errors = {"xerr": _error(row["spread_x"]), "yerr": _error(row["spread_y"])}
            axis.errorbar(row["x"], row["y"], **errors, **style, elinewidth=0.9, label=row["label"])
        front = rows[rows["best"]].sort_values("x")
        axis.plot(front["x"], front["y"], color=svg.MUTED, linestyle=svg.DASHES[2], linewidth=1, zorder=0)
        axis.set_xlabel(panel.x)
        axis.set_ylabel(panel.y)
        axis.margins(x=0.08, y=0.1)
        axis.xaxis.set_major_locator(MaxNLocator(7))
        axis.set_title(panel.title, fontsize=9.5, loc="left")
    svg.legend_below(figure, axes[0, 0], 2)
    return svg.to_svg(figure, name, title)


def _error(spread: float) -> float | None:
    return float(spread) if np.isfinite(spread) else None


def _reference(axis: Axes, at: float | None, vertical: bool) -> None:
    if at is not None and np.isfinite(at):
        draw = axis.axvline if vertical else axis.axhline
        draw(at, color=svg.MUTED, linewidth=1, linestyle=svg.DASHES[1], zorder=0)
