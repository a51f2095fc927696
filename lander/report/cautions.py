"""What to be careful about when reading the scores."""

from typing import Any

import pandas as pd

from lander.evaluate.collect import MEANS
from lander.report.inputs import Inputs
from lander.report.order import method_key, run_label
from lander.report.summary import means_by_run, sides

FLOOR = 5.0  # mean BLEU below which an order of methods says little


def foreign_masks(inputs: Inputs) -> str:
    """A sentence on masks that were not made by this detection; empty where landermt used its own."""
    folder = inputs.setting("neurons", "masks")
    if not folder or "landermt" not in set(inputs.scores["method"]):
        return ""
    shown = " The layers and neurons on this page are those of Lander's own detection, not of these masks."
    return f"landermt used the masks of {folder} (neurons.masks).{shown if inputs.neurons is not None else ''}"


def notes(inputs: Inputs, tests: list[str]) -> list[str]:
    """What to be careful about when reading the scores."""
    found = []
    scores = inputs.scores
    seeds = scores["seed"].nunique()
    if seeds > 1 and inputs.significance.seeds:
        found.append(
            f"{seeds} seeds: a difference is significant only where it holds over sentences and over seeds (the larger "
            "p of randomisation and bootstrap). So few seeds show little of how seeds vary."
        )
    if seeds == 1:
        tests_made = (
            "The tests say how sure a difference is on other sentences, not with another seed."
            if inputs.significance.tests
            else "No significance test was made."
        )
        found.append(f"One seed: small differences between methods may be chance. {tests_made}")
    for test in tests:
        top = max(means_by_run(scores, test, "bleu", name).max() for name in sides(scores, test))
        if top < FLOOR:
            found.append(
                f"{test}: no method reaches {FLOOR:g} BLEU, the best has {top:.1f}: next to nothing is translated, and "
                "the order of such scores says little."
            )
        rows = scores[(scores["test"] == test) & ~scores["direction"].isin(MEANS)]
        values: dict[str, Any] = dict(list(rows.groupby("metric")))
        if "contaminated" in values and (worst := values["contaminated"].nlargest(1, "score").iloc[0])["score"] > 0:
            found.append(
                f"{test}: training has seen up to {100 * worst['score']:.1f}% of the test items "
                f"({worst['direction']}). The scores without them are under “other measurements”."
            )
        for metric, limit, text in (("empty", 0.01, "is empty"), ("copied", 0.05, "repeats the source")):
            found += _share_notes(test, values.get(metric), limit, text)
        found += _raw_notes(scores, test)
        wanted = rows["direction"].nunique()
        for run, part in sorted(
            rows[rows["metric"] == "bleu"].groupby(["method", "variant"]), key=lambda p: method_key(p[0])
        ):
            if (number := part["direction"].nunique()) < wanted:
                found.append(
                    f"{test}: {run_label(run)} has scores in {number} of {wanted} directions; its means are over those."
                )
    return found


def _share_notes(test: str, rows: pd.DataFrame | None, limit: float, text: str) -> list[str]:
    if rows is None:
        return []
    means = rows.groupby(["method", "variant"])["score"].mean().sort_values(ascending=False, kind="stable")
    over = [f"{run_label(run)} {100 * value:.1f}%" for run, value in means.items() if value > limit]
    return [f"{test}: more than {100 * limit:.0f}% of the output {text}: {_first(over)}."] if over else []


def _raw_notes(scores: pd.DataFrame, test: str) -> list[str]:
    """Methods that write on after the translation."""
    found = []
    for name, of in sides(scores, test).items():
        cut, raw = (means_by_run(scores, test, metric, name) for metric in ("bleu", "bleu_raw"))
        gaps = (cut - raw).dropna().abs().sort_values(ascending=False, kind="stable")
        listed = [f"{run_label(run)} {cut[run]:.1f} against {raw[run]:.1f}" for run, gap in gaps.items() if gap >= 1]
        if listed:
            where = f"{test}, {of}: output goes on after the translation"
            found.append(f"{where}; BLEU cut against raw: {_first(listed)}.")
    return found


def _first(texts: list[str], number: int = 3) -> str:
    """The first few of a list, and how many more there are."""
    return ", ".join(texts[:number]) + (f" and {len(texts) - number} more" if len(texts) > number else "")
