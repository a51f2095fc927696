"""Section `pretrain`: a small base from scratch."""

from pydantic import Field

from lander.data.sources import Source
from lander.shared.section import Section


class Pretrain(Section):
    """A small base from scratch, for `model.path: pretrain`."""

    text: tuple[Source, ...] | None = None
    """Sources whose sentences are read, each language on its own; null is data.train."""
    parallel: tuple[Source, ...] = ()
    """Sources whose translations are read too, in the base's own prompt format."""
    tokens: int = Field(30_000_000, ge=1)
    """Tokens that are read in all."""
    d_model: int = Field(128, ge=8)
    """Width of the model."""
    n_layer: int = Field(6, ge=1)
    """Number of layers."""
    n_head: int = Field(4, ge=1)
    """Attention heads; d_model is divisible by it."""
    vocabulary: int = Field(2560, ge=300)
    """Size of the byte-level BPE vocabulary."""
    context: int = Field(128, ge=16)
    """Longest sequence in tokens."""
    bilingual: float = Field(0.6, ge=0, le=1)
    """Share of translated pairs among what is read, from 0 to 1, if there is pretrain.parallel."""
    batch_tokens: int = Field(4096, ge=16)
    """Tokens per update."""
    learning_rate: float = Field(0.003, gt=0)
    """Highest learning rate of AdamW."""
    seed: int = Field(0, ge=0)
    """Seed of the weights and of the order of the text."""
