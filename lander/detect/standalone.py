"""Awareness from text files: the command `lander awareness`, without a run or its tables.

It scores the neurons of a model on one text file per language (`lander.detect.awareness`) and divides them into groups
(`lander.detect.neurons`). The stage `awareness` does not import this module: a change of the groups must not score the
neurons again.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from lander.config.detect import RULES
from lander.data.textfiles import LONGEST_SENTENCE, TextFile
from lander.detect import estimators, neurons
from lander.detect.awareness import batches, by_length, monolingual, table_of
from lander.detect.neurons import Split
from lander.models import loading
from lander.models.tokens import Batch
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
    """Score the neurons of a model on one text file per language, and divide them into groups.

    Writes <out>/awareness/<language>.parquet, and <out>/neurons.parquet (no layer is selected) unless only a sample of
    the neurons is scored.

    Args:
        path: the model: built-in name, local folder or hub id.
        split: by default that of the estimator (`lander.config.detect`).
        sample: ablation: so many neurons of each layer, drawn; their scores are written, and they are not divided.
        sentences: how many lines of each file that are not empty; all by default.
        seed: of random scores, and of the neurons drawn.
    Raises:
        UserError: fewer than two languages, a file that cannot be read or is empty, a split that the scores do not fit.
    """
    split = split or Split(rule=RULES[estimator])
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
        began = time.monotonic()
        samples = by_length(monolingual(lines, codec))
        read = batches(samples, codec, batch_size)
        if estimator == "random":
            values, tokens = estimators.random_scores(shape, seed, language), 0
        elif chosen is not None:
            sums, _signed = estimators.ablate(network, read, chosen, site, name=language)
            values, tokens = sums.scores(), sums.tokens
        else:
            with progress(f"lander awareness: {language}", len(samples)) as bar:
                values, tokens = estimators.scores(network, _counted(read, bar), estimator, site)
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
    _say(f"{_summary(divided)}, by the rule {split.rule}: {table}")


def _summary(divided: pd.DataFrame) -> str:
    """How many neurons of each kind, and of each language, a neurons table has."""
    kinds = divided.drop_duplicates(["layer", "neuron"])["kind"].value_counts()
    counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    owners = ", ".join(f"{language} {count:,}" for language, count in divided["language"].value_counts().items())
    return f"{counts} neurons of {divided['layer'].nunique()} layers" + (f" ({owners})" if owners else "")


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


def _counted(read: Iterator[Batch], bar: tqdm) -> Iterator[Batch]:
    """The batches, counted when they are done."""
    for batch in read:
        yield batch
        bar.update(len(batch.input_ids))


def _say(text: str) -> None:
    print(f"lander awareness: {text}", file=sys.stderr, flush=True)
