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

from lander.config.detect import Layers
from lander.shared import tables
from lander.shared.errors import UserError, run_main
from lander.shared.files import remedy
from lander.shared.section import add_flags


def change(means: np.ndarray, difference: str) -> np.ndarray:
    """D_l = |A_l - A_{l+1}| (eq. 1), of the layers' scalar means or as the mean over neurons of the vectors.

    Args:
        means: (n_layer, p) mean activations.
    Returns:
        (n_layer - 1,)
    """
    if difference == "scalar":
        return np.abs(np.diff(means.mean(axis=1)))
    return np.abs(np.diff(means, axis=0)).mean(axis=1)


def delta(means: np.ndarray, difference: str, side: str) -> np.ndarray:
    """D as a score of every layer: D_l is the score of layer l (`lower`) or of layer l + 1 (`upper`).

    Returns:
        (n_layer,), NaN for the layer without such a neighbour: the last (`lower`) or the first (`upper`).
    """
    missing = [np.nan]
    changes = change(means, difference)
    return np.concatenate([changes, missing] if side == "lower" else [missing, changes])


def top(scores: np.ndarray, k: int) -> np.ndarray:
    """The k highest scores (eq. 2) as a boolean mask; on a tie the lower layer, NaN after all others.

    Raises:
        UserError: k is larger than the number of layers.
    """
    if not 0 <= k <= len(scores):
        raise UserError(f"layers.k: {k} is not possible, the model has {len(scores)} layers; use 0 to {len(scores)}")
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")
    selected = np.zeros(len(scores), dtype=bool)
    selected[order[:k]] = True
    return selected


def choose(
    activations: dict[str, np.ndarray],
    k: int,
    difference: str,
    side: str,
    selection: str = "shared",
    draw: int | None = None,
) -> pd.DataFrame:
    """The layers table: k layers for each direction.

    Args:
        activations: direction -> (n_layer, p) mean activations.
        selection: `shared`, the same layers for all directions, by the mean of D over the directions; or
            `per_direction`, each direction's by its own D.
        draw: a seed: the layers are drawn at random instead, the same for all directions, from all layers of the
            model (also the one without a D, and the ones that would be detected).
    """
    deltas = {name: delta(means, difference, side) for name, means in activations.items()}
    scores = dict.fromkeys(deltas, np.mean(list(deltas.values()), axis=0)) if selection == "shared" else deltas
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
                "selected": top(scores[name], k),
            }
        )
        for name, means in activations.items()
    ]
    return pd.concat(parts, ignore_index=True)


def read_means(path: Path) -> np.ndarray:
    """Mean activations of a direction, (n_layer, p).

    Raises:
        UserError: the table is damaged, or some neurons have no row.
    """
    table = tables.read(path, "activations")
    if not tables.is_whole(table):
        raise UserError(f"{path}: not every neuron of every layer has its one row; {remedy(path)}")
    return tables.by_layer(table, "mean")


def main() -> None:
    """Read the activations of all directions, choose the layers, write the table."""
    parser = argparse.ArgumentParser(prog="lander.detect.layers", description=__doc__.splitlines()[0])
    parser.add_argument("--activations", type=Path, nargs="+", required=True, help="one table per direction")
    parser.add_argument("--directions", nargs="+", required=True, help="their directions, in the same order")
    add_flags(parser, Layers)
    parser.add_argument("--random", type=int, metavar="SEED", help="k layers at random, the same for all directions")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    activations = {
        direction: read_means(path) for direction, path in zip(args.directions, args.activations, strict=True)
    }
    for path, means in zip(args.activations, activations.values(), strict=True):
        if means.shape != next(iter(activations.values())).shape:
            raise UserError(f"{path}: not of the same model as {args.activations[0]}; {remedy(path)}")
    chosen = choose(activations, args.k, args.difference, args.side, args.selection, args.random)
    tables.write(args.out, chosen, "layers")


if __name__ == "__main__":
    run_main(main, "layers")
