"""Mean activation of every FFN neuron of every layer, while the model reads one direction's translations.

Paper: section 3.1, A of equation 1. The first token of a text is left out. It sees itself alone, and many models have
massive activations there, which say nothing of the translation (docs/decisions.md).

Reads:  <run>/data/s<seed>/train/<direction>.parquet, the model
Writes: <run>/activations/s<seed>/<direction>.parquet   layer, neuron, mean, tokens

Example:
    python -m lander.detect.activations --model lander-tiny --data results/demo/data/s0/train/en-de.parquet \\
        --direction en-de --languages '{"en": "English", "de": "German"}' --out en-de.parquet
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lander.config.activations import Activations
from lander.data.templates import load_templates
from lander.detect import samples
from lander.models import families, loading
from lander.models.flags import add_model_flags, add_prompt_flags
from lander.models.tokens import Batch
from lander.shared import machine, tables
from lander.shared.errors import run_main
from lander.shared.languages import parse_direction
from lander.shared.section import add_flags


def mean_activations(network: nn.Module, batches: Iterator[Batch]) -> tuple[np.ndarray, int]:
    """Mean over tokens but the first, and over sentences, of h, the input of each FFN's output projection.

    Sums run in float64 over batches; within a batch they are one matrix product in float32.

    Returns:
        means: float64 (n_layer, p); tokens: how many the means are over.
    """
    device = network.get_input_embeddings().weight.device
    sums = torch.zeros(families.shape_of(network), dtype=torch.float64, device=device)
    mask: torch.Tensor | None = None  # float32 (batch * tokens), 1 for tokens that count, 0 for first ones and padding
    tokens = 0

    def add(layer: int, h: torch.Tensor) -> None:
        sums[layer] += mask @ h.reshape(-1, h.shape[-1]).float()

    with families.watched(network, "post", add), torch.inference_mode():
        for batch in batches:
            batch = batch.to(device)
            counted = batch.attention_mask.clone()
            counted[:, 0] = 0
            mask = counted.reshape(-1).float()
            network.base_model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
            tokens += int(mask.sum())
    return (sums / max(tokens, 1)).cpu().numpy(), tokens


def main() -> None:
    """Average the activations over one direction's training pairs, write the table."""
    parser = argparse.ArgumentParser(prog="lander.detect.activations", description=__doc__.splitlines()[0])
    add_model_flags(parser)
    parser.add_argument("--data", type=Path, required=True, help="the direction's training pairs")
    parser.add_argument("--direction", type=parse_direction, required=True)
    add_prompt_flags(parser)
    add_flags(parser, Activations)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    machine.prepare(args.threads)
    names = (args.languages[args.direction.source], args.languages[args.direction.target])
    pairs = tables.head(args.data, "train", args.sentences)
    network, codec = loading.load(args.model, args.revision, args.dtype, args.prompt)
    reference = args.text == "prompt_reference"
    read = samples.translations(pairs, codec, load_templates(args.templates), names, reference=reference)
    name = f"lander activations: {args.direction}"
    batches = samples.batches(sorted(read, key=len), codec, args.batch_size, name)
    means, tokens = mean_activations(network, batches)
    counts = np.full(means.shape, tokens, dtype=np.int64)
    tables.write(args.out, tables.by_neuron({"mean": means, "tokens": counts}), "activations")


if __name__ == "__main__":
    run_main(main, "activations")
