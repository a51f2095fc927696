"""Lander: finetune only the neurons that matter to each language (LANDeRMT, Zhu et al., ACL 2024)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lander.translate.translator import Translator


def load(
    path: str,
    dtype: str = "float32",
    base: str | None = None,
    *,
    prompt: str | None = None,
    revision: str | None = None,
) -> "Translator":
    """Load a trained model's folder, a delta file or a base (`lander.translate.translator.load`).

    Args:
        base: where the base of a trained model is now, if it has moved.
        prompt, revision: of a base, as `model.prompt` and `model.revision`; a trained model knows its own.
    """
    from lander.translate.translator import load  # torch and transformers take seconds: only when needed

    return load(path, dtype, revision, base, prompt=prompt)


def __getattr__(name: str) -> str:
    """The version, from the package's metadata: in this file a new one would be new code for every stage."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("landermt")
