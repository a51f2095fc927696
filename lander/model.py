"""Loading a base model: a built-in name, a local folder, or an id on the Hugging Face hub."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lander import machine
from lander.codec import IGNORED, Batch, Codec
from lander.errors import UserError
from lander.families import fuse_activations
from lander.files import read_json, sha256

BUILT_IN = Path(__file__).parent / "models"
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def resolve(path: str) -> str:
    """A model's local folder, or the hub id itself where `path` is one.

    Raises:
        UserError: neither a built-in name, nor a folder with a config and weights, nor of the form `owner/name`.
    """
    for folder in (BUILT_IN / path, Path(path)):
        if folder.is_dir():
            if not (folder / "config.json").is_file():
                raise UserError(f"{folder}: not a model folder, it has no config.json")
            if not any(any(folder.glob(pattern)) for pattern in WEIGHTS):
                raise UserError(f"{folder}: the model folder has no weights (*.safetensors); copy them there")
            return str(folder)
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", path):
        return path
    names = ", ".join(sorted(folder.name for folder in BUILT_IN.iterdir() if folder.is_dir()))
    raise UserError(f"model.path: {path}: no such folder, and not a built-in model ({names}) or a hub id (owner/name)")


def load_model(path: str, revision: str | None = None, dtype: str = "auto") -> nn.Module:
    """A causal language model in evaluation mode on this process's device, all parameters frozen.

    Raises:
        UserError: no such model, or its files cannot be read.
    """
    import warnings

    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # of libraries, about each other
    where = resolve(path)
    try:
        model = AutoModelForCausalLM.from_pretrained(where, revision=revision or None, dtype=machine.weight_type(dtype))
    except (OSError, ValueError, RuntimeError, json.JSONDecodeError) as error:
        raise UserError(f"model.path: {where}: the model cannot be loaded: {_first_line(error)}") from None
    except Exception as error:  # safetensors raises its own type, outside any hierarchy
        if type(error).__name__ != "SafetensorError":
            raise
        raise UserError(f"model.path: {where}: its weights are damaged: {_first_line(error)}") from None
    fuse_activations(model)
    return model.eval().requires_grad_(False).to(machine.device())


def load_codec(path: str, revision: str | None = None, prompt: str | None = None) -> Codec:
    """The tokenizer of a model, or of any folder that holds tokenizer files.

    Args:
        prompt: plain, chat or auto (`model.prompt`); None is what the tokenizer remembers.
    Raises:
        UserError: no such model, or it has no tokenizer that can be read.
    """
    from transformers import AutoTokenizer

    where = path if (Path(path) / "tokenizer_config.json").is_file() else resolve(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, revision=revision or None)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"model.path: {where}: no tokenizer can be loaded: {_first_line(error)}") from None
    return Codec(tokenizer, prompt)


def load(
    path: str, revision: str | None = None, dtype: str = "auto", prompt: str | None = None
) -> tuple[nn.Module, Codec]:
    """A base model and its tokenizer; see `load_model` and `load_codec`."""
    return load_model(path, revision, dtype), load_codec(path, revision, prompt)


def predictions(network: nn.Module, batch: Batch, **inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the tokens that are to be predicted, float32 or finer, (predicted, vocabulary), and these tokens' ids.

    The output head runs on their positions only: on the others its result would be thrown away.

    Args:
        inputs: input_ids or inputs_embeds.
    """
    hidden = network.base_model(**inputs, attention_mask=batch.attention_mask, use_cache=False)[0]
    labels = batch.labels[:, 1:]  # the token at t is predicted at t - 1
    predicted = labels != IGNORED
    logits = network.get_output_embeddings()(hidden[:, :-1][predicted])
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    cap = getattr(network.config, "final_logit_softcapping", None)  # Gemma 2
    return (cap * torch.tanh(logits / cap) if cap else logits), labels[predicted]


def facts(path: str) -> dict[str, Any]:
    """What Lander wrote beside a model's weights (lander.json); empty for models that it did not make."""
    file = Path(resolve(path)) / "lander.json"
    return read_json(file) if file.is_file() else {}


def portable(path: str) -> str:
    """How a trained model names its base: a built-in name or hub id as it is, a local folder by its full path."""
    where = Path(resolve(path))
    return str(where.resolve()) if where.is_dir() and where.parent != BUILT_IN else path


def digest(path: str, revision: str | None = None) -> str:
    """Identity of a base: SHA-256 of its config and weights, or the commit of a hub id."""
    where = Path(resolve(path))
    if where.is_dir():
        weights = sorted(file for pattern in WEIGHTS for file in where.glob(pattern))
        return "sha256:" + sha256(where / "config.json", *weights)
    from transformers import AutoConfig

    commit = AutoConfig.from_pretrained(str(where), revision=revision or None)._commit_hash
    return f"commit:{commit}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
