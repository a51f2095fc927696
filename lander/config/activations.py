"""Section `activations`: mean activations per direction (paper 3.1, eq. 1)."""

from typing import Literal

from pydantic import Field

from lander.shared.section import Section, switch


class Activations(Section):
    """Mean activations per direction (paper 3.1, eq. 1)."""

    text: Literal["prompt", "prompt_reference"] = switch(repaired="prompt_reference", paper="prompt")
    """What the model reads: the prompt alone, or the prompt and the reference translation."""
    sentences: int = Field(256, ge=1)
    """Training pairs that are read per direction."""
    batch_size: int = Field(16, ge=1, le=10_000)
    """Sequences per forward pass."""
