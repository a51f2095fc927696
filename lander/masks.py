"""Per direction: which neurons of the chosen layers take part, in which group, and at which scale.

Paper: end of section 3.2 and equation 6. The neurons of a direction are the general ones and those owned by its
source or its target; those of other languages are absent. The awareness shares of the two groups (CAR, eq. 6) scale
them; they are constants of a layer and a direction.

The masks are data: `finetune` builds its blocks from these tables and from nothing else, whoever made them.

Reads:  <run>/neurons/<variant>/s<seed>/neurons.parquet, .../layers.parquet, <run>/awareness/s<seed>/<language>.parquet
Writes: <run>/masks/<variant>/s<seed>/<direction>.parquet   layer, neuron, role, owner, trained, scale (chosen layers)

Example:
    python -m lander.masks --neurons neurons.parquet --layers layers.parquet --awareness en.parquet de.parquet \\
        --awareness-languages en de --directions en-de de-en --out-dir masks
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from lander import tables
from lander.errors import run_main
from lander.languages import Direction, parse_direction
from lander.neurons import GENERAL, SPECIFIC, UNACTIVATED, read_awareness

SOURCE, TARGET, ABSENT = "source", "target", "absent"


def roles(kind: np.ndarray, owner: np.ndarray, direction: Direction, unactivated: str) -> np.ndarray:
    """Role of each neuron in a direction.

    Args:
        kind, owner: (p,) of a layer.
        unactivated: role of the unactivated ones, `general` or `absent`.
    """
    role = np.full(len(kind), ABSENT, dtype=object)
    role[kind == GENERAL] = GENERAL
    role[kind == UNACTIVATED] = unactivated
    role[(kind == SPECIFIC) & (owner == direction.source)] = SOURCE
    role[(kind == SPECIFIC) & (owner == direction.target)] = TARGET
    return role


def general_scale(phi: np.ndarray, role: np.ndarray, share: str, pool: str) -> float:
    """The factor of the general group in one layer and direction (eq. 6); the specific group has 1 minus it.

    With S_G and S_S the pair's Phi summed (or averaged, `pool`) over the general and the specific neurons, the
    factor is S_S / (S_G + S_S) as printed (`literal`) or S_G / (S_G + S_S) (`general`). Where nothing has a score
    the groups' sizes decide.

    Args:
        phi: (p,) awareness of the pair, the mean of its source's and its target's.
        role: (p,)
    """
    general = role == GENERAL
    specific = (role == SOURCE) | (role == TARGET)
    if phi[general | specific].sum() <= 0:
        phi = np.ones_like(phi)
    reduce = np.sum if pool == "sum" else np.mean
    of_general = reduce(phi[general]) if general.any() else 0.0
    of_specific = reduce(phi[specific]) if specific.any() else 0.0
    total = of_general + of_specific
    if total == 0:
        return 1.0  # every neuron is absent: nothing to scale
    return float((of_general if share == "general" else of_specific) / total)


def direction_mask(
    neurons: pd.DataFrame,
    phi: np.ndarray,
    layers: list[int],
    direction: Direction,
    *,
    share: str,
    pool: str,
    scaled: bool,
    unactivated: str = GENERAL,
) -> pd.DataFrame:
    """The mask of one direction over its chosen layers.

    Args:
        neurons: the neurons table.
        phi: (n_layer, p) awareness of the pair.
        scaled: whether the groups have the factors of eq. 6; 1 otherwise.
    """
    parts = []
    for layer, rows in neurons[neurons["layer"].isin(layers)].groupby("layer"):
        rows = rows.sort_values("neuron")
        role = roles(rows["kind"].to_numpy(), rows["language"].to_numpy(), direction, unactivated)
        factor = general_scale(phi[layer], role, share, pool)
        scale = np.where(role == GENERAL, factor, 1 - factor) if scaled else np.ones(len(role))
        parts.append(
            pd.DataFrame(
                {
                    "layer": layer,
                    "neuron": rows["neuron"],
                    "role": role,
                    "owner": rows["language"],
                    "trained": role != ABSENT,
                    "scale": np.where(role == ABSENT, 0.0, scale),
                }
            )
        )
    if not parts:  # k = 0: the base model
        return tables.empty("masks")
    return pd.concat(parts, ignore_index=True)


def main() -> None:
    """Read neurons, layers and scores, write a mask per direction."""
    parser = argparse.ArgumentParser(prog="lander.masks", description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=Path, required=True)
    parser.add_argument("--layers", type=Path, required=True)
    parser.add_argument("--awareness", type=Path, nargs="+", required=True, help="one table per language")
    parser.add_argument("--awareness-languages", nargs="+", required=True, help="their codes, in the same order")
    parser.add_argument("--directions", type=parse_direction, nargs="+", required=True)
    parser.add_argument("--normalize", choices=["none", "language_mean"], default="language_mean", help="of Phi")
    parser.add_argument("--share", choices=["literal", "general"], default="general", help="which share scales FFN_G")
    parser.add_argument("--pool", choices=["sum", "mean"], default="sum", help="of Phi over a group's neurons")
    parser.add_argument("--gate", choices=["static", "learned", "off"], default="learned", help="`off` scales by 1")
    parser.add_argument("--unactivated", choices=[GENERAL, ABSENT], default=GENERAL, help="role of unactivated ones")
    parser.add_argument("--out-dir", type=Path, required=True)
    args = parser.parse_args()
    neurons = tables.read(args.neurons, "neurons")
    layers = tables.read(args.layers, "layers")
    phi = dict(zip(args.awareness_languages, read_awareness(args.awareness, args.normalize), strict=True))
    for direction in args.directions:
        chosen = layers.loc[layers["selected"] & (layers["direction"] == str(direction)), "layer"].tolist()
        pair = (phi[direction.source] + phi[direction.target]) / 2
        mask = direction_mask(
            neurons,
            pair,
            chosen,
            direction,
            share=args.share,
            pool=args.pool,
            scaled=args.gate != "off",
            unactivated=args.unactivated,
        )
        tables.write(args.out_dir / f"{direction}.parquet", mask, "masks")


if __name__ == "__main__":
    run_main(main, "masks")
