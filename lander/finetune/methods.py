"""What each method trains: parameters in groups that move, or stay idle, together.

| method | trained |
|---|---|
| `full` | everything |
| `lora` | low-rank updates of every linear map of every layer (PEFT) |
| `landermt` | the neurons of the batch's direction in the chosen layers, their output bias, and with `scope: layer` the
  attention and norms of those layers |
"""

from collections import defaultdict
from dataclasses import dataclass

import pandas as pd
from torch import nn

from lander import families
from lander.errors import UserError
from lander.finetune.blocks import BlockFFN, Router, Routing, install

METHODS = ("full", "lora", "landermt")
MASKED = ("landermt",)  # methods that need masks


@dataclass
class ParameterGroup:
    """Parameters that one update moves together.

    `directions`: those whose batches use them; a window without any leaves the group alone. None: every batch does.
    """

    name: str
    parameters: dict[str, nn.Parameter]
    directions: frozenset[str] | None = None
    decays: bool = True

    def idle(self, directions: set[str]) -> bool:
        """Whether a window over these directions has no row for the group."""
        return self.directions is not None and not self.directions & directions


@dataclass(frozen=True)
class Lora:
    """Low-rank adaptation: W + (alpha / rank) B A (Hu et al. 2022). `targets` empty: every linear map of a layer."""

    rank: int = 16
    alpha: int = 32
    targets: tuple[str, ...] = ()


@dataclass
class Prepared:
    """A model ready for training: its parameters in groups, everything else frozen."""

    network: nn.Module
    router: Router
    groups: list[ParameterGroup]

    def trained(self) -> dict[str, nn.Parameter]:
        """All trained parameters by their names in the network."""
        return {name: parameter for group in self.groups for name, parameter in group.parameters.items()}


def prepare(
    method: str,
    network: nn.Module,
    *,
    masks: dict[str, pd.DataFrame] | None = None,
    routing: Routing | None = None,
    scope: str = "layer",
    lora: Lora | None = None,
) -> Prepared:
    """Make a frozen base ready for a method: build its blocks or adapters, choose and thaw what it trains."""
    router = Router()
    if method == "full":
        groups = [ParameterGroup("all", dict(network.named_parameters()))]
    elif method == "lora":
        network = with_lora(network, lora or Lora())
        named = {name: value for name, value in network.named_parameters() if "lora_" in name}
        groups = [ParameterGroup("lora", named)]
    elif method in MASKED:
        installed = install(network, masks or {}, router, routing or Routing())
        groups = block_groups(network, installed, scope)
    else:
        raise UserError(f"methods: {method!r} is not one of {', '.join(METHODS)}")
    groups = [group for group in groups if group.parameters]
    for group in groups:
        for parameter in group.parameters.values():
            parameter.requires_grad_(True)
    return Prepared(network, router, groups)


def with_lora(network: nn.Module, lora: Lora) -> nn.Module:
    """The base with PEFT's LoRA on every linear map of its layers; its own parameters stay frozen."""
    from peft import LoraConfig, get_peft_model

    layers = families.family_of(network).layers
    linear = [name for name, part in families.layers_of(network).named_modules() if isinstance(part, nn.Linear)]
    targets = list(lora.targets) or [f"{layers}.{name}" for name in linear]
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=targets, task_type="CAUSAL_LM")
    try:
        return get_peft_model(network, config, autocast_adapter_dtype=False)
    except ValueError as error:
        raise UserError(f"finetune.lora.targets: {error}") from None


def block_groups(network: nn.Module, installed: dict[int, BlockFFN], scope: str) -> list[ParameterGroup]:
    """The trained parts of a model with blocks, grouped by the directions that use them."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    shared: dict[str, nn.Parameter] = {}
    blocks: dict[frozenset[str], dict[str, nn.Parameter]] = defaultdict(dict)
    gates: dict[str, dict[str, nn.Parameter]] = defaultdict(dict)
    for layer, ffn in installed.items():
        for block, group in zip(ffn.blocks, ffn.groups, strict=True):
            if group.trained_in:
                blocks[group.trained_in].update((names[id(p)], p) for p in block.parameters())
        for direction, gate in ffn.gates.items():
            gates[direction][names[id(gate.shift)]] = gate.shift
        if ffn.bias is not None:
            shared[names[id(ffn.bias)]] = ffn.bias
        if scope == "layer":
            inside = {id(p) for p in ffn.parameters()}
            outside = (p for p in families.layers_of(network)[layer].parameters() if id(p) not in inside)
            shared.update((names[id(p)], p) for p in outside)
    return [
        ParameterGroup("shared", shared),
        *(ParameterGroup(f"blocks of {', '.join(sorted(used))}", named, used) for used, named in blocks.items()),
        *(ParameterGroup(f"gate of {name}", named, frozenset([name]), decays=False) for name, named in gates.items()),
    ]


def count(groups: list[ParameterGroup]) -> int:
    """Number of trained parameters."""
    return sum(parameter.numel() for group in groups for parameter in group.parameters.values())
