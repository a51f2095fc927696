"""How well a model predicts: its loss on references, of trained and untrained directions, and on plain text.

Losses compare what BLEU cannot: models that translate too badly to be ranked, what a model has forgotten, and what
routing alone does to the base before anything is trained (state `start`). Nats per token depend on the tokenizer;
nats per character of the reference compare models of different ones.

Reads:  <run>/data/{dev,test}/..., <run>/data/kept/<language>.parquet, a trained model's folder or a base
Writes: <run>/loss/<method>/<variant>/s<seed>.csv   method, variant, seed, state (start, trained), kind (dev, test,
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
from lander.translate.test_sets import parse_test
from lander.translate.translator import Translator, load

COLUMNS = [
    "method", "variant", "seed", "state", "kind", "name", "direction", "loss", "tokens", "characters",
    "loss_per_character",
]  # fmt: skip


class Text(NamedTuple):
    """Sequences whose loss is measured: references of a direction behind their prompts, or sentences of a language."""

    kind: str  # dev, test, untrained or text
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


def measure(translator: Translator, text: Text, batch_size: int) -> tuple[float, int]:
    """Summed loss in nats, and the number of predicted tokens."""
    tokens = sum(max(len(tokens) - max(skip, 1), 0) for tokens, skip in zip(text.sequences, text.skips, strict=True))
    return sum(translator.losses(text.sequences, text.skips, text.direction, batch_size)), tokens


def rows(translator: Translator, state: str, texts: list[Text], batch_size: int) -> Iterator[dict]:
    """A row per text."""
    for text in texts:
        total, tokens = measure(translator, text, batch_size)
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
    named = [("dev", parse_test(f"dev:{value}")) for value in args.dev]
    named += [("test", parse_test(value)) for value in args.test]
    named += [("untrained", parse_test(value)) for value in args.untrained]
    for kind, item in named:
        names = args.languages[item.direction.source], args.languages[item.direction.target]
        heldout = tables.read(item.path, "heldout")
        found.append(references(kind, item.name, str(item.direction), heldout, codec, template, names))
    for value in args.text:
        language, path = value.split(":", 1)
        found.append(sentences(language, tables.read(Path(path), "text")["text"].tolist(), codec))
    return found


def main() -> None:
    """Load the model, as trained and (where it routes) as its training began, and measure all texts."""
    parser = argparse.ArgumentParser(prog="lander.translate.loss", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add_model_flags(parser, trained=True)
    add_prompt_flags(parser)
    add_flags(parser, Translate, "template", "batch_size")
    add("--dev", nargs="*", default=[], metavar="DIRECTION:FILE", help="dev sets")
    add("--test", nargs="*", default=[], metavar="NAME:DIRECTION:FILE", help="test sets")
    add("--untrained", nargs="*", default=[], metavar="NAME:DIRECTION:FILE", help="test sets of untrained directions")
    add("--text", nargs="*", default=[], metavar="LANGUAGE:FILE", help="sentences, for example of pretraining text")
    add("--method", required=True)
    add("--variant", default="main")
    add("--seed", type=int, default=0)
    add("--out", type=Path, required=True, help="CSV to write")
    args = parser.parse_args()
    for value in (*args.dev, *args.text):
        if ":" not in value:
            raise UserError(f"{value}: write DIRECTION:FILE (for --text LANGUAGE:FILE)")
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
