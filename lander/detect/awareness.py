"""Awareness of one language of every FFN neuron of every layer: Taylor scores, or another estimator's.

Paper: section 3.2, equations 3 and 4, appendix A.2. Setting a neuron's activation h_i to zero changes the loss, to
first order, by |dL/dh_i * h_i|; Phi_i is its mean over tokens. It is computed in `lander.detect.estimators`.

The text is monolingual, the same sentences in every language (section 5.4), or the translations of the directions with
the language, with a loss on the target's tokens only (equation 3, whose loss is that of translation).

Reads:  <run>/data/s<seed>/text/<language>.parquet or <run>/data/s<seed>/train/<direction>.parquet, the model
Writes: <run>/awareness/s<seed>/<language>.parquet   layer, neuron, score, tokens

Examples:
    python -m lander.detect.awareness --model lander-tiny --text results/demo/data/s0/text/de.parquet --out de.parquet
    python -m lander.detect.awareness --model lander-tiny --data en-de:train/en-de.parquet de-en:train/de-en.parquet \\
        --languages '{"en": "English", "de": "German"}' --sentences 256 --estimator probability --out de.parquet

The command `lander awareness` does the same for text files of several languages (`lander.detect.standalone`).
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lander.config.detect import Awareness
from lander.data import chunks
from lander.data.templates import Template, load_templates
from lander.detect import estimators
from lander.models import loading
from lander.models.flags import add_model_flags, add_prompt_flags
from lander.models.tokens import Batch, Codec
from lander.shared import machine, tables
from lander.shared.errors import UserError, run_main
from lander.shared.languages import Direction, parse_direction
from lander.shared.section import add_flags

# ------------------------------------------------------------ what the neurons are scored on


@dataclass(frozen=True)
class Sample:
    """One sequence of tokens. The first `prompt` ones have no loss; `part` is the part of the text that it is in."""

    tokens: list[int]
    prompt: int
    part: int


def monolingual(sentences: list[str], codec: Codec, parts: int = 1) -> list[Sample]:
    """Sentences as the model met them in pretraining; the first token is not predicted."""
    return [
        Sample(codec.sentence(sentence), 0, part_of(number, len(sentences), parts))
        for number, sentence in enumerate(sentences)
    ]


def translations(
    pairs: pd.DataFrame, codec: Codec, templates: list[Template], names: tuple[str, str], parts: int = 1
) -> list[Sample]:
    """Prompt and reference of one direction's training pairs (source, target, template).

    Args:
        names: of the source and the target language, for the prompts.
    """
    samples = []
    for number, row in enumerate(pairs.itertuples()):
        prompt = codec.prompt(templates[row.template].fill(row.source, *names))
        tokens = prompt + codec.target(row.target)
        samples.append(Sample(tokens, len(prompt), part_of(number, len(pairs), parts)))
    return samples


def part_of(number: int, total: int, parts: int) -> int:
    """Part of sentence `number` (from 0) of `total`: consecutive, of equal size but for one sentence, none empty."""
    return number * min(parts, total) // total


def by_length(samples: list[Sample]) -> list[Sample]:
    """Sorted, so that a batch has little padding."""
    return sorted(samples, key=lambda sample: len(sample.tokens))


def batches(samples: list[Sample], codec: Codec, batch_size: int) -> Iterator[Batch]:
    """The samples in their order, `batch_size` at a time."""
    for start in range(0, len(samples), batch_size):
        rows = samples[start : start + batch_size]
        yield codec.pad_right([row.tokens for row in rows], [row.prompt for row in rows])


# ------------------------------------------------------------ the tables


def table_of(scores: np.ndarray, tokens: int, chosen: list[np.ndarray] | None = None) -> pd.DataFrame:
    """The awareness table; with `chosen`, of these neurons of each layer only."""
    table = tables.by_neuron({"score": scores, "tokens": np.full(scores.shape, tokens, dtype=np.int64)})
    if chosen is None:
        return table
    kept = np.zeros(scores.shape, dtype=bool)
    for layer, some in enumerate(chosen):
        kept[layer, some] = True
    return table[kept.reshape(-1)]


def parts_table(sums: estimators.Sums) -> pd.DataFrame:
    """The sums of each part of the text, not yet divided by its tokens."""
    parts = []
    for part, values in enumerate(sums.by_part.cpu().numpy()):
        table = tables.by_neuron({"score": values})
        parts.append(table.assign(part=part, tokens=sums.part_tokens[part], sentences=sums.part_rows[part]))
    return pd.concat(parts, ignore_index=True)


# ------------------------------------------------------------ the stage


def parse_data(value: str) -> tuple[Direction, Path]:
    """Read DIRECTION:FILE."""
    direction, colon, path = value.partition(":")
    if not colon or not path:
        raise argparse.ArgumentTypeError(f"{value!r}: write DIRECTION:FILE, as in en-de:train/en-de.parquet")
    return parse_direction(direction), Path(path)


def read_samples(args: argparse.Namespace, codec: Codec) -> list[Sample]:
    """The text of the flags as sequences of tokens, shortest first.

    Raises:
        UserError: there is none.
    """
    samples = []
    if args.text:
        sentences = chunks.head(args.text, "text", args.sentences)["text"].tolist()
        samples += monolingual(sentences, codec, args.parts)
    else:
        templates = load_templates(args.templates)
        for direction, path in args.data:
            pairs = chunks.head(path, "train", args.sentences)
            names = (args.languages[direction.source], args.languages[direction.target])
            samples += translations(pairs, codec, templates, names, args.parts)
    if not samples:
        raise UserError(f"{args.text or args.data[0][1]}: no sentences to score the neurons on")
    return by_length(samples)


def parse_args() -> argparse.Namespace:
    """The flags of the command line."""
    parser = argparse.ArgumentParser(prog="lander.detect.awareness", description=__doc__.splitlines()[0])
    add_model_flags(parser)
    text = parser.add_mutually_exclusive_group(required=True)
    text.add_argument("--text", type=Path, help="sentences of the language")
    text.add_argument("--data", type=parse_data, nargs="+", metavar="DIRECTION:FILE", help="training pairs with it")
    add_prompt_flags(parser, required=False)
    add_flags(parser, Awareness, "sentences", "batch_size", "estimator", "site", "neurons")
    parser.add_argument("--language", default="", help="code of the language: for the logs, and for random scores")
    parser.add_argument("--seed", type=int, default=0, help="of random scores, and of the neurons drawn")
    parser.add_argument("--parts", type=int, default=1, help="into how many parts the text is divided for --parts-out")
    parser.add_argument("--parts-out", type=Path, help="also write the sums of each part, a table awareness_parts")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    named = {code for direction, _path in args.data or () for code in (direction.source, direction.target)}
    if missing := sorted(named - set(args.languages)):
        parser.error(f"--languages: no name for {', '.join(missing)}")
    if args.estimator == "random" and (not args.language or args.parts_out):
        parser.error("--estimator random needs --language, and has no --parts-out")
    return args


def main() -> None:
    """Score all neurons on the text of one language, write the table."""
    args = parse_args()
    machine.prepare(args.threads)
    network, codec = loading.load(args.model, args.revision, args.dtype, args.prompt)
    shape = estimators.shape_of(network)
    if args.estimator == "random":
        tables.write(args.out, table_of(estimators.random_scores(shape, args.seed, args.language), 0), "awareness")
        return
    samples, chosen = read_samples(args, codec), None
    parts = [sample.part for sample in samples] if args.parts_out else None
    read = batches(samples, codec, args.batch_size)
    if args.estimator == "ablation":
        chosen = estimators.choose(shape, args.neurons, args.seed)
        sums, _signed = estimators.ablate(network, read, chosen, args.site, parts, args.language or "ablation")
    else:
        sums = estimators.sum_scores(network, read, args.estimator, args.site, parts)
    tables.write(args.out, table_of(sums.scores(), sums.tokens, chosen), "awareness")
    if args.parts_out:
        tables.write(args.parts_out, parts_table(sums), "awareness_parts")


if __name__ == "__main__":
    run_main(main, "awareness")
