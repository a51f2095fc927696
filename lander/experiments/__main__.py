"""Command line of `lander.experiments`; see the package's docstring."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from lander.experiments import MEASURED, forgetting, methods, transfer, varied
from lander.experiments.samples import Inputs, read_all_scores, read_costs, read_losses
from lander.report.document import Document, write
from lander.shared.errors import UserError, run_main
from lander.shared.languages import parse_direction

EXPERIMENTS: dict[str, Callable[[Inputs], Document]] = {
    "table1": partial(methods.table, 1),
    "table2": partial(methods.table, 2),
    "transfer": transfer.transfer,
    "forgetting": forgetting.forgetting,
    "readings": varied.readings,
    **{name: partial(varied.sweep, name) for name in varied.SWEEPS},
    "sweep_trained": varied.sweep_trained,
    "estimators": varied.estimators,
    "second_model": methods.second_model,
    "tune": varied.tune,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Read the files, make the tables, write them."""
    parser = argparse.ArgumentParser(prog="python -m lander.experiments", description="Compare models of a run.")
    parser.add_argument("name", choices=EXPERIMENTS, metavar="NAME", help=f"one of {', '.join(EXPERIMENTS)}")
    several = {"nargs": "*", "default": []}
    parser.add_argument("--scores", **several, help="score files of all models, or the models' folders")
    parser.add_argument("--items", **several, help="TEST/DIRECTION to read in the folders (default: all)")
    parser.add_argument("--loss", **several, help="files of losses of all models")
    parser.add_argument("--runs", **several, help="costs, METHOD/VARIANT/sSEED=run.json")
    parser.add_argument("--directions", **several, help="the trained directions, in order (default: all)")
    parser.add_argument("--languages", **several, help="languages whose plain text must be measured")
    help_ = "what each variant has of what the experiment varies, main too: k, a direction, an estimator, ..."
    parser.add_argument("--values", **several, metavar="VARIANT=VALUE", help=help_)
    parser.add_argument("--draws", **several, help="variants that are further draws of a control")
    parser.add_argument("--title", default="", help="what was run: the base, the data")
    parser.add_argument("--text", default="", help="what the plain text of the losses is, for the heading")
    parser.add_argument("--out", type=Path, required=True, help="folder for NAME.json, .csv, .md and .svg")
    args = parser.parse_args(argv)
    needed = {"loss": (*MEASURED, "tune"), "runs": MEASURED, "scores": EXPERIMENTS.keys() - {"tune"}}
    if missing := [flag for flag, names in needed.items() if args.name in names and not getattr(args, flag)]:
        raise UserError(f"--{missing[0]}: {args.name} needs it; give the files of all its models")
    values = dict(value.partition("=")[::2] for value in args.values)
    if wrong := [variant for variant, value in values.items() if not value]:
        raise UserError(f"--values {wrong[0]}: write VARIANT=VALUE")
    scores, segments = read_all_scores(args.scores, args.items)
    inputs = Inputs(
        scores=scores,
        segments=segments,
        losses=read_losses(args.loss),
        costs=read_costs(args.runs),
        directions=list(dict.fromkeys(str(parse_direction(value)) for value in args.directions)),
        languages=args.languages,
        title=args.title,
        text=args.text,
        values=values,
        draws=args.draws,
    )
    write(EXPERIMENTS[args.name](inputs), args.out)


if __name__ == "__main__":
    run_main(main, "experiments")
