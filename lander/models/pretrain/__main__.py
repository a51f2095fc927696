"""Command line of the stage `pretrain`, which `lander/models/pretrain/__init__.py` describes."""

import argparse
import contextlib
import csv
import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from lander.config.pretrain import Pretrain
from lander.data.reading import MAX_LINE, aligned, read
from lander.data.repair import repair
from lander.data.sources import Source, parse_sources
from lander.models.pretrain.documents import PROMPT, SPECIAL, Documents
from lander.models.pretrain.trainer import Trainer
from lander.shared import guard, machine
from lander.shared.errors import UserError, run_main
from lander.shared.files import read_json, sweep, whole_folder, write_json
from lander.shared.section import add_flags, names_of

RECIPE = (
    "tokens", "d_model", "n_layer", "n_head", "vocabulary", "context", "bilingual", "batch_tokens", "learning_rate",
    "warmup", "cooldown", "weight_decay", "clip", "seed",
)  # fmt: skip
LOSS_COLUMNS = ("update", "tokens", "loss", "learning_rate")
LOSS_ROWS = 1000


def read_text(sources: list[Source], languages: dict[str, str]) -> list[dict[str, list[str]]]:
    """The lines of each source, as language to lines; only lines with text in all languages that the source has.

    Raises:
        UserError: a source has none of the languages, or cannot be read.
    """
    found = []
    for source in sources:
        held = [language for language in languages if aligned(source, [language])]
        if not held:
            raise UserError(f"--sources: {source.name!r} holds none of the languages {', '.join(languages)}")
        rows = (tuple(map(repair, texts)) for _, texts in read(source, held, max_line=MAX_LINE, progress=True))
        columns = list(zip(*(row for row in rows if all(row)), strict=True))
        found.append({language: list(column) for language, column in zip(held, columns, strict=bool(columns))})
    return found


def write_model(folder: Path, trainer: Trainer, record: dict[str, Any]) -> None:
    """Write a plain Hugging Face folder with loss.csv, and lander.json last; whole or not at all."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trainer.tokenizer,
        **dict(zip(("unk_token", "bos_token", "eos_token", "pad_token"), SPECIAL, strict=True)),
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
    with whole_folder(folder) as temporary:
        trainer.model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        settings = read_json(temporary / "tokenizer_config.json")  # a name that transformers 4 knows too
        write_json(temporary / "tokenizer_config.json", settings | {"tokenizer_class": "PreTrainedTokenizerFast"})
        with open(temporary / "loss.csv", "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([LOSS_COLUMNS, *thin(trainer.losses)])
        write_json(temporary / "lander.json", record)


def thin(losses: list[list[float]]) -> list[list[float]]:
    """About `LOSS_ROWS` rows at most: the last of each stretch of updates, with the mean loss of the stretch."""
    step = -(-len(losses) // LOSS_ROWS)
    stretches = (losses[start : start + step] for start in range(0, len(losses), step))
    return [[*s[-1][:2], round(sum(row[2] for row in s) / len(s), 5), s[-1][3]] for s in stretches]


def parse() -> argparse.Namespace:
    """Flags; the defaults are the recipe of `lander-tiny`."""
    parser = argparse.ArgumentParser(prog="lander.models.pretrain", description="Train a small BLOOM from scratch.")
    parser.add_argument("--sources", type=parse_sources, required=True, help="sources of sentences (JSON list)")
    parser.add_argument("--parallel", type=parse_sources, default=[], help="sources of translations (JSON list)")
    parser.add_argument("--languages", type=json.loads, required=True, help="code -> English name (JSON)")
    add_flags(parser, Pretrain, *names_of(Pretrain, "text", "parallel"))
    parser.add_argument("--warmup", type=int, default=100, help="updates until the learning rate is at its peak")
    parser.add_argument("--cooldown", type=float, default=0.3, help="last share of updates, in which it falls to zero")
    parser.add_argument("--weight-decay", type=float, default=0.1, help="of matrices")
    parser.add_argument("--clip", type=float, default=1.0, help="largest norm of the gradient")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--checkpoint-seconds", type=float, default=120, help="time between checkpoints")
    parser.add_argument("--checkpoints", type=Path, help="folder of the checkpoint (default: beside --out)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    return parser.parse_args()


def main() -> None:
    """Check the flags, and make the model while no other process works on its folder."""
    options = parse()
    machine.prepare(options.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if options.n_head < 1 or options.d_model % options.n_head:
        raise UserError(f"--d-model {options.d_model} cannot be divided among --n-head {options.n_head}")
    with guard.output_held(options.out):
        pretrain(options)


def pretrain(options: argparse.Namespace) -> None:
    """Read the text, train, write the folder, remove the checkpoint."""
    recipe = {name: getattr(options, name) for name in RECIPE} | {
        "sources": [source.json for source in options.sources],
        "parallel": [source.json for source in options.parallel],
        "languages": options.languages,
    }
    recipe["bilingual"] = options.bilingual if options.parallel else 0.0
    single = [line for text in read_text(options.sources, options.languages) for side in text.values() for line in side]
    parallel = read_text(options.parallel, options.languages)
    documents = Documents(single, parallel, options.languages, recipe["bilingual"], options.seed)
    folder = options.checkpoints or options.out.with_name(options.out.name + ".checkpoints")
    checkpoint = folder / "checkpoint.safetensors"
    sweep(options.out, checkpoint)
    trainer = Trainer(recipe, documents, checkpoint, options.checkpoint_seconds)
    trainer.train()
    record = {
        "format": "base",
        "prompt": PROMPT if recipe["bilingual"] else None,
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "recipe": recipe,
        "threads": options.threads,
    }
    write_model(options.out, trainer, record)
    checkpoint.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the folder, unless it holds other files
        folder.rmdir()


if __name__ == "__main__":
    run_main(main, "pretrain")
