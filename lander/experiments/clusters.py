"""Do the general neurons of a layer mix the languages, and do the specific ones tell them apart? (Figures 12-13.)

A sentence is the mean over its tokens of the activations h of the chosen neurons. The paper shows a picture for
layer 10. Here are the picture's points and, for each set of neurons, scores in the full space:

    silhouette          of the languages: 1 apart, 0 mixed
    neighbours          share of sentences whose k nearest are of their language; chance is about 1 / languages
    retrieval           share whose nearest sentence of another language is their translation (parallel text only);
                        general neurons that mix languages ought to put translations side by side
    retrieval_centred   the same after each language's mean is taken away

Each score has a control: random neurons of the layer in the same number, several draws, since *any* neurons separate
languages to some degree. The specific neurons are a tenth of the general ones, so `general_equal` are random general
neurons in the number of the specific ones: the mean over the draws.

Reads:  the model, <run>/data/s<seed>/text/<language>.parquet, <run>/neurons/<variant>/s<seed>/neurons.parquet
Writes: clusters.csv              layer, group, neurons, score, value, control_mean, control_sd, p
        clusters_points.csv       layer, group, language, sentence, x, y
        clusters.json and .md     the scores as tables, and what they show
        clusters.svg              the points

p: share of the control's draws as far out as the value, on either side: 2 / (1 + draws) at least.

Example:
    python -m lander.experiments.clusters --model lander-tiny --text en.parquet de.parquet --languages en de \\
        --neurons neurons.parquet --layer 3 --out results/demo/experiments
"""

import argparse
import sys
from contextlib import ExitStack
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from lander.experiments.claims.judge import ALPHA, MIXED
from lander.models import families, loading
from lander.models.flags import add_model_flags
from lander.models.tokens import Codec
from lander.report import charts
from lander.report.document import Document, number, numbers, write
from lander.report.tables import Table
from lander.shared import machine, tables
from lander.shared.errors import UserError, run_main

GROUPS = {  # group -> its name for people, in the order of the columns
    "general": "general",
    "specific": "specific",
    "general_equal": "general, as few as specific",
}
SCORES = {
    "silhouette": "Silhouette of the languages (1: apart, 0: mixed)",
    "neighbours": "Sentences whose {k} nearest are of their language, %",
    "retrieval": "Sentences whose nearest one of another language is their translation, %",
    "retrieval_centred": "The same, each language's mean taken away, %",
}
SHOWN = 30  # sentences of a language in the picture; the scores are over all


# ---------------------------------------------------------------- representations and scores


@torch.inference_mode()
def representations(
    network: nn.Module, codec: Codec, sentences: list[str], layers: list[int], batch_size: int
) -> dict[int, np.ndarray]:
    """layer -> mean over a sentence's own tokens of h, float32 (sentence, p), in the order of `sentences`.

    The tokens that the tokenizer's convention puts in front and the end token are read, but not in the mean: on such
    tokens some models have activations far larger than on all others, the same in every language.
    """
    ffns = {layer: families.ffn_of(network, layer) for layer in layers}
    seen: dict[int, torch.Tensor] = {}
    means = {layer: np.zeros((len(sentences), ffn.n_neurons), dtype=np.float32) for layer, ffn in ffns.items()}
    sequences = [codec.sentence(sentence) for sentence in sentences]
    order = sorted(range(len(sequences)), key=lambda place: len(sequences[place]))
    with ExitStack() as hooks:
        for layer, ffn in ffns.items():
            add = ffn.down.register_forward_pre_hook
            hooks.enter_context(add(lambda _module, inputs, layer=layer: seen.update({layer: inputs[0]})))
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            part = [sequences[place] for place in places]
            batch = codec.pad_right(part, [0] * len(part))
            own = batch.attention_mask.clone()  # (sentences, tokens)
            own[:, : len(codec.prefix)] = 0
            own[torch.arange(len(part)), [len(tokens) - 1 for tokens in part]] = 0
            own, batch = own.to(network.device), batch.to(network.device)
            network.base_model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
            for layer, h in seen.items():
                total = (h.float() * own[..., None]).sum(1) / own.sum(1, keepdim=True).clamp(min=1)
                means[layer][places] = total.cpu().numpy()
    return means


def scores_of(points: np.ndarray, labels: np.ndarray, parallel: bool, distance: str, k: int) -> dict[str, float]:
    """All separation scores of one set of neurons: (sentence, neuron) points, the language of each."""
    table = distances(points, distance)
    values = {"silhouette": silhouette(table, labels), "neighbours": neighbour_accuracy(table, labels, k)}
    if parallel:
        values["retrieval"] = retrieval(table, labels)
        values["retrieval_centred"] = retrieval(distances(without_means(points, labels), distance), labels)
    return values


def distances(points: np.ndarray, kind: str) -> np.ndarray:
    """Distances between all points (n, d): `euclidean`, or `cosine` (1 - cosine of the angle at their centre).

    float64 (n, n), zeros on the diagonal. A point in the very centre is at cosine distance 1 of all others.
    """
    x = (points - points.mean(axis=0)).astype(np.float64)
    if kind == "cosine":
        norm = np.linalg.norm(x, axis=1, keepdims=True)
        x = np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)
        table = 1 - x @ x.T
    else:
        square = (x**2).sum(axis=1)
        table = np.sqrt(np.maximum(square[:, None] + square - 2 * x @ x.T, 0))
    np.fill_diagonal(table, 0)
    return table


def silhouette(table: np.ndarray, labels: np.ndarray) -> float:
    """Mean of (b - a) / max(a, b): a, the mean distance to one's own label, b, to the nearest other label.

    1: far apart; 0: mixed; below: closer to another label than to one's own. A label's only point counts as 0.
    """
    member = labels[:, None] == np.unique(labels)  # (n, labels)
    sums, counts = table @ member, member.sum(axis=0)
    size = member @ counts  # of a point's own label
    a = sums[member] / np.maximum(size - 1, 1)
    b = np.where(member, np.inf, sums / counts).min(axis=1)
    top = np.maximum(a, b)
    values = np.divide(b - a, top, out=np.zeros_like(a), where=(top > 0) & (size > 1))
    return float(values.mean())


def neighbour_accuracy(table: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of points whose k nearest neighbours (not themselves) vote for their label; a tie goes to the nearer."""
    names, codes = np.unique(labels, return_inverse=True)
    table = table.copy()
    np.fill_diagonal(table, np.inf)
    nearest = np.argsort(table, axis=1, kind="stable")[:, : min(k, len(labels) - 1)]
    weights = 1 - 1e-6 * np.arange(nearest.shape[1])
    votes = weights @ np.eye(len(names))[codes[nearest]]  # (n, labels)
    return float((votes.argmax(axis=1) == codes).mean())


def retrieval(table: np.ndarray, labels: np.ndarray) -> float:
    """How often a sentence's nearest one of another language is its translation; mean over ordered pairs.

    The i-th point of every label is the same sentence. Chance is 1 / number of sentences.
    """
    rows = [np.flatnonzero(labels == name) for name in np.unique(labels)]
    nearest = [table[np.ix_(a, b)].argmin(axis=1) for a, b in permutations(rows, 2)]
    return float(np.mean([(found == np.arange(len(found))).mean() for found in nearest]))


def without_means(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Points with the mean of their label taken away: what is left when a language is only a shift."""
    out = points.astype(np.float64)
    for name in np.unique(labels):
        out[labels == name] -= out[labels == name].mean(axis=0)
    return out


def project(points: np.ndarray) -> np.ndarray:
    """The two principal components, (n, 2); their signs are such that the largest loading is positive."""
    x = (points - points.mean(axis=0)).astype(np.float64)
    _, _, axes = np.linalg.svd(x, full_matrices=False)
    axes = axes[:2]
    axes = axes * np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1))
    flat = x @ axes.T
    return np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))


def analyse(
    points: np.ndarray,
    labels: np.ndarray,
    general: np.ndarray,
    specific: np.ndarray,
    *,
    parallel: bool,
    distance: str = "cosine",
    k: int = 5,
    draws: int = 99,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One layer's points and scores, without the column `layer`.

    `points` (sentence, p) are the activations of all neurons, `labels` the language of each sentence, `general` and
    `specific` indices of neurons. `parallel`: the i-th sentence of every language is the same one.
    """
    random = np.random.default_rng(seed)

    def drawn(pool: np.ndarray, size: int) -> list[np.ndarray]:
        return [np.sort(random.choice(pool, size, replace=False)) for _ in range(draws)]

    def scored(sets: list[np.ndarray]) -> pd.DataFrame:
        return pd.DataFrame([scores_of(points[:, chosen], labels, parallel, distance, k) for chosen in sets])

    equal = drawn(general, min(len(specific), len(general)))
    groups = {"general": [general], "specific": [specific], "general_equal": equal}
    flat, rows, controls = [], [], {}
    place = np.concatenate([np.arange((labels == name).sum()) for name in pd.unique(labels)])
    for group, sets in groups.items():
        size = len(sets[0])
        if size == 0:
            continue
        xy = project(points[:, sets[0]])
        flat.append(pd.DataFrame({"group": group, "language": labels, "sentence": place, "x": xy[:, 0], "y": xy[:, 1]}))
        if size not in controls:
            controls[size] = scored(drawn(np.arange(points.shape[1]), size))
        for score, own in scored(sets).items():
            control, value = controls[size][score], own.mean()
            p_value = two_sided(value, control.to_numpy())
            rows.append((group, size, score, value, control.mean(), control.std(ddof=0), p_value))
    columns = ["group", "neurons", "score", "value", "control_mean", "control_sd", "p"]
    return pd.concat(flat, ignore_index=True), pd.DataFrame(rows, columns=columns)


def two_sided(value: float, control: np.ndarray) -> float:
    """Share of draws as far out as the value: twice the smaller side, (1 + count) / (1 + draws), at most 1."""
    side = min((control >= value - 1e-12).sum(), (control <= value + 1e-12).sum())
    return float(min(1.0, 2 * (1 + side) / (1 + len(control))))


# ---------------------------------------------------------------- document


def document(points: pd.DataFrame, scores: pd.DataFrame, neighbours: int, draws: int) -> Document:
    """Tables of the scores, what they show, and the picture: from clusters_points.csv and clusters.csv."""
    silhouettes = scores[scores["score"] == "silhouette"].set_index("layer")
    general, specific, equal = (silhouettes[silhouettes["group"] == group] for group in GROUPS)
    sure = specific["p"] <= ALPHA
    apart = (specific["value"] > specific["control_mean"]) & sure
    below = (specific["value"] < specific["control_mean"]) & sure
    above = specific["value"] > equal["value"].reindex(specific.index)
    blocks: list[Table | str] = [
        f"General neurons mix the languages (silhouette at most {MIXED:g}) in {(general['value'] <= MIXED).sum()} of "
        f"{len(general)} layers. Specific neurons tell them apart better than as many random neurons in {apart.sum()} "
        f"of {len(specific)} layers (p <= {ALPHA:g}) and worse in {below.sum()}; better than as many general neurons "
        f"in {above.sum()} of {len(equal)}."
    ]
    for score, caption in SCORES.items():
        factor, digits = (1, 2) if score == "silhouette" else (100, 1)
        rows = []
        for row in scores[scores["score"] == score].itertuples():
            value = number(row.value * factor, digits)
            control = number(row.control_mean * factor, digits, row.control_sd * factor)
            rows.append((f"{row.layer} {GROUPS[row.group]}", [f"{row.neurons:,}", value, control, f"{row.p:.2g}"]))
        titles = ["neurons", "value", "control", "p"]
        blocks += [Table.of(caption.format(k=neighbours), "layer and kind", titles, rows)] if rows else []
    blocks.append(
        f"Control: as many random neurons of the layer, {draws} draws, mean ± standard deviation; p: share of draws as "
        f"far out, on either side, {2 / (1 + draws):.2g} at least. General, as few as specific: the mean over draws of "
        f"general neurons. The picture shows the first draw, at most {SHOWN} sentences of a language, on the two "
        "principal components; the scores are over all sentences and neurons."
    )
    languages, sentences = points["language"].nunique(), int(points["sentence"].max()) + 1
    title = f"Sentences on general and on specific neurons (figures 12-13): {languages} languages, {sentences} each"
    files = {"clusters_points.csv": numbers(points)}
    return Document("clusters", title, blocks, numbers(scores), picture(points, silhouettes), files)


def picture(points: pd.DataFrame, silhouettes: pd.DataFrame) -> str:
    """Small multiples: layers below each other, groups side by side, a colour and a marker for each language."""
    points = points[points["sentence"] < SHOWN].rename(columns={"language": "series"})
    found = silhouettes.reset_index().set_index(["layer", "group"])
    panels = []
    for layer in points["layer"].unique():
        for group, name in GROUPS.items():
            heading = f"no {name} neurons"
            if (layer, group) in found.index:
                size, value = found.loc[(layer, group), ["neurons", "value"]]
                heading = f"{int(size):,} {name}\nsilhouette {number(value, 2).text}"
            rows = points[(points["layer"] == layer) & (points["group"] == group)]
            panels.append(charts.Panel(rows, y=f"layer {layer}" if group == "general" else "", title=heading))
    title = "Sentences on general and on specific neurons: two principal components, by language"
    return charts.clouds("clusters", title, panels, len(GROUPS))


# ---------------------------------------------------------------- command line


def chosen_neurons(table: pd.DataFrame, asked: list[int], sizes: list[int]) -> dict[int, tuple[np.ndarray, ...]]:
    """Layer -> indices of its general and of its specific neurons; a neuron of several owners counts once.

    The layers are those asked for, or else the selected ones. `sizes`: number of neurons of each layer of the model.
    """
    layers = asked or sorted(map(int, table.loc[table["selected"], "layer"].unique()))
    if not layers:
        raise UserError("--neurons: no layer is selected in it; name layers with --layer")
    if bad := [layer for layer in layers if not 0 <= layer < len(sizes)]:
        raise UserError(f"--layer {bad[0]}: the model has layers 0 to {len(sizes) - 1}")
    chosen = {}
    for layer in layers:
        rows = table[table["layer"] == layer].drop_duplicates("neuron")
        if len(rows) != sizes[layer]:
            there = f"layer {layer} has {len(rows)} neurons, the model's has {sizes[layer]}"
            raise UserError(f"--neurons: {there}: another model")
        chosen[layer] = tuple(rows.loc[rows["kind"] == kind, "neuron"].to_numpy() for kind in ("general", "specific"))
    return chosen


def main() -> None:
    """Read the sentences with the model, score every layer, write numbers, tables and the picture."""
    parser = argparse.ArgumentParser(prog="lander.experiments.clusters", description=__doc__.splitlines()[0])
    add_model_flags(parser, prompt=False)
    parser.add_argument("--text", type=Path, nargs="+", required=True, help="one table of sentences per language")
    parser.add_argument("--languages", nargs="+", required=True, help="their codes, in the same order")
    parser.add_argument("--neurons", type=Path, required=True, help="the neurons table")
    parser.add_argument("--layer", type=int, nargs="+", default=[], help="(default: those selected in --neurons)")
    parser.add_argument("--sentences", type=int, default=100, help="per language (default: 100)")
    parser.add_argument("--distance", choices=["cosine", "euclidean"], default="cosine")
    parser.add_argument("--neighbours", type=int, default=5, help="k (default: 5)")
    parser.add_argument("--draws", type=int, default=99, help="of random neurons (default: 99)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--out", type=Path, required=True, help="folder for clusters.csv, .md, .svg and the points")
    args = parser.parse_args()
    if len(args.text) != len(args.languages) or len(args.text) < 2:
        raise UserError(f"--text, --languages: {len(args.text)} tables, {len(args.languages)} codes; give two or more")
    if args.draws < 39:
        raise UserError(f"--draws {args.draws}: 39 at least, or no p could reach 0.05")
    machine.prepare(args.threads)
    texts = [tables.read(path, "text").head(args.sentences) for path in args.text]
    texts = [text.head(min(map(len, texts))) for text in texts]  # equally many of each language
    keys = [list(zip(text["origin"], text["line"], strict=True)) for text in texts]
    parallel = all(key == keys[0] for key in keys)
    if not parallel:
        print("warning: not the same sentences in every language: no retrieval of translations", file=sys.stderr)
    network, codec = loading.load(args.model, args.revision, args.dtype)
    sizes = [families.ffn_of(network, layer).n_neurons for layer in range(len(families.layers_of(network)))]
    columns = ["layer", "neuron", "kind", "language", "selected"]
    chosen = chosen_neurons(tables.read(args.neurons, "neurons", columns), args.layer, sizes)
    labels = np.repeat(np.array(args.languages), [len(text) for text in texts])
    sentences = [sentence for text in texts for sentence in text["text"]]
    found = representations(network, codec, sentences, list(chosen), args.batch_size)
    options = {"distance": args.distance, "k": args.neighbours, "draws": args.draws, "seed": args.seed}
    results = {
        layer: analyse(found[layer], labels, *sets, parallel=parallel, **options) for layer, sets in chosen.items()
    }
    points, scores = (
        pd.concat(dict(zip(results, tables_, strict=True)), names=["layer"]).reset_index("layer")
        for tables_ in zip(*results.values(), strict=True)
    )
    write(document(points, scores, args.neighbours, args.draws), args.out)


if __name__ == "__main__":
    run_main(main, "experiments.clusters")
