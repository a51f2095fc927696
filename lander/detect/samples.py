"""What a base reads while its neurons are watched: sentences, or prompts with their reference translation."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from lander.data.templates import Template
from lander.models.tokens import Batch, Codec
from lander.shared.progress import progress


@dataclass(frozen=True)
class Sample:
    """A sequence of tokens. The first `prompt` ones have no loss; `part` is the part of the text that it is in."""

    tokens: list[int]
    prompt: int
    part: int

    def __len__(self) -> int:
        return len(self.tokens)


def monolingual(sentences: list[str], codec: Codec, parts: int = 1) -> list[Sample]:
    """Sentences as the model met them in pretraining; the first token is not predicted."""
    total = len(sentences)
    return [Sample(codec.sentence(text), 0, part_of(number, total, parts)) for number, text in enumerate(sentences)]


def translations(
    pairs: pd.DataFrame,
    codec: Codec,
    templates: list[Template],
    names: tuple[str, str],
    parts: int = 1,
    *,
    reference: bool = True,
) -> list[Sample]:
    """Prompts of one direction's training pairs (source, target, template), with their reference if it is wanted.

    Args:
        names: of the source and the target language, for the prompts.
    """
    samples = []
    for number, row in enumerate(pairs.itertuples()):
        prompt = codec.prompt(templates[row.template].fill(row.source, *names))
        tokens = prompt + codec.target(row.target) if reference else prompt
        samples.append(Sample(tokens, len(prompt), part_of(number, len(pairs), parts)))
    return samples


def part_of(number: int, total: int, parts: int) -> int:
    """Part of sentence `number` (from 0) of `total`: consecutive, of equal size but for one sentence, none empty."""
    return number * min(parts, total) // total


def batches(samples: list[Sample], codec: Codec, batch_size: int, name: str | None = None) -> Iterator[Batch]:
    """The samples in their order, `batch_size` at a time. Sort them by length first, for little padding.

    Args:
        name: of the work, to show on stderr how far it is; None shows nothing.
    """
    with progress(name or "", len(samples), shown=name is not None) as bar:
        for start in range(0, len(samples), batch_size):
            rows = samples[start : start + batch_size]
            yield codec.pad_right([row.tokens for row in rows], [row.prompt for row in rows])
            bar.update(len(rows))
