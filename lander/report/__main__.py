"""Command line of `lander.report`; see the package's docstring."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

import lander.report
from lander.report.inputs import (
    LAYERS,
    NEURONS,
    Inputs,
    parse_assignments,
    read_awareness,
    read_benchmarks,
    read_dropped,
    read_lengths,
    read_loss,
    read_object,
    read_prompts,
    read_run,
    read_scores_table,
)
from lander.report.significance import Significance, read_significance
from lander.shared import tables
from lander.shared.errors import UserError, run_main
from lander.shared.provenance import collect

ABOUT = """Write the report of a run: OUT/index.html, one self-contained page of at most 4.8 MB, and every figure as
.svg and .csv. Only --run, --scores and --out are required; the page leaves out what is not given.
MODEL stands for METHOD/VARIANT/sSEED, as in landermt/main/s0; variant and seed may be left out."""
EXAMPLES = 3  # dropped pairs of each filter and direction


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
    add("--scores", type=Path, required=True, help="scores.csv of lander.evaluate")
    add("--significance", type=Path, nargs="?", help="intervals and paired tests, significance.csv of lander.evaluate")
    add("--experiments", type=Path, **many, help="results of experiments, <name>.json, or folders of them")
    add("--translations", **many, metavar="MODEL=FOLDER", help="folders with <test>/<direction>.jsonl, for the browser")
    add("--flags", **many, metavar="MODEL=FOLDER", help="folders with <test>/<direction>.flags.csv of these models")
    add("--sentences", type=int, default=100, help="sentences to show of each direction and test set (default 100)")
    add("--layers", type=Path, nargs="?", help='table "layers"')
    add("--neurons", type=Path, nargs="?", help='table "neurons"')
    add("--awareness", type=Path, **many, help='tables "awareness", one per language')
    add("--awareness-languages", **many, help="their languages, in the same order")
    add("--counts", type=Path, nargs="?", help='table "counts": pairs read, kept and dropped')
    add("--dropped", type=Path, **many, help="<pair>.dropped.jsonl of lander.data, for examples of dropped pairs")
    add("--train", type=Path, **many, help='tables "train", <direction>.parquet, for the lengths of the sentences')
    add("--loss", **many, metavar="MODEL=FILE", help="loss.csv of trainings")
    add("--runs", **many, metavar="MODEL=FILE", help="run.json of trainings: costs and settings")
    add("--prompts", type=Path, nargs="?", help="prompts.csv of zero-shot with the best prompt")
    add("--config", type=Path, nargs="?", help="the config of the run; the page shows it")
    add("--benchmarks", type=Path, nargs="?", help="folder of Snakemake's benchmarks: time and memory by stage")
    add("--code", type=Path, nargs="?", help="JSON: stage -> digest of its code, for the provenance")
    add("--figures", **many, metavar="NAME", help="figures to write in any case, empty if there is nothing to show")
    add("--out", type=Path, required=True, help="folder for index.html and the figures")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Read the files, write the page."""
    args = _parser().parse_args(argv)
    if args.sentences < 1:
        raise UserError(f"--sentences {args.sentences}: give a number of at least 1, or no --translations")
    try:
        config = args.config.read_text(encoding="utf-8") if args.config else None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{args.config}: the config cannot be read ({error}); give the YAML file of the run") from None
    inputs = Inputs(
        name=args.run,
        scores=read_scores_table(args.scores),
        layers=tables.read(args.layers, "layers", LAYERS) if args.layers else None,
        neurons=tables.read(args.neurons, "neurons", NEURONS) if args.neurons else None,
        awareness=read_awareness(args.awareness, args.awareness_languages),
        counts=tables.read(args.counts, "counts") if args.counts else None,
        prompts=read_prompts(args.prompts) if args.prompts else None,
        losses={model: read_loss(path) for model, path in parse_assignments(args.loss, "--loss").items()},
        runs={model: read_run(path) for model, path in parse_assignments(args.runs, "--runs").items()},
        config=config,
        config_path=str(args.config) if args.config else None,
        significance=read_significance(args.significance) if args.significance else Significance(),
        dropped=read_dropped(args.dropped, EXAMPLES),
        benchmarks=read_benchmarks(args.benchmarks) if args.benchmarks else pd.DataFrame(),
        lengths=read_lengths(args.train),
        code=read_object(args.code, "leave --code out") if args.code else {},
        made=collect(),
    )
    from lander.report import document, page, summary  # matplotlib only when the inputs are right
    from lander.report.translations import read_browser

    documents = document.read_all(args.experiments)
    folders = parse_assignments(args.translations, "--translations")
    flagged = parse_assignments(args.flags, "--flags")
    browser = read_browser(folders, flagged, args.sentences, summary.test_names(inputs))
    page.write(inputs, args.out, documents, browser, args.figures)


if __name__ == "__main__":
    run_main(main, "report")
