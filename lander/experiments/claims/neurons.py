"""Claims about layers and neurons: activation by direction (5.2, figures 4-5), awareness (5.3-5.4, figures 6-8)."""

import numpy as np

from lander.experiments.claims import judge
from lander.experiments.claims.judge import Verdict, judged

ALIKE = 0.8  # curves of this mean correlation have "a similar trend"
TABLE_3 = judge.GENUS | {"en": "Romance"}  # as the paper's table 3 has it; English is Germanic


def activation_claims(
    directions: list[str], curves: np.ndarray, deltas: np.ndarray, vectors: np.ndarray | None, seed: int
) -> list[Verdict]:
    """All claims about activations.

    Args:
        directions: their names.
        curves: (direction, n_layer) mean activation; deltas: the same, D of equation 1, NaN if there is none.
        vectors: (direction, n_layer * p) mean activation of every neuron, or None.
    """
    both = judge.reversed_pairs(directions)
    d = deltas[:, ~np.isnan(deltas).any(axis=0)]
    found = [
        alike("all directions have similar activation curves", "5.2, figure 4", curves, seed),
        judged(
            "the curves are more alike in shallow layers", "5.2, figure 4",
            "standard deviation of the activation over directions: late half against early half",
            judge.part_above_part(curves.std(axis=0), "late", "early", seed),
        ),
        judged(
            "both directions of a pair have the more similar activation curves", "5.2, figure 4",
            "mean correlation of the curves of d and reversed d against all other pairs of directions",
            judge.pairs_against_others(judge.correlations(curves), both, seed),
        ),
        judged(
            "the change of activation is larger in early and late layers than between", "5.2, figure 5",
            "mean D over directions: first and last third against the middle",
            judge.part_above_part(d.mean(axis=0), "outer", "middle", seed),
        ),
        judged(
            "early layers overlap between language pairs, late ones do not", "5.2, figure 5",
            "spread of D over directions (standard deviation / mean): late half against early half",
            judge.part_above_part(judge.relative_spread(d), "late", "early", seed),
        ),
        judged(
            "early layers overlap between language pairs, late ones do not (absolute)", "5.2, figure 5",
            "standard deviation of D over directions: late half against early half",
            judge.part_above_part(d.std(axis=0), "late", "early", seed),
        ),
    ]  # fmt: skip
    if vectors is not None:
        statistic = "mean correlation of the activations of all neurons: d and reversed d against all other pairs"
        claim = "both directions of a pair have the more similar activations, neuron by neuron"
        found.append(
            judged(claim, "5.2", statistic, judge.pairs_against_others(judge.correlations(vectors), both, seed))
        )
    return found


def awareness_claims(
    languages: list[str], phi: np.ndarray, owner: np.ndarray, general: np.ndarray, seed: int
) -> list[Verdict]:
    """All claims about awareness.

    Args:
        phi: (language, n_layer, p), as measured, not normalised.
        owner: (n_layer, p), index of a specific neuron's language, -1 for the others.
        general: (n_layer, p) booleans.
    """
    own = np.stack([masked_means(phi[index], owner == index) for index in range(len(languages))])
    shared = np.stack([masked_means(scores, general) for scores in phi])  # both (language, n_layer)
    specific = np.stack([masked_means(scores, owner >= 0) for scores in phi])
    by_owner = np.stack([masked_means(phi.mean(axis=0), owner == index) for index in range(len(languages))])
    curves = phi.mean(axis=2)
    by_layer = [judge.correlations(judge.ranks(phi[:, layer]).astype(float)) for layer in range(phi.shape[1])]
    return [
        differ(specific, shared, seed),
        rising(
            "specific neurons score higher in late layers", "5.4, figure 7", own, shared,
            "rank correlation of depth and a language's awareness of its own neurons, mean over languages; "
            "control: of the general neurons", seed,
        ),
        rising(
            "specific neurons rise more with depth than general ones", "5.4, figures 6-7", own / shared, None,
            "rank correlation of depth and specific / general awareness, mean over languages", seed,
        ),
        alike("awareness goes the same way through the layers in all languages", "5.4, figure 8", curves, seed),
        judged(
            "it does so most in the intermediate layers", "5.4, figure 8",
            "spread over languages (standard deviation / mean): outer thirds against the middle",
            judge.part_above_part(judge.relative_spread(curves), "outer", "middle", seed),
        ),
        highest("English has the highest awareness", "5.4, figure 8", languages, curves, seed),
        highest(
            "the neurons that are specific to English score highest in all languages", "5.4", languages, by_owner, seed
        ),
        *related(languages, np.mean(by_layer, axis=0), "neuron by neuron", "ranks in a layer, mean over layers", seed),
        *related(languages, judge.correlations(curves), "layer by layer", "means of the layers", seed),
    ]  # fmt: skip


def alike(claim: str, where: str, curves: np.ndarray, seed: int) -> Verdict:
    """Whether curves over the layers go up and down together; tested by shuffling the layers of each."""
    statistic = "mean correlation between curves; control: layers of each shuffled"
    rule = f"mean correlation >= {ALIKE:g}, permutation p <= {judge.ALPHA:g}"
    if min(curves.shape) < 2:
        return Verdict(claim, where, statistic, rule=rule)
    apart = ~np.eye(len(curves), dtype=bool)
    test = judge.tested(
        lambda order: float(judge.correlations(np.take_along_axis(curves, order, axis=1))[apart].mean()),
        judge.shuffles(*curves.shape, seed),
    )
    verdict = judge.NOT_SUPPORTED if test.verdict == judge.SUPPORTED and test.value < ALIKE else test.verdict
    return Verdict(claim, where, statistic, test.value, test.mean, test.p, verdict, rule)


def masked_means(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean over the chosen neurons of each layer, (n_layer,); NaN if none is chosen."""
    counts = mask.sum(axis=1)
    return np.divide((values * mask).sum(axis=1), counts, out=np.full(len(counts), np.nan), where=counts > 0)


def differ(specific: np.ndarray, shared: np.ndarray, seed: int) -> Verdict:
    """Specific against general neurons, layer by layer; two-sided. Both (language, n_layer)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(specific / shared).mean(axis=0)
    logs = logs[np.isfinite(logs)]
    claim, where = "general and specific neurons differ in awareness", "5.3, figures 6-7"
    statistic = "mean ratio, specific / general; control: 1. The classes are cut by the variance of the same scores"
    rule = f"either way, p <= {judge.ALPHA:g} (signs of the layers' log ratios flipped)"
    if not len(logs):
        return Verdict(claim, where, statistic, rule=rule)
    test = judge.tested(lambda sign: abs((logs * sign).mean()), judge.signs(len(logs), seed))
    return judged(claim, where, statistic, (float(np.exp(logs.mean())), 1.0, test), rule)


def rising(
    claim: str, where: str, curves: np.ndarray, control: np.ndarray | None, statistic: str, seed: int
) -> Verdict:
    """Whether curves (language, n_layer) rise with depth; tested by permuting layers."""
    rule = f"value above 0, permutation p <= {judge.ALPHA:g}"
    known = curves[np.isfinite(curves).sum(axis=1) >= 3]
    if not len(known):
        return Verdict(claim, where, statistic, rule=rule)

    def slope(rows: np.ndarray, depth: np.ndarray) -> float:
        return float(np.mean([judge.spearman(row, depth.astype(float)) for row in rows]))

    test = judge.tested(lambda depth: slope(known, depth), judge.orders(curves.shape[1], seed))
    beside = 0.0 if control is None else slope(control, np.arange(control.shape[1]))
    return judged(claim, where, statistic, (test.value, beside, test), rule)


def highest(claim: str, where: str, languages: list[str], curves: np.ndarray, seed: int) -> Verdict:
    """Whether English is above the other languages; tested by renaming the languages in each layer.

    Args:
        curves: (language, n_layer), NaN if there is none.
    """
    statistic = "English's mean over layers; control: the highest of the others. Test: its lead over their mean"
    rule = f"above every other language's mean, permutation p <= {judge.ALPHA:g}"
    layers = np.isfinite(curves).all(axis=0)
    if "en" not in languages or len(languages) < 2 or not layers.any():
        return Verdict(claim, where, statistic, rule=rule)
    place, curves = languages.index("en"), curves[:, layers]
    means = curves.mean(axis=1)
    relative = curves / np.maximum(curves.mean(axis=0), 1e-300)  # a layer counts as much as any other
    random = np.random.default_rng(seed)
    names = [np.full(curves.shape[1], place), *random.integers(len(languages), size=(judge.DRAWS - 1, curves.shape[1]))]
    test = judge.tested(lambda who: relative[who, np.arange(len(who))].mean(), names)
    best = float(np.delete(means, place).max())
    verdict = judge.NOT_SUPPORTED if means[place] <= best else test.verdict
    return Verdict(claim, where, statistic, float(means[place]), best, test.p, verdict, rule)


def related(languages: list[str], likeness: np.ndarray, how: str, of: str, seed: int) -> list[Verdict]:
    """Whether languages of one genus are more alike, by the true genera and by those that table 3 prints."""
    found = []
    for genus, name in ((judge.GENUS, ""), (TABLE_3, " (English as Romance, as table 3 has it)")):
        statistic = f"mean correlation of awareness, {of}: pairs of one genus against others"
        result = judge.pairs_against_others(likeness, judge.related_pairs(languages, genus), seed)
        found.append(judged(f"related languages are alike, {how}{name}", "5.4, figure 8", statistic, result))
    return found
