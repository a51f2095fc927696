"""Everything put together: the page, and the files of the figures."""

import json
import shlex
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from lander.evaluate.collect import MEANS
from lander.files import write_text
from lander.report import curves, figures, summary, svg
from lander.report.figures import Drawn
from lander.report.inputs import Inputs
from lander.report.order import run_label
from lander.report.tables import (
    METRICS,
    MISSING,
    Cell,
    Head,
    Table,
    data_table,
    prompt_table,
    score_table,
    version_table,
)

HERE = Path(__file__).parent
FIGURES = ("scores", "activation", "delta", "awareness", "awareness-general", "awareness-specific", "owners", "loss")


def write(inputs: Inputs, out: Path) -> None:
    """Write index.html and every figure as .svg and .csv; an earlier report's figures that are not made now go away."""
    tests = summary.test_names(inputs)
    score_figures = _drawn([curves.scores(inputs, tests[0])])
    detection = _drawn([make(inputs) for make in figures.DETECTION])
    training = _drawn([curves.loss(inputs)])
    drawn = [*score_figures, *detection, *training]
    for one in drawn:
        write_text(out / f"{one.name}.svg", one.svg)
        write_text(out / f"{one.name}.csv", one.data.to_csv(index=False, lineterminator="\n"))
    for name in set(FIGURES) - {one.name for one in drawn}:
        (out / f"{name}.svg").unlink(missing_ok=True)
        (out / f"{name}.csv").unlink(missing_ok=True)
    numbers = {one.name: number for number, one in enumerate(drawn, start=1)}
    parts = {"score_figures": score_figures, "detection": detection, "training": training}
    shown = {key: [_shown(one, numbers[one.name]) for one in items] for key, items in parts.items()}
    write_text(out / "index.html", render(inputs, tests, shown))


def _drawn(figures_or_none: list[Drawn | None]) -> list[Drawn]:
    return [one for one in figures_or_none if one is not None]


def render(inputs: Inputs, tests: list[str], shown: dict[str, list[dict[str, Any]]]) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    sections = {
        "summary": ("Summary", True),
        "scores-section": ("Scores", True),
        "detection": ("Layers and neurons", bool(shown["detection"])),
        "training": ("Training", bool(shown["training"])),
        "data": ("Data", inputs.counts is not None),
        "provenance": ("Provenance", True),
    }
    return environment.get_template("page.html").render(
        name=inputs.name,
        css=Markup((HERE / "page.css").read_text(encoding="utf-8").strip()),
        facts=facts(inputs, tests),
        sections=[(key, title) for key, (title, there) in sections.items() if there],
        verdicts=[v for v in (summary.verdict(inputs, test) for test in tests) if v],
        glance=summary.glance_table(inputs, tests),
        cautions=summary.notes(inputs, tests),
        scores=[(test, *_score_tables(inputs, test)) for test in tests],
        prompts=None if inputs.prompts is None else prompt_table(inputs.prompts),
        data=None if inputs.counts is None else data_table(inputs.counts),
        command=command(inputs),
        versions=version_table(inputs),
        config=inputs.config,
        runs=[
            (f"{run_label(run[:2])}, seed {run.seed}", json.dumps(content, ensure_ascii=False, indent=2))
            for run, content in inputs.runs.items()
        ],
        **shown,
    )


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


def command(inputs: Inputs) -> str:
    """How to make the run again."""
    config = f" --configfile {shlex.quote(inputs.config_path)}" if inputs.config_path else ""
    return f"snakemake --cores 2{config}"


def _score_tables(inputs: Inputs, test: str) -> tuple[list[Table], list[Table]]:
    """The two tables that everybody reads, and the others."""
    there = inputs.scores.loc[inputs.scores["test"] == test, "metric"].unique()
    known = [name for name in METRICS if name in there] + sorted(name for name in there if name not in METRICS)
    made = {name: score_table(inputs.scores, test, name) for name in known}
    first = [made.pop(name) for name in ("bleu", "chrf2++") if name in made]
    return [one for one in first if one], [one for one in made.values() if one]


def _shown(drawn: Drawn, number: int) -> dict[str, Any]:
    """A figure for the template."""
    picture = Markup(svg.inline(drawn.svg, drawn.name, drawn.description))
    return {"drawn": drawn, "number": number, "svg": picture, "table": figure_table(drawn)}


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
