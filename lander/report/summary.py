"""Section "Summary": which method is best and by how much, what training cost, and what to be careful about."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from lander.config.methods import TRAINING_FREE
from lander.evaluate.collect import MEANS
from lander.report import data, detection
from lander.report.beside import by_direction
from lander.report.document import heads, listed
from lander.report.inputs import Inputs
from lander.report.labels import MEAN_LABELS, Method, method_key, method_of, run_label, sort_tests
from lander.report.scores import score_columns
from lander.report.significance import LEVEL, SIGNIFICANT
from lander.report.tables import MISSING, Cell, Head, Table, counted, duration, quantity, signed

SIDES = {"mean-out-of-en": "out of English", "mean-into-en": "into English"}
GLANCE = {"bleu": "BLEU", "chrf2++": "chrF2++"}
OWN = ("landermt", "main")
FLOOR = 5.0  # mean BLEU below which the order of methods says little
OFF = 0.01  # share of outputs in a wrong language above which a method is named
ONE_SEED = "One seed: the tests say whether a difference would hold for other sentences, not for another seed."
FEW = 0.1  # share of outputs long enough to identify their language below which a direction is not judged


# ---------------------------------------------------------------- the best methods


class Side(NamedTuple):
    """The best methods by one mean of BLEU over directions, as text."""

    of: str  # which directions
    best: str
    mean: str
    gain: str  # of the best trained method over the better zero-shot prompt
    pair: str  # these two
    own: str  # the mean of landermt


def test_names(inputs: Inputs) -> list[str]:
    """Test sets in the order of the config."""
    sources = inputs.setting("data", "test")
    wanted = [one.get("name") for one in sources if isinstance(one, dict)] if isinstance(sources, list) else []
    return sort_tests(inputs.scores["test"], wanted)


def facts(inputs: Inputs, tests: list[str]) -> list[str]:
    """What was run, in a few words."""
    scores = inputs.scores
    counts = {
        "direction": scores.loc[~scores["direction"].isin(MEANS), "direction"].nunique(),
        "method": scores["method"].nunique(),
        "test set": len(tests),
        "seed": scores["seed"].nunique(),
    }
    base = inputs.setting("model", "path")
    found = [f"base {base}"] if isinstance(base, str) else []
    return found + counted(counts)


def means_by_run(scores: pd.DataFrame, test: str, metric: str, direction: str = "mean") -> pd.Series:
    """Mean over seeds of the mean over directions, by (method, variant), best first."""
    rows = scores.query("test == @test and metric == @metric and direction == @direction")
    return rows.groupby(["method", "variant"])["score"].mean().sort_values(ascending=False, kind="stable")


def leaders(means: pd.Series) -> list[Method]:
    """The methods with the highest mean as it is printed, in the order of the tables. Several are tied."""
    return [run for run in sorted(means.index, key=method_key) if round(means[run], 1) == round(means.max(), 1)]


def sides(scores: pd.DataFrame, test: str) -> dict[str, str]:
    """The means by which methods are compared, and which directions each is over.

    Out of English and into English if the run has both: one mean over all directions would mix BLEU of several
    tokenizers and languages.
    """
    there = set(scores.loc[scores["test"] == test, "direction"])
    return SIDES if there.issuperset(SIDES) else {"mean": "all directions"}


def verdict(inputs: Inputs, test: str) -> list[Side]:
    """The best methods of a test set, out of English and into English if the run has both."""
    found = []
    for name, of in sides(inputs.scores, test).items():
        means = means_by_run(inputs.scores, test, "bleu", name)
        if means.empty:
            continue
        best = listed(map(run_label, leaders(means)))
        zero = means[[run for run in means.index if run[0] == "zero-shot"]]
        trained = means[[run for run in means.index if run[0] not in TRAINING_FREE]]
        gain, pair = MISSING, ""
        if len(zero) and len(trained):
            gain = signed(trained.iloc[0] - zero.iloc[0])
            pair = f"{listed(map(run_label, leaders(trained)))} − {run_label(leaders(zero)[0])}"
        own = f"{means[OWN]:.1f}" if OWN in means.index else MISSING
        best = f"tied: {best}" if len(leaders(means)) > 1 else best
        found.append(Side(of, best, f"{means.iloc[0]:.1f}", gain, pair, own))
    return found


def tested_sentences(inputs: Inputs, test: str) -> list[str]:
    """In how many directions the best methods and landermt are significantly ahead of each baseline, and behind it."""
    tested, found = inputs.significance, []
    names = by_direction(inputs.scores, test).columns
    means = [means_by_run(inputs.scores, test, "bleu", name) for name in sides(inputs.scores, test)]
    for run in dict.fromkeys([*(run for one in means if len(one) for run in leaders(one)), OWN]):
        parts = []
        for base in tested.baselines:
            outcomes = [one for name in names if (one := tested.compare(run, base, (test, name, "bleu")))]
            ahead = sum(one.significant and one.difference > 0 for one in outcomes)
            behind = sum(one.significant and one.difference < 0 for one in outcomes)
            text = f"ahead of {run_label(base)} in {ahead} of {len(outcomes)} directions"
            parts += [f"{text} and behind in {behind}" if behind else text] if outcomes else []
        if parts:
            found.append(f"{run_label(run)} is significantly (p < {LEVEL:g}) {'; '.join(parts)}.")
    return found


def winners_table(inputs: Inputs, test: str) -> Table | None:
    """Which method is best in each direction, by how much, and whether that is more than chance."""
    rows = inputs.scores.query("test == @test and metric == 'bleu'")
    if rows.empty:
        return None
    means = rows.groupby(["method", "variant", "direction"])["score"].mean().unstack()
    tested = inputs.significance
    table = []
    for _, name in score_columns(means.columns):
        order = means[name].dropna().sort_values(ascending=False, kind="stable")
        best, place = leaders(order), (test, name, "bleu")
        span = tested.interval(best[0], place) if len(best) == 1 else None
        interval = f"{span[0]:.1f}–{span[1]:.1f}" if span else ""
        cells = [Cell(", ".join(map(run_label, best))), Cell(f"{order.iloc[0]:.1f}", interval=interval)]
        if len(best) > 1:
            cells += [Cell(MISSING), Cell("tied"), Cell(MISSING)]
        elif len(order) == 1:
            cells += [Cell(MISSING)] * 3
        else:
            outcome = tested.compare(best[0], order.index[1], place)
            sure = ("yes, " if outcome.significant else "no, ") + outcome.text if outcome else "not tested"
            cells += [Cell(run_label(order.index[1])), Cell(signed(order.iloc[0] - order.iloc[1])), Cell(sure)]
        if tested.tests:
            beaten = [base for base in tested.baselines if all(base in tested.beaten(run, place) for run in best)]
            cells.append(Cell(", ".join(map(run_label, beaten)) or "none", value=len(beaten)))
        table.append((MEAN_LABELS.get(name, name), cells))
    texts = ["best", "BLEU", "second", "ahead by", "significant", *(["significantly ahead of"] if tested.tests else [])]
    notes = ["No paired tests were made: a small lead may be chance."]
    if tested.tests:
        notes = [
            f"Significant: Holm-corrected {SIGNIFICANT}. “not tested”: neither of the two is one of the baselines "
            f"({', '.join(map(run_label, tested.baselines))}). Last column: of these baselines."
        ]
    return Table(f"Best method by direction, BLEU on {test}", "direction", heads(texts), table, notes=notes)


# ---------------------------------------------------------------- all methods on one line each


def average(inputs: Inputs, run: Method, key: str) -> float | None:
    """Mean over seeds of a number in run.json."""
    values = [content.get(key) for model, content in inputs.runs.items() if method_of(model) == run]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return sum(numbers) / len(numbers) if numbers else None


def glance_table(inputs: Inputs, tests: list[str]) -> Table:
    """Every method on one line: mean scores, gain over the better zero-shot, and what training cost."""
    columns = [(test, metric, name) for test in tests for metric in GLANCE for name in sides(inputs.scores, test)]
    means = {column: means_by_run(inputs.scores, *column) for column in columns}
    rows = []
    for run in sorted(set().union(*(one.index for one in means.values())), key=method_key):
        cells = []
        for (_, metric, _), found in means.items():
            known = run in found.index
            best = len(found) > 1 and run in leaders(found)
            cells.append(Cell(f"{found[run]:.1f}", best) if known else Cell(MISSING))
            if metric == "bleu":
                floor = max((value for one, value in found.items() if one[0] == "zero-shot"), default=None)
                cells.append(Cell(signed(found[run] - floor) if known and floor is not None else MISSING))
        if inputs.runs:
            trained, total = (average(inputs, run, f"parameters_{name}") for name in ("trained", "total"))
            share = f"{100 * trained / total:.3g}%" if trained is not None and total else MISSING
            seconds, tokens, memory = (average(inputs, run, key) for key in ("seconds", "tokens", "peak_memory_bytes"))
            cells += [Cell(quantity(trained), value=trained), Cell(share), Cell(duration(seconds), value=seconds)]
            cells += [Cell(quantity(tokens), value=tokens), Cell(quantity(memory, "B"), value=memory)]
        rows.append((run_label(run), cells))
    texts, groups = [], []
    for test in tests:
        own = [(metric, MEAN_LABELS[name]) for one, metric, name in columns if one == test]
        found = [[f"{GLANCE[metric]} {name}", *(["gain"] if metric == "bleu" else [])] for metric, name in own]
        found = [text.removesuffix(" all") for part in found for text in part]
        texts += found
        groups.append(Head(test, len(found)))
    notes = ["Means over directions. Gain: BLEU above the better zero-shot prompt."]
    if inputs.runs:
        costs = ["trained", "share", "time", "tokens", "memory"]
        texts, groups = texts + costs, [*groups, Head("training", len(costs))]
        notes.append("Trained: parameters; share: of all parameters of the model. Memory: the peak of one process.")
    return Table("Methods at a glance", "method", heads(texts), rows, groups, notes)


# ---------------------------------------------------------------- answers, cautions


def findings(inputs: Inputs) -> list[tuple[str, str, str]]:
    """What people ask of a run: (question, answer, id of the place in the page)."""
    found = [
        ("Layers chosen, and why", detection.layers_answer(inputs), "delta"),
        ("Neurons of each language", detection.neurons_answer(inputs), "owners"),
        ("Masks of landermt", detection.foreign_masks(inputs), "provenance"),
        ("Pairs dropped from the data", data.dropped_answer(inputs), "data"),
        ("Output in a wrong language", off_target_answer(inputs.scores), "scores-section"),
    ]
    return [(question, answer, place) for question, answer, place in found if answer]


def off_target_answer(scores: pd.DataFrame) -> str:
    """Each method's worst directions, by the share of outputs in a wrong language among those that can be identified.

    A direction in which fewer than `FEW` of the outputs can be identified is not judged: most are empty or too short.
    """
    rows = scores[scores["metric"].isin(["off_target", "language_unknown"]) & ~scores["direction"].isin(MEANS)]
    shares = rows.groupby(["method", "variant", "test", "direction", "metric"])["score"].mean().unstack()
    shares = shares.reindex(columns=["off_target", "language_unknown"]).dropna(subset="off_target")
    shares["known"] = 1 - shares["language_unknown"].fillna(0)
    shares["off"] = shares["off_target"] / shares["known"]
    several = shares.index.unique("test").size > 1
    worst, clean, unknown = [], [], []
    for run, own in sorted(shares.groupby(["method", "variant"]), key=lambda pair: method_key(pair[0])):
        judged = own[own["known"] >= FEW].sort_values("off", ascending=False, kind="stable")
        places = [
            f"{100 * share:.1f}% in {direction}" + (f" ({test})" if several else "")
            for (_, _, test, direction), share in judged.loc[judged["off"] > OFF, "off"].items()
        ]
        left = len(own) - len(judged)
        label = run_label(run) + (f" ({left} of {len(own)} directions not judged)" if left and len(judged) else "")
        worst += [f"{label} {_first(places, 2)}"] if places else []
        if not places:
            (clean if len(judged) else unknown).append(label)
    parts = worst + ([f"at most {100 * OFF:.0f}% in every direction: {', '.join(clean)}"] if clean else [])
    judged = shares.loc[shares["known"] >= FEW, "known"]
    if len(judged) and judged.min() < 1:
        ends = dict.fromkeys(f"{100 * end:.0f}" for end in (judged.min(), judged.max()))
        parts[0] = f"of the {'–'.join(ends)}% of outputs whose language can be identified: {parts[0]}"
    few = f"fewer than {100 * FEW:.0f}% of the outputs are long enough to identify their language"
    return "; ".join(parts + ([f"not judged, because {few}: {', '.join(unknown)}"] if unknown else []))


def cautions(inputs: Inputs, tests: list[str]) -> list[str]:
    """What to be careful about when reading the scores."""
    scores, tested = inputs.scores, inputs.significance
    seeds, found = scores["seed"].nunique(), []
    if seeds > 1 and tested.seeds:
        found.append(
            f"{seeds} seeds: a difference counts as significant only if it holds over sentences and over seeds (the "
            "larger p of randomisation and bootstrap). A few seeds show little of how much seeds vary."
        )
    if seeds == 1:
        found.append(
            ONE_SEED if tested.tests else "One seed and no significance tests: small differences may be chance."
        )
    for test in tests:
        found += [f"{test}: {text}" for text in _test_cautions(scores, test)]
    return found


def _test_cautions(scores: pd.DataFrame, test: str) -> list[str]:
    found, wanted = [], sides(scores, test)
    top = max(means_by_run(scores, test, "bleu", name).max() for name in wanted)
    if top < FLOOR:
        found.append(
            f"no method reaches {FLOOR:g} BLEU; the best has {top:.1f}. Almost nothing is translated, and the order of "
            "such scores says little."
        )
    rows = scores[(scores["test"] == test) & ~scores["direction"].isin(MEANS)]
    values = dict(list(rows.groupby("metric")))
    if "contaminated" in values and (worst := values["contaminated"].nlargest(1, "score").iloc[0])["score"] > 0:
        found.append(
            f"up to {100 * worst['score']:.1f}% of the test items are in the training data ({worst['direction']}). "
            "The scores without them are under “Other measurements”."
        )
    for metric, limit, text in (("empty", 0.01, "is empty"), ("copied", 0.05, "repeats the source")):
        if metric in values:
            means = values[metric].groupby(["method", "variant"])["score"].mean()
            means = means.sort_values(ascending=False, kind="stable")
            over = [f"{run_label(run)} {100 * value:.1f}%" for run, value in means.items() if value > limit]
            found += [f"more than {100 * limit:.0f}% of the output {text}: {_first(over)}."] if over else []
    for name, of in wanted.items():
        cut, raw = (means_by_run(scores, test, metric, name) for metric in ("bleu", "bleu_raw"))
        gaps = (cut - raw).dropna().abs().sort_values(ascending=False, kind="stable")
        shown = [f"{run_label(run)} {cut[run]:.1f} / {raw[run]:.1f}" for run, gap in gaps.items() if gap >= 1]
        if shown:
            found.append(f"output goes on after the translation. BLEU of cut / raw output, {of}: {_first(shown)}.")
    bleu = rows[rows["metric"] == "bleu"].groupby(["method", "variant"])["direction"].nunique()
    for run in sorted(bleu.index, key=method_key):
        if bleu[run] < (total := rows["direction"].nunique()):
            found.append(f"{run_label(run)} has scores in {bleu[run]} of {total} directions; its means are over those.")
    return found


def _first(texts: Sequence[str], number: int = 3) -> str:
    """The first few texts, and how many more there are."""
    return ", ".join(texts[:number]) + (f" and {len(texts) - number} more" if len(texts) > number else "")
