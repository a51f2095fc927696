"""The layers that respond to translation: the k with the largest change of activation against their neighbour.

Paper: section 3.1, equations 1 and 2. The control of the choice is as many layers drawn at random.

Reads:  <run>/activations/s<seed>/<direction>.parquet
Writes: <run>/layers/<variant>/s<seed>/layers.parquet   direction, layer, activation, delta, selected

Example:
    python -m lander.detect.layers --activations en-de.parquet de-en.parquet --directions en-de de-en --k 2 \\
        --out layers.parquet
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from lander.config.layers import Layers
from lander.shared import tables
from lander.shared.errors import UserError, run_main
from lander.shared.section import add_flags, settings


def delta(means: np.ndarray, difference: str, side: str) -> np.ndarray:
    """D_l = |A_l - A_{l+1}| (eq. 1) as a score of every layer: of layer l (`lower`) or of layer l + 1 (`upper`).

    Args:
        means: (n_layer, p) mean activations.
        difference: of the layers' means over neurons (`scalar`); or the mean over neurons of the differences, the
            neurons of each layer sorted by their means (`distribution`) or as they are numbered (`vector`).
    Returns:
        (n_layer,), NaN for the layer without such a neighbour: the last (`lower`) or the first (`upper`).
    """
    if difference == "scalar":
        means = means.mean(axis=1, keepdims=True)
    elif difference == "distribution":
        means = np.sort(means, axis=1)
    changes = np.abs(np.diff(means, axis=0)).mean(axis=1)
    return np.append(changes, np.nan) if side == "lower" else np.insert(changes, 0, np.nan)


def top(scores: np.ndarray, k: int) -> np.ndarray:
    """The k highest scores (eq. 2) as a boolean mask; on a tie the lower layer, NaN after all others."""
    if not 0 <= k <= len(scores):
        raise UserError(f"layers.k: {k} is not possible, the model has {len(scores)} layers; use 0 to {len(scores)}")
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")
    selected = np.zeros(len(scores), dtype=bool)
    selected[order[:k]] = True
    return selected


def choose(activations: dict[str, np.ndarray], layers: Layers, draw: int | None = None) -> pd.DataFrame:
    """The layers table: k layers for each direction.

    With the selection `shared` they are the same for all directions, by the mean of D over the directions.

    Args:
        activations: direction -> (n_layer, p) mean activations.
        draw: a seed: the layers are drawn at random instead, the same for all directions, from all layers of the
            model (also the one without a D, and the ones that would be detected).
    """
    deltas = {name: delta(means, layers.difference, layers.side) for name, means in activations.items()}
    scores = deltas
    if layers.selection == "shared":
        scores = dict.fromkeys(deltas, np.mean(list(deltas.values()), axis=0))
    if draw is not None:
        n_layer = len(next(iter(deltas.values())))
        scores = dict.fromkeys(deltas, np.random.default_rng(draw).random(n_layer))
    parts = [
        pd.DataFrame(
            {
                "direction": name,
                "layer": np.arange(len(means), dtype=np.int32),
                "activation": means.mean(axis=1),
                "delta": deltas[name],
                "selected": top(scores[name], layers.k),
            }
        )
        for name, means in activations.items()
    ]
    return pd.concat(parts, ignore_index=True)


def main() -> None:
    """Read the activations of all directions, choose the layers, write the table."""
    parser = argparse.ArgumentParser(prog="lander.detect.layers", description=__doc__.splitlines()[0])
    parser.add_argument("--activations", type=Path, nargs="+", required=True, help="one table per direction")
    parser.add_argument("--directions", nargs="+", required=True, help="their directions, in the same order")
    add_flags(parser, Layers)
    parser.add_argument("--random", type=int, metavar="SEED", help="k layers at random, the same for all directions")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    means = tables.stacked(args.activations, "activations", "mean")
    activations = dict(zip(args.directions, means, strict=True))
    tables.write(args.out, choose(activations, settings(Layers, args), args.random), "layers")


if __name__ == "__main__":
    run_main(main, "layers")
