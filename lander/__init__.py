"""Lander: finetune only the neurons that matter to each language (LANDeRMT, Zhu et al., ACL 2024)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lander.translate.translator import Translator

__version__ = "0.1.0"


def load(path: str, dtype: str = "float32", base: str | None = None) -> "Translator":
    """Load a trained model's folder, a delta file or a base (`lander.translate.translator.load`)."""
    from lander.translate.translator import load  # torch and transformers take seconds: only when needed

    return load(path, dtype, base=base)
