"""The comparison put together: what goes to the terminal, and the page."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from lander.report.compare import tables
from lander.report.compare.paired import paired
from lander.report.compare.runs import common, methods, read_runs, scores_of
from lander.report.inputs import Inputs
from lander.report.labels import sort_metrics
from lander.report.scores import MAIN, score_figure, score_table
from lander.report.summary import ONE_SEED
from lander.report.tables import counted, markdown
from lander.report.templates import captions, environment, look
from lander.shared.errors import UserError
from lander.shared.files import write_text

SAME = "The configs are the same, except for the name of the run."
UNREAD = "Not all configs can be read, so it is unknown how they differ."


def compare(folders: Sequence[Path], out: Path, resamples: int = 0) -> None:
    """Compare runs: print the most important tables, write the page. `resamples`: see `paired`."""
    if out.is_dir():
        raise UserError(f"--out {out}: a folder; name a file, as in compare.html")
    runs = read_runs(folders)
    items, notes = common(runs)
    scores = scores_of(runs, items)
    tested, untested = paired(runs, items, resamples)
    names = list(dict.fromkeys(test for test, _ in items))
    cautions = [*notes, *untested, *_cautions(runs, scores)]
    order = [run.label(method) for method in methods(runs) for run in runs]  # methods together, runs in their order
    parts = []  # test set, tables that everybody reads, other measurements
    for test in names:
        main, others = [], []
        for metric in sort_metrics(scores.loc[scores["test"] == test, "metric"]):
            table = score_table(scores, test, metric, tested)
            rows = sorted(table.rows, key=lambda row: order.index(row[0]))
            made = [replace(table, corner="method · run", rows=rows)]
            made.append(tables.differences(runs, scores, test, metric, tested))
            (main if metric in MAIN else others).extend(table for table in made if table)
        parts.append((test, main, others))
    glance = tables.glance_table(runs, scores, names, tested)
    config, costs = tables.config_table(runs), tables.cost_table(runs)
    same = SAME if all(run.setting() is not None for run in runs) else UNREAD
    first = [config, glance, *(table for _, main, _ in parts for table in main), costs]
    shown = [markdown(replace(table, notes=[])) for table in first if table]
    print("\n\n".join([*shown, *([] if config else [same]), *cautions]))
    drawn = [score_figure(Inputs("", scores), [test]) for test in names]
    drawn = [replace(one, name=f"{one.name}-{place}") for place, one in enumerate(drawn) if one]
    costs = [table for table in (costs, tables.stage_table(runs)) if table]
    counts = {"run": len(runs), "test set": len(names), "direction": len({name for _, name in items})}
    sections = {"summary": "Summary", "config": "Config", "scores-section": "Scores"}
    sections |= ({"cost": "Cost"} if costs else {}) | {"provenance": "Provenance"}
    template = environment(Path(__file__).parent).get_template("compare.html")
    text = template.render(
        **look(),
        kind="comparison",
        title=" · ".join(run.name for run in runs),
        facts=counted(counts),
        sections=sections,
        glance=glance,
        cautions=cautions,
        config=config,
        same=same,
        software=tables.software_table(runs),
        scores=parts,
        figures=drawn,
        costs=costs,
        command=shlex.join(["lander", "compare", *map(str, folders), "--out", str(out)]),
        captions=captions(),
        configs=[(run.name, run.config) for run in runs if run.config],
    )
    write_text(out, text)
    print(f"\n{out}")


def _cautions(runs: Sequence[Inputs], scores: pd.DataFrame) -> list[str]:
    """Runs without a config, scores with different signatures, and single seeds."""
    found = [f"{run.name} has no config.yaml that can be read." for run in runs if run.setting() is None]
    mixed = scores.groupby(["test", "direction", "metric"])["signature"].nunique()
    if metrics := sorted(set(mixed[mixed > 1].index.get_level_values("metric"))):
        found.append(f"Computed differently in the runs: {', '.join(metrics)}; see the signatures below the tables.")
    if any(run.scores["seed"].nunique() == 1 for run in runs):
        found.append(ONE_SEED)
    return found
