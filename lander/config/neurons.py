"""Section `neurons`: classes of the neurons (paper 3.2, eq. 5)."""

from typing import Literal

from pydantic import Field

from lander.shared.section import PathText, Section, switch


class Neurons(Section):
    """Classes of the neurons (eq. 5)."""

    general_share: float = Field(0.9, ge=0, le=1)
    """Share of language-general neurons, the paper's epsilon, from 0 to 1."""
    unactivated: float = Field(0.0, ge=0)
    """A neuron whose mean score is at most this is unactivated."""
    unactivated_role: Literal["general", "absent"] = "general"
    """Whether unactivated neurons take part like general ones, or are absent."""
    trained_share: float = Field(1.0, gt=0, le=1)
    """Share of the neurons of each group (general, and those of each language) that is trained; the rest runs as the
    base has it, in every direction."""
    pick: Literal["most", "least", "exchanged"] = "most"
    """Which share that is: the most aware neurons, or, as controls, the least aware ones, or the most aware ones of
    each language given to the next language."""
    masks: PathText | None = None
    """Folder of mask tables, one <direction>.parquet each, to use instead of Lander's own."""
    normalize: Literal["none", "language_mean"] = switch(repaired="language_mean", paper="none")
    """Raw scores, or scores divided by their language's mean."""
    statistic: Literal["variance", "relative"] = switch(repaired="relative", paper="variance")
    """What is low of general neurons: the variance of their scores over the languages (eq. 5), or that variance divided
    by the squared mean, which does not grow with the score. Ours."""
    threshold: Literal["literal", "general_share"] = switch(repaired="general_share", paper="literal")
    """Variance sorted from high to low and cut at index floor(share * p), or the share of general neurons."""
