"""Transfer between directions (paper, figure 3): one direction is trained, all are tested, change against the base.

The paper compares with the base behind the fixed instruction. Where the base does better behind another prompt, part of
that change is the form of the instruction, which any direction teaches: the means are given against both.
"""

import pandas as pd

from lander.experiments import charts
from lander.report.document import Document, heads, number, numbers
from lander.report.labels import method_key, sort_tests
from lander.report.samples import METRICS, complete, minus, sort_columns, summarise
from lander.report.score_inputs import KEYS, Inputs
from lander.report.tables import Table
from lander.shared.errors import UserError
from lander.shared.languages import parse_direction

PREFIX = "only-"
COLUMNS = {"mean": "Mean change", "mean_to_better": "Mean change against the better zero-shot prompt"}
SETTING = (
    "A model of one direction trains the layers that all directions of the run chose together, and (where "
    "finetune.accumulate is one micro-batch per direction) an update reads one micro-batch, where that of a model of "
    "all directions reads one of each."
)
RELATIONS = ("trained", "same source", "same target", "reverse", "unrelated")


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


def transfer(inputs: Inputs) -> Document:
    """A matrix for each method, test set and metric, and means by relation, against both prompts of the base."""
    samples = changes(inputs.scores)
    data = summarise(samples)
    worth = worth_of_prompt(inputs.scores)
    data = data.merge(worth, on=["test", "metric", "direction"], how="left")
    data["mean_to_better"] = data["mean"] - data.pop("worth")
    data = data.assign(trained=data["variant"].str.removeprefix(PREFIX))
    data["relation"] = [relation(*pair) for pair in zip(data["trained"], data["direction"], strict=True)]
    methods = sorted(data["method"].unique(), key=lambda method: method_key((method, "main")))
    order = sort_columns(set(data["trained"]) | set(data["direction"]), inputs.directions)
    tests = sort_tests(data["test"], [])
    blocks: list[Table | str] = [inputs.title] if inputs.title else []
    for test in tests:
        blocks += [_summary(data, samples, test, methods, column) for column in COLUMNS]
        blocks.append(_sentence(data, worth, test, methods))
    blocks.append(SETTING)
    matrices = {
        (test, metric, method): _matrix(data, test, metric, method, order)
        for test in tests
        for metric in METRICS
        for method in methods
    }
    blocks += [_matrix_table(key, matrix) for key, matrix in matrices.items()]
    shown = {
        (f"{method}, {test}" if len(tests) > 1 else method): matrix
        for (test, metric, method), matrix in matrices.items()
        if metric == "bleu"
    }
    title = "Change of BLEU against zero-shot when one direction is trained"
    drawing = charts.heatmaps("transfer", title, shown, "tested", "trained", "change of BLEU (points)")
    first = "Transfer (figure 3): change of BLEU and chrF2++ against zero-shot when a single direction is trained"
    columns = ["method", "trained", "direction", "relation", "test", "metric", "mean", "spread", "number", "over"]
    columns.append("mean_to_better")
    return Document("transfer", first, blocks, numbers(data[columns].rename(columns={"direction": "tested"})), drawing)


def changes(scores: pd.DataFrame) -> pd.DataFrame:
    """Samples of the change against zero-shot with the fixed prompt.

    Raises:
        UserError: no such base, or a method lacks a trained or tested direction that another has.
    """
    rows = scores[scores["metric"].isin(METRICS)].rename(columns={"score": "value"})
    rows = rows[[*KEYS, "test", "metric", "direction", "value"]]
    base = rows[(rows["method"] == "zero-shot") & (rows["variant"] == "main")]
    trained = rows[rows["variant"].str.startswith(PREFIX)]
    if trained.empty:
        raise UserError(f"--scores: no variant {PREFIX}<direction>; give the models that are trained in one direction")
    if base.empty:
        raise UserError("--scores: no zero-shot/main to compare with; give its score files too")
    complete(pd.concat([base, trained]), ["test", "direction", "metric"], "--scores")
    wanted = trained["variant"].unique()
    for method, mine in trained.groupby("method", sort=False):
        if missing := [name for name in wanted if name not in set(mine["variant"])]:
            raise UserError(f"--scores: {method} has no {', '.join(missing)}, which other methods have; give them all")
    return minus(trained, base, ["test", "metric", "direction"])


def worth_of_prompt(scores: pd.DataFrame) -> pd.DataFrame:
    """What the better zero-shot prompt has over the fixed one: test, metric, direction, worth (points).

    The better one of a test set and metric is that of the higher mean over directions; 0 where it is the fixed one.
    """
    rows = scores[(scores["method"] == "zero-shot") & scores["metric"].isin(METRICS)]
    wide = rows.pivot_table(index=["test", "metric", "direction"], columns="variant", values="score")
    gap = wide.get("best-prompt", wide["main"]) - wide["main"]
    means = gap.groupby(["test", "metric"]).transform("mean")
    return gap.where(means > 0, 0.0).rename("worth").reset_index()


def _matrix(data: pd.DataFrame, test: str, metric: str, method: str, order: list[str]) -> pd.DataFrame:
    """Trained x tested."""
    rows = data[(data["test"] == test) & (data["metric"] == metric) & (data["method"] == method)]
    wide = rows.pivot(index="trained", columns="direction", values="mean")
    return wide.loc[[name for name in order if name in wide.index], [name for name in order if name in wide.columns]]


def _matrix_table(key: tuple[str, str, str], matrix: pd.DataFrame) -> Table:
    test, metric, method = key
    rows = [
        (trained, [number(value, 1, sign=True, best=trained == tested) for tested, value in row.items()])
        for trained, row in matrix.iterrows()
    ]
    note = "Rows: trained direction; columns: tested direction. Bold: the direction that was trained."
    caption = f"{method}: change of {METRICS[metric]} on {test} (points)"
    return Table(caption, "trained", heads(list(matrix.columns)), rows, notes=[note])


def _summary(data: pd.DataFrame, samples: pd.DataFrame, test: str, methods: list[str], column: str) -> Table:
    """Mean change by relation; the spread is over trained directions. Args: column: one of `COLUMNS`."""
    there = [name for name in RELATIONS if name in set(data["relation"])]
    rows = []
    for method in methods:
        cells = []
        for metric in METRICS:
            mine = data[(data["test"] == test) & (data["metric"] == metric) & (data["method"] == method)]
            for name in there:
                means = mine[mine["relation"] == name].groupby("trained")[column].mean()
                cells.append(number(means.mean(), 1, means.std(), sign=True))
        rows.append((method, cells))
    columns = [f"{METRICS[metric]} {name}" for metric in METRICS for name in there]
    seeds = samples["seed"].nunique()
    notes = [
        "±: standard deviation over trained directions. Unrelated: neither source nor target in the same place, and "
        f"not the reverse. {seeds} seed{'s' if seeds > 1 else ''}."
    ]
    return Table(f"{COLUMNS[column]} on {test} (points)", "method", heads(columns), rows, notes=notes)


def _sentence(data: pd.DataFrame, worth: pd.DataFrame, test: str, methods: list[str]) -> str:
    """How much of what untrained directions gain is the prompt."""
    gap = worth.loc[(worth["test"] == test) & (worth["metric"] == "bleu"), "worth"].mean()
    rows = data[(data["test"] == test) & (data["metric"] == "bleu") & (data["relation"] != "trained")]
    means = rows.groupby("method")[list(COLUMNS)].mean()
    each = [f"{name} {means.loc[name, 'mean']:+.1f} and {means.loc[name, 'mean_to_better']:+.1f}" for name in methods]
    return (
        f"On {test} the base's best prompt alone is worth {gap:.1f} BLEU over the fixed one. Mean change of BLEU in "
        f"directions that were not trained, against the fixed prompt and against the better one: {'; '.join(each)}."
    )
