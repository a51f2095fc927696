"""The parts of a model that a family describes (`lander.config.families`): its layers, FFNs and neurons."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from lander.config.families import FAMILIES, Family, unsupported
from lander.shared.errors import UserError

FUSED: dict[str, Callable[[], nn.Module]] = {  # `act` in one kernel, for a family that computes it in several
    "bloom": lambda: nn.GELU(approximate="tanh"),  # its own makes many passes over the memory
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
        raise UserError(f"model.path: {unsupported({'model_type': model_type})}")
    return FAMILIES[model_type]


def layers_of(model: nn.Module) -> nn.ModuleList:
    """The layers of a causal language model, first to last."""
    return model.get_submodule(family_of(model).layers)


def fuse_activations(model: nn.Module) -> None:
    """Give each FFN an activation function of one kernel: the same formula, equal but for the last bits of a float."""
    if fused := FUSED.get(model.config.model_type):
        family = family_of(model)
        for layer in layers_of(model):
            setattr(layer.get_submodule(family.ffn), family.act, fused())


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
