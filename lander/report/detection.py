"""Section "Layers and neurons": what the detection found before any training (paper, figures 4-8)."""

import io
from collections.abc import Mapping, Sequence
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

NEURON = ["layer", "neuron"]  # what tells neurons apart
LAYER_AXIS = "layer (0 = first)"
SHARED = "A neuron of several languages counts for each of them, and once in the total."
TOP = 0.05  # share of the neurons whose overlap between languages is shown
MEASURES = {  # kind in the numbers of the experiment `agreement` -> title
    "estimators_correlation": "rank correlation of the scores",
    "estimators_overlap": "overlap of specific neurons",
}
DIRECTION_LINES = {  # figure, and column of the layers table -> title, y axis
    "activation": ("Mean activation of the FFN neurons, by layer and direction", "mean activation (no unit)"),
    "delta": ("D, the change of mean activation between neighbouring layers", "D, change of mean activation (no unit)"),
}
LANGUAGE_LINES = {  # figure -> title, kind of the neurons; all without one
    "awareness": ("Mean awareness of the neurons, by layer and language", ""),
    "awareness-general": ("Mean awareness of the language-general neurons", "general"),
    "awareness-specific": ("Mean awareness of the language-specific neurons, by owner", "specific"),
}
FIGURES = (*DIRECTION_LINES, *LANGUAGE_LINES, "owners", "overlap", "estimators-agreement")


def chosen_layers(layers: pd.DataFrame | None) -> dict[str, list[int]]:
    """Direction -> its chosen layers."""
    groups = () if layers is None else layers.groupby("direction", sort=False)
    return {str(direction): sorted(rows.loc[rows["selected"], "layer"].tolist()) for direction, rows in groups}


def _lines(
    name: str, title: str, y: str, data: pd.DataFrame, inputs: Inputs, styles: Mapping[str, Any] | None = None
) -> Drawn:
    """Lines over layers. The chosen layers are shaded; if directions chose different ones, each has rings at its own.

    The first three columns of `data` are layer, series and value, with any names. `styles`: as for `charts.lines`.
    """
    rows = data.iloc[:, :3].set_axis(["value", "series", "mean"], axis="columns")
    chosen = chosen_layers(inputs.layers)
    uneven = len({tuple(layers) for layers in chosen.values()}) > 1
    counts = pd.Series([layer for layers in chosen.values() for layer in layers], dtype=int).value_counts()
    bands = {layer: 0.35 + 0.65 * share if share < 1 else 1 for layer, share in (counts / len(chosen)).items()}
    panel = Panel(rows, LAYER_AXIS, y, chosen=chosen if uneven else {}, bands=bands)
    drawing = charts.lines(name, title, [panel], "whole", styles)
    return Drawn(name, title, drawing, data, tuple(data.columns[:3]))


def direction_lines(name: str, inputs: Inputs) -> Drawn | None:
    """A column of the layers table, named as the figure, per layer and direction (paper, figures 4-5).

    A language pair has one colour and marker: solid and filled for one direction, dashed and hollow for the other.
    """
    if inputs.layers is None or inputs.layers[name].isna().all():
        return None
    title, y = DIRECTION_LINES[name]
    data = inputs.layers[["layer", "direction", name, "selected"]]
    styles, pairs = {}, []
    for direction in sort_directions(data["direction"].unique()):
        pair = parse_direction(direction).pair
        back = pair in pairs
        pairs += [] if back else [pair]
        style = svg.line_style(pairs.index(pair)) | {"linestyle": svg.DASHES[1 if back else 0]}
        styles[direction] = style | {"markerfacecolor": svg.PAGE if back else style["color"]}
    return _lines(name, title, y, data, inputs, styles)


def language_lines(name: str, inputs: Inputs) -> Drawn | None:
    """Mean awareness per layer and language of all neurons, the general ones, or those that the language owns.

    Paper: figures 6-8. A layer without such neurons is a gap.
    """
    title, kind = LANGUAGE_LINES[name]
    if not inputs.awareness or (kind and inputs.neurons is None):
        return None
    parts = []
    for language, rows in inputs.awareness.items():
        if kind:
            rows = inputs.neurons.merge(rows, on=NEURON, how="inner")
            own = (rows["language"] == language) | (kind == "general")
            rows["score"] = rows["score"].where((rows["kind"] == kind) & own)
        grouped = rows.groupby("layer")["score"]
        found = pd.DataFrame({"awareness": grouped.mean(), "neurons": grouped.count()}).reset_index()
        parts.append(found.assign(language=language))
    data = pd.concat(parts)[["layer", "language", "awareness", *(["neurons"] if kind else [])]]
    return _lines(name, title, "mean awareness (nats)", data, inputs)


def owners_table(inputs: Inputs) -> Table | None:
    """Specific neurons of each language: their number, in the chosen layers, and their share of all specific ones."""
    specific = _specific(inputs)
    if specific.empty:
        return None
    by = specific.groupby("language")["selected"].agg(["size", "sum"])
    by = by.sort_values("size", ascending=False, kind="stable").rename(inputs.language)
    once = specific.drop_duplicates(NEURON)["selected"]  # a neuron of several owners has a row for each
    by.loc["all"] = [len(once), once.sum()]
    rows = [
        (name, [f"{own:,}", f"{chosen:,}", f"{100 * own / len(once):.1f}%"]) for name, own, chosen in by.itertuples()
    ]
    columns = ["in all layers", "in the chosen layers", "share of specific"]
    kinds = inputs.neurons.drop_duplicates(NEURON)["kind"].value_counts()
    notes = [f"All neurons: {', '.join(f'{number:,} {kind}' for kind, number in kinds.items())}."]
    notes += [SHARED] if len(specific) > len(once) else []
    notes += importance(inputs)
    return Table.of("Specific neurons by owner", "language", columns, rows, notes=notes, total=True)


def importance(inputs: Inputs) -> list[str]:
    """A sentence on whether specific neurons are the important ones; none where not every neuron has a score."""
    neurons = inputs.neurons.drop_duplicates(NEURON).set_index(NEURON)["kind"]
    scores = pd.DataFrame({code: one.set_index(NEURON)["score"] for code, one in inputs.awareness.items()})
    scores = scores.reindex(neurons.index)
    if scores.empty or scores.isna().any(axis=None):
        return []
    scores /= scores.groupby("layer").transform("mean")  # as `neurons.normalize: language_mean`
    measures = pd.DataFrame({"mean": scores.mean(axis=1), "variance": scores.var(axis=1, ddof=0)})
    measures["relative"] = measures["variance"] / measures["mean"] ** 2
    ranks = measures.rank().corr()["mean"]
    of = measures["mean"].groupby(neurons).mean()
    return [
        f"Rank correlation of a neuron's mean awareness over the languages with its variance: {ranks['variance']:.2f}; "
        f"with the variance divided by the squared mean: {ranks['relative']:.2f}. Specific neurons have "
        f"{of.get('specific', np.nan) / of.get('general', np.nan):.2f} times the mean awareness of general ones."
    ]


def _specific(inputs: Inputs) -> pd.DataFrame:
    """The rows of the specific neurons; empty if the neurons are not known."""
    return pd.DataFrame() if inputs.neurons is None else inputs.neurons[inputs.neurons["kind"] == "specific"]


def owners(inputs: Inputs) -> Drawn | None:
    """How many specific neurons each language owns in each layer."""
    if inputs.neurons is None:
        return None
    specific, layers = _specific(inputs), sorted(map(int, inputs.neurons["layer"].unique()))
    languages = list(inputs.awareness) or sorted(specific["language"].dropna().unique())
    every = pd.MultiIndex.from_product([layers, languages], names=["layer", "language"])
    counts = specific.groupby(["layer", "language"]).size().reindex(every, fill_value=0).rename("neurons").reset_index()
    title = "Language-specific neurons, by layer and owner"
    panel = Panel(counts.set_axis(["value", "series", "mean"], axis="columns"), LAYER_AXIS, "specific neurons (number)")
    drawing = charts.bars("owners", title, [panel], stacked=True)
    return Drawn("owners", title, drawing, counts, ("layer", "language", "neurons"))


def foreign_masks(inputs: Inputs) -> str:
    """A sentence on masks that this detection has not made; empty if landermt used its own."""
    folder = inputs.setting("neurons", "masks")
    if not folder or "landermt" not in set(inputs.scores["method"]):
        return ""
    shown = " The layers and neurons on this page come from Lander's own detection, not from these masks."
    return f"landermt used the masks of {folder} (neurons.masks).{shown if inputs.neurons is not None else ''}"


def overlap(inputs: Inputs) -> Drawn | None:
    """Of the `TOP` share of neurons with the highest awareness for one language, the percentage among another's."""
    if len(inputs.awareness) < 2:
        return None
    tops = {}
    for language, rows in inputs.awareness.items():
        best = rows.nlargest(max(1, round(TOP * len(rows))), "score")
        tops[language] = set(zip(best["layer"], best["neuron"], strict=True))
    rows = [
        (one, two, np.nan if one == two else 100 * len(mine & other) / min(len(mine), len(other)))
        for one, mine in tops.items()
        for two, other in tops.items()
    ]
    data = pd.DataFrame(rows, columns=["language", "other", "percent"])
    matrix = data.pivot(index="language", columns="other", values="percent").loc[list(tops), list(tops)]
    title = f"Overlap between languages: % of the {100 * TOP:.0f}% of neurons with the highest awareness"
    drawing = charts.heat("overlap", title, [Panel(matrix, "another language", "language")], 100)
    return Drawn("overlap", title, drawing, data, ("language", "other", "percent"))


def agreement(documents: Sequence[Document]) -> Drawn | None:
    """How well the estimators agree, from the numbers of the experiment `agreement`."""
    text = next((one.csv for one in documents if one.name == "agreement"), "kind")
    data = pd.read_csv(io.StringIO(text), dtype={"a": str, "b": str, "language": str}, keep_default_na=False)
    if not {"kind", "a", "b", "language", "value"} <= set(data):
        return None
    whole = (data["kind"] == "estimators_correlation") | (data["language"] == "any")  # the sets of all languages
    data = data[data["kind"].isin(MEASURES) & whole].assign(value=lambda t: pd.to_numeric(t["value"], errors="coerce"))
    data = data.groupby(["kind", "a", "b"], sort=False, as_index=False)["value"].median().dropna()
    data = data.assign(measure=data["kind"].map(MEASURES))[["measure", "a", "b", "value"]]
    if data.empty:
        return None
    names = list(dict.fromkeys([*data["a"], *data["b"]]))
    panels = []
    for measure, rows in data.groupby("measure", sort=False):
        half = rows.pivot(index="a", columns="b", values="value").reindex(index=names, columns=names)
        panels.append(Panel(half.fillna(half.T), title=str(measure)))
    title = "Agreement of the estimators of awareness"
    drawing = charts.heat("estimators-agreement", title, panels, 1)
    return Drawn("estimators-agreement", title, drawing, data)


def draw(name: str, inputs: Inputs, documents: Sequence[Document] = ()) -> Drawn | None:
    """One figure of `FIGURES`; None if there is nothing to show."""
    if name in DIRECTION_LINES:
        return direction_lines(name, inputs)
    if name in LANGUAGE_LINES:
        return language_lines(name, inputs)
    if name == "estimators-agreement":
        return agreement(documents)
    return owners(inputs) if name == "owners" else overlap(inputs)
