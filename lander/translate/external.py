"""Outputs of other systems as translations: files are read in place of decoding (the config's `external`).

Reads:  files of text, plain or packed, line n the translation of sentence n;
        <run>/data/test/<test>/<direction>.parquet
Writes: <run>/translate/<system>/main/s<seed>/<test>/<direction>.jsonl   as `lander.translate`, without cut and loss

Example:
    python -m lander.translate.external --test news:en-de:en-de.parquet --outputs nllb/news/en-de.txt --out-dir nllb
"""

import argparse
from pathlib import Path

import pandas as pd

from lander.data.textfiles import TextFile
from lander.evaluate import translations
from lander.evaluate.translations import Translations
from lander.shared import tables
from lander.shared.errors import UserError, run_main
from lander.shared.languages import parse_direction


def read(path: str | Path, items: pd.DataFrame) -> Translations:
    """The outputs in a file for the items of a table `heldout`, one a line. UserError if it has other lines."""
    with TextFile(path) as file:
        outputs = [line.strip() for line in iter(file.read_line, None)]
    if len(outputs) != len(items):
        raise UserError(
            f"{path}: {len(outputs):,} lines, and the test set has {len(items):,} sentences; line n must be the "
            "translation of sentence n, and an empty line stands for none"
        )
    return Translations.of(items, outputs, outputs)


def main() -> None:
    """Write the translations of one system."""
    parser = argparse.ArgumentParser(prog="lander.translate.external", description=__doc__.splitlines()[0])
    parser.add_argument("--test", nargs="+", required=True, metavar="NAME:DIRECTION:FILE", help="test sets")
    parser.add_argument("--outputs", nargs="+", required=True, metavar="FILE", help="the system's, in the same order")
    parser.add_argument("--out-dir", type=Path, required=True)
    args = parser.parse_args()
    if len(args.test) != len(args.outputs):
        raise UserError(f"--outputs: {len(args.outputs)} files for {len(args.test)} of --test; give one for each")
    for test, path in zip(args.test, args.outputs, strict=True):
        name, direction, table = test.split(":", 2)
        items = tables.read(table, "heldout")
        translations.write(args.out_dir / name / f"{parse_direction(direction)}.jsonl", read(path, items))


if __name__ == "__main__":
    run_main(main, "translate")
