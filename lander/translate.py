"""Decode the test sets with one model, all directions in one go.

Paper: section 4.3. Raw outputs are kept beside the truncated ones: cutting at the first line break alone can be worth
20 BLEU for a base model (Bawden and Yvon 2023).

Reads:  <run>/data/test/<test>/<direction>.parquet, a trained model's folder or a base
Writes: <run>/translate/<method>/<variant>/s<seed>/<test>/<direction>.jsonl   source, reference, raw, hypothesis
        .../run.json      seconds and sentences per test and direction
        .../prompts.csv   with --choose-prompt: direction, prompt, bleu, chrf2++ on the dev set, chosen

Example:
    python -m lander.translate --model lander-tiny --languages '{"en": "English", "de": "German"}' \\
        --template plain --test cldr:en-de:en-de.parquet --out-dir zero-shot
"""

import argparse
import json
import time
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lander import machine, tables
from lander.data.templates import Template, load_templates
from lander.errors import UserError, run_main
from lander.files import whole_file, write_json
from lander.languages import Direction, parse_direction
from lander.translator import Translator, first_line, load, own_templates


class TestSet(NamedTuple):
    """One direction of a test set."""

    name: str
    direction: Direction
    path: Path


def parse_test(value: str) -> TestSet:
    """`NAME:DIRECTION:FILE` from the command line; the file may hold colons."""
    name, direction, path = value.split(":", 2)
    return TestSet(name, parse_direction(direction), Path(path))


def parse_dev(value: str) -> tuple[Direction, Path]:
    """`DIRECTION:FILE` from the command line."""
    direction, path = value.split(":", 1)
    return parse_direction(direction), Path(path)


def write_translations(path: Path, items: pd.DataFrame, raw: list[str]) -> None:
    """One JSON object a line: source, reference, raw output, hypothesis (its first line)."""
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as stream:
        for source, reference, output in zip(items["source"], items["target"], raw, strict=True):
            row = {"source": source, "reference": reference, "raw": output, "hypothesis": first_line(output)}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def choose_prompts(
    translator: Translator, candidates: list[Template], dev: dict[Direction, pd.DataFrame], decoding: dict
) -> tuple[dict[Direction, Template], pd.DataFrame]:
    """The prompt with the best BLEU on the dev set, direction by direction (chrF2++ decides a tie).

    Returns:
        direction -> template; the table direction, prompt, bleu, chrf2++, chosen
    """
    from sacrebleu.metrics import CHRF

    from lander.evaluate.bleu import bleu_for

    chosen, rows = {}, []
    for direction, items in dev.items():
        references = [items["target"].tolist()]
        scores = []
        for template in candidates:
            outputs = translator.translate(items["source"].tolist(), direction, template=template, **decoding)
            bleu = bleu_for(direction.target).corpus_score(outputs, references).score
            scores.append((bleu, CHRF(word_order=2).corpus_score(outputs, references).score))
        best = max(range(len(candidates)), key=scores.__getitem__)
        chosen[direction] = candidates[best]
        for place, (template, (bleu, chrf)) in enumerate(zip(candidates, scores, strict=True)):
            rows.append((str(direction), template.name, round(bleu, 4), round(chrf, 4), place == best))
    return chosen, pd.DataFrame(rows, columns=["direction", "prompt", "bleu", "chrf2++", "chosen"])


def parse_args() -> argparse.Namespace:
    """The flags of the command line."""
    parser = argparse.ArgumentParser(prog="lander.translate", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", required=True, help="a trained model's folder, or a base (built-in name, folder, hub id)")
    add("--revision", default="", help="revision of a hub model")
    add("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    add("--languages", type=json.loads, required=True, help="JSON: code -> name in the prompts")
    add("--templates", type=Path, help="YAML of instruction templates (default: the project's ten)")
    add("--template", required=True, help="name of the fixed template")
    add("--test", type=parse_test, nargs="+", required=True, metavar="NAME:DIRECTION:FILE", help="what to translate")
    add("--choose-prompt", action="store_true", help="instead of the fixed template, the best one on the dev set")
    add("--dev", type=parse_dev, nargs="*", default=[], metavar="DIRECTION:FILE", help="dev sets, for --choose-prompt")
    add("--dev-sentences", type=int, default=50, help="how many dev sentences each prompt translates")
    add("--beams", type=int, default=1, help="1 is greedy")
    add("--max-new-tokens", type=int, default=256)
    add("--batch-size", type=int, default=32)
    add("--threads", type=int, default=1)
    add("--out-dir", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    """Load the model once, translate every test set with it."""
    args = parse_args()
    machine.prepare(args.threads)
    templates = load_templates(args.templates)
    fixed = next((template for template in templates if template.name == args.template), None)
    if fixed is None:
        names = ", ".join(template.name for template in templates)
        raise UserError(f"translate.template: no template is named {args.template!r}; there are {names}")
    started = time.monotonic()
    translator = load(args.model, args.dtype, args.revision)
    translator.languages = args.languages
    decoding = {"beams": args.beams, "max_new_tokens": args.max_new_tokens, "batch_size": args.batch_size}
    prompts: dict[Direction, Template] = {}
    if args.choose_prompt:
        dev = {direction: tables.read(path, "heldout").head(args.dev_sentences) for direction, path in args.dev}
        own = [template for template in own_templates(args.model) if template.name == "own"]
        prompts, table = choose_prompts(translator, own + templates, dev, decoding)
        with whole_file(args.out_dir / "prompts.csv") as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    parts = []
    for test in args.test:
        began = time.monotonic()
        items = tables.read(test.path, "heldout")
        template = prompts.get(test.direction, fixed)
        raw = translator.outputs(items["source"].tolist(), test.direction, template=template, **decoding)
        write_translations(args.out_dir / test.name / f"{test.direction}.jsonl", items, raw)
        seconds = round(time.monotonic() - began, 2)
        parts.append({"test": test.name, "direction": str(test.direction), "sentences": len(items), "seconds": seconds})
    write_json(args.out_dir / "run.json", {"seconds": round(time.monotonic() - started, 1), "parts": parts})


if __name__ == "__main__":
    run_main(main, "translate")
