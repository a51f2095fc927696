"""Sections 5.3 and 5.4, figures 6 to 8: how the awareness of the neurons goes with layer, class and language."""

import numpy as np

from lander.experiments.claims import judge
from lander.experiments.claims.activations import alike, relative_spread
from lander.experiments.claims.judge import Verdict, judged

GENERA = {  # of the languages people score; WALS
    "Germanic": "en de nl af da sv nb nn no is fy lb",
    "Romance": "fr it es pt ro ca gl oc",
    "Slavic": "ru uk be pl cs sk sl hr sr bs bg mk",
    "Baltic": "lt lv",
    "Celtic": "ga gd cy br",
    "Indic": "hi bn ur mr gu pa ne si",
    "Iranian": "fa ps ku tg",
    "Semitic": "ar he am mt",
    "Chinese": "zh yue",
    "Finnic": "fi et",
    "Turkic": "tr az kk uz ky",
    "Dravidian": "ta te kn ml",
}
GENUS = {code: genus for genus, codes in GENERA.items() for code in codes.split()}
TABLE_3 = GENUS | {"en": "Romance"}  # as the paper's table 3 has it; English is Germanic


def claims(languages: list[str], phi: np.ndarray, owner: np.ndarray, general: np.ndarray, seed: int) -> list[Verdict]:
    """All claims about awareness.

    Args:
        phi: (language, n_layer, p), as measured, not normalised.
        owner: (n_layer, p), index of a specific neuron's language, -1 for the others; general: (n_layer, p) booleans.
    """
    own = np.stack([masked_means(phi[index], owner == index) for index in range(len(languages))])
    shared = np.stack([masked_means(scores, general) for scores in phi])  # both (language, n_layer)
    specific = np.stack([masked_means(scores, owner >= 0) for scores in phi])
    curves = phi.mean(axis=2)
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
            judge.part_above_part(relative_spread(curves), "outer", "middle", seed),
        ),
        highest("English has the highest awareness", "5.4, figure 8", languages, curves, seed),
        highest(
            "the neurons that are specific to English score highest in all languages", "5.4", languages,
            np.stack([masked_means(phi.mean(axis=0), owner == index) for index in range(len(languages))]), seed,
        ),
        *related(languages, neuron_likeness(phi), "neuron by neuron", "ranks in a layer, mean over layers", seed),
        *related(languages, judge.correlations(curves), "layer by layer", "means of the layers", seed),
    ]  # fmt: skip


def masked_means(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean over the chosen neurons of each layer, (n_layer,); NaN where none is chosen."""
    counts = mask.sum(axis=1)
    sums = (values * mask).sum(axis=1)
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)


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
    return Verdict(claim, where, statistic, float(np.exp(logs.mean())), 1.0, test.p, test.verdict, rule)


def rising(
    claim: str, where: str, curves: np.ndarray, control: np.ndarray | None, statistic: str, seed: int
) -> Verdict:
    """Whether curves (language, n_layer) rise with depth; tested by permuting layers."""
    rule = f"value above 0, permutation p <= {judge.ALPHA:g}"
    known = curves[np.isfinite(curves).sum(axis=1) >= 3]
    if not len(known):
        return Verdict(claim, where, statistic, rule=rule)

    def slope(rows: np.ndarray, depth: np.ndarray) -> float:
        return float(np.mean([judge.spearman(row, depth) for row in rows]))

    test = judge.tested(lambda depth: slope(known, depth.astype(float)), judge.orders(curves.shape[1], seed))
    beside = 0.0 if control is None else slope(control, np.arange(control.shape[1], dtype=float))
    return Verdict(claim, where, statistic, test.value, beside, test.p, test.verdict, rule)


def highest(claim: str, where: str, languages: list[str], curves: np.ndarray, seed: int) -> Verdict:
    """Whether English is above the other languages; tested by renaming the languages in each layer.

    Args:
        curves: (language, n_layer), NaN where there is none.
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


def neuron_likeness(phi: np.ndarray) -> np.ndarray:
    """(language, language) rank correlation of the scores of a layer's neurons, mean over layers."""
    return np.mean([judge.correlations(judge.ranks(phi[:, layer]).astype(float)) for layer in range(phi.shape[1])], 0)


def related(languages: list[str], likeness: np.ndarray, how: str, of: str, seed: int) -> list[Verdict]:
    """Whether languages of one genus are more alike, by the true genera and by those that table 3 prints."""
    found = []
    for genus, name in ((GENUS, ""), (TABLE_3, " (English as Romance, as table 3 has it)")):
        statistic = f"mean correlation of awareness, {of}: pairs of one genus against others"
        result = judge.pairs_against_others(likeness, related_pairs(languages, genus), seed)
        found.append(judged(f"related languages are alike, {how}{name}", "5.4, figure 8", statistic, result))
    return found


def related_pairs(languages: list[str], genus: dict[str, str]) -> list[tuple[int, int]]:
    """Places of the pairs of languages of one genus; codes like zh-Hant count as zh."""
    of = [genus.get(code.split("-")[0]) for code in languages]
    return [
        (i, j) for i in range(len(of)) for j in range(i + 1, len(of)) if of[i] is not None and of[i] == of[j]
    ]  # fmt: skip
