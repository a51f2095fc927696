"""The figures of the layers and neurons (paper, figures 4-8), each with its numbers, a title and a caption."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lander.report import svg
from lander.report.inputs import Inputs
from lander.report.order import sort_directions
from lander.shared.languages import parse_direction

LAYER_AXIS = "layer (0 = first)"
SHARED = "A neuron of several languages counts for each of them, and once in all."
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Drawn:
    """A figure ready for the page and for its own files."""

    name: str
    title: str
    caption: str
    description: str  # for those who cannot see it
    svg: str
    data: pd.DataFrame  # long format: what the figure shows
    pivot: tuple[str, str, str] | None = None  # rows, columns, values of the table below the figure


def _listed(values: list) -> str:
    """`1`, `1 and 2`, `1, 2 and 3`."""
    texts = [str(value) for value in values]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def chosen_layers(layers: pd.DataFrame | None) -> dict[str, list[int]]:
    """Direction -> its chosen layers."""
    if layers is None:
        return {}
    return {
        str(direction): sorted(int(layer) for layer in rows.loc[rows["selected"], "layer"])
        for direction, rows in layers.groupby("direction", sort=False)
    }


def chosen_sentence(chosen: dict[str, list[int]], each: bool = False) -> str:
    """Which layers were chosen, in words; `each`: list them for each direction where they differ."""
    sets = list(chosen.values())
    if not any(sets):
        return "No layer was chosen."
    if all(one == sets[0] for one in sets):
        layers = f"layer, {sets[0][0]}" if len(sets[0]) == 1 else f"layers, {_listed(sets[0])}"
        same = ", the same for every direction" if len(sets) > 1 else ""
        return f"Shaded: the chosen {layers}{same}."
    listed = "; ".join(f"{name}: {_listed(chosen[name]) or 'none'}" for name in sort_directions(chosen))
    own = f" ({listed})" if each else ""
    return f"Shaded: layers chosen for some direction, the stronger the more; ringed: a direction's own{own}."


def _shade(axes: Axes, chosen: dict[str, list[int]]) -> None:
    """A band behind each chosen layer; paler where fewer directions chose it."""
    for layer in sorted({layer for layers in chosen.values() for layer in layers}):
        share = sum(layer in layers for layers in chosen.values()) / len(chosen)
        alpha = 0.35 + 0.65 * share if share < 1 else 1
        axes.axvspan(layer - 0.42, layer + 0.42, color=svg.BAND, alpha=alpha, linewidth=0, zorder=0)


def direction_styles(directions: list[str]) -> dict[str, dict]:
    """A colour and marker for each pair; one way solid and filled, the way back dashed and hollow."""
    styles, pairs = {}, []
    for name in directions:
        pair = parse_direction(name).pair
        back = pair in pairs
        if not back:
            pairs.append(pair)
        style = svg.line_style(pairs.index(pair)) | {"linestyle": svg.DASHES[1 if back else 0]}
        styles[name] = style | {"markerfacecolor": svg.PAGE if back else style["color"]}
    return styles


def _lines(
    name: str,
    title: str,
    quantity: tuple[str, str],
    data: pd.DataFrame,
    styles: dict[str, dict],
    inputs: Inputs,
    caption: str,
    legend_rows: int = 1,
    scale: pd.Series | None = None,
) -> Drawn:
    """Lines over layers.

    Args:
        quantity: what the y axis shows, and its unit (empty for none).
        data: its first three columns are layer, series and value (whatever their names).
        styles: of each series, in the order of the legend.
        legend_rows: lines of the legend; it is filled column by column.
        scale: values by which the unit of the y axis is chosen, where not by those shown.
    """
    layer, series, value = data.columns[:3]
    chosen = chosen_layers(inputs.layers)
    uneven = len({tuple(layers) for layers in chosen.values()}) > 1
    factor, label = scaled(data[value] if scale is None else scale, *quantity)
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
    description = f"Line chart. {title}. {data[layer].nunique()} layers, {len(styles)} lines. {caption}"
    drawing = svg.to_svg(figure, name, title)
    return Drawn(name, title, caption, description, drawing, data, (str(layer), str(series), str(value)))


def scaled(values: pd.Series, what: str, unit: str) -> tuple[float, str]:
    """A power of ten that makes small values readable, and the label of the axis: `mean awareness (10⁻⁴ nats)`."""
    top = float(values.abs().max())
    power = math.floor(math.log10(top)) if 0 < top < 0.01 else 0
    digits = f"10{str(power).translate(SUPERSCRIPT)}" if power else ""
    inside = " ".join(part for part in (digits, unit) if part) or "no unit"
    return 10.0**-power, f"{what} ({inside})"


def _direction_lines(name: str, title: str, what: str, column: str, inputs: Inputs, caption: str) -> Drawn:
    data = inputs.layers[["layer", "direction", column, "selected"]]
    styles = direction_styles(sort_directions(data["direction"].unique()))
    rows = 2 * -(-len(styles) // 12) if len(styles) > 4 else 1  # an even number: a pair's two ways stand together
    return _lines(name, title, (what, ""), data, styles, inputs, caption, rows)


def _language_lines(name: str, title: str, data: pd.DataFrame, inputs: Inputs, caption: str) -> Drawn:
    styles = {language: svg.line_style(index) for index, language in enumerate(inputs.awareness)}
    if inputs.layers is not None:
        caption += " Shaded: the chosen layers."
    scale = _mean_awareness(inputs)["awareness"]  # of all neurons: one unit in the figures that are to be compared
    return _lines(name, title, ("mean awareness", "nats"), data, styles, inputs, caption, -(-len(styles) // 7), scale)


@matplotlib.rc_context(svg.RC)
def activation(inputs: Inputs) -> Drawn | None:
    """Mean activation per layer and direction (paper, figure 4)."""
    if inputs.layers is None:
        return None
    caption = (
        "Directions whose lines run together make the model do the same work in that layer; "
        "a line that leaves the others shows where a direction is treated apart. "
        + chosen_sentence(chosen_layers(inputs.layers))
    )
    title = "Mean activation of the FFN neurons, by layer and direction"
    return _direction_lines("activation", title, "mean activation", "activation", inputs, caption)


@matplotlib.rc_context(svg.RC)
def delta(inputs: Inputs) -> Drawn | None:
    """D, the change between neighbouring layers, per layer and direction (paper, figure 5)."""
    if inputs.layers is None or inputs.layers["delta"].isna().all():
        return None
    mean = inputs.layers.groupby("layer")["delta"].mean().dropna()
    top = [int(layer) for layer in mean.nlargest(3).index]
    caption = (
        f"The layers with the largest change are taken to matter to the language pair (eq. 1-2). "
        f"Averaged over directions it is largest at layer{'s' if len(top) > 1 else ''} {_listed(top)}. "
        + chosen_sentence(chosen_layers(inputs.layers), each=True)
    )
    title = "D, the change of activation against the neighbouring layer"
    return _direction_lines("delta", title, "D, change of mean activation", "delta", inputs, caption)


def _mean_awareness(inputs: Inputs) -> pd.DataFrame:
    """layer, language, awareness: the mean over all neurons."""
    parts = [
        rows.groupby("layer")["score"].mean().rename("awareness").reset_index().assign(language=language)
        for language, rows in inputs.awareness.items()
    ]
    return pd.concat(parts)[["layer", "language", "awareness"]]


@matplotlib.rc_context(svg.RC)
def awareness(inputs: Inputs) -> Drawn | None:
    """Mean awareness per layer and language (paper, figure 8)."""
    if not inputs.awareness:
        return None
    data = _mean_awareness(inputs)
    mean = data.groupby("layer")["awareness"].mean()
    caption = (
        "How much the loss on a language's text would change, to first order, without one neuron (eq. 3-4). "
        f"Over languages it is highest at layer {int(mean.idxmax())} and lowest at layer {int(mean.idxmin())}. "
        "A line above the others may only mean a higher loss on that language."
    )
    return _language_lines("awareness", "Mean awareness of the neurons, by layer and language", data, inputs, caption)


def _group(inputs: Inputs, select: Callable[[pd.DataFrame, str], pd.Series]) -> pd.DataFrame:
    """Mean awareness per layer and language over the neurons that `select` marks in the joined table; gaps are NaN."""
    parts = []
    for language, scores in inputs.awareness.items():
        both = inputs.neurons.merge(scores, on=["layer", "neuron"], how="inner")
        both["score"] = both["score"].where(select(both, language))
        grouped = both.groupby("layer")["score"]
        found = pd.DataFrame({"awareness": grouped.mean(), "neurons": grouped.count()}).reset_index()
        parts.append(found.assign(language=language))
    return pd.concat(parts)[["layer", "language", "awareness", "neurons"]]


@matplotlib.rc_context(svg.RC)
def awareness_general(inputs: Inputs) -> Drawn | None:
    """Mean awareness of the general neurons (paper, figure 6)."""
    if inputs.neurons is None or not inputs.awareness:
        return None
    data = _group(inputs, lambda rows, _: rows["kind"] == "general")
    caption = (
        "General neurons score alike in all languages, so the lines should have the same shape; "
        "a gap between them is a difference of level, such as a higher loss on one language."
    )
    title = "Mean awareness of the language-general neurons"
    return _language_lines("awareness-general", title, data, inputs, caption)


@matplotlib.rc_context(svg.RC)
def awareness_specific(inputs: Inputs) -> Drawn | None:
    """Mean awareness, for each language, of the specific neurons that it owns (paper, figure 7)."""
    if inputs.neurons is None or not inputs.awareness:
        return None
    data = _group(inputs, lambda rows, language: (rows["kind"] == "specific") & (rows["language"] == language))
    caption = (
        "Each language's own neurons, on its own text. Where a line lies far above that of the general neurons, a few "
        "neurons carry much of what is particular to the language. It breaks where the language owns none of a layer."
    )
    title = "Mean awareness of the language-specific neurons, by owner"
    return _language_lines("awareness-specific", title, data, inputs, caption)


@matplotlib.rc_context(svg.RC)
def owners(inputs: Inputs) -> Drawn | None:
    """How many specific neurons each language owns in each layer."""
    if inputs.neurons is None:
        return None
    specific = inputs.neurons[inputs.neurons["kind"] == "specific"]
    languages = list(inputs.awareness) or sorted(specific["language"].dropna().unique())
    layers = sorted(int(layer) for layer in inputs.neurons["layer"].unique())
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
    title = "Language-specific neurons, by layer and owner"
    caption = _owners_caption(inputs.neurons, specific, languages)
    description = f"Stacked bar chart. {title}. {len(layers)} layers. {caption}"
    drawing = svg.to_svg(figure, "owners", title)
    return Drawn("owners", title, caption, description, drawing, counts, ("layer", "language", "neurons"))


def distinct(neurons: pd.DataFrame) -> pd.DataFrame:
    """Each neuron once: of several owners it has a row for each."""
    return neurons.drop_duplicates(["layer", "neuron"])


def _owners_caption(neurons: pd.DataFrame, specific: pd.DataFrame, languages: list[str]) -> str:
    if specific.empty:
        return "No neuron is specific to a language: all take part in every direction."
    kinds = distinct(neurons)["kind"].value_counts()
    owned = specific["language"].value_counts().reindex(languages, fill_value=0)
    shared = f" {SHARED}" if len(specific) > kinds["specific"] else ""
    idle = f", {kinds['unactivated']:,} unactivated" if kinds.get("unactivated", 0) else ""
    return (
        f"Of {kinds.sum():,} neurons {kinds.get('general', 0):,} are general, {kinds['specific']:,} specific{idle}. "
        f"{owned.idxmax()} owns most ({owned.max():,}), {owned.idxmin()} fewest ({owned.min():,}). "
        f"Bars of uneven parts show layers where one language stands apart.{shared}"
    )


DETECTION = (activation, delta, awareness, awareness_general, awareness_specific, owners)
