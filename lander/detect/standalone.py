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
from typing import Any

import numpy as np

from lander.data.textfiles import LONGEST_SENTENCE, TextFile
from lander.detect import neurons
from lander.detect.awareness import score
from lander.detect.neurons import Split
from lander.detect.samples import monolingual
from lander.models import families, loading
from lander.shared import tables
from lander.shared.errors import UserError


def run(
    path: str,
    files: dict[str, Path],
    out: Path,
    estimator: str,
    split: Split,
    *,
    sample: int | None = None,
    sentences: int | None = None,
    dtype: str = "auto",
    **options: Any,
) -> None:
    """Score the neurons of a model on one text file per language, and divide them into groups.

    Writes <out>/awareness/<language>.parquet, and <out>/neurons.parquet (no layer is selected) unless only a sample of
    the neurons is scored.

    Args:
        path: the model: built-in name, local folder or hub id.
        sample: ablation: so many neurons of each layer, drawn; their scores are written, and they are not divided.
        sentences: how many lines of each file that are not empty; all by default.
        options: site, batch_size and seed of `lander.detect.awareness.score`.
    """
    if len(files) < 2:
        raise UserError("--text: give at least two languages; the split compares them")
    if split.rule == "entropy" and estimator != "probability":
        raise UserError("--rule entropy: it reads probabilities; add --estimator probability")
    if sample is not None and estimator != "ablation":
        raise UserError("--neurons: other estimators score all neurons in one pass; add --estimator ablation")
    texts = read_texts(files, sentences)
    network, codec = loading.load(path, dtype=dtype)
    sampled = sample is not None and sample < families.shape_of(network)[1]
    neurons_file = out / "neurons.parquet"
    if sampled and neurons_file.exists():
        raise UserError(f"{neurons_file}: of other scores; a sample has no such table: give another --out")
    scores, most = [], loading.positions(network) or loading.ALIBI
    for language, lines in texts.items():
        began, file = time.monotonic(), out / "awareness" / f"{language}.parquet"
        samples = [sample for sample in monolingual(lines, codec) if len(sample) <= most]
        if len(samples) < len(lines):
            _say(f"{language}: {len(lines) - len(samples):,} lines of more than {most:,} tokens are left out")
        if not samples:
            raise UserError(f"{files[language]}: no line is left; give one sentence a line")
        table, _sums = score(network, codec, samples, estimator, neurons=sample, language=language, **options)
        tables.write(file, table, "awareness")
        scores.append(table)
        tokens = table["tokens"].iloc[0]
        _say(f"{language}: {len(samples):,} sentences, {tokens:,} tokens, {time.monotonic() - began:.0f} s: {file}")
    if sampled:
        _say(f"{sample} neurons of each layer are scored, and not divided into groups: that takes all of them")
        return
    phi = np.stack([tables.by_layer(table, "score") for table in scores])
    divided = neurons.table_of(neurons.classify(phi, split), list(texts))
    tables.write(neurons_file, divided.assign(selected=False), "neurons")
    kinds = divided.drop_duplicates(["layer", "neuron"])["kind"].value_counts()
    counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    owners = ", ".join(f"{language} {count:,}" for language, count in divided["language"].value_counts().items())
    owners = f" ({owners})" if owners else ""
    _say(f"{counts} neurons of {len(phi[0])} layers{owners}, by the rule {split.rule}: {neurons_file}")


def read_texts(files: dict[str, Path], most: int | None = None) -> dict[str, list[str]]:
    """The lines of text files, plain or packed, by language, without the empty ones.

    If the files have equally many lines, a line that is empty in one file is left out of all, so that the lines stay
    the same sentences. Otherwise it is left out of its file only. Lines beyond what is asked for are not read.

    Args:
        most: how many of each file; all by default.
    """
    rows: list[tuple[str | None, ...]] = []  # lines side by side, None behind the end of a file
    full, counts = 0, np.zeros(len(files), dtype=int)  # rows with text in all files; lines with text in each
    with ExitStack() as stack:
        for row in zip_longest(*[_lines(stack.enter_context(TextFile(file))) for file in files.values()]):
            rows.append(row)
            full += all(row)
            counts += list(map(bool, row))
            going_on = np.array([line is not None for line in row])
            if most and (full == most or (not going_on.all() and counts[going_on].min() >= most)):
                break
    for file, count in zip(files.values(), counts, strict=True):
        if not count:
            raise UserError(f"{file}: no text in it; give one sentence a line")
    lengths = {file: sum(row[place] is not None for row in rows) for place, file in enumerate(files.values())}
    shortest, length = min(lengths.items(), key=lambda item: item[1])
    if any(map(any, rows[length:])):
        _say(f"warning: {shortest} ends with line {length:,}, others do not: are they the same sentences?")
    else:
        if not full:
            raise UserError(f"{shortest}: no line has text in all files; give the same sentences, one a line, in all")
        if full < length:
            _say(f"{length - full:,} of {length:,} lines are left out of all files: empty in one or more")
        rows = [row for row in rows if all(row)]
    return {code: [row[place] for row in rows if row[place]][:most] for place, code in enumerate(files)}


def _lines(file: TextFile) -> Iterator[str]:
    while (line := file.read_line()) is not None:
        if len(line) > LONGEST_SENTENCE:
            raise UserError(
                f"{file.path}, line {file.lines}: {len(line):,} characters; more than {LONGEST_SENTENCE:,} are no "
                "sentence (is every sentence on a line of its own?)"
            )
        yield line.strip()


def _say(text: str) -> None:
    print(f"lander awareness: {text}", file=sys.stderr, flush=True)
