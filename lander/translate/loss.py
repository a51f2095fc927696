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
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lander.config.translate import Translate
from lander.data.templates import Template, load_templates
from lander.models.flags import add_model_flags, add_prompt_flags
from lander.models.tokens import Codec
from lander.shared import machine, tables
from lander.shared.errors import UserError, run_main
from lander.shared.files import whole_file
from lander.shared.section import add_flags
from lander.translate.__main__ import parse_table, parse_test
from lander.translate.translator import Translator, load

COLUMNS = [
    "method", "variant", "seed", "state", "kind", "name", "direction", "loss", "tokens", "characters",
    "loss_per_character",
]  # fmt: skip


class Text(NamedTuple):
    """Sequences whose loss is measured: references of a direction behind their prompts, or sentences of a language."""

    kind: str  # dev, untrained or text
    name: str  # of the test set; dev, text
    direction: str | None  # None: plain text, read by the base's graph
    label: str  # direction or language
    sequences: list[list[int]]
    skips: list[int]  # tokens of each sequence that are not predicted (its prompt)
    characters: int  # of what is predicted


def references(
    kind: str, name: str, direction: str, items: pd.DataFrame, codec: Codec, template: Template, names: tuple[str, str]
) -> Text:
    """The references of a held-out set behind their prompts."""
    prompts = codec.prompts([template.fill(source, *names) for source in items["source"]])
    targets = codec.targets(items["target"].tolist())
    sequences = [prompt + target for prompt, target in zip(prompts, targets, strict=True)]
    characters = int(items["target"].str.len().sum())
    return Text(kind, name, direction, direction, sequences, [len(prompt) for prompt in prompts], characters)


def sentences(language: str, texts: list[str], codec: Codec) -> Text:
    """Sentences of a language as the model met them in pretraining; the first token is not predicted."""
    sequences = [codec.sentence(text) for text in texts]
    return Text("text", "text", None, language, sequences, [0] * len(texts), sum(map(len, texts)))


def rows(translator: Translator, state: str, texts: list[Text], batch_size: int) -> Iterator[dict]:
    """A row per text: its mean loss, and what the mean is over."""
    for text in texts:
        total = sum(translator.losses(text.sequences, text.skips, text.direction, batch_size))  # nats
        pairs = zip(text.sequences, text.skips, strict=True)
        tokens = sum(max(len(sequence) - max(skip, 1), 0) for sequence, skip in pairs)  # the first is never predicted
        yield {
            "state": state,
            "kind": text.kind,
            "name": text.name,
            "direction": text.label,
            "loss": total / max(tokens, 1),
            "tokens": tokens,
            "characters": text.characters,
            "loss_per_character": total / max(text.characters, 1),
        }


def read_texts(args: argparse.Namespace, codec: Codec) -> list[Text]:
    """All texts of the command line, tokenized.

    Raises:
        UserError: no template of that name, or a table that cannot be read.
    """
    templates = {template.name: template for template in load_templates(args.templates)}
    if args.template not in templates:
        raise UserError(f"--template: no template is named {args.template!r}; there are {', '.join(templates)}")
    template = templates[args.template]
    found = []
    named = [("dev", "dev", *table) for table in args.dev] + [("untrained", *test) for test in args.untrained]
    for kind, name, direction, path in named:
        names = args.languages[direction.source], args.languages[direction.target]
        heldout = tables.read(path, "heldout")
        found.append(references(kind, name, str(direction), heldout, codec, template, names))
    for language, path in args.text:
        found.append(sentences(language, tables.read(path, "text")["text"].tolist(), codec))
    return found


def parse_text(value: str) -> tuple[str, Path]:
    """`LANGUAGE:FILE` from the command line."""
    language, path = value.split(":", 1)
    return language, Path(path)


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
    add("--text", type=parse_text, metavar="LANGUAGE:FILE", help="sentences, for example of pretraining text", **many)
    add("--method", required=True)
    add("--variant", default="main")
    add("--seed", type=int, default=0)
    add("--out", type=Path, required=True, help="CSV to write")
    args = parser.parse_args()
    machine.prepare(args.threads)
    translator = load(args.model, args.dtype, args.revision, prompt=args.prompt)
    texts = read_texts(args, translator.codec)
    found = list(rows(translator, "trained", texts, args.batch_size))
    routed = bool(translator.ffns)
    del translator  # two models would need twice the memory
    if routed:
        start = load(args.model, args.dtype, args.revision, start=True)
        found += rows(start, "start", texts, args.batch_size)
    place = {"method": args.method, "variant": args.variant, "seed": args.seed}
    table = pd.DataFrame([place | row for row in found], columns=COLUMNS)
    with whole_file(args.out) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", float_format="%.6f", na_rep="nan")


if __name__ == "__main__":
    run_main(main, "loss")
