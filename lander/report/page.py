"""The page: all sections put together, and the files of the figures beside it."""

import shutil
import sys
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path

from markupsafe import Markup

from lander.report import charts, data, detection, provenance, scores, summary, training
from lander.report.analysis import analysis
from lander.report.document import PICTURE_FIRST, Document
from lander.report.inputs import Inputs
from lander.report.paper import beside
from lander.report.svg import Drawn
from lander.report.templates import environment, style
from lander.report.translations import Browser
from lander.shared.files import whole_folder, write_text

EXPERIMENTS = "experiments"  # folder beside index.html: figures and numbers of the experiments
LIMIT = 4_800_000  # bytes of the page
ROOM = 2_500_000  # bytes of the experiments' figures that are in the page
BROWSER = "<!-- the translations -->"  # where they go when the size of the rest is known
NOTHING = "Nothing to show in this run."
NO_ROOM = "No sentence is shown: the rest of the page leaves no room for them."
FIGURES = ("gain", "scores", *detection.FIGURES, "loss", "lengths", "stages")  # all that a report may have


def write(
    inputs: Inputs, out: Path, documents: Sequence[Document], browser: Browser | None, promised: Sequence[str]
) -> None:
    """Write index.html and every figure as .svg and .csv. Figures of an earlier report that no longer exist go away.

    Args:
        documents: experiments. `forgetting` is the first figure of the page; without it, gain against cost is.
        browser: the translations. The page shows as many sentences of each direction as it has room for.
        promised: names of figures that Snakemake expects; those with nothing to show are written empty.
    """
    tests = summary.test_names(inputs)
    pareto = [one for one in documents if one.name == PICTURE_FIRST]
    figures = _figures(inputs, tests, documents)
    inside, room = set(), ROOM  # experiments whose figures are in the page; the others are only files
    for one in documents:
        if one.svg and len(one.svg) <= room:
            inside.add(one.name)
            room -= len(one.svg)
    compared = beside(inputs, tests)
    others = [one for one in documents if one not in pareto]
    sections = {  # id -> heading, whether there is something in it
        "summary": ("Summary", True),
        "scores-section": ("Scores", True),
        "beside": ("Beside the paper", compared),
        "experiments": ("Experiments", others),
        "detection": ("Layers and neurons", figures["detection"]),
        "training": ("Training", figures["training"]),
        "translations": ("Translations", browser),
        "data": ("Data", inputs.counts is not None or inputs.dropped or figures["data"]),
        "cost": ("Time and memory", figures["cost"]),
        "provenance": ("Provenance", True),
    }
    sizes: dict[str, dict[str, int]] = {}  # test set -> direction -> sentences
    for group in browser.groups if browser else []:
        sizes.setdefault(group.test, {})[str(group.direction)] = group.total
    text = (
        environment()
        .get_template("page.html")
        .render(
            **style(),
            title=inputs.name,
            kind="report",
            facts=summary.facts(inputs, tests),
            sections={key: heading for key, (heading, is_there) in sections.items() if is_there},
            number=partial(next, count(1)),  # of the next figure
            **{"inputs": inputs, "tests": tests, "documents": documents, "figures": figures, "inside": inside},
            **{"pareto": pareto, "beside": compared, "experiments": others, "browser": Markup(BROWSER)},
            **{"summary": summary, "scores": scores, "detection": detection, "training": training, "data": data},
            provenance=provenance,
            sizes=sizes,
            analysis=analysis(browser) if browser else None,
        )
    )
    if browser:
        text = text.replace(BROWSER, render_browser(browser, LIMIT - len(text.encode())))
    _write_files(out, [one for items in figures.values() for one in items], documents, promised)
    write_text(out / "index.html", text)
    if len(text.encode()) > LIMIT:
        large = (
            f"{out / 'index.html'} is larger than {LIMIT / 1e6:.1f} MB; give fewer score tables, figures or run files"
        )
        print(f"lander report: warning: {large}", file=sys.stderr)


def _figures(inputs: Inputs, tests: list[str], documents: Sequence[Document]) -> dict[str, list[Drawn]]:
    """The figures of each section. Gain against cost is drawn if the experiment `forgetting` has not measured more."""
    measured = any(one.name == PICTURE_FIRST and one.svg for one in documents)
    found = {
        "gain": [] if measured else [training.gain(inputs, tests)],
        "scores": [scores.score_figure(inputs, tests)],
        "detection": [detection.draw(name, inputs, documents) for name in detection.FIGURES],
        "training": [training.loss(inputs)],
        "data": [data.lengths(inputs)],
        "cost": [training.stages(inputs)],
    }
    return {key: [one for one in items if one] for key, items in found.items()}


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


def _write_files(out: Path, drawn: list[Drawn], documents: Sequence[Document], promised: Sequence[str]) -> None:
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
