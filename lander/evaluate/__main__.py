"""Command line of `lander.evaluate`; see the package's docstring."""

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from lander.errors import UserError, run_main
from lander.evaluate import translations
from lander.evaluate.bleu import bleu_for
from lander.evaluate.collect import collect, number, write_scores
from lander.evaluate.contamination import normalise, seen_in_training
from lander.evaluate.metrics import flags, score
from lander.files import whole_file
from lander.languages import parse_direction


def score_all(
    folder: Path, tests: Mapping[str, Sequence[str]], train: Sequence[Path], run: dict[str, str], out: Path
) -> None:
    """Score every test set in its directions; `run` holds method, variant and seed. Writes the files of `score`."""
    targets = {name: parse_direction(name).target for served in tests.values() for name in served}
    for target in set(targets.values()):
        bleu_for(target)  # a missing tokenizer is told before anything is read
    places = [(test, name) for test, served in tests.items() for name in served]
    items = {(test, name): translations.read(folder / test / f"{name}.jsonl") for test, name in places}
    seen = None
    if train:  # all test items are looked up together, so that training is read once
        texts = (normalise(text) for one in items.values() for side in (one.source, one.reference) for text in side)
        seen = seen_in_training(texts, train)
    for (test, name), one in items.items():
        flagged = flags(one, seen)
        place = {**run, "test": test, "direction": name}
        scores = score(one, targets[name], flagged)
        rows = [{**place, "metric": s.metric, "score": number(s.value), "signature": s.signature} for s in scores]
        write_flags(out / test / f"{name}.flags.csv", flagged)
        write_scores(out / test / f"{name}.csv", rows)


def write_flags(path: Path, flagged: dict[str, list[bool]]) -> None:
    """Write the lines that have a flag, as `line,flag`; lines count from 0 as in the data tables."""
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("line", "flag"))
        rows = [(line, name) for name, marks in flagged.items() for line, mark in enumerate(marks) if mark]
        writer.writerows(sorted(rows))


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
    one = commands.add_parser("score", help="score the translations of one model")
    one.add_argument("--translations", type=Path, required=True, help="folder with <test>/<direction>.jsonl")
    one.add_argument("--tests", required=True, help="JSON: test set -> directions, or a list of test sets")
    one.add_argument("--directions", nargs="*", default=[], help="directions, where --tests is a list")
    one.add_argument("--train", nargs="*", type=Path, default=[], help="training tables, to flag test items seen there")
    one.add_argument("--method", required=True, help="method that made the translations")
    one.add_argument("--variant", default="main", help="variant of the method")
    one.add_argument("--seed", type=int, default=0, help="seed of the method")
    one.add_argument("--out-dir", type=Path, required=True, help="folder for <test>/<direction>.csv")
    every = commands.add_parser("collect", help="join the scores of all models and add means over directions")
    every.add_argument("--scores", nargs="+", type=Path, required=True, help="files that `score` wrote")
    every.add_argument("--out", type=Path, required=True, help="the table of all scores, CSV")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run `score` or `collect`."""
    args = _parser().parse_args(argv)
    if args.command == "collect":
        write_scores(args.out, collect([path for path in args.scores if not path.name.endswith(".flags.csv")]))
    else:
        run = {"method": args.method, "variant": args.variant, "seed": str(args.seed)}
        score_all(args.translations, _tests(args.tests, args.directions), args.train, run, args.out_dir)


if __name__ == "__main__":
    run_main(main, "evaluate")
