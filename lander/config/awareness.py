"""Section `awareness`: scores of the neurons per language (paper 3.2, eq. 3-4)."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from lander.data.sources import Source
from lander.shared.section import Distinct, Section, switch

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
    batch_size: int = Field(16, ge=1, le=10_000)
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
