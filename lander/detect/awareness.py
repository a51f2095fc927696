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

The command `lander awareness` (`run`) does the same for text files of several languages, and divides the neurons.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd

from lander.config.awareness import Awareness
from lander.config.rules import rule_of
from lander.data import chunks
from lander.data.templates import Template, load_templates
from lander.data.textfiles import LONGEST_SENTENCE, TextFile
from lander.detect import estimators, neurons
from lander.detect.neurons import Split
from lander.models import loading
from lander.models.flags import add_model_flags, add_prompt_flags
from lander.models.tokens import Batch, Codec
from lander.shared import machine, tables
from lander.shared.errors import UserError, run_main
from lander.shared.languages import Direction, parse_direction
from lander.shared.progress import EVERY_SECONDS, remaining
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
        report = Report(args.language or "ablation")
        sums, _signed = estimators.ablate(network, read, chosen, args.site, parts, report)
    else:
        sums = estimators.sum_scores(network, read, args.estimator, args.site, parts)
    tables.write(args.out, table_of(sums.scores(), sums.tokens, chosen), "awareness")
    if args.parts_out:
        tables.write(args.parts_out, parts_table(sums), "awareness_parts")


# ------------------------------------------------------------ the command: text files instead of a run's tables


def run(
    path: str,
    files: dict[str, Path],
    out: Path,
    *,
    estimator: str = "taylor",
    site: str = "post",
    split: Split | None = None,
    sample: int | None = None,
    sentences: int | None = None,
    batch_size: int = 16,
    dtype: str = "auto",
    seed: int = 0,
) -> None:
    """Score the neurons of a model on one text file per language, and divide them into groups.

    Writes <out>/awareness/<language>.parquet, and <out>/neurons.parquet (no layer is selected) unless only a sample of
    the neurons is scored.

    Args:
        path: the model: built-in name, local folder or hub id.
        split: by default that of the estimator (`lander.config.rules`).
        sample: ablation: so many neurons of each layer, drawn; their scores are written, and they are not divided.
        sentences: how many lines of each file that are not empty; all by default.
        seed: of random scores, and of the neurons drawn.
    Raises:
        UserError: fewer than two languages, a file that cannot be read or is empty, a split that the scores do not fit.
    """
    split = split or Split(rule=rule_of(estimator))
    if len(files) < 2:
        raise UserError("--text: give at least two languages; the split compares them")
    if split.rule == "entropy" and estimator != "probability":
        raise UserError("--rule entropy: it reads probabilities; add --estimator probability")
    if sample is not None and estimator != "ablation":
        raise UserError("--neurons: other estimators score all neurons in one pass; add --estimator ablation")
    texts = read_texts(files, sentences)
    network, codec = loading.load(path, dtype=dtype)
    shape = estimators.shape_of(network)
    sampled, table = sample is not None and sample < shape[1], out / "neurons.parquet"
    if sampled and table.exists():
        raise UserError(f"{table}: of other scores; a sample has no such table: give another --out")
    chosen = estimators.choose(shape, sample, seed) if estimator == "ablation" else None
    scores = []
    for language, lines in texts.items():
        began, report = time.monotonic(), Report(language)
        samples = by_length(monolingual(lines, codec))
        read = batches(samples, codec, batch_size)
        if estimator == "random":
            values, tokens = estimators.random_scores(shape, seed, language), 0
        elif chosen is not None:
            sums, _signed = estimators.ablate(network, read, chosen, site, report=report)
            values, tokens = sums.scores(), sums.tokens
        else:
            values, tokens = estimators.scores(network, report.watch(read, len(samples)), estimator, site)
        scores.append(values)
        file = out / "awareness" / f"{language}.parquet"
        tables.write(file, table_of(values, tokens, chosen), "awareness")
        _say(f"{language}: {len(lines):,} sentences, {tokens:,} tokens, {time.monotonic() - began:.0f} s: {file}")
    if sampled:
        _say(f"{sample} neurons of each layer are scored, and not divided into groups: that takes all of them")
        return
    phi = split.prepare(np.stack(scores))  # (language, n_layer, p)
    divided = neurons.table_of(phi, neurons.classify(phi, split.function()), list(texts))
    tables.write(table, divided.assign(selected=False), "neurons")
    kinds = divided.drop_duplicates(["layer", "neuron"])["kind"].value_counts()
    told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    owners = ", ".join(f"{language} {count:,}" for language, count in divided["language"].value_counts().items())
    told += f" neurons of {shape[0]} layers" + (f" ({owners})" if owners else "")
    _say(f"{told}, by the rule {split.rule}: {table}")


def read_texts(files: dict[str, Path], most: int | None = None) -> dict[str, list[str]]:
    """The lines of text files, plain or .gz, by language, without the empty ones.

    If the files have equally many lines, a line that is empty in one file is left out of all, so that the lines stay
    the same sentences. Otherwise it is left out of its file only. Lines beyond what is asked for are not read.

    Args:
        most: how many of each file; all by default.
    Raises:
        UserError: a file that cannot be read, or has no text; no line that has text in all files.
    """
    with ExitStack() as stack:
        rows = list(_rows([stack.enter_context(TextFile(file)) for file in files.values()], most))
    for place, file in enumerate(files.values()):
        if not any(row[place] for row in rows):
            raise UserError(f"{file}: no text in it; give one sentence a line")
    lengths = {file: sum(row[place] is not None for row in rows) for place, file in enumerate(files.values())}
    shortest = min(lengths, key=lambda file: lengths[file])
    if any(map(any, rows[lengths[shortest] :])):
        _say(f"warning: {shortest} ends with line {lengths[shortest]:,}, others do not: are they the same sentences?")
    else:
        full = [row for row in rows if all(row)]
        if not full:
            raise UserError(f"{shortest}: no line has text in all files; give the same sentences, one a line, in all")
        if left_out := lengths[shortest] - len(full):
            _say(f"{left_out:,} of {lengths[shortest]:,} lines are left out of all files: empty in one or more")
        rows = full
    return {code: [row[place] for row in rows if row[place]][:most] for place, code in enumerate(files)}


def _rows(files: list[TextFile], most: int | None) -> Iterator[tuple[str | None, ...]]:
    """The trimmed lines of all files side by side, None behind the end of one, until there are `most` of each."""

    def lines(file: TextFile) -> Iterator[str]:
        while (line := file.read_line()) is not None:
            if len(line) > LONGEST_SENTENCE:
                raise UserError(
                    f"{file.path}, line {file.lines}: {len(line):,} characters; more than {LONGEST_SENTENCE:,} are no "
                    "sentence (is every sentence on a line of its own?)"
                )
            yield line.strip()

    full, counts = 0, [0] * len(files)
    for row in zip_longest(*map(lines, files)):
        yield row
        full += all(row)
        counts = [count + bool(line) for count, line in zip(counts, row, strict=True)]
        rest = [count for count, line in zip(counts, row, strict=True) if line is not None]  # of those that go on
        if most and (full == most or (len(rest) < len(files) and min(rest) >= most)):
            return


class Report:
    """A line every few seconds: how much of the work on a language is done."""

    def __init__(self, name: str) -> None:
        self.name, self.began = name, time.monotonic()
        self.last = self.began

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if now - self.last >= EVERY_SECONDS and share < 1:
            self.last = now
            _say(f"{self.name}: {share:.0%}, about {remaining(now - self.began, share)} left")

    def watch(self, batches: Iterator[Batch], sentences: int) -> Iterator[Batch]:
        """The batches of so many sentences, reported on as they are done."""
        done = 0
        for batch in batches:
            yield batch
            done += len(batch.input_ids)
            self(done / sentences)


def _say(text: str) -> None:
    print(f"lander awareness: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_main(main, "awareness")
