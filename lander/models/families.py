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

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from lander.shared.errors import UserError


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
    fused: Callable[[], nn.Module] | None = None  # `act` in one kernel, for a family that computes it in several


BLOOM = Family(
    layers="transformer.h",
    ffn="mlp",
    up="dense_h_to_4h",
    down="dense_4h_to_h",
    act="gelu_impl",
    adds_residual=True,
    fused=lambda: nn.GELU(approximate="tanh"),  # BLOOM's own makes many passes over the memory
)
LLAMA = Family(layers="model.layers", ffn="mlp", up="up_proj", gate="gate_proj", down="down_proj", act="act_fn")
GPT_NEOX = Family(layers="gpt_neox.layers", ffn="mlp", up="dense_h_to_4h", down="dense_4h_to_h", act="act")

FAMILIES: dict[str, Family] = {
    "bloom": BLOOM,
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "gemma": LLAMA,
    "gemma2": LLAMA,
    "gemma3_text": LLAMA,
    "gpt_neox": GPT_NEOX,
}

FUSED = "keep the FFN's gate and input projection in one matrix, which Lander cannot cut into neurons"
SEVERAL = "have several FFNs in a layer, of which a token uses a few"
REASONS = {  # why other families that people try are not supported
    **dict.fromkeys(("phi3", "glm", "glm4"), FUSED),
    "baichuan": "run code from the hub; convert Baichuan-7B or Baichuan2-7B once: lander convert FOLDER --out DIR",
    "gemma3": "also read pictures; take the text model of the same size (gemma3_text)",
    **dict.fromkeys(("mixtral", "qwen2_moe", "qwen3_moe"), SEVERAL),
}


@dataclass(frozen=True)
class FFN:
    """The parts of one layer's FFN of p neurons."""

    module: nn.Module
    up: nn.Linear  # (p, d_model)
    gate: nn.Linear | None  # (p, d_model)
    down: nn.Linear  # (d_model, p)
    act: Callable[[torch.Tensor], torch.Tensor]

    @property
    def n_neurons(self) -> int:
        return self.down.in_features

    def at_site(self, site: str, function: Callable[[torch.Tensor], torch.Tensor | None]) -> RemovableHandle:
        """Call `function` with the activations (batch, tokens, p) whenever they are made; its result replaces them.

        `post` is h, the input of the output projection. `pre` is the nonlinearity's input: the output of the input
        projection, or of the gate's where there is one.
        """
        if site == "post":
            return self.down.register_forward_pre_hook(lambda _module, inputs: function(inputs[0]))
        entry = self.up if self.gate is None else self.gate
        return entry.register_forward_hook(lambda _module, _inputs, output: function(output))


def family_of(model: nn.Module) -> Family:
    """The description of a model's family. UserError if there is none."""
    model_type = model.config.model_type
    if model_type not in FAMILIES:
        reason = f": they {REASONS[model_type]}" if model_type in REASONS else ""
        raise UserError(
            f"model.path: models of type {model_type!r} are not supported{reason} (supported: {', '.join(FAMILIES)}). "
            "To add a family, add an entry with the names of its modules to FAMILIES in lander/models/families.py"
        )
    return FAMILIES[model_type]


def layers_of(model: nn.Module) -> nn.ModuleList:
    """The layers of a causal language model, first to last."""
    return model.get_submodule(family_of(model).layers)


def fuse_activations(model: nn.Module) -> None:
    """Give each FFN an activation function of one kernel: the same formula, equal but for the last bits of a float."""
    family = FAMILIES.get(model.config.model_type)
    if family and family.fused:
        for layer in layers_of(model):
            setattr(layer.get_submodule(family.ffn), family.act, family.fused())


def ffn_of(model: nn.Module, layer: int) -> FFN:
    """The FFN of layer `layer` (from 0) of a model that `lander.finetune.blocks` has not changed."""
    family = family_of(model)
    module = layers_of(model)[layer].get_submodule(family.ffn)
    return FFN(
        module=module,
        up=module.get_submodule(family.up),
        gate=module.get_submodule(family.gate) if family.gate else None,
        down=module.get_submodule(family.down),
        act=getattr(module, family.act),
    )


def shape_of(model: nn.Module) -> tuple[int, int]:
    """(n_layer, p)"""
    return len(layers_of(model)), ffn_of(model, 0).n_neurons


@contextmanager
def watched(model: nn.Module, site: str, function: Callable[[int, torch.Tensor], None]) -> Iterator[None]:
    """In the block, `function(layer, activations)` is called for every layer of every pass; see `FFN.at_site`."""
    hooks = [ffn_of(model, layer).at_site(site, partial(function, layer)) for layer in range(shape_of(model)[0])]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
