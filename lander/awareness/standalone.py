"""The command `lander awareness`: the tables of awareness and of neurons alone, from text files, without a workflow.

    run("lander-tiny", {"en": Path("a.txt"), "de": Path("b.txt.gz")}, Path("out"))

Writes: <out>/awareness/<language>.parquet   layer, neuron, score, tokens
        <out>/neurons.parquet                layer, neuron, variance, kind, language, selected (no layer is)
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from lander import model, neurons, tables
from lander.awareness import ablation, estimators, texts
from lander.awareness.output import random_scores, table_of
from lander.codec import Batch, Codec
from lander.data.progress import EVERY_SECONDS, remaining
from lander.data.textfiles import LONGEST_SENTENCE, TextFile
from lander.errors import UserError
from lander.neurons import Split


def run(
    path: str,
    files: dict[str, Path],
    out: Path,
    *,
    estimator: str = "taylor",
    site: str = "post",
    split: Split | None = None,
    sentences: int | None = None,
    batch_size: int = 16,
    dtype: str = "auto",
    seed: int = 0,
) -> None:
    """Score the neurons of a model on one text file per language, and divide them.

    Args:
        path: the model: built-in name, local folder or hub id.
        sentences: how many lines of each file that are not empty; all by default.
        seed: of random scores.
    Raises:
        UserError: fewer than two languages, a file that cannot be read or is empty, a split that the scores do not fit.
    """
    split = split or Split()
    if len(files) < 2:
        raise UserError("--text: give at least two languages; the split compares them")
    if split.rule == "entropy" and estimator != "probability":
        raise UserError("--rule entropy: it reads probabilities; add --estimator probability")
    read = {language: read_sentences(file, sentences) for language, file in files.items()}
    network, codec = model.load(path, dtype=dtype)
    scores = {}
    for language, lines in read.items():
        began = time.monotonic()
        if estimator == "random":
            values, tokens = random_scores(estimators.shape_of(network), seed, language), 0
        else:
            values, tokens = _score(network, codec, language, lines, estimator, site, batch_size)
        scores[language] = values
        file = out / "awareness" / f"{language}.parquet"
        tables.write(file, table_of(values, tokens), "awareness")
        _say(f"{language}: {len(lines):,} sentences, {tokens:,} tokens, {time.monotonic() - began:.0f} s: {file}")
    phi = split.prepare(np.stack(list(scores.values())))
    table = neurons.table_of(phi, neurons.classify(phi, split.function()), list(scores))
    tables.write(out / "neurons.parquet", table.assign(selected=False), "neurons")
    _say(f"{_summary(table)}: {out / 'neurons.parquet'}")


def read_sentences(path: Path, most: int | None = None) -> list[str]:
    """The lines of a text file, plain or .gz, without the empty ones.

    Raises:
        UserError: it cannot be read, or has no text.
    """
    sentences: list[str] = []
    with TextFile(path) as file:
        while (most is None or len(sentences) < most) and (line := file.read_line()) is not None:
            if len(line) > LONGEST_SENTENCE:
                raise UserError(
                    f"{path}, line {file.lines}: {len(line):,} characters; more than {LONGEST_SENTENCE:,} are no "
                    "sentence (is every sentence on a line of its own?)"
                )
            if line.strip():
                sentences.append(line.strip())
    if not sentences:
        raise UserError(f"{path}: no text in it; give one sentence a line")
    return sentences


def _score(
    network: nn.Module, codec: Codec, language: str, lines: list[str], estimator: str, site: str, batch_size: int
) -> tuple[np.ndarray, int]:
    """Scores (n_layer, p) and tokens of one language."""
    samples = texts.by_length(texts.monolingual(lines, codec))
    batches = _watched(texts.batches(samples, codec, batch_size), language, len(samples))
    if estimator == "ablation":
        every = ablation.choose(estimators.shape_of(network), None, 0)
        sums, _signed = ablation.ablate(network, batches, every, site)
        return sums.means(), sums.tokens
    return estimators.scores(network, batches, estimator, site)


def _watched(batches: Iterator[Batch], language: str, total: int) -> Iterator[Batch]:
    """The batches; now and then a line on how far they are."""
    began = last = time.monotonic()
    done = 0
    for batch in batches:
        yield batch
        done += len(batch.input_ids)
        now = time.monotonic()
        if now - last >= EVERY_SECONDS and done < total:
            last = now
            _say(f"{language}: {done:,} of {total:,} sentences, {remaining(now - began, done / total)} left")


def _summary(table: pd.DataFrame) -> str:
    """How many neurons of each kind, and of each language."""
    once = table.drop_duplicates(["layer", "neuron"])
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in once["kind"].value_counts().items())
    owners = ", ".join(f"{language} {count:,}" for language, count in table["language"].value_counts().items())
    return f"{kinds} neurons of {once['layer'].nunique()} layers" + (f" ({owners})" if owners else "")


def _say(text: str) -> None:
    print(f"lander awareness: {text}", file=sys.stderr, flush=True)
