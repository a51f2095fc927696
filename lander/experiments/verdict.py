"""What a table of methods says in two sentences: who is best into and out of English, by how much, how surely.

The best of each side is tested against every other method: paired approximate randomisation over the sentences of the
test set, Holm-corrected for all of these comparisons (`lander.evaluate.significance`). The draws of a control count as
seeds; where seeds cannot be paired there is only the interval of the difference.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lander.evaluate import significance
from lander.evaluate.collect import MEANS
from lander.evaluate.segments import Compared, Model, Place, read_all
from lander.report.document import listed
from lander.report.samples import DRAWS
from lander.report.significance import SIGNIFICANT, Outcome

FLOOR = 5.0  # BLEU below which methods are not ranked
SIDES = dict(zip(MEANS, ("over all directions", "into English", "out of English"), strict=True))
OURS = "landermt"
Run = tuple[str, str]  # method, variant
Scores = Mapping[Run, float]
Tested = Mapping[tuple[Run, Run, str], Outcome]  # best, other, mean -> best minus other


def verdict(test: str, sides: Mapping[str, Scores], names: Mapping[Run, str], tested: Tested) -> str:
    """A paragraph about one test set.

    Args:
        sides: mean over directions (one of `MEANS`) -> mean BLEU of each run.
        names: what the runs are called, in the order of the tables.
        tested: see `tests`; empty where none were made.
    """
    parts = [_side(SIDES[mean], mean, scores, names, tested) for mean, scores in sides.items()]
    ranked = any(max(scores.values()) >= FLOOR for scores in sides.values()) and len(names) > 1
    how = (
        "Significant: paired randomisation of the sentences, with several seeds or draws a bootstrap over them too, "
        f"Holm-corrected {SIGNIFICANT}."
    )
    if not tested:
        how = "No paired tests: not all scores have segment scores beside them, so a small lead may be chance."
    return f"On {test}, {'; '.join(parts)}.{f' {how}' if ranked else ''}"


def _side(where: str, mean: str, scores: Scores, names: Mapping[Run, str], tested: Tested) -> str:
    best, *others = by_rank(scores, names)
    top = scores[best]
    if top < FLOOR:
        return f"nothing is ranked {where}, the highest BLEU there is {top:.1f}, below {FLOOR:g}"
    text = f"{where} {names[best]} is best with {top:.1f} BLEU"
    if not others:
        return text
    text += f", {_gap(top, scores[others[0]])} ahead of {names[others[0]]}{_sure(tested.get((best, others[0], mean)))}"
    found = {run: tested.get((best, run, mean)) for run in others[1:]}
    if close := [names[run] for run, outcome in found.items() if outcome and _open(outcome)]:
        text += f", of the others not significantly ahead of {listed(close)}"
    own = (OURS, "main")
    if own in others[1:]:
        text += f"; {OURS} has {scores[own]:.1f} there, {_gap(top, scores[own])} less{_sure(found[own])}"
    return text


def by_rank(scores: Scores, names: Mapping[Run, str]) -> list[Run]:
    """Runs from the highest score; equal ones in the order of the tables."""
    order = list(names)
    return sorted(scores, key=lambda run: (-scores[run], order.index(run)))


def _gap(one: float, other: float) -> str:
    """Difference of two scores as printed, so that the sentence agrees with the table."""
    return f"{round(one, 1) - round(other, 1):.1f}"


def _open(outcome: Outcome) -> bool:
    """Whether a test was made and has not told the two apart."""
    return outcome.p == outcome.p and not outcome.significant


def _sure(outcome: Outcome | None) -> str:
    """How sure a difference is: ` (significant, p = 0.012)`."""
    if outcome is None:
        return ""
    if outcome.p != outcome.p:  # no seeds in common: the interval alone
        return f" (not tested, 95% interval {outcome.low:+.1f} to {outcome.high:+.1f})"
    return f" ({'significant' if outcome.significant else 'not significant'}, {outcome.text})"


def tests(
    files: Sequence[Path], test: str, directions: Sequence[str], runs: Sequence[Run], best: Sequence[Run]
) -> Tested:
    """The tests of the best runs against all of `runs`, in the means over directions.

    Args:
        files: segment scores of all models; without any nothing is tested.
    """
    read = read_all(file for file in files if file.parent.name == test) if files and len(runs) > 1 else {}
    data = {}
    for place, compared in read.items():
        if (place.test, place.metric) == (test, "bleu") and place.direction in directions:
            data[place] = Compared(compared.signature, _merged(compared, runs))
    if not data:
        return {}
    return _outcomes(data, [f"{method}/{variant}" for method, variant in dict.fromkeys(best)])


def _merged(compared: Compared, runs: Sequence[Run]) -> dict[Model, np.ndarray]:
    """Statistics of the runs; the draws of a control become seeds of one variant."""
    found = {}
    for model, statistics in compared.statistics.items():
        if (model.method, DRAWS) in runs and re.fullmatch(r"main|draw\d+", model.variant):
            model = Model(model.method, DRAWS, f"{model.variant}.{model.seed}")
        if (model.method, model.variant) in runs:
            found[model] = statistics
    return found


def _outcomes(data: Mapping[Place, Compared], best: Sequence[str]) -> Tested:
    found = {}
    rows = significance.compare(data, best)
    several = any(row["seeds"] > 1 for row in rows)
    for row in rows:
        if row["baseline"] and row["direction"] in MEANS:
            method, _, variant = row["baseline"].partition("/")
            ps = [row["p_holm"], row["p_bootstrap_holm"]] if several else [row["p_holm"]]
            p = float("nan") if row["p_holm"] is None else max(ps)
            outcome = Outcome(row["difference"], p, row["difference_low"], row["difference_high"]).reversed
            found[(method, variant or "main"), (row["method"], row["variant"]), row["direction"]] = outcome
    return found
