"""Command line of `lander.report`; see the package's docstring."""

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import lander.report
from lander.report import inputs
from lander.report.significance import read_significance
from lander.shared import tables
from lander.shared.errors import UserError, run_main
from lander.shared.provenance import collect

ABOUT = """Write the report of a run: OUT/index.html, one self-contained page of at most 4.8 MB, and every figure as
.svg and .csv. Only --run, --scores and --out are required; the page leaves out what is not given.
MODEL stands for METHOD/VARIANT/sSEED, as in landermt/main/s0; variant and seed may be left out."""
FILES = {  # flag, and name in `Inputs` -> what reads its file, what it is
    "scores": (inputs.read_scores_table, "scores.csv of lander.evaluate"),
    "significance": (read_significance, "intervals and paired tests, significance.csv of lander.evaluate"),
    "layers": (partial(tables.read, schema="layers", columns=inputs.LAYERS), 'table "layers"'),
    "neurons": (partial(tables.read, schema="neurons", columns=inputs.NEURONS), 'table "neurons"'),
    "counts": (partial(tables.read, schema="counts"), 'table "counts": pairs read, kept and dropped'),
    "prompts": (inputs.read_prompts, "prompts.csv of zero-shot with the best prompt"),
    "config": (inputs.read_config, "the config of the run; the page shows it"),
    "benchmarks": (inputs.read_benchmarks, "folder of Snakemake's benchmarks: time and memory by stage"),
    "code": (inputs.read_digests, "JSON: stage -> digest of its code, for the provenance, if it is there"),
}
OF_MODELS = {  # flag -> what it takes
    "loss": ("FILE", "loss.csv of trainings"),
    "runs": ("FILE", "run.json of trainings: costs and settings"),
    "translations": ("FOLDER", "folders with <test>/<direction>.jsonl, for the browser"),
    "flags": ("FOLDER", "folders with <test>/<direction>.flags.csv of these models"),
}


def _parser() -> argparse.ArgumentParser:
    # a flag without a value counts as not given: the workflow passes what the run has
    parser = argparse.ArgumentParser(
        prog="python -m lander.report",
        description=ABOUT,
        epilog=f"example:{lander.report.__doc__.rpartition('Example:')[2]}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    many = {"nargs": "*", "default": []}
    add("--run", required=True, help="name of the run, the title of the page")
    for name, (_, what) in FILES.items():
        how = {"required": True} if name == "scores" else {"nargs": "?"}
        add(f"--{name}", type=Path, help=what, **how)
    for name, (kind, what) in OF_MODELS.items():
        add(f"--{name}", metavar=f"MODEL={kind}", help=what, **many)
    add("--awareness", type=Path, **many, help='tables "awareness", one per language')
    add("--awareness-languages", **many, help="their languages, in the same order")
    add("--dropped", type=Path, **many, help="<pair>.dropped.jsonl of lander.data, for examples of dropped pairs")
    add("--train", type=Path, **many, help='tables "train", <direction>.parquet, for the lengths of the sentences')
    add("--experiments", type=Path, **many, help="results of experiments, <name>.json, or folders of them")
    add("--sentences", type=int, default=100, help="sentences to show of each direction and test set (default 100)")
    add("--figures", **many, metavar="NAME", help="figures to write in any case, empty if there is nothing to show")
    add("--out", type=Path, required=True, help="folder for index.html and the figures")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Read the files, write the page."""
    args = _parser().parse_args(argv)
    if args.sentences < 1:
        raise UserError(f"--sentences {args.sentences}: give a number of at least 1, or no --translations")
    given = {name: read(getattr(args, name)) for name, (read, _) in FILES.items() if getattr(args, name)}
    models = {name: inputs.parse_assignments(getattr(args, name), f"--{name}") for name in OF_MODELS}
    shown = inputs.Inputs(
        name=args.run,
        **given,
        date=datetime.fromtimestamp(args.scores.stat().st_mtime, UTC).strftime("scored %d %B %Y"),
        config_path=str(args.config) if args.config else None,
        losses={model: inputs.read_loss(path) for model, path in models["loss"].items()},
        runs={model: inputs.read_object(path) for model, path in models["runs"].items()},
        awareness=inputs.read_awareness(args.awareness, args.awareness_languages),
        dropped=inputs.read_dropped(args.dropped),
        lengths=inputs.read_lengths(args.train),
        made=collect(),
    )
    from lander.report import document, page, summary  # matplotlib only when the inputs are right
    from lander.report.translations import read_browser

    documents = document.read_all(args.experiments)
    browser = read_browser(models["translations"], models["flags"], args.sentences, summary.test_names(shown))
    page.write(shown, args.out, documents, browser, args.figures)


if __name__ == "__main__":
    run_main(main, "report")
