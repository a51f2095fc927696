"""What it costs to score all neurons: one pass over all layers, compared with a forward pass and with captum.

    pip install -e .[bench]
    python -m benchmarks.awareness
    python -m benchmarks.awareness --geometry gemma270

Measured: `awareness` is `lander.detect.estimators.sum_scores` (Taylor). Peers: captum's LayerGradientXActivation
on the same loss, `captum-layer` one layer at a time and `captum-all` with all layers in one call, which keeps all
activations in memory. Their attributions, as absolute values summed over tokens, must equal our scores. Without captum
its rows are left out, and with --no-captum, since it keeps the logits of all tokens. All systems take turns; ratios are
medians over rounds. `peak_gb` is the peak of a process of its own that makes one pass, above its imports.

Bound: 2.0 forward passes. The backward pass computes gradients of activations only, which takes the operations of one
more forward pass. (The gradients go down to the embeddings; only the query, key and value maps of layer 0 could be
skipped.) Of the peak: the weights.
JSON: `vs_forward`, `bound`, `peak_gb`, `peak_bound_gb`, `seconds`, `flops`; with captum also vs_captum and
vs_captum_all.
"""

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks import _detection as detection
from benchmarks._geometry import parse
from benchmarks._measuring import ratio
from benchmarks.memory import peak_of
from lander.detect.estimators import sum_scores
from lander.models import families
from lander.models.tokens import Batch


class Loss(nn.Module):
    """The summed loss of the tokens as a model that captum can attribute: its layers are reached from the ids."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        embedded = self.network.get_input_embeddings()(ids).detach().requires_grad_(True)  # all weights are frozen
        logits = self.network(inputs_embeds=embedded, attention_mask=mask, use_cache=False).logits
        return cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="sum")[None]


def captum_scores(network: nn.Module, batch: Batch, at_once: bool) -> torch.Tensor:
    """Mean over predicting tokens of |g h|, (n_layer, p), by captum."""
    from captum.attr import LayerGradientXActivation

    downs = [families.ffn_of(network, layer).down for layer in range(len(families.layers_of(network)))]
    model, inputs = Loss(network), {"inputs": batch.input_ids, "additional_forward_args": (batch.attention_mask,)}
    groups: list[list[nn.Module]] = [downs] if at_once else [[down] for down in downs]
    means = []
    for group in groups:
        found = LayerGradientXActivation(model, group).attribute(**inputs, attribute_to_layer_input=True)
        means += [(of[0] if isinstance(of, tuple) else of).detach().abs().flatten(0, 1).sum(0) for of in found]
    return torch.stack(means) / batch.predicted


def systems(made: detection.Detection, captum: bool) -> dict[str, Callable[[], object]]:
    """Name -> a pass over all layers."""
    found: dict[str, Callable[[], object]] = {"awareness": made.awareness}
    if not captum:
        return found
    if importlib.util.find_spec("captum") is None:
        print("captum is not installed and left out: pip install -e .[bench]", file=sys.stderr)
        return found
    check(made)
    for name, at_once in {"captum-all": True, "captum-layer": False}.items():
        found[name] = lambda at_once=at_once: captum_scores(made.network, made.batch, at_once)
    return found


def check(made: detection.Detection) -> None:
    """Captum's scores are ours: both sides do the same work."""
    ours = torch.from_numpy(sum_scores(made.network, iter([made.batch])).scores())
    torch.testing.assert_close(captum_scores(made.network, made.batch, True).double().cpu(), ours, rtol=1e-2, atol=1e-7)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.awareness", description=__doc__.splitlines()[0])
    detection.add_flags(parser)
    parser.add_argument("--captum", action=argparse.BooleanOptionalAction, default=True, help="measure captum too")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parse(parser)
    if args.one:
        print(peak_of(lambda: detection.make(args).awareness()))
        return
    command = [sys.executable, "-m", "benchmarks.awareness", *sys.argv[1:], "--one"]
    peak = int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])
    made = detection.make(args)
    seconds = made.measured(systems(made, args.captum), args.rounds)
    forward = made.flops["forward"]
    flops = {"forward": forward, "awareness": 2 * forward, "captum-all": 2 * forward}
    flops["captum-layer"] = layer_by_layer(made)
    figures = {"vs_forward": ratio(seconds["awareness"], seconds["forward"]), **against(seconds), "bound": 2.0}
    figures |= {"peak_gb": peak / 1e9, "peak_bound_gb": made.network.get_memory_footprint() / 1e9}
    made.show("awareness", seconds, flops, **figures)


PEERS = {"captum": "captum-layer", "captum_all": "captum-all"}  # JSON key -> system: captum takes a layer, or a list


def against(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Our time in those of the peers that were measured."""
    return {f"vs_{key}": ratio(seconds["awareness"], seconds[name]) for key, name in PEERS.items() if name in seconds}


def layer_by_layer(made: detection.Detection) -> int:
    """A forward pass per layer, and a backward pass from the loss down to it."""
    layers = len(families.layers_of(made.network))
    forward, head = made.flops["forward"], made.flops["head"]
    return sum(forward + head + (forward - head) * (layers - layer) // layers for layer in range(layers))


if __name__ == "__main__":
    main()
