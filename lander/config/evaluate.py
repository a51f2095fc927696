"""Section `evaluate`: scores and tests of significance (paper 4.3-4.4)."""

import os
from typing import Literal

from pydantic import Field

from lander.evaluate.metrics import OPTIONAL
from lander.shared.section import PathText, Section, Text


class Neural(Section):
    """A neural metric."""

    name: str = Field(pattern="^[a-z0-9]+([_+.-][a-z0-9]+)*$")
    """Its name in the tables, as comet."""
    model: PathText
    """A local checkpoint (its .ckpt, or the folder above checkpoints/model.ckpt), which needs no network, or a hub id
    as Unbabel/wmt22-comet-da."""
    command: tuple[Text, ...] | None = Field(None, min_length=1)
    """The executable and its arguments with {source}, {hypothesis}, {reference}, {model}, {scores}; comet-score alone
    gets its arguments. null installs COMET (workflow/envs/comet.txt)."""
    signature: str | None = Field(None, min_length=1)
    """What makes the scores comparable; null is the model, the digest of a local checkpoint and COMET's version."""
    less_is_better: bool | None = None
    """Whether the lower score is the better one, as MetricX's; null is unknown, and no score is marked as best or ahead
    (of the metric `comet` it is known that more is better)."""

    @property
    def remote(self) -> bool:
        """Whether the model is on the hub; a local checkpoint needs no network."""
        return not os.path.exists(self.model)


class Evaluate(Section):
    """Scores and tests of significance (paper 4.3-4.4)."""

    baselines: tuple[Text, ...] | None = None
    """Methods (or method/variant) that every method is tested against; null is those of zero-shot/best-prompt, full,
    lora, adapter-lora and random that are in `methods`."""
    metrics: tuple[Literal[OPTIONAL], ...] = ()
    """Further metrics beside BLEU and chrF2++; `readings: paper` adds bleu_13a."""
    neural: tuple[Neural, ...] = ()
    """COMET and other neural metrics. They run in their own environment (lander/evaluate/neural.py), and their segment
    scores go into the same tests."""
