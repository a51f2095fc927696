"""The paper's figures of layers and neurons as files: 4-5 (`layers`), 6-8 and who owns how many (`awareness`).

They are those of the report (`lander.report.detection`), without a report.

Reads:  <run>/layers/<variant>/s<seed>/layers.parquet, <run>/neurons/<variant>/s<seed>/neurons.parquet,
        <run>/awareness/s<seed>/<language>.parquet
Writes: <figure>.svg and <figure>.csv of each, and layers.md or awareness.md with their captions; prints their paths

Example:
    python -m lander.experiments.figures awareness --layers layers.parquet --neurons neurons.parquet \\
        --awareness en.parquet de.parquet --awareness-languages en de --out results/demo/experiments
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lander.report import detection, templates
from lander.report.inputs import LAYERS, NEURONS, Inputs, read_awareness
from lander.shared import tables
from lander.shared.errors import UserError, run_main
from lander.shared.files import write_text

KINDS = {  # kind -> title; figure -> its number in the paper; flags that it needs, where others only add to pictures
    "layers": ("Activation of the layers (figures 4-5)", {"activation": "4", "delta": "5"}, ("layers",)),
    "awareness": (
        "Awareness of the neurons (figures 6-8)",
        {"awareness-general": "6", "awareness-specific": "7", "awareness": "8", "owners": ""},
        ("neurons", "awareness"),
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Read the tables, draw all figures, write them, print the files."""
    parser = argparse.ArgumentParser(prog="lander.experiments.figures", description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--layers", type=Path, help="the layers table")
    parser.add_argument("--neurons", type=Path, help="the neurons table")
    parser.add_argument("--awareness", type=Path, nargs="*", default=[], help="awareness tables, one per language")
    parser.add_argument("--awareness-languages", nargs="*", default=[], help="their codes, in the same order")
    parser.add_argument("--out", type=Path, required=True, help="folder")
    args = parser.parse_args(argv)
    title, figures, needed = KINDS[args.kind]
    if missing := [f"--{flag}" for flag in needed if not getattr(args, flag)]:
        raise UserError(f"{', '.join(missing)}: the figures of {args.kind} need it")
    inputs = Inputs(
        name="",
        scores=pd.DataFrame(),
        layers=tables.read(args.layers, "layers", LAYERS) if args.layers else None,
        neurons=tables.read(args.neurons, "neurons", NEURONS) if args.neurons else None,
        awareness=read_awareness(args.awareness, args.awareness_languages),
    )
    captions, texts, parts = templates.captions(), {}, [f"# {title}"]
    for name, number in figures.items():
        drawn = detection.draw(name, inputs)
        if drawn is None:
            raise UserError(f"{args.kind}: nothing to draw in {name}; a model of one layer has no change D")
        texts |= {f"{name}.svg": drawn.svg, f"{name}.csv": drawn.data.to_csv(index=False, lineterminator="\n")}
        place = f" (figure {number})" if number else ""
        parts.append(f"## {drawn.title}{place}\n\n![{drawn.title}]({name}.svg)\n\n{captions[name]}")
    for name, text in (texts | {f"{args.kind}.md": "\n\n".join(parts) + "\n"}).items():
        write_text(args.out / name, text)
        print(args.out / name)


if __name__ == "__main__":
    run_main(main, "experiments.figures")
