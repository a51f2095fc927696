"""Convert Baichuan-7B and Baichuan2-7B once into LLaMA checkpoints, which plain transformers reads.

Their own code is loaded from the hub at run time and breaks on current transformers. The network is LLaMA's except for

- `W_pack`, the maps to queries, keys and values stacked: rows 0..d-1, d..2d-1, 2d..3d-1;
- Baichuan 2's output head, whose rows are normalised to length one whenever it is used: logits = x normalize(W)^T. They
  are normalised here, once. (Training the whole model afterwards trains a plain head, as in LLaMA.)

The 13B models have ALiBi instead of rotary positions, which no LLaMA has.

Weights are memory-mapped and written shard by shard: a conversion needs the memory of the normalised head and of about
one output shard (4 GB).

Example:
    lander convert Baichuan2-7B-Base --out models/baichuan2-7b-llama
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from lander.config.base import depth
from lander.models import plain
from lander.models.baichuan import spm
from lander.models.tokens import save_tokenizer
from lander.shared.errors import UserError, brief, one_line
from lander.shared.files import read_json, whole_folder, write_json

SHARD_BYTES = 2 << 30
ROWS = 8192  # of the head, normalised at a time; in float32, since float16 and bfloat16 are too coarse for a norm
ONE = "BaiChuanForCausalLM"  # Baichuan-7B; note the capital C
TWO = "BaichuanForCausalLM"  # Baichuan2-7B, and the 13B models of both generations
NEEDED = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "max_position_embeddings", "rms_norm_eps",
)  # fmt: skip
DEFAULTS = {
    "hidden_act": "silu", "initializer_range": 0.02, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    "tie_word_embeddings": False,
}  # fmt: skip


def convert(folder: Path, out: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write a Baichuan 7B folder as a LLaMA folder, whole or not at all: config, weights, fast tokenizer."""
    with whole_folder(out, new=True) as temporary:
        source = read_json(folder / "config.json")
        config = llama_config(source, folder)
        save_tokenizer(tokenizer(folder, config.vocab_size), temporary)
        state = read_weights(folder, config, normalise=source["architectures"] == [TWO])
        shapes = {name: tensor.to("meta") for name, tensor in state.items()}
        plan = split_torch_state_dict_into_shards(shapes, max_shard_size=shard_bytes)
        for file, names in plan.filename_to_tensors.items():
            shard = {name: state[name].contiguous().clone() for name in names}
            save_file(shard, temporary / file, metadata={"format": "pt"})
        if plan.is_sharded:
            index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
            write_json(temporary / "model.safetensors.index.json", index)
        config.architectures, config.dtype = ["LlamaForCausalLM"], next(iter(state.values())).dtype
        config.save_pretrained(temporary)
        plain.add_old_keys(temporary)


def llama_config(source: dict[str, Any], folder: Path) -> LlamaConfig:
    """The LLaMA config of a Baichuan 7B config. UserError if it is another model's, as that of Baichuan 13B."""
    where = folder / "config.json"
    if not isinstance(source, dict):
        raise UserError(f"{where}: not the config of a model, it has no keys; copy the model again")
    if source.get("model_type") == "llama":
        raise UserError(f"{where}: a LLaMA model already; use the folder as it is")
    if source.get("architectures") not in ([ONE], [TWO]):
        names = source.get("architectures") or ["no architecture"]
        names = ", ".join(map(str, names if isinstance(names, list) else [names]))[:200]
        raise UserError(f"{where}: {names}; only Baichuan-7B ({ONE}) and Baichuan2-7B ({TWO}) can be converted")
    if "max_position_embeddings" not in source or source.get("hidden_size") == 5120:
        raise UserError(
            f"{where}: a 13B model: its positions are ALiBi, which no LLaMA has, so it cannot be converted; "
            "use the 7B model"
        )
    if source.get("quantization_config"):
        raise UserError(f"{where}: quantised weights; convert the unquantised model")
    if missing := [key for key in NEEDED if key not in source]:
        raise UserError(f"{where}: has no {', '.join(missing)}; copy the model's own config.json")
    values = DEFAULTS | {key: source[key] for key in (*NEEDED, *DEFAULTS) if key in source}
    depth(where)
    try:
        config = LlamaConfig(num_key_value_heads=source["num_attention_heads"], **values)  # rotary base: the default
        _wanted(config)
    except Exception as error:  # a config can be wrong in endless ways
        raise UserError(f"{where}: makes no model ({brief(error)}); copy the model's own config.json") from None
    return config


def _wanted(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of the LLaMA model, by name."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in LlamaForCausalLM(config).state_dict().items()}


def read_weights(folder: Path, config: LlamaConfig, normalise: bool) -> dict[str, torch.Tensor]:
    """The weights under LLaMA's names, memory-mapped. UserError unless they are exactly those of the LLaMA model."""
    wanted, state = _wanted(config), {}
    if config.tie_word_embeddings:
        del wanted["lm_head.weight"]
    for file in shards(folder):
        for name, tensor in tensors(file, normalise):
            if tuple(tensor.shape) != wanted.pop(name, None):
                raise UserError(
                    f"{folder}: {name} of shape {list(tensor.shape)}: config.json has no such weight, or of another "
                    "shape"
                )
            state[name] = tensor
    if wanted:
        raise UserError(f"{folder}: {len(wanted)} weights are missing, {next(iter(wanted))} first; copy all files")
    return state


def shards(folder: Path) -> list[Path]:
    """The files of weights; safetensors if there are both kinds. UserError if one is missing."""
    for pattern in ("model*.safetensors", "pytorch_model*.bin"):
        files = sorted(folder.glob(pattern))
        if not files:
            continue
        for index in folder.glob(pattern + ".index.json"):
            try:
                named = {folder / name for name in read_json(index)["weight_map"].values()}
            except (LookupError, TypeError, AttributeError):
                raise UserError(f"{index}: not an index of weights; copy it again") from None
            if absent := sorted(named - set(files)):
                raise UserError(f"{absent[0]}: no such file, but {index.name} names it; copy it there")
            return sorted(named)
        return files
    raise UserError(f"{folder}: no weights (pytorch_model*.bin or model*.safetensors); copy them there")


def tensors(file: Path, normalise: bool) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (LLaMA's name, tensor) of the weights in a file.

    Args:
        normalise: whether to scale the rows of the output head to length one.
    """
    try:
        if file.suffix == ".safetensors":
            content = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
        content = dict(content)
    except Exception as error:  # torch's reader fails in many ways on other files
        reason = one_line((str(error).strip() or type(error).__name__).splitlines()[0])[:200]
        raise UserError(f"{file}: cannot be read ({reason}); copy the real file again") from None
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise UserError(f"{file}: holds something other than named weights; copy the real file again")
        if name.endswith("rotary_emb.inv_freq"):
            continue  # computed, not learned
        if tensor.dim() != 2 and (name.endswith("W_pack.weight") or name == "lm_head.weight"):
            raise UserError(f"{file}: {name} is not a matrix; copy it again")
        if name.endswith("self_attn.W_pack.weight"):
            if len(tensor) % 3:
                raise UserError(f"{file}: {name} of shape {list(tensor.shape)} is not three matrices; copy it again")
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                yield name.replace("W_pack", f"{part}_proj"), rows
        elif name == "lm_head.weight" and normalise:
            rows = (torch.nn.functional.normalize(part.float()).to(part.dtype) for part in tensor.split(ROWS))
            yield name, torch.cat(list(rows))
        else:
            yield name, tensor


def tokenizer(folder: Path, vocab_size: int):
    """The model's tokenizer as a fast tokenizer, with the special tokens of its tokenizer_config.json."""
    where, path = folder / "tokenizer_config.json", folder / "tokenizer.model"
    settings = read_json(where)
    if not isinstance(settings, dict):
        raise UserError(f"{where}: has no keys; copy it again")
    special = {}
    for name, default in {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "pad": None}.items():
        value = settings.get(f"{name}_token", default)
        special[name] = value.get("content") if isinstance(value, dict) else value
        if not isinstance(special[name], str | None):
            raise UserError(f"{where}: {name}_token is not a token; copy it again")
    fast = spm.fast_tokenizer(path, **special, add_bos=settings.get("add_bos_token", True))
    if len(fast) > vocab_size:
        raise UserError(f"{path}: {len(fast)} pieces, but the model has {vocab_size}: files of different models")
    if odd := spm.check_same(fast, path):
        warning = "texts with unusual spaces are tokenized differently than before"
        print(f"warning: {path}: {warning}: {odd}", file=sys.stderr)
    return fast
