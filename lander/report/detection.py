"""Section "Layers and neurons": what the detection found before any training (paper, figures 4-8).

Figures by layer, heat maps of overlap and agreement, the table of owners, and the answers in the summary.
"""

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lander.report import charts, svg
from lander.report.charts import Panel
from lander.report.document import Document
from lander.report.inputs import Inputs
from lander.report.labels import sort_directions
from lander.report.svg import Drawn
from lander.report.tables import Table
from lander.shared.languages import parse_direction

LAYER_AXIS = "layer (0 = first)"
SHARED = "A neuron of several languages counts for each of them, and once in the total."
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
TOP = 0.05  # share of the neurons whose overlap between languages is shown
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
    """Which layers were chosen: one list if it is the same for all directions."""
    chosen = {name: ", ".join(map(str, layers)) or "none" for name, layers in chosen_layers(inputs.layers).items()}
    texts = [f"{name}: {chosen[name]}" for name in sort_directions(chosen)]
    if len(set(chosen.values())) == 1:
        texts = [*chosen.values()][:1]
    return f"{'; '.join(texts)} (of {inputs.layers['layer'].nunique()}, counted from 0)" if texts else ""


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
    inputs: Inputs,
    scale: pd.Series,
    styles: Any = None,
) -> Drawn:
    """Lines over layers. The chosen layers are shaded; if directions chose different ones, each has rings at its own.

    Args:
        axis: what the y axis shows, and its unit (empty for none).
        data: its first three columns are layer, series and value (with any names).
        scale: values that determine the unit of the y axis.
        styles: series, in the order of the legend -> what differs from its usual look.
    """
    layer, series, value = data.columns[:3]
    chosen = chosen_layers(inputs.layers)
    uneven = len({tuple(layers) for layers in chosen.values()}) > 1
    counts = pd.Series([layer for layers in chosen.values() for layer in layers], dtype=int).value_counts()
    bands = {layer: 0.35 + 0.65 * share if share < 1 else 1 for layer, share in (counts / len(chosen)).items()}
    factor, label = scaled(scale, *axis)
    rows = pd.DataFrame({"value": data[layer], "series": data[series], "mean": data[value] * factor})
    panel = Panel(rows, LAYER_AXIS, label, chosen=chosen if uneven else {}, bands=bands)
    kind = f"Line chart of {data[layer].nunique()} layers, {data[series].nunique()} lines"
    drawing = charts.lines(name, title, [panel], "whole", styles)
    return Drawn(name, title, kind, drawing, data, (str(layer), str(series), str(value)))


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
    return _lines(name, title, (axis, ""), data, inputs, data[name], styles)


def language_lines(name: str, inputs: Inputs) -> Drawn | None:
    """Mean awareness per layer and language: of all neurons, the general or the specific ones (paper, figures 6-8)."""
    title, select = LANGUAGE_LINES[name]
    if not inputs.awareness or (select and inputs.neurons is None):
        return None
    scale = _mean_awareness(inputs, None)["awareness"]  # of all neurons: the figures can be compared with one unit
    return _lines(name, title, ("mean awareness", "nats"), _mean_awareness(inputs, select), inputs, scale)


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
    """How many neurons are specific, in all layers and in the chosen ones."""
    if inputs.neurons is None:
        return ""
    every = distinct(inputs.neurons)
    specific, chosen = every["kind"] == "specific", every["selected"]
    inside = f"{(specific & chosen).sum():,} of {chosen.sum():,} in the chosen layers"
    return f"{specific.sum():,} of {len(every):,} neurons; {inside}"


def owners_table(inputs: Inputs) -> Table | None:
    """Specific neurons of each language: their number, in the chosen layers, and their share of all specific ones."""
    if inputs.neurons is None:
        return None
    table = owned(inputs.neurons)
    specific = distinct(inputs.neurons[inputs.neurons["kind"] == "specific"])
    total = len(specific)
    if not total:
        return None
    names = [*(inputs.language(str(name)) for name in table.index), "all"]
    numbers = [*table.itertuples(index=False, name=None), (total, specific["selected"].sum())]
    found = zip(names, numbers, strict=True)
    rows = [(name, [f"{own:,}", f"{chosen:,}", f"{100 * own / total:.1f}%"]) for name, (own, chosen) in found]
    columns = ["in all layers", "in the chosen layers", "share of specific"]
    kinds = distinct(inputs.neurons)["kind"].value_counts()
    notes = [f"All neurons: {', '.join(f'{number:,} {kind}' for kind, number in kinds.items())}."]
    notes += [SHARED] if table["neurons"].sum() > total else []
    return Table.of("Specific neurons by owner", "language", columns, rows, notes=notes, total=True)


def owners(inputs: Inputs) -> Drawn | None:
    """How many specific neurons each language owns in each layer."""
    if inputs.neurons is None:
        return None
    neurons, specific = inputs.neurons, inputs.neurons[inputs.neurons["kind"] == "specific"]
    languages = list(inputs.awareness) or sorted(specific["language"].dropna().unique())
    layers = sorted(int(layer) for layer in neurons["layer"].unique())
    counts = specific.groupby(["layer", "language"]).size().reindex(pd.MultiIndex.from_product([layers, languages]))
    counts = counts.fillna(0).astype(int).rename_axis(["layer", "language"]).rename("neurons").reset_index()
    title, kind = "Language-specific neurons, by layer and owner", f"Stacked bar chart of {len(layers)} layers"
    panel = Panel(counts.set_axis(["value", "series", "mean"], axis="columns"), LAYER_AXIS, "specific neurons (number)")
    drawing = charts.bars("owners", title, [panel], stacked=True)
    return Drawn("owners", title, kind, drawing, counts, ("layer", "language", "neurons"))


def foreign_masks(inputs: Inputs) -> str:
    """A sentence on masks that this detection has not made; empty if landermt used its own."""
    folder = inputs.setting("neurons", "masks")
    if not folder or "landermt" not in set(inputs.scores["method"]):
        return ""
    shown = " The layers and neurons on this page come from Lander's own detection, not from these masks."
    return f"landermt used the masks of {folder} (neurons.masks).{shown if inputs.neurons is not None else ''}"


# ---------------------------------------------------------------- heat maps


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


def overlap(inputs: Inputs) -> Drawn | None:
    """How many of the neurons that matter most to one language matter most to another."""
    if len(inputs.awareness) < 2:
        return None
    data, names = overlap_shares(inputs), list(inputs.awareness)
    matrix = data.pivot(index="language", columns="other", values="percent").loc[names, names]
    title = f"Overlap between languages: % of the {100 * TOP:.0f}% of neurons with the highest awareness"
    drawing = charts.heat("overlap", title, [Panel(matrix, "another language", "language")], 100, ".0f")
    return Drawn("overlap", title, "Heat map", drawing, data, ("language", "other", "percent"))


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
    panels = []
    for kind in dict.fromkeys(data["measure"]):
        found = data[data["measure"] == kind].set_index(["a", "b"])["value"].to_dict()
        values = [[found.get((one, two), found.get((two, one), np.nan)) for two in names] for one in names]
        panels.append(Panel(pd.DataFrame(values, names, names), title=kind))
    title = "Agreement of the estimators of awareness"
    drawing = charts.heat("estimators-agreement", title, panels, 1, ".2f")
    return Drawn("estimators-agreement", title, "Heat map", drawing, data)


def draw(name: str, inputs: Inputs, documents: Sequence[Document] = ()) -> Drawn | None:
    """One figure of `FIGURES`; None if there is nothing to show."""
    if name in DIRECTION_LINES:
        return direction_lines(name, inputs)
    if name in LANGUAGE_LINES:
        return language_lines(name, inputs)
    return (
        agreement(documents) if name == "estimators-agreement" else {"owners": owners, "overlap": overlap}[name](inputs)
    )
