"""Sections of the config that no stage sees: `data`, `evaluate`, `experiments` and `workflow`."""

import os
from typing import Annotated, Literal

from pydantic import Field

from lander.config.detect import Estimator
from lander.config.methods import TRAINED
from lander.data.settings import Cleaning
from lander.data.sources import DirectionValue, Source
from lander.evaluate.metrics import OPTIONAL
from lander.shared.section import Distinct, PathText, Section, Text


class Data(Section):
    """Parallel text."""

    train: tuple[Source, ...] = ()
    """Sources of training pairs; cleaned, then sampled."""
    dev: tuple[Source, ...] = ()
    """Sources on which prompts and learning rates are chosen; never filtered."""
    test: tuple[Source, ...] = ()
    """Sources that are translated and scored; each has a name; never filtered."""
    exclude: tuple[Source, ...] = ()
    """Sources whose sentences are taken out of the training pairs, at least the test sets. They are named here again so
    that editing a test set retrains nothing."""
    max_pairs: int | None = Field(0, ge=0)
    """Most training pairs per direction; 0 or null is all."""
    templates: PathText | None = None
    """YAML file of instruction templates; null is the project's ten."""
    cleaning: Cleaning = Cleaning()
    """What is dropped from the training pairs, in which order, with which thresholds."""


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


class Experiments(Section):
    """The experiments of the paper and ours, each a target of the workflow, as `snakemake table1`."""

    draws: int = Field(3, ge=1)
    """How often the controls random and random-layers draw, each draw a training."""
    sweep_k: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Values of layers.k in sweep_k; null is 0 to the model's number of layers."""
    sweep_epsilon: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field((0, 0.25, 0.5, 0.75, 0.9, 1), min_length=1)
    """Values of neurons.general_share in sweep_epsilon."""
    transfer: Annotated[tuple[Literal[*TRAINED], ...], Distinct] = Field(
        ("landermt", "full", "lora", "random"), min_length=1
    )
    """Methods of the experiment transfer, which trains one direction and tests all."""
    untrained: Annotated[tuple[DirectionValue, ...], Distinct] | None = None
    """Untrained directions of the experiment forgetting, as de-fr; null is every pair of languages that is not in
    `directions` and has test text."""
    text: tuple[Source, ...] | None = None
    """Sources of held-out text like the base's pretraining text, on which forgetting is measured; null is the sides of
    data.dev."""
    mixes: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.25, 0.5, 0.75)
    """Shares of the tuned weights in the averages of base and `full` that `forgetting` tries."""
    estimators: tuple[Estimator, ...] = Field(
        ("taylor", "taylor_squared", "activation", "summed", "probability", "random"), min_length=1
    )
    """Estimators of neuron awareness that the experiment estimators compares."""
    tune_share: float = Field(0.25, gt=0, le=1)
    """Share of the training budget that a trial of a learning rate gets."""
    tune_factor: float = Field(2, gt=1)
    """Ratio of neighbouring learning rates in tune."""


class Workflow(Section):
    """How the workflow behaves; nothing here changes a result."""

    code_triggers: bool = True
    """Whether a changed stage is run again; false keeps its results when Lander is upgraded in the middle of an
    expensive study."""
