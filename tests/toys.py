"""Small models and tokenizers, built here, never downloaded."""

import copy
from functools import cache

import numpy as np
import pandas as pd
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

VOCABULARY = 64
_gated = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "vocab_size": VOCABULARY}
_heads = {"num_attention_heads": 2, "num_key_value_heads": 2}


def bloom(layers: int = 2, width: int = 16, vocabulary: int = VOCABULARY) -> nn.Module:
    """A random BLOOM whose biases and norms are random too (they start as zeros and ones)."""
    config = BloomConfig(vocab_size=vocabulary, hidden_size=width, n_layer=layers, n_head=2, eos_token_id=2)
    return random_model(BloomForCausalLM, config)


FAMILIES = {
    "bloom": lambda: bloom(3),
    "llama": lambda: random_model(LlamaForCausalLM, LlamaConfig(**_gated, **_heads, mlp_bias=True)),
    "qwen2": lambda: random_model(Qwen2ForCausalLM, Qwen2Config(**_gated, **_heads)),
    "gemma": lambda: random_model(GemmaForCausalLM, GemmaConfig(**_gated, **_heads, head_dim=8)),
    "gpt_neox": lambda: random_model(
        GPTNeoXForCausalLM,
        GPTNeoXConfig(**_gated, num_attention_heads=2, use_parallel_residual=False),
    ),
}


def random_model(kind: type[nn.Module], config) -> nn.Module:
    """A frozen model whose biases and norms are random too."""
    torch.manual_seed(1)
    model = kind(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3 + (parameter.dim() == 1))
    return model.eval().requires_grad_(False)


SMALL = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
    "num_attention_heads": 2,
}  # fmt: skip
HEADS = {"num_key_value_heads": 1, "head_dim": 8}

# Every supported family, name: (model, keys of its config). Between them: FFNs with biases and without, tied embeddings
# and not.
MODELS = {
    "bloom": ("Bloom", {"vocab_size": VOCABULARY, "hidden_size": 16, "n_layer": 3, "n_head": 2}),
    "llama": ("Llama", SMALL),
    "llama with biases": ("Llama", SMALL | {"mlp_bias": True, "attention_bias": True}),
    "llama tied": ("Llama", SMALL | {"tie_word_embeddings": True}),
    "mistral": ("Mistral", SMALL | HEADS | {"sliding_window": 4}),
    "qwen2": ("Qwen2", SMALL | {"num_key_value_heads": 1}),  # and 2.5
    "qwen3": ("Qwen3", SMALL | HEADS | {"tie_word_embeddings": True}),
    "gemma": ("Gemma", SMALL | HEADS),
    "gemma2": ("Gemma2", SMALL | HEADS | {"sliding_window": 4}),
    "gemma3_text": ("Gemma3", SMALL | HEADS | {"sliding_window": 4}),
    "gpt_neox": ("GPTNeoX", SMALL | {"use_parallel_residual": False}),
    "gpt_neox parallel": ("GPTNeoX", SMALL | {"use_parallel_residual": True}),
}


def build(name: str, **more: int) -> nn.Module:
    """A random model; biases and norms are random too, and nothing is zero. `more`: other keys of its config."""
    kind, keys = MODELS[name]
    config = getattr(transformers, {"Gemma3": "Gemma3TextConfig"}.get(kind, f"{kind}Config"))
    return random_model(getattr(transformers, f"{kind}ForCausalLM"), config(**keys | more))


def ids(rows: int = 3, tokens: int = 7) -> torch.Tensor:
    """Random token ids without the special ones."""
    return torch.randint(5, VOCABULARY, (rows, tokens), generator=torch.Generator().manual_seed(2))


def mask(layers: list[int], n_neurons: int, source: str, target: str, owners: list[str | None]) -> pd.DataFrame:
    """A mask of one direction: neuron i is owned by owners[i % len], None is general; scales .8 and .2."""
    owner = np.array([owners[i % len(owners)] for i in range(n_neurons)], dtype=object)
    role = np.select([owner == None, owner == source, owner == target], ["general", "source", "target"], "absent")  # noqa: E711
    scale = np.select([role == "general", role == "absent"], [0.8, 0.0], 0.2)
    one = {"neuron": range(n_neurons), "role": role, "owner": owner, "trained": role != "absent", "scale": scale}
    return pd.concat([pd.DataFrame({"layer": layer, **one}) for layer in layers], ignore_index=True)


def masks(layers: list[int], n_neurons: int, directions=("en-de", "de-en", "en-fr")) -> dict[str, pd.DataFrame]:
    """Masks of several directions over English, German, French and Italian, with general neurons."""
    owners = [None, "en", "de", None, "fr", "it"]
    return {name: mask(layers, n_neurons, *name.split("-"), owners) for name in directions}


@cache
def bloom_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE in BLOOM's manner: nothing is added by itself."""
    tokenizer = _byte_level(["<unk>", "<s>", "</s>", "<pad>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


@cache
def qwen_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE in Qwen's manner: no beginning token at all, and the end token is the padding too."""
    tokenizer = _byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|endoftext|>")


@cache
def llama_tokenizer() -> PreTrainedTokenizerFast:
    """In LLaMA's manner: sentencepiece's space mark and byte fallback, `<s>` before a text, no padding token."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in pieces[:3]])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def _byte_level(special: list[str]) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


CHAT_TEMPLATES = {
    "qwen": """{% for turn in messages %}<|im_start|>{{ turn.role }}
{{ turn.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think>

</think>

{% endif %}{% endif %}""",
    "llama": """<s>{% for turn in messages %}{% set text = turn.content | trim %}{% if turn.role == 'user' %}
[{{ strftime_now('%d %b %Y') }}] {{ text }}
:{% else %} {{ text }} </s>{% endif %}{% endfor %}""",
}


def chat_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """A tokenizer with a chat template: Qwen's turns end otherwise than its texts, LLaMA's trims and tells the day."""
    tokenizer = copy.deepcopy(TOKENIZERS[name]())
    tokenizer.chat_template = CHAT_TEMPLATES[name]
    return tokenizer


TOKENIZERS = {"bloom": bloom_tokenizer, "llama": llama_tokenizer, "qwen": qwen_tokenizer}
