"""What a busy person reads: which method is best and by how much, and what it cost."""

from dataclasses import dataclass

import pandas as pd

from lander.config.methods import TRAINING_FREE
from lander.evaluate.collect import MEANS
from lander.report.inputs import Inputs
from lander.report.order import direction_group, method_key, run_label, sort_tests
from lander.report.significance import LEVEL, SIGNIFICANT, Method, Place
from lander.report.tables import MEAN_LABELS, MISSING, Cell, Head, Table, duration, quantity, score_columns

SIDES = {"mean-out-of-en": "out of English", "mean-into-en": "into English"}
GLANCE = {"bleu": "BLEU", "chrf2++": "chrF2++"}


@dataclass(frozen=True)
class Side:
    """The best method by one mean over directions; `gain` in BLEU of the best trained one over the better zero-shot."""

    of: str  # which directions
    best: str
    mean: str
    gain: str
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """The outcome of one test set, out of English and into English apart where there are both."""

    test: str
    sides: list[Side]
    sentence: str


def test_names(inputs: Inputs) -> list[str]:
    """Test sets, the config's order first."""
    sources = inputs.setting("data", "test")
    wanted = [one.get("name") for one in sources if isinstance(one, dict)] if isinstance(sources, list) else []
    return sort_tests(inputs.scores["test"], wanted)


def means_by_run(scores: pd.DataFrame, test: str, metric: str, direction: str = "mean") -> pd.Series:
    """Mean over seeds of the mean over directions, by (method, variant), best first; missing means are not made up."""
    rows = scores.query("test == @test and metric == @metric and direction == @direction")
    return rows.groupby(["method", "variant"])["score"].mean().sort_values(ascending=False, kind="stable")


def leaders(means: pd.Series) -> list[Method]:
    """The methods with the highest mean as it is printed, in the order of the tables: several are tied."""
    return [run for run in sorted(means.index, key=method_key) if round(means[run], 1) == round(means.max(), 1)]


def labels(runs: list[Method], last: str = " and ") -> str:
    """`full`, `full, lora and adapter`."""
    texts = [run_label(run) for run in runs]
    return last.join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def by_direction(scores: pd.DataFrame, test: str) -> pd.DataFrame:
    """BLEU, seed means: a row for each (method, variant), a column for each direction."""
    rows = scores.query("test == @test and metric == 'bleu'")
    rows = rows[~rows["direction"].isin(MEANS)]
    return rows.groupby(["method", "variant", "direction"])["score"].mean().unstack()


def sides(scores: pd.DataFrame, test: str) -> dict[str, str]:
    """The means by which methods are compared -> what each is of.

    Out of English and into English, where there are both: one mean over all directions mixes BLEU of several
    tokenizers and languages.
    """
    there = set(scores.loc[scores["test"] == test, "direction"])
    return SIDES if there.issuperset(SIDES) else {"mean": "all directions"}


def verdict(inputs: Inputs, test: str) -> Verdict | None:
    """Best methods of a test set by mean BLEU, against the better of the zero-shot prompts."""
    wanted = sides(inputs.scores, test)
    means = {of: means_by_run(inputs.scores, test, "bleu", name) for name, of in wanted.items()}
    found = [_side(inputs, test, of, one) for of, one in means.items() if len(one)]
    if not found:
        return None
    shown = dict.fromkeys([*(run for one in means.values() if len(one) for run in leaders(one)), ("landermt", "main")])
    tested = "".join(_tests_sentence(inputs, test, run) for run in shown)
    return Verdict(test, found, " ".join(one.sentence for one in found) + tested)


def _side(inputs: Inputs, test: str, of: str, means: pd.Series) -> Side:
    best, top = leaders(means), means.iloc[0]
    zero = means[[run for run in means.index if run[0] == "zero-shot"]]
    trained = means[[run for run in means.index if run[0] not in TRAINING_FREE]]
    start = "" if of == "all directions" else f"{of[0].upper()}{of[1:]}, "
    tied = "are tied as the highest" if len(best) > 1 else "scores highest"
    sentence = f"{start}{labels(best)} {tied}, mean BLEU {top:.1f}."
    gain = MISSING
    if len(zero) and len(trained):
        shown = leaders(trained)
        over = trained.iloc[0] - zero.iloc[0]
        gain = signed(over)
        table = by_direction(inputs.scores, test)
        table = table[[name for name in table if of in ("all directions", direction_group(name))]]
        floor = table.loc[[run for run in table.index if run[0] == "zero-shot"]].max()
        ahead = [int((table.loc[run] > floor).sum()) for run in shown]
        are = "methods, tied, are" if len(shown) > 1 else "method is"
        lead = "" if shown == best else f" The best trained {are} {labels(shown)}, {trained.iloc[0]:.1f}."
        side = f"{abs(over):.1f} BLEU {'above' if over > 0 else 'below'}" if signed(over) != "0.0" else "level with"
        numbers = ", ".join(map(str, ahead if len(set(ahead)) > 1 else ahead[:1]))
        who = "it is" if len(shown) == 1 else "each of them is" if len(set(ahead)) == 1 else "they are"
        sentence += (
            f"{lead} That is {side} the better zero-shot, {run_label(leaders(zero)[0])} with "
            f"{zero.iloc[0]:.1f}; in {numbers} of {len(floor)} directions {who} ahead of every zero-shot prompt."
        )
    if ("landermt", "main") in means.index and ("landermt", "main") not in best:
        own = means[("landermt", "main")]
        sentence += f" landermt has {own:.1f}, {top - own:.1f} less than the highest."
    shown_best = f"tied: {labels(best, ', ')}" if len(best) > 1 else run_label(best[0])
    return Side(of, shown_best, f"{top:.1f}", gain, sentence)


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
        best, place = leaders(order), (test, name, "bleu")
        span = tested.interval(best[0], place) if len(best) == 1 else None
        interval = f"{span[0]:.1f}–{span[1]:.1f}" if span else ""
        cells = [Cell(labels(best, ", ")), Cell(f"{order.iloc[0]:.1f}", interval=interval)]
        if len(best) > 1:
            cells += [Cell(MISSING), Cell("tied"), Cell(MISSING)]
        elif len(order) == 1:
            cells += [Cell(MISSING)] * 3
        else:
            outcome = tested.compare(best[0], order.index[1], place)
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
            f"Significant: Holm-corrected {SIGNIFICANT}. “not tested”: neither of the two is one of the baselines "
            f"({', '.join(map(run_label, tested.baselines))}). The last column is about the baselines alone."
        ]
    return Table(f"Which method won where, BLEU on {test}", "direction", heads, table, notes=notes)


def _beaten_cell(inputs: Inputs, best: list[Method], place: Place) -> Cell:
    """The baselines that all the best are significantly ahead of; where those are most, the ones that they are not."""
    tested = inputs.significance
    others = [one for one in tested.baselines if one not in best]
    outcomes = [one for one in others if all(tested.compare(run, one, place) for run in best)]
    beaten = [one for one in outcomes if all(one in tested.beaten(run, place) for run in best)]
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
    columns = [(test, metric, name) for test in tests for metric in GLANCE for name in sides(inputs.scores, test)]
    means = {column: means_by_run(inputs.scores, *column) for column in columns}
    runs = set().union(*(one.index for one in means.values()))
    rows = []
    for run in sorted(runs, key=method_key):
        cells = [cell for column in columns for cell in _glance_cells(run, means[column], column[1])]
        rows.append((run_label(run), cells + _cost_cells(inputs, run)))
    heads, groups = [], []
    for test in tests:
        own = [(metric, MEAN_LABELS[name]) for one, metric, name in columns if one == test]
        texts = [[f"{GLANCE[metric]} {name}", *(["gain"] if metric == "bleu" else [])] for metric, name in own]
        texts = [text.removesuffix(" all") for part in texts for text in part]
        heads += texts
        groups.append(Head(test, len(texts)))
    costs = ["trained", "share", "time", "tokens", "memory"] if inputs.runs else []
    groups += [Head("training", len(costs))] if costs else []
    notes = ["Means over directions. Gain: BLEU over the better zero-shot prompt, by its mean."]
    if costs:
        notes.append("Trained: parameters, and their share of the model's. Memory: the peak of one process.")
    return Table("Methods at a glance", "method", [Head(text) for text in heads + costs], rows, groups, notes)


def _glance_cells(run: tuple[str, str], means: pd.Series, metric: str) -> list[Cell]:
    """The mean and, of BLEU, the gain."""
    floor = max((value for one, value in means.items() if one[0] == "zero-shot"), default=None)
    known = run in means.index
    best = len(means) > 1 and run in leaders(means)
    cells = [Cell(f"{means[run]:.1f}", best) if known else Cell(MISSING)]
    if metric == "bleu":
        cells.append(Cell(signed(means[run] - floor) if known and floor is not None else MISSING))
    return cells


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
