"""What each method trains: parameters in groups that move, or stay idle, together.

A method is a function here and an entry in `lander/config/methods.py`.
"""

import warnings
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pkgutil import resolve_name
from typing import Any

import pandas as pd
from torch import nn

from lander.config.masks import Routing
from lander.config.methods import METHODS, TRAINED, Lora
from lander.finetune import adapters
from lander.finetune.blocks import BlockFFN, install
from lander.finetune.switch import Router, switches
from lander.models import families
from lander.shared.errors import UserError

MARKS = {"lora": "lora_", "bottlenecks": f".{adapters.NAME}."}  # in the names of parameters that a base does not have


@dataclass
class ParameterGroup:
    """Parameters that one update moves together.

    `directions`: those whose batches use them; an update without any of them leaves the group alone. None: all do.
    """

    name: str
    parameters: dict[str, nn.Parameter]
    directions: frozenset[str] | None = None
    decays: bool = True

    def idle(self, directions: set[str]) -> bool:
        """Whether an update over these directions has no row for the group."""
        return self.directions is not None and not self.directions & directions


@dataclass(frozen=True)
class Options:
    """Settings of all methods; each reads its own."""

    masks: dict[str, pd.DataFrame] = field(default_factory=dict)
    trained_in: frozenset[str] | None = None  # directions of the training; None: all that have masks
    routing: Routing = field(default_factory=Routing)
    scope: str = "layer"  # or `ffn`: without attention and norms; or `neurons`: without the FFN's output bias too
    lora: Lora = field(default_factory=Lora)
    bottleneck: int | None = None  # width N of the adapter; None: the largest within `budget_layers` whole layers
    budget_layers: int | None = None
    budget_share: float = 1.0  # of their neurons, with the scope `neurons`


@dataclass
class Prepared:
    """A model ready for training: its parameters in groups, everything else frozen."""

    network: nn.Module
    groups: list[ParameterGroup]
    sizes: dict[str, int] = field(default_factory=dict)  # of what was added: lora_rank, bottleneck
    router: Router = field(default_factory=Router)  # of a network with blocks

    @property
    def routed(self) -> bool:
        return any(isinstance(module, BlockFFN) for module in self.network.modules())

    def trained(self) -> dict[str, nn.Parameter]:
        """All trained parameters by their names in the network."""
        return {name: parameter for group in self.groups for name, parameter in group.parameters.items()}


def prepare(method: str, network: nn.Module, **options: Any) -> Prepared:  # options: fields of `Options`
    """Make a frozen base ready for a method: build its blocks or adapters, choose and thaw what it trains."""
    if method not in METHODS or not METHODS[method].build:
        raise UserError(f"methods: {method!r} is not one of {', '.join(TRAINED)}")
    prepared = resolve_name(METHODS[method].build)(network, Options(**options))
    prepared.groups = [group for group in prepared.groups if group.parameters]
    for group in prepared.groups:
        for parameter in group.parameters.values():
            parameter.requires_grad_(True)
    return prepared


def count(groups: list[ParameterGroup]) -> int:
    """Number of trained parameters."""
    return sum(parameter.numel() for group in groups for parameter in group.parameters.values())


def full(network: nn.Module, _options: Options) -> Prepared:
    """Everything is trained."""
    return Prepared(network, [ParameterGroup("all", dict(network.named_parameters()))])


def lora(network: nn.Module, options: Options) -> Prepared:
    """Low-rank updates (PEFT)."""
    network = with_lora(network, options.lora)
    return Prepared(network, [added(network, "lora")], {"lora_rank": options.lora.rank})


def lora_matched(network: nn.Module, options: Options) -> Prepared:
    """LoRA on every linear map, of the rank whose parameters come nearest to those of `budget_layers` layers."""
    budget = adapters.layers_budget(network, options.budget_layers, options.scope, options.budget_share)
    per_rank = sum(part.in_features + part.out_features for part in linear_maps(network).values())
    rank = max(1, round(budget / per_rank))
    return lora(network, replace(options, lora=Lora(rank=rank, alpha=options.lora.alpha)))


def adapter(network: nn.Module, options: Options) -> Prepared:
    """A bottleneck behind every layer's FFN."""
    size = adapter_size(network, options)
    adapters.install(network, size)
    return Prepared(network, [added(network, "bottlenecks")], {"bottleneck": size})


def adapter_lora(network: nn.Module, options: Options) -> Prepared:
    """Low-rank updates, and bottlenecks of the largest width with which both stay within the adapter's parameters."""
    budget = adapters.n_parameters(network, adapter_size(network, options))
    network = with_lora(network, options.lora)
    low_rank = added(network, "lora")
    size = adapters.largest(network, budget - count([low_rank]))
    if size < 1:
        raise UserError(
            f"--lora-rank: {options.lora.rank} has {count([low_rank]):,} parameters, and adapter-lora as a whole gets "
            f"the adapter's {budget:,}, bottlenecks included; use a lower rank or a wider adapter (--bottleneck)"
        )
    adapters.install(network, size)
    sizes = {"lora_rank": options.lora.rank, "bottleneck": size}
    return Prepared(network, [low_rank, added(network, "bottlenecks")], sizes)


def adapter_size(network: nn.Module, options: Options) -> int:
    """Width of the method `adapter`: as given, else the largest within the budget."""
    if options.bottleneck:
        return options.bottleneck
    budget = adapters.layers_budget(network, options.budget_layers)
    size = adapters.largest(network, budget)
    if size < 1:
        raise UserError(f"--budget-layers: {budget:,} parameters are too few for a bottleneck in every layer")
    return size


def added(network: nn.Module, part: str) -> ParameterGroup:
    """All parameters of a part that was added to the base."""
    return ParameterGroup(part, {name: value for name, value in network.named_parameters() if MARKS[part] in name})


def linear_maps(network: nn.Module) -> dict[str, nn.Linear]:
    """Every linear map of every layer, by its name in the network."""
    layers = families.family_of(network).layers
    parts = families.layers_of(network).named_modules()
    return {f"{layers}.{name}": part for name, part in parts if isinstance(part, nn.Linear)}


def with_lora(network: nn.Module, lora: Lora) -> nn.Module:
    """The base with PEFT's LoRA, W + (alpha / rank) B A (Hu et al. 2022); its own parameters stay frozen.

    On the targets, or on every linear map of its layers. UserError for a target that is neither the name of a linear
    map nor, after a dot, its end.
    """
    from peft import LoraConfig, get_peft_model

    maps = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]
    if none := [target for target in lora.targets if not any(f".{name}".endswith(f".{target}") for name in maps)]:
        there = sorted({name.rpartition(".")[2] for name in linear_maps(network)})
        what = f"no linear map is called {', '.join(none)}; a layer has {', '.join(there)}"
        raise UserError(f"finetune.lora.targets: {what}")
    targets = list(lora.targets) or list(linear_maps(network))
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=targets, task_type="CAUSAL_LM")
    with warnings.catch_warnings():  # that merging changes a tied embedding too; an export unties it
        warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings=True`")
        return get_peft_model(network, config, autocast_adapter_dtype=False)


def routed_unshared(network: nn.Module, options: Options) -> Prepared:
    """Blocks as the masks say, without what the directions share."""
    return routed(network, replace(options, scope="neurons"))


def routed(network: nn.Module, options: Options) -> Prepared:
    """Blocks as the masks say, in groups by those of the directions in training that use them.

    What the directions share in a layer is trained by all of them, or by those that have chosen the layer: the output
    bias (scope `ffn`), attention and norms too (`layer`), or nothing (`neurons`).
    """
    router, trained_in = Router(), options.trained_in or frozenset(options.masks)
    installed = install(network, options.masks, router, options.routing, options.scope)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    shared: dict[frozenset[str] | None, dict[str, nn.Parameter]] = defaultdict(dict)
    blocks: dict[frozenset[str], dict[str, nn.Parameter]] = defaultdict(dict)
    gates: dict[str, dict[str, nn.Parameter]] = defaultdict(dict)
    for layer, ffn in installed.items():
        for block, group in zip(ffn.blocks, ffn.groups, strict=True):
            if users := group.trained_in & trained_in:
                blocks[users].update((names[id(p)], p) for p in block.parameters())
        for direction in sorted(trained_in & set(ffn.gates)):
            gates[direction].update((names[id(p)], p) for p in ffn.gates[direction].parameters())
        used = ffn.chosen_by & trained_in if ffn.untouched_in else None
        parts = [ffn.bias] if ffn.bias is not None and options.scope != "neurons" else []
        if options.scope == "layer":
            part = families.layers_of(network)[layer]
            inside = {id(p) for p in ffn.parameters()}
            untouched = {id(p) for switch in switches(part).values() for p in switch.untouched.parameters()}
            parts += [p for p in part.parameters() if id(p) not in inside | untouched]
        shared[used].update((names[id(p)], p) for p in parts)

    def named(what: str, directions: frozenset[str] | None) -> str:
        return what if directions is None else f"{what} of {', '.join(sorted(directions))}"

    groups = [
        *(ParameterGroup(named("shared", used), parts, used) for used, parts in shared.items()),
        *(ParameterGroup(named("blocks", used), parts, used) for used, parts in blocks.items()),
        *(ParameterGroup(f"gate of {name}", parts, frozenset([name]), decays=False) for name, parts in gates.items()),
    ]
    return Prepared(network, groups, router=router)
