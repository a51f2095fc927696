"""An FFN as a sum of blocks of neurons. Each direction runs its own blocks.

The nonlinearity acts neuron by neuron, so an FFN is the exact sum over any partition of its neurons:

    FFN(x) = sum_b down_b(act(up_b(x))) + bias          up_b: rows of `up`, down_b: columns of `down`

A block is the neurons of a layer that have one owner and, in each direction, the same role, scale and training: in the
paper, one general block (G below) and one specific block (S) per language. Each block has its own parameters; routing
means choosing which blocks run. Nothing is masked or multiplied by zero, and what must not move is not in the
optimizer. A batch may mix directions: each row then runs through its own blocks. If a layer is chosen for some
directions only, the others run the base's layer (`lander.finetune.switch`). A direction can also run single neurons as
the base has them (role `base`, see `routing.others`). Such neurons have a second, frozen block beside the one that
other directions train, so training these cannot change what it runs.

Paper: equations 7-9, FFN_G(c_G x) + FFN_S(c_S x), or c_G FFN_G(x) + c_S FFN_S(x) where the *output* is scaled.
"""

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import nn

from lander.config.masks import Routing
from lander.finetune.switch import Router, no_rows, switch_layer, switches
from lander.models import families
from lander.shared.errors import UserError
from lander.shared.languages import Direction, parse_direction
from lander.shared.tables import ABSENT, BASE, GENERAL, SOURCE, TARGET

Factor = float | torch.Tensor | None  # of a block; None where it does not run

# ------------------------------------------------------------ which neurons form a block


@dataclass(frozen=True)
class Group:
    """The neurons of one block of one layer, and what each direction does with them."""

    neurons: np.ndarray  # indices in the dense FFN
    owner: str | None  # several are joined by `+`
    routes: dict[str, tuple[str, float]]  # direction -> (role, scale); where it is absent it is left out
    trained_in: frozenset[str]  # directions whose batches train it
    copy: bool = False  # the base's neurons, beside another block of the same ones

    @property
    def owners(self) -> frozenset[str]:
        return frozenset(self.owner.split("+")) if self.owner else frozenset()


def partition(masks: dict[str, pd.DataFrame], layer: int, n_neurons: int) -> list[Group]:
    """The blocks of a layer: neurons with the same mask in every direction. Ordered by their first neuron.

    UserError if a mask does not name each neuron of the layer once, or says what cannot be done.
    """
    columns, whole = {}, set()  # whole: directions that run the base's layer
    for direction, mask in masks.items():
        rows, where = mask[mask["layer"] == layer].sort_values("neuron"), f"masks: {direction}, layer {layer}"
        if rows.empty:
            raise UserError(
                f"{where}: missing, though other directions have it; a layer that one direction has needs a row per "
                f"neuron in the mask of every direction (role {BASE} to leave it untouched)"
            )
        used = set(rows["role"])
        if unknown := sorted(used - {GENERAL, SOURCE, TARGET, ABSENT, BASE}):
            roles = f"{GENERAL}, {SOURCE}, {TARGET}, {ABSENT} or {BASE}"
            raise UserError(f"{where}: role {unknown[0]!r}; a role is {roles}")
        if rows.loc[rows["role"] == BASE, "trained"].any():
            raise UserError(f"{where}: role {BASE}, but trained; a neuron that runs as the base has it is not trained")
        if not np.array_equal(rows["neuron"], np.arange(n_neurons)):
            raise UserError(
                f"{where}: {len(rows)} rows, but the layer has {n_neurons} neurons and each needs one row; make the "
                "masks again for this model"
            )
        whole |= {direction} if used == {BASE} else set()
        for name in ("role", "owner", "trained", "scale"):
            columns[direction, name] = rows[name].to_numpy()
    groups = []
    for _, rows in pd.DataFrame(columns).groupby(list(columns), dropna=False, sort=False):
        neurons, row = rows.index.to_numpy().copy(), rows.iloc[0]
        routes = {name: (row[name, "role"], float(row[name, "scale"])) for name in masks}
        untouched = {name: (BASE, 1.0) for name, (role, _) in routes.items() if role == BASE and name not in whole}
        routes = {name: route for name, route in routes.items() if route[0] not in (ABSENT, BASE)}
        trained_in = frozenset(name for name in masks if row[name, "trained"])
        if trained_in and trained_in != frozenset(routes):
            raise UserError(
                f"masks: layer {layer}, neuron {neurons[0]} takes part in {', '.join(sorted(routes))} "
                f"but is trained in {', '.join(sorted(trained_in))}; train it wherever it takes part, or nowhere"
            )
        owner = next((row[name, "owner"] for name in masks if isinstance(row[name, "owner"], str)), None)
        if routes or not untouched:
            groups.append(Group(neurons, owner, routes, trained_in))
        if untouched:
            groups.append(Group(neurons, owner, untouched, frozenset(), copy=bool(routes)))
    return groups


# ------------------------------------------------------------ the modules


class Block(nn.Module):
    """Some neurons of an FFN, rows of its input projection(s) and columns of its output projection, without its bias.

    forward: (..., d_model) -> (..., d_model)
    """

    def __init__(self, ffn: families.FFN, neurons: np.ndarray):
        super().__init__()
        index = torch.as_tensor(neurons, device=ffn.down.weight.device)
        self.up = _rows(ffn.up, index)
        self.gate = _rows(ffn.gate, index) if ffn.gate is not None else None
        self.down = nn.Linear(len(neurons), ffn.down.out_features, bias=False, device="meta")
        self.down.weight = nn.Parameter(ffn.down.weight.detach()[:, index].clone(), requires_grad=False)
        self.act = ffn.act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.act(self.up(x)) if self.gate is None else self.act(self.gate(x)) * self.up(x)
        return self.down(h)


def _rows(linear: nn.Linear, index: torch.Tensor) -> nn.Linear:
    """A linear map to the outputs in `index`, with its own weights."""
    part = nn.Linear(linear.in_features, len(index), bias=linear.bias is not None, device="meta")
    part.weight = nn.Parameter(linear.weight.detach()[index].clone(), requires_grad=False)
    if linear.bias is not None:
        part.bias = nn.Parameter(linear.bias.detach()[index].clone(), requires_grad=False)
    return part


class Gate(nn.Module):
    """What one direction adds to the general group's scale and subtracts from the specific group's; starts at zero.

    The paper's "model decides and learns what proportion" (3.3), starting from the constant of equation 6.
    """

    def __init__(self, like: torch.Tensor):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1, dtype=like.dtype, device=like.device), requires_grad=False)

    def forward(self, _x: torch.Tensor | None) -> torch.Tensor:
        return self.shift * 1  # (1,); a new tensor: the parameter may be gathered for this call only (ZeRO-3)


class TokenGate(nn.Linear):
    """The same for each token: the specific group runs at 2 g of its scale, the general one at 2 - 2 g.

    g = sigmoid(w x + b) is between 0 and 1, and 1/2 at the start. While training, noise on w x + b grows with the
    updates from nothing to `noise`, so a gate that matters leaves the middle (Zhang et al. 2021).
    """

    def __init__(self, like: torch.Tensor, router: Router, noise: float):
        super().__init__(like.shape[0], 1, device="meta")
        self.router, self.noise = router, noise
        for name, shape in (("weight", (1, like.shape[0])), ("bias", (1,))):
            setattr(self, name, nn.Parameter(torch.zeros(shape, dtype=like.dtype, device=like.device), False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., d_model) -> (..., 1): 1 - 2 g."""
        logit = super().forward(x)
        if self.training and (noise := self.noise * self.router.progress):
            logit = logit + noise * torch.randn_like(logit)
        return 1 - 2 * logit.sigmoid()


class BlockFFN(nn.Module):
    """An FFN stored as blocks. It replaces the family's own module and is called the same way.

    forward: (batch, tokens, d_model) [, residual of the same shape] -> the same shape.

    Of `routing` it uses `scale`, which part is scaled, and `gate`, by which each direction has a `Gate`, a `TokenGate`
    with its `noise`, or none.
    """

    def __init__(self, ffn: families.FFN, layer: int, masks: dict[str, pd.DataFrame], router: Router, routing: Routing):
        super().__init__()
        self.router, self.routing, self.groups = router, routing, partition(masks, layer, ffn.n_neurons)
        roles = {name: set(mask["role"][mask["layer"] == layer]) for name, mask in masks.items()}
        self.untouched_in = {name for name, found in roles.items() if found == {BASE}}  # these run the base's layer
        self.masked = frozenset(masks)
        self.chosen_by = self.masked - self.untouched_in
        self.directions = set(masks)  # `add_direction` adds to them, and to `untouched_in`
        self.blocks = nn.ModuleList(Block(ffn, group.neurons) for group in self.groups)
        bias = ffn.down.bias
        self.bias = nn.Parameter(bias.detach().clone(), requires_grad=False) if bias is not None else None
        gate = {"learned": Gate, "token": partial(TokenGate, router=router, noise=routing.noise)}.get(routing.gate)
        gated = [name for name in masks if name in self.chosen_by] if gate else []
        self.gates = nn.ModuleDict({name: gate(ffn.down.weight) for name in gated})
        self.gates_of = {name: [name] for name in gated}  # direction -> gates, of which it runs the mean

    def scales(self, shifts: dict[str, torch.Tensor], direction: str | None) -> list[Factor]:
        """The mask's factor of each block in a direction, shifted by its gate; None where it is absent.

        Text without a direction, or of a direction without a mask, runs the base's graph: all blocks, factor 1.
        """
        if direction not in self.directions:
            return [None if group.copy else 1.0 for group in self.groups]
        shift = shifts.get(direction, 0.0)
        factors = []
        for group in self.groups:
            role, scale = group.routes.get(direction, (ABSENT, 0.0))
            moved = {GENERAL: shift, BASE: 0.0}.get(role, -shift)
            moved = moved * scale if self.routing.gate == "token" else moved
            factors.append(None if role == ABSENT else scale + moved)
        return factors

    def shifts(self, x: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """The shift of each direction of the batch, (1,) or one per token; while training of all: see `forward`."""
        now = dict.fromkeys(self.router.rows or [self.router.direction])
        if self.training and x is not None:
            return {name: gate(x if name in now else no_rows(x)) for name, gate in self.gates.items()}
        found = {}
        for direction in now:
            if used := [self.gates[name](x) for name in self.gates_of.get(direction, ())]:
                found[direction] = sum(used) / len(used)
        return found

    def routes(self, shifts: dict[str, torch.Tensor], x: torch.Tensor) -> Iterator[tuple[torch.Tensor | None, Factor]]:
        """Of each block, the rows of x that run it (None: all) and its factor: one, or (rows, 1, 1) where rows differ,
        or (rows, tokens, 1) where tokens do.

        No row runs a block whose factor is None.
        """
        if self.router.rows is None or not len(x):
            yield from ((None, scale) for scale in self.scales(shifts, self.router.direction))
            return
        kinds = list(dict.fromkeys(self.router.rows))
        kind_of = torch.tensor([kinds.index(direction) for direction in self.router.rows], device=x.device)
        for scales in zip(*(self.scales(shifts, direction) for direction in kinds), strict=True):
            used = {scale for scale in scales if scale is not None}
            rows = None
            if used and any(scale is None for scale in scales):
                runs = torch.tensor([scale is not None for scale in scales], device=x.device)
                rows = runs[kind_of].nonzero()[:, 0]
            by_token = any(isinstance(scale, torch.Tensor) and scale.dim() > 1 for scale in used)
            if len(used) < 2 and not by_token:
                yield rows, next(iter(used), None)
                continue
            wide = {"dtype": torch.promote_types(x.dtype, torch.float32), "device": x.device}
            shape = (*x.shape[:-1], 1) if by_token else (1, 1)
            each = torch.stack([torch.as_tensor(0.0 if one is None else one, **wide).expand(shape) for one in scales])
            own = each[kind_of, torch.arange(len(x), device=x.device)] if by_token else each[kind_of]
            yield rows, own if rows is None else own[rows]

    def add_direction(self, direction: Direction) -> None:
        """Route a direction that was not trained: the general blocks and those that its two languages own.

        Neurons of other languages are absent, or the base's if a trained direction has them so. A block's scale is the
        mean of its scales in the trained directions; a block that none of them runs gets the mean of the other owned
        blocks. Its shift is that of `borrow_gates`. If an ablation removed owned blocks, they stay removed for the new
        direction. A layer that only some trained directions have chosen runs untouched unless one of these has one of
        the two languages.

        UserError for a language that owns no neuron of the layer and is in no trained direction.
        """
        codes, name = set(astuple(direction)), str(direction)
        languages = {trained: set(astuple(parse_direction(trained))) for trained in self.masked}
        known = set().union(*languages.values(), *(group.owners for group in self.groups))
        for code in astuple(direction):
            if code not in known:
                raise UserError(f"{direction}: the model knows {', '.join(sorted(known))}, not {code}")
        self.directions.add(name)
        if self.untouched_in and not any(codes & languages[chooser] for chooser in self.chosen_by):
            self.untouched_in.add(name)
            return
        routes = [[route for by, route in group.routes.items() if by in self.chosen_by] for group in self.groups]
        owned = [scale for part in routes for role, scale in part if role in (SOURCE, TARGET)]
        read = set().union(*(languages[chooser] for chooser in self.chosen_by))
        left_out = not owned and any(group.owners & read for group in self.groups)
        for group, part, beside in zip(self.groups, routes, [None, *self.groups], strict=False):
            if any(role == GENERAL for role, _ in part):
                role = GENERAL
            elif group.copy and (name in beside.routes or (group.owners & codes and left_out)):
                continue
            elif any(role == BASE for role, _ in part):
                role = BASE
            elif group.owners & codes and not left_out:
                role = SOURCE if direction.source in group.owners else TARGET
            else:
                continue
            group.routes[name] = (role, float(np.mean([scale for _, scale in part] or owned or [1.0])))

    def borrow_gates(self, direction: Direction, trained: Iterable[Direction]) -> None:
        """Shift a direction that was not trained by the mean of the trained directions that have one of its languages,
        or of all if none has."""
        learned = [one for one in trained if str(one) in self.gates]
        near = [one for one in learned if set(astuple(one)) & set(astuple(direction))]
        self.gates_of[str(direction)] = [str(one) for one in near or learned]

    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """The routed FFN. While training every gate and block runs in its place, the idle ones on `no_rows`.

        An idle block is scaled like one that runs, for the recomputation of activations (see `no_rows`).
        """
        out = torch.zeros_like(x) if self.bias is None else self.bias.expand_as(x)
        shifts = self.shifts(x)
        idle = no_rows(next(iter(shifts.values()))) if shifts else 1.0
        for block, group, (rows, scale) in zip(self.blocks, self.groups, self.routes(shifts, x), strict=True):
            if scale is None:
                if self.training and group.routes:
                    out = out + self.scaled(block, no_rows(x), idle).sum()
            elif rows is None:
                out = out + self.scaled(block, x, scale).to(out.dtype)
            else:
                out = out.index_add(0, rows, self.scaled(block, x[rows], scale).to(out.dtype))
        if self.training:
            out = out + sum(shift.sum() * 0 for shift in shifts.values())
        return out if residual is None else residual + out

    def scaled(self, block: Block, x: torch.Tensor, scale: Factor) -> torch.Tensor:
        """A block's part of the output, its input or its output scaled."""
        if isinstance(scale, float) and scale == 1.0:
            return block(x)
        return block((x * scale).to(x.dtype)) if self.routing.scale == "input" else block(x) * scale


# ------------------------------------------------------------ into a network, and out of it


def install(
    network: nn.Module, masks: dict[str, pd.DataFrame], router: Router, routing: Routing, scope: str = "layer"
) -> dict[int, BlockFFN]:
    """Cut the FFN of every chosen layer into blocks, in place. Weights are the base's, all frozen.

    A layer is chosen if it is not the base's in every direction. If it has the role `base` in some direction, an
    untouched copy is kept beside it, with the scope `ffn` of its FFN alone. Returns layer -> its BlockFFN.
    """
    family, layers = families.family_of(network), families.layers_of(network)
    chosen = {int(layer) for mask in masks.values() for layer in mask.loc[mask["role"] != BASE, "layer"].unique()}
    for layer in sorted(chosen):
        if not 0 <= layer < len(layers):
            raise UserError(f"masks: layer {layer}: the model has layers 0 to {len(layers) - 1}; make the masks again")
        ffn = families.ffn_of(network, layer)
        routed = BlockFFN(ffn, layer, masks, router, routing)
        setattr(layers[layer], family.ffn, routed)
        if routed.untouched_in:
            switch_layer(layers[layer], family.ffn, ffn.module, router, routed.untouched_in, scope)
    return installed(network)


def installed(network: nn.Module) -> dict[int, BlockFFN]:
    """Layer -> its BlockFFN, of a network with blocks; empty for any other."""
    if not any(isinstance(part, BlockFFN) for part in network.modules()):
        return {}
    parts = ((depth, part) for depth, layer in enumerate(families.layers_of(network)) for part in layer.modules())
    return {depth: part for depth, part in parts if isinstance(part, BlockFFN)}


def fold(network: nn.Module, plain: nn.Module) -> None:
    """Write the weights of a model with blocks over those of `plain`, a model of the base, for the current direction.

    Exact: an absent neuron is zeros, a group's factor goes into its rows or columns. A layer that the direction has
    not chosen stays as it is.
    """
    ffns = installed(network)
    inside = {id(p) for ffn in ffns.values() for p in ffn.parameters()}
    outside = {name: value for name, value in network.named_parameters() if id(value) not in inside}
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            if name in outside:
                parameter.copy_(outside[name])
        for path, switch in switches(network).items():
            if not switch.is_off and not isinstance(switch.trained, BlockFFN):
                plain.get_submodule(path).load_state_dict(switch.trained.state_dict())
        for layer, ffn in ffns.items():
            if ffn.router.direction in ffn.untouched_in:
                continue
            dense, scales = families.ffn_of(plain, layer), ffn.scales(ffn.shifts(), ffn.router.direction)
            for parameter in dense.module.parameters():
                parameter.zero_()
            for block, group, scale in zip(ffn.blocks, ffn.groups, scales, strict=True):
                if scale is None:
                    continue
                neurons = torch.as_tensor(group.neurons, device=dense.down.weight.device)
                on_input, on_output = (scale, 1.0) if ffn.routing.scale == "input" else (1.0, scale)
                for whole, part in ((dense.up, block.up), (dense.gate, block.gate)):
                    if whole is not None:
                        whole.weight[neurons] = part.weight * on_input  # c * (W x) + b: the bias is not scaled
                        if whole.bias is not None:
                            whole.bias[neurons] = part.bias
                dense.down.weight[:, neurons] = block.down.weight * on_output
            if ffn.bias is not None:
                dense.down.bias.copy_(ffn.bias)
