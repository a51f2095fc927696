"""Per direction: which neurons of the chosen layers take part, in which group, and at which scale.

Paper: end of section 3.2 and equation 6. The neurons of a direction are the general ones and those owned by its
source or its target; those of other languages are absent, or run as the base has them (`routing.others`). The awareness
shares of the two groups (CAR, eq. 6) scale them; they are constants of a layer and a direction.

A layer that is chosen for other directions only runs untouched in this one: its rows have the role `base`. So have
the neurons of the kind `untrained`, in every direction.

The ablations of table 2 train one of the two groups (`--train`). The other group still runs, frozen, and the scales are
those of the whole method; or it is absent (`--untrained`), and the scale of the group that is left is 1. (A share is
between two groups; the literal one would be 0 for general neurons alone.)

The masks are data: `finetune` builds its blocks from these tables alone, no matter who made them.

Reads:  <run>/neurons/<variant>/s<seed>/neurons.parquet, .../layers.parquet, <run>/awareness/s<seed>/<language>.parquet
Writes: <run>/masks/<variant>/s<seed>/<direction>.parquet   layer, neuron, role, owner, trained, scale (chosen layers)

Example:
    python -m lander.detect.masks --neurons neurons.parquet --layers layers.parquet --awareness en.parquet de.parquet \\
        --awareness-languages en de --directions en-de de-en --out-dir masks
"""

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from lander.config.masks import Ablation, Routing
from lander.config.neurons import Neurons
from lander.detect.neurons import normalized, read_layers
from lander.shared import tables
from lander.shared.errors import UserError, run_main
from lander.shared.files import remedy
from lander.shared.languages import Direction, parse_direction
from lander.shared.section import add_flags, settings
from lander.shared.tables import ABSENT, BASE, GENERAL, SOURCE, SPECIFIC, TARGET, UNACTIVATED, UNTRAINED

FLAGS = (
    "normalize",
    "unactivated_role",
    "share",
    "pool",
    "start",
    "others",
    "gate",
    "train",
    "untrained",
)  # of the Rules


class Rules(Neurons, Routing, Ablation):
    """How masks are made: the readings of eq. 6, and which group is trained (table 2)."""

    train: Literal["both", "general", "specific"] = Field("both", description="Which group is trained.")


def joined(neurons: pd.DataFrame) -> pd.DataFrame:
    """One row per neuron of a neurons table, which has one per owner: `language` is the owners, joined by `+`."""
    several = neurons.duplicated(["layer", "neuron"], keep=False)
    if not several.any():
        return neurons
    rows = neurons[several].drop_duplicates(["layer", "neuron", "language"]).sort_values("language")
    groups = rows.groupby(["layer", "neuron"], as_index=False)
    kinds = groups["kind"].nunique()
    if (kinds["kind"] > 1).any():
        layer, neuron = kinds.loc[kinds["kind"] > 1, ["layer", "neuron"]].iloc[0]
        raise UserError(f"neurons: layer {layer}, neuron {neuron} has rows of different kinds; it is of one kind")
    named = groups.agg(kind=("kind", "first"), language=("language", lambda codes: "+".join(codes.dropna()) or None))
    return pd.concat([neurons.loc[~several, named.columns], named], ignore_index=True)


def roles(kind: np.ndarray, owner: np.ndarray, direction: Direction, unactivated: str) -> np.ndarray:
    """Role of each neuron in a direction.

    Args:
        kind, owner: (p,) of a layer; several owners are joined by `+`. The source goes before the target.
        unactivated: role of the unactivated ones, `general` or `absent`.
    """
    role = np.full(len(kind), ABSENT, dtype=object)
    role[kind == GENERAL] = GENERAL
    role[kind == UNACTIVATED] = unactivated
    for code, name in ((direction.target, TARGET), (direction.source, SOURCE)):
        owned = np.array([isinstance(codes, str) and code in codes.split("+") for codes in owner], dtype=bool)
        role[(kind == SPECIFIC) & owned] = name
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
    rules: Rules,
    others: Collection[int] = (),
) -> pd.DataFrame:
    """The mask of one direction over its chosen layers, and over those that are chosen for other directions only.

    Args:
        neurons: the neurons table, one row per neuron (`joined`).
        phi: (n_layer, p) awareness of the pair.
        others: layers that run untouched in this direction.
    """
    parts = []
    for layer, rows in neurons[neurons["layer"].isin([*layers, *others])].groupby("layer"):
        rows = rows.sort_values("neuron")
        part = pd.DataFrame({"layer": layer, "neuron": rows["neuron"]})
        if layer not in layers:
            parts.append(part.assign(role=BASE, owner=None, trained=False, scale=1.0))
            continue
        owner = rows["language"].to_numpy()
        role = roles(rows["kind"].to_numpy(), owner, direction, rules.unactivated_role)
        factor = general_scale(phi[layer], role, rules.share, rules.pool)
        ones = rules.gate == "off" or rules.start == "identity"
        scale = np.ones(len(role)) if ones else np.where(role == GENERAL, factor, 1 - factor)
        foreign = (role == ABSENT) & (rows["kind"].to_numpy() == SPECIFIC)
        untouched = rows["kind"].to_numpy() == UNTRAINED
        left = {"both": role == ABSENT, GENERAL: role != GENERAL, SPECIFIC: role == GENERAL}[rules.train]  # not trained
        if rules.train != "both" and rules.untrained == ABSENT:
            role, scale = np.where(left, ABSENT, role), np.ones(len(role))
        trained, scale = (role != ABSENT) & ~left, np.where(role == ABSENT, 0.0, scale)
        base = (foreign & (rules.others == BASE)) | untouched
        role, scale = np.where(base, BASE, role), np.where(base, 1.0, scale)
        parts.append(part.assign(role=role, owner=owner, trained=trained, scale=scale))
    return pd.concat(parts, ignore_index=True) if parts else tables.empty("masks")  # k = 0: the base model


def main() -> None:
    """Read neurons, layers and scores, write a mask per direction."""
    parser = argparse.ArgumentParser(prog="lander.detect.masks", description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=Path, required=True)
    parser.add_argument("--layers", type=Path, required=True)
    parser.add_argument("--awareness", type=Path, nargs="+", required=True, help="one table per language")
    parser.add_argument("--awareness-languages", nargs="+", required=True, help="their codes, in the same order")
    parser.add_argument("--directions", type=parse_direction, nargs="+", required=True)
    add_flags(parser, Rules, *FLAGS)
    parser.add_argument("--out-dir", type=Path, required=True)
    args = parser.parse_args()
    rules = settings(Rules, args)
    neurons = joined(tables.read(args.neurons, "neurons", ["layer", "neuron", "kind", "language"]))
    scores = normalized(tables.stacked(args.awareness, "awareness", "score"), rules.normalize)
    if not tables.is_whole(neurons) or len(neurons) != scores[0].size:
        raise UserError(f"{args.neurons}: not the neurons of {args.awareness[0]}; {remedy(args.neurons)}")
    layers = read_layers(args.layers, scores.shape[1], [str(direction) for direction in args.directions])
    phi = dict(zip(args.awareness_languages, scores, strict=True))
    selected = layers[layers["selected"] & layers["direction"].isin(map(str, args.directions))]
    for direction in args.directions:
        chosen = selected.loc[selected["direction"] == str(direction), "layer"].tolist()
        others = set(selected["layer"]) - set(chosen)
        pair = (phi[direction.source] + phi[direction.target]) / 2
        mask = direction_mask(neurons, pair, chosen, direction, rules, others)
        tables.write(args.out_dir / f"{direction}.parquet", mask, "masks")


if __name__ == "__main__":
    run_main(main, "masks")
