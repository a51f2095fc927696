"""Figures that the workflow has promised before it knew what there would be to show."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib

from lander.report import svg
from lander.shared.files import write_text

NOTHING = "Nothing to show in this run."


def fill(out: Path, names: Iterable[str]) -> None:
    """Write an empty picture, and a table that says so, for each figure of which there is no file."""
    for name in names:
        if not (out / f"{name}.svg").is_file():
            write_text(out / f"{name}.svg", _empty(name))
            write_text(out / f"{name}.csv", f"note\n{NOTHING}\n")


@matplotlib.rc_context(svg.RC)
def _empty(name: str) -> str:
    figure, axes = svg.new_figure(height=1)
    axes.set_axis_off()
    axes.text(0.5, 0.5, NOTHING, ha="center", va="center")
    return svg.to_svg(figure, name, NOTHING)
