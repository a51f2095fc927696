"""The control `random` for given masks: their neurons, shuffled within each layer.

All directions are shuffled alike, so every group keeps its size, its directions and its scale, and neurons that
directions share stay shared. Only which neurons they are is random.

Reads:  the folder of `neurons.masks`, <direction>.parquet
Writes: <run>/masks/given/draw<n>/s<seed>/<direction>.parquet   as the masks that it reads

Example:
    python -m lander.detect.permute --masks mine/en-de.parquet mine/de-en.parquet --seed 1 --out-dir masks
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from lander.shared import tables
from lander.shared.errors import UserError, run_main


def permuted(masks: dict[str, pd.DataFrame], seed: int) -> dict[str, pd.DataFrame]:
    """The masks with the neurons of each layer in another order, the same one in all of them."""
    dice = np.random.default_rng(seed)
    both = pd.concat(masks.values())
    orders = {layer: dice.permutation(np.unique(rows["neuron"])) for layer, rows in both.groupby("layer")}
    shuffled = {}
    for name, mask in masks.items():
        parts = []
        for layer, rows in mask.groupby("layer"):
            rows = rows.sort_values("neuron")
            if not np.array_equal(rows["neuron"], np.sort(orders[layer])):
                raise UserError(f"{name}: layer {layer} lacks neurons that another direction has, or has one twice")
            parts.append(rows.assign(neuron=orders[layer]).sort_values("neuron"))  # the i-th becomes the order's i-th
        shuffled[name] = pd.concat(parts, ignore_index=True)
    return shuffled


def main() -> None:
    """Read the masks, shuffle their neurons, write them under the same names."""
    parser = argparse.ArgumentParser(prog="lander.detect.permute", description=__doc__.splitlines()[0])
    parser.add_argument("--masks", type=Path, nargs="+", required=True, help="<direction>.parquet of all directions")
    parser.add_argument("--seed", type=int, required=True, help="of the draw")
    parser.add_argument("--out-dir", type=Path, required=True)
    args = parser.parse_args()
    for name, mask in permuted({path.name: tables.read(path, "masks") for path in args.masks}, args.seed).items():
        tables.write(args.out_dir / name, mask, "masks")


if __name__ == "__main__":
    run_main(main, "permute")
