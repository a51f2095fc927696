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

The control `permute` shuffles the classes and owners among the neurons of a layer: groups of the same sizes, of random
neurons.

Reads:  <run>/awareness/s<seed>/<language>.parquet, <run>/layers/<variant>/s<seed>/layers.parquet
Writes: <run>/neurons/<variant>/s<seed>/neurons.parquet   layer, neuron, variance, kind, language, selected

Example:
    python -m lander.detect.neurons --awareness en.parquet de.parquet --awareness-languages en de \\
        --layers layers.parquet --general-share 0.9 --out neurons.parquet
"""

import argparse
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from lander.config.detect import Neurons
from lander.shared import tables
from lander.shared.errors import UserError, run_main
from lander.shared.files import remedy
from lander.shared.section import add_flags
from lander.shared.tables import GENERAL, SPECIFIC, UNACTIVATED

Rule = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From Phi of a layer's active neurons (language, p): which are general (p,), who owns each if not (language, p)."""


@dataclass(frozen=True)
class Classes:
    """kind: (n_layer, p) of the three words; owned: bool (language, n_layer, p), of the specific ones only."""

    kind: np.ndarray
    owned: np.ndarray


def read_awareness(paths: list[Path], normalize: str) -> np.ndarray:
    """Phi of all languages, normalised: float64 (language, n_layer, p).

    Raises:
        UserError: the tables are of different models, or of a sample of the neurons only.
    """
    scores = []
    for path in paths:
        table = tables.read(path, "awareness")
        if not tables.is_whole(table):
            all_of_them = "score them all (lander.detect.awareness --neurons)"
            raise UserError(f"{path}: only some neurons have a score; {all_of_them}, or {remedy(path)}")
        scores.append(tables.by_layer(table, "score"))
    for path, array in zip(paths, scores, strict=True):
        if array.shape != scores[0].shape:
            other = f"but {paths[0]} has {scores[0].shape}: not the same model"
            raise UserError(f"{path}: scores {array.shape}, {other}; {remedy(path)}")
    return normalized(np.stack(scores), normalize)


def read_layers(path: Path, n_layer: int, directions: Collection[str] = ()) -> pd.DataFrame:
    """The layers table.

    Raises:
        UserError: it is damaged, or has not every layer once for each direction.
    """
    table = tables.read(path, "layers")
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


def by_variance(phi: np.ndarray, threshold: str, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Equation 5; `threshold` is how epsilon is read. On a tie the first language is the owner."""
    split = {"general_share": general_by_share, "literal": general_by_threshold}[threshold]
    owned = np.arange(len(phi))[:, None] == phi.argmax(axis=0)
    return split(phi.var(axis=0), share), owned


def by_sum(phi: np.ndarray, share: float, owner_share: float) -> tuple[np.ndarray, np.ndarray]:
    """Xie et al. 2021; on a tie of sums the lower index is general."""
    return general_by_share(-phi.sum(axis=0), share), phi >= owner_share * phi.max(axis=0)


def by_entropy(phi: np.ndarray, share: float, quantile: float) -> tuple[np.ndarray, np.ndarray]:
    """LAPE; phi are probabilities. On a tie of entropies the lower index is specific.

    The bar is the value at rank round(quantile * n) of all n probabilities, from 1, as theirs.
    """
    if phi.size == 0:
        return np.zeros(phi.shape[1], dtype=bool), phi > 0
    above = phi > np.sort(phi, axis=None)[max(round(quantile * phi.size), 1) - 1]
    order = np.where(above.any(axis=0), entropy(phi), np.inf)
    specific = np.argsort(order, kind="stable")[: phi.shape[1] - round(share * phi.shape[1])]
    general = np.ones(phi.shape[1], dtype=bool)
    general[specific[np.isfinite(order[specific])]] = False
    return general, above


def entropy(phi: np.ndarray) -> np.ndarray:
    """Entropy in nats over the languages of the normalised probabilities, (p,); 0 where no language has any."""
    total = phi.sum(axis=0)
    shares = np.divide(phi, total, out=np.zeros_like(phi), where=total > 0)
    return -(shares * np.log(shares, out=np.zeros_like(shares), where=shares > 0)).sum(axis=0)


def classify(phi: np.ndarray, rule: Rule, unactivated: float | None = None) -> Classes:
    """Class and owners of every neuron of every layer.

    Args:
        phi: (language, n_layer, p) normalised awareness.
        unactivated: neurons whose mean Phi is at most this are unactivated and have no part in the split.
    """
    idle = np.zeros(phi.shape[1:], dtype=bool) if unactivated is None else phi.mean(axis=0) <= unactivated
    kind = np.full(phi.shape[1:], SPECIFIC, dtype=object)
    owned = np.zeros(phi.shape, dtype=bool)
    for layer, off in enumerate(idle):
        active = np.flatnonzero(~off)
        general, owned[:, layer, active] = rule(np.ascontiguousarray(phi[:, layer, active]))
        kind[layer, active[general]] = GENERAL
        kind[layer, off] = UNACTIVATED
    return Classes(kind, owned & (kind == SPECIFIC))


def permuted(classes: Classes, seed: int) -> Classes:
    """The same classes and owners, shuffled among the neurons of each layer."""
    dice = np.random.default_rng(seed)
    kind, owned = classes.kind.copy(), classes.owned.copy()
    for layer in range(len(kind)):
        order = dice.permutation(kind.shape[1])
        kind[layer], owned[:, layer] = kind[layer, order], owned[:, layer, order]
    return Classes(kind, owned)


def table_of(phi: np.ndarray, classes: Classes, languages: list[str]) -> pd.DataFrame:
    """layer, neuron, variance (sigma, population variance over the languages), kind, language: a row for each owner."""
    table = tables.by_neuron({"variance": phi.var(axis=0), "kind": classes.kind})
    owned = classes.owned.reshape(len(languages), -1).T  # (n_layer * p, language)
    rows, owners = np.nonzero(np.column_stack([owned, ~owned.any(axis=1)]))  # the last column: nobody
    table = table.iloc[rows].reset_index(drop=True)
    table["language"] = np.array([*languages, None], dtype=object)[owners]
    return table


@dataclass(frozen=True)
class Split:
    """Which rule divides the neurons, and with which numbers."""

    rule: str = "variance"  # `variance`, `summed` or `entropy`
    general_share: float = 0.9  # epsilon of eq. 5, Xie's rho
    normalize: str = "language_mean"  # of Phi; the entropy reads probabilities as they are
    threshold: str = "general_share"  # rule variance: how epsilon is read
    owner_share: float = 0.7  # rule summed: Xie's k
    activation_quantile: float = 0.95  # rule entropy: LAPE's bar

    def function(self) -> Rule:
        """The rule as a function of a layer's Phi."""
        if self.rule == "summed":
            return lambda phi: by_sum(phi, self.general_share, self.owner_share)
        if self.rule == "entropy":
            return lambda phi: by_entropy(phi, self.general_share, self.activation_quantile)
        return lambda phi: by_variance(phi, self.threshold, self.general_share)

    def prepare(self, phi: np.ndarray) -> np.ndarray:
        """Phi, raw, as the rule reads it.

        Raises:
            UserError: rule entropy, and a score that is no probability.
        """
        if self.rule != "entropy":
            return normalized(phi, self.normalize)
        if phi.max() > 1 or phi.min() < 0:
            raise UserError("rule entropy reads probabilities: score the neurons with `--estimator probability`")
        return phi


def add_split_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of a `Split`; `split_of` reads them."""
    parser.add_argument("--rule", choices=["variance", "summed", "entropy"], default="variance")
    add_flags(parser, Neurons, "general_share", "normalize", "threshold")
    parser.add_argument("--owner-share", type=float, default=0.7, help="rule summed: Xie's k")
    parser.add_argument("--activation-quantile", type=float, default=0.95, help="rule entropy: LAPE's bar")


def split_of(args: argparse.Namespace) -> Split:
    """The split of the flags."""
    return Split(**{field.name: getattr(args, field.name) for field in fields(Split)})


def main() -> None:
    """Read the scores of all languages, classify every neuron, write the table."""
    parser = argparse.ArgumentParser(prog="lander.detect.neurons", description=__doc__.splitlines()[0])
    parser.add_argument("--awareness", type=Path, nargs="+", required=True, help="one table per language")
    parser.add_argument("--awareness-languages", nargs="+", required=True, help="their codes, in the same order")
    parser.add_argument("--layers", type=Path, required=True, help="the layers table")
    add_split_flags(parser)
    add_flags(parser, Neurons, "unactivated")
    parser.add_argument("--permute", type=int, metavar="SEED", help="random neurons: shuffle classes within layers")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    split = split_of(args)
    phi = split.prepare(read_awareness(args.awareness, "none"))
    classes = classify(phi, split.function(), args.unactivated)
    if args.permute is not None:
        classes = permuted(classes, args.permute)
    table = table_of(phi, classes, args.awareness_languages)
    layers = read_layers(args.layers, phi.shape[1])
    table["selected"] = table["layer"].isin(layers.loc[layers["selected"], "layer"])
    tables.write(args.out, table, "neurons")


if __name__ == "__main__":
    run_main(main, "neurons")
