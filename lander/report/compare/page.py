"""Everything put together: what goes to the terminal, and the page."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from lander.report import curves, svg
from lander.report.compare import tables
from lander.report.compare.paired import paired
from lander.report.compare.runs import Finished, common, read_runs, scores_of
from lander.report.document import table_text
from lander.report.figures import Drawn
from lander.report.inputs import Inputs
from lander.report.metrics import METRICS
from lander.report.page import environment, look
from lander.report.significance import Significance
from lander.report.tables import Table
from lander.shared.errors import UserError
from lander.shared.files import write_text

HERE = Path(__file__).parent
MAIN = ("bleu", "chrf2++")  # what everybody reads; the rest is folded away
SAME = "The configs are the same, but for the name of the run."
UNREAD = "Not all configs can be read: what differs in them is not known."


def compare(folders: Sequence[Path], out: Path, resamples: int = 0) -> None:
    """Compare runs: print the tables that matter most, write the page.

    Args:
        resamples: of the tests; 0: 10,000, or more where the correction needs them.

    Raises:
        UserError: a folder is none of a finished run, the runs have nothing in common, or `out` is a folder.
    """
    if out.is_dir():
        raise UserError(f"--out {out}: a folder; name a file, as in compare.html")
    runs = read_runs(folders)
    shared = common(runs)
    scores = scores_of(runs, shared.items)
    tested, untested = paired(runs, shared.items, resamples)
    names = list(dict.fromkeys(test for test, _ in shared.items))
    cautions = [*shared.notes, *untested, *_cautions(runs, scores)]
    parts = {test: _score_tables(runs, scores, test, tested) for test in names}
    glance = tables.glance_table(runs, scores, names, tested)
    config, costs = tables.config_table(runs), tables.cost_table(runs)
    same = SAME if all(run.inputs.setting() is not None for run in runs) else UNREAD
    first = [table for main, _ in parts.values() for table in main]
    print(terminal([config, glance, *first, costs], cautions if config else [same, *cautions]))
    drawn = [curves.scores(Inputs("", scores), [test]) for test in names]
    write_text(
        out,
        render(
            title=" · ".join(run.name for run in runs),
            facts=_facts(runs, shared.items),
            glance=glance,
            cautions=cautions,
            config=config,
            same=same,
            software=tables.software_table(runs),
            scores=[(test, *found) for test, found in parts.items()],
            figures=[_figure(one, place) for place, one in enumerate(drawn) if one],
            costs=[table for table in (costs, tables.stage_table(runs)) if table],
            command=shlex.join(["lander", "compare", *map(str, folders), "--out", str(out)]),
            configs=[(run.name, run.inputs.config) for run in runs if run.inputs.config],
        ),
    )
    print(f"\n{out}")


def terminal(found: Sequence[Table | None], notes: Sequence[str]) -> str:
    """Tables as Markdown, narrow enough for a terminal: without the headings of groups and the intervals."""
    texts = [table_text(replace(table, groups=_short(table), notes=[])) for table in found if table]
    return "\n\n".join([*texts, *notes])


def _short(table: Table) -> list:
    """Headings of groups only where the columns below them have the same names."""
    heads = [head.text for head in table.heads]
    return table.groups if len(set(heads)) < len(heads) else []


def render(**parts: Any) -> str:
    """The page as HTML."""
    sections = {"summary": "Summary", "config": "Config", "scores-section": "Scores"}
    sections |= {"cost": "Cost"} if parts["costs"] else {}
    sections["provenance"] = "Provenance"
    return (
        environment(HERE)
        .get_template("compare.html")
        .render(**look(), **parts, kind="comparison", sections=list(sections.items()))
    )


def _score_tables(
    runs: Sequence[Finished], scores: pd.DataFrame, test: str, tested: Significance
) -> tuple[list[Table], list[Table]]:
    """Scores and differences that everybody reads, and the other measurements."""
    there = scores.loc[scores["test"] == test, "metric"].unique()
    known = [name for name in METRICS if name in there] + sorted(name for name in there if name not in METRICS)
    made = {name: tables.side_by_side(runs, scores, test, name, tested) for name in known}
    apart = {name: tables.differences(runs, scores, test, name, tested) for name in known}
    main, others = (
        [table for name in known if (name in MAIN) == first for table in (made[name], apart[name]) if table]
        for first in (True, False)
    )
    return main, others


def _figure(drawn: Drawn, place: int) -> tuple[Drawn, Markup]:
    drawn = replace(drawn, name=f"{drawn.name}-{place}")
    return drawn, Markup(svg.inline(drawn.svg, drawn.name, drawn.description))


def _facts(runs: Sequence[Finished], items: Sequence[tuple[str, str]]) -> list[str]:
    tests = len({test for test, _ in items})
    directions = len({direction for _, direction in items})
    counts = {"run": len(runs), "test set": tests, "direction": directions}
    return [f"{number} {thing}{'s' if number != 1 else ''}" for thing, number in counts.items()]


def _cautions(runs: Sequence[Finished], scores: pd.DataFrame) -> list[str]:
    """Runs without a config, scores that were not computed alike, and single seeds."""
    found = [f"{run.name} has no config.yaml that can be read." for run in runs if run.inputs.setting() is None]
    mixed = scores.groupby(["test", "direction", "metric"])["signature"].nunique()
    if metrics := sorted(set(mixed[mixed > 1].index.get_level_values("metric"))):
        found.append(f"Not computed alike in all runs: {', '.join(metrics)}; see the signatures below the tables.")
    if any(run.inputs.scores["seed"].nunique() == 1 for run in runs):
        found.append("One seed: the tests say how sure a difference is on other sentences, not with another seed.")
    return found
