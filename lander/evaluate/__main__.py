"""Command line of `lander.evaluate`; see the package's docstring."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import pandas as pd

from lander.evaluate import translations
from lander.evaluate.bleu import CHOICES, bleu_for
from lander.evaluate.collect import COLUMNS, collect, number, write_scores
from lander.evaluate.contamination import seen_in_training
from lander.evaluate.metrics import OPTIONAL, check_files
from lander.evaluate.outputs import flags
from lander.evaluate.scoring import other_form, score, segments
from lander.shared import tables
from lander.shared.errors import UserError, run_main
from lander.shared.files import read_json, whole_file, write_json
from lander.shared.languages import parse_direction
from lander.shared.runs import Model

Tests = Mapping[str, Sequence[str]]  # test set -> its directions


def score_all(
    folder: Path,
    tests: Tests,
    seen: set[str] | None,
    model: Model,
    out: Path,
    tokenizer: str | None = None,
    extras: Sequence[str] = (),
    heldout: Sequence[Path] = (),
) -> None:
    """Score every test set in its directions, and contamination if it is known which texts training has `seen`.

    `heldout`: tables of the test sets, <test>/<direction>.parquet, whose sentences the translations must have.
    """
    directions = {name: parse_direction(name) for served in tests.values() for name in served}
    for target in {direction.target for direction in directions.values()}:  # refused before anything is read
        bleu_for(target, tokenizer)
    check_files(extras)
    places = [(test, name) for test, served in tests.items() for name in served]
    items = {(test, name): translations.read(folder / test / f"{name}.jsonl") for test, name in places}
    for path in heldout:
        test, name = path.parent.name, path.stem
        if (test, name) not in items:
            raise UserError(f"--heldout {path}: not of --tests; give <test>/<direction>.parquet")
        sources = tables.read(path, "heldout", ["source"])["source"].tolist()
        translations.check_items(folder / test / f"{name}.jsonl", items[test, name], sources)
    for (test, name), one in items.items():
        flagged = flags(one, directions[name], seen)
        place = {**model.columns, "test": test, "direction": name}
        scores, measured = score(one, directions[name].target, flagged, tokenizer, extras)
        if count := other_form(one):
            warn_of_form(f"{test} {name}", count, len(one), {found.metric: found.value for found in scores})
        rows = [{**place, "metric": s.metric, "score": number(s.value), "signature": s.signature} for s in scores]
        marked = pd.DataFrame(flagged.rows(), columns=["line", "flag", "detail"])
        with whole_file(out / test / f"{name}.flags.csv") as temporary:
            marked.to_csv(temporary, index=False, lineterminator="\n")
        tables.write(out / test / f"{name}.segments.parquet", segments(place, measured), "segments")
        write_scores(out / test / f"{name}.csv", rows)


def warn_of_form(place: str, count: int, items: int, scores: Mapping[str, float]) -> None:
    """Say that references are in another Unicode form than training text, and what that does to the scores."""
    pairs = ((name, f"{name}_nfc") for name in ("bleu", "chrf2++"))
    both = [f"{name} {scores[name]:.1f}, {other} {scores[other]:.1f}" for name, other in pairs if other in scores]
    change = "; ".join(both) or "the scores are the same in one form"
    print(
        f"lander evaluate: warning: {place}: references of {count:,} of {items:,} items are not in NFC, or hold "
        f"invisible characters such as direction marks; training text does not by default: {change}",
        file=sys.stderr,
    )


def read_seen(args: argparse.Namespace, tests: Tests) -> set[str] | None:
    """What training has seen of the test sets: from --seen, or looked up in --train; None without either."""
    if args.seen and args.train:
        raise UserError("--seen and --train: give one of them, --seen is what was found in the training tables")
    if args.seen:
        found = read_json(args.seen)
        if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
            raise UserError(f"{args.seen}: not a JSON list of texts; `python -m lander.evaluate seen` makes it")
        return set(found)
    if not args.train:
        return None
    files = [args.translations / test / f"{name}.jsonl" for test, served in tests.items() for name in served]
    items = (translations.read(path) for path in files)
    texts = (text for one in items for text in (*one.source, *chain.from_iterable(one.references)))
    return seen_in_training(texts, args.train)


def parse_tests(args: argparse.Namespace) -> Tests:
    """Test set -> its directions, from a JSON mapping, or from a JSON list of names that all serve --directions."""
    try:
        tests = json.loads(args.tests)
    except (ValueError, RecursionError):
        tests = None
    if isinstance(tests, list) and all(isinstance(name, str) for name in tests):
        tests = dict.fromkeys(tests, args.directions)
    if not isinstance(tests, dict) or not all(name and served for name, served in tests.items()):
        raise UserError(f'--tests {args.tests}: write a JSON mapping, for example \'{{"cldr": ["en-de"]}}\'')
    return tests


def parse_model(text: str) -> tuple[Model, Path]:
    """A model and the folder of its translations, from METHOD/VARIANT/sSEED=FOLDER."""
    name, _, folder = text.partition("=")
    if not folder:
        raise UserError(f"--models {text}: write METHOD/VARIANT/sSEED=FOLDER")
    return Model.parse(name), Path(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lander.evaluate", description="Score translations.")
    commands = parser.add_subparsers(dest="command", required=True)
    files = {"nargs": "+", "type": Path, "required": True}
    served = argparse.ArgumentParser(add_help=False)
    served.add_argument("--tests", required=True, help="JSON: test set -> directions, or a list of test sets")
    served.add_argument("--directions", nargs="*", default=[], help="directions, if --tests is a list")

    what = "score the translations of one model"
    one = commands.add_parser("score", help=what, parents=[served]).add_argument
    one("--translations", type=Path, required=True, help="folder with <test>/<direction>.jsonl")
    what = "<test>/<direction>.parquet, whose sentences the translations must have"
    one("--heldout", nargs="*", type=Path, default=[], help=what)
    one("--train", nargs="*", type=Path, default=[], help="training tables, to flag test items seen there")
    one("--seen", type=Path, help="instead of --train: what `seen` has found there, once for all models")
    one("--tokenizer", choices=CHOICES, help="of BLEU (default: by target language); what cannot be right is refused")
    one("--extra", nargs="*", default=[], choices=OPTIONAL, help="further metrics, each under its own name")
    one("--method", required=True, help="method that made the translations")
    one("--variant", default="main", help="variant of the method")
    one("--seed", type=int, default=0, help="seed of the method")
    one("--out-dir", type=Path, required=True, help="folder for <test>/<direction>.csv")

    known = commands.add_parser("seen", help="look up which test items occur in training").add_argument
    known("--heldout", help="test sets, tables of `lander.data`", **files)
    known("--train", nargs="*", type=Path, default=[], help="training tables")
    known("--out", type=Path, required=True, help="the texts, JSON, for `score --seen`")

    every = commands.add_parser("collect", help="join all scores and add means over directions").add_argument
    every("--scores", help="files that `score` wrote", **files)
    every("--out", type=Path, required=True, help="the table of all scores, CSV")
    every("--parquet", type=Path, help="the same as Parquet")

    what = "intervals and paired tests of methods against baselines"
    tests = commands.add_parser("significance", help=what).add_argument
    tests("--segments", help="segment scores: Parquet of `score`, or CSV", **files)
    what = "what every method is tested against; without any there are only intervals and spreads"
    tests("--baselines", nargs="*", default=[], metavar="METHOD[/VARIANT]", help=what)
    what = "of bootstrap and randomisation (default: 10,000 or as many as needed)"
    tests("--resamples", type=int, default=0, help=what)
    tests("--seed", type=int, default=12345, help="of the resamples (default: sacreBLEU's)")
    tests("--out", type=Path, required=True, help="the table of tests, CSV")

    what = "score with COMET or another metric of another environment"
    neural = commands.add_parser("neural", help=what, parents=[served]).add_argument
    neural("--metric", required=True, help="name of the metric in the tables: comet")
    what = "the executable, or a JSON list of it and its arguments; comet-score alone gets its own"
    neural("--command", dest="executable", required=True, help=what)
    neural("--model", default="", help="checkpoint: a local one, or the hub's name of it")
    neural("--gpus", type=int, default=0, help="that the metric may use (default: 0)")
    neural("--signature", default="", help="of the scores (default: the model, its digest, COMET's version)")
    neural("--better", default="", choices=["less", "more"], help="which score is better (default: not known)")
    what = "folders of translations"
    neural("--models", nargs="+", type=parse_model, required=True, metavar="METHOD/VARIANT/sSEED=FOLDER", help=what)
    neural("--cache", type=Path, required=True, help="folder for the scores of all sentences ever scored")
    what = "folder for <method>/<variant>/s<seed>/<test>/<direction>.<metric>.csv"
    neural("--out-dir", type=Path, required=True, help=what)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run one of the commands."""
    args = _parser().parse_args(argv)
    if args.command == "score":
        model, tests = Model(args.method, args.variant, args.seed), parse_tests(args)
        seen = read_seen(args, tests)
        score_all(args.translations, tests, seen, model, args.out_dir, args.tokenizer, args.extra, args.heldout)
    elif args.command == "seen":
        heldout = (tables.read(path, "heldout") for path in args.heldout)
        texts = (text for one in heldout for text in (*one["source"], *chain.from_iterable(tables.references_of(one))))
        write_json(args.out, sorted(seen_in_training(texts, args.train)))
    elif args.command == "collect":
        rows = collect([path for path in args.scores if not path.name.endswith(".flags.csv")])
        write_scores(args.out, rows)
        if args.parquet:
            table = pd.DataFrame(rows, columns=list(COLUMNS))
            tables.write(args.parquet, table.astype({"score": float}), "scores")
    elif args.command == "significance":
        from lander.evaluate import significance
        from lander.evaluate.segments import read_all

        if args.resamples < 0:
            raise UserError(f"--resamples {args.resamples}: must be above 0")
        data = read_all(args.segments)
        if not data:
            raise UserError("--segments: no segment scores in the files; `python -m lander.evaluate score` writes them")
        significance.write(args.out, significance.compare(data, args.baselines, args.resamples, args.seed))
    else:
        from lander.evaluate import neural

        command = neural.parse_command(args.executable)
        metric = neural.make_metric(args.metric, command, args.model, args.gpus, args.signature, args.better)
        neural.score_models(dict(args.models), parse_tests(args), metric, args.cache, args.out_dir)


if __name__ == "__main__":
    run_main(main, "evaluate")
