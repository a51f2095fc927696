"""Claims about layers and neurons: activation by direction (5.2, figures 4-5), awareness (5.3-5.4, figures 6-8)."""

import math

import numpy as np

from lander.experiments.claims import judge
from lander.experiments.claims.judge import Found, Result

TABLE_3 = judge.GENUS | {"en": "Romance"}  # as the paper's table 3 has it; English is Germanic


def activation_claims(
    directions: list[str], curves: np.ndarray, deltas: np.ndarray, vectors: np.ndarray | None, seed: int
) -> Found:
    """All claims about activations.

    Args:
        directions: their names.
        curves: (direction, n_layer) mean activation; deltas: the same, D of equation 1, NaN if there is none.
        vectors: (direction, n_layer * p) mean activation of every neuron, or None.
    """
    both = judge.reversed_pairs(directions)
    d = deltas[:, ~np.isnan(deltas).any(axis=0)]
    found = [
        ("curves_alike", alike(curves, seed)),
        ("shallow_alike", judge.part_above_part(curves.std(axis=0), "late", "early", seed)),
        ("pair_curves", judge.pairs_against_others(judge.correlations(curves), both, seed)),
        ("change_at_ends", judge.part_above_part(d.mean(axis=0), "outer", "middle", seed)),
        ("early_overlap", judge.part_above_part(judge.relative_spread(d), "late", "early", seed)),
        ("early_overlap_absolute", judge.part_above_part(d.std(axis=0), "late", "early", seed)),
    ]
    if vectors is not None:
        found.append(("pair_neurons", judge.pairs_against_others(judge.correlations(vectors), both, seed)))
    return found


def awareness_claims(languages: list[str], phi: np.ndarray, owner: np.ndarray, general: np.ndarray, seed: int) -> Found:
    """All claims about awareness.

    Args:
        phi: (language, n_layer, p), as measured, not normalised.
        owner: (n_layer, p), index of a specific neuron's language, -1 for the others.
        general: (n_layer, p) booleans.
    """
    own = np.stack([masked_means(scores, owner == index) for index, scores in enumerate(phi)])
    shared = np.stack([masked_means(scores, general) for scores in phi])  # both (language, n_layer)
    specific = np.stack([masked_means(scores, owner >= 0) for scores in phi])
    by_owner = np.stack([masked_means(phi.mean(axis=0), owner == index) for index in range(len(phi))])
    curves = phi.mean(axis=2)
    by_neuron = [judge.correlations(judge.ranks(phi[:, layer]).astype(float)) for layer in range(phi.shape[1])]
    likeness = {"neuron": np.mean(by_neuron, axis=0), "layer": judge.correlations(curves)}
    return [
        ("kinds_differ", differ(specific, shared, seed)),
        ("specific_rise", rising(own, shared, seed)),
        ("specific_rise_more", rising(own / shared, None, seed)),
        ("awareness_alike", alike(curves, seed)),
        ("middle_alike", judge.part_above_part(judge.relative_spread(curves), "outer", "middle", seed)),
        ("english_highest", highest(languages, curves, seed)),
        ("english_neurons_highest", highest(languages, by_owner, seed)),
        *(
            (f"related_by_{by}{like}", judge.pairs_against_others(table, judge.related_pairs(languages, genus), seed))
            for by, table in likeness.items()
            for like, genus in (("", judge.GENUS), ("_table_3", TABLE_3))
        ),
    ]


def masked_means(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean over the chosen neurons of each layer, (n_layer,); NaN if none is chosen."""
    counts = mask.sum(axis=1)
    return np.divide((values * mask).sum(axis=1), counts, out=np.full(len(counts), np.nan), where=counts > 0)


def alike(curves: np.ndarray, seed: int) -> Result:
    """Whether curves over the layers go up and down together; tested by shuffling the layers of each."""
    if min(curves.shape) < 2:
        return Result()
    apart = ~np.eye(len(curves), dtype=bool)
    plain = np.tile(np.arange(curves.shape[1]), (len(curves), 1))
    shuffled = judge.arrangements(plain, (), math.inf, lambda random: random.permuted(plain, axis=1), seed)
    found = judge.tested(
        lambda order: float(judge.correlations(np.take_along_axis(curves, order, axis=1))[apart].mean()), shuffled
    )
    low = found.verdict == judge.SUPPORTED and found.value < judge.ALIKE
    return found._replace(verdict=judge.NOT_SUPPORTED) if low else found


def differ(specific: np.ndarray, shared: np.ndarray, seed: int) -> Result:
    """Specific against general neurons, layer by layer; two-sided. Both (language, n_layer)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(specific / shared).mean(axis=0)
    logs = logs[np.isfinite(logs)]
    if not len(logs):
        return Result()
    found = judge.tested(lambda sign: abs((logs * sign).mean()), judge.signs(len(logs), seed))
    return found._replace(value=float(np.exp(logs.mean())), control=1.0)


def rising(curves: np.ndarray, control: np.ndarray | None, seed: int) -> Result:
    """Whether curves (language, n_layer) rise with depth; tested by permuting layers."""
    known = curves[np.isfinite(curves).sum(axis=1) >= 3]
    if not len(known):
        return Result()

    def slope(rows: np.ndarray, depth: np.ndarray) -> float:
        return float(np.mean([judge.spearman(row, depth.astype(float)) for row in rows]))

    found = judge.tested(lambda depth: slope(known, depth), judge.orders(curves.shape[1], seed))
    return found._replace(control=0.0 if control is None else slope(control, np.arange(control.shape[1])))


def highest(languages: list[str], curves: np.ndarray, seed: int) -> Result:
    """Whether English is above the others in curves (language, n_layer); tested by renaming them in each layer."""
    layers = np.isfinite(curves).all(axis=0)
    if "en" not in languages or len(languages) < 2 or not layers.any():
        return Result()
    place, curves = languages.index("en"), curves[:, layers]
    means = curves.mean(axis=1)
    relative = curves / np.maximum(curves.mean(axis=0), 1e-300)  # a layer counts as much as any other
    layer, own = np.arange(len(relative[0])), np.full(len(relative[0]), place)
    names = judge.arrangements(own, (), math.inf, lambda random: random.integers(len(relative), size=len(own)), seed)
    found = judge.tested(lambda who: relative[who, layer].mean(), names)
    best = float(np.delete(means, place).max())
    found = found._replace(value=float(means[place]), control=best)
    return found._replace(verdict=judge.NOT_SUPPORTED) if found.value <= best else found
