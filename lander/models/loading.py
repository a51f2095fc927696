"""Load a base model: a built-in name, a local folder, or an id on the Hugging Face hub."""

import os
import sys
from pathlib import Path
from typing import Any

from torch import nn

from lander.config.base import BUILT_IN, WEIGHT_FILES, depth, find_folder, weights
from lander.models.families import fuse_activations
from lander.models.tokens import Codec
from lander.shared import machine
from lander.shared.errors import UserError, one_line
from lander.shared.files import check, read_json, remedy, sha256

# oneDNN and its wrapper in torch (ideep) keep a program for each shape of a matrix product that they have met: 1,024 of
# about a megabyte each, which is more than a small model takes if batches have many lengths. CPU products in bfloat16
# run there. The limit is read at the first product; 64 are more than one micro-batch has.
for _name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_name, "64")

ALIBI = 2048  # tokens that BLOOM was trained on at a time: more are no error, but nothing that it has seen
REASONS = {  # words in a library's message -> what they mean
    "ignore_mismatched_sizes": "weights of other shapes than config.json says",
    "Weights only load failed": "a pickle that holds more than tensors; it is not loaded, since it could run code",
    "trust_remote_code": "it needs code of its own, which Lander does not run",
    "contains custom code": "it needs code of its own, which Lander does not run",
}


def resolve(path: str) -> str:
    """A model's local folder, or the hub id itself."""
    return str(find_folder(path) or path)


def load_model(path: str, revision: str | None = None, dtype: str = "auto") -> nn.Module:
    """A causal language model in evaluation mode on this process's device, all parameters frozen.

    Args:
        revision: of a hub id.
        dtype: of the weights: float32, bfloat16 or auto.
    """
    import warnings

    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # libraries, about each other
    where = resolve(path)
    check_config(where)
    options = {"revision": revision or None, "dtype": machine.weight_type(dtype), "trust_remote_code": False}
    options["generation_config"] = GenerationConfig()  # instead of the base's own: see `end_tokens`
    options |= {"use_cache": True, "return_dict": True}  # a trainer may have left them off in config.json
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # no table of missing weights: the error below names them
    try:
        model, report = AutoModelForCausalLM.from_pretrained(where, output_loading_info=True, **options)
        fuse_activations(model)
    except UserError:
        raise
    except Exception as error:  # readers of many formats, each with its own errors
        damaged = type(error).__name__ == "SafetensorError"
        what = "its weights are damaged" if damaged else "the model cannot be loaded"
        reason = next((meaning for words, meaning in REASONS.items() if words in str(error)), _first_line(error))
        raise UserError(f"model.path: {where}: {what}: {reason}; {_remedy(where)}") from None
    finally:
        logging.set_verbosity(verbosity)
    if missing := sorted(report["missing_keys"]):  # transformers would give them random values
        raise UserError(
            f"model.path: {where}: {len(missing):,} of the weights that config.json names are missing, "
            f"{missing[0]} first; {_remedy(where)}"
        )
    # Decoding gives the head a slice of its positions. Torch multiplies such a strided matrix row by row; in
    # bfloat16 on a CPU it copies the whole head for each row.
    model.get_output_embeddings().register_forward_pre_hook(lambda _head, inputs: (inputs[0].contiguous(),))
    head = model.get_output_embeddings().weight
    if head is not model.get_input_embeddings().weight:  # the file has both, whatever config.json says
        model.config.tie_word_embeddings = False
    rows = head.shape[0]
    model.generation_config.eos_token_id = [token for token in end_tokens(where, revision) if token < rows] or None
    return model.eval().requires_grad_(False).to(machine.device())


def end_tokens(where: str, revision: str | None = None) -> list[int]:
    """End tokens that a model's own files list.

    Nothing else of its settings for decoding is used: a penalty, a limit or a forbidden token is chosen for a purpose
    of its own, and would make another output than the model's most likely tokens.
    """
    from transformers.utils import cached_file

    found: list[Any] = []
    for name in ("generation_config.json", "config.json"):
        quiet = {f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors")}
        if file := cached_file(where, name, revision=revision or None, **quiet):
            content = read_json(file)
            listed = content.get("eos_token_id") if isinstance(content, dict) else None
            found += listed if isinstance(listed, list) else [listed]
    return [token for token in dict.fromkeys(found) if type(token) is int and token >= 0]


def load_codec(path: str, revision: str | None = None, prompt: str | None = None) -> Codec:
    """The tokenizer of a model, or of any folder that holds tokenizer files.

    Args:
        prompt: plain, chat or auto (`model.prompt`); None is what the tokenizer remembers.
    """
    from transformers import AutoTokenizer

    where = path if (Path(path) / "tokenizer_config.json").is_file() else resolve(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, revision=revision or None, trust_remote_code=False)
    except Exception as error:  # the tokenizers' library raises plain ones
        reason = f"no tokenizer can be loaded: {_first_line(error)}"
        raise UserError(f"model.path: {where}: {reason}; {_remedy(where)}") from None
    return Codec(tokenizer, prompt)


def load(
    path: str, revision: str | None = None, dtype: str = "auto", prompt: str | None = None
) -> tuple[nn.Module, Codec]:
    """A base model and its tokenizer; see `load_model` and `load_codec`. UserError if they do not fit together."""
    network, codec = load_model(path, revision, dtype), load_codec(path, revision, prompt)
    tokens, rows = codec.tokenizer.vocab_size, network.get_input_embeddings().weight.shape[0]
    if max(tokens - 1, codec.end, codec.pad) >= rows:
        raise UserError(
            f"model.path: {path}: its tokenizer has {tokens:,} tokens and the model {rows:,}: files of different models"
        )
    return network, codec


def positions(network: nn.Module) -> int | None:
    """How many tokens a model is made for; None if its config names no number (see `ALIBI`)."""
    return getattr(network.config, "max_position_embeddings", None) or getattr(network.config, "seq_length", None)


def check_config(where: str) -> None:
    """Check the config.json of a local model before transformers reads it; warns about code of the model's own."""
    file = Path(where) / "config.json"
    if not file.is_file():
        return  # of the hub
    for one in sorted(Path(where).iterdir()):
        if one.suffix in (".json", ".safetensors"):  # of a base that a run has made
            check(one, Path(where, "lander.json"))
    depth(file)
    found = read_json(file)
    for key in (key for key, value in found.items() if "dropout" in key and isinstance(value, int | float)):
        if not 0 <= found[key] <= 1:  # torch would fail in the middle of a pass
            raise UserError(f"model.path: {file}: {key} is {found[key]}, no probability; {_remedy(where)}")
    if "auto_map" in found:
        what = "names its own code (auto_map), which Lander does not run"
        print(f"warning: {file}: {what}; transformers' model of this type is used, if there is one", file=sys.stderr)


def facts(path: str) -> dict[str, Any]:
    """What Lander wrote beside a model's weights (lander.json); empty for models that it did not make."""
    file = Path(resolve(path)) / "lander.json"
    found = read_json(file) if file.is_file() else {}
    if not isinstance(found, dict) or not isinstance(found.get("prompt"), str | None):
        raise UserError(f"{file}: not what Lander writes beside a model; remove it, or copy the model again")
    return found


def digest(path: str, revision: str | None = None) -> str:
    """Identity of a base, wherever it is: SHA-256 of its config and weights."""
    folder = snapshot(path, revision)
    names = weights(file.name for file in folder.iterdir())
    return "sha256:" + sha256(folder / "config.json", *(folder / name for name in names))


def place(path: str, revision: str | None = None) -> dict[str, str | None]:
    """Where a trained model finds its base again.

    Returns:
        `path`: a built-in name or hub id as it is, a local folder in full; `revision`: of a hub id its commit.
    """
    folder = find_folder(path)
    if folder is None:
        return {"path": path, "revision": snapshot(path, revision).name}
    return {"path": path if folder.parent == BUILT_IN else str(folder.resolve()), "revision": revision or None}


def snapshot(path: str, revision: str | None = None) -> Path:
    """The folder of a model's config and weights; for a hub id in the hub's cache, named by its commit.

    What the cache lacks is fetched, if there is a network.
    """
    if folder := find_folder(path):
        return folder
    import huggingface_hub

    try:
        for kind in WEIGHT_FILES:
            wanted = {"allow_patterns": ["config.json", kind], "revision": revision or None}
            folder = Path(huggingface_hub.snapshot_download(path, **wanted))
            if any(folder.glob(kind)):
                return folder
    except Exception as error:  # of the hub, the libraries below it, the disk
        raise UserError(f"model.path: {path}: cannot be fetched from the hub ({_first_line(error)})") from None
    raise UserError(f"model.path: {path}: {folder} has no weights ({', '.join(WEIGHT_FILES)})")


def _remedy(where: str) -> str:
    return remedy(where, Path(where, "lander.json"))


def _first_line(error: Exception) -> str:
    return one_line(str(error).strip().split("\n")[0])[:300] or type(error).__name__
