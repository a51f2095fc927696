"""Everything put together: the page, and the files of the figures."""

import base64
import hashlib
import json
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from lander.evaluate.collect import MEANS
from lander.files import whole_folder, write_text
from lander.report import curves, figures, summary, svg
from lander.report.beside import beside
from lander.report.documents import PICTURE_FIRST, Document
from lander.report.figures import Drawn
from lander.report.inputs import Inputs
from lander.report.order import run_label
from lander.report.tables import (
    METRICS,
    MISSING,
    Cell,
    Head,
    Table,
    code_table,
    data_table,
    difference_table,
    dropped_table,
    overlap_table,
    prompt_table,
    score_table,
    stage_table,
    version_table,
)
from lander.report.translations import Browser, cap_for, readable, text_direction, visible

HERE = Path(__file__).parent
FOLDER = "experiments"  # beside index.html: pictures and numbers of the experiments
LIMIT = 4_800_000  # bytes of the page
PICTURES = 2_500_000  # bytes of the experiments' pictures that are in the page
NO_ROOM = "No sentence is shown: the rest of the page leaves no room for them."
FIGURES = (
    "scores",
    "activation",
    "delta",
    "awareness",
    "awareness-general",
    "awareness-specific",
    "owners",
    "loss",
    "lengths",
)


def write(inputs: Inputs, out: Path, documents: Sequence[Document] = (), browser: Browser | None = None) -> None:
    """Write index.html and every figure as .svg and .csv; an earlier report's figures that are not made now go away.

    Args:
        documents: experiments; forgetting is the first figure of the page.
        browser: the translations; as many sentences of each direction as the page has room for.
    """
    tests = summary.test_names(inputs)
    score_figures = _drawn([curves.scores(inputs, tests[0])])
    detection = _drawn([make(inputs) for make in figures.DETECTION])
    training = _drawn([curves.loss(inputs)])
    data = _drawn([curves.lengths(inputs)])
    drawn = [*score_figures, *detection, *training, *data]
    pictures = [one for one in documents if one.svg]
    first = [one.name for one in pictures if one.name == PICTURE_FIRST]
    order = first + [one.name for one in score_figures] + [one.name for one in pictures if one.name not in first]
    numbers = {
        name: place for place, name in enumerate(order + [one.name for one in [*detection, *training, *data]], start=1)
    }
    parts = {"score_figures": score_figures, "detection": detection, "training": training, "data_figures": data}
    shown = {key: [_shown(one, numbers[one.name]) for one in items] for key, items in parts.items()}
    shown_documents = _shown_documents(documents, numbers)
    text = render(inputs, tests, shown, shown_documents, Markup("")) if browser else ""
    part = render_browser(browser, LIMIT - len(text.encode())) if browser else Markup("")
    text = render(inputs, tests, shown, shown_documents, part)
    _write_files(out, drawn, documents)
    write_text(out / "index.html", text)
    if len(text.encode()) > LIMIT:
        print(
            f"lander report: warning: {out / 'index.html'} is larger than {LIMIT / 1e6:.1f} MB; "
            "give fewer score tables, figures or run files",
            file=sys.stderr,
        )


def _write_files(out: Path, drawn: list[Drawn], documents: Sequence[Document]) -> None:
    for one in drawn:
        write_text(out / f"{one.name}.svg", one.svg)
        write_text(out / f"{one.name}.csv", one.data.to_csv(index=False, lineterminator="\n"))
    for name in set(FIGURES) - {one.name for one in drawn}:
        (out / f"{name}.svg").unlink(missing_ok=True)
        (out / f"{name}.csv").unlink(missing_ok=True)
    if not documents:
        shutil.rmtree(out / FOLDER, ignore_errors=True)
        return
    with whole_folder(out / FOLDER) as folder:
        for one in documents:
            for suffix, text in ((".svg", one.svg), (".csv", one.csv)):
                if text is not None:
                    write_text(folder / f"{one.name}{suffix}", text)


def _drawn(figures_or_none: list[Drawn | None]) -> list[Drawn]:
    return [one for one in figures_or_none if one is not None]


def environment() -> jinja2.Environment:
    """Templates that escape all text and show control characters, which HTML cannot hold."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    made.filters["readable"] = readable
    made.globals |= {"dir": text_direction, "text_direction": text_direction}
    return made


def render_browser(browser: Browser, room: int) -> Markup:
    """The browser as HTML of at most `room` bytes: fewer sentences of each direction where it would be larger."""
    template = environment().get_template("translations.html")
    number = max((len(group.sentences) for group in browser.groups), default=0)
    text = template.render(b=browser)
    while number and (size := len(text.encode())) > room:
        number = min(number - 1, cap_for(size, room, number))
        why = f"At most {number:,} sentences of each direction and test set are shown, spread evenly: no room for more."
        text = template.render(b=browser.shortened(number, why if number else NO_ROOM))
    return Markup(text)


def render(
    inputs: Inputs,
    tests: list[str],
    shown: dict[str, list[dict[str, Any]]],
    documents: list[dict[str, Any]],
    browser: Markup,
) -> str:
    """The page as HTML."""
    script = (HERE / "page.js").read_text(encoding="utf-8").strip()
    compared = beside(inputs, tests)
    once = {part.theirs.caption for part in compared}  # the paper's tables stand there, and not again below
    documents = [{**one, "tables": [t for t in one["tables"] if t.caption not in once]} for one in documents]
    experiments = [one for one in documents if one["name"] != PICTURE_FIRST]
    pareto = next((one for one in documents if one["name"] == PICTURE_FIRST), None)
    sections = {
        "summary": ("Summary", True),
        "gain": ("Gain and forgetting", pareto is not None),
        "scores-section": ("Scores", True),
        "beside": ("Beside the paper", bool(compared)),
        "experiments": ("Experiments", bool(experiments)),
        "detection": ("Layers and neurons", bool(shown["detection"])),
        "training": ("Training", bool(shown["training"])),
        "translations": ("Translations", bool(browser)),
        "data": ("Data", bool(inputs.counts is not None or inputs.dropped or shown["data_figures"])),
        "provenance": ("Provenance", True),
    }
    there = {key for key, (_, is_there) in sections.items() if is_there} | {
        one["drawn"].name for items in shown.values() for one in items
    }
    return (
        environment()
        .get_template("page.html")
        .render(
            name=inputs.name,
            css=Markup((HERE / "page.css").read_text(encoding="utf-8").strip()),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            facts=facts(inputs, tests),
            sections=[(key, title) for key, (title, is_there) in sections.items() if is_there],
            verdicts=[v for v in (summary.verdict(inputs, test) for test in tests) if v],
            findings=[one for one in summary.findings(inputs) if one[2] in there],
            glance=summary.glance_table(inputs, tests),
            winners=[t for t in (summary.winners_table(inputs, test) for test in tests) if t],
            cautions=summary.notes(inputs, tests),
            pareto=pareto,
            scores=[(test, *_score_tables(inputs, test)) for test in tests],
            beside=compared,
            experiments=experiments,
            browser=browser,
            prompts=None if inputs.prompts is None else prompt_table(inputs.prompts),
            data=None if inputs.counts is None else data_table(inputs.counts),
            dropped=[dropped_table(pair, rows) for pair, rows in inputs.dropped.items() if rows],
            command=command(inputs),
            versions=version_table(inputs),
            code=code_table(inputs),
            stages=stage_table(inputs),
            overlap=overlap_table(inputs),
            config=inputs.config,
            runs=[
                (f"{run_label(run[:2])}, seed {run.seed}", json.dumps(content, ensure_ascii=False, indent=2))
                for run, content in inputs.runs.items()
            ],
            **shown,
        )
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


def _score_tables(inputs: Inputs, test: str) -> tuple[list[Table], list[Table], list[Table]]:
    """The two tables that everybody reads, the differences to baselines, and the other measurements."""
    tested = inputs.significance
    there = inputs.scores.loc[inputs.scores["test"] == test, "metric"].unique()
    known = [name for name in METRICS if name in there] + sorted(name for name in there if name not in METRICS)
    made = {name: score_table(inputs.scores, test, name, tested) for name in known}
    first = [made.pop(name) for name in ("bleu", "chrf2++") if name in made]
    differences = [difference_table(tested, test, name, one) for name in known for one in tested.baselines]
    return tuple([one for one in tables if one] for tables in (first, differences, made.values()))


def _shown(drawn: Drawn, number: int) -> dict[str, Any]:
    """A figure for the template."""
    picture = Markup(svg.inline(drawn.svg, drawn.name, drawn.description))
    return {"drawn": drawn, "number": number, "svg": picture, "table": figure_table(drawn)}


def _shown_documents(documents: Sequence[Document], numbers: dict[str, int]) -> list[dict[str, Any]]:
    """Experiments for the template; once their pictures are too much for the page, the rest are files beside it."""
    found, room = [], PICTURES
    for one in documents:
        description = f"{one.title}. The numbers are in the tables below it and in its file."
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
                "left_out": f"Figure {numbers[one.name]} is too large for the page." if one.svg and not inside else "",
                "paragraphs": one.paragraphs,
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
