"""Stage `data`: parallel text is read, cleaned, split, sampled and given its instructions (paper, section 4.1).

Reads sources (see `lander.data.sources`), given as JSON. Writes Parquet tables, columns in `lander.shared.tables`:
`clean` -> the cleaned pairs of two languages (clean), why others were dropped (counts) and examples (JSON lines);
`sample` -> the training pairs of a direction (train, counts); `heldout` -> a dev or test set (heldout), never filtered;
`text` -> the sentences that score the neurons (text); `counts` -> all counts in one table.

    python -m lander.data clean --pair de-en --sources '[{"files": {"en": "en.txt", "de": "de.txt"}}]' \\
        --out clean.parquet --counts counts.parquet --dropped dropped.jsonl
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from lander.data.sources import parse_sources
from lander.shared import tables
from lander.shared.errors import UserError, run_main
from lander.shared.files import write_text as write_file
from lander.shared.languages import parse_direction


def main(argv: list[str] | None = None) -> None:
    """Run the subcommand that the command line names."""
    arguments = _parser().parse_args(argv)
    arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lander.data", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    clean = commands.add_parser("clean", help="clean the pairs of two languages")
    clean.add_argument("--pair", required=True, type=parse_direction, help="two languages, alphabetically: de-en")
    clean.add_argument("--sources", required=True, type=parse_sources, help="JSON list of sources")
    clean.add_argument("--exclude", default=[], type=parse_sources, help="JSON list: texts not to be trained on")
    clean.add_argument("--cleaning", default={}, type=_mapping, help="JSON: order and thresholds (data.cleaning)")
    clean.add_argument("--out", required=True, type=Path, help="table `clean` to write")
    clean.add_argument("--counts", required=True, type=Path, help="table `counts` to write")
    clean.add_argument("--dropped", required=True, type=Path, help="examples of dropped pairs, JSON lines, to write")
    clean.set_defaults(run=_clean)

    sample = commands.add_parser("sample", help="draw the training pairs of a direction")
    sample.add_argument("--direction", required=True, type=parse_direction, help="for example en-de")
    sample.add_argument("--clean", required=True, type=Path, help="table `clean` of the pair")
    sample.add_argument("--counts", required=True, type=Path, help="table `counts` of the pair")
    sample.add_argument("--origins", required=True, type=_names, help="JSON list: names of sources that may serve it")
    sample.add_argument("--max-pairs", type=int, default=0, help="pairs at most, 0 takes all (data.max_pairs)")
    sample.add_argument("--seed", type=int, default=0, help="of the draw and the templates")
    sample.add_argument("--templates", help="YAML file of instruction templates; by default Lander's own")
    sample.add_argument("--cleaning", default={}, type=_mapping, help="as for clean; its `duplicates` count here too")
    sample.add_argument("--out", required=True, type=Path, help="table `train` to write")
    sample.add_argument("--counts-out", required=True, type=Path, help="table `counts` to write")
    sample.set_defaults(run=_sample)

    heldout = commands.add_parser("heldout", help="read a dev or test set; never filters")
    heldout.add_argument("--direction", required=True, type=parse_direction, help="for example en-de")
    heldout.add_argument("--sources", required=True, type=parse_sources, help="JSON list of sources")
    heldout.add_argument("--out", required=True, type=Path, help="table `heldout` to write")
    heldout.set_defaults(run=_heldout)

    text = commands.add_parser("text", help="draw the sentences that score the neurons of a language")
    text.add_argument("--language", required=True, help="whose text to write")
    text.add_argument("--languages", required=True, type=_names, help="JSON list: all languages that are scored")
    text.add_argument("--sources", required=True, type=parse_sources, help="JSON list of sources")
    text.add_argument("--sentences", required=True, type=int, help="how many to draw")
    text.add_argument("--seed", type=int, default=0, help="of the draw")
    text.add_argument("--out", required=True, type=Path, help="table `text` to write")
    text.set_defaults(run=_text)

    counts = commands.add_parser("counts", help="join tables of counts")
    counts.add_argument("--counts", required=True, nargs="+", type=Path, help="tables `counts`")
    counts.add_argument("--out", required=True, type=Path, help="table `counts` to write")
    counts.add_argument("--csv", type=Path, help="the same as CSV")
    counts.set_defaults(run=_counts)
    return parser


def _clean(arguments: argparse.Namespace) -> None:
    from lander.data.cleaning import clean_pair

    clean_pair(
        arguments.pair.pair,
        arguments.sources,
        arguments.exclude,
        arguments.cleaning,
        arguments.out,
        arguments.counts,
        arguments.dropped,
    )


def _sample(arguments: argparse.Namespace) -> None:
    from lander.data.sampling import sample
    from lander.data.settings import resolve
    from lander.data.templates import load_templates

    duplicates = resolve(arguments.cleaning)["default"]["duplicates"]
    sample(
        arguments.direction,
        arguments.clean,
        arguments.counts,
        arguments.origins,
        arguments.max_pairs,
        arguments.seed,
        len(load_templates(arguments.templates)),
        arguments.out,
        arguments.counts_out,
        unique=[side for side in ("source", "target") if duplicates[side]],
    )


def _heldout(arguments: argparse.Namespace) -> None:
    from lander.data.texts import hold_out

    hold_out(arguments.direction, arguments.sources, arguments.out)


def _text(arguments: argparse.Namespace) -> None:
    from lander.data.texts import write_text

    write_text(
        arguments.language, arguments.languages, arguments.sources, arguments.sentences, arguments.seed, arguments.out
    )


def _counts(arguments: argparse.Namespace) -> None:
    table = pd.concat([tables.read(path, "counts") for path in arguments.counts], ignore_index=True)
    if arguments.csv:
        write_file(arguments.csv, table.to_csv(index=False, lineterminator="\n"))
    tables.write(arguments.out, table, "counts")


def _mapping(text: str) -> dict[str, Any]:
    value = _json(text)
    if not isinstance(value, dict):
        raise UserError(f"{text!r}: must be a JSON mapping")
    return value


def _names(text: str) -> list[str]:
    value = _json(text)
    if isinstance(value, dict):  # languages may come as {code: name}
        value = list(value)
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise UserError(f"{text!r}: must be a JSON list of names")
    return value


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{text[:200]!r}: not valid JSON ({error})") from None


if __name__ == "__main__":
    run_main(main, "data")
