"""How much every FFN neuron of every layer matters to one language (its *awareness*).

Paper: section 3.2, equations 3 and 4, appendix A.2. If a neuron's activation h_i is set to zero, the loss L changes by
about |dL/dh_i * h_i| (to first order). The score Phi_i is the mean of this over tokens. `lander.detect.estimators`
computes it, or another score.

The text is either monolingual (section 5.4: the same sentences in every language), or translation pairs of the
directions that have the language (equation 3). In pairs, only the target's tokens have a loss.

Reads:  <run>/data/s<seed>/text/<language>.parquet or <run>/data/s<seed>/train/<direction>.parquet, the model
Writes: <run>/awareness/s<seed>/<language>.parquet   layer, neuron, score, tokens

Examples:
    python -m lander.detect.awareness --model lander-tiny --text results/demo/data/s0/text/de.parquet --out de.parquet
    python -m lander.detect.awareness --model lander-tiny --data en-de:train/en-de.parquet de-en:train/de-en.parquet \\
        --languages '{"en": "English", "de": "German"}' --sentences 256 --estimator probability --out de.parquet

The command `lander awareness` does the same for text files of several languages (`lander.detect.standalone`).
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from lander.config.awareness import Awareness
from lander.data.templates import load_templates
from lander.detect import estimators
from lander.detect.samples import Sample, batches, monolingual, translations
from lander.models import families, loading
from lander.models.flags import add_model_flags, add_prompt_flags
from lander.models.tokens import Codec
from lander.shared import machine, tables
from lander.shared.errors import UserError, run_main
from lander.shared.languages import Direction, parse_direction
from lander.shared.section import add_flags


def score(
    network: nn.Module,
    codec: Codec,
    samples: list[Sample],
    estimator: str,
    *,
    site: str = "post",
    batch_size: int = 16,
    neurons: int | None = None,
    language: str = "",
    seed: int = 0,
    in_parts: bool = False,
) -> tuple[pd.DataFrame, estimators.Sums | None]:
    """Score the neurons on the text of one language.

    Args:
        neurons: ablation: how many of each layer, drawn; None is all.
        language: for random scores, and for the progress.
        seed: of random scores, and of the neurons drawn.
        in_parts: whether to keep the sums of each part of the text.
    Returns:
        the awareness table, and the sums that it is made of (None for random scores).
    """
    shape = families.shape_of(network)
    if estimator == "random":
        return table_of(estimators.random_scores(shape, seed, language), 0), None
    samples = sorted(samples, key=len)
    parts = [sample.part for sample in samples] if in_parts else None
    name = f"lander awareness: {language or estimator}"
    if estimator != "ablation":
        sums = estimators.sum_scores(network, batches(samples, codec, batch_size, name), estimator, site, parts)
        return table_of(sums.scores(), sums.tokens), sums
    chosen = estimators.choose(shape, neurons, seed)
    sums, _signed = estimators.ablate(network, batches(samples, codec, batch_size), chosen, site, parts, name)
    kept = np.zeros(shape, dtype=bool)
    for layer, some in enumerate(chosen):
        kept[layer, some] = True
    return table_of(sums.scores(), sums.tokens)[kept.reshape(-1)], sums


def table_of(scores: np.ndarray, tokens: int) -> pd.DataFrame:
    """The awareness table of scores (n_layer, p)."""
    return tables.by_neuron({"score": scores, "tokens": np.full(scores.shape, tokens, dtype=np.int64)})


def parse_data(value: str) -> tuple[Direction, Path]:
    """Read DIRECTION:FILE."""
    direction, colon, path = value.partition(":")
    if not colon or not path:
        raise argparse.ArgumentTypeError(f"{value!r}: write DIRECTION:FILE, as in en-de:train/en-de.parquet")
    return parse_direction(direction), Path(path)


def read_samples(args: argparse.Namespace, codec: Codec) -> list[Sample]:
    """The text of the flags as sequences of tokens. UserError if there is none."""
    samples = []
    if args.text:
        sentences = tables.head(args.text, "text", args.sentences)["text"].tolist()
        samples += monolingual(sentences, codec, args.parts)
    templates = load_templates(args.templates) if args.data else []
    for direction, path in args.data or ():
        pairs = tables.head(path, "train", args.sentences)
        names = (args.languages[direction.source], args.languages[direction.target])
        samples += translations(pairs, codec, templates, names, args.parts)
    if not samples:
        raise UserError(f"{args.text or args.data[0][1]}: no sentences to score the neurons on")
    return samples


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
    """Score all neurons on the text of one language, write the table, and that of the parts if it is wanted."""
    args = parse_args()
    machine.prepare(args.threads)
    network, codec = loading.load(args.model, args.revision, args.dtype, args.prompt)
    samples = [] if args.estimator == "random" else read_samples(args, codec)
    options = {name: getattr(args, name) for name in ("site", "batch_size", "neurons", "language", "seed")}
    table, sums = score(network, codec, samples, args.estimator, in_parts=bool(args.parts_out), **options)
    tables.write(args.out, table, "awareness")
    if args.parts_out:
        totals = sums.by_part.cpu().numpy()  # not yet divided by the part's tokens
        parts = [
            tables.by_neuron({"score": total}).assign(part=part, tokens=tokens, sentences=rows)
            for part, (total, tokens, rows) in enumerate(zip(totals, sums.part_tokens, sums.part_rows, strict=True))
        ]
        tables.write(args.parts_out, pd.concat(parts, ignore_index=True), "awareness_parts")


if __name__ == "__main__":
    run_main(main, "awareness")
