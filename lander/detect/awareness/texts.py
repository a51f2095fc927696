"""What the neurons are scored on: sentences of one language, or the translations of the directions with it.

The first reading is section 5.4's (monolingual text, the same sentences in every language), the second follows from
equation 3, whose loss is that of translation: a language's score is then that of the directions which it is part of,
with a loss on the target's tokens only.

The sentences can be divided into parts of consecutive ones, whose sums are kept apart (`Sums.by_part`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from lander.data.templates import Template
from lander.models.tokens import Batch, Codec


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
