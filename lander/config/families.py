"""Model families: the names of the modules that hold the layers and the FFN's projections. No other place knows them.

A neuron is one hidden unit of a layer's FFN: row i of the input projection(s) `up` (and `gate`), column i of the
output projection `down`. Its activation h_i is the i-th input of `down` (design 2):

    h = act(up(x))             two matrices (BLOOM, GPT-NeoX)
    h = act(gate(x)) * up(x)   gated (LLaMA, Mistral, Qwen, Gemma)
    FFN(x) = down(h)

To support another family, add its `model_type` (from its config.json) to `FAMILIES` with the names of its modules, and
a small model of it to `tests/models/test_families.py`, which tests the same properties for all. Gate and input
projection must be two matrices (not one, as Phi-3's `gate_up_proj`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Family:
    """Names of modules, relative to the model (`layers`), the layer (`ffn`) and the FFN (the rest)."""

    layers: str
    ffn: str
    up: str
    down: str
    act: str
    gate: str | None = None
    adds_residual: bool = False  # BLOOM's FFN takes the residual as a second argument and adds it itself


LLAMA = Family(layers="model.layers", ffn="mlp", up="up_proj", gate="gate_proj", down="down_proj", act="act_fn")

FAMILIES: dict[str, Family] = {
    "bloom": Family(
        layers="transformer.h",
        ffn="mlp",
        up="dense_h_to_4h",
        down="dense_4h_to_h",
        act="gelu_impl",
        adds_residual=True,
    ),
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "gemma": LLAMA,
    "gemma2": LLAMA,
    "gemma3_text": LLAMA,
    "gpt_neox": Family(layers="gpt_neox.layers", ffn="mlp", up="dense_h_to_4h", down="dense_4h_to_h", act="act"),
}

FUSED = "they keep the FFN's gate and input projection in one matrix, which Lander cannot cut into neurons"
REASONS = {  # why models of other types that people try are not supported
    **dict.fromkeys(("phi3", "glm", "glm4"), FUSED),
    "baichuan": "they run code from the hub; convert Baichuan-7B or Baichuan2-7B: lander convert FOLDER --out DIR",
}
TRAITS = {  # keys of config.json, any of which says so too
    ("is_encoder_decoder",): "they have an encoder and a decoder; take a model that is a decoder alone",
    ("text_config", "vision_config", "audio_config"): "they also read pictures or sound; take a model of text alone",
    ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"): "they have several FFNs (experts) in "
    "a layer, of which a token uses a few; take a model without experts",
    ("auto_map",): "they need code of their own, which Lander does not run",
}
QUANTISED = ("quantization_config", "quantization", "compression_config")  # of transformers, MLX, compressed-tensors


def unsupported(config: Mapping[str, Any]) -> str | None:
    """Why a model with this config.json cannot be a base, and what to do; None if it can."""
    kind = config.get("model_type")
    if not isinstance(kind, str):
        return "names no model_type, so it is not the config of a model of transformers"
    if kind not in FAMILIES:
        traits = (why for keys, why in TRAITS.items() if any(config.get(key) for key in keys))
        reason = REASONS.get(kind) or next(traits, "to add them, see docs/new-family.md")
        return f"models of type {kind!r} are not supported (supported: {', '.join(FAMILIES)}): {reason}"
    for key in (key for key in QUANTISED if config.get(key) is not None):
        if not config[key]:
            return f"{key} is empty, and transformers takes any as that of quantised weights; remove this key"
        how = config[key].get("quant_method") or config[key].get("bits") if isinstance(config[key], dict) else None
        return (
            f"its weights are quantised ({key}{f': {how}' if how else ''}), and Lander needs them as they were before; "
            "take the model that it was made from"
        )
    if config.get("transformers_weights"):
        return "its weights have a name of their own (transformers_weights); rename them and remove this key"
    if config.get("slow_but_exact") and config.get("pretraining_tp", 1) != 1:
        return "slow_but_exact multiplies slices of projections, past the neurons that Lander reads; set it to false"
    if config.get("is_encoder_decoder"):
        return f"is_encoder_decoder is set, and models of type {kind!r} have a decoder alone; set it to false"
    return None
