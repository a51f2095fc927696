"""Command line of `lander.report`; see the package's docstring."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lander.report.inputs import (
    Inputs,
    parse_assignments,
    read_awareness,
    read_benchmarks,
    read_dropped,
    read_lengths,
    read_loss,
    read_prompts,
    read_run,
    read_scores_table,
)
from lander.report.significance import Significance, read_significance
from lander.shared import tables
from lander.shared.errors import UserError, run_main
from lander.shared.files import read_json
from lander.shared.provenance import collect

ABOUT = """Write the report of a run: OUT/index.html, one self-contained page of at most 4.8 MB, and every figure as
.svg and .csv. Only --run, --scores and --out are needed; what is not given is left out of the page.
MODEL stands for METHOD/VARIANT/sSEED, as in landermt/main/s0; variant and seed may be left out."""
EXAMPLE = """example:
  python -m lander.report --run demo --scores results/demo/evaluate/scores.csv \\
      --significance results/demo/evaluate/significance.csv --experiments results/demo/experiments \\
      --translations landermt/main/s0=results/demo/translate/landermt/main/s0 \\
                     full/main/s0=results/demo/translate/full/main/s0 \\
      --flags full/main/s0=results/demo/evaluate/full/main/s0 --out results/demo/report"""
EXAMPLES = 3  # dropped pairs of each filter and direction


def _parser() -> argparse.ArgumentParser:
    # a flag without a value is as good as none: the workflow passes what the run has
    parser = argparse.ArgumentParser(
        prog="python -m lander.report",
        description=ABOUT,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    many = {"nargs": "*", "default": []}
    add("--run", required=True, help="name of the run, the title of the page")
    add("--scores", type=Path, required=True, help="scores.csv of lander.evaluate")
    add("--significance", type=Path, nargs="?", help="its table of intervals and paired tests, CSV")
    add("--experiments", type=Path, **many, help="folders of experiments: <name>.json, .csv, .svg; or such .json")
    add("--translations", **many, metavar="MODEL=FOLDER", help="folders with <test>/<direction>.jsonl, to be browsed")
    add("--flags", **many, metavar="MODEL=FOLDER", help="folders with <test>/<direction>.flags.csv of these models")
    add("--sentences", type=int, default=100, help="sentences of each direction and test set that are shown (100)")
    add("--layers", type=Path, nargs="?", help='table "layers"')
    add("--neurons", type=Path, nargs="?", help='table "neurons"')
    add("--awareness", type=Path, **many, help='tables "awareness", one a language')
    add("--awareness-languages", **many, help="their languages, in the same order")
    add("--counts", type=Path, nargs="?", help='table "counts": pairs read, kept and dropped')
    add("--dropped", type=Path, **many, help="<pair>.dropped.jsonl of lander.data, for examples of dropped pairs")
    add("--train", type=Path, **many, help='tables "train", <direction>.parquet, for the lengths of the sentences')
    add("--loss", **many, metavar="MODEL=FILE", help="loss logs, loss.csv of trainings")
    add("--runs", **many, metavar="MODEL=FILE", help="costs and settings, run.json of trainings")
    add("--prompts", type=Path, nargs="?", help="prompts.csv of zero-shot with the best prompt")
    add("--config", type=Path, nargs="?", help="the config of the run, shown as it is")
    add("--benchmarks", type=Path, nargs="?", help="folder of Snakemake's benchmarks: time and memory by stage")
    add("--code", type=Path, nargs="?", help="JSON: stage -> digest of its code, for the provenance")
    add("--figures", **many, metavar="NAME", help="figures that must have a file, empty where there is nothing to show")
    add("--out", type=Path, required=True, help="folder for index.html and the figures")
    return parser


def _read_config(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the config cannot be read ({error}); give the YAML file of the run") from None


def _read_code(path: Path) -> dict[str, str]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object of stages and digests; leave --code out")
    return content


def main(argv: Sequence[str] | None = None) -> None:
    """Read what there is, write the page."""
    args = _parser().parse_args(argv)
    if args.sentences < 1:
        raise UserError(f"--sentences {args.sentences}: give a number of at least 1, or no --translations")
    inputs = Inputs(
        name=args.run,
        scores=read_scores_table(args.scores),
        layers=tables.read(args.layers, "layers") if args.layers else None,
        neurons=tables.read(args.neurons, "neurons") if args.neurons else None,
        awareness=read_awareness(args.awareness, args.awareness_languages),
        counts=tables.read(args.counts, "counts") if args.counts else None,
        prompts=read_prompts(args.prompts) if args.prompts else None,
        losses={run: read_loss(path) for run, path in parse_assignments(args.loss, "--loss").items()},
        runs={run: read_run(path) for run, path in parse_assignments(args.runs, "--runs").items()},
        config=_read_config(args.config) if args.config else None,
        config_path=str(args.config) if args.config else None,
        significance=read_significance(args.significance) if args.significance else Significance(),
        dropped=read_dropped(args.dropped, EXAMPLES),
        benchmarks=read_benchmarks(args.benchmarks) if args.benchmarks else pd.DataFrame(),
        lengths=read_lengths(args.train),
        code=_read_code(args.code) if args.code else {},
        made=collect(),
    )
    from lander.report import page, summary  # matplotlib only when the inputs are right
    from lander.report.declared import fill
    from lander.report.document import read_all
    from lander.report.translations import read_browser

    documents = read_all(args.experiments)
    folders, flagged = (
        parse_assignments(values, flag)
        for values, flag in ((args.translations, "--translations"), (args.flags, "--flags"))
    )
    browser = read_browser(folders, flagged, args.sentences, summary.test_names(inputs))
    page.write(inputs, args.out, documents, browser)
    fill(args.out, args.figures)


if __name__ == "__main__":
    run_main(main, "report")
