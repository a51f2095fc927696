"""The agreement of neuron tables as a document: small tables of medians, what they show, and the running overlaps."""

import numpy as np
import pandas as pd

from lander.experiments import charts
from lander.report.document import Document, heads, listed, number, numbers
from lander.report.tables import Cell, Table

ANY = "any"
Medians = dict[tuple[str, bool], pd.Series]  # kind, whether over the sets of any language -> (a, b) -> median
BETWEEN = {  # kind, over the sets of any language -> caption of its table, estimators x estimators
    ("estimators_correlation", False): "Rank correlation of the scores",
    ("estimators_overlap", False): "Overlap of the specific neurons of a language",
    ("estimators_overlap", True): "Overlap of the specific neurons of any language",
}
HALVES = {  # the same -> heading of its column, estimators x kinds
    ("halves_correlation", False): "correlation of the scores",
    ("halves_overlap", False): "overlap, of a language",
    ("halves_overlap", True): "overlap, of any",
}


def document(data: pd.DataFrame, wanted: float) -> Document:
    """agreement.csv, agreement.md and, where parts were given, agreement.svg.

    Args:
        data: kind, a, b, layer, language, value, n.
        wanted: overlap from which a set counts as the same.
    """
    medians: Medians = {
        key: rows.groupby(["a", "b"], sort=False)["value"].median()
        for key, rows in data.groupby(["kind", data["language"].eq(ANY)], sort=False)
    }
    blocks: list[Table | str] = [shows(data, medians, wanted)]
    for key, caption in BETWEEN.items():
        if key in medians:
            blocks.append(_matrix(medians[key], caption))
    if ("halves_overlap", True) in medians:
        blocks.append(_halves(medians))
    needed = data[data["kind"] == "sentences_needed"]
    if len(needed):
        blocks.append(_needed(needed, wanted))
    blocks.append(
        "Correlations are Spearman's, over the neurons of a layer; overlaps are Jaccard's. All are medians over "
        "layers and, where a language is meant, languages. Two sets of a tenth of the neurons that are drawn at random "
        "overlap by 0.05."
    )
    names = list(dict.fromkeys([*data["a"], *data.loc[data["kind"].str.startswith("estimators"), "b"]]))
    names = [name for name in names if not name.endswith((" even", " odd"))]
    first = f"Agreement of estimators, of halves of the text, and of fewer sentences: {listed(names)}"
    return Document("agreement", first, blocks, numbers(data), picture(data, wanted))


def shows(data: pd.DataFrame, medians: Medians, wanted: float) -> str:
    """The nearest and the farthest pair, the least stable halves, and how many sentences settle the sets."""
    text = []
    if ("estimators_overlap", True) in medians:
        pairs = medians[("estimators_overlap", True)].dropna().sort_values()
        if len(pairs):
            text.append(f"The specific neurons of {_pair(pairs.index[-1])} agree most (overlap {pairs.iloc[-1]:.2f})")
            text[-1] += f", those of {_pair(pairs.index[0])} least ({pairs.iloc[0]:.2f})." if len(pairs) > 1 else "."
    if ("halves_overlap", True) in medians:
        halves = medians[("halves_overlap", True)].dropna().sort_values()
        if len(halves):
            stable = [f"{_whole(name)} {value:.2f}" for (name, _), value in halves[::-1].items()]
            text.append(f"Two halves of the text choose sets that overlap by: {', '.join(stable)}.")
    needed = data[data["kind"] == "sentences_needed"]
    if len(needed):
        settled = (needed["value"] < needed["n"]).groupby(needed["a"], sort=False).agg(["sum", "size"])
        each = [f"{done} of {all_} layers ({name})" for name, (done, all_) in settled.iterrows()]
        text.append(
            f"Before the last of {needed['n'].max():,} sentences the sets settle (overlap {wanted:g}) in "
            f"{listed(each)}."
        )
    return " ".join(text) or "Nothing to compare: one estimator, and no parts."


def _pair(names: tuple[str, str]) -> str:
    return listed(names)


def _whole(name: str) -> str:
    """`taylor` of `taylor even`."""
    return name.removesuffix(" even")


def _matrix(values: pd.Series, caption: str) -> Table:
    """Estimators x estimators, each pair once, below the diagonal."""
    names = list(dict.fromkeys([*values.index.get_level_values("a"), *values.index.get_level_values("b")]))
    rows = [
        (name, [number(_known(values.get((other, name))), 2) if other != name else Cell("") for other in names[:-1]])
        for name in names[1:]
    ]
    rows = [
        (name, [cell if place <= index else Cell("") for place, cell in enumerate(cells)])
        for index, (name, cells) in enumerate(rows)
    ]
    return Table(caption, "", heads(names[:-1]), rows)


def _known(value: float | None) -> float | None:
    """None for what does not exist."""
    return None if value is None or np.isnan(value) else value


def _halves(medians: Medians) -> Table:
    names = dict.fromkeys(medians[("halves_overlap", True)].index)
    rows = [
        (_whole(one), [number(_known(medians[key].get((one, other))), 2) for key in HALVES]) for one, other in names
    ]
    return Table("Even against odd parts of the text", "", heads(list(HALVES.values())), rows)


def _needed(needed: pd.DataFrame, wanted: float) -> Table:
    """Estimators x sentences: the median layer's and the slowest one's."""
    rows = []
    for name, part in needed.groupby("a", sort=False):
        settled = int((part["value"] < part["n"]).sum())
        cells = [f"{part['value'].median():,.0f}", f"{part['value'].max():,.0f}", f"{part['n'].max():,}"]
        rows.append((str(name), [Cell(text) for text in [*cells, f"{settled} of {len(part)}"]]))
    notes = ["The set of all sentences is what the others are compared with: a layer that needs all is not settled."]
    titles = ["median layer", "slowest layer", "sentences in all", "layers settled"]
    return Table(f"Sentences from which on the overlap stays at {wanted:g}", "", heads(titles), rows, notes=notes)


def picture(data: pd.DataFrame, wanted: float) -> str | None:
    """Overlap of the set of some sentences with that of all, by sentences read; nothing where no parts were given."""
    running = data[data["kind"] == "running_overlap"]
    if running.empty:
        return None
    rows = running.assign(series=running["a"], value=running["b"].astype(float), overlap=running["value"])
    groups = rows.groupby(["series", "value"], sort=False)["overlap"]
    rows = pd.DataFrame({"mean": groups.mean(), "spread": groups.std()}).reset_index()
    title = f"Mean and standard deviation over layers; dashed: {wanted:g}"
    panel = charts.Panel(rows, "sentences read, of each language", "overlap with the last set", title, wanted)
    return charts.curves("agreement", "Overlap of the specific neurons, by sentences read", [panel], log=True)
