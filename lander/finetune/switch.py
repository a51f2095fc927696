"""Layers that only some directions have chosen: the others run an untouched copy.

A layer is switched part by part (each projection, each norm, the FFN), not as a whole. So its own code, the cache,
hooks and gradient checkpointing work unchanged.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Router:
    """Which direction the model runs; None is the base's graph: all neurons, scale 1.

    `rows`: the direction of each row of a batch that mixes several; None where all rows have the same.
    """

    direction: str | None = None
    rows: Sequence[str | None] | None = None
    progress: float = 0.0  # of a training: the share of its updates that are done

    @contextmanager
    def mixed(self, rows: Sequence[str | None]) -> Iterator[None]:
        """In the block, each row of a batch runs its own direction."""
        before = self.direction, self.rows
        if len(set(rows)) > 1:
            self.rows = rows
        elif rows:
            self.direction, self.rows = rows[0], None
        try:
            yield
        finally:
            self.direction, self.rows = before

    @contextmanager
    def only(self, rows: torch.Tensor | list[int]) -> Iterator[None]:
        """In the block, a batch has only some of the rows, in this order."""
        if self.rows is None:
            yield
            return
        with self.mixed([self.rows[row] for row in torch.as_tensor(rows).tolist()]):
            yield


def no_rows(x: torch.Tensor) -> torch.Tensor:
    """(..., width) -> (0, width): the input of a module that is idle in this micro-batch, while training.

    ZeRO 2 and 3 count on a gradient for every trained parameter in every micro-batch, and ZeRO 3 on all ranks
    gathering the same parameters (frozen ones too) in one order. A module that is left out makes them wrong without
    an error (by 5.6e-2 and 1.4e-2, several learning rates), or hang. On no rows it costs nothing and its gradients
    are exact zeros: all stages then agree with a single process to 1.5e-8.

    With gradient checkpointing, an idle block must be scaled like one that runs: the recomputation stops behind the
    last tensor that was kept for the backward pass, and ranks that stop in different places wait for each other.
    """
    return x.reshape(-1, x.shape[-1])[:0]


class Switch(nn.Module):
    """A part of a layer that is trained, and an untouched one that runs in the directions of `untouched_in`.

    forward: that of the part, which must map rows one by one: (..., width) [, residual of the same shape].
    Text without a direction runs the trained part. While training both run, the trained one first, and the idle one
    on `no_rows`.
    """

    def __init__(self, trained: nn.Module, untouched: nn.Module, router: Router, untouched_in: set[str]):
        super().__init__()
        self.trained, self.untouched = trained, untouched.requires_grad_(False)
        self.router, self.untouched_in = router, untouched_in

    @property
    def is_off(self) -> bool:
        """Whether the untouched part runs in the current direction."""
        return self.router.direction in self.untouched_in

    def forward(self, *rows: torch.Tensor) -> torch.Tensor:
        if self.router.rows is not None:
            return self.split(*rows)
        if not self.training:
            return (self.untouched if self.is_off else self.trained)(*rows)
        none = [no_rows(value) for value in rows]
        trained = self.trained(*(none if self.is_off else rows))
        untouched = self.untouched(*(rows if self.is_off else none))
        return untouched + trained.sum() if self.is_off else trained + untouched.sum()

    def split(self, *rows: torch.Tensor) -> torch.Tensor:
        """The same for a batch of several directions, of which each row goes through its own part."""
        places: dict[bool, list[int]] = {False: [], True: []}
        for place, direction in enumerate(self.router.rows):
            places[direction in self.untouched_in].append(place)
        ran = []
        for part, own in ((self.trained, places[False]), (self.untouched, places[True])):
            if own or self.training:
                index = torch.tensor(own, dtype=torch.long, device=rows[0].device)
                with self.router.only(own):
                    ran.append(part(*(value[index] for value in rows)))
        order = torch.tensor(places[False] + places[True], device=rows[0].device)
        return torch.cat(ran)[order.argsort()]


def switch_layer(
    layer: nn.Module, ffn: str, dense: nn.Module, router: Router, untouched_in: set[str], scope: str
) -> None:
    """Put switches into a layer whose FFN, named `ffn`, has been cut into blocks, in place. `dense` is the base's.

    With the scope `ffn`, attention and norms are not trained and need no copy.
    """
    parts = {ffn: dense}
    if scope == "layer":
        for path, module in layer.named_modules():
            if path.partition(".")[0] != ffn and any(True for _ in module.parameters(recurse=False)):
                parts[path] = copy.deepcopy(module)
    for path, untouched in parts.items():
        parent, _, name = path.rpartition(".")
        switch = Switch(layer.get_submodule(path), untouched, router, untouched_in)
        setattr(layer.get_submodule(parent), name, switch)


def switches(network: nn.Module) -> dict[str, Switch]:
    """All switches of a model by their names."""
    return {path: module for path, module in network.named_modules() if isinstance(module, Switch)}
