"""Section `neurons`: classes of the neurons (paper 3.2, eq. 5)."""

from typing import Literal

from pydantic import Field

from lander.shared.section import PathText, Section, switch


class Neurons(Section):
    """Classes of the neurons (eq. 5)."""

    general_share: float = Field(
        0.9, ge=0, le=1, description="Share of language-general neurons, the paper's epsilon, from 0 to 1."
    )
    unactivated: float = Field(0.0, ge=0, description="A neuron whose mean score is at most this is unactivated.")
    unactivated_role: Literal["general", "absent"] = Field(
        "general", description="Whether unactivated neurons take part like general ones, or are absent."
    )
    masks: PathText | None = Field(
        None,
        description="Folder of mask tables, one <direction>.parquet each, to use instead of Lander's own.",
    )
    normalize: Literal["none", "language_mean"] = switch(
        "Raw scores, or scores divided by their language's mean.", repaired="language_mean", paper="none"
    )
    threshold: Literal["literal", "general_share"] = switch(
        "Variance sorted from high to low and cut at index floor(share * p), or the share of general neurons.",
        repaired="general_share",
        paper="literal",
    )
