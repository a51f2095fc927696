"""Sections `routing` and `ablation`: how the neurons of a direction take part (paper 3.2-3.3, eq. 6-9)."""

from typing import Literal

from pydantic import Field

from lander.shared.section import Section, switch


class Routing(Section):
    """How the neurons of a direction are scaled (eq. 6-9)."""

    share: Literal["literal", "general"] = switch(repaired="general", paper="literal")
    """Whether the specific share (as printed) or the general share scales the general neurons."""
    pool: Literal["sum", "mean"] = switch(repaired="sum", paper="sum")
    """Sum or mean over the neurons of a group."""
    scale: Literal["input", "output"] = switch(repaired="output", paper="input")
    """Whether the scale multiplies the input of the FFN or the output of the group."""
    gate: Literal["static", "learned", "token", "off"] = switch(repaired="learned", paper="static")
    """The scale as a constant, as a trained gate that starts there, as one that reads each token (it cannot be
    exported), or off, which is 1."""
    noise: float = Field(1.0, ge=0)
    """Of the gate `token`: noise on its logits while training, from 0 to this standard deviation."""
    others: Literal["absent", "base"] = switch(repaired="base", paper="absent")
    """Neurons of other languages: absent from a direction, or run from an untrained copy of the base's. Ours."""
    start: Literal["car", "identity"] = switch(repaired="identity", paper="car")
    """Where the scales start: at the shares of awareness (eq. 6), or at 1. With `others: base`, 1 starts a training at
    the base itself. Ours."""


class Ablation(Section):
    """The ablations landermt-lg and landermt-ls (table 2)."""

    untrained: Literal["frozen", "absent"] = switch(repaired="frozen", paper="frozen")
    """Whether the group of neurons that is not trained still runs, or is absent."""
