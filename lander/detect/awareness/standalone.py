"""The command `lander awareness`: the tables of awareness and of neurons alone, from text files, without a workflow.

    run("lander-tiny", {"en": Path("a.txt"), "de": Path("b.txt.gz")}, Path("out"))

Writes: <out>/awareness/<language>.parquet   layer, neuron, score, tokens
        <out>/neurons.parquet                layer, neuron, variance, kind, language, selected (no layer is);
                                             not where only a sample of the neurons is scored
"""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from lander.config.rules import rule_of
from lander.data.textfiles import LONGEST_SENTENCE, TextFile
from lander.detect import neurons
from lander.detect.awareness import ablation, estimators, texts
from lander.detect.awareness.output import random_scores, table_of
from lander.detect.neurons import Split
from lander.models import loading
from lander.models.tokens import Batch, Codec
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.progress import progress


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
    """Score the neurons of a model on one text file per language, and divide them.

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
    read = read_texts(files, sentences)
    network, codec = loading.load(path, dtype=dtype)
    shape = estimators.shape_of(network)
    sampled = sample is not None and sample < shape[1]
    if sampled and (out / "neurons.parquet").exists():
        raise UserError(f"{out / 'neurons.parquet'}: of other scores; a sample has no such table: give another --out")
    chosen = ablation.choose(shape, sample, seed) if estimator == "ablation" else None
    scores = {}
    for language, lines in read.items():
        began = time.monotonic()
        if estimator == "random":
            values, tokens = random_scores(shape, seed, language), 0
        else:
            values, tokens = _score(network, codec, language, lines, estimator, site, batch_size, chosen)
        scores[language] = values
        file = out / "awareness" / f"{language}.parquet"
        tables.write(file, table_of(values, tokens, chosen), "awareness")
        _say(f"{language}: {len(lines):,} sentences, {tokens:,} tokens, {time.monotonic() - began:.0f} s: {file}")
    if sampled:
        _say(f"{sample} neurons of each layer are scored, and not divided into groups: that takes all of them")
    else:
        _divide(scores, split, out / "neurons.parquet")


def _divide(scores: dict[str, np.ndarray], split: Split, file: Path) -> None:
    """Write the neurons' classes; scores are (n_layer, p) by language."""
    phi = split.prepare(np.stack(list(scores.values())))
    table = neurons.table_of(phi, neurons.classify(phi, split.function()), list(scores))
    tables.write(file, table.assign(selected=False), "neurons")
    _say(f"{_summary(table)}, by the rule {split.rule}: {file}")


def read_texts(files: dict[str, Path], most: int | None = None) -> dict[str, list[str]]:
    """The lines of text files, plain or .gz, by language, without the empty ones.

    Where the files have as many lines, a line is left out of all when it is empty in one, so that they stay the same
    sentences; else it is left out of its file. What lies behind the last line that is asked for is not read.

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
    """The lines of all files side by side, None behind the end of one, until there are `most` of each."""
    full, counts = 0, [0] * len(files)
    for row in zip_longest(*map(_lines, files)):
        yield row
        full += all(row)
        counts = [count + bool(line) for count, line in zip(counts, row, strict=True)]
        rest = [count for count, line in zip(counts, row, strict=True) if line is not None]  # of those that go on
        if most and (full == most or (len(rest) < len(files) and min(rest) >= most)):
            return


def _lines(file: TextFile) -> Iterator[str]:
    """The lines, trimmed.

    Raises:
        UserError: one that is no sentence.
    """
    while (line := file.read_line()) is not None:
        if len(line) > LONGEST_SENTENCE:
            raise UserError(
                f"{file.path}, line {file.lines}: {len(line):,} characters; more than {LONGEST_SENTENCE:,} are no "
                "sentence (is every sentence on a line of its own?)"
            )
        yield line.strip()


def _score(
    network: nn.Module,
    codec: Codec,
    language: str,
    lines: list[str],
    estimator: str,
    site: str,
    batch_size: int,
    chosen: list[np.ndarray] | None,
) -> tuple[np.ndarray, int]:
    """Scores (n_layer, p) and tokens of one language; with neurons that are `chosen`, their exact ablation."""
    samples = texts.by_length(texts.monolingual(lines, codec))
    batches = texts.batches(samples, codec, batch_size)
    if chosen is not None:
        sums, _signed = ablation.ablate(network, batches, chosen, site, name=language)
        return sums.means(), sums.tokens
    return estimators.scores(network, _watched(batches, language, len(samples)), estimator, site)


def _watched(batches: Iterator[Batch], language: str, total: int) -> Iterator[Batch]:
    """The batches, with progress on stderr."""
    with progress(f"lander awareness: {language}", total) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch.input_ids))


def _summary(table: pd.DataFrame) -> str:
    """How many neurons of each kind, and of each language."""
    once = table.drop_duplicates(["layer", "neuron"])
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in once["kind"].value_counts().items())
    owners = ", ".join(f"{language} {count:,}" for language, count in table["language"].value_counts().items())
    return f"{kinds} neurons of {once['layer'].nunique()} layers" + (f" ({owners})" if owners else "")


def _say(text: str) -> None:
    print(f"lander awareness: {text}", file=sys.stderr, flush=True)
