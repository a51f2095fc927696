"""Stage `data`: parallel text is read, cleaned, split, sampled and given its instructions (paper, section 4.1).

Reads sources (see `lander.data.sources`), given as JSON. Writes Parquet tables, columns in `lander.shared.tables`:
`clean` -> the cleaned pairs of two languages (clean), why others were dropped (counts) and examples (JSON lines);
`sample` -> the training pairs of a direction (train, counts); `heldout` -> a dev or test set (heldout), never filtered;
`text` -> the sentences that score the neurons (text); `counts` -> all counts in one table.

    python -m lander.data clean --pair de-en --sources '[{"files": {"en": "en.txt", "de": "de.txt"}}]' \\
        --out clean.parquet --counts counts.parquet --dropped dropped.jsonl
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from lander.data.cleaning import clean_pair
from lander.data.sampling import sample
from lander.data.sources import parse_json, parse_sources
from lander.data.texts import hold_out, write_text
from lander.shared import files, tables
from lander.shared.errors import run_main
from lander.shared.languages import parse_direction


def main(argv: list[str] | None = None) -> None:
    """Run the subcommand that the command line names."""
    arguments = vars(_parser().parse_args(argv))
    arguments.pop("run")(**arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lander.data", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    names, mapping = partial(parse_json, kind=list), partial(parse_json, kind=dict)

    def command(name: str, run: Callable[..., None], text: str) -> Callable[..., argparse.Action]:
        """Add a subcommand; its flags are the arguments of `run`."""
        parser = commands.add_parser(name, help=text)
        parser.set_defaults(run=run)
        return parser.add_argument

    add = command("clean", clean_pair, "clean the pairs of two languages")
    add("--pair", required=True, type=parse_direction, help="two languages, alphabetically: de-en")
    add("--sources", required=True, type=parse_sources, help="JSON list of sources")
    add("--exclude", default=[], type=parse_sources, help="JSON list: texts not to be trained on")
    add("--cleaning", default={}, type=mapping, help="JSON: order and thresholds (data.cleaning)")
    add("--out", required=True, type=Path, help="table `clean` to write")
    add("--counts", required=True, type=Path, help="table `counts` to write")
    add("--dropped", required=True, type=Path, help="examples of dropped pairs, JSON lines, to write")

    add = command("sample", sample, "draw the training pairs of a direction")
    add("--direction", required=True, type=parse_direction, help="for example en-de")
    add("--clean", required=True, type=Path, help="table `clean` of the pair")
    add("--counts", required=True, type=Path, help="table `counts` of the pair")
    add("--origins", required=True, type=names, help="JSON list: names of sources that may serve it")
    add("--max-pairs", type=int, default=0, help="pairs at most, 0 takes all (data.max_pairs)")
    add("--seed", type=int, default=0, help="of the draw and the templates")
    add("--templates", help="YAML file of instruction templates; by default Lander's own")
    add("--cleaning", default={}, type=mapping, help="as for clean; its `duplicates` count here too")
    add("--out", required=True, type=Path, help="table `train` to write")
    add("--counts-out", required=True, type=Path, help="table `counts` to write")

    add = command("heldout", hold_out, "read a dev or test set; never filters")
    add("--direction", required=True, type=parse_direction, help="for example en-de")
    add("--sources", required=True, type=parse_sources, help="JSON list of sources")
    add("--out", required=True, type=Path, help="table `heldout` to write")

    add = command("text", write_text, "draw the sentences that score the neurons of a language")
    add("--language", required=True, help="whose text to write")
    add("--languages", required=True, type=names, help="JSON list: all languages that are scored")
    add("--sources", required=True, type=parse_sources, help="JSON list of sources")
    add("--sentences", required=True, type=int, help="how many to draw")
    add("--seed", type=int, default=0, help="of the draw")
    add("--out", required=True, type=Path, help="table `text` to write")

    add = command("counts", _counts, "join tables of counts")
    add("--counts", required=True, nargs="+", type=Path, help="tables `counts`")
    add("--out", required=True, type=Path, help="table `counts` to write")
    add("--csv", type=Path, help="the same as CSV")
    return parser


def _counts(counts: list[Path], out: Path, csv: Path | None) -> None:
    table = pd.concat([tables.read(path, "counts") for path in counts], ignore_index=True)
    if csv:
        files.write_text(csv, table.to_csv(index=False, lineterminator="\n"))
    tables.write(out, table, "counts")


if __name__ == "__main__":
    run_main(main, "data")
