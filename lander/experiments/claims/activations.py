"""Section 5.2, figures 4 and 5: how the activation of the layers goes with the direction."""

import numpy as np

from lander.experiments.claims import judge
from lander.experiments.claims.judge import Verdict, judged
from lander.shared.languages import parse_direction

ALIKE = 0.8  # curves of this mean correlation have "a similar trend"


def claims(
    directions: list[str], curves: np.ndarray, deltas: np.ndarray, vectors: np.ndarray | None, seed: int
) -> list[Verdict]:
    """All claims about activations.

    Args:
        directions: their names.
        curves: (direction, n_layer) mean activation; deltas: the same, D of equation 1, NaN where there is none.
        vectors: (direction, n_layer * p) mean activation of every neuron, or None.
    """
    both = reversed_pairs(directions)
    d = deltas[:, ~np.isnan(deltas).any(axis=0)]
    spread, raw = relative_spread(d), d.std(axis=0)
    found = [
        alike("all directions have similar activation curves", "5.2, figure 4", curves, seed),
        judged(
            "the curves are more alike in shallow layers",
            "5.2, figure 4",
            "standard deviation of the activation over directions: late half against early half",
            judge.part_above_part(curves.std(axis=0), "late", "early", seed),
        ),
        judged(
            "both directions of a pair have the more similar activation curves",
            "5.2, figure 4",
            "mean correlation of the curves of d and reversed d against all other pairs of directions",
            judge.pairs_against_others(judge.correlations(curves), both, seed),
        ),
        judged(
            "the change of activation is larger in early and late layers than between",
            "5.2, figure 5",
            "mean D over directions: first and last third against the middle",
            judge.part_above_part(d.mean(axis=0), "outer", "middle", seed),
        ),
        judged(
            "early layers overlap between language pairs, late ones do not",
            "5.2, figure 5",
            "spread of D over directions (standard deviation / mean): late half against early half",
            judge.part_above_part(spread, "late", "early", seed),
        ),
        judged(
            "early layers overlap between language pairs, late ones do not (absolute)",
            "5.2, figure 5",
            "standard deviation of D over directions: late half against early half",
            judge.part_above_part(raw, "late", "early", seed),
        ),
    ]
    if vectors is not None:
        vector_likeness = judge.pairs_against_others(judge.correlations(vectors), both, seed)
        statistic = "mean correlation of the activations of all neurons: d and reversed d against all other pairs"
        claim = "both directions of a pair have the more similar activations, neuron by neuron"
        found.append(judged(claim, "5.2", statistic, vector_likeness))
    return found


def alike(claim: str, where: str, curves: np.ndarray, seed: int) -> Verdict:
    """Whether curves over the layers go up and down together; tested by shuffling the layers of each."""
    statistic = "mean correlation between curves; control: layers of each shuffled"
    rule = f"mean correlation >= {ALIKE:g}, permutation p <= {judge.ALPHA:g}"
    if min(curves.shape) < 2:
        return Verdict(claim, where, statistic, rule=rule)
    test = judge.tested(
        lambda order: judge.mean_pair(judge.correlations(np.take_along_axis(curves, order, axis=1))),
        judge.shuffles(*curves.shape, seed),
    )
    verdict = test.verdict
    if verdict == judge.SUPPORTED and test.value < ALIKE:
        verdict = judge.NOT_SUPPORTED
    return Verdict(claim, where, statistic, test.value, test.mean, test.p, verdict, rule)


def relative_spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation over rows divided by their mean, per column; zero where the mean is."""
    mean = np.abs(values.mean(axis=0))
    return np.divide(values.std(axis=0), mean, out=np.zeros_like(mean), where=mean > 0)


def reversed_pairs(directions: list[str]) -> list[tuple[int, int]]:
    """Places of the directions whose reverse is there too, lower place first."""
    parsed = [parse_direction(name) for name in directions]
    return [
        (i, j)
        for i, one in enumerate(parsed)
        for j, other in enumerate(parsed)
        if i < j and (one.source, one.target) == (other.target, other.source)
    ]
