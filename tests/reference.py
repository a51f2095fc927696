"""What a training must come to, reckoned another way: plain torch, one process, no part of the engine.

Each language's neurons are parameters of their own, which a direction uses or does not. Of those that no micro-batch
of a window has used autograd leaves the gradient `None`, and torch's own AdamW and clipping then pass over them.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from lander.models.tokens import Batch

Tensors = dict[str, torch.Tensor]
Owners = tuple[str | None, ...]  # neuron i is owned by owners[i % len]
Windows = list[list[tuple[str, Batch]]]  # of each update: the direction and batch of each micro-batch
LAYER = "transformer.h.1"


class MaskedFFN(nn.Module):
    """BLOOM's FFN with its neurons by owner, scaled as `toys.mask` says: .8 for those of nobody, .2 for the owned."""

    def __init__(self, ffn: nn.Module, directions: list[str], owners: Owners):
        super().__init__()
        self.direction, self.act, self.bias = "", ffn.gelu_impl, nn.Parameter(ffn.dense_4h_to_h.bias.detach())
        up, down = ffn.dense_h_to_4h, ffn.dense_4h_to_h.weight
        self.gates = nn.ParameterDict({name: nn.Parameter(down.new_zeros(1)) for name in directions})
        self.owners = list(dict.fromkeys(owners))
        self.blocks = nn.ModuleList()
        for owner in self.owners:
            rows = [i for i in range(len(down.T)) if owners[i % len(owners)] == owner]
            parts = {"up_weight": up.weight[rows], "up_bias": up.bias[rows], "down_weight": down[:, rows]}
            self.blocks.append(nn.ParameterDict({name: nn.Parameter(part.detach()) for name, part in parts.items()}))

    def forward(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        shift, out = self.gates[self.direction], residual + self.bias
        for owner, part in zip(self.owners, self.blocks, strict=True):
            if owner is None or owner in self.direction.split("-"):
                scale = 0.8 + shift if owner is None else 0.2 - shift
                out = out + self.act(x @ part["up_weight"].T + part["up_bias"]) * scale @ part["down_weight"].T
        return out


@dataclass(frozen=True)
class Update:
    """The state after an update, by the engine's names; of the window, the gradient's norm and the losses."""

    weights: Tensors
    exp_avg: Tensors
    exp_avg_sq: Tensors
    norm: float
    losses: list[float]  # of the micro-batches, nats per token


def train(
    network: nn.Module, owners: Owners, windows: Windows, *, rate: float, decay: float, clip: float, scope: str
) -> list[Update]:
    """Train layer 1, the learning rate falling linearly to zero.

    Args:
        clip: norm of the gradient; 0 does not clip.
        scope: `layer`, or `ffn` without attention and norms.
    """
    layer = network.requires_grad_(False).get_submodule(LAYER)
    layer.mlp = MaskedFFN(layer.mlp, sorted({direction for window in windows for direction, _ in window}), owners)
    moving = [(name, value) for name, value in layer.named_parameters() if scope == "layer" or "mlp" in name]
    trained = {engine_name(name): value for name, value in moving}
    gates = [value.requires_grad_() for name, value in trained.items() if ".gates." in name]
    others = [value.requires_grad_() for name, value in trained.items() if ".gates." not in name]
    optimizer = torch.optim.AdamW([{"params": others, "weight_decay": decay}, {"params": gates, "weight_decay": 0.0}])
    updates = []
    for number, window in enumerate(windows):
        optimizer.zero_grad()
        losses = []
        for layer.mlp.direction, batch in window:
            output = network(batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels)
            (output.loss / len(window)).backward()
            losses.append(output.loss.item())
        norm = clip_grad_norm_(trained.values(), clip or torch.inf).item()
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - number / len(windows))
        optimizer.step()
        state = {name: optimizer.state[value] for name, value in trained.items()}
        moments = [{name: of[key].clone() for name, of in state.items() if of} for key in ("exp_avg", "exp_avg_sq")]
        weights = {name: value.detach().clone() for name, value in trained.items()}
        updates.append(Update(weights, *moments, norm, losses))
    return updates


def engine_name(name: str) -> str:
    """What the engine calls a parameter of the layer."""
    name = name.replace("up_", "up.").replace("down_", "down.") if ".blocks." in name else name
    return f"{LAYER}.{name}.shift" if ".gates." in name else f"{LAYER}.{name}"
