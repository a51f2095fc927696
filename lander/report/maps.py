"""Heat maps: overlap of the neurons between languages, agreement of the estimators."""

import io

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from lander.report import svg
from lander.report.document import Document
from lander.report.figures import Drawn
from lander.report.inputs import Inputs

TOP = 0.05  # share of the neurons of which the overlap between languages is told
LIGHT, DARK = "#ffffff", "#1a1a1c"  # of the numbers: they do not follow the page's colours, as the cells do not
SHADES = LinearSegmentedColormap.from_list("share", [LIGHT, svg.PALETTE[0], "#00304d"])  # ever darker, in grey too
MEASURES = {
    "estimators_correlation": "rank correlation of the scores",
    "estimators_overlap": "overlap of specific neurons",
}
ANY = "any"  # of `agreement`: over the sets of all languages


def overlap_shares(inputs: Inputs) -> pd.DataFrame:
    """Of the `TOP` share of neurons that matter most to a language, over all layers, the percentage among another's.

    Returns:
        language, other, percent; of a language with itself NaN.
    """
    tops = {}
    for language, rows in inputs.awareness.items():
        best = rows.nlargest(max(1, round(TOP * len(rows))), "score")
        tops[language] = set(zip(best["layer"], best["neuron"], strict=True))
    rows = [
        (one, two, np.nan if one == two else 100 * len(mine & other) / min(len(mine), len(other)))
        for one, mine in tops.items()
        for two, other in tops.items()
    ]
    return pd.DataFrame(rows, columns=["language", "other", "percent"])


@matplotlib.rc_context(svg.RC)
def overlap(inputs: Inputs) -> Drawn | None:
    """How many of the neurons that matter most to one language matter most to another."""
    if len(inputs.awareness) < 2:
        return None
    data = overlap_shares(inputs)
    names = list(inputs.awareness)
    matrix = data.pivot(index="language", columns="other", values="percent").loc[names, names]
    figure, axes = _panels(1, len(names))
    _map(axes[0], matrix, 100, "{:.0f}")
    axes[0].set_xlabel("another language")
    axes[0].set_ylabel("language")
    pairs = data.dropna().sort_values("percent", ascending=False, kind="stable")
    most, least = pairs.iloc[0], pairs.iloc[-1]
    title = f"Overlap between languages: % of the {100 * TOP:.0f}% of neurons with the highest awareness"
    caption = (
        f"Over all layers. Chance is {100 * TOP:.0f}%; near 100% two languages use the same neurons. "
        f"Most is shared by {most['language']} and {most['other']} ({most['percent']:.0f}%), "
        f"least by {least['language']} and {least['other']} ({least['percent']:.0f}%)."
    )
    return _drawn("overlap", title, caption, figure, data, ("language", "other", "percent"))


@matplotlib.rc_context(svg.RC)
def agreement(documents: list[Document]) -> Drawn | None:
    """How far the estimators agree, from the numbers of the experiment of that name."""
    text = next((one.csv for one in documents if one.name == "agreement"), None)
    if not text:
        return None
    data = pd.read_csv(io.StringIO(text), dtype={"a": str, "b": str, "language": str}, keep_default_na=False)
    if not {"kind", "a", "b", "language", "value"} <= set(data):
        return None
    whole = (data["kind"] == "estimators_correlation") | (data["language"] == ANY)
    data = data[data["kind"].isin(MEASURES) & whole].assign(value=lambda t: pd.to_numeric(t["value"], errors="coerce"))
    data = data.groupby(["kind", "a", "b"], sort=False, as_index=False)["value"].median().dropna()
    data = data.assign(measure=data["kind"].map(MEASURES))[["measure", "a", "b", "value"]]
    if data.empty:
        return None
    names = list(dict.fromkeys([*data["a"], *data["b"]]))
    kinds = list(dict.fromkeys(data["measure"]))
    figure, axes = _panels(len(kinds), len(names))
    for axis, kind in zip(axes, kinds, strict=True):
        found = data[data["measure"] == kind].set_index(["a", "b"])["value"].to_dict()
        values = [[found.get((one, two), found.get((two, one), np.nan)) for two in names] for one in names]
        _map(axis, pd.DataFrame(values, names, names), 1, "{:.2f}")
        axis.set_title(kind, fontsize=9.5, loc="left")
    title = "Agreement of the estimators of awareness"
    best = data[data["measure"] == kinds[-1]].sort_values("value", kind="stable")
    pairs = [f"{row['a']} and {row['b']}" for row in (best.iloc[-1], best.iloc[0])]
    values = [best["value"].iloc[-1], best["value"].iloc[0]]
    caption = (
        f"Medians over layers; 1: the same, 0: nothing in common. By {kinds[-1]}, {pairs[0]} agree most "
        f"({values[0]:.2f}), {pairs[1]} least ({values[1]:.2f}): where estimators disagree, which neurons are called "
        "specific is a matter of the estimator."
    )
    return _drawn("estimators-agreement", title, caption, figure, data)


def _panels(number: int, size: int) -> tuple[Figure, list[Axes]]:
    """Square panels side by side for matrices of a size; in inches."""
    side = max(2.4, 0.42 * size + 1)
    figure = Figure(figsize=(max(6.4, side * number), side), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, list(figure.subplots(1, number, squeeze=False)[0])


def _map(axis: Axes, matrix: pd.DataFrame, top: float, form: str) -> None:
    """One matrix; values from 0 to `top` stand in their cells, missing ones are blank."""
    axis.grid(False)
    values = np.ma.masked_invalid(matrix.to_numpy(float))
    axis.pcolormesh(values, cmap=SHADES, vmin=0, vmax=top, edgecolors=LIGHT, linewidth=0.6)
    for (row, column), value in np.ndenumerate(matrix.to_numpy(float)):
        if np.isfinite(value):
            colour = LIGHT if value > 0.4 * top else DARK
            where = {"ha": "center", "va": "center", "fontsize": 8}
            axis.text(column + 0.5, row + 0.5, form.format(value), color=colour, **where)
    axis.set_xticks(np.arange(matrix.shape[1]) + 0.5, matrix.columns, rotation=90 if matrix.shape[1] > 4 else 0)
    axis.set_yticks(np.arange(matrix.shape[0]) + 0.5, matrix.index)
    axis.tick_params(length=0)
    axis.set_aspect("equal")
    axis.invert_yaxis()


def _drawn(
    name: str, title: str, caption: str, figure: Figure, data: pd.DataFrame, pivot: tuple[str, str, str] | None = None
) -> Drawn:
    description = f"Heat map. {title}. {caption}"
    return Drawn(name, title, caption, description, svg.to_svg(figure, name, title), data, pivot)
