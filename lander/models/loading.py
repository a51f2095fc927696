"""Load a base model: a built-in name, a local folder, or an id on the Hugging Face hub."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from lander.config.base import (
    BUILT_IN,
    HUB_NAME,
    TEXT_FILES,
    TOKENIZERS,
    WEIGHT_FILES,
    again,
    check_config,
    check_folder,
    find_folder,
    is_model,
    read_keys,
    shards,
    weights,
)
from lander.models.families import fuse_activations
from lander.models.tokens import Codec
from lander.shared import machine
from lander.shared.errors import UserError, brief
from lander.shared.files import check as check_seal
from lander.shared.files import read_json, sha256

# oneDNN and its wrapper in torch (ideep) keep a program for each shape of a matrix product that they have met: 1,024 of
# about a megabyte each, which is more than a small model takes if batches have many lengths. CPU products in bfloat16
# run there. The limit is read at the first product; 64 are more than one micro-batch has.
for _name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_name, "64")

ALIBI = 2048  # tokens that BLOOM was trained on at a time: more are no error, but nothing that it has seen
FLOATS = ("F64", "F32", "F16", "BF16")  # types of weights, as safetensors names them
SAMPLE = "Hello, two  words:\n\té 中文 'it's' 3.14"  # on which tokenizers are compared
CONFIG = "take the config.json that belongs to these weights, or correct it"
REASONS = {  # words in a library's message -> what they mean
    "Weights only load failed": "a pickle that holds more than tensors; it is not loaded, since it could run code",
    "trust_remote_code": "it needs code of its own, which Lander does not run",
    "contains custom code": "it needs code of its own, which Lander does not run",
}


def load(
    path: str, revision: str | None = None, dtype: str = "auto", prompt: str | None = None
) -> tuple[nn.Module, Codec]:
    """A base model and its tokenizer; see `load_model` and `load_codec`. UserError if they do not fit together."""
    where = resolve(path, revision)
    codec = _fitting_codec(where, prompt)
    return _load(where, path, dtype), codec


def check(path: str, revision: str | None = None, prompt: str | None = None) -> None:
    """UserError for all that `load` refuses, except for what the numbers show; no weights are loaded."""
    where = resolve(path, revision)
    _fitting_codec(where, prompt)
    end_tokens(where)
    _network(where, device_map="meta", dtype=torch.float32)


def load_model(path: str, revision: str | None = None, dtype: str = "auto", *, numbers: bool = True) -> nn.Module:
    """A causal language model in evaluation mode on this process's device, all parameters frozen.

    Args:
        revision: of a hub id.
        dtype: of the weights: float32, bfloat16 or auto.
        numbers: whether its weights must be numbers, and what it computes.
    """
    return _load(resolve(path, revision), path, dtype, numbers)


def _load(where: Path, path: str, dtype: str, numbers: bool = True) -> nn.Module:
    _check_seals(where, ".json", ".safetensors")
    if "auto_map" in read_keys(where / "config.json"):
        what = "names its own code (auto_map), which Lander does not run"
        print(f"warning: {where}/config.json: {what}; transformers' own model of this type is used", file=sys.stderr)
    ends = end_tokens(where)
    model = _network(where, dtype=machine.weight_type(dtype))
    if HUB_NAME.fullmatch(path) and not os.path.isdir(path):
        model.name_or_path = path  # PEFT writes it beside an adapter: the id, not the place in this machine's cache
    # Decoding gives the head a slice of its positions. Torch multiplies such a strided matrix row by row; in
    # bfloat16 on a CPU it copies the whole head for each row.
    model.get_output_embeddings().register_forward_pre_hook(lambda _head, inputs: (inputs[0].contiguous(),))
    head = model.get_output_embeddings().weight
    if head is not model.get_input_embeddings().weight:  # the file has both, whatever config.json says
        model.config.tie_word_embeddings = False
    rows = head.shape[0]
    model.generation_config.eos_token_id = [token for token in ends if token < rows] or None
    model = model.eval().requires_grad_(False).to(machine.device())
    if numbers:
        check_numbers(dict(model.named_parameters()), f"model.path: {where}")
        _try(model, where)
    return model


def _try(model: nn.Module, where: Path) -> None:
    """UserError if a model does not run, or computes no numbers: on some tokens and, as in decoding, on one more."""
    tokens = torch.arange(8, device=model.device)[None] % model.config.vocab_size
    try:
        with torch.inference_mode():
            read = model(input_ids=tokens, use_cache=True)
            logits = model(input_ids=tokens[:, :1], past_key_values=read.past_key_values).logits
    except Exception as error:  # what a config can say wrong has no end
        raise UserError(f"model.path: {where}: the model does not run ({brief(error, 200)}); {CONFIG}") from None
    if not read.logits.isfinite().all() or not logits.isfinite().all():
        raise no_numbers(f"model.path: {where}")


def no_numbers(where: str) -> UserError:
    """What is said of a model whose weights are numbers and whose results are none."""
    return UserError(
        f"{where}: the model computes infinite numbers or none (inf, nan) from weights that are numbers: they are too "
        f"large, or a number in its config.json is wrong (of norms, positions or caps); {CONFIG}, or take another model"
    )


def end_tokens(where: Path) -> list[int]:
    """End tokens that a model's own files list.

    Nothing else of its settings for decoding is used: a penalty, a limit or a forbidden token is chosen for a purpose
    of its own, and would make another output than the model's most likely tokens.
    """
    found: list[Any] = []
    for name in ("generation_config.json", "config.json"):
        if (where / name).is_file():
            listed = read_keys(where / name).get("eos_token_id")
            found += listed if isinstance(listed, list) else [listed]
    return [token for token in dict.fromkeys(found) if type(token) is int and token >= 0]


def load_codec(path: str, revision: str | None = None, prompt: str | None = None) -> Codec:
    """The tokenizer of a model, or of any folder that holds tokenizer files.

    Args:
        prompt: plain, chat or auto (`model.prompt`); None is what the tokenizer remembers.
    """
    from transformers import AutoTokenizer

    folder = Path(path) if (Path(path) / "tokenizer_config.json").is_file() else resolve(path, revision)
    try:
        own = _as_its_file_splits(folder)  # before the other one, which then takes the memory that this one leaves
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # the tokenizers' library raises plain ones
        for file in sorted(folder.glob("*.json")):
            read_keys(file)  # names the one that is damaged
        there = any((folder / name).is_file() for name in TOKENIZERS)
        reason = brief(error) if there else "there is no tokenizer.json"
        raise UserError(f"model.path: {folder}: no tokenizer can be loaded: {reason}; {again(folder)}") from None
    return Codec(_as_its_file_says(tokenizer, own, folder), prompt)


def _as_its_file_splits(folder: Path) -> list[int] | None:
    """The sample's tokens by tokenizer.json alone; None without one."""
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    return Tokenizer.from_file(str(file)).encode(SAMPLE, add_special_tokens=False).ids if file.is_file() else None


def _as_its_file_says(tokenizer: Any, own: list[int] | None, folder: Path) -> Any:
    """A tokenizer that splits text as its tokenizer.json does (`own`: the sample's tokens).

    transformers 5 makes a tokenizer by the class of tokenizer_config.json, or by the type of the model, with what that
    family has before and after its vocabulary. Where it is another family's, spaces are lost, for example.
    """
    from transformers import PreTrainedTokenizerFast

    if own is None or type(tokenizer) is PreTrainedTokenizerFast:
        return tokenizer
    with contextlib.suppress(Exception):  # one made of the wrong parts may also fail
        if tokenizer(SAMPLE, add_special_tokens=False)["input_ids"] == own:
            return tokenizer
    what = f"transformers would make a {type(tokenizer).__name__} of it, which splits text in another way"
    print(f"warning: {folder / 'tokenizer.json'}: {what}; the file is followed", file=sys.stderr)
    return PreTrainedTokenizerFast.from_pretrained(folder, trust_remote_code=False)


def _fitting_codec(where: Path, prompt: str | None) -> Codec:
    """The tokenizer of a base, each of whose tokens that a text can have has a row in the embeddings."""
    _check_seals(where, ".json")
    _config(where)  # the tokenizers' library reads it too, and would be blamed for it
    codec = load_codec(str(where), prompt=prompt)
    rows = read_keys(where / "config.json").get("vocab_size")
    if missing := codec.without_row(rows) if isinstance(rows, int) else []:
        raise UserError(
            f"model.path: {where}: the model has rows for {rows:,} tokens, and {len(missing):,} of its tokenizer have "
            f"none, as {missing[0]!r}: files of different models, or tokens added to the tokenizer alone; take the "
            "tokenizer of the model"
        )
    return codec


def _config(where: Path) -> Any:
    """The config of a base, as transformers reads it. Its key for another kind of attention is left out."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CLASSES

    try:
        # a trainer may have left these off in config.json
        config = AutoConfig.from_pretrained(where, trust_remote_code=False, use_cache=True, return_dict=True)
        config._attn_implementation = None  # flash_attention_2, say, of the machine that trained it
    except Exception as error:  # as wrong values need
        raise _wrong_config(where, error) from None
    for name in config.architectures or ():
        if name in CLASSES.values() and name != CLASSES[config.model_type]:
            what = f"model_type is {config.model_type}, and architectures says {name}"
            raise UserError(f"model.path: {where}/config.json: {what}; {CONFIG}")
    return config


def _wrong_config(where: Path, error: Exception) -> UserError:
    reason = f"{type(error).__name__}: {brief(error, 200)}"
    return UserError(f"model.path: {where}/config.json: no model can be made of it ({reason}); {CONFIG}")


def _network(where: Path, **options: Any) -> nn.Module:
    """A model whose weights are those that its config.json describes, no more and no less."""
    import warnings

    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # libraries, about each other
    options |= {"output_loading_info": True, "ignore_mismatched_sizes": True, "trust_remote_code": False}
    options["generation_config"] = GenerationConfig()  # instead of the base's own: see `end_tokens`
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # no table of missing weights: the error below names them
    config = _config(where)
    try:
        _check_types(where)
        model, report = AutoModelForCausalLM.from_pretrained(where, config=config, **options)
        fuse_activations(model)
    except UserError:
        raise
    except Exception as error:  # readers of many formats, each with its own errors
        try:
            with torch.device("meta"):
                AutoModelForCausalLM.from_config(_config(where))
        except Exception as wrong:
            raise _wrong_config(where, wrong) from None
        reason = next((meaning for words, meaning in REASONS.items() if words in str(error)), brief(error))
        raise UserError(f"model.path: {where}: its weights cannot be read: {reason}; {again(where)}") from None
    finally:
        logging.set_verbosity(verbosity)
    if fault := _fault(report):
        raise UserError(f"model.path: {where}: {fault}")
    return model


def _check_types(where: Path) -> None:
    """UserError for quantised weights of which config.json does not speak: transformers would cast them in silence."""
    for name in weights(where):
        if not name.endswith(".safetensors"):
            continue
        with safe_open(where / name, "pt") as file:
            for key in file.keys():  # noqa: SIM118
                if key.endswith("weight") and (kind := file.get_slice(key).get_dtype()) not in FLOATS:
                    raise UserError(
                        f"model.path: {where / name}: {key} is of type {kind}, so the weights are quantised, and "
                        "config.json does not say how; take the model that it was made from"
                    )


def _fault(report: dict[str, Any]) -> str | None:
    """How the weights in the files differ from those of config.json. transformers would only warn.

    Its report has no keys that are known to be harmless: buffers that a model computes, heads that are tied.
    """
    missing, more = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    if mismatched := sorted(report["mismatched_keys"]):
        name, found, wanted = mismatched[0]
        if 0 in found:
            return (
                f"{name} is empty, as DeepSpeed ZeRO 3 saves a model by parts; make it whole with its zero_to_fp32.py"
            )
        return (
            f"{len(mismatched):,} of its weights have other shapes than config.json says, as {name}: {tuple(found)} "
            f"and not {tuple(wanted)}; take the config.json that belongs to these weights"
        )
    if missing:  # transformers gives them random values
        instead = f", where the files have {more[0]}" if more else ""
        advice = "take the config.json that belongs to these weights, or copy the model again"
        if wrapped := next((name for name in missing if more and more[0].endswith(f".{name}")), None):
            prefix = more[0].removesuffix(wrapped)
            advice = f"a wrapper's {prefix!r} is before the names: save the model inside the wrapper, or cut it off"
        return f"{len(missing):,} of the weights that config.json names are missing, as {missing[0]}{instead}; {advice}"
    if more:  # transformers drops them
        names = ", ".join(more[:3]) + (", ..." if more[3:] else "")
        return (
            f"{len(more):,} of its weights have no place in the model that config.json describes ({names}), so it "
            "would run without them; take the config.json that belongs to these weights, or remove them"
        )
    return None


def check_numbers(tensors: dict[str, torch.Tensor], where: str) -> None:
    """UserError if a number is infinite or none. A sum reads the weights once, and shows both."""
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor.sum()) and not (finite := torch.isfinite(tensor)).all():
            wrong = finite.numel() - int(finite.sum())
            raise UserError(
                f"{where}: {name}: {wrong:,} of its {finite.numel():,} numbers are infinite or no numbers (inf, nan): "
                "its training has failed, or the file is damaged; copy it again, or take an earlier one"
            )


def positions(network: nn.Module) -> int | None:
    """How many tokens a model is made for; None if its config names no number (see `ALIBI`)."""
    return getattr(network.config, "max_position_embeddings", None) or getattr(network.config, "seq_length", None)


def _check_seals(where: Path, *endings: str) -> None:
    """UserError if a file of a base that a run has made is not as it was written."""
    for file in sorted(where.iterdir()):
        if file.suffix in endings:
            check_seal(file, where / "lander.json")


def facts(path: str) -> dict[str, Any]:
    """What Lander wrote beside a model's weights (lander.json); empty for models that it did not make."""
    folder = find_folder(path)
    file = Path(folder or "", "lander.json")
    found = read_json(file) if folder and file.is_file() else {}
    if not isinstance(found, dict) or not isinstance(found.get("prompt"), str | None):
        raise UserError(f"{file}: not what Lander writes beside a model; remove it, or copy the model again")
    return found


def digest(path: str, revision: str | None = None) -> str:
    """Identity of a base, wherever it is: SHA-256 of its config and weights."""
    folder = resolve(path, revision)
    return "sha256:" + sha256(folder / "config.json", *(folder / name for name in weights(folder)))


def place(path: str, revision: str | None = None) -> dict[str, str | None]:
    """Where a trained model finds its base again.

    Returns:
        `path`: a built-in name or hub id as it is, a local folder in full; `revision`: of a hub id its commit.
    """
    folder = find_folder(path)
    if folder is None:
        return {"path": path, "revision": resolve(path, revision).name}
    return {"path": path if folder.parent == BUILT_IN else str(folder.resolve()), "revision": revision or None}


def resolve(path: str, revision: str | None = None) -> Path:
    """The folder of a model, checked; for a hub id in the hub's cache, named by its commit.

    What the cache lacks is fetched, if there is a network: the weights only if the rest is that of a usable model.
    """
    if folder := find_folder(path):
        return folder
    import huggingface_hub

    def fetch(*patterns: str) -> Path:
        return Path(huggingface_hub.snapshot_download(path, revision=revision or None, allow_patterns=patterns))

    try:
        folder = fetch(*TEXT_FILES)
        if is_model(folder):
            check_config(folder / "config.json")
        for name in WEIGHT_FILES:
            folder, index = fetch(name), folder / f"{name}.index.json"
            if not weights(folder):
                continue
            if not (folder / name).is_file():
                folder = fetch(*shards(index))
            break
    except UserError:
        raise
    except Exception as error:  # of the hub, the libraries below it, the disk
        what = f"no such folder, and cannot be fetched from the hub ({brief(error)})"
        raise UserError(f"model.path: {path}: {what}") from None
    check_folder(folder)
    return folder
