"""What the first token of a text does to the choice of layers (eq. 1) and to the scores of neurons (eq. 3-4).

    python -m benchmarks.first_token --model HuggingFaceTB/SmolLM2-135M-Instruct --text corpora/ntrex

Many models have massive activations at the first token, `<bos>` or not (Sun et al. 2024). Measured, with the first
token and without it: the layers that equation 1 chooses, while the model reads English lines with their translations;
the neurons that vary most over the languages (their tenth in each layer), and how far these agree between two halves of
the text. Text: a folder of <code>.txt files whose line n is the same sentence. Lander counts the first token in
equations 3-4, not in equation 1 (docs/decisions.md).

Bound: 1.0 for agreement and overlap.
JSON: `layers` (reading -> chosen with, without), `delta_ratio` (the largest ratio of D with and without), `phi_share`
(the largest share of a layer's scores), `overlap` (of the specific tenth with and without), `halves` (with, without).
"""

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lander.detect import layers, samples
from lander.detect.estimators import summed_loss
from lander.detect.neurons import normalized
from lander.models import families, loading
from lander.models.tokens import Batch, Codec
from lander.shared import machine

K = 4  # layers to choose
Sums = np.ndarray  # (2, n_layer, p): with the first token, without it


def over_text(
    network: nn.Module, codec: Codec, text: list[str], read: Callable[[Batch, list[torch.Tensor]], None]
) -> tuple[Sums, np.ndarray]:
    """Sums over tokens of what `read` puts into its list for each layer, (batch, tokens, p), and the tokens of each.

    Padding has zeros.
    """
    total, tokens = np.zeros((2, *families.shape_of(network))), np.zeros(2)
    for batch in samples.batches(sorted(samples.monolingual(text, codec), key=len), codec, 8):
        values: list[torch.Tensor] = [torch.empty(0)] * total.shape[1]
        read(batch, values)
        total += [np.stack([one[:, start:].sum((0, 1)).double().numpy() for one in values]) for start in (0, 1)]
        tokens += [int(batch.attention_mask[:, start:].sum()) for start in (0, 1)]
    return total, tokens


def activations(network: nn.Module, codec: Codec, text: list[str]) -> Sums:
    """Mean h of every neuron."""

    def read(batch: Batch, values: list[torch.Tensor]) -> None:
        def keep(layer: int, h: torch.Tensor) -> None:
            values[layer] = h.float() * batch.attention_mask[..., None]

        with families.watched(network, "post", keep), torch.inference_mode():
            network.base_model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)

    sums, tokens = over_text(network, codec, text, read)
    return sums / tokens[:, None, None]


def scores(network: nn.Module, codec: Codec, text: list[str]) -> Sums:
    """Mean |g h| of every neuron, over all tokens: the sum without the first one too."""

    def read(batch: Batch, values: list[torch.Tensor]) -> None:
        def keep(layer: int, h: torch.Tensor) -> None:
            value = h.detach()
            h.register_hook(lambda g: values.__setitem__(layer, (g.float() * value.float()).abs()))

        with families.watched(network, "post", keep):
            summed_loss(network, batch).backward()

    sums, tokens = over_text(network, codec, text, read)
    return sums / tokens[0]


def most_varying(phi: np.ndarray) -> np.ndarray:
    """Of scores (language, n_layer, p): the tenth of each layer that varies most over the languages, bool."""
    varies = normalized(phi, "language_mean").var(axis=0)
    return varies.argsort(axis=1).argsort(axis=1) >= varies.shape[1] - max(1, varies.shape[1] // 10)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / one.sum())


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.first_token", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lander-tiny")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=32, help="of each half of the text")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    machine.prepare(args.threads)
    network, codec = loading.load(args.model, dtype="float32", prompt="plain")
    files = sorted(args.text.glob("??.txt"))
    text = {file.stem: file.read_text(encoding="utf-8").splitlines()[: 2 * args.sentences] for file in files}
    with torch.autocast("cpu", torch.bfloat16, enabled=machine.autocasts("auto")):
        pairs = {
            code: [f"{a}\n{b}" for a, b in zip(text["en"], lines, strict=True)][: args.sentences]
            for code, lines in text.items()
            if code != "en"
        }
        means = [activations(network, codec, lines) for lines in pairs.values()]
        halves = [
            np.stack([scores(network, codec, lines[half::2]) for lines in text.values()], axis=1) for half in (0, 1)
        ]  # (2, language, n_layer, p) each
    chosen, ratios = {}, []
    for difference in ("scalar", "distribution"):
        with_, without = (
            np.mean([layers.delta(one[place], difference, "upper") for one in means], axis=0) for place in (0, 1)
        )
        chosen[difference] = [np.flatnonzero(layers.top(one, min(K, len(one)))).tolist() for one in (with_, without)]
        ratios.append(np.nanmax(np.maximum(with_ / without, without / with_)))
    sets = [[most_varying(half[place]) for half in halves] for place in (0, 1)]
    whole = (halves[0] + halves[1]) / 2
    share = 1 - whole[1].mean(0).sum(1) / whole[0].mean(0).sum(1)
    found = {
        "layers": chosen,
        "delta_ratio": float(max(ratios)),
        "phi_share": float(share.max()),
        "overlap": overlap(*(most_varying(one) for one in whole)),
        "halves": [overlap(*both) for both in sets],
    }
    print(f"{args.model}: {len(text)} languages, 2 x {args.sentences} sentences; bound of overlaps: 1.0")
    for name, value in found.items():
        print(f"{name:<12}{value}")
    print(json.dumps({"benchmark": "first_token", "machine": platform.machine(), **found}))


if __name__ == "__main__":
    main()
