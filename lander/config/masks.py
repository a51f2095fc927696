"""Sections `routing` and `ablation`: which neurons run in a direction, and at which scale (paper 3.3, eq. 6-9)."""

from typing import Literal

from lander.shared.section import Section, switch


class Routing(Section):
    """How the neurons of a direction are scaled (eq. 6-9)."""

    share: Literal["literal", "general"] = switch(
        "Whether the specific share (as printed) or the general share scales the general neurons.",
        repaired="general",
        paper="literal",
    )
    pool: Literal["sum", "mean"] = switch("Sum or mean over the neurons of a group.", repaired="sum", paper="sum")
    scale: Literal["input", "output"] = switch(
        "Whether the scale multiplies the input of the FFN or the output of the group.",
        repaired="output",
        paper="input",
    )
    gate: Literal["static", "learned", "off"] = switch(
        "The scale as a constant, as a trained gate that starts there, or off, which is 1.",
        repaired="learned",
        paper="static",
    )


class Ablation(Section):
    """The ablations landermt-lg and landermt-ls (table 2)."""

    untrained: Literal["frozen", "absent"] = switch(
        "Whether the group of neurons that is not trained still runs, or is absent.",
        repaired="frozen",
        paper="frozen",
    )
