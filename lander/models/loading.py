"""Loading a base model: a built-in name, a local folder, or an id on the Hugging Face hub."""

import os
import re
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lander.config.base import BUILT_IN, is_built_in
from lander.config.modelconfig import WEIGHT_FILES, depth, weights
from lander.models.families import fuse_activations
from lander.models.tokens import IGNORED, Batch, Codec
from lander.shared import machine
from lander.shared.errors import UserError, one_line
from lander.shared.files import read_json, remedy, sha256

# oneDNN and its wrapper in torch (ideep) keep a matrix product's program for each shape that they have met, about a
# megabyte of it, 1,024 times: with batches of every length that is more than a small model takes. Products in bfloat16
# on a CPU run there. Read at the first one; 64 are more than one micro-batch has.
for _name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_name, "64")

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
REASONS = {  # sign in what libraries say of a model -> what it means
    "ignore_mismatched_sizes": "weights of other shapes than config.json says",
    "Weights only load failed": "a pickle that holds more than tensors; it is not loaded, since it could run code",
    "trust_remote_code": "it needs code of its own, which Lander does not run",
    "contains custom code": "it needs code of its own, which Lander does not run",
}


def resolve(path: str) -> str:
    """A model's local folder, or the hub id itself where `path` is one.

    Raises:
        UserError: neither a built-in name, nor a folder with a config and weights, nor of the form `owner/name`.
    """
    for folder in (BUILT_IN / path, Path(path)):
        if os.path.isdir(folder) and not (folder.parent == BUILT_IN and not is_built_in(folder)):
            if not (folder / "config.json").is_file():
                raise UserError(f"{folder}: not a model folder, it has no config.json")
            if not any(any(folder.glob(pattern)) for pattern in WEIGHTS):
                raise UserError(f"{folder}: the model folder has no weights (*.safetensors); copy them there")
            return str(folder)
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", path):
        return path
    names = ", ".join(sorted(folder.name for folder in BUILT_IN.iterdir() if is_built_in(folder)))
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
    check_config(where)
    options = {"revision": revision or None, "dtype": machine.weight_type(dtype), "trust_remote_code": False}
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # no table of what is missing: it is told below
    try:
        model, report = AutoModelForCausalLM.from_pretrained(where, output_loading_info=True, **options)
        fuse_activations(model)
    except UserError:
        raise
    except Exception as error:  # readers of many formats, each with errors of its own
        damaged = type(error).__name__ == "SafetensorError"
        what = "its weights are damaged" if damaged else "the model cannot be loaded"
        reason = next((told for sign, told in REASONS.items() if sign in str(error)), _first_line(error))
        raise UserError(f"model.path: {where}: {what}: {reason}; {_remedy(where)}") from None
    finally:
        logging.set_verbosity(verbosity)
    if missing := sorted(report["missing_keys"]):  # transformers would give them random values
        raise UserError(
            f"model.path: {where}: {len(missing):,} of the weights that config.json speaks of are not there, "
            f"{missing[0]} first; {_remedy(where)}"
        )
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
        tokenizer = AutoTokenizer.from_pretrained(where, revision=revision or None, trust_remote_code=False)
    except Exception as error:  # the tokenizers' library raises plain ones
        raise UserError(
            f"model.path: {where}: no tokenizer can be loaded: {_first_line(error)}; {_remedy(where)}"
        ) from None
    return Codec(tokenizer, prompt)


def load(
    path: str, revision: str | None = None, dtype: str = "auto", prompt: str | None = None
) -> tuple[nn.Module, Codec]:
    """A base model and its tokenizer; see `load_model` and `load_codec`.

    Raises:
        UserError: the tokenizer has tokens that the model has not.
    """
    network, codec = load_model(path, revision, dtype), load_codec(path, revision, prompt)
    tokens, rows = codec.tokenizer.vocab_size, network.get_input_embeddings().weight.shape[0]
    if max(tokens - 1, codec.end, codec.pad) >= rows:
        raise UserError(
            f"model.path: {path}: its tokenizer has {tokens:,} tokens and the model {rows:,}: files of different models"
        )
    return network, codec


def check_config(where: str) -> None:
    """What is refused before transformers sees a local model: a config that is none, and code of the model's own.

    Raises:
        UserError: one of these.
    """
    file = Path(where) / "config.json"
    if not file.is_file():
        return  # of the hub
    depth(file)
    found = read_json(file)
    for key in (key for key, value in found.items() if "dropout" in key and isinstance(value, int | float)):
        if not 0 <= found[key] <= 1:  # torch would find out in the middle of a pass
            raise UserError(f"model.path: {file}: {key} is {found[key]}, no probability; {_remedy(where)}")
    if "auto_map" in found:
        print(
            f"warning: {file}: names code of its own (auto_map), which Lander does not run; the model is read as one "
            "of transformers' own, if there is such a one",
            file=sys.stderr,
        )


def predictions(network: nn.Module, batch: Batch, **inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the tokens that are to be predicted, float32 or finer, (predicted, vocabulary), and these tokens' ids.

    The output head runs on their positions only: on the others its result would be thrown away.

    Args:
        inputs: input_ids or inputs_embeds.
    """
    network = network.get_base_model() if hasattr(network, "get_base_model") else network  # behind peft's LoRA
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
    found = read_json(file) if file.is_file() else {}
    if not isinstance(found, dict) or not isinstance(found.get("prompt"), str | None):
        raise UserError(f"{file}: not what Lander writes beside a model; remove it, or copy the model again")
    return found


def portable(path: str) -> str:
    """How a trained model names its base: a built-in name or hub id as it is, a local folder by its full path."""
    where = Path(resolve(path))
    return str(where.resolve()) if where.is_dir() and where.parent != BUILT_IN else path


def digest(path: str, revision: str | None = None) -> str:
    """Identity of a base, wherever it lies: SHA-256 of its config and weights.

    Raises:
        UserError: no such model, or it cannot be had from the hub.
    """
    folder = snapshot(path, revision)
    names = weights(file.name for file in folder.iterdir())
    return "sha256:" + sha256(folder / "config.json", *(folder / name for name in names))


def place(path: str, revision: str | None = None) -> dict[str, str | None]:
    """Where a trained model finds its base again: `path` (see `portable`), and of a hub id the commit as `revision`."""
    on_hub = not os.path.isdir(resolve(path))
    return {"path": portable(path), "revision": snapshot(path, revision).name if on_hub else revision or None}


def snapshot(path: str, revision: str | None = None) -> Path:
    """The folder of a model's config and weights; that of a hub id is in the hub's cache, and is named by its commit.

    What the cache lacks is fetched, where there is a network.
    """
    where = resolve(path)
    if os.path.isdir(where):
        return Path(where)
    import huggingface_hub

    options = {"revision": revision or None}
    try:
        for kind in WEIGHT_FILES:
            folder = Path(huggingface_hub.snapshot_download(where, allow_patterns=["config.json", kind], **options))
            if any(folder.glob(kind)):
                return folder
    except Exception as error:  # of the hub, the libraries beneath it, the disk
        raise UserError(f"model.path: {where}: cannot be had from the hub ({_first_line(error)})") from None
    raise UserError(f"model.path: {where}: {folder} has no weights ({', '.join(WEIGHT_FILES)})")


def _remedy(where: str) -> str:
    return remedy(where, Path(where, "lander.json"))


def _first_line(error: Exception) -> str:
    return one_line(str(error).strip().split("\n")[0])[:300] or type(error).__name__
