"""Command line of `lander.report`; see the package's docstring."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lander import tables
from lander.errors import UserError, run_main
from lander.report.inputs import (
    Inputs,
    parse_assignments,
    read_awareness,
    read_loss,
    read_prompts,
    read_run,
    read_scores_table,
)


def _parser() -> argparse.ArgumentParser:
    # a flag without a value is as good as none: the workflow passes what the run has
    parser = argparse.ArgumentParser(prog="python -m lander.report", description="Write the report of a run.")
    parser.add_argument("--run", required=True, help="name of the run, the title of the page")
    parser.add_argument("--scores", type=Path, required=True, help="scores.csv of lander.evaluate")
    parser.add_argument("--layers", type=Path, nargs="?", help='table "layers"')
    parser.add_argument("--neurons", type=Path, nargs="?", help='table "neurons"')
    parser.add_argument("--awareness", type=Path, nargs="*", default=[], help='tables "awareness", one a language')
    parser.add_argument("--awareness-languages", nargs="*", default=[], help="their languages, in the same order")
    parser.add_argument("--counts", type=Path, nargs="?", help='table "counts": pairs read, kept and dropped')
    parser.add_argument("--loss", nargs="*", default=[], help="loss logs, METHOD/VARIANT/sSEED=loss.csv")
    parser.add_argument("--runs", nargs="*", default=[], help="costs and settings, METHOD/VARIANT/sSEED=run.json")
    parser.add_argument("--prompts", type=Path, nargs="?", help="prompts.csv of zero-shot with the best prompt")
    parser.add_argument("--config", type=Path, nargs="?", help="the config of the run, shown as it is")
    parser.add_argument("--out", type=Path, required=True, help="folder for index.html and the figures")
    return parser


def _read_config(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the config cannot be read ({error}); give the YAML file of the run") from None


def main(argv: Sequence[str] | None = None) -> None:
    """Read what there is, write the page."""
    args = _parser().parse_args(argv)
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
    )
    from lander.report import page  # matplotlib only when the inputs are right

    page.write(inputs, args.out)


if __name__ == "__main__":
    run_main(main, "report")
