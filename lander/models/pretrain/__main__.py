"""Command line of the stage `pretrain`, which `lander/models/pretrain/__init__.py` describes."""

import argparse
import contextlib
import json
from pathlib import Path

import pandas as pd
from pydantic import Field
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from lander.config.pretrain import Pretrain
from lander.data.reading import MAX_LINE, aligned, read
from lander.data.repair import repair
from lander.data.sources import Source, parse_sources
from lander.models.pretrain.documents import PROMPT, SPECIAL, Documents
from lander.models.pretrain.trainer import LOSS_COLUMNS, Trainer
from lander.models.tokens import save_tokenizer
from lander.shared import guard, machine
from lander.shared.errors import UserError, run_main
from lander.shared.files import sweep, whole_folder, write_json
from lander.shared.section import add_flags, names_of

LOSS_ROWS = 1000


class Recipe(Pretrain):
    """What shapes the result besides the text; the defaults are the recipe of `lander-tiny`."""

    warmup: int = Field(100, ge=0, description="Updates until the learning rate is at its peak.")
    cooldown: float = Field(0.3, ge=0, le=1, description="Last share of updates, in which it falls to zero.")
    weight_decay: float = Field(0.1, ge=0, description="Of matrices.")
    clip: float = Field(1.0, gt=0, description="Largest norm of the gradient.")


RECIPE = names_of(Recipe, "text", "parallel")


def read_text(sources: list[Source], languages: dict[str, str]) -> list[dict[str, list[str]]]:
    """The lines of each source, as language to lines; only lines with text in all languages that the source has."""
    found = []
    for source in sources:
        held = [language for language in languages if aligned(source, [language])]
        if not held:
            raise UserError(f"--sources: {source.name!r} holds none of the languages {', '.join(languages)}")
        rows = (tuple(map(repair, texts)) for _, texts in read(source, held, max_line=MAX_LINE, progress=True))
        columns = list(zip(*(row for row in rows if all(row)), strict=True))
        found.append({language: list(column) for language, column in zip(held, columns, strict=bool(columns))})
    return found


def thin(losses: list[list[float]]) -> pd.DataFrame:
    """About `LOSS_ROWS` rows at most: the last of each stretch of updates, with the mean loss of the stretch."""
    table = pd.DataFrame(losses, columns=LOSS_COLUMNS)
    stretches = table.groupby(table.index // -(-len(table) // LOSS_ROWS))
    return stretches.agg(dict.fromkeys(LOSS_COLUMNS, "last") | {"loss": "mean"}).round({"loss": 5})


def main() -> None:
    """Check the flags, and make the model while no other process works on its folder."""
    parser = argparse.ArgumentParser(prog="lander.models.pretrain", description="Train a small BLOOM from scratch.")
    parser.add_argument("--sources", type=parse_sources, required=True, help="sources of sentences (JSON list)")
    parser.add_argument("--parallel", type=parse_sources, default=[], help="sources of translations (JSON list)")
    parser.add_argument("--languages", type=json.loads, required=True, help="code -> English name (JSON)")
    add_flags(parser, Recipe, *RECIPE)
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--checkpoint-seconds", type=float, default=120, help="time between checkpoints")
    parser.add_argument("--checkpoints", type=Path, help="folder of the checkpoint (default: beside --out)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    options = parser.parse_args()
    machine.prepare(options.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if options.n_head < 1 or options.d_model % options.n_head:
        raise UserError(f"--d-model {options.d_model} cannot be divided among --n-head {options.n_head}")
    with guard.output_held(options.out):
        pretrain(options)


def pretrain(options: argparse.Namespace) -> None:
    """Read the text and train; write a plain Hugging Face folder, whole or not at all; remove the checkpoint."""
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
    sweep(folder)  # which is removed below, if it is empty
    trainer = Trainer(recipe, documents, checkpoint, options.checkpoint_seconds)
    trainer.train()
    special = dict(zip(("unk_token", "bos_token", "eos_token", "pad_token"), SPECIAL, strict=True))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trainer.tokenizer, **special, clean_up_tokenization_spaces=False, padding_side="left"
    )
    record = {
        "format": "base",
        "prompt": PROMPT if recipe["bilingual"] else None,
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "recipe": recipe,
        "threads": options.threads,
    }
    with whole_folder(options.out) as temporary:
        trainer.model.save_pretrained(temporary)
        save_tokenizer(tokenizer, temporary)
        thin(trainer.losses).to_csv(temporary / "loss.csv", index=False, lineterminator="\n")
        write_json(temporary / "lander.json", record)
    checkpoint.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the folder, unless it holds other files
        folder.rmdir()


if __name__ == "__main__":
    run_main(main, "pretrain")
