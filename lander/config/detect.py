"""Sections `activations`, `layers`, `awareness`, `neurons`, `routing` and `ablation` (paper 3.1-3.3)."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from lander.data.sources import Source
from lander.shared.section import Distinct, PathText, Section, switch


class Activations(Section):
    """Mean activations per direction (paper 3.1, eq. 1)."""

    text: Literal["prompt", "prompt_reference"] = switch(repaired="prompt_reference", paper="prompt")
    """What the model reads: the prompt alone, or the prompt and the reference translation."""
    sentences: int = Field(256, ge=1)
    """Training pairs that are read per direction."""
    batch_size: int = Field(16, ge=1)
    """Sequences per forward pass."""


class Layers(Section):
    """The layers that are finetuned (eq. 2)."""

    k: int = Field(4, ge=0)
    """How many layers are chosen; 0 is the base itself, the model's number of layers is all."""
    difference: Literal["scalar", "vector"] = switch(repaired="vector", paper="scalar")
    """Change between two layers: of their scalar means, or the mean change over neurons."""
    side: Literal["lower", "upper"] = switch(repaired="upper", paper="lower")
    """Which of two neighbouring layers the change between them chooses."""
    selection: Literal["shared", "per_direction"] = switch(repaired="shared", paper="shared")
    """The same layers for all directions, or each direction's own."""


Estimator = Literal["taylor", "taylor_squared", "activation", "summed", "probability", "ablation", "random"]
# How `lander.detect.neurons` divides the neurons by the scores of an estimator; `variance` is the paper's (eq. 4-5).
RULES = dict.fromkeys(get_args(Estimator), "variance") | {"summed": "summed", "probability": "entropy"}
Code = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9-]*$")]


class Awareness(Section):
    """Scores of the neurons per language (paper 3.2, eq. 3-4)."""

    languages: Annotated[tuple[Code, ...], Distinct] | None = None
    """Scored languages, at least `languages`; more of them are contrast, which shows neurons of other languages as
    such. null is `languages`."""
    data: tuple[Source, ...] | None = None
    """Sources of the scoring text, best with the same sentences in all scored languages (otherwise each language has
    its own lines, with a warning); null is data.train."""
    sentences: int = Field(256, ge=1)
    """Sentences per language."""
    batch_size: int = Field(16, ge=1)
    """Sentences per forward and backward pass."""
    estimator: Estimator = "taylor"
    """How a neuron with output h and gradient g is scored: taylor is the paper's, mean of |g h| (eq. 4). For comparison
    (docs/decisions.md): taylor_squared, mean of (g h)^2; summed, |sum of g h|; activation, mean of |h|; probability,
    share of tokens with h > 0; ablation, exact and slow; random."""
    neurons: int | None = Field(None, ge=2)
    """How many neurons of each layer, drawn at random, the estimator ablation sets to zero one by one; null is all.
    With a sample it takes part in `agreement` alone."""
    site: Literal["post", "pre"] = switch(repaired="post", paper="post")
    """Where a neuron is read: after the nonlinearity or before it."""
    text: Literal["monolingual", "translation"] = switch(repaired="monolingual", paper="monolingual")
    """What a language is scored on: text in the language, or translations of the directions with the language."""


class Neurons(Section):
    """Classes of the neurons (eq. 5)."""

    general_share: float = Field(0.9, ge=0, le=1)
    """Share of language-general neurons, the paper's epsilon, from 0 to 1."""
    unactivated: float = Field(0.0, ge=0)
    """A neuron whose mean score is at most this is unactivated."""
    unactivated_role: Literal["general", "absent"] = "general"
    """Whether unactivated neurons take part like general ones, or are absent."""
    masks: PathText | None = None
    """Folder of mask tables, one <direction>.parquet each, to use instead of Lander's own."""
    normalize: Literal["none", "language_mean"] = switch(repaired="language_mean", paper="none")
    """Raw scores, or scores divided by their language's mean."""
    threshold: Literal["literal", "general_share"] = switch(repaired="general_share", paper="literal")
    """Variance sorted from high to low and cut at index floor(share * p), or the share of general neurons."""


class Routing(Section):
    """How the neurons of a direction are scaled (eq. 6-9)."""

    share: Literal["literal", "general"] = switch(repaired="general", paper="literal")
    """Whether the specific share (as printed) or the general share scales the general neurons."""
    pool: Literal["sum", "mean"] = switch(repaired="sum", paper="sum")
    """Sum or mean over the neurons of a group."""
    scale: Literal["input", "output"] = switch(repaired="output", paper="input")
    """Whether the scale multiplies the input of the FFN or the output of the group."""
    gate: Literal["static", "learned", "off"] = switch(repaired="learned", paper="static")
    """The scale as a constant, as a trained gate that starts there, or off, which is 1."""


class Ablation(Section):
    """The ablations landermt-lg and landermt-ls (table 2)."""

    untrained: Literal["frozen", "absent"] = switch(repaired="frozen", paper="frozen")
    """Whether the group of neurons that is not trained still runs, or is absent."""
