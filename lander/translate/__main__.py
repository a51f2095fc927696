"""Decode the test sets with one model, all directions in one go.

Paper: section 4.3. Raw outputs are kept beside the truncated ones: cutting at the first line break alone can be worth
20 BLEU for a base model (Bawden and Yvon 2023).

With --examples (the method in-context, section 4.2) each prompt begins with --shots random training pairs of its
direction, in the same template, each followed by its translation and a blank line. The draw depends on the seed, the
direction and the sentence alone. Pairs with the test item's source or reference are never drawn.

Reads:  <run>/data/test/<test>/<direction>.parquet, a trained model's folder or a base,
        <run>/data/s<seed>/train/<direction>.parquet with --examples
Writes: <run>/translate/<method>/<variant>/s<seed>/<test>/<direction>.jsonl   source, reference, raw, hypothesis,
                          cut (it had not come to an end), loss (of the reference behind the same prompt, nats),
                          other_references of an item that has several
        .../run.json      seconds and sentences per test and direction; with --examples also shots_dropped (they did not
                          fit into the model's positions) and sentences_with_fewer_shots
        .../prompts.csv   with --choose-prompt: direction, prompt, bleu, chrf2++ on the dev set, chosen; a direction
                          without a dev set gets the prompt with the best mean BLEU

Example:
    python -m lander.translate --model lander-tiny --languages '{"en": "English", "de": "German"}' \\
        --template sentence --test cldr:en-de:en-de.parquet --out-dir zero-shot
"""

import argparse
import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lander.config.translate import Translate
from lander.data.templates import Template, load_templates
from lander.evaluate import translations
from lander.evaluate.contamination import forms, normalise
from lander.evaluate.translations import Translations, streams
from lander.models import loading
from lander.models.flags import add_model_flags, add_prompt_flags
from lander.shared import machine, tables
from lander.shared.errors import UserError, run_main
from lander.shared.files import whole_file, write_json
from lander.shared.languages import Direction, parse_direction
from lander.shared.section import add_flags
from lander.translate.translator import (
    Decoding,
    Output,
    Translator,
    first_line,
    load,
    own_templates,
    template_of,
)


class TestSet(NamedTuple):
    """One direction of a test set."""

    name: str
    direction: Direction
    path: Path


def parse_test(value: str) -> TestSet:
    """`NAME:DIRECTION:FILE` from the command line; the file may hold colons."""
    name, rest = value.split(":", 1)
    return TestSet(name, *parse_table(rest))


def parse_table(value: str, read: Callable[[str], Any] = parse_direction) -> tuple[Any, Path]:
    """`DIRECTION:FILE` from the command line."""
    name, path = value.split(":", 1)
    return read(name), Path(path)


class Examples:
    """Training pairs of one direction, to draw demonstrations from."""

    def __init__(self, pairs: pd.DataFrame, direction: Direction, shots: int, seed: int):
        """`pairs`: a table "train", with at least as many pairs as shots."""
        if len(pairs) < shots:
            raise UserError(f"--shots: {shots} examples are asked for, and {direction} has {len(pairs)} training pairs")
        self.sources, self.targets = pairs["source"].tolist(), pairs["target"].tolist()
        self.direction, self.shots, self.seed = direction, shots, seed

    def draw(self, source: str, *references: str) -> list[tuple[str, str]]:
        """Random pairs for a test item, none of them with its source or a reference; fewer where there are fewer."""
        key = [self.seed, zlib.crc32(str(self.direction).encode()), zlib.crc32(source.encode())]
        item, wanted, drawn = forms(source), set().union(*map(forms, references)), []
        for place in np.random.default_rng(key).permutation(len(self.sources)):
            pair = self.sources[place], self.targets[place]
            if normalise(pair[0]) not in item and normalise(pair[1]) not in wanted:
                drawn.append(pair)
            if len(drawn) == self.shots:
                break
        return drawn


def few_shot(
    translator: Translator, items: pd.DataFrame, template: Template, examples: Examples, max_new_tokens: int
) -> tuple[list[list[int]], list[int]]:
    """Prompts (tokens) with demonstrations before them, and how many each has.

    A prompt that leaves no room for `max_new_tokens` loses its first demonstrations. A model whose config names no
    number of positions (ALiBi) has room for all.
    """
    room = (loading.positions(translator.network) or math.inf) - max_new_tokens
    prompts, kept = [], []
    for source, references in zip(items["source"], tables.references_of(items), strict=True):
        parts = [
            translator.prompt(example, examples.direction, template) + " ".join(translation.splitlines()) + "\n\n"
            for example, translation in examples.draw(source, *references)
        ]
        parts.append(translator.prompt(source, examples.direction, template))
        while len(prompt := translator.codec.prompt("".join(parts))) > room and len(parts) > 1:
            del parts[0]
        prompts.append(prompt)
        kept.append(len(parts) - 1)
    return prompts, kept


def write_translations(path: Path, items: pd.DataFrame, outputs: Sequence[Output], losses: Sequence[float]) -> None:
    """One JSON object a line, as in the module's header; the loss of a model that has diverged is null."""
    raw = [output.text for output in outputs]
    found = Translations.of(items, raw, list(map(first_line, raw)))
    nats = [round(loss, 4) if math.isfinite(loss) else None for loss in losses]
    translations.write(path, replace(found, cut=[output.cut for output in outputs], loss=nats))


def choose_prompts(
    translator: Translator, candidates: Sequence[Template], dev: Mapping[Direction, pd.DataFrame], decoding: Decoding
) -> tuple[dict[Direction, Template], Template, pd.DataFrame]:
    """The prompt with the best BLEU on the dev set of each direction (chrF2++ decides a tie), that with the best mean,
    and the table direction, prompt, bleu, chrf2++, chosen."""
    from sacrebleu.metrics import CHRF

    from lander.evaluate.bleu import bleu_for

    chosen, rows = {}, []
    for direction, items in dev.items():
        references = streams(tables.references_of(items))
        scores = []
        for template in candidates:
            outputs = translator.translate(items["source"].tolist(), direction, template=template, **asdict(decoding))
            bleu = bleu_for(direction.target).corpus_score(outputs, references).score
            scores.append((bleu, CHRF(word_order=2).corpus_score(outputs, references).score))
        best = max(range(len(candidates)), key=scores.__getitem__)
        chosen[direction] = candidates[best]
        for place, (template, (bleu, chrf)) in enumerate(zip(candidates, scores, strict=True)):
            rows.append((str(direction), template.name, round(bleu, 4), round(chrf, 4), place == best))
    table = pd.DataFrame(rows, columns=["direction", "prompt", "bleu", "chrf2++", "chosen"])
    return chosen, template_of(candidates, table.groupby("prompt", sort=False)["bleu"].mean().idxmax()), table


def main() -> None:
    """Load the model once, translate every test set with it."""
    parser = argparse.ArgumentParser(prog="lander.translate", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add_model_flags(parser, trained=True)
    add_prompt_flags(parser)
    add_flags(parser, Translate)
    tables_of = {"type": parse_table, "nargs": "*", "default": [], "metavar": "DIRECTION:FILE"}
    add("--test", type=parse_test, nargs="+", required=True, metavar="NAME:DIRECTION:FILE", help="what to translate")
    add("--choose-prompt", action="store_true", help="instead of the fixed template, the best one on the dev set")
    add("--dev", help="dev sets, for --choose-prompt", **tables_of)
    add("--examples", help="training pairs of which --shots are put before each sentence (in-context)", **tables_of)
    add("--seed", type=int, default=0, help="of the draw of examples")
    add("--record", default="run.json", help="name of the record of seconds and sentences, in --out-dir")
    add("--prompts", default="prompts.csv", help="name of the table of prompts that were tried, in --out-dir")
    add("--out-dir", type=Path, required=True)
    args = parser.parse_args()
    machine.prepare(args.threads)
    templates = load_templates(args.templates)
    fixed = template_of(templates, args.template)
    examples = read_examples(args) if args.examples else {}
    started = time.monotonic()
    translator = load(args.model, args.dtype, args.revision, prompt=args.prompt)
    translator.languages = args.languages
    decoding = Decoding(args.beams, args.max_new_tokens, args.batch_size)
    prompts: dict[Direction, Template] = {}
    if args.choose_prompt:
        if not args.dev:
            raise UserError("--choose-prompt: it needs --dev, the sentences on which prompts are compared")
        dev = {direction: tables.read(path, "heldout").head(args.dev_sentences) for direction, path in args.dev}
        own = [template for template in own_templates(args.model) if template.name == "own"]
        prompts, fixed, table = choose_prompts(translator, own + templates, dev, decoding)
        with whole_file(args.out_dir / args.prompts) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    parts = []
    for test in args.test:
        template = prompts.get(test.direction, fixed)
        parts.append(decode(translator, test, template, examples.get(test.direction), decoding, args.out_dir))
    write_json(args.out_dir / args.record, {"seconds": round(time.monotonic() - started, 1), "parts": parts})


def decode(
    translator: Translator,
    test: TestSet,
    template: Template,
    examples: Examples | None,
    decoding: Decoding,
    out_dir: Path,
) -> dict[str, Any]:
    """Translate one direction of a test set into its file. Returns its entry of run.json."""
    began = time.monotonic()
    items = tables.read(test.path, "heldout")
    facts = {"test": test.name, "direction": str(test.direction), "sentences": len(items)}
    if examples is None:
        prompts = translator.prompts(items["source"].tolist(), test.direction, template)
    else:
        prompts, kept = few_shot(translator, items, template, examples, decoding.max_new_tokens)
        lost = [examples.shots - count for count in kept]
        facts |= {"shots_dropped": sum(lost), "sentences_with_fewer_shots": sum(count > 0 for count in lost)}
    translator.warn_of_long(dict(enumerate(prompts)), f"{test.path}, sentence")
    outputs = translator.complete(prompts, test.direction, decoding)
    references = translator.codec.targets(items["target"].tolist())
    losses = translator.losses(prompts, references, test.direction, decoding.batch_size)
    write_translations(out_dir / test.name / f"{test.direction}.jsonl", items, outputs, losses)
    return facts | {"seconds": round(time.monotonic() - began, 2)}


def read_examples(args: argparse.Namespace) -> dict[Direction, Examples]:
    """The examples of every tested direction."""
    files, found = dict(args.examples), {}
    for direction in dict.fromkeys(test.direction for test in args.test):
        if direction not in files:
            raise UserError(f"--examples: no training pairs for {direction}; add {direction}:FILE")
        found[direction] = Examples(tables.read(files[direction], "train"), direction, args.shots, args.seed)
    return found


if __name__ == "__main__":
    run_main(main, "translate")
