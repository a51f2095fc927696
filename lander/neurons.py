"""The class of every neuron: unactivated, language-general, or specific to the language that it is most aware of.

Paper: section 3.2, equation 5. Within a layer, the neurons whose awareness varies least over the languages are
general; each of the others is owned by the language of its highest score.

Reads:  <run>/awareness/s<seed>/<language>.parquet, <run>/layers/<variant>/s<seed>/layers.parquet
Writes: <run>/neurons/<variant>/s<seed>/neurons.parquet   layer, neuron, variance, kind, language, selected

Example:
    python -m lander.neurons --awareness en.parquet de.parquet --awareness-languages en de --layers layers.parquet \\
        --general-share 0.9 --out neurons.parquet
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from lander import tables
from lander.errors import UserError, run_main

GENERAL, SPECIFIC, UNACTIVATED = "general", "specific", "unactivated"


def read_awareness(paths: list[Path], normalize: str) -> np.ndarray:
    """Phi of all languages, normalised: float64 (language, n_layer, p).

    Raises:
        UserError: the tables are of different models.
    """
    scores = [tables.by_layer(tables.read(path, "awareness"), "score") for path in paths]
    for path, array in zip(paths, scores, strict=True):
        if array.shape != scores[0].shape:
            raise UserError(f"{path}: scores {array.shape}, but {paths[0]} has {scores[0].shape}: not the same model")
    return normalized(np.stack(scores), normalize)


def normalized(phi: np.ndarray, normalize: str) -> np.ndarray:
    """Phi as it is (`none`), or divided by its language's mean over the layer's neurons (`language_mean`).

    Raw scores follow each language's loss, so the language with the highest loss would own most neurons. Equation 5
    compares the languages within a layer; there the mean is taken. A layer without any score stays zero.

    Args:
        phi: (language, n_layer, p)
    """
    if normalize == "none":
        return phi
    mean = phi.mean(axis=-1, keepdims=True)
    return np.divide(phi, mean, out=np.zeros_like(phi), where=mean > 0)


def general_by_share(variance: np.ndarray, share: float) -> np.ndarray:
    """The `share` of neurons with the lowest variance (A.4's reading of epsilon); on a tie the lower index."""
    general = np.zeros(len(variance), dtype=bool)
    general[np.argsort(variance, kind="stable")[: round(share * len(variance))]] = True
    return general


def general_by_threshold(variance: np.ndarray, epsilon: float) -> np.ndarray:
    """Equation 5 to the letter: variance below lambda, the floor(epsilon * p)-th of the descending order, from 0."""
    if len(variance) == 0:
        return np.zeros(0, dtype=bool)
    index = min(int(epsilon * len(variance)), len(variance) - 1)
    return variance < np.sort(variance)[::-1][index]


def classify(phi: np.ndarray, threshold: str, share: float, unactivated: float | None) -> pd.DataFrame:
    """Class and owner of every neuron of every layer.

    Args:
        phi: (language, n_layer, p) normalised awareness.
        threshold: how epsilon is read, `general_share` or `literal`.
        unactivated: neurons whose mean Phi is at most this are unactivated and have no part in the split.
    Returns:
        layer, neuron, variance, kind, owner (index of a language, -1 for none)
    """
    split = {"general_share": general_by_share, "literal": general_by_threshold}[threshold]
    variance = phi.var(axis=0)  # sigma, population variance over the languages, (n_layer, p)
    owner = phi.argmax(axis=0)  # on a tie the first language
    idle = phi.mean(axis=0) <= unactivated if unactivated is not None else np.zeros(variance.shape, dtype=bool)
    kind = np.full(variance.shape, SPECIFIC, dtype=object)
    for layer, (values, off) in enumerate(zip(variance, idle, strict=True)):
        active = np.flatnonzero(~off)
        kind[layer, active[split(values[active], share)]] = GENERAL
        kind[layer, off] = UNACTIVATED
    owner = np.where(kind == SPECIFIC, owner, -1)
    return tables.by_neuron({"variance": variance, "kind": kind, "owner": owner})


def main() -> None:
    """Read the scores of all languages, classify every neuron, write the table."""
    parser = argparse.ArgumentParser(prog="lander.neurons", description=__doc__.splitlines()[0])
    parser.add_argument("--awareness", type=Path, nargs="+", required=True, help="one table per language")
    parser.add_argument("--awareness-languages", nargs="+", required=True, help="their codes, in the same order")
    parser.add_argument("--layers", type=Path, required=True, help="the layers table")
    parser.add_argument("--normalize", choices=["none", "language_mean"], default="language_mean")
    parser.add_argument("--threshold", choices=["literal", "general_share"], default="general_share")
    parser.add_argument("--general-share", type=float, required=True, help="epsilon of eq. 5")
    parser.add_argument("--unactivated", type=float, help="neurons of at most this mean Phi are unactivated")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    phi = read_awareness(args.awareness, args.normalize)
    table = classify(phi, args.threshold, args.general_share, args.unactivated)
    languages = np.array([*args.awareness_languages, None], dtype=object)
    table["language"] = languages[table["owner"].to_numpy()]  # -1 is the last, None
    layers = tables.read(args.layers, "layers")
    table["selected"] = table["layer"].isin(layers.loc[layers["selected"], "layer"])
    tables.write(args.out, table, "neurons")


if __name__ == "__main__":
    run_main(main, "neurons")
