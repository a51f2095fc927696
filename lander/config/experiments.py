"""Sections `experiments` and `workflow`: what is compared, and how a run behaves. No stage sees them."""

from typing import Annotated, Literal

from pydantic import Field

from lander.config.awareness import Estimator
from lander.config.methods import TRAINED
from lander.data.sources import DirectionValue, Source
from lander.shared.section import Distinct, Section


class Experiments(Section):
    """The experiments of the paper and ours, each a target of the workflow, as `snakemake table1`."""

    draws: int = Field(3, ge=1)
    """How often the controls random and random-layers draw, each draw a training."""
    sweep_k: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Values of layers.k in sweep_k; null is 0 to the model's number of layers."""
    sweep_epsilon: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field((0, 0.25, 0.5, 0.75, 0.9, 1), min_length=1)
    """Values of neurons.general_share in sweep_epsilon."""
    sweep_trained: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field((1, 0.5, 0.2, 0.05, 0.01), min_length=1)
    """Values of neurons.trained_share in sweep_trained."""
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
