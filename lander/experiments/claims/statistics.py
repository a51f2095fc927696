"""What is found under the key of each claim (`claims.yaml`): from activations and awareness, then from scores."""

import itertools
import math
from collections import Counter

import numpy as np
import pandas as pd

from lander.experiments.claims import judge
from lander.experiments.claims.judge import Found, Result
from lander.experiments.samples import MAIN
from lander.shared.languages import base_language, parse_direction

TABLE_3 = judge.GENUS | {"en": "Romance"}  # as the paper's table 3 has it; English is Germanic
HURTS, HURT = "de-en", "ar-en"  # the paper's example: training the first does not help the second, or hurts it
BEST = {"k": 4, "epsilon": 0.9}  # the paper's


# ---------------------------------------------------------------- layers and neurons: 5.2-5.4, figures 4-8


def activation_claims(
    directions: list[str], curves: np.ndarray, deltas: np.ndarray, vectors: np.ndarray | None, seed: int
) -> Found:
    """All claims about activations, from means of layers (`curves`, direction x n_layer), D of equation 1 (`deltas`,
    the same; NaN if there is none) and, if they are known, means of neurons (`vectors`, direction x n_layer * p)."""
    both = [parse_direction(name).pair for name in directions]
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
    """All claims about awareness, from raw Phi (language, n_layer, p) and, for each neuron (n_layer, p), the index of
    the language to which it is specific (`owner`; -1: none) and whether it is general."""
    own = np.stack([masked_means(scores, owner == index) for index, scores in enumerate(phi)])
    shared = np.stack([masked_means(scores, general) for scores in phi])  # both (language, n_layer)
    specific = np.stack([masked_means(scores, owner >= 0) for scores in phi])
    by_owner = np.stack([masked_means(phi.mean(axis=0), owner == index) for index in range(len(phi))])
    curves, codes = phi.mean(axis=2), list(map(base_language, languages))
    by_neuron = [judge.correlations(judge.ranks(phi[:, layer]).astype(float)) for layer in range(phi.shape[1])]
    likeness = {"neuron": np.mean(by_neuron, axis=0), "layer": judge.correlations(curves)}
    return [
        ("kinds_differ", differ(specific, shared, seed)),
        ("specific_rise", rising(own, shared, seed)),
        ("specific_rise_more", rising(own / shared, None, seed)),
        ("awareness_alike", alike(curves, seed)),
        ("middle_alike", judge.part_above_part(judge.relative_spread(curves), "outer", "middle", seed)),
        ("english_highest", highest(codes, curves, seed)),
        ("english_neurons_highest", highest(codes, by_owner, seed)),
        *(
            (f"related_by_{by}{like}", judge.pairs_against_others(table, [genus.get(code) for code in codes], seed))
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


# ---------------------------------------------------------------- scores: 4.3-4.4, 5.1, 5.5, A.3-A.5


def transfer_claims(table: pd.DataFrame, seed: int) -> Found:
    """Figure 3, from the columns trained, tested and change (of the score against the base) of one method.

    `mean_to_better`, if it is there, is the change against the base's better prompt.
    """
    claims = {"helps": "change", "helps_beyond_prompt": "mean_to_better"}
    claims = {key: column for key, column in claims.items() if column in table}
    untrained = table[table["trained"] != table["tested"]]
    cells = untrained.groupby(["trained", "tested"], as_index=False)[list(claims.values())].mean()
    found, hurts = [(key, _helps(cells, column, seed)) for key, column in claims.items()], Result()
    mine, tested_on = cells["trained"] == HURTS, cells["tested"] == HURT
    cell = cells.loc[mine & tested_on, "change"]
    if len(cell):
        value, share = float(cell.iloc[0]), float((cells["change"] <= cell.iloc[0]).mean())
        verdict = judge.SUPPORTED if value <= 0 or share <= judge.LOWEST else judge.NOT_SUPPORTED
        hurts = Result(value, float(cells.loc[mine & ~tested_on, "change"].mean()), share, verdict)
    return [*found, ("hurts", hurts), ("near", _near_and_far(cells, seed))]


def _helps(cells: pd.DataFrame, column: str, seed: int) -> Result:
    """Whether the mean change is above 0; the unit is a trained direction."""
    rows = cells.groupby("trained")[column].mean().to_numpy()
    found = judge.tested(lambda sign: (rows * sign).mean(), judge.signs(len(rows), seed))
    return found._replace(control=0.0, note=f" ({(cells[column] > 0).mean():.0%} of the cells above 0)")


def _near_and_far(cells: pd.DataFrame, seed: int) -> Result:
    """Transfer between the languages that are not the hub (the one that most directions have)."""
    parsed = {name: parse_direction(name) for name in {*cells["trained"], *cells["tested"]}}
    count = Counter(code for d in parsed.values() for code in (d.source, d.target))
    hub = max(sorted(count), key=count.get)
    foreign = {name: next(code for code in (d.source, d.target) if code != hub) for name, d in parsed.items()}
    codes = sorted(set(foreign.values()))
    sums, counts = np.zeros((2, len(codes), len(codes)))
    for row in cells.itertuples():
        i, j = codes.index(foreign[row.trained]), codes.index(foreign[row.tested])
        for place in {(i, j), (j, i)}:
            sums[place] += row.change
            counts[place] += 1
    mean = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    return judge.pairs_against_others(mean, [judge.GENUS.get(base_language(code)) for code in codes], seed)


def method_claims(scores: pd.DataFrame, seed: int) -> Found:
    """Tables 1 and 2, figure 9, from scores of one test set and metric; variants are main and draws of a control."""
    wide = scores[scores["variant"] == MAIN].pivot_table(index="direction", columns="method", values="score")
    pairs = {key: claim["methods"] for key, claim in judge.CLAIMS.items() if "methods" in claim}
    found = [(key, _better(wide.reindex(columns=pair).dropna(), seed)) for key, pair in pairs.items()]
    return [*found, ("detected_above_random", _detected(scores, seed))]


def _better(both: pd.DataFrame, seed: int) -> Result:
    """Whether the first method beats the second over the directions; tested by flipping signs of the differences."""
    if both.empty:
        return Result()
    first, second = both.to_numpy().T
    difference = first - second
    found = judge.tested(lambda sign: (difference * sign).mean(), judge.signs(len(difference), seed))
    note = f" ({(difference > 0).sum()} of {len(difference)} directions)"
    return found._replace(value=float(first.mean()), control=float(second.mean()), note=note)


def _detected(scores: pd.DataFrame, seed: int) -> Result:
    """Whether detected neurons beat random ones. Each draw at each seed is a unit: directions share their model's luck.

    At every seed the detected neurons could be any of the models: the test permutes which of them counts as detected.
    """
    means = scores.groupby(["method", "variant", "seed"])["score"].mean().reset_index()
    own = means[(means["method"] == "landermt") & (means["variant"] == MAIN)].set_index("seed")["score"]
    drawn = means[means["method"] == "random"].groupby("seed")["score"]
    # for each seed that both have: the mean score of landermt, then those of the draws of random
    groups = [np.array([own[number], *values]) for number, values in drawn if number in own.index]
    if not groups:
        return Result()

    def lead(places: tuple[int, ...]) -> float:
        return float(np.mean([one[i] - np.delete(one, i).mean() for one, i in zip(groups, places, strict=True)]))

    sizes = [len(group) for group in groups]
    every, own = itertools.product(*map(range, sizes)), (0,) * len(groups)
    places = judge.arrangements(own, every, math.prod(sizes), lambda random: random.integers(sizes), seed)
    draws = sum(sizes) - len(groups)
    return judge.tested(lead, places)._replace(
        value=float(np.mean([group[0] for group in groups])),
        control=float(np.mean([group[1:].mean() for group in groups])),
        note=f" ({len(groups)} seed{'s' * (len(groups) > 1)}, {draws} draw{'s' * (draws > 1)})",
    )


def peak_claims(table: pd.DataFrame, key: str) -> Found:
    """Figures 10 and 11: not testable with one seed, as any lead could be chance.

    Several rows of a value of the key (k or epsilon) are seeds, or `spread` is their standard deviation.
    """
    if table[key].nunique() < 3:
        return []
    groups = table.groupby(key)["score"]
    means = groups.mean().sort_index()
    variance = groups.var() if "spread" not in table else table["spread"] ** 2
    spread = float(np.sqrt(variance.mean()))  # of the values that several seeds have trained
    at, first, last = float(means.idxmax()), means.iloc[0], means.iloc[-1]
    peak = at not in (means.index[0], means.index[-1]) and means.max() > max(first, last) + spread
    right = peak and abs(at - BEST[key]) <= np.abs(means.index.to_numpy() - BEST[key]).min() + 1e-12
    note = f": score {means.max():.4g} there, {first:.4g} and {last:.4g} at the ends"
    found = []
    for claim, true, control in ((f"{key}_inside", peak, math.nan), (f"{key}_there", right, BEST[key])):
        verdict = judge.NOT_TESTABLE if np.isnan(spread) else judge.SUPPORTED if true else judge.NOT_SUPPORTED
        found.append((claim, Result(at, control, math.nan, verdict, note)))
    return found


def cluster_claims(table: pd.DataFrame) -> Found:
    """Figures 12 and 13, from clusters.csv."""
    found = []
    for row in table[table["score"] == "silhouette"].itertuples():
        mixed = row.value <= judge.MIXED
        apart = not mixed and row.value > row.control_mean and row.p <= judge.ALPHA
        claims = {"general": ("general_mixed", mixed), "specific": ("specific_apart", apart)}
        if row.group in claims:
            claim, true = claims[row.group]
            verdict = judge.SUPPORTED if true else judge.NOT_SUPPORTED
            found.append((claim, Result(row.value, row.control_mean, row.p, verdict, of=f" (layer {row.layer})")))
    return found
