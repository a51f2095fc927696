"""Section `layers`: the layers that are finetuned (paper 3.1, eq. 2)."""

from typing import Literal

from pydantic import Field

from lander.shared.section import Section, switch


class Layers(Section):
    """The layers that are finetuned (eq. 2)."""

    k: int = Field(4, ge=0)
    """How many layers are chosen; 0 is the base itself, the model's number of layers is all."""
    difference: Literal["scalar", "distribution", "vector"] = switch(repaired="distribution", paper="scalar")
    """Change between two layers: of their scalar means; of the sorted means of their neurons (Wasserstein-1 distance);
    or neuron by neuron, which depends on how the neurons are numbered."""
    side: Literal["lower", "upper"] = switch(repaired="upper", paper="lower")
    """Which of two neighbouring layers the change between them chooses."""
    selection: Literal["shared", "per_direction"] = switch(repaired="shared", paper="shared")
    """The same layers for all directions, or each direction's own."""
