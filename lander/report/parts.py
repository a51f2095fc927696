"""Parts of the page as its template takes them: figures, experiments, tables of scores."""

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from lander.evaluate.collect import MEANS
from lander.report import svg
from lander.report.captions import SEE
from lander.report.document import Document
from lander.report.figures import Drawn
from lander.report.inputs import Inputs
from lander.report.metrics import METRICS
from lander.report.tables import MISSING, Cell, Head, Table, difference_table, score_table

FOLDER = "experiments"  # beside index.html: pictures and numbers of the experiments
PICTURES = 2_500_000  # bytes of the experiments' pictures that are in the page
SHADED = "QuadMesh"  # what matplotlib calls a heat map: its cells and numbers keep their colours on a dark page


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
    return found + [f"{number} {thing}{'s' if number != 1 else ''}" for thing, number in counts.items()]


def score_tables(inputs: Inputs, test: str) -> tuple[list[Table], list[Table], list[Table]]:
    """The two tables that everybody reads, the differences to baselines, and the other measurements."""
    tested = inputs.significance
    there = inputs.scores.loc[inputs.scores["test"] == test, "metric"].unique()
    known = [name for name in METRICS if name in there] + sorted(name for name in there if name not in METRICS)
    made = {name: score_table(inputs.scores, test, name, tested) for name in known}
    first = [made.pop(name) for name in ("bleu", "chrf2++") if name in made]
    differences = [difference_table(tested, test, name, one) for name in known for one in tested.baselines]
    return tuple([one for one in tables if one] for tables in (first, differences, made.values()))


def shown(drawn: Drawn, number: int) -> dict[str, Any]:
    """A figure for the template."""
    picture = Markup(svg.inline(drawn.svg, drawn.name, drawn.description))
    shaded = SHADED in drawn.svg
    return {"drawn": drawn, "number": number, "svg": picture, "shaded": shaded, "table": figure_table(drawn)}


def shown_documents(documents: Sequence[Document], numbers: dict[str, int]) -> list[dict[str, Any]]:
    """Experiments for the template; once their pictures are too much for the page, the rest are files beside it."""
    found, room = [], PICTURES
    for one in documents:
        see = SEE.get(one.name, "") if one.svg else ""
        description = f"{one.title}. {see} The numbers are in the tables below it and in its file."
        name = f"experiment-{re.sub(r'[^A-Za-z0-9_-]', '-', one.name)}"
        inside = bool(one.svg) and len(one.svg) <= room
        room -= len(one.svg or "") if inside else 0
        files = {".svg": one.svg, ".csv": one.csv}
        found.append(
            {
                "name": one.name,
                "id": name,
                "title": one.title,
                "number": numbers.get(one.name),
                "svg": Markup(svg.inline(one.svg, name, description)) if inside else None,
                "shaded": inside and SHADED in one.svg,
                "left_out": f"Figure {numbers[one.name]} is too large for the page." if one.svg and not inside else "",
                "paragraphs": [text for text in (see, *one.paragraphs) if text],
                "tables": one.tables,
                "files": [f"{FOLDER}/{one.name}{end}" for end, text in files.items() if text is not None],
            }
        )
    return found


def figure_table(drawn: Drawn) -> Table | None:
    """The numbers of a figure as a table, for those who cannot see it or want to know exactly."""
    if drawn.pivot is None:
        return None
    index, columns, values = drawn.pivot
    order = list(dict.fromkeys(drawn.data[columns]))
    wide = drawn.data.pivot(index=index, columns=columns, values=values)[order]
    rows = [
        (str(label), [Cell(_text(value)) for value in row]) for label, row in zip(wide.index, wide.values, strict=True)
    ]
    return Table(drawn.title, index, [Head(str(name)) for name in order], rows)


def _text(value: float) -> str:
    if pd.isna(value):
        return MISSING
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 1 else f"{value:.4g}"
