"""Command line of `lander.evaluate`; see the package's docstring."""

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from lander import tables
from lander.errors import UserError, run_main
from lander.evaluate import translations
from lander.evaluate.collect import collect, number, write_scores, write_table
from lander.evaluate.contamination import normalise, seen_in_training
from lander.evaluate.metrics import score, segments
from lander.evaluate.outputs import Flags, flags
from lander.evaluate.tokenizers import CHOICES, EXTRAS, bleu_with, extra_bleu
from lander.files import whole_file
from lander.languages import parse_direction


def score_all(
    folder: Path,
    tests: Mapping[str, Sequence[str]],
    train: Sequence[Path],
    run: dict[str, str],
    out: Path,
    tokenizer: str | None = None,
    extras: Sequence[str] = (),
) -> None:
    """Score every test set in its directions; `run` holds method, variant and seed. Writes the files of `score`."""
    directions = {name: parse_direction(name) for served in tests.values() for name in served}
    for target in {direction.target for direction in directions.values()}:
        bleu_with(target, tokenizer)  # what is missing or refused is told before anything is read
    for name in extras:
        extra_bleu(name)
    places = [(test, name) for test, served in tests.items() for name in served]
    items = {(test, name): translations.read(folder / test / f"{name}.jsonl") for test, name in places}
    seen = None
    if train:  # all test items are looked up together, so that training is read once
        texts = (normalise(text) for one in items.values() for side in (one.source, one.reference) for text in side)
        seen = seen_in_training(texts, train)
    for (test, name), one in items.items():
        flagged = flags(one, directions[name], seen)
        place = {**run, "test": test, "direction": name}
        scored = score(one, directions[name].target, flagged, tokenizer, extras)
        rows = [
            {**place, "metric": s.metric, "score": number(s.value), "signature": s.signature} for s in scored.scores
        ]
        write_flags(out / test / f"{name}.flags.csv", flagged)
        tables.write(out / test / f"{name}.segments.parquet", segments(place, scored.measured), "segments")
        write_scores(out / test / f"{name}.csv", rows)


def write_flags(path: Path, flagged: Flags) -> None:
    """Write the lines that have a flag, as `line,flag,detail`; lines count from 0 as in the data tables."""
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("line", "flag", "detail"))
        writer.writerows(flagged.rows())


def _tests(text: str, directions: Sequence[str]) -> dict[str, Sequence[str]]:
    """Test set -> its directions, from a JSON mapping, or from a JSON list of names that all serve `directions`."""
    try:
        tests = json.loads(text)
    except ValueError:
        tests = None
    if isinstance(tests, list) and all(isinstance(name, str) for name in tests):
        tests = {name: list(directions) for name in tests}
    if not isinstance(tests, dict) or not all(name and served for name, served in tests.items()):
        raise UserError(f'--tests {text}: write a JSON mapping, for example \'{{"cldr": ["en-de"]}}\'')
    return tests


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lander.evaluate", description="Score translations.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("score", help="score the translations of one model").add_argument
    one("--translations", type=Path, required=True, help="folder with <test>/<direction>.jsonl")
    one("--tests", required=True, help="JSON: test set -> directions, or a list of test sets")
    one("--directions", nargs="*", default=[], help="directions, where --tests is a list")
    one("--train", nargs="*", type=Path, default=[], help="training tables, to flag test items seen there")
    one("--tokenizer", choices=CHOICES, help="of BLEU (default: by target language); what cannot be right is refused")
    one("--extra", nargs="*", default=[], choices=EXTRAS, help="further metrics, each under its own name")
    one("--method", required=True, help="method that made the translations")
    one("--variant", default="main", help="variant of the method")
    one("--seed", type=int, default=0, help="seed of the method")
    one("--out-dir", type=Path, required=True, help="folder for <test>/<direction>.csv")
    every = commands.add_parser(
        "collect", help="join the scores of all models and add means over directions"
    ).add_argument
    every("--scores", nargs="+", type=Path, required=True, help="files that `score` wrote")
    every("--out", type=Path, required=True, help="the table of all scores, CSV")
    every("--parquet", type=Path, help="the same as Parquet")
    _significance_flags(
        commands.add_parser("significance", help="intervals and paired tests of methods against baselines")
    )
    _neural_flags(commands.add_parser("neural", help="score with COMET or another metric of another environment"))
    return parser


def _significance_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--segments", nargs="+", type=Path, required=True, help="segment scores: Parquet of `score`, or CSV")
    add("--baselines", nargs="+", required=True, metavar="METHOD[/VARIANT]", help="what every method is tested against")
    add(
        "--resamples", type=int, default=0, help="of bootstrap and randomisation (default: 10,000 or as many as needed)"
    )
    add("--seed", type=int, default=12345, help="of the resamples (default: sacreBLEU's)")
    add("--out", type=Path, required=True, help="the table of tests, CSV")


def _neural_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--metric", required=True, help="name of the metric in the tables: comet")
    add(
        "--command",
        dest="executable",
        required=True,
        help="JSON list: the executable and its arguments, see the module",
    )
    add("--signature", required=True, help="what makes the scores comparable: checkpoint and version of the metric")
    add("--models", nargs="+", required=True, metavar="METHOD/VARIANT/sSEED=FOLDER", help="folders of translations")
    add("--tests", required=True, help="JSON: test set -> directions, or a list of test sets")
    add("--directions", nargs="*", default=[], help="directions, where --tests is a list")
    add("--cache", type=Path, required=True, help="folder for the scores of all sentences ever scored")
    add(
        "--out-dir",
        type=Path,
        required=True,
        help="folder for <method>/<variant>/s<seed>/<test>/<direction>.<metric>.csv",
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run one of the commands."""
    args = _parser().parse_args(argv)
    if args.command == "collect":
        rows = collect([path for path in args.scores if not path.name.endswith(".flags.csv")])
        write_scores(args.out, rows)
        if args.parquet:
            write_table(args.parquet, rows)
    elif args.command == "significance":
        from lander.evaluate import significance

        if args.resamples < 0:
            raise UserError(f"--resamples {args.resamples}: must be above 0")
        rows = significance.table(args.segments, args.baselines, args.resamples, args.seed)
        significance.write(args.out, rows)
    elif args.command == "neural":
        from lander.evaluate import neural

        metric = neural.Metric(args.metric, args.signature, neural.parse_command(args.executable))
        models = neural.parse_models(args.models)
        neural.score_models(models, _tests(args.tests, args.directions), metric, args.cache, args.out_dir)
    else:
        run = {"method": args.method, "variant": args.variant, "seed": str(args.seed)}
        tests = _tests(args.tests, args.directions)
        score_all(args.translations, tests, args.train, run, args.out_dir, args.tokenizer, args.extra)


if __name__ == "__main__":
    run_main(main, "evaluate")
