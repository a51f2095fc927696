"""Section `layers`: the layers that are finetuned (paper 3.1, eq. 2)."""

from typing import Literal

from pydantic import Field

from lander.shared.section import Section, switch


class Layers(Section):
    """The layers that are finetuned (eq. 2)."""

    k: int = Field(
        4, ge=0, description="How many layers are chosen; 0 is the base itself, the model's number of layers is all."
    )
    difference: Literal["scalar", "vector"] = switch(
        "Change between two layers: of their scalar means, or the mean change over neurons.",
        repaired="vector",
        paper="scalar",
    )
    side: Literal["lower", "upper"] = switch(
        "Which of two neighbouring layers the change between them chooses.", repaired="upper", paper="lower"
    )
    selection: Literal["shared", "per_direction"] = switch(
        "The same layers for all directions, or each direction's own.", repaired="shared", paper="shared"
    )
