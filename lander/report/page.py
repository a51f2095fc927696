"""The page: all sections put together, and the files of the figures beside it."""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from lander.report import charts, data, detection, provenance, scores, summary, training
from lander.report.beside import beside
from lander.report.document import PICTURE_FIRST, Document
from lander.report.inputs import Inputs
from lander.report.labels import method_of, run_label
from lander.report.svg import Drawn
from lander.report.templates import environment, look
from lander.report.translations import Browser
from lander.shared.files import whole_folder, write_text

EXPERIMENTS = "experiments"  # folder beside index.html: figures and numbers of the experiments
LIMIT = 4_800_000  # bytes of the page
ROOM = 2_500_000  # bytes of the experiments' figures that are in the page
NOTHING = "Nothing to show in this run."
NO_ROOM = "No sentence is shown: the rest of the page leaves no room for them."
FIGURES = ("gain", "scores", *detection.FIGURES, "loss", "lengths", "stages")  # all that a report may have


def write(
    inputs: Inputs,
    out: Path,
    documents: Sequence[Document] = (),
    browser: Browser | None = None,
    promised: Sequence[str] = (),
) -> None:
    """Write index.html and every figure as .svg and .csv. Figures of an earlier report that no longer exist go away.

    Args:
        documents: experiments. `forgetting` is the first figure of the page; without it, gain against cost is.
        browser: the translations. The page shows as many sentences of each direction as it has room for.
        promised: names of figures that Snakemake expects; those with nothing to show are written empty.
    """
    tests = summary.test_names(inputs)
    drawn = _figures(inputs, tests, documents)
    pictures = [one.name for one in documents if one.svg]
    first = [name for name in pictures if name == PICTURE_FIRST]
    order = first + [one.name for key in ("gain", "scores") for one in drawn[key]]
    order += [name for name in pictures if name not in first]
    order += [one.name for key in ("detection", "training", "data", "cost") for one in drawn[key]]
    content = _content(inputs, tests, drawn, documents, bool(browser))
    content["numbers"] = {name: place for place, name in enumerate(order, start=1)}
    template = environment().get_template("page.html")
    text = template.render(**content, browser=Markup(""))
    if browser:
        text = template.render(**content, browser=render_browser(browser, LIMIT - len(text.encode())))
    _write_files(out, [one for items in drawn.values() for one in items], documents, promised)
    write_text(out / "index.html", text)
    if len(text.encode()) > LIMIT:
        print(
            f"lander report: warning: {out / 'index.html'} is larger than {LIMIT / 1e6:.1f} MB; "
            "give fewer score tables, figures or run files",
            file=sys.stderr,
        )


def _figures(inputs: Inputs, tests: list[str], documents: Sequence[Document]) -> dict[str, list[Drawn]]:
    """The figures of each section."""
    measured = any(one.name == PICTURE_FIRST and one.svg for one in documents)
    made = {
        "gain": [] if measured else [training.gain(inputs, tests)],
        "scores": [scores.score_figure(inputs, tests)],
        "detection": [detection.draw(name, inputs, documents) for name in detection.FIGURES],
        "training": [training.loss(inputs)],
        "data": [data.lengths(inputs)],
        "cost": [training.stages(inputs)],
    }
    return {key: [one for one in items if one] for key, items in made.items()}


def _content(
    inputs: Inputs, tests: list[str], figures: dict[str, list[Drawn]], documents: Sequence[Document], browser: bool
) -> dict[str, Any]:
    """What the template shows, except the translations; `browser`: whether there are any."""
    others = [one for one in documents if one.name != PICTURE_FIRST]
    pareto = next((one for one in documents if one.name == PICTURE_FIRST), None)
    inside, room = set(), ROOM  # experiments whose figures are in the page; the others are only files
    for one in documents:
        if one.svg and len(one.svg) <= room:
            inside.add(one.name)
            room -= len(one.svg)
    compared = beside(inputs, tests)
    counts = [] if inputs.counts is None else data.count_tables(inputs.counts)
    sections = {  # id -> heading, whether there is something in it
        "summary": ("Summary", True),
        "gain-section": ("Gain, forgetting, cost", bool(pareto or figures["gain"])),
        "scores-section": ("Scores", True),
        "beside": ("Beside the paper", bool(compared)),
        "experiments": ("Experiments", bool(others)),
        "detection": ("Layers and neurons", bool(figures["detection"])),
        "training": ("Training", bool(figures["training"])),
        "translations": ("Translations", browser),
        "data": ("Data", bool(counts or inputs.dropped or figures["data"])),
        "cost": ("Time and memory", bool(figures["cost"])),
        "provenance": ("Provenance", True),
    }
    there = {key: heading for key, (heading, is_there) in sections.items() if is_there}
    places = there.keys() | {one.name for items in figures.values() for one in items}
    return {
        **look(),
        "title": inputs.name,
        "kind": "report",
        "facts": summary.facts(inputs, tests),
        "ran": set(inputs.scores["method"]),
        "sections": list(there.items()),
        "figures": figures,
        "inside": inside,
        "elsewhere": [one.theirs.caption for one in compared],  # tables that some experiments also have
        "verdicts": [(test, summary.verdict(inputs, test)) for test in tests],
        "findings": [one for one in summary.findings(inputs) if one[2] in places],
        "glance": summary.glance_table(inputs, tests),
        "winners": [one for one in (summary.winners_table(inputs, test) for test in tests) if one],
        "off_target": summary.off_target_table(inputs.scores),
        "cautions": summary.cautions(inputs, tests),
        "foreign": detection.foreign_masks(inputs),
        "pareto": pareto,
        "measure": f"{provenance.commands(inputs, [])[0][1]} -- {PICTURE_FIRST}",
        "scores": [(test, *scores.score_tables(inputs, test)) for test in tests],
        "beside": compared,
        "experiments": others,
        "prompts": None if inputs.prompts is None else scores.prompt_table(inputs.prompts),
        "data": [one for one in (*counts, data.languages_table(inputs)) if one],
        "dropped": [data.dropped_table(pair, rows) for pair, rows in inputs.dropped.items() if rows],
        "owners": detection.owners_table(inputs),
        "stages": training.stage_table(inputs),
        "commands": provenance.commands(inputs, [one.name for one in documents]),
        "seeds": sorted(inputs.scores["seed"].unique(), key=lambda seed: (len(seed), seed)),
        "made": provenance.made_tables(inputs),
        "signatures": provenance.signature_table(inputs),
        "config": inputs.config,
        "runs": [
            (f"{run_label(method_of(model))}, seed {model.seed}", json.dumps(content, ensure_ascii=False, indent=2))
            for model, content in inputs.runs.items()
        ],
    }


def render_browser(browser: Browser, room: int) -> Markup:
    """The browser as HTML of at most `room` bytes, with fewer sentences of each direction if it would be larger."""
    template = environment().get_template("translations.html")
    number = max((len(group.sentences) for group in browser.groups), default=0)
    text = template.render(b=browser)
    while number and (size := len(text.encode())) > room:
        number = min(number - 1, max(0, int(0.97 * number * room / size)))
        why = f"At most {number:,} sentences of each direction and test set are shown, spread evenly: no room for more."
        text = template.render(b=browser.shortened(number, why if number else NO_ROOM))
    return Markup(text)


# ---------------------------------------------------------------- files


def _write_files(out: Path, drawn: list[Drawn], documents: Sequence[Document], promised: Sequence[str]) -> None:
    """The figures and their numbers, beside the page."""
    for one in drawn:
        write_text(out / f"{one.name}.svg", one.svg)
        write_text(out / f"{one.name}.csv", one.data.to_csv(index=False, lineterminator="\n"))
    for name in {*FIGURES, *promised} - {one.name for one in drawn}:
        if name in promised:
            write_text(out / f"{name}.svg", charts.message(name, NOTHING))
            write_text(out / f"{name}.csv", f"note\n{NOTHING}\n")
        else:
            (out / f"{name}.svg").unlink(missing_ok=True)
            (out / f"{name}.csv").unlink(missing_ok=True)
    if not documents:
        shutil.rmtree(out / EXPERIMENTS, ignore_errors=True)
        return
    with whole_folder(out / EXPERIMENTS) as folder:
        for one in documents:
            write_text(folder / f"{one.name}.csv", one.csv)
            if one.svg:
                write_text(folder / f"{one.name}.svg", one.svg)
