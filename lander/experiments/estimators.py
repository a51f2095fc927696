"""The estimators of awareness beside each other, and beside as many random neurons in the same layers.

The control deals out the groups of the config's estimator anew, so it has their sizes. An estimator whose scores divide
the neurons by another rule has groups of other sizes: of it the control says nothing.
"""

import pandas as pd

from lander.config.rules import rule_of
from lander.experiments import charts
from lander.experiments.readings import MAIN, dev_samples
from lander.experiments.sweeps import shown_columns
from lander.report.document import Document, heads, listed, number, numbers
from lander.report.samples import DRAWS, METRICS, SUMMARY, labels, summarise
from lander.report.score_inputs import Inputs
from lander.report.tables import Table
from lander.shared.errors import UserError

ESTIMATOR = "awareness.estimator-"
CONTROL = "random"
NONE_BETTER = "With no estimator do the detected neurons beat random ones"


def estimators(inputs: Inputs) -> Document:
    """The ways to score neurons, against as many random neurons in the same layers."""
    if not inputs.main_value:
        raise UserError("estimators: --main-value is missing; say which awareness.estimator variant main has")
    if CONTROL not in set(inputs.scores["method"]):
        raise UserError(f"--scores: no method {CONTROL}, the control; give its draws")
    mine = inputs.scores["variant"].str.startswith(ESTIMATOR) | (inputs.scores["variant"] == MAIN)
    kept = inputs.scores[(mine & (inputs.scores["method"] == "landermt")) | (inputs.scores["method"] == CONTROL)]
    samples = dev_samples(Inputs(kept, inputs.losses, inputs.costs, inputs.directions), start=False)
    data = summarise(samples)
    names = estimator_names(data, inputs.main_value)
    data = data.assign(estimator=[names[run] for run in zip(data["method"], data["variant"], strict=True)])
    control = data[data["method"] == CONTROL]
    rule = rule_of(inputs.main_value)
    matched = data[(data["method"] == CONTROL) | data["estimator"].map(lambda name: rule_of(name) == rule)]
    verdicts = [verdict(matched, control, test, metric) for test, metric, *_ in shown_columns(data) if _is_mean(metric)]
    others = [name for name in dict.fromkeys(data["estimator"]) if name not in set(matched["estimator"])]
    blocks: list[Table | str] = [inputs.title] if inputs.title else []
    blocks += [_table(data, names), *verdicts]
    if others:
        blocks.append(
            f"The control has groups of the sizes that {inputs.main_value} makes. {listed(others).capitalize()} "
            f"divide{'s' if len(others) == 1 else ''} the neurons by another rule, into groups of other sizes: there "
            "is no verdict, and the line of the figure does not hold."
        )
    first = "Estimators of awareness beside each other and beside random neurons: dev loss, BLEU, chrF2++"
    drawing = _picture(data, names)
    return Document("estimators", first, blocks, numbers(data[["estimator", "test", "metric", *SUMMARY]]), drawing)


def _is_mean(metric: str) -> bool:
    return metric in ("dev loss", *METRICS)


def estimator_names(data: pd.DataFrame, main: str) -> dict[tuple[str, str], str]:
    """(method, variant) -> estimator, the config's own first; the control is called by its number of draws.

    Raises:
        UserError: main's estimator is there as a variant too.
    """
    found = {}
    for run, text in labels(data).items():
        own = main if run[1] == MAIN else run[1].removeprefix(ESTIMATOR)
        found[run] = own if run[0] == "landermt" else f"control: {text}"
    if len(set(found.values())) < len(found):
        raise UserError(f"--main-value {main}: a variant has this estimator too; give each once")
    return found


def verdict(data: pd.DataFrame, control: pd.DataFrame, test: str, metric: str) -> str:
    """Whether the detected neurons beat random ones: the difference against the spread over draws."""
    mine = data[(data["test"] == test) & (data["metric"] == metric) & (data["method"] == "landermt")]
    level = control[(control["test"] == test) & (control["metric"] == metric)].iloc[0]
    digits, sign = (4, -1) if metric == "dev loss" else (1, 1)
    what = "Dev loss" if metric == "dev loss" else f"{METRICS[metric]} on {test}"
    gaps = {row.estimator: (row.mean - level["mean"]) * sign for row in mine.itertuples()}
    start = f"{what}: random neurons have {level['mean']:.{digits}f}"
    if level["over"] != DRAWS:
        sizes = ", ".join(f"{name} {sign * gap:+.{digits}f}" for name, gap in gaps.items())
        return f"{start} in a single draw, so nothing can be said of the differences: {sizes}."
    limit = 2 * level["spread"]
    groups = {
        "better": {name: gap for name, gap in gaps.items() if gap > limit},
        "worse": {name: gap for name, gap in gaps.items() if gap < -limit},
        "no different": {name: gap for name, gap in gaps.items() if -limit <= gap <= limit},
    }
    shown = [
        f"{group}: {', '.join(f'{name} {sign * gap:+.{digits}f}' for name, gap in members.items())}"
        for group, members in groups.items()
        if members
    ]
    ahead = len(groups["better"])
    whole = f"Detected neurons beat random ones with {ahead} of {len(gaps)} estimators" if ahead else NONE_BETTER
    return (
        f"{start} ±{level['spread']:.{digits}f} over {level['number']} draws. {whole} by more than twice that spread. "
        f"{'; '.join(shown).capitalize()}."
    )


def _table(data: pd.DataFrame, names: dict) -> Table:
    found = {(row.method, row.variant, row.test, row.metric): row for row in data.itertuples()}
    columns = shown_columns(data)
    tops = data[data["metric"] == "dev loss"]["mean"].min()
    rows = []
    for run, text in names.items():
        cells = []
        for test, metric, _, digits in columns:
            row = found[(*run, test, metric)]
            best = metric == "dev loss" and round(row.mean, 4) == round(tops, 4)
            cells.append(number(row.mean, digits, row.spread, best=best))
        rows.append((text, cells))
    notes = ["Dev loss: nats per token, mean over tokens. Bold: the lowest. ±: over seeds, of the control over draws."]
    return Table("Estimators", "estimator", heads([text for *_, text, _ in columns]), rows, notes=notes)


def _picture(data: pd.DataFrame, names: dict) -> str:
    """Dev loss and BLEU of each estimator; the line is the mean of the control."""
    order = list(names.values())
    rows = data.sort_values("estimator", key=lambda column: column.map(order.index), kind="stable")
    rows = rows.assign(label=rows["estimator"], series="mean")
    panels = []
    for test, metric, text, _ in shown_columns(data):
        if metric in ("dev loss", "bleu"):
            part = rows[(rows["test"] == test) & (rows["metric"] == metric)]
            line = part.loc[part["method"] == CONTROL, "mean"].iloc[0]
            unit = "dev loss (nats per token)" if metric == "dev loss" else f"{text} (0-100)"
            panels.append(charts.Panel(part, f"{unit}; line: random neurons", line=float(line)))
    return charts.dots("estimators", "Estimators against random neurons", panels)
