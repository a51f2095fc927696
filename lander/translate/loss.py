"""How well a model predicts: its loss on references, of trained and untrained directions, and on plain text.

Losses compare what BLEU cannot: models that translate too badly to be ranked, what a model has forgotten, and what
routing alone does to the base before anything is trained (state `start`). Nats per token depend on the tokenizer;
nats per character of the reference compare models of different ones.

Reads:  <run>/data/dev/..., <run>/data/test/..., <run>/data/kept/<language>.parquet, a trained model's folder or a base
Writes: <run>/loss/<method>/<variant>/s<seed>.csv   method, variant, seed, state (start, trained), kind (dev,
            untrained, text), name, direction (or language), loss (nats per predicted token), tokens, characters,
            loss_per_character

Example:
    python -m lander.translate.loss --model lander-tiny --languages '{"en": "English", "de": "German"}' \\
        --template sentence --dev en-de:en-de.parquet --method zero-shot --out loss.csv
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lander.config.translate import Translate
from lander.data.templates import load_templates
from lander.models.flags import add_model_flags, add_prompt_flags
from lander.shared import machine, tables
from lander.shared.errors import run_main
from lander.shared.files import whole_file
from lander.shared.section import add_flags
from lander.translate.__main__ import parse_table, parse_test
from lander.translate.translator import Translator, load, template_of


class Text(NamedTuple):
    """Sequences whose loss is measured: references of a direction behind their prompts, or sentences of a language."""

    place: dict[str, str]  # kind (dev, untrained, text), name (of the test set; dev, text), direction (or language)
    direction: str | None  # None: plain text, read by the base's graph
    prompts: list[list[int]]
    targets: list[list[int]]  # tokens that are predicted; of a sentence without prompt not the first
    characters: int  # of the targets


def rows(translator: Translator, state: str, texts: list[Text], batch_size: int) -> Iterator[dict]:
    """A row per text: its mean loss, and what the mean is over."""
    for text in texts:
        total = sum(translator.losses(text.prompts, text.targets, text.direction, batch_size))  # nats
        pairs = zip(text.prompts, text.targets, strict=True)
        tokens = sum(max(len(target) - (not prompt), 0) for prompt, target in pairs)
        row = {"state": state, **text.place, "loss": total / max(tokens, 1), "tokens": tokens}
        yield row | {"characters": text.characters, "loss_per_character": total / max(text.characters, 1)}


def read_texts(args: argparse.Namespace, translator: Translator) -> list[Text]:
    """All texts of the command line, tokenized."""
    template, codec, found = template_of(load_templates(args.templates), args.template), translator.codec, []
    translator.languages = args.languages
    named = [("dev", "dev", *table) for table in args.dev] + [("untrained", *test) for test in args.untrained]
    for kind, name, direction, path in named:
        items = tables.read(path, "heldout")
        prompts = translator.prompts(items["source"].tolist(), direction, template)
        targets, characters = codec.targets(items["target"].tolist()), int(items["target"].str.len().sum())
        place = {"kind": kind, "name": name, "direction": str(direction)}
        found.append(Text(place, str(direction), prompts, targets, characters))
    for language, path in args.text:
        sentences = tables.read(path, "text")["text"].tolist()
        targets = [codec.sentence(text) for text in sentences]  # as the model met them in pretraining
        place = {"kind": "text", "name": "text", "direction": language}
        found.append(Text(place, None, [[]] * len(targets), targets, sum(map(len, sentences))))
    return found


def main() -> None:
    """Load the model, as trained and (where it routes) as its training began, and measure all texts."""
    parser = argparse.ArgumentParser(prog="lander.translate.loss", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add_model_flags(parser, trained=True)
    add_prompt_flags(parser)
    add_flags(parser, Translate, "template", "batch_size")
    many = {"nargs": "*", "default": []}
    add("--dev", type=parse_table, metavar="DIRECTION:FILE", help="dev sets", **many)
    add("--untrained", type=parse_test, metavar="NAME:DIRECTION:FILE", help="test sets of other directions", **many)
    many |= {"type": partial(parse_table, read=str), "metavar": "LANGUAGE:FILE"}
    add("--text", help="sentences, for example of pretraining text", **many)
    add("--method", required=True)
    add("--variant", default="main")
    add("--seed", type=int, default=0)
    add("--out", type=Path, required=True, help="CSV to write")
    args = parser.parse_args()
    machine.prepare(args.threads)
    translator = load(args.model, args.dtype, args.revision, prompt=args.prompt)
    texts = read_texts(args, translator)
    found = list(rows(translator, "trained", texts, args.batch_size))
    routed = bool(translator.ffns)
    del translator  # two models would need twice the memory
    if routed:
        start = load(args.model, args.dtype, args.revision, start=True)
        found += rows(start, "start", texts, args.batch_size)
    place = {"method": args.method, "variant": args.variant, "seed": args.seed}
    table = pd.DataFrame([place | row for row in found])
    with whole_file(args.out) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", float_format="%.6f", na_rep="nan")


if __name__ == "__main__":
    run_main(main, "loss")
