"""Command line of `lander.evaluate`; see the package's docstring."""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from lander.evaluate import translations
from lander.evaluate.collect import collect, number, write_scores, write_table
from lander.evaluate.contamination import normalise, seen_in_training
from lander.evaluate.metrics import score, segments
from lander.evaluate.outputs import flags
from lander.evaluate.tokenizers import CHOICES, EXTRAS, bleu_with, extra_bleu
from lander.shared import tables
from lander.shared.errors import UserError, run_main
from lander.shared.files import read_json, whole_file, write_json
from lander.shared.languages import parse_direction


def score_all(
    folder: Path,
    tests: Mapping[str, Sequence[str]],
    seen: set[str] | None,
    run: dict[str, str],
    out: Path,
    tokenizer: str | None = None,
    extras: Sequence[str] = (),
) -> None:
    """Score every test set in its directions. Writes the files of `score`.

    Args:
        seen: normalised test texts that training has seen; None: contamination is not scored.
        run: method, variant and seed.
    """
    directions = {name: parse_direction(name) for served in tests.values() for name in served}
    for target in {direction.target for direction in directions.values()}:  # refused before anything is read
        bleu_with(target, tokenizer)
    for name in extras:
        extra_bleu(name)
    places = [(test, name) for test, served in tests.items() for name in served]
    items = {(test, name): translations.read(folder / test / f"{name}.jsonl") for test, name in places}
    for (test, name), one in items.items():
        flagged = flags(one, directions[name], seen)
        place = {**run, "test": test, "direction": name}
        scored = score(one, directions[name].target, flagged, tokenizer, extras)
        rows = [
            {**place, "metric": s.metric, "score": number(s.value), "signature": s.signature} for s in scored.scores
        ]
        marked = pd.DataFrame(flagged.rows(), columns=["line", "flag", "detail"])
        with whole_file(out / test / f"{name}.flags.csv") as temporary:
            marked.to_csv(temporary, index=False, lineterminator="\n")
        tables.write(out / test / f"{name}.segments.parquet", segments(place, scored.measured), "segments")
        write_scores(out / test / f"{name}.csv", rows)


def read_seen(args: argparse.Namespace) -> set[str] | None:
    """What training has seen of the test sets: from --seen, or looked up in --train; None without either."""
    if args.seen:
        if args.train:
            raise UserError("--seen and --train: give one of them, --seen is what was found in the training tables")
        found = read_json(args.seen)
        if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
            raise UserError(f"{args.seen}: not a JSON list of texts; `python -m lander.evaluate seen` makes it")
        return set(found)
    if not args.train:
        return None
    tests = _tests(args.tests, args.directions)
    files = [args.translations / test / f"{name}.jsonl" for test, served in tests.items() for name in served]
    items = (translations.read(path) for path in files)
    return look_up(((one.source, one.reference) for one in items), args.train)


def look_up(sides: Iterable[tuple[Sequence[str], Sequence[str]]], train: Sequence[Path]) -> set[str]:
    """Normalised texts of test sets that training has seen; all are looked up together, so it is read once."""
    texts = (normalise(text) for pair in sides for side in pair for text in side)
    return seen_in_training(texts, train)


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
    one("--seen", type=Path, help="instead of --train: what `seen` has found there, once for all models")
    one("--tokenizer", choices=CHOICES, help="of BLEU (default: by target language); what cannot be right is refused")
    one("--extra", nargs="*", default=[], choices=EXTRAS, help="further metrics, each under its own name")
    one("--method", required=True, help="method that made the translations")
    one("--variant", default="main", help="variant of the method")
    one("--seed", type=int, default=0, help="seed of the method")
    one("--out-dir", type=Path, required=True, help="folder for <test>/<direction>.csv")
    known = commands.add_parser("seen", help="look up which test items occur in training").add_argument
    known("--heldout", nargs="+", type=Path, required=True, help="test sets, tables of `lander.data`")
    known("--train", nargs="*", type=Path, default=[], help="training tables")
    known("--out", type=Path, required=True, help="the texts, JSON, for `score --seen`")
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
    names = "what every method is tested against; without any there are only intervals and spreads"
    add("--baselines", nargs="*", default=[], metavar="METHOD[/VARIANT]", help=names)
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
        help="the executable, or a JSON list of it and its arguments; comet-score alone gets its own",
    )
    add("--model", default="", help="checkpoint: a local one, or the hub's name of it")
    add("--gpus", type=int, default=0, help="that the metric may use (default: 0)")
    add("--signature", default="", help="of the scores (default: the model, its digest, COMET's version)")
    add("--better", default="", choices=["less", "more"], help="which score is better (default: not known)")
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
    elif args.command == "seen":
        tests = (tables.read(path, "heldout", ["source", "target"]) for path in args.heldout)
        write_json(args.out, sorted(look_up(((one["source"], one["target"]) for one in tests), args.train)))
    elif args.command == "significance":
        from lander.evaluate import significance

        if args.resamples < 0:
            raise UserError(f"--resamples {args.resamples}: must be above 0")
        rows = significance.table(args.segments, args.baselines, args.resamples, args.seed)
        significance.write(args.out, rows)
    elif args.command == "neural":
        from lander.evaluate import neural

        command = neural.parse_command(args.executable)
        metric = neural.make_metric(args.metric, command, args.model, args.gpus, args.signature, args.better)
        models = neural.parse_models(args.models)
        neural.score_models(models, _tests(args.tests, args.directions), metric, args.cache, args.out_dir)
    else:
        run = {"method": args.method, "variant": args.variant, "seed": str(args.seed)}
        tests = _tests(args.tests, args.directions)
        score_all(args.translations, tests, read_seen(args), run, args.out_dir, args.tokenizer, args.extra)


if __name__ == "__main__":
    run_main(main, "evaluate")
