"""Transfer between directions (figure 3): one direction is trained, all are tested, change against the base.

The paper compares with the base behind the fixed instruction. If the base does better behind another prompt, part of
that change is the form of the instruction, which training in any direction teaches. The means are given against both.
"""

import itertools

import pandas as pd

from lander.experiments import samples
from lander.experiments.samples import KEYS, MAIN, METRICS, SUMMARY, Inputs
from lander.report import charts
from lander.report.document import Document, number, numbers
from lander.report.tables import Table
from lander.shared.errors import UserError
from lander.shared.languages import parse_direction

COLUMNS = {"mean": "Mean change", "mean_to_better": "Mean change against the better zero-shot prompt"}
RELATIONS = ("trained", "same source", "same target", "reverse", "unrelated")
SETTING = (
    "A model of one direction trains the layers that all directions of the run chose together. If finetune.accumulate "
    "is one micro-batch per direction, its updates read one micro-batch, those of the other models one per direction."
)


def transfer(inputs: Inputs) -> Document:
    """A matrix for each method, test set and metric, and means by relation, against both prompts of the base."""
    data = samples.summarise(changes(inputs))
    worth = worth_of_prompt(inputs.scores)
    data = data.merge(worth, on=["test", "metric", "direction"], how="left")
    data["mean_to_better"] = data["mean"] - data.pop("worth")
    data["trained"] = data["variant"].map(inputs.values)
    data["relation"] = [relation(*pair) for pair in zip(data["trained"], data["direction"], strict=True)]
    methods, tests = samples.methods_of(data), samples.tests_of(data)
    blocks: list[Table | str] = [inputs.title]
    for test in tests:
        rows = data[data["test"] == test]
        blocks += [by_relation(rows, f"{text} on {test} (points)", column) for column, text in COLUMNS.items()]
        value = worth.loc[(worth["test"] == test) & (worth["metric"] == "bleu"), "worth"].mean()
        blocks.append(f"On {test} the base's best prompt alone is worth {value:.1f} BLEU over the fixed one.")
    blocks.append(SETTING)
    panels = []
    for test, (metric, text), method in itertools.product(tests, METRICS.items(), methods):
        keys = (data["test"] == test) & (data["metric"] == metric) & (data["method"] == method)
        matrix = data[keys].pivot(index="trained", columns="direction", values="mean")
        trained, tested = (samples.sort_columns(axis, inputs.directions) for axis in (matrix.index, matrix.columns))
        matrix = matrix.loc[trained, tested]
        rows = [
            (name, [number(value, 1, sign=True, best=name == other) for other, value in row.items()])
            for name, row in matrix.iterrows()
        ]
        caption, notes = f"{method}: change of {text} on {test} (points)", ["Bold: the trained direction."]
        blocks.append(Table.of(caption, "trained \\ tested", tested, rows, notes=notes))
        if metric == "bleu":
            name = f"{method}, {test}" if len(tests) > 1 else method
            panels.append(charts.Panel(matrix, "tested", "trained", f"{name}: change of BLEU (points)"))
    title = "Transfer (figure 3): change of BLEU and chrF2++ against zero-shot when a single direction is trained"
    columns = ["method", "trained", "direction", "relation", "test", "metric", *SUMMARY, "mean_to_better"]
    table = data[columns].rename(columns={"direction": "tested"})
    drawn = charts.heat("transfer", "Change of BLEU against zero-shot when one direction is trained", panels)
    return Document("transfer", title, blocks, numbers(table), drawn)


def changes(inputs: Inputs) -> pd.DataFrame:
    """Samples of the change against zero-shot with the fixed prompt. All methods must have the same directions."""
    rows = inputs.scores[inputs.scores["metric"].isin(METRICS)].rename(columns={"score": "value"})
    rows = rows[[*KEYS, "test", "metric", "direction", "value"]]
    base = rows[(rows["method"] == "zero-shot") & (rows["variant"] == MAIN)]
    trained = rows[rows["variant"].isin(inputs.values)]
    if trained.empty:
        raise UserError("--values, --scores: no model of a single direction; give VARIANT=DIRECTION and their scores")
    if base.empty:
        raise UserError("--scores: no zero-shot/main to compare with; give its score files too")
    samples.complete(pd.concat([base, trained]), ["test", "direction", "metric"], "--scores")
    wanted = trained["variant"].unique()
    for method, mine in trained.groupby("method", sort=False):
        if missing := [name for name in wanted if name not in set(mine["variant"])]:
            raise UserError(f"--scores: {method} has no {', '.join(missing)}, which other methods have; give them all")
    return samples.minus(trained, base, ["test", "metric", "direction"])


def worth_of_prompt(scores: pd.DataFrame) -> pd.DataFrame:
    """What the better zero-shot prompt gains over the fixed one: test, metric, direction, worth (points).

    The better prompt of a test set and metric has the higher mean over directions; if it is the fixed one, 0.
    """
    rows = scores[(scores["method"] == "zero-shot") & scores["metric"].isin(METRICS)]
    wide = rows.pivot_table(index=["test", "metric", "direction"], columns="variant", values="score")
    gap = wide.get("best-prompt", wide[MAIN]) - wide[MAIN]
    means = gap.groupby(["test", "metric"]).transform("mean")
    return gap.where(means > 0, 0.0).rename("worth").reset_index()


def relation(trained: str, tested: str) -> str:
    """How a tested direction is related to the trained one, one of `RELATIONS`.

    `unrelated` has neither the source nor the target in the same place and is not the reverse.
    """
    one, other = parse_direction(trained), parse_direction(tested)
    if one == other:
        return "trained"
    if one.pair == other.pair:
        return "reverse"
    if one.source == other.source:
        return "same source"
    return "same target" if one.target == other.target else "unrelated"


def by_relation(rows: pd.DataFrame, caption: str, column: str) -> Table:
    """Means of a column of changes on one test set, by relation; the spread is over trained directions."""
    other = rows[rows["relation"] != "trained"].assign(relation="not trained")
    there = [name for name in RELATIONS if name in set(rows["relation"])] + ["not trained"] * bool(len(other))
    by = pd.concat([rows, other]).groupby(["method", "metric", "relation", "trained"])[column].mean()
    shown = []
    for method in samples.methods_of(rows):
        found = [by[method, metric, name] for metric in METRICS for name in there]
        shown.append((method, [number(means.mean(), 1, means.std(), sign=True) for means in found]))
    note = (
        "±: standard deviation over trained directions. Unrelated: neither source nor target in the same place, and "
        "not the reverse. Not trained: all of these but the trained one."
    )
    titles = [f"{text} {name}" for text in METRICS.values() for name in there]
    return Table.of(caption, "method", titles, shown, notes=[note])
