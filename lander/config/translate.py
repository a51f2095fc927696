"""Section `translate`: decoding (paper 4.3)."""

from pydantic import Field

from lander.shared.section import Section


class Translate(Section):
    """Decoding (paper 4.3)."""

    template: str = Field("sentence", min_length=1)
    """Name of the instruction template of all decoding."""
    beams: int = Field(1, ge=1, le=100)
    """Width of the beam; 1 is greedy."""
    max_new_tokens: int = Field(512, ge=1, le=100_000)
    """Longest translation in tokens."""
    batch_size: int = Field(32, ge=1, le=10_000)
    """Sentences per batch."""
    dev_sentences: int = Field(50, ge=1)
    """Dev sentences per direction on which the best prompt of zero-shot is chosen."""
    shots: int = Field(5, ge=1)
    """Random examples in the prompts of the method in-context."""
