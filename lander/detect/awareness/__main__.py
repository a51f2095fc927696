"""Awareness of one language of every FFN neuron of every layer: Taylor scores, or another estimator's.

Paper: section 3.2, equations 3 and 4, appendix A.2. Setting a neuron's activation h_i to zero changes the loss, to
first order, by |dL/dh_i * h_i|; Phi_i is the mean of it over tokens (`estimators.py` has it and its rivals). The
text is monolingual, the same sentences in every language (section 5.4), or the translations of the directions with the
language (`texts.py`).

Reads:  <run>/data/s<seed>/text/<language>.parquet or <run>/data/s<seed>/train/<direction>.parquet, the model
Writes: <run>/awareness/s<seed>/<language>.parquet   layer, neuron, score, tokens

Examples:
    python -m lander.detect.awareness --model lander-tiny --text results/demo/data/s0/text/de.parquet --out de.parquet
    python -m lander.detect.awareness --model lander-tiny --data en-de:train/en-de.parquet de-en:train/de-en.parquet \\
        --languages '{"en": "English", "de": "German"}' --sentences 256 --estimator probability --out de.parquet
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from lander.data import chunks
from lander.data.templates import load_templates
from lander.detect.awareness import ESTIMATORS, SITES, ablation, estimators, texts
from lander.detect.awareness.output import parts_table, random_scores, table_of
from lander.detect.awareness.texts import Sample
from lander.models import loading
from lander.models.tokens import PROMPTS, Batch, Codec
from lander.shared import machine, tables
from lander.shared.errors import UserError, run_main
from lander.shared.languages import Direction, parse_direction


def parse_data(value: str) -> tuple[Direction, Path]:
    """Read DIRECTION:FILE."""
    direction, colon, path = value.partition(":")
    if not colon or not path:
        raise argparse.ArgumentTypeError(f"{value!r}: write DIRECTION:FILE, as in en-de:train/en-de.parquet")
    return parse_direction(direction), Path(path)


def read_samples(args: argparse.Namespace, codec: Codec) -> list[Sample]:
    """The text of the flags as sequences of tokens, shortest first."""
    if args.text:
        sentences = chunks.head(args.text, "text", args.sentences)["text"].tolist()
        return texts.by_length(texts.monolingual(sentences, codec, args.parts))
    templates = load_templates(args.templates)
    samples = []
    for direction, path in args.data:
        pairs = chunks.head(path, "train", args.sentences)
        names = (args.languages[direction.source], args.languages[direction.target])
        samples += texts.translations(pairs, codec, templates, names, args.parts)
    return texts.by_length(samples)


def parse_args() -> argparse.Namespace:
    """The flags of the command line."""
    parser = argparse.ArgumentParser(prog="lander.detect.awareness", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="built-in name, local folder or hub id")
    parser.add_argument("--revision", default="", help="revision of a hub model")
    parser.add_argument("--prompt", choices=PROMPTS, help="how instructions are put to the model (default: plain)")
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    text = parser.add_mutually_exclusive_group(required=True)
    text.add_argument("--text", type=Path, help="sentences of the language")
    text.add_argument("--data", type=parse_data, nargs="+", metavar="DIRECTION:FILE", help="training pairs with it")
    parser.add_argument("--languages", type=json.loads, default={}, help="JSON: code -> name in the prompts of --data")
    parser.add_argument("--templates", type=Path, help="YAML of instruction templates (default: the project's ten)")
    parser.add_argument("--sentences", type=int, help="how many are read, of each direction (default: all)")
    parser.add_argument("--language", default="", help="code of the language: for the logs, and for random scores")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--estimator", choices=ESTIMATORS, default="taylor")
    parser.add_argument("--site", choices=SITES, default="post", help="h: the nonlinearity's output or input")
    parser.add_argument("--neurons", type=int, help="ablation: how many neurons of each layer, drawn (default: all)")
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
        tables.write(args.out, table_of(random_scores(shape, args.seed, args.language), 0), "awareness")
        return
    samples = read_samples(args, codec)
    if not samples:
        raise UserError(f"{args.text or args.data[0][1]}: no sentences to score the neurons on")
    parts = [sample.part for sample in samples] if args.parts_out else None
    batches: Iterator[Batch] = texts.batches(samples, codec, args.batch_size)
    neurons = None
    if args.estimator == "ablation":
        neurons = ablation.choose(shape, args.neurons, args.seed)
        sums, _signed = ablation.ablate(network, batches, neurons, args.site, parts, args.language or "ablation")
    else:
        sums = estimators.sum_scores(network, batches, args.estimator, args.site, parts)
    scores = estimators.finish(sums.means(), args.estimator)
    tables.write(args.out, table_of(scores, sums.tokens, neurons), "awareness")
    if args.parts_out:
        tables.write(args.parts_out, parts_table(sums), "awareness_parts")


if __name__ == "__main__":
    run_main(main, "awareness")
