"""Section `model`: the base model."""

from typing import Literal

from lander.shared.section import PathText, Section


class Model(Section):
    """The base model."""

    path: PathText
    """A built-in name (lander-tiny), a local folder, an id on the Hugging Face hub, or `pretrain` for a base that the
    stage pretrain makes."""
    revision: str | None = None
    """Commit, tag or branch of a model on the hub; null is its newest."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of the weights; auto is bfloat16 on a GPU that has it and float32 elsewhere."""
    prompt: Literal["plain", "chat", "auto"] = "plain"
    """How instructions are given to the model, in training and in decoding: plain as text, chat as a user's turn in the
    tokenizer's chat template, auto as chat if the tokenizer has a template."""
