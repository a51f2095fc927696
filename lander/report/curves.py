"""The figures of training and its outcome: loss curves, and the spread of scores over directions."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from lander.evaluate.collect import MEANS
from lander.report import svg
from lander.report.figures import Drawn
from lander.report.inputs import Inputs
from lander.report.order import direction_group, group_heading, method_key, run_label

POINTS = 60  # of a loss curve: enough to see its shape, few enough to smooth over the batches


def binned_loss(losses: list[pd.DataFrame]) -> pd.DataFrame:
    """Mean loss per token in at most `POINTS` stretches of equal length, over directions and seeds.

    Returns:
        `update` (the last one of the stretch) and `loss` (nats per token, weighted by tokens).
    """
    rows = pd.concat(losses)
    rows = rows[np.isfinite(rows["loss"]) & (rows["tokens"] > 0)]
    if rows.empty:
        return pd.DataFrame({"update": [], "loss": []})
    first, last = rows["update"].min(), rows["update"].max()
    width = max(1, -(-(last - first + 1) // POINTS))
    stretch = ((rows["update"] - first) // width).astype(int)
    sums = (rows["loss"] * rows["tokens"]).groupby(stretch).sum() / rows["tokens"].groupby(stretch).sum()
    return pd.DataFrame({"update": rows["update"].groupby(stretch).max().astype(int), "loss": sums})


@matplotlib.rc_context(svg.RC)
def loss(inputs: Inputs) -> Drawn | None:
    """Training loss of every trained method."""
    runs: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for run, rows in inputs.losses.items():
        if len(rows):  # nothing is trained with layers.k: 0
            runs.setdefault(run[:2], []).append(rows)
    curves = {run_label(run): binned_loss(runs[run]) for run in sorted(runs, key=method_key)}
    curves = {label: rows.assign(method=label) for label, rows in curves.items() if len(rows)}
    if not curves:
        return None
    columns = min(4, len(curves))
    figure, axes = svg.new_figure(height=3.5, legend_rows=-(-len(curves) // columns))
    for index, (label, rows) in enumerate(curves.items()):
        step = max(1, len(rows) // 8)
        style = svg.line_style(index) | {"markevery": (index % step, step)}  # markers of two curves seldom coincide
        axes.plot(rows["update"], rows["loss"], label=label, **style)
    axes.set_xlabel("optimizer update")
    axes.set_ylabel("training loss (nats per token)")
    axes.margins(x=0.02)
    svg.integer_axis(axes)
    svg.legend_below(figure, axes, columns)
    ends = ", ".join(f"{label} {rows['loss'].iloc[-1]:.2f}" for label, rows in curves.items())
    caption = (
        f"Mean over directions{_seeds(inputs)}, smoothed. At the end: {ends}. "
        "A curve that is still falling at the right wanted more training; the lowest loss need not translate best."
    )
    data = pd.concat(curves.values())[["method", "update", "loss"]]
    title = "Training loss"
    description = f"Line chart. {title} of {len(curves)} methods. {caption}"
    return Drawn(
        "loss", title, caption, description, svg.to_svg(figure, "loss", title), data, ("update", "method", "loss")
    )


def length_bins(longest: int) -> list[int]:
    """Ends of at most 24 stretches of equal width, a round number of characters, up to the longest sentence."""
    width = next(size for size in (1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000, 10**6) if longest / size <= 24)
    return list(range(0, longest + width + 1, width))


@matplotlib.rc_context(svg.RC)
def lengths(inputs: Inputs) -> Drawn | None:
    """Length of the training sentences, by language."""
    rows = inputs.lengths
    if not len(rows):
        return None
    ends = length_bins(int(rows["characters"].quantile(0.999)))
    languages = sorted(rows["language"].unique())
    figure, axes = svg.new_figure(legend_rows=-(-len(languages) // 7))
    parts, medians = [], {}
    for index, language in enumerate(languages):
        mine = rows[rows["language"] == language].sort_values("characters")
        capped = mine["characters"].clip(upper=ends[-1] - 1)
        counts, _ = np.histogram(capped, ends, weights=mine["sentences"])
        share = 100 * counts / counts.sum()
        axes.plot(ends[:-1], share, label=language, **svg.line_style(index))
        below = mine["sentences"].cumsum()
        medians[language] = int(mine["characters"].iloc[np.searchsorted(below, below.iloc[-1] / 2)])
        table = {"characters": ends[:-1], "language": language, "percent": share.round(3), "sentences": counts}
        parts.append(pd.DataFrame(table))
    axes.set_xlabel(f"length in characters (from; stretches of {ends[1]}, the last takes all longer ones)")
    axes.set_ylabel("sentences (%)")
    axes.set_ylim(bottom=0)
    svg.legend_below(figure, axes, min(7, len(languages)))
    title = "Length of the training sentences, by language"
    listed = ", ".join(f"{language} {median}" for language, median in medians.items())
    caption = f"Median characters: {listed}. A sentence counts once for each direction that it trains."
    description = f"Line chart. {title}. {caption}"
    data = pd.concat(parts)
    drawing = svg.to_svg(figure, "lengths", title)
    return Drawn("lengths", title, caption, description, drawing, data, ("characters", "language", "percent"))


def _seeds(inputs: Inputs) -> str:
    return " and seeds" if len({run.seed for run in inputs.losses}) > 1 else ""


LOOKS = {
    "out of English": ("o", svg.PALETTE[0], -0.12),
    "into English": ("s", svg.PALETTE[1], 0.12),
    "other directions": ("^", svg.PALETTE[2], 0.0),
}  # group of directions -> marker, colour, place beside the middle of the row


@matplotlib.rc_context(svg.RC)
def scores(inputs: Inputs, tests: list[str]) -> Drawn | None:
    """BLEU of every method in every direction, a panel a test set, a row a method."""
    rows = inputs.scores.query("metric == 'bleu' and test in @tests")
    rows = rows[~rows["direction"].isin(MEANS)]
    rows = rows.groupby(["test", "method", "variant", "direction"])["score"].mean().reset_index()
    runs = sorted(set(zip(rows["method"], rows["variant"], strict=True)), key=method_key)
    if not runs:
        return None
    shown = [test for test in tests if test in set(rows["test"])]
    figure = Figure(figsize=(6.4, 0.21 + len(shown) * (0.85 + 0.3 * len(runs))), layout="constrained")
    FigureCanvasSVG(figure)
    panels = figure.subplots(len(shown), squeeze=False)[:, 0]
    groups = rows["direction"].map(direction_group)
    for axes, test in zip(panels, shown, strict=True):
        _rows_of_marks(axes, rows[rows["test"] == test].assign(group=groups), runs)
        axes.set_xlabel(f"BLEU on {test} (0-100)")
    for group in (group for group in LOOKS if (groups == group).any()):
        marker, colour, _ = LOOKS[group]
        looks = {"marker": marker, "linestyle": "", "color": colour, "markerfacecolor": "none"}
        panels[0].plot([], [], **looks, label=group_heading(group, groups))
    looks = {"marker": "|", "markersize": 10, "markeredgewidth": 2, "linestyle": "", "color": svg.INK}
    panels[0].plot([], [], **looks, label="mean of these")
    svg.legend_below(figure, panels[0], 4)
    title = f"BLEU by method on {', '.join(shown)}"
    caption = (
        "A mark is a direction, a bar the mean of those of its colour. Two methods whose marks overlap differ less "
        "than directions do; a mark far to the left of its row is a direction that the method leaves behind."
    )
    data = rows[["test", "method", "variant", "direction", "score"]]
    description = f"Dot plot. {title}, {len(runs)} rows. The numbers are in the table of scores. {caption}"
    return Drawn("scores", title, caption, description, svg.to_svg(figure, "scores", title), data)


def _rows_of_marks(axes: Axes, rows: pd.DataFrame, runs: list[tuple[str, str]]) -> None:
    """One row a method: a mark a direction, a bar the mean of each group of directions."""
    axes.grid(axis="x")
    for place, (method, variant) in enumerate(runs):
        mine = rows[(rows["method"] == method) & (rows["variant"] == variant)]
        for group, values in mine.groupby("group")["score"]:
            marker, colour, beside = LOOKS[group]
            at = place + beside
            hollow = {"markersize": 5, "markerfacecolor": "none", "markeredgecolor": colour, "linestyle": ""}
            axes.plot(values, np.full(len(values), at), marker=marker, **hollow)
            axes.plot([values.mean()] * 2, [at - 0.14, at + 0.14], color=colour, linewidth=2.4)
    axes.set_yticks(range(len(runs)), [run_label(run) for run in runs])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
