"""`lander score`: outputs of any systems, scored, tested and shown as those of a run.

The folder that it writes has the layout of a run's: `lander scores` and `lander compare` read it too.
"""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lander.data.sources import Source, check_sources
from lander.data.textfiles import bare, read_aligned
from lander.evaluate import segments, significance, translations
from lander.evaluate.__main__ import score_all
from lander.evaluate.collect import collect, write_scores
from lander.report import terminal
from lander.report.__main__ import main as report
from lander.shared.errors import UserError
from lander.shared.files import whole_folder
from lander.shared.languages import Direction, parse_direction
from lander.shared.runs import METHOD, Model
from lander.translate import external
from lander.workflow.init import language_of

SHOWN = ("bleu", "chrf2++")


def score(
    source: str,
    references: Sequence[str],
    hypotheses: Sequence[str],
    direction: str | None = None,
    out: Path | None = None,
    extras: Sequence[str] = (),
    resamples: int = 0,
) -> str:
    """Score hypotheses (FILE or NAME=FILE), test all against the first, and return the scores as tables.

    Args:
        direction: by default that of the languages that source and reference are in.
        out: folder to write, with the page; without it nothing is kept.
        extras: further metrics, of `lander.evaluate.metrics.OPTIONAL`.
        resamples: of the tests; 0 is 10,000 or as many as needed.
    """
    systems = name_systems(hypotheses)
    pair = parse_direction(direction) if direction else Direction(language_of(source), language_of(references[0]))
    if pair.source == pair.target:
        raise UserError(f"{source}, {references[0]}: both look like {pair.source}; say what they are: -d en-de")
    files = {pair.source: source, pair.target: references[0]}
    (text,) = check_sources([Source(files=files)], "--source, --reference")
    rows = [texts for _, texts, _ in read_aligned([source, *references])]
    items = pd.DataFrame({"source": [row[0] for row in rows], "target": [row[1] for row in rows]})
    items["other_references"] = [list(row[2:]) for row in rows]
    outputs = {model: external.read(path, items) for model, path in systems.items()}
    with whole_folder(out, new=True) if out else tempfile.TemporaryDirectory() as folder:
        run, item = Path(folder), f"{text.name}/{pair}"
        for model, one in outputs.items():
            place = run / "translate" / str(model)
            translations.write(place / f"{item}.jsonl", one)
            score_all(place, {text.name: [str(pair)]}, None, model, run / "evaluate" / str(model), extras=extras)
        evaluated = [run / "evaluate" / str(model) / item for model in systems]
        write_scores(run / "evaluate/scores.csv", collect([f"{path}.csv" for path in evaluated]))
        data = segments.read_all(f"{path}.segments.parquet" for path in evaluated)
        baselines = [next(iter(systems)).method] if len(systems) > 1 else []
        significance.write(run / "evaluate/significance.csv", significance.compare(data, baselines, resamples))
        if out:
            write_page(run, out.name, list(systems))
        return "\n\n".join(terminal.show(run, metric) for metric in SHOWN)


def name_systems(hypotheses: Sequence[str]) -> dict[Model, str]:
    """Each system, called by its file or as NAME=FILE says, and its file."""
    found: dict[Model, str] = {}
    for word in hypotheses:
        name, sign, path = word.partition("=")
        if not sign or Path(word).exists():
            name, path = re.sub("[^A-Za-z0-9._-]+", "-", bare(Path(word).name).removesuffix(".txt")).strip("-._"), word
        if not re.fullmatch(METHOD, name):
            raise UserError(f"--hypothesis {word}: {name!r} is no name; use letters and digits, as in NAME=FILE")
        model = Model(name, "main", 0)
        if model in found:
            raise UserError(f"--hypothesis {word}: {name} is {found[model]} already; give it a name, as in NAME=FILE")
        found[model] = path
    return found


def write_page(run: Path, name: str, models: Sequence[Model]) -> None:
    """The report of a run that has scores and translations alone."""
    flags = ["--run", name]
    for flag in ("scores", "significance"):
        flags += [f"--{flag}", run / "evaluate" / f"{flag}.csv"]
    for flag, stage in (("--translations", "translate"), ("--flags", "evaluate")):
        flags += [flag, *(f"{model}={run / stage / str(model)}" for model in models)]
    report([*map(str, flags), "--out", str(run / "report")])
