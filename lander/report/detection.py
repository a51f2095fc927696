"""Section "Layers and neurons": what the detection found before any training (paper, figures 4-8).

Figures by layer, heat maps of overlap and agreement, the table of owners, and the answers in the summary.
"""

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from lander.report import svg
from lander.report.document import Document, heads
from lander.report.inputs import Inputs
from lander.report.labels import sort_directions
from lander.report.svg import Drawn, styled
from lander.report.tables import Cell, Table
from lander.shared.languages import parse_direction

LAYER_AXIS = "layer (0 = first)"
SHARED = "A neuron of several languages counts for each of them, and once in the total."
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
TOP = 0.05  # share of the neurons whose overlap between languages is shown
LIGHT, DARK = (
    "#ffffff",
    "#1a1a1c",
)  # of the numbers in heat maps, also on a dark page
SHADES = LinearSegmentedColormap.from_list("share", [LIGHT, svg.PALETTE[0], "#00304d"])  # ever darker, in grey too
MEASURES = {  # kind in the numbers of the experiment `agreement` -> title
    "estimators_correlation": "rank correlation of the scores",
    "estimators_overlap": "overlap of specific neurons",
}
DIRECTION_LINES = {  # figure, and column of the layers table -> title, y axis
    "activation": ("Mean activation of the FFN neurons, by layer and direction", "mean activation"),
    "delta": ("D, the change of mean activation between neighbouring layers", "D, change of mean activation"),
}
LANGUAGE_LINES = {  # figure -> title, which neurons; None for all
    "awareness": ("Mean awareness of the neurons, by layer and language", None),
    "awareness-general": (
        "Mean awareness of the language-general neurons",
        lambda rows, _: rows["kind"] == "general",
    ),
    "awareness-specific": (
        "Mean awareness of the language-specific neurons, by owner",
        lambda rows, language: (rows["kind"] == "specific") & (rows["language"] == language),
    ),
}
FIGURES = (*DIRECTION_LINES, *LANGUAGE_LINES, "owners", "overlap", "estimators-agreement")
ANY = "any"  # in these numbers: over the sets of all languages


# ---------------------------------------------------------------- chosen layers


def chosen_layers(layers: pd.DataFrame | None) -> dict[str, list[int]]:
    """Direction -> its chosen layers."""
    if layers is None:
        return {}
    return {
        str(direction): sorted(int(layer) for layer in rows.loc[rows["selected"], "layer"])
        for direction, rows in layers.groupby("direction", sort=False)
    }


def layers_answer(inputs: Inputs) -> str:
    """Which layers were chosen, and where D is largest."""
    if inputs.layers is None:
        return ""
    chosen = chosen_layers(inputs.layers)
    same = len({tuple(layers) for layers in chosen.values()}) == 1
    names = [next(iter(chosen))] if same else sort_directions(chosen)
    texts = [", ".join(map(str, chosen[name])) or "none" for name in names]
    texts = texts if same else [f"{name}: {text}" for name, text in zip(names, texts, strict=True)]
    text = "; ".join(texts) + (", for every direction" if same and len(chosen) > 1 else "")
    text += f" (of {inputs.layers['layer'].nunique()}, counted from 0)"
    mean = inputs.layers.groupby("layer")["delta"].mean().dropna().sort_values(ascending=False, kind="stable")
    if mean.empty:
        return text
    largest = ", ".join(f"{layer} ({value:.3g})" for layer, value in mean.head(max(1, len(chosen[names[0]]))).items())
    return f"{text}. D, the change of mean activation between neighbouring layers, is largest at {largest}"


def _shade(axes: Axes, chosen: dict[str, list[int]]) -> None:
    """A band behind each chosen layer; paler if fewer directions chose it."""
    for layer in sorted({layer for layers in chosen.values() for layer in layers}):
        share = sum(layer in layers for layers in chosen.values()) / len(chosen)
        alpha = 0.35 + 0.65 * share if share < 1 else 1
        axes.axvspan(layer - 0.42, layer + 0.42, color=svg.BAND, alpha=alpha, linewidth=0, zorder=0)


# ---------------------------------------------------------------- lines over layers (figures 4-8)


def scaled(values: pd.Series, what: str, unit: str) -> tuple[float, str]:
    """A power of ten that makes small values readable, and the axis label: `mean awareness (10⁻⁴ nats)`."""
    top = float(values.abs().max())
    power = math.floor(math.log10(top)) if 0 < top < 0.01 else 0
    digits = f"10{str(power).translate(SUPERSCRIPT)}" if power else ""
    inside = " ".join(part for part in (digits, unit) if part) or "no unit"
    return 10.0**-power, f"{what} ({inside})"


def _lines(
    name: str,
    title: str,
    axis: tuple[str, str],
    data: pd.DataFrame,
    styles: dict[str, dict[str, Any]],
    inputs: Inputs,
    legend_rows: int,
    scale: pd.Series,
) -> Drawn:
    """Lines over layers.

    Args:
        axis: what the y axis shows, and its unit (empty for none).
        data: its first three columns are layer, series and value (with any names).
        styles: of each series, in the order of the legend.
        legend_rows: lines of the legend; it is filled column by column.
        scale: values that determine the unit of the y axis.
    """
    layer, series, value = data.columns[:3]
    chosen = chosen_layers(inputs.layers)
    uneven = len({tuple(layers) for layers in chosen.values()}) > 1
    factor, label = scaled(scale, *axis)
    figure, axes = svg.new_figure(legend_rows=legend_rows)
    _shade(axes, chosen)
    for one, style in styles.items():
        rows = data[data[series] == one].sort_values(layer)
        axes.plot(rows[layer], rows[value] * factor, label=one, **style)
        own = rows[rows[layer].isin(chosen.get(one, []))]
        if uneven and len(own):
            ring = {"markersize": 10, "markerfacecolor": "none", "markeredgecolor": style["color"]}
            axes.plot(own[layer], own[value] * factor, linestyle="", marker="o", **ring)
    axes.set_xlabel(LAYER_AXIS)
    axes.set_ylabel(label)
    axes.set_xlim(-0.5, data[layer].max() + 0.5)
    svg.integer_axis(axes)
    svg.legend_below(figure, axes, -(-len(styles) // legend_rows))
    kind = f"Line chart of {data[layer].nunique()} layers, {len(styles)} lines"
    return svg.drawn(figure, name, title, kind, data, (str(layer), str(series), str(value)))


@styled
def direction_lines(name: str, inputs: Inputs) -> Drawn | None:
    """A column of the layers table, named as the figure, per layer and direction (paper, figures 4-5).

    A language pair has one colour and marker: solid and filled for one direction, dashed and hollow for the other.
    """
    if inputs.layers is None or inputs.layers[name].isna().all():
        return None
    title, axis = DIRECTION_LINES[name]
    data = inputs.layers[["layer", "direction", name, "selected"]]
    styles, pairs = {}, []
    for direction in sort_directions(data["direction"].unique()):
        pair = parse_direction(direction).pair
        back = pair in pairs
        pairs += [] if back else [pair]
        style = svg.line_style(pairs.index(pair)) | {"linestyle": svg.DASHES[1 if back else 0]}
        styles[direction] = style | {"markerfacecolor": svg.PAGE if back else style["color"]}
    rows = 2 * -(-len(styles) // 12) if len(styles) > 4 else 1  # an even number keeps a pair together
    return _lines(name, title, (axis, ""), data, styles, inputs, rows, data[name])


@styled
def language_lines(name: str, inputs: Inputs) -> Drawn | None:
    """Mean awareness per layer and language: of all neurons, the general or the specific ones (paper, figures 6-8)."""
    title, select = LANGUAGE_LINES[name]
    if not inputs.awareness or (select and inputs.neurons is None):
        return None
    styles = {language: svg.line_style(index) for index, language in enumerate(inputs.awareness)}
    data = _mean_awareness(inputs, select)
    scale = _mean_awareness(inputs, None)["awareness"]  # of all neurons: the figures can be compared with one unit
    return _lines(name, title, ("mean awareness", "nats"), data, styles, inputs, -(-len(styles) // 7), scale)


def _mean_awareness(inputs: Inputs, select: Callable[[pd.DataFrame, str], pd.Series] | None) -> pd.DataFrame:
    """Mean awareness per layer and language over the neurons that `select` marks in the joined table; gaps are NaN."""
    parts = []
    for language, rows in inputs.awareness.items():
        if select:
            rows = inputs.neurons.merge(rows, on=["layer", "neuron"], how="inner")
            rows["score"] = rows["score"].where(select(rows, language))
        grouped = rows.groupby("layer")["score"]
        found = pd.DataFrame({"awareness": grouped.mean(), "neurons": grouped.count()}).reset_index()
        parts.append(found.assign(language=language))
    return pd.concat(parts)[["layer", "language", "awareness", *(["neurons"] if select else [])]]


# ---------------------------------------------------------------- who owns which neurons


def distinct(neurons: pd.DataFrame) -> pd.DataFrame:
    """Each neuron once; a neuron of several owners has a row for each."""
    return neurons.drop_duplicates(["layer", "neuron"])


def owned(neurons: pd.DataFrame) -> pd.DataFrame:
    """How many specific neurons each language owns, in all layers and in the chosen ones, most first."""
    groups = neurons[neurons["kind"] == "specific"].groupby("language")["selected"]
    table = pd.DataFrame({"neurons": groups.size(), "chosen": groups.sum().astype(int)})
    return table.sort_values("neurons", ascending=False, kind="stable")


def neurons_answer(inputs: Inputs) -> str:
    """How many specific neurons each language owns."""
    if inputs.neurons is None:
        return ""
    table, every = owned(inputs.neurons), distinct(inputs.neurons)
    names = [f"{inputs.language(name)} {n:,}" for name, n in zip(table.index, table["neurons"], strict=True)]
    text = f"Specific neurons: {', '.join(names) or 'none'} (of {len(every):,} neurons)"
    inside = int(every["selected"].sum())
    if not names or not 0 < inside < len(every):
        return text
    there = [f"{name} {number:,}" for name, number in table["chosen"].items()]
    return f"{text}; in the chosen layers {', '.join(there)} (of {inside:,})"


def owners_table(inputs: Inputs) -> Table | None:
    """Specific neurons of each language: their number, in the chosen layers, and their share of all specific ones."""
    if inputs.neurons is None:
        return None
    table = owned(inputs.neurons)
    specific = distinct(inputs.neurons[inputs.neurons["kind"] == "specific"])
    total = len(specific)
    if not total:
        return None
    names = [inputs.language(str(name)) for name in table.index]
    numbers = [*zip(names, table["neurons"], table["chosen"], strict=True), ("all", total, specific["selected"].sum())]
    rows = [
        (name, [Cell(f"{every:,}"), Cell(f"{chosen:,}"), Cell(f"{100 * every / total:.1f}%")])
        for name, every, chosen in numbers
    ]
    columns = heads(["in all layers", "in the chosen layers", "share of specific"])
    kinds = distinct(inputs.neurons)["kind"].value_counts()
    notes = [f"All neurons: {', '.join(f'{number:,} {kind}' for kind, number in kinds.items())}."]
    notes += [SHARED] if table["neurons"].sum() > total else []
    return Table("Specific neurons by owner", "language", columns, rows, notes=notes, total=True)


@styled
def owners(inputs: Inputs) -> Drawn | None:
    """How many specific neurons each language owns in each layer."""
    if inputs.neurons is None:
        return None
    neurons, specific = inputs.neurons, inputs.neurons[inputs.neurons["kind"] == "specific"]
    languages = list(inputs.awareness) or sorted(specific["language"].dropna().unique())
    layers = sorted(int(layer) for layer in neurons["layer"].unique())
    counts = specific.groupby(["layer", "language"]).size().reindex(pd.MultiIndex.from_product([layers, languages]))
    counts = counts.fillna(0).astype(int).rename_axis(["layer", "language"]).rename("neurons").reset_index()
    figure, axes = svg.new_figure(legend_rows=-(-len(languages) // 7))
    bottom = np.zeros(len(layers))
    for index, language in enumerate(languages):
        heights = counts.loc[counts["language"] == language, "neurons"].to_numpy()
        look = {"facecolor": svg.PALETTE[index % len(svg.PALETTE)], "hatch": svg.HATCHES[index % len(svg.HATCHES)]}
        axes.bar(layers, heights, 0.74, bottom, label=language, edgecolor=svg.PAGE, linewidth=0.6, **look)
        bottom += heights
    axes.set_xlabel(LAYER_AXIS)
    axes.set_ylabel("specific neurons (number)")
    axes.set_xlim(-0.5, layers[-1] + 0.5)
    svg.integer_axis(axes)
    if languages:
        svg.legend_below(figure, axes, min(7, len(languages)))
    title, kind = "Language-specific neurons, by layer and owner", f"Stacked bar chart of {len(layers)} layers"
    return svg.drawn(figure, "owners", title, kind, counts, ("layer", "language", "neurons"))


def foreign_masks(inputs: Inputs) -> str:
    """A sentence on masks that this detection has not made; empty if landermt used its own."""
    folder = inputs.setting("neurons", "masks")
    if not folder or "landermt" not in set(inputs.scores["method"]):
        return ""
    shown = " The layers and neurons on this page come from Lander's own detection, not from these masks."
    return f"landermt used the masks of {folder} (neurons.masks).{shown if inputs.neurons is not None else ''}"


# ---------------------------------------------------------------- heat maps


def _heat_map(axis: Axes, matrix: pd.DataFrame, top: float, form: str) -> None:
    """One matrix. Values from 0 to `top` are printed in their cells; missing ones are blank."""
    axis.grid(False)
    values = matrix.to_numpy(float)
    axis.pcolormesh(np.ma.masked_invalid(values), cmap=SHADES, vmin=0, vmax=top, edgecolors=LIGHT, linewidth=0.6)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            look = {"color": LIGHT if value > 0.4 * top else DARK, "ha": "center", "va": "center", "fontsize": 8}
            axis.text(column + 0.5, row + 0.5, form.format(value), **look)
    axis.set_xticks(np.arange(matrix.shape[1]) + 0.5, matrix.columns, rotation=90 if matrix.shape[1] > 4 else 0)
    axis.set_yticks(np.arange(matrix.shape[0]) + 0.5, matrix.index)
    axis.tick_params(length=0)
    axis.set_aspect("equal")
    axis.invert_yaxis()


def _squares(number: int, size: int) -> tuple[Any, Any]:
    """A figure with square panels side by side, for matrices of a size."""
    side = max(2.4, 0.42 * size + 1)  # inches
    figure, panels = svg.new_panels(1, number, side, width=max(6.4, side * number))
    return figure, panels[0]


def overlap_shares(inputs: Inputs) -> pd.DataFrame:
    """Of the `TOP` share of neurons with the highest awareness for one language, the percentage among another's.

    Returns:
        language, other, percent; NaN for a language with itself.
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


@styled
def overlap(inputs: Inputs) -> Drawn | None:
    """How many of the neurons that matter most to one language matter most to another."""
    if len(inputs.awareness) < 2:
        return None
    data, names = overlap_shares(inputs), list(inputs.awareness)
    matrix = data.pivot(index="language", columns="other", values="percent").loc[names, names]
    figure, (axes,) = _squares(1, len(names))
    _heat_map(axes, matrix, 100, "{:.0f}")
    axes.set_xlabel("another language")
    axes.set_ylabel("language")
    title = f"Overlap between languages: % of the {100 * TOP:.0f}% of neurons with the highest awareness"
    return svg.drawn(figure, "overlap", title, "Heat map", data, ("language", "other", "percent"))


@styled
def agreement(documents: Sequence[Document]) -> Drawn | None:
    """How well the estimators agree, from the numbers of the experiment `agreement`."""
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
    figure, panels = _squares(len(kinds), len(names))
    for axes, kind in zip(panels, kinds, strict=True):
        found = data[data["measure"] == kind].set_index(["a", "b"])["value"].to_dict()
        values = [[found.get((one, two), found.get((two, one), np.nan)) for two in names] for one in names]
        _heat_map(axes, pd.DataFrame(values, names, names), 1, "{:.2f}")
        axes.set_title(kind, fontsize=9.5, loc="left")
    title = "Agreement of the estimators of awareness"
    return svg.drawn(figure, "estimators-agreement", title, "Heat map", data)


def draw(name: str, inputs: Inputs, documents: Sequence[Document] = ()) -> Drawn | None:
    """One figure of `FIGURES`; None if there is nothing to show."""
    if name in DIRECTION_LINES:
        return direction_lines(name, inputs)
    if name in LANGUAGE_LINES:
        return language_lines(name, inputs)
    return (
        agreement(documents) if name == "estimators-agreement" else {"owners": owners, "overlap": overlap}[name](inputs)
    )
