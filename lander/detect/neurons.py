"""The class of every neuron: unactivated, language-general, or specific to the languages that own it.

Paper: section 3.2, equation 5. Three rules, each within a layer:

    variance   eq. 5: the neurons whose awareness varies least over the languages are general; each of the others is
               owned by the language of its highest score
    summed     Xie et al. 2021: the neurons of the highest score summed over the languages are general; each of the
               others is owned by every language whose score is at least `owner_share` of its highest
    entropy    LAPE, Tang et al. 2024, from probabilities of activation: normalised over the languages, the neurons of
               the lowest entropy are specific, if any probability lies above the bar (a quantile of all of the
               layer's); they are owned by every language above it. LAPE chooses over all layers at once; here, as
               with the other rules, the share of general neurons is that of each layer. Fewer are specific where
               fewer come above the bar

A neuron has a row for each owner, in the order of the languages. A neuron that every language owns stays specific, as
in Xie's code: each direction runs it, and no language is without it.

With a `trained_share` below 1 a share of each group is kept; its other neurons are of the kind `untrained` and run as
the base has them. The controls `pick` keep the least aware neurons, or give each language those of another one.

The control `permute` shuffles the classes and owners among the neurons of a layer: groups of the same sizes, of random
neurons.

Reads:  <run>/awareness/s<seed>/<language>.parquet, <run>/layers/<variant>/s<seed>/layers.parquet
Writes: <run>/neurons/<variant>/s<seed>/neurons.parquet   layer, neuron, variance, kind, language, selected

Example:
    python -m lander.detect.neurons --awareness en.parquet de.parquet --awareness-languages en de \\
        --layers layers.parquet --general-share 0.9 --out neurons.parquet
"""

import argparse
import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from lander.config.neurons import Neurons
from lander.shared import tables
from lander.shared.errors import UserError, run_main
from lander.shared.files import remedy
from lander.shared.section import add_flags, settings
from lander.shared.tables import GENERAL, SPECIFIC, UNACTIVATED, UNTRAINED

SPLIT = (
    "rule",
    "general_share",
    "normalize",
    "statistic",
    "threshold",
    "owner_share",
    "activation_quantile",
)  # flags of a Split


class Split(Neurons):
    """Which rule divides the neurons, and with which numbers; only the rule variance reads `threshold`."""

    rule: Literal["variance", "summed", "entropy"] = Field(
        "variance", description="How neurons are divided: variance (eq. 5), summed (Xie et al. 2021), entropy (LAPE)."
    )
    owner_share: float = Field(0.7, ge=0, le=1, description="Rule summed: Xie's k.")
    activation_quantile: float = Field(0.95, ge=0, le=1, description="Rule entropy: LAPE's bar.")


@dataclass(frozen=True)
class Classes:
    """What every neuron is.

    Args:
        phi: (language, n_layer, p) awareness as the rule reads it.
        kind: (n_layer, p) of `general`, `specific`, `unactivated` and `untrained`.
        owned: bool (language, n_layer, p), of the specific ones only.
    """

    phi: np.ndarray
    kind: np.ndarray
    owned: np.ndarray


def read_layers(path: Path, n_layer: int, directions: Collection[str] = ()) -> pd.DataFrame:
    """The layers table: direction, layer, selected. UserError unless it has every layer once for each direction."""
    table = tables.read(path, "layers", ["direction", "layer", "selected"])
    for name in {*directions, *table["direction"]}:
        if sorted(table.loc[table["direction"] == name, "layer"]) != list(range(n_layer)):
            raise UserError(f"{path}: {name} has not each of the {n_layer} layers once; {remedy(path)}")
    return table


def normalized(phi: np.ndarray, normalize: str) -> np.ndarray:
    """Phi as it is (`none`), or divided by its language's mean over the layer's neurons (`language_mean`).

    Raw scores follow each language's loss, so the language with the highest loss would own most neurons. The mean is
    within a layer, where equation 5 compares the languages. A layer without any score stays zero.

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


def by_variance(phi: np.ndarray, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Equation 5; `threshold` is how epsilon is read. On a tie the first language is the owner."""
    divide = {"general_share": general_by_share, "literal": general_by_threshold}[split.threshold]
    owned = np.arange(len(phi))[:, None] == phi.argmax(axis=0)
    varies = phi.var(axis=0)
    if split.statistic == "relative":
        mean = phi.mean(axis=0)
        varies = np.divide(varies, mean**2, out=np.zeros_like(varies), where=mean > 0)
    return divide(varies, split.general_share), owned


def by_sum(phi: np.ndarray, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Xie et al. 2021; on a tie of sums the lower index is general."""
    return general_by_share(-phi.sum(axis=0), split.general_share), phi >= split.owner_share * phi.max(axis=0)


def by_entropy(phi: np.ndarray, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """LAPE; phi are probabilities. On a tie of entropies the lower index is specific.

    The bar is the value at rank round(quantile * n) of all n probabilities, from 1, as theirs.
    """
    if phi.size == 0:
        return np.zeros(phi.shape[1], dtype=bool), phi > 0
    above = phi > np.sort(phi, axis=None)[max(round(split.activation_quantile * phi.size), 1) - 1]
    order = np.where(above.any(axis=0), entropy(phi), np.inf)
    specific = np.argsort(order, kind="stable")[: phi.shape[1] - round(split.general_share * phi.shape[1])]
    general = np.ones(phi.shape[1], dtype=bool)
    general[specific[np.isfinite(order[specific])]] = False
    return general, above


RULES = {"variance": by_variance, "summed": by_sum, "entropy": by_entropy}
"""From Phi of a layer's active neurons (language, p): which are general (p,), who owns each if not (language, p)."""


def entropy(phi: np.ndarray) -> np.ndarray:
    """Entropy in nats over the languages of the normalised probabilities, (p,); 0 where no language has any."""
    total = phi.sum(axis=0)
    shares = np.divide(phi, total, out=np.zeros_like(phi), where=total > 0)
    return -(shares * np.log(shares, out=np.zeros_like(shares), where=shares > 0)).sum(axis=0)


def classify(phi: np.ndarray, split: Split, unactivated: float | None = None) -> Classes:
    """Class and owners of every neuron of every layer. UserError if the rule entropy gets no probabilities.

    Args:
        phi: (language, n_layer, p) raw awareness.
        unactivated: neurons whose mean score, as the rule reads it, is at most this are unactivated and have no part
            in the split.
    """
    if split.rule != "entropy":
        phi = normalized(phi, split.normalize)
    elif phi.max() > 1 or phi.min() < 0:
        raise UserError("rule entropy reads probabilities: score the neurons with `--estimator probability`")
    idle = np.zeros(phi.shape[1:], dtype=bool) if unactivated is None else phi.mean(axis=0) <= unactivated
    kind = np.full(phi.shape[1:], SPECIFIC, dtype=object)
    owned = np.zeros(phi.shape, dtype=bool)
    for layer, off in enumerate(idle):
        active = np.flatnonzero(~off)
        general, owned[:, layer, active] = RULES[split.rule](np.ascontiguousarray(phi[:, layer, active]), split)
        kind[layer, active[general]] = GENERAL
        kind[layer, off] = UNACTIVATED
    return Classes(phi, kind, owned & (kind == SPECIFIC))


def picked(classes: Classes, share: float, pick: str) -> Classes:
    """The share of each group, rounded up, that is trained; the rest becomes `untrained`. On a tie the lower index.

    The groups of a layer are its general neurons, its unactivated ones and those of each owner. Their order is that of
    the mean awareness, or of the owner's.
    """
    mean = classes.phi.mean(axis=0)
    groups = [(classes.kind == kind, mean) for kind in (GENERAL, UNACTIVATED)]
    kept = np.zeros(classes.kind.shape, dtype=bool)
    for members, score in (*groups, *zip(classes.owned, classes.phi, strict=True)):
        for layer, inside in enumerate(members):
            found = np.flatnonzero(inside)
            order = np.argsort((1 if pick == "least" else -1) * score[layer, found], kind="stable")
            kept[layer, found[order[: math.ceil(round(share * len(found), 6))]]] = True
    owned = np.roll(classes.owned, 1, axis=0) if pick == "exchanged" else classes.owned
    return replace(classes, kind=np.where(kept, classes.kind, UNTRAINED), owned=owned & kept)


def permuted(classes: Classes, seed: int) -> Classes:
    """The same classes and owners, shuffled among the neurons of each layer."""
    dice = np.random.default_rng(seed)
    kind, owned = classes.kind.copy(), classes.owned.copy()
    for layer in range(len(kind)):
        order = dice.permutation(kind.shape[1])
        kind[layer], owned[:, layer] = kind[layer, order], owned[:, layer, order]
    return replace(classes, kind=kind, owned=owned)


def table_of(classes: Classes, languages: list[str]) -> pd.DataFrame:
    """layer, neuron, variance (sigma, population variance over the languages), kind, language: a row for each owner."""
    table = tables.by_neuron({"variance": classes.phi.var(axis=0), "kind": classes.kind})
    owned = classes.owned.reshape(len(languages), -1).T  # (n_layer * p, language)
    rows, owners = np.nonzero(np.column_stack([owned, ~owned.any(axis=1)]))  # the last column: nobody
    table = table.iloc[rows].reset_index(drop=True)
    table["language"] = np.array([*languages, None], dtype=object)[owners]
    return table


def main() -> None:
    """Read the scores of all languages, classify every neuron, write the table."""
    parser = argparse.ArgumentParser(prog="lander.detect.neurons", description=__doc__.splitlines()[0])
    parser.add_argument("--awareness", type=Path, nargs="+", required=True, help="one table per language")
    parser.add_argument("--awareness-languages", nargs="+", required=True, help="their codes, in the same order")
    parser.add_argument("--layers", type=Path, required=True, help="the layers table")
    add_flags(parser, Split, *SPLIT, "unactivated", "trained_share", "pick")
    parser.add_argument("--permute", type=int, metavar="SEED", help="random neurons: shuffle classes within layers")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    split = settings(Split, args)
    classes = classify(tables.stacked(args.awareness, "awareness", "score"), split, args.unactivated)
    classes = picked(classes, split.trained_share, split.pick)
    if args.permute is not None:
        classes = permuted(classes, args.permute)
    table = table_of(classes, args.awareness_languages)
    layers = read_layers(args.layers, len(classes.kind))
    table["selected"] = table["layer"].isin(layers.loc[layers["selected"], "layer"])
    tables.write(args.out, table, "neurons")


if __name__ == "__main__":
    run_main(main, "neurons")
