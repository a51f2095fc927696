"""What a busy person reads: which method is best and by how much, what it cost, and what to be careful about."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from lander.evaluate.collect import MEANS
from lander.report.inputs import Inputs
from lander.report.order import method_key, run_label, sort_tests
from lander.report.significance import LEVEL, Method, Place
from lander.report.tables import MEAN_LABELS, MISSING, Cell, Head, Table, duration, quantity, score_columns

FLOOR = 5.0  # mean BLEU below which an order of methods says little


@dataclass(frozen=True)
class Verdict:
    """The outcome of one test set, in sentences; `gain` in BLEU over the better zero-shot.

    `sides` has the best method out of English and into English where there are both: a mean over all directions mixes
    BLEU of several tokenizers.
    """

    test: str
    best: str
    mean: str
    gain: str
    sentence: str
    sides: tuple[tuple[str, str], ...] = ()  # heading, method and its mean


def test_names(inputs: Inputs) -> list[str]:
    """Test sets, the config's order first."""
    sources = inputs.setting("data", "test")
    wanted = [one.get("name") for one in sources if isinstance(one, dict)] if isinstance(sources, list) else []
    return sort_tests(inputs.scores["test"], wanted)


def means_by_run(scores: pd.DataFrame, test: str, metric: str, direction: str = "mean") -> pd.Series:
    """Mean over seeds of the mean over directions, by (method, variant), best first; missing means are not made up."""
    rows = scores.query("test == @test and metric == @metric and direction == @direction")
    return rows.groupby(["method", "variant"])["score"].mean().sort_values(ascending=False, kind="stable")


def by_direction(scores: pd.DataFrame, test: str) -> pd.DataFrame:
    """BLEU, seed means: a row for each (method, variant), a column for each direction."""
    rows = scores.query("test == @test and metric == 'bleu'")
    rows = rows[~rows["direction"].isin(MEANS)]
    return rows.groupby(["method", "variant", "direction"])["score"].mean().unstack()


def verdict(inputs: Inputs, test: str) -> Verdict | None:
    """Best method of a test set by mean BLEU, against the better of the zero-shot prompts."""
    means = means_by_run(inputs.scores, test, "bleu")
    if means.empty:
        return None
    best, top = means.index[0], means.iloc[0]
    zero = means[[run for run in means.index if run[0] == "zero-shot"]]
    others = means[[run for run in means.index if run[0] != "zero-shot"]]
    sentence = f"{run_label(best)} scores highest, mean BLEU {top:.1f}."
    gain = MISSING
    if len(zero) and len(others):
        shown = others.index[0]
        over = others.iloc[0] - zero.iloc[0]
        gain = signed(over)
        table = by_direction(inputs.scores, test)
        floor = table.loc[[run for run in table.index if run[0] == "zero-shot"]].max()
        ahead = int((table.loc[shown] > floor).sum())
        lead = "" if shown == best else f" The best trained method is {run_label(shown)}, {others.iloc[0]:.1f}."
        side = "above" if over >= 0 else "below"
        sentence += (
            f"{lead} That is {abs(over):.1f} BLEU {side} the better zero-shot, {run_label(zero.index[0])} with "
            f"{zero.iloc[0]:.1f}; in {ahead} of {len(floor)} directions it is ahead of every zero-shot prompt."
        )
    if ("landermt", "main") in means.index and best != ("landermt", "main"):
        own = means[("landermt", "main")]
        sentence += f" landermt has {own:.1f}, {top - own:.1f} less than the highest."
    sentence += "".join(_tests_sentence(inputs, test, run) for run in dict.fromkeys([best, ("landermt", "main")]))
    return Verdict(test, run_label(best), f"{top:.1f}", gain, sentence, _sides(inputs.scores, test))


def _sides(scores: pd.DataFrame, test: str) -> tuple[tuple[str, str], ...]:
    found = []
    for direction, heading in (("mean-out-of-en", "best out of English"), ("mean-into-en", "best into English")):
        means = means_by_run(scores, test, "bleu", direction)
        if len(means):
            found.append((heading, f"{run_label(means.index[0])} {means.iloc[0]:.1f}"))
    return tuple(found) if len(found) == 2 else ()


def _tests_sentence(inputs: Inputs, test: str, run: tuple[str, str]) -> str:
    """In how many directions a method is significantly ahead of each baseline, and behind it."""
    tested = inputs.significance
    names = list(by_direction(inputs.scores, test).columns)
    parts = []
    for baseline in tested.baselines:
        outcomes = [tested.compare(run, baseline, (test, name, "bleu")) for name in names]
        found = [one for one in outcomes if one]
        if not found or baseline == run:
            continue
        ahead = sum(one.significant and one.difference > 0 for one in found)
        behind = sum(one.significant and one.difference < 0 for one in found)
        text = f"ahead of {run_label(baseline)} in {ahead} of {len(found)}"
        parts.append(f"{text} and behind in {behind}" if behind else text)
    if not parts:
        return ""
    return f" Direction by direction, {run_label(run)} is significantly (p < {LEVEL:g}) {'; '.join(parts)}."


def winners_table(inputs: Inputs, test: str) -> Table | None:
    """Which method won in each direction, by how much, and whether that is more than chance."""
    rows = inputs.scores.query("test == @test and metric == 'bleu'")
    if rows.empty:
        return None
    means = rows.groupby(["method", "variant", "direction"])["score"].mean().unstack()
    tested = inputs.significance
    table = []
    for _, name in score_columns(means.columns):
        order = means[name].dropna().sort_values(ascending=False, kind="stable")
        best, place = order.index[0], (test, name, "bleu")
        span = tested.interval(best, place)
        interval = f"{span[0]:.1f}–{span[1]:.1f}" if span else ""
        cells = [Cell(run_label(best)), Cell(f"{order.iloc[0]:.1f}", interval=interval)]
        if len(order) == 1:
            cells += [Cell(MISSING)] * 3
        else:
            outcome = tested.compare(best, order.index[1], place)
            sure = ("yes, " if outcome.significant else "no, ") + outcome.text if outcome else "not tested"
            gap = order.iloc[0] - order.iloc[1]
            cells += [Cell(run_label(order.index[1])), Cell(signed(gap)), Cell(sure)]
        if tested.tests:
            cells.append(_beaten_cell(inputs, best, place))
        table.append((MEAN_LABELS.get(name, name), cells))
    texts = ["best", "BLEU", "second", "ahead by", "significant", *(["significantly ahead of"] if tested.tests else [])]
    heads = [Head(text) for text in texts]
    notes = ["No paired tests were made: a small lead may be chance."]
    if tested.tests:
        notes = [
            f"Significant: Holm-corrected p < {LEVEL:g}. “not tested”: neither of the two is one of the baselines "
            f"({', '.join(map(run_label, tested.baselines))}). The last column is about the baselines alone."
        ]
    return Table(f"Which method won where, BLEU on {test}", "direction", heads, table, notes=notes)


def _beaten_cell(inputs: Inputs, best: Method, place: Place) -> Cell:
    """The baselines that a method is significantly ahead of; where those are most, the ones that it is not."""
    tested = inputs.significance
    outcomes = [one for one in tested.baselines if one != best and tested.compare(best, one, place)]
    beaten = [one for one in tested.beaten(best, place) if one in outcomes]
    others = [run_label(one) for one in outcomes if one not in beaten]
    if not outcomes:
        return Cell(MISSING)
    if not beaten:
        return Cell("none of the baselines", value=0)
    names = f"all {len(outcomes)} baselines" if not others and len(beaten) > 2 else ", ".join(map(run_label, beaten))
    if others and len(others) < len(beaten):
        names = f"all baselines but {', '.join(others)}"
    return Cell(names, value=len(beaten) / len(outcomes))


def average(inputs: Inputs, run: tuple[str, str], key: str) -> float | None:
    """Mean over seeds of a number in run.json."""
    values = [content.get(key) for one, content in inputs.runs.items() if one[:2] == run]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return sum(numbers) / len(numbers) if numbers else None


def signed(value: float) -> str:
    """`+1.2`, `−3.4`, and `0.0` for what rounds to it."""
    text = f"{value:+.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text


def glance_table(inputs: Inputs, tests: list[str]) -> Table:
    """Every method on one line: mean scores, gain over the better zero-shot, and what training cost."""
    bleu = {test: means_by_run(inputs.scores, test, "bleu") for test in tests}
    chrf = {test: means_by_run(inputs.scores, test, "chrf2++") for test in tests}
    runs = set().union(*(means.index for means in (*bleu.values(), *chrf.values())))
    floors = {
        test: max((value for run, value in means.items() if run[0] == "zero-shot"), default=None)
        for test, means in bleu.items()
    }
    rows = []
    for run in sorted(runs, key=method_key):
        cells: list[Cell] = []
        for test in tests:
            cells += _glance_cells(run, bleu[test], chrf[test], floors[test])
        rows.append((run_label(run), cells + _cost_cells(inputs, run)))
    heads = [Head(text) for _ in tests for text in ("BLEU", "gain", "chrF2++")]
    costs = ["trained", "share", "time", "tokens", "memory"] if inputs.runs else []
    groups = [Head(test, 3) for test in tests] + ([Head("training", len(costs))] if costs else [])
    notes = ["Means over directions. Gain: BLEU over the better zero-shot prompt, by its mean."]
    if costs:
        notes.append("Trained: parameters, and their share of the model's. Memory: the peak of one process.")
    return Table("Methods at a glance", "method", heads + [Head(text) for text in costs], rows, groups, notes)


def _glance_cells(run: tuple[str, str], bleu: pd.Series, chrf: pd.Series, floor: float | None) -> list[Cell]:
    def shown(means: pd.Series) -> Cell:
        if run not in means.index:
            return Cell(MISSING)
        return Cell(f"{means[run]:.1f}", len(means) > 1 and round(means[run], 1) == round(means.max(), 1))

    known = run in bleu.index and floor is not None
    return [shown(bleu), Cell(signed(bleu[run] - floor) if known else MISSING), shown(chrf)]


def _cost_cells(inputs: Inputs, run: tuple[str, str]) -> list[Cell]:
    if not inputs.runs:
        return []
    trained, total = (average(inputs, run, f"parameters_{name}") for name in ("trained", "total"))
    share = f"{100 * trained / total:.3g}%" if trained is not None and total else MISSING
    seconds, tokens, memory = (average(inputs, run, key) for key in ("seconds", "tokens", "peak_memory_bytes"))
    return [
        Cell(quantity(trained), value=trained),
        Cell(share),
        Cell(duration(seconds), value=seconds),
        Cell(quantity(tokens), value=tokens),
        Cell(quantity(memory, "B"), value=memory),
    ]


def notes(inputs: Inputs, tests: list[str]) -> list[str]:
    """What to be careful about when reading the scores."""
    found = []
    scores = inputs.scores
    seeds = scores["seed"].nunique()
    if seeds == 1:
        tests_made = (
            "The tests say how sure a difference is on other sentences, not with another seed."
            if inputs.significance.tests
            else "No significance test was made."
        )
        found.append(f"One seed: small differences between methods may be chance. {tests_made}")
    for test in tests:
        top = means_by_run(scores, test, "bleu").max()
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
    cut, raw = (means_by_run(scores, test, metric) for metric in ("bleu", "bleu_raw"))
    gaps = (cut - raw).dropna().abs().sort_values(ascending=False, kind="stable")
    listed = [f"{run_label(run)} {cut[run]:.1f} against {raw[run]:.1f}" for run, gap in gaps.items() if gap >= 1]
    return [f"{test}: output goes on after the translation; BLEU cut against raw: {_first(listed)}."] if listed else []


def _first(texts: list[str], number: int = 3) -> str:
    """The first few of a list, and how many more there are."""
    return ", ".join(texts[:number]) + (f" and {len(texts) - number} more" if len(texts) > number else "")
