"""Bottleneck adapters, and how large an adapter is for a budget of parameters.

Behind the output projection of every layer's FFN, before the residual is added (Houlsby et al. 2019; once per layer, as
Pfeiffer et al. 2021):

    z = FFN(x)                          (..., d_model)
    z + up(gelu(down(z)))               down: (N, d_model) and up: (d_model, N), both with a bias

`up` starts at zero, so that the start is the base exactly. A bottleneck is a module of the FFN's that a hook on the
output projection calls: no module of the base changes its place or its name, whether PEFT has wrapped it or not.
"""

from torch import Tensor, nn
from torch.nn.functional import gelu

from lander.models import families
from lander.shared.errors import UserError

NAME = "bottleneck"  # of the module inside the FFN


class Bottleneck(nn.Module):
    """One layer's adapter: (..., d_model) -> the same shape, the input included.

    `like` is the weight of the FFN's output projection (d_model, p), for the width, the type and the device.
    """

    def __init__(self, size: int, like: Tensor):
        super().__init__()
        place = {"dtype": like.dtype, "device": like.device}
        self.down = nn.Linear(like.shape[0], size, **place)
        self.up = nn.Linear(size, like.shape[0], **place)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.requires_grad_(False)

    def forward(self, z: Tensor) -> Tensor:
        return z + self.up(gelu(self.down(z)))

    def hook(self, _projection: nn.Module, _inputs: tuple, z: Tensor) -> Tensor:
        """Forward hook of the output projection."""
        return self(z)


def install(network: nn.Module, size: int) -> nn.Module:
    """Give every layer a frozen bottleneck, in place. After PEFT, where both are used."""
    base = base_of(network)
    for layer in range(len(families.layers_of(base))):
        ffn = families.ffn_of(base, layer)
        bottleneck = Bottleneck(size, ffn.down.weight)
        ffn.module.add_module(NAME, bottleneck)
        ffn.down.register_forward_hook(bottleneck.hook)
    return network


def base_of(network: nn.Module) -> nn.Module:
    """The base inside PEFT's wrapper, or the network itself."""
    return network.get_base_model() if hasattr(network, "get_base_model") else network


def n_parameters(network: nn.Module, size: int) -> int:
    """Parameters of bottlenecks of a size in every layer: (2 d_model + 1) N + d_model each."""
    base = base_of(network)
    width = families.ffn_of(base, 0).down.weight.shape[0]
    return len(families.layers_of(base)) * ((2 * width + 1) * size + width)


def largest(network: nn.Module, budget: int) -> int:
    """The largest size with which all bottlenecks together have at most `budget` parameters; 0 where none has."""
    least, first = (n_parameters(network, size) for size in (0, 1))
    return max(0, (budget - least) // (first - least))


def layers_budget(network: nn.Module, layers: int | None, scope: str = "layer", share: float = 1.0) -> int:
    """Parameters of so many whole layers, of their FFNs (scope `ffn`), or of a share of the neurons (`neurons`).

    The layers of a model are alike.
    """
    n_layer = len(families.layers_of(network))
    if layers is None or not 1 <= layers <= n_layer:
        found = "missing" if layers is None else layers
        raise UserError(f"--budget-layers: {found}; the size is that of so many layers of the model, 1 to {n_layer}")
    one = families.layers_of(network)[0] if scope == "layer" else families.ffn_of(network, 0).module
    whole = sum(parameter.numel() for parameter in one.parameters())
    if scope != "neurons":
        return layers * whole
    shared = families.ffn_of(network, 0).down.bias
    return round(layers * share * (whole - (0 if shared is None else shared.numel())))
