"""The charts that several experiments share, in the look of the report: rows of dots, and curves."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from lander.report import svg


@dataclass(frozen=True)
class Panel:
    """One set of axes of a figure.

    Attributes:
        data: columns by the kind of chart. `series` names what shares a colour; `spread` may be NaN.
        title: above the panel.
        x, y: labels of the axes, with units.
        line: where to draw a line of reference, on the axis of the values.
        chosen: series -> x value of the point to mark with a ring.
    """

    data: pd.DataFrame
    x: str
    y: str = ""
    title: str = ""
    line: float | None = None
    chosen: Mapping[str, float] = field(default_factory=dict)


def grid(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A figure and its panels, (rows, columns). Sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


@matplotlib.rc_context(svg.RC)
def dots(name: str, title: str, panels: Sequence[Panel]) -> str:
    """Rows of dots with their spreads. Columns: label (in the order of the rows), series, mean, spread."""
    labels = list(dict.fromkeys(label for panel in panels for label in panel.data["label"]))
    series = list(dict.fromkeys(one for panel in panels for one in panel.data["series"]))
    height = 0.9 + 0.28 * len(labels)
    figure, axes = grid(len(panels), 1, 6.4, height * len(panels) + 0.3 * (len(series) > 1))
    places = {label: place for place, label in enumerate(labels)}
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        axis.grid(axis="x")
        for index, one in enumerate(series):
            rows = panel.data[panel.data["series"] == one]
            offset = 0.16 * (index - (len(series) - 1) / 2)
            style = svg.line_style(index) | {"linestyle": "", "markerfacecolor": "none", "capsize": 2.5}
            at = np.array([places[label] for label in rows["label"]]) + offset  # empty if the panel lacks the series
            axis.errorbar(_finite(rows["mean"]), at, xerr=_finite(rows["spread"].fillna(0)), label=one, **style)
        _reference(axis.axvline, panel.line)
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
    figure, axes = grid(len(panels), 1, 6.4, 2.4 * len(panels) + 0.4 + 0.21 * legend)
    shown: dict[str, object] = {}
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        for one in panel.data["series"].unique():
            rows = panel.data[panel.data["series"] == one].sort_values("value")
            style = svg.line_style(series.index(one)) | {"capsize": 2.5}
            spread = _finite(rows["spread"].fillna(0))
            shown[one] = axis.errorbar(rows["value"], _finite(rows["mean"]), yerr=spread, **style)
            ring = rows[rows["value"] == panel.chosen.get(one)]
            circle = {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": style["color"]}
            axis.plot(ring["value"], _finite(ring["mean"]), linestyle="", marker="o", **circle)
        _reference(axis.axhline, panel.line)
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
    """Those of sorted values that are at least a share of the whole range behind the last one kept."""
    places = [math.log(value) if log else value for value in values]
    kept = list(range(min(1, len(values))))
    for place in range(1, len(values)):
        if places[place] - places[kept[-1]] >= share * (places[-1] - places[0]):
            kept.append(place)
    return [values[place] for place in kept]


def _finite(values: pd.Series) -> np.ndarray:
    return values.astype(float).replace([np.inf, -np.inf], np.nan).to_numpy()


def _reference(draw: Callable[..., object], at: float | None) -> None:
    if at is not None and np.isfinite(at):
        draw(at, color=svg.MUTED, linewidth=1, linestyle=svg.DASHES[1], zorder=0)
