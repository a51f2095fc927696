"""Do the general neurons of a layer mix the languages, and do the specific ones tell them apart? (Figures 12-13.)

A sentence is the mean over its tokens of the activations h of the chosen neurons. The paper shows a picture for
layer 10; here are the picture's points and, for each set of neurons, scores in the full space:

    silhouette          of the languages: 1 apart, 0 mixed
    neighbours          share of sentences whose k nearest are of their language; chance is about 1 / languages
    retrieval           share whose nearest sentence of another language is their translation (parallel text only);
                        general neurons that mix languages ought to put translations side by side
    retrieval_centred   the same after each language's mean is taken away

Each beside a control: random neurons of the layer in the same number, several draws, since *any* neurons separate
languages to some degree. The specific neurons are a tenth of the general ones, so `general_equal` are random general
neurons in the number of the specific ones: value and spread over the draws.

Reads:  the model, <run>/data/s<seed>/text/<language>.parquet, <run>/neurons/<variant>/s<seed>/neurons.parquet
Writes: clusters.csv          layer, group, neurons, score, value, control_mean, control_sd, p
        clusters_points.csv   layer, group, language, sentence, x, y
        clusters.md           the scores as tables, and what they show
        clusters.svg          the points

p: share of the control's draws as far out as the value, on either side: 2 / (1 + draws) at least.

Example:
    python -m lander.experiments.clusters --model lander-tiny --text en.parquet de.parquet --languages en de \\
        --neurons neurons.parquet --layer 3 --out results/demo/experiments
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from lander.experiments import separation
from lander.models import families, loading
from lander.models.tokens import Codec
from lander.report.document import write
from lander.shared import machine, tables
from lander.shared.errors import UserError, run_main


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
    hooks = [
        ffn.down.register_forward_pre_hook(lambda _module, inputs, layer=layer: seen.update({layer: inputs[0]}))
        for layer, ffn in ffns.items()
    ]
    means = {layer: np.zeros((len(sentences), ffn.n_neurons), dtype=np.float32) for layer, ffn in ffns.items()}
    sequences = [codec.sentence(sentence) for sentence in sentences]
    order = sorted(range(len(sequences)), key=lambda place: len(sequences[place]))
    skip = len(codec.prefix)
    try:
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            part = [sequences[place] for place in places]
            batch = codec.pad_right(part, [0] * len(part))
            own = batch.attention_mask.clone()  # (sentences, tokens)
            own[:, :skip] = 0
            own[torch.arange(len(part)), torch.tensor([len(tokens) - 1 for tokens in part])] = 0
            own, batch = own.to(network.device), batch.to(network.device)
            network.base_model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
            for layer, h in seen.items():
                total = (h.float() * own[..., None]).sum(1) / own.sum(1, keepdim=True).clamp(min=1)
                means[layer][places] = total.cpu().numpy()
    finally:
        for hook in hooks:
            hook.remove()
    return means


def scores_of(points: np.ndarray, labels: np.ndarray, parallel: bool, distance: str, k: int) -> dict[str, float]:
    """All separation scores of one set of neurons: (sentence, neuron) points, the language of each."""
    table = separation.distances(points, distance)
    values = {
        "silhouette": separation.silhouette(table, labels),
        "neighbours": separation.neighbour_accuracy(table, labels, k),
    }
    if parallel:
        centred = separation.distances(separation.without_means(points, labels), distance)
        values["retrieval"] = separation.retrieval(table, labels)
        values["retrieval_centred"] = separation.retrieval(centred, labels)
    return values


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

    Args:
        points: (sentence, p), the activations of all neurons; labels: the language of each sentence.
        general, specific: indices of neurons.
        parallel: whether the i-th sentence of every language is the same one.
    """
    p = points.shape[1]
    random = np.random.default_rng(seed)

    def drawn(pool: np.ndarray, size: int) -> list[np.ndarray]:
        return [np.sort(random.choice(pool, size, replace=False)) for _ in range(draws)]

    equal = drawn(general, min(len(specific), len(general)))
    groups = {"general": [general], "specific": [specific], "general_equal": equal}
    flat, rows, controls = [], [], {}
    place = np.concatenate([np.arange((labels == name).sum()) for name in pd.unique(labels)])
    for group, sets in groups.items():
        size = len(sets[0])
        if size == 0:
            continue
        xy = separation.project(points[:, sets[0]])
        flat.append(pd.DataFrame({"group": group, "language": labels, "sentence": place, "x": xy[:, 0], "y": xy[:, 1]}))
        if size not in controls:
            controls[size] = pd.DataFrame(
                [scores_of(points[:, chosen], labels, parallel, distance, k) for chosen in drawn(np.arange(p), size)]
            )
        own = pd.DataFrame([scores_of(points[:, chosen], labels, parallel, distance, k) for chosen in sets])
        for score in own:
            control, value = controls[size][score], own[score].mean()
            rows.append(
                {
                    "group": group,
                    "neurons": size,
                    "score": score,
                    "value": value,
                    "control_mean": control.mean(),
                    "control_sd": control.std(ddof=0),
                    "p": two_sided(value, control.to_numpy()),
                }
            )
    return pd.concat(flat, ignore_index=True), pd.DataFrame(rows)


def two_sided(value: float, control: np.ndarray) -> float:
    """Share of draws as far out as the value: twice the smaller side, (1 + count) / (1 + draws), at most 1."""
    side = min((control >= value - 1e-12).sum(), (control <= value + 1e-12).sum())
    return float(min(1.0, 2 * (1 + side) / (1 + len(control))))


def read_texts(paths: list[Path], sentences: int) -> tuple[list[list[str]], bool]:
    """The first sentences of every language, equally many, and whether they are the same ones in every language."""
    texts = [tables.read(path, "text").head(sentences) for path in paths]
    count = min(map(len, texts))
    texts = [text.head(count) for text in texts]
    keys = [list(zip(text["origin"], text["line"], strict=True)) for text in texts]
    return [text["text"].tolist() for text in texts], all(key == keys[0] for key in keys)


def layers_of(table: pd.DataFrame, asked: list[int], n_layer: int) -> list[int]:
    """The layers asked for, or else the chosen ones of the neurons table.

    Raises:
        UserError: none is chosen, or the model has no such layer.
    """
    layers = asked or sorted(map(int, table.loc[table["selected"], "layer"].unique()))
    if not layers:
        raise UserError("--neurons: no layer is selected in it; name layers with --layer")
    if bad := [layer for layer in layers if not 0 <= layer < n_layer]:
        raise UserError(f"--layer {bad[0]}: the model has layers 0 to {n_layer - 1}")
    return layers


def neurons_of(table: pd.DataFrame, layer: int, n_neurons: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of a layer's general and specific neurons; a neuron of several owners counts once.

    Raises:
        UserError: the table is of another model.
    """
    rows = table[table["layer"] == layer].drop_duplicates("neuron")
    if len(rows) != n_neurons:
        raise UserError(f"--neurons: layer {layer} has {len(rows)} neurons, the model's has {n_neurons}: another model")
    general, specific = (rows.loc[rows["kind"] == kind, "neuron"].to_numpy() for kind in ("general", "specific"))
    return general, specific


def parse_args() -> argparse.Namespace:
    """The flags of the command line."""
    parser = argparse.ArgumentParser(prog="lander.experiments.clusters", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="built-in name, local folder or hub id")
    parser.add_argument("--revision", default="", help="revision of a hub model")
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
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
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder for clusters.csv, .md, .svg and the points")
    return parser.parse_args()


def main() -> None:
    """Read the sentences with the model, score every layer, write numbers, tables and the picture."""
    args = parse_args()
    if len(args.text) != len(args.languages) or len(args.text) < 2:
        raise UserError(f"--text, --languages: {len(args.text)} tables, {len(args.languages)} codes; give two or more")
    if args.draws < 39:
        raise UserError(f"--draws {args.draws}: 39 at least, or no p could reach 0.05")
    machine.prepare(args.threads)
    texts, parallel = read_texts(args.text, args.sentences)
    if not parallel:
        print("warning: not the same sentences in every language: no retrieval of translations", file=sys.stderr)
    network, codec = loading.load(args.model, args.revision, args.dtype)
    neurons = tables.read(args.neurons, "neurons")
    layers = layers_of(neurons, args.layer, len(families.layers_of(network)))
    chosen = {layer: neurons_of(neurons, layer, families.ffn_of(network, layer).n_neurons) for layer in layers}
    labels = np.repeat(np.array(args.languages), [len(text) for text in texts])
    sentences = [sentence for text in texts for sentence in text]
    found = representations(network, codec, sentences, layers, args.batch_size)
    options = {"distance": args.distance, "k": args.neighbours, "draws": args.draws, "seed": args.seed}
    results = {layer: analyse(found[layer], labels, *chosen[layer], parallel=parallel, **options) for layer in layers}
    points, scores = (
        pd.concat({layer: result[which] for layer, result in results.items()}, names=["layer"]).reset_index("layer")
        for which in (0, 1)
    )
    from lander.experiments import clusters_document  # matplotlib only when the inputs are right

    write(clusters_document.document(points, scores, args.neighbours, args.draws), args.out)


if __name__ == "__main__":
    run_main(main, "analyses.clusters")
