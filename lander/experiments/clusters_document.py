"""The clusters of sentences as a document: tables of the scores, what they show, and the picture of the points."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from lander.experiments.claims.judge import ALPHA
from lander.experiments.claims.scores import MIXED
from lander.report import svg
from lander.report.document import Document, heads, number, numbers
from lander.report.tables import MISSING, Cell, Table

GROUPS = {
    "general": "general",
    "specific": "specific",
    "general_equal": "general, as few as specific",
}  # group -> its name for people, in the order of the columns
SCORES = {
    "silhouette": "Silhouette of the languages (1: apart, 0: mixed)",
    "neighbours": "Sentences whose {k} nearest are of their language, %",
    "retrieval": "Sentences whose nearest one of another language is their translation, %",
    "retrieval_centred": "The same, each language's mean taken away, %",
}
SHOWN = 30  # sentences of a language in the picture; the scores are over all
FLOOR = 1e-12


def document(points: pd.DataFrame, scores: pd.DataFrame, neighbours: int, draws: int) -> Document:
    """Everything that `lander.experiments.clusters` writes.

    Args:
        points: layer, group, language, sentence, x, y.
        scores: layer, group, neurons, score, value, control_mean, control_sd, p.
        neighbours: k of the score of that name.
        draws: of random neurons, the control.
    """
    languages = list(dict.fromkeys(points["language"]))
    sentences = int(points["sentence"].max()) + 1
    there = [name for name in SCORES if name in set(scores["score"])]
    blocks: list[Table | str] = [shows(scores)]
    blocks += [_table(scores, name, neighbours) for name in there]
    blocks.append(
        f"Control: as many random neurons of the layer, {draws} draws, mean ± standard deviation; p: share of draws as "
        f"far out, on either side, {2 / (1 + draws):.2g} at least. General, as few as specific: random general "
        "neurons, as many as there are specific ones, the mean of as many draws; the picture shows the first draw. It "
        f"shows at most {SHOWN} sentences of a language, on the two principal components; the scores are over all "
        "sentences and neurons."
    )
    first = (
        f"Sentences on general and on specific neurons (figures 12-13): {len(languages)} languages, {sentences} each"
    )
    return Document(
        "clusters", first, blocks, numbers(scores), picture(points, scores), {"clusters_points.csv": numbers(points)}
    )


def shows(scores: pd.DataFrame) -> str:
    """What the scores say about the paper's two pictures, and about the size of the groups, in words."""
    rows = {(row.layer, row.group, row.score): row for row in scores.itertuples()}
    layers = list(dict.fromkeys(scores["layer"]))
    general, specific, equal = (
        [rows[layer, group, "silhouette"] for layer in layers if (layer, group, "silhouette") in rows]
        for group in ("general", "specific", "general_equal")
    )
    mixed = sum(row.value <= MIXED for row in general)
    apart = sum(row.value > row.control_mean and row.p <= ALPHA for row in specific)
    below = sum(row.value < row.control_mean and row.p <= ALPHA for row in specific)
    few = {row.layer: row.value for row in equal}
    above = sum(row.value > few[row.layer] for row in specific if row.layer in few)
    text = [
        f"General neurons mix the languages (silhouette at most {MIXED:g}) in {mixed} of {len(general)} layers.",
        f"Specific neurons tell them apart better than as many random neurons in {apart} of {len(specific)} layers "
        f"(p <= {ALPHA:g}), worse in {below}; better than as many general neurons in {above} of {len(few)}.",
    ]
    found = scores[scores["score"] == "retrieval"].groupby("group")["value"].mean()
    if {"general", "specific"} <= set(found.index):
        text.append(
            f"The nearest sentence of another language is the translation in {found['general']:.0%} of the cases on "
            f"general neurons, {found['specific']:.0%} on specific ones"
            + (f", {found['general_equal']:.0%} on as few general ones." if "general_equal" in found else ".")
        )
    return " ".join(text)


def _table(scores: pd.DataFrame, score: str, neighbours: int) -> Table:
    """Layer and group x value, control, p."""
    percent = score != "silhouette"
    factor, digits = (100, 1) if percent else (1, 2)
    rows = []
    for row in scores[scores["score"] == score].itertuples():
        cells = [Cell(f"{row.neurons:,}"), number(row.value * factor, digits)]
        cells += [number(row.control_mean * factor, digits, row.control_sd * factor), p_value(row.p)]
        rows.append((f"{row.layer} {GROUPS[row.group]}", cells))
    titles = ["neurons", "value", "control", "p"]
    return Table(SCORES[score].format(k=neighbours), "layer and kind", heads(titles), rows)


def p_value(p: float) -> Cell:
    """`0.02`; a dash where there is none."""
    return Cell(MISSING if pd.isna(p) else f"{p:.2g}")


@matplotlib.rc_context(svg.RC)
def picture(points: pd.DataFrame, scores: pd.DataFrame) -> str:
    """Small multiples, layers below each other, groups side by side; a colour and a marker for each language."""
    layers = list(dict.fromkeys(points["layer"]))
    languages = list(dict.fromkeys(points["language"]))
    silhouette = scores[scores["score"] == "silhouette"].set_index(["layer", "group"])
    figure = Figure(figsize=(7.2, 2.3 * len(layers) + 0.45), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots(len(layers), len(GROUPS), squeeze=False)
    for row, layer in enumerate(layers):
        for axis, (group, name) in zip(axes[row], GROUPS.items(), strict=True):
            mine = points[(points["layer"] == layer) & (points["group"] == group) & (points["sentence"] < SHOWN)]
            _panel(axis, mine, languages)
            if (layer, group) in silhouette.index:
                found = silhouette.loc[(layer, group)]
                value = number(found["value"], 2).text
                heading = f"{int(found['neurons']):,} {name}\nsilhouette {value}"
            else:
                heading = f"no {name} neurons"
            axis.set_title(heading, fontsize=8.5, loc="left")
        axes[row, 0].set_ylabel(f"layer {layer}")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    spacing = {"handlelength": 1, "handletextpad": 0.4, "columnspacing": 2, "markerscale": 1.3}
    figure.legend(handles, labels, loc="outside lower center", ncols=min(10, len(languages)), **spacing)
    title = "Sentences on general and on specific neurons: two principal components, by language"
    return svg.to_svg(figure, "clusters", title)


def _panel(axis: Axes, points: pd.DataFrame, languages: list[str]) -> None:
    """The sentences of all languages; filled and hollow markers take turns."""
    for index, language in enumerate(languages):
        rows = points[points["language"] == language]
        colour = svg.PALETTE[index % len(svg.PALETTE)]
        look = {"marker": svg.MARKERS[index % len(svg.MARKERS)], "markersize": 4.2, "markeredgewidth": 0.7}
        look |= {"markerfacecolor": colour if index % 2 == 0 else "none", "markeredgecolor": colour}
        axis.plot(rows["x"], rows["y"], linestyle="", label=language, color=colour, **look)
    span = max(FLOOR, *(float(np.ptp(points[name])) if len(points) else 0.0 for name in ("x", "y"))) * 0.55
    for name, limit in (("x", axis.set_xlim), ("y", axis.set_ylim)):
        middle = float(points[name].max() + points[name].min()) / 2 if len(points) else 0.0
        limit(middle - span, middle + span)
    axis.grid(False)
    axis.set_xticks([])
    axis.set_yticks([])
