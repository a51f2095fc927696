"""The look of the figures, and their SVG in two forms: a separate file, and inline in the page.

Colours are those of Okabe and Ito (2008) without the yellow, which is too pale for lines on white. Each series also
has its own marker, dash or hatch, so that the figures can be read in black and white.
In the page each colour is a CSS variable (see page.css), so that figures follow light, dark and print.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from lander.report.tables import MISSING, Table

INK, MUTED, GRID, BAND, PAGE = "#1b1b1d", "#5f5f63", "#dcdcdf", "#efe7d2", "#fffffe"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
NAMES = ("blue", "vermillion", "green", "purple", "orange", "sky", "ink")
VARIABLES = dict(zip(PALETTE, NAMES, strict=True)) | {MUTED: "muted", GRID: "grid", BAND: "band", PAGE: "page"}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
DASHES = ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2)))
HOVER = "hover"  # id of groups of points that only say their values
HATCHES = ("", "////", "----", "\\\\\\\\", "xxxx", "||||", "++++", "//", "--", "xx")  # dots would be 250 kB each

RC = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "legend.fontsize": 9,
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud and takes the page's font
    "text.parse_math": False,  # a dollar in a user's name is a dollar
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "axes.labelcolor": INK,
    "figure.facecolor": PAGE,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.6,
    "lines.markeredgewidth": 1.1,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "legend.columnspacing": 1.4,
    "hatch.linewidth": 0.8,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-2, 6),
}
TICKS = {"labelsize": 9, "color": MUTED, "labelcolor": INK}
RC |= {f"{axis}tick.{name}": value for axis in "xy" for name, value in TICKS.items()}

styled = matplotlib.rc_context(RC)  # decorator of functions that draw


@dataclass(frozen=True)
class Drawn:
    """A figure for the page, and for its own files <name>.svg and <name>.csv."""

    name: str
    title: str
    svg: str
    data: pd.DataFrame  # long format: what the figure shows
    pivot: tuple[str, str, str] | None = None  # rows, columns and values of `table`

    @property
    def table(self) -> Table | None:
        """The numbers of the figure, for readers who cannot see it or want to know exactly."""
        if not self.pivot:
            return None
        index, columns, values = self.pivot
        order = list(dict.fromkeys(self.data[columns]))
        wide = self.data.pivot(index=index, columns=columns, values=values)[order]
        whole = (wide.dropna() % 1 == 0).all(axis=None)
        wide = wide.map(lambda value: MISSING if pd.isna(value) else f"{value:,.0f}" if whole else f"{value:.4g}")
        return Table.of(self.title, index, map(str, order), zip(wide.index, wide.to_numpy(), strict=True))


def line_style(index: int) -> dict[str, Any]:
    """Colour, dash and marker of the `index`-th series. Neighbours differ in all three, any two of 70 in one."""
    colour = PALETTE[index % len(PALETTE)]
    dash = DASHES[(index + index // len(PALETTE)) % len(DASHES)]
    return {"color": colour, "linestyle": dash, "marker": MARKERS[index % len(MARKERS)], "markeredgecolor": colour}


def to_svg(figure: Figure, name: str, title: str) -> str:
    """The figure as an SVG file, always the same bytes: no date, ids from the figure's name.

    The groups that show data have ids `data-...`. What is drawn at zorder 0 (bands, guide lines) shows no data. A heat
    map is of the class `shaded`: its cells and numbers keep their colours on a dark page.
    """
    drawn = [one for axes in figure.axes for one in (*axes.lines, *axes.patches, *axes.collections, *axes.images)]
    said: dict[str, Sequence[str]] = {}
    for number, one in enumerate(drawn):
        if one.get_gid() == HOVER:
            one.set_gid(f"{HOVER}-{number}")
            said[f"{HOVER}-{number}"] = one.said
        elif one.get_zorder():
            one.set_gid(f"data-{type(one).__name__}-{number}")
    stream = io.StringIO()
    with matplotlib.rc_context(RC | {"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that matplotlib's font lacks is still text in the SVG
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", stream.getvalue(), flags=re.DOTALL)
    for group, texts in said.items():
        start = text.index(f'<g id="{group}">')
        end, found = text.index("</g>", start), iter(texts)
        inner = re.sub(r"(<use[^>]*)/>", _titled(found), text[start:end])
        text = text[:start] + inner + text[end:]
    shaded = ' class="shaded"' if any(isinstance(one, QuadMesh) for one in drawn) else ""
    return re.sub(r"<svg([^>]*>)", lambda m: f"<svg{shaded}{m[1]}\n <title>{escape(title)}</title>", text, count=1)


def _titled(texts: Iterator[str]) -> Callable[[re.Match], str]:
    return lambda mark: f"{mark[1]}><title>{escape(next(texts))}</title></use>"


def inline(svg: str, name: str, description: str) -> str:
    """The SVG for the page: ids made unique with the figure's name, colours and font taken from the page's style sheet.

    What shows data is of the class `data`.
    """
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<title>.*?</title>\s*", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'\sid="data-[^"]+"', ' class="data"', text)
    used = set(re.findall(r"""(?:href="#|url\(#)([^")]+)""", text))
    text = re.sub(r'\sid="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    text = re.sub(r' (fill|stroke)="(var[^"]+)"', r' style="\1: \2"', text)  # variables work in styles only
    text = re.sub(r"(font: [^;\"']*?\d[\d.]*px) [^;\"]+", r"\1 var(--sans)", text)
    shaded = ' class="shaded"' if '<svg class="shaded"' in svg else ""
    head = f'<svg role="img" aria-label="{escape(description)}" focusable="false"{shaded}'
    text = re.sub(r'<svg\b(?=[^>]*viewBox="([^"]+)")[^>]*>', lambda m: f'{head} viewBox="{m[1]}">', text, count=1)
    return re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
