"""Whether neuron tables agree: estimators with each other, halves of the text, and some sentences with all of them.

Correlations are Spearman's, over the neurons of a layer. Overlaps are Jaccard's, of sets of specific neurons of a
layer: those that one language owns, or that any does (`any`). The sets follow from the scores by the estimator's rule
(`--rules`, else `--rule`; `lander.detect.neurons`), or are given by neurons tables (`--neurons`).

    kind                     a, b                          n
    estimators_correlation   two names of --tables         neurons that both score
    estimators_overlap       two names                     size of the union
    halves_correlation       name; even, odd parts         neurons
    halves_overlap           name; even, odd parts         size of the union
    running_overlap          name; sentences read          size of the union with the set of all sentences
    sentences_needed         name; the overlap wanted      all sentences; from `value` on the overlap stays that high.
                                                           If `value` is `n`, the text was too short to settle it

The last four come from tables awareness_parts (`lander.detect.awareness --parts N --parts-out FILE`). Sentences are
added in their order, 1, 2, 4, ... parts at a time.

Reads:  per name a folder of <language>.parquet (awareness, or awareness_parts)
Writes: agreement.csv            kind, a, b, layer, language, value, n; a value that does not exist is empty
        agreement.json and .md   medians
        agreement.svg            overlap with the set of all sentences, by sentences read (with `--parts`)

Example:
    python -m lander.experiments.agreement --languages en de --tables taylor=taylor activation=activation \\
        --parts taylor=taylor-parts --general-share 0.9 --out results/demo/experiments
"""

import argparse
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from lander.detect.neurons import SPECIFIC, SPLIT, Split, classify
from lander.report.document import Document, number, numbers, write
from lander.report.tables import Cell, Table
from lander.shared import tables
from lander.shared.errors import UserError, run_main
from lander.shared.section import add_flags, settings

COLUMNS = ["kind", "a", "b", "layer", "language", "value", "n"]
ANY = "any"
RULES = ("variance", "summed", "entropy")
BETWEEN = {  # kind, whether of the sets of any language -> caption of its table, estimators x estimators
    ("estimators_correlation", False): "Rank correlation of the scores",
    ("estimators_overlap", False): "Overlap of the specific neurons of a language",
    ("estimators_overlap", True): "Overlap of the specific neurons of any language",
}
HALVES = {  # the same -> heading of its column, estimators x kinds
    ("halves_correlation", False): "correlation of the scores",
    ("halves_overlap", False): "overlap, of a language",
    ("halves_overlap", True): "overlap, of any",
}
WHAT = (
    "Medians over layers and, for sets of a language, over languages. Correlations are Spearman's, overlaps Jaccard's: "
    "two sets of a tenth of the neurons that are drawn at random overlap by 0.05."
)
Sets = Callable[[np.ndarray], np.ndarray]
"""From raw Phi to the specific neurons of each language, both (language, n_layer, p)."""


# ---------------------------------------------------------------- numbers


def jaccard(one: np.ndarray, other: np.ndarray) -> tuple[float, int]:
    """Share of the union (of two boolean masks) that is common, and the size of the union; NaN where it is empty."""
    union = int((one | other).sum())
    return (float((one & other).sum()) / union if union else float("nan")), union


def correlations(kind: str, names: tuple[str, str], one: np.ndarray, other: np.ndarray, languages: list[str]) -> list:
    """Rows of rank correlations per layer and language of two (language, n_layer, p); NaN: a neuron has no score.

    Ties have their mean rank. The correlation is NaN if either is constant.
    """
    rows = []
    for index, language in enumerate(languages):
        for layer in range(one.shape[1]):
            pair = pd.DataFrame({"one": one[index, layer], "other": other[index, layer]})
            value = float(pair.corr("spearman").iloc[0, 1])
            rows.append((kind, *names, layer, language, value, int(pair.notna().all(axis=1).sum())))
    return rows


def overlaps(kind: str, names: tuple[str, str], one: np.ndarray, other: np.ndarray, languages: list[str]) -> list:
    """Rows of overlaps per layer and language, and of any language's, of two sets, bool (language, n_layer, p)."""
    both = [[*sets, sets.any(axis=0)] for sets in (one, other)]
    return [
        (kind, *names, layer, language, *jaccard(a[layer], b[layer]))
        for layer in range(one.shape[1])
        for language, a, b in zip([*languages, ANY], *both, strict=True)
    ]


def specific(phi: np.ndarray, split: Split, unactivated: float | None = None) -> np.ndarray:
    """The specific neurons of each language, bool (language, n_layer, p), from raw Phi of that shape."""
    return classify(phi, split, unactivated).owned


class Parts:
    """Sums over the tokens of parts of the text: `sums` (part, language, n_layer, p), `tokens` (part, language)."""

    def __init__(self, paths: list[Path]) -> None:
        read = [tables.read(path, "awareness_parts") for path in paths]
        sizes = {(table["part"].max() + 1, table["layer"].max() + 1, table["neuron"].max() + 1) for table in read}
        if len(sizes) > 1 or any(len(table) != np.prod(size) for table in read for size in sizes):
            raise UserError(f"{paths[0].parent}: tables of different parts, layers or neurons; make them again")
        (shape,) = sizes
        if shape[0] < 2:
            raise UserError(f"{paths[0].parent}: one part only; make the tables with --parts 2 or more")
        read = [table.sort_values(["part", "layer", "neuron"]) for table in read]
        self.sums = np.stack([table["score"].to_numpy().reshape(shape) for table in read], axis=1)
        self.tokens = np.stack([table.groupby("part")["tokens"].first().to_numpy() for table in read], axis=1)
        self.sentences = read[0].groupby("part")["sentences"].first().to_numpy().cumsum()

    def phi(self, chosen: slice) -> np.ndarray:
        """Scores of some parts together, (language, n_layer, p). Only `summed` keeps signs; its score has none."""
        tokens = np.maximum(self.tokens[chosen].sum(axis=0), 1)
        return np.abs(self.sums[chosen].sum(axis=0) / tokens[:, None, None])


def compare_halves(name: str, parts: Parts, sets: Sets, languages: list[str]) -> list:
    """Rows of the even parts against the odd ones."""
    halves = [parts.phi(slice(start, None, 2)) for start in (0, 1)]
    names = (f"{name} even", f"{name} odd")
    rows = correlations("halves_correlation", names, *halves, languages)
    return rows + overlaps("halves_overlap", names, *map(sets, halves), languages)


def compare_running(name: str, parts: Parts, sets: Sets, wanted: float) -> list:
    """Rows of the sets of the first 1, 2, 4, ... parts against the set of all; where the overlap stays `wanted`."""
    total = len(parts.sums)
    counts = [*(2**power for power in range(total.bit_length()) if 2**power < total), total]
    read = parts.sentences[np.array(counts) - 1]
    *_, of_all = some = [sets(parts.phi(slice(count))).any(axis=0) for count in counts]  # (n_layer, p) each
    rows, close = [], np.ones((len(counts), len(of_all)), dtype=bool)
    for index, layer in np.ndindex(close.shape):
        value, union = jaccard(some[index][layer], of_all[layer])
        rows.append(("running_overlap", name, str(read[index]), layer, ANY, value, union))
        close[index, layer] = value >= wanted or not union
    first = np.logical_and.accumulate(close[::-1])[::-1].argmax(axis=0)  # from there on close; at the last at least
    for layer, needed in enumerate(read[first]):
        rows.append(("sentences_needed", name, f"{wanted:g}", layer, ANY, float(needed), int(read[-1])))
    return rows


def read_scores(paths: list[Path]) -> np.ndarray:
    """Raw scores (language, n_layer, p); NaN where a neuron has none (a sample was ablated)."""
    read = [tables.read(path, "awareness", ["layer", "neuron", "score"]) for path in paths]
    shape = tuple(max(table[name].max() for table in read) + 1 for name in ("layer", "neuron"))
    scores = np.full((len(read), *shape), np.nan)
    for index, table in enumerate(read):
        scores[index, table["layer"], table["neuron"]] = table["score"]
    return scores


def read_sets(path: Path, languages: list[str]) -> np.ndarray:
    """The specific neurons of each language, bool (language, n_layer, p), of a neurons table."""
    table = tables.read(path, "neurons", ["layer", "neuron", "kind", "language"])
    sets = np.zeros((len(languages), table["layer"].max() + 1, table["neuron"].max() + 1), dtype=bool)
    for index, language in enumerate(languages):
        rows = table[(table["kind"] == SPECIFIC) & (table["language"] == language)]
        sets[index, rows["layer"], rows["neuron"]] = True
    return sets


def in_one_shape(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays (language, n_layer, p), NaN added where a sample of the neurons lacks the last ones."""
    n_layer, p = (max((array.shape[axis] for array in arrays.values()), default=0) for axis in (1, 2))
    for name, array in arrays.items():
        sampled = np.isnan(array).any()
        if array.shape[1] != n_layer or (array.shape[2] != p and not sampled):
            raise UserError(f"{name}: {array.shape[1:]} layers and neurons, another table has {(n_layer, p)}")
        arrays[name] = np.pad(array, [(0, 0), (0, 0), (0, p - array.shape[2])], constant_values=np.nan)
    return arrays


# ---------------------------------------------------------------- document


def document(data: pd.DataFrame, wanted: float) -> Document:
    """Small tables of medians, and the running overlaps; from the overlap `wanted` on, a set counts as the same."""
    medians = {
        key: rows.groupby(["a", "b"], sort=False)["value"].median()
        for key, rows in data.groupby(["kind", data["language"].eq(ANY)], sort=False)
    }

    def cell(key: tuple[str, bool], *pair: str) -> Cell:
        value = medians[key].get(pair, np.nan)
        return number(None if np.isnan(value) else value, 2)

    blocks: list[Table | str] = []
    for key, caption in BETWEEN.items():
        if key in medians:  # each pair once, below the diagonal
            names = list(dict.fromkeys(medians[key].index.get_level_values("a")))
            names += [name for name in medians[key].index.unique("b") if name not in names]
            rows = []
            for place, name in enumerate(names[1:], start=1):
                known = [cell(key, other, name) for other in names[:place]]
                rows.append((name, known + [""] * (len(names) - 1 - place)))
            blocks.append(Table.of(caption, "", names[:-1], rows))
    if ("halves_overlap", True) in medians:
        pairs = dict.fromkeys(medians["halves_overlap", True].index)
        rows = [(pair[0].removesuffix(" even"), [cell(key, *pair) for key in HALVES]) for pair in pairs]
        blocks.append(Table.of("Even against odd parts of the text", "", HALVES.values(), rows))
    needed = data[data["kind"] == "sentences_needed"]
    if len(needed):
        rows = []
        for name, part in needed.groupby("a", sort=False):
            settled = f"{(part['value'] < part['n']).sum()} of {len(part)}"
            texts = [f"{part['value'].median():,.0f}", f"{part['value'].max():,.0f}", f"{part['n'].max():,}", settled]
            rows.append((name, texts))
        titles = ["median layer", "slowest layer", "sentences in all", "layers settled"]
        notes = ["A layer that needs all sentences is not settled: its set is compared with itself."]
        blocks.append(
            Table.of(f"Sentences from which on the overlap stays at {wanted:g}", "", titles, rows, notes=notes)
        )
    title = "Agreement of estimators, of halves of the text, and of fewer sentences"
    return Document("agreement", title, [*blocks, WHAT], numbers(data), picture(data, wanted))


def picture(data: pd.DataFrame, wanted: float) -> str | None:
    """Overlap of the set of some sentences with that of all, by sentences read; None if no parts were given."""
    from lander.report import charts  # matplotlib only when the inputs are right

    running = data[data["kind"] == "running_overlap"]
    if running.empty:
        return None
    rows = running.assign(series=running["a"], value=running["b"].astype(float), overlap=running["value"])
    groups = rows.groupby(["series", "value"], sort=False)["overlap"]
    rows = pd.DataFrame({"mean": groups.mean(), "spread": groups.std()}).reset_index()
    title = f"Mean and standard deviation over layers; dashed: {wanted:g}"
    panel = charts.Panel(rows, "sentences read, of each language", "overlap with the last set", title, wanted)
    return charts.lines("agreement", "Overlap of the specific neurons, by sentences read", [panel], "log")


# ---------------------------------------------------------------- command line


def named(value: str) -> tuple[str, str]:
    """Read NAME=VALUE."""
    name, sign, rest = value.partition("=")
    if not (sign and name and rest):
        raise argparse.ArgumentTypeError(f"{value!r}: write NAME=VALUE")
    return name, rest


def main() -> None:
    """Compare what is named, write numbers, tables of medians and the picture."""
    parser = argparse.ArgumentParser(prog="lander.experiments.agreement", description=__doc__.splitlines()[0])
    parser.add_argument("--languages", nargs="+", required=True, help="codes; the files of the folders")
    several = {"type": named, "nargs": "+", "default": []}
    for flag, what in {"tables": "awareness", "parts": "awareness_parts"}.items():
        help_ = f"folders of {what} tables, one per language"
        parser.add_argument(f"--{flag}", **several, metavar="NAME=FOLDER", help=help_)
    help_ = "neurons tables whose sets are compared; they replace the sets that the rule makes of the same name"
    parser.add_argument("--neurons", **several, metavar="NAME=FILE", help=help_)
    add_flags(parser, Split, *SPLIT, "unactivated")
    parser.add_argument("--rules", **several, metavar="NAME=RULE", help="where it is not that of --rule")
    parser.add_argument("--stable", type=float, default=0.95, help="overlap from which a set counts as the same")
    parser.add_argument("--out", type=Path, required=True, help="folder for agreement.csv, .md and .svg")
    args = parser.parse_args()
    languages, rules = args.languages, dict(args.rules)
    if wrong := [f"{name}={rule}" for name, rule in rules.items() if rule not in RULES]:
        parser.error(f"--rules {wrong[0]}: write NAME=RULE, one of {', '.join(RULES)}")

    def sets_of(name: str) -> Sets:
        split = settings(Split, args).changed({"rule": rules.get(name, args.rule)})
        return partial(specific, split=split, unactivated=args.unactivated)

    def files(folder: str) -> list[Path]:
        return [Path(folder, f"{language}.parquet") for language in languages]

    scores = in_one_shape({name: read_scores(files(folder)) for name, folder in args.tables})
    sets = {name: sets_of(name)(phi) for name, phi in scores.items() if not np.isnan(phi).any()}
    sets = in_one_shape(sets | {name: read_sets(Path(file), languages) for name, file in args.neurons})
    rows = []
    for one, other in combinations(scores, 2):
        rows += correlations("estimators_correlation", (one, other), scores[one], scores[other], languages)
    for one, other in combinations(sets, 2):
        rows += overlaps("estimators_overlap", (one, other), sets[one], sets[other], languages)
    for name, folder in args.parts:
        parts = Parts(files(folder))
        rows += compare_halves(name, parts, sets_of(name), languages)
        rows += compare_running(name, parts, sets_of(name), args.stable)
    write(document(pd.DataFrame(rows, columns=COLUMNS), args.stable), args.out)


if __name__ == "__main__":
    run_main(main, "experiments.agreement")
