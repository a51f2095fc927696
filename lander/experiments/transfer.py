"""Transfer between directions (figure 3): one direction is trained, all are tested, change against the base.

The paper compares with the base behind the fixed instruction. If the base does better behind another prompt, part of
that change is the form of the instruction, which training in any direction teaches. The means are given against both.
"""

from collections.abc import Mapping

import pandas as pd

from lander.experiments.samples import KEYS, MAIN, METRICS, Inputs, complete, minus, sort_columns, summarise, tests_of
from lander.report import charts
from lander.report.document import Document, heads, number, numbers
from lander.report.labels import method_key
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
    samples = changes(inputs)
    worth = worth_of_prompt(inputs.scores)
    data = summarise(samples).merge(worth, on=["test", "metric", "direction"], how="left")
    data["mean_to_better"] = data["mean"] - data.pop("worth")
    data = data.assign(trained=data["variant"].map(inputs.values))
    data["relation"] = [relation(*pair) for pair in zip(data["trained"], data["direction"], strict=True)]
    methods = sorted(data["method"].unique(), key=lambda method: method_key((method, MAIN)))
    order = sort_columns(set(data["trained"]) | set(data["direction"]), inputs.directions)
    tests = tests_of(data)
    blocks: list[Table | str] = [inputs.title] if inputs.title else []
    for test in tests:
        rows = data[data["test"] == test]
        blocks += [_by_relation(rows, samples, test, methods, column) for column in COLUMNS]
        value = worth.loc[(worth["test"] == test) & (worth["metric"] == "bleu"), "worth"].mean()
        blocks.append(f"On {test} the base's best prompt alone is worth {value:.1f} BLEU over the fixed one.")
    blocks.append(SETTING)
    shown = {}
    for test in tests:
        for metric, text in METRICS.items():
            for method in methods:
                keys = (data["test"] == test) & (data["metric"] == metric) & (data["method"] == method)
                matrix = data[keys].pivot(index="trained", columns="direction", values="mean")
                matrix = matrix.reindex(index=[name for name in order if name in matrix.index])
                matrix = matrix.reindex(columns=[name for name in order if name in matrix.columns])
                blocks.append(_matrix_table(f"{method}: change of {text} on {test} (points)", matrix))
                if metric == "bleu":
                    shown[f"{method}, {test}" if len(tests) > 1 else method] = matrix
    title = "Transfer (figure 3): change of BLEU and chrF2++ against zero-shot when a single direction is trained"
    columns = ["method", "trained", "direction", "relation", "test", "metric", "mean", "spread", "number", "over"]
    table = data[[*columns, "mean_to_better"]].rename(columns={"direction": "tested"})
    return Document("transfer", title, blocks, numbers(table), heatmaps(shown))


def changes(inputs: Inputs) -> pd.DataFrame:
    """Samples of the change against zero-shot with the fixed prompt.

    Raises:
        UserError: no such base, or a method lacks a trained or tested direction that another has.
    """
    rows = inputs.scores[inputs.scores["metric"].isin(METRICS)].rename(columns={"score": "value"})
    rows = rows[[*KEYS, "test", "metric", "direction", "value"]]
    base = rows[(rows["method"] == "zero-shot") & (rows["variant"] == MAIN)]
    trained = rows[rows["variant"].isin(inputs.values)]
    if trained.empty:
        raise UserError("--values, --scores: no model of a single direction; give VARIANT=DIRECTION and their scores")
    if base.empty:
        raise UserError("--scores: no zero-shot/main to compare with; give its score files too")
    complete(pd.concat([base, trained]), ["test", "direction", "metric"], "--scores")
    wanted = trained["variant"].unique()
    for method, mine in trained.groupby("method", sort=False):
        if missing := [name for name in wanted if name not in set(mine["variant"])]:
            raise UserError(f"--scores: {method} has no {', '.join(missing)}, which other methods have; give them all")
    return minus(trained, base, ["test", "metric", "direction"])


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


def _by_relation(rows: pd.DataFrame, samples: pd.DataFrame, test: str, methods: list[str], column: str) -> Table:
    """Mean change by relation; the spread is over trained directions. Args: column: one of `COLUMNS`."""
    there = [name for name in RELATIONS if name in set(rows["relation"])]
    other = rows[rows["relation"] != "trained"].assign(relation="not trained")
    by = pd.concat([rows, other]).groupby(["method", "metric", "relation", "trained"])[column].mean()
    there += ["not trained"] if len(other) else []
    shown = []
    for method in methods:
        found = [by.get((method, metric, name)) for metric in METRICS for name in there]
        shown.append((method, [number(means.mean(), 1, means.std(), sign=True) for means in found]))
    seeds = samples["seed"].nunique()
    note = (
        "±: standard deviation over trained directions. Unrelated: neither source nor target in the same place, and "
        f"not the reverse. Not trained: all of these but the trained one. {seeds} seed{'s' if seeds > 1 else ''}."
    )
    titles = heads([f"{text} {name}" for text in METRICS.values() for name in there])
    return Table(f"{COLUMNS[column]} on {test} (points)", "method", titles, shown, notes=[note])


def _matrix_table(caption: str, matrix: pd.DataFrame) -> Table:
    """Trained x tested."""
    rows = [
        (trained, [number(value, 1, sign=True, best=trained == tested) for tested, value in row.items()])
        for trained, row in matrix.iterrows()
    ]
    return Table(
        caption, "trained \\ tested", heads(list(matrix.columns)), rows, notes=["Bold: the trained direction."]
    )


def heatmaps(panels: Mapping[str, pd.DataFrame]) -> str:
    """Matrices of changes, trained x tested, on one scale around zero; trained cells are framed."""
    drawn = [charts.Panel(one, "tested", "trained", f"{name}: change of BLEU (points)") for name, one in panels.items()]
    return charts.heat("transfer", "Change of BLEU against zero-shot when one direction is trained", drawn)
