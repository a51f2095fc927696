"""Claims about scores: methods (4.3-4.4, 5.5), transfer (5.1), k and epsilon (A.3-A.4), clusters (A.5)."""

import itertools
import math
from collections import Counter

import numpy as np
import pandas as pd

from lander.experiments.claims import judge
from lander.experiments.claims.judge import Found, Result
from lander.experiments.samples import MAIN
from lander.shared.languages import parse_direction

HURTS, HURT = "de-en", "ar-en"  # the paper's example: training the first does not help the second, or hurts it
BEST = {"k": 4, "epsilon": 0.9}  # the paper's


def transfer_claims(table: pd.DataFrame, seed: int) -> Found:
    """Figure 3.

    Args:
        table: trained, tested, change of the score against the base, of one method; `mean_to_better`, if it is there,
            is the change against the base's better prompt.
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
    return judge.pairs_against_others(mean, judge.related_pairs(codes, judge.GENUS), seed)


def method_claims(scores: pd.DataFrame, seed: int) -> Found:
    """Tables 1 and 2, figure 9.

    Args:
        scores: method, variant (main, or a draw of a control), seed, direction (no means), score; of one test set and
            metric.
    """
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

    Args:
        table: the key (k or epsilon) and score; several rows of a value are seeds, or `spread` is their standard
            deviation.
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
    """Figures 12 and 13. Args: table: the scores of `lander.experiments.clusters`; a row per layer."""
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
