"""Claims about scores: methods (4.3-4.4, 5.5), transfer (5.1), k and epsilon (A.3-A.4), clusters (A.5)."""

import itertools
import math
from collections import Counter

import numpy as np
import pandas as pd

from lander.experiments.claims import judge
from lander.experiments.claims.judge import Found, Verdict, judged
from lander.experiments.samples import MAIN
from lander.shared.languages import parse_direction

HURTS, HURT = "de-en", "ar-en"  # the paper's example: training the first does not help the second, or hurts it
LOWEST = 0.1  # a cell among this share of the lowest "does not improve significantly"


def transfer_claims(table: pd.DataFrame | None, seed: int) -> list[Verdict]:
    """Figure 3.

    Args:
        table: trained, tested, change of the score against the base, of one method; `mean_to_better`, if it is there,
            is the change against the base's better prompt.
    """
    where = "5.1, figure 3"
    helps = "training one direction improves the others"
    hurts = f"training {HURTS} hurts {HURT}, or does not help it"
    near = "transfer is better between related languages"
    rule_hurts = f"change <= 0, or among the lowest {LOWEST:.0%} of all cells (p: share of cells as low)"
    if table is None:
        return [
            Verdict(helps, where, "mean change over untrained directions"),
            Verdict(hurts, where, "change", rule=rule_hurts),
            Verdict(near, where, "mean change, languages of one genus against others"),
        ]
    cells = _untrained_cells(table, "change")
    found = [_helps(helps, where, cells, seed)]
    if "mean_to_better" in table:
        claim = f"(control, not in the paper) {helps}, against the base's better prompt too"
        found.append(_helps(claim, "-", _untrained_cells(table, "mean_to_better"), seed))
    mine, tested_on = cells["trained"] == HURTS, cells["tested"] == HURT
    cell = cells.loc[mine & tested_on, "change"]
    if cell.empty:
        found.append(Verdict(hurts, where, "change", rule=rule_hurts))
    else:
        value, share = float(cell.iloc[0]), float((cells["change"] <= cell.iloc[0]).mean())
        beside = float(cells.loc[mine & ~tested_on, "change"].mean())
        verdict = judge.SUPPORTED if value <= 0 or share <= LOWEST else judge.NOT_SUPPORTED
        statistic = f"change of {HURT}; control: mean change of the other directions that were not trained"
        found.append(Verdict(hurts, where, statistic, value, beside, share, verdict, rule_hurts))
    statistic = "mean change, by the languages that are not shared: of one genus against others"
    return [*found, judged(near, where, statistic, _near_and_far(cells, seed))]


def _untrained_cells(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """trained, tested, change: the means of the directions that were not trained."""
    cells = table.groupby(["trained", "tested"])[column].mean().rename("change").reset_index()
    return cells[cells["trained"] != cells["tested"]]


def _helps(claim: str, where: str, cells: pd.DataFrame, seed: int) -> Verdict:
    """Whether the mean change is above 0; the unit is a trained direction."""
    rows = cells.groupby("trained")["change"].mean().to_numpy()
    test = judge.tested(lambda sign: (rows * sign).mean(), judge.signs(len(rows), seed))
    positive = (cells["change"] > 0).mean()
    statistic = f"mean change over untrained directions ({positive:.0%} of the cells above 0); control: 0"
    rule = f"value above 0, p <= {judge.ALPHA:g} (signs of the trained directions flipped)"
    return judged(claim, where, statistic, (float(rows.mean()), 0.0, test), rule)


def _near_and_far(cells: pd.DataFrame, seed: int) -> Found:
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


def method_claims(scores: pd.DataFrame | None, seed: int) -> list[Verdict]:
    """Tables 1 and 2, figure 9.

    Args:
        scores: method, variant (main, or a draw of a control), seed, direction (no means), score; of one test set and
            metric.
    """
    wide = None
    if scores is not None:
        wide = scores[scores["variant"] == MAIN].pivot_table(index="direction", columns="method", values="score")
    pairs = [
        ("LANDeRMT is better than Adapter-LoRA", "5.5, figure 9; table 1", "landermt", "adapter-lora"),
        ("LANDeRMT is better than full finetuning", "4.3, table 1", "landermt", "full"),
        ("LANDeRMT is better than LoRA", "4.3, table 1", "landermt", "lora"),
        ("LANDeRMT is better than the adapter", "4.3, table 1", "landermt", "adapter"),
        ("LANDeRMT is better than training whole layers", "4.4, table 2", "landermt", "layers"),
        ("general neurons alone are better than whole layers", "4.4, table 2", "landermt-lg", "layers"),
        ("specific neurons alone are worse than whole layers", "4.4, table 2", "layers", "landermt-ls"),
    ]
    return [*(better(*pair, wide, seed) for pair in pairs), detected_claim(scores, seed)]


def better(claim: str, where: str, first: str, second: str, wide: pd.DataFrame | None, seed: int) -> Verdict:
    """Whether one method beats another over the directions; tested by flipping signs of the differences."""
    statistic = f"mean score over directions, {first}; control: {second}"
    rule = (
        f"value above control, p <= {judge.ALPHA:g} (signs of the directions' differences flipped: of these trainings, "
        "it does not say what other seeds would do)"
    )
    both = pd.DataFrame() if wide is None else wide.reindex(columns=[first, second]).dropna()
    if both.empty:
        return Verdict(claim, where, statistic, rule=rule)
    difference = (both[first] - both[second]).to_numpy()
    test = judge.tested(lambda sign: (difference * sign).mean(), judge.signs(len(difference), seed))
    statistic += f" ({(difference > 0).sum()} of {len(difference)} directions)"
    return judged(claim, where, statistic, (float(both[first].mean()), float(both[second].mean()), test), rule)


def detected_claim(scores: pd.DataFrame | None, seed: int) -> Verdict:
    """Whether detected neurons beat random ones. Each draw at each seed is a unit: directions share their model's luck.

    At every seed the detected neurons could be any of the models: the test permutes which of them counts as detected.
    """
    claim = "(control, not in the paper) detected neurons are better than random ones"
    statistic = "mean score over directions, landermt; control: the draws of random at the same seeds"
    rule = f"value above control, p <= {judge.ALPHA:g} (which model of a seed is landermt's permuted; a unit is a draw)"
    groups = []  # for each seed that both have: the mean score of landermt, then those of the draws of random
    if scores is not None:
        means = scores.groupby(["method", "variant", "seed"])["score"].mean().reset_index()
        own = means[(means["method"] == "landermt") & (means["variant"] == MAIN)].set_index("seed")["score"]
        drawn = means[means["method"] == "random"].groupby("seed")["score"]
        groups = [np.array([own[number], *values]) for number, values in drawn if number in own.index]
    if not groups:
        return Verdict(claim, "-", statistic, rule=rule)
    draws = sum(len(group) - 1 for group in groups)
    statistic += f" ({len(groups)} seed{'s' * (len(groups) > 1)}, {draws} draw{'s' * (draws > 1)})"

    def lead(places: tuple[int, ...]) -> float:
        return float(np.mean([one[i] - np.delete(one, i).mean() for one, i in zip(groups, places, strict=True)]))

    sizes = [len(group) for group in groups]
    random = np.random.default_rng(seed)
    places = itertools.product(*map(range, sizes))
    if math.prod(sizes) > judge.ALL:
        places = [(0,) * len(groups), *(tuple(random.integers(sizes)) for _ in range(judge.DRAWS - 1))]
    control = float(np.mean([group[1:].mean() for group in groups]))
    return judged(
        claim, "-", statistic, (float(np.mean([one[0] for one in groups])), control, judge.tested(lead, places)), rule
    )


def peak_claims(table: pd.DataFrame | None, key: str, where: str, best: float) -> list[Verdict]:
    """Figures 10 and 11: not testable with one seed, as any lead could be chance.

    Args:
        table: the key and score; several rows of a key are seeds, or `spread` is their standard deviation.
        best: the paper's.
    """
    inside = f"the score has its peak between the smallest and the largest {key}"
    there = f"the best {key} is the paper's, {best:g}"
    rule_inside = "the best mean lies inside, and above both ends by more than one standard deviation over seeds"
    rule_there = f"no tested {key} is nearer to the paper's, and it passes the test of the peak"
    if table is None or table[key].nunique() < 3:
        statistic = f"best {key}; control: none"
        both = ((inside, rule_inside), (there, rule_there))
        return [Verdict(claim, where, statistic, rule=rule) for claim, rule in both]
    groups = table.groupby(key)["score"]
    means = groups.mean().sort_index()
    variance = groups.var() if "spread" not in table else table["spread"] ** 2
    spread = float(np.sqrt(variance.mean()))  # of the keys that several seeds have trained
    at = float(means.idxmax())
    peak = at not in (means.index[0], means.index[-1]) and means.max() > max(means.iloc[0], means.iloc[-1]) + spread
    right = peak and abs(at - best) <= np.abs(means.index.to_numpy() - best).min() + 1e-12
    ends = f"score {means.max():.4g} there, {means.iloc[0]:.4g} and {means.iloc[-1]:.4g} at the ends"

    def row(claim: str, true: bool, rule: str, control: float) -> Verdict:
        verdict = judge.NOT_TESTABLE if np.isnan(spread) else judge.SUPPORTED if true else judge.NOT_SUPPORTED
        return Verdict(claim, where, f"best {key}: {ends}", at, control, verdict=verdict, rule=rule)

    return [row(inside, peak, rule_inside, np.nan), row(there, right, rule_there, best)]


def cluster_claims(table: pd.DataFrame | None) -> list[Verdict]:
    """Figures 12 and 13. Args: table: the scores of `lander.experiments.clusters`; a row per layer."""
    where = "A.5, figures 12-13"
    statistic = "silhouette of the languages; control: as many random neurons"
    rules = {  # group -> claim, rule
        "general": ("general neurons do not tell languages apart", f"silhouette <= {judge.MIXED:g}"),
        "specific": (
            "specific neurons tell languages apart",
            f"silhouette > {judge.MIXED:g} and above the control, p <= {judge.ALPHA:g} (draws of random neurons)",
        ),
    }
    if table is None:
        return [Verdict(claim, where, statistic, rule=rule) for claim, rule in rules.values()]
    found = []
    for row in table[(table["score"] == "silhouette") & table["group"].isin(rules)].itertuples():
        true = row.value <= judge.MIXED
        if row.group == "specific":
            true = row.value > judge.MIXED and row.value > row.control_mean and row.p <= judge.ALPHA
        claim, rule = rules[row.group]
        verdict = judge.SUPPORTED if true else judge.NOT_SUPPORTED
        name = f"{claim} (layer {row.layer})"
        found.append(Verdict(name, where, statistic, row.value, row.control_mean, row.p, verdict, rule))
    return found
