"""Everything put together: the page, and the files of the figures."""

import base64
import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from lander.report import cautions, costs, curves, figures, maps, parts, summary
from lander.report.beside import beside
from lander.report.document import PICTURE_FIRST, Document
from lander.report.figures import Drawn
from lander.report.findings import findings, owners_table
from lander.report.inputs import Inputs
from lander.report.order import run_label
from lander.report.origin import code_table, commands, made_table, seeds, signature_table, version_table
from lander.report.tables import prompt_table
from lander.report.texts import data_tables, dropped_table, languages_table
from lander.report.translations import Browser, cap_for, readable, text_direction, visible
from lander.shared.files import whole_folder, write_text

HERE = Path(__file__).parent
LIMIT = 4_800_000  # bytes of the page
NO_ROOM = "No sentence is shown: the rest of the page leaves no room for them."
FIGURES = (  # all that there may be, of which a former report may have left one
    "gain", "scores", "activation", "delta", "awareness", "awareness-general", "awareness-specific", "owners",
    "overlap", "estimators-agreement", "loss", "stages", "lengths",
)  # fmt: skip


def write(inputs: Inputs, out: Path, documents: Sequence[Document] = (), browser: Browser | None = None) -> None:
    """Write index.html and every figure as .svg and .csv; an earlier report's figures that are not made now go away.

    Args:
        documents: experiments; forgetting is the first figure of the page, and without it gain against cost.
        browser: the translations; as many sentences of each direction as the page has room for.
    """
    tests = summary.test_names(inputs)
    drawn = _figures(inputs, tests, list(documents))
    pictures = [one.name for one in documents if one.svg]
    first = [name for name in pictures if name == PICTURE_FIRST]
    before = [*drawn["gain"], *drawn["score_figures"]]
    after = [one for key in ("detection", "training", "data_figures", "cost") for one in drawn[key]]
    order = [*first, *(one.name for one in before), *(name for name in pictures if name not in first)]
    numbers = {name: place for place, name in enumerate([*order, *(one.name for one in after)], start=1)}
    shown = {key: [parts.shown(one, numbers[one.name]) for one in items] for key, items in drawn.items()}
    shown_documents = parts.shown_documents(documents, numbers)
    text = render(inputs, tests, shown, shown_documents, Markup("")) if browser else ""
    part = render_browser(browser, LIMIT - len(text.encode())) if browser else Markup("")
    text = render(inputs, tests, shown, shown_documents, part)
    _write_files(out, [*before, *after], documents)
    write_text(out / "index.html", text)
    if len(text.encode()) > LIMIT:
        print(
            f"lander report: warning: {out / 'index.html'} is larger than {LIMIT / 1e6:.1f} MB; "
            "give fewer score tables, figures or run files",
            file=sys.stderr,
        )


def _figures(inputs: Inputs, tests: list[str], documents: list[Document]) -> dict[str, list[Drawn]]:
    """The figures of each part of the page."""
    measured = any(one.name == PICTURE_FIRST and one.svg for one in documents)
    made = {
        "gain": [] if measured else [costs.gain(inputs, tests)],
        "score_figures": [curves.scores(inputs, tests)],
        "detection": [*(make(inputs) for make in figures.DETECTION), maps.overlap(inputs), maps.agreement(documents)],
        "training": [curves.loss(inputs)],
        "cost": [costs.stages(inputs)],
        "data_figures": [curves.lengths(inputs)],
    }
    return {key: [one for one in items if one] for key, items in made.items()}


def _write_files(out: Path, drawn: list[Drawn], documents: Sequence[Document]) -> None:
    for one in drawn:
        write_text(out / f"{one.name}.svg", one.svg)
        write_text(out / f"{one.name}.csv", one.data.to_csv(index=False, lineterminator="\n"))
    for name in set(FIGURES) - {one.name for one in drawn}:
        (out / f"{name}.svg").unlink(missing_ok=True)
        (out / f"{name}.csv").unlink(missing_ok=True)
    if not documents:
        shutil.rmtree(out / parts.FOLDER, ignore_errors=True)
        return
    with whole_folder(out / parts.FOLDER) as folder:
        for one in documents:
            for suffix, text in ((".svg", one.svg), (".csv", one.csv)):
                if text is not None:
                    write_text(folder / f"{one.name}{suffix}", text)


def look() -> dict[str, Any]:
    """Style and script of a page, and the script's hash, without which the page's policy does not let it run."""
    css, script = ((HERE / name).read_text(encoding="utf-8").strip() for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"css": Markup(css), "script": Markup(script), "script_hash": digest}


def environment(*folders: Path) -> jinja2.Environment:
    """Templates that escape all text and show control characters, which HTML cannot hold.

    Args:
        folders: with templates of other pages, which import from those here.
    """
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, HERE]),
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
    compared = beside(inputs, tests)
    once = {part.theirs.caption for part in compared}  # the paper's tables stand there, and not again below
    documents = [{**one, "tables": [t for t in one["tables"] if t.caption not in once]} for one in documents]
    experiments = [one for one in documents if one["name"] != PICTURE_FIRST]
    pareto = next((one for one in documents if one["name"] == PICTURE_FIRST), None)
    data = [] if inputs.counts is None else data_tables(inputs.counts)
    drawn = {one["drawn"].name for items in shown.values() for one in items}
    sections = {
        "summary": ("Summary", True),
        "gain-section": ("Gain, forgetting, cost", bool(pareto or shown["gain"])),
        "scores-section": ("Scores", True),
        "beside": ("Beside the paper", bool(compared)),
        "experiments": ("Experiments", bool(experiments)),
        "detection": ("Layers and neurons", bool(shown["detection"])),
        "training": ("Training", bool(shown["training"])),
        "translations": ("Translations", bool(browser)),
        "data": ("Data", bool(data or inputs.dropped or shown["data_figures"])),
        "cost": ("Time and memory", bool(shown["cost"])),
        "provenance": ("Provenance", True),
    }
    headings = {key: heading for key, (heading, is_there) in sections.items() if is_there}
    return (
        environment()
        .get_template("page.html")
        .render(
            title=inputs.name,
            kind="report",
            **look(),
            facts=parts.facts(inputs, tests),
            sections=list(headings.items()),
            verdicts=[v for v in (summary.verdict(inputs, test) for test in tests) if v],
            findings=[one for one in findings(inputs) if one[2] in headings.keys() | drawn],
            glance=summary.glance_table(inputs, tests),
            winners=[t for t in (summary.winners_table(inputs, test) for test in tests) if t],
            cautions=cautions.notes(inputs, tests),
            foreign=cautions.foreign_masks(inputs),
            pareto=pareto,
            measure=commands(inputs, [])[0][1] + f" -- {PICTURE_FIRST}",
            scores=[(test, *parts.score_tables(inputs, test)) for test in tests],
            beside=compared,
            experiments=experiments,
            browser=browser,
            prompts=None if inputs.prompts is None else prompt_table(inputs.prompts),
            data=[t for t in (*data, languages_table(inputs)) if t],
            dropped=[dropped_table(pair, rows) for pair, rows in inputs.dropped.items() if rows],
            owners=owners_table(inputs),
            stages=costs.stage_table(inputs),
            commands=commands(inputs, [one["name"] for one in documents]),
            seeds=seeds(inputs),
            made=[t for t in (made_table(inputs), version_table(inputs), code_table(inputs)) if t],
            signatures=signature_table(inputs.scores),
            config=inputs.config,
            runs=[
                (f"{run_label(run[:2])}, seed {run.seed}", json.dumps(content, ensure_ascii=False, indent=2))
                for run, content in inputs.runs.items()
            ],
            **shown,
        )
    )
