"""Mean activation of every FFN neuron of every layer, while the model reads one direction's translations.

Paper: section 3.1, A of equation 1.

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
import pandas as pd
import torch
from torch import nn

from lander.config.detect import Activations
from lander.data import chunks
from lander.data.templates import Template, load_templates
from lander.models import families, loading
from lander.models.flags import add_model_flags, add_prompt_flags
from lander.models.tokens import Batch, Codec
from lander.shared import machine, tables
from lander.shared.errors import run_main
from lander.shared.languages import Direction, parse_direction
from lander.shared.section import add_flags


def mean_activations(network: nn.Module, batches: Iterator[Batch]) -> tuple[np.ndarray, int]:
    """Mean over tokens and sentences of h, the input of each FFN's output projection.

    Sums run in float64 over batches; within a batch they are one matrix product in float32.

    Returns:
        means: float64 (n_layer, p); tokens: how many the means are over.
    """
    ffns = [families.ffn_of(network, layer) for layer in range(len(families.layers_of(network)))]
    sums = torch.zeros(len(ffns), ffns[0].n_neurons, dtype=torch.float64, device=ffns[0].down.weight.device)
    mask: torch.Tensor | None = None  # float32 (batch * tokens), 1 for tokens, 0 for padding

    def add(layer: int, h: torch.Tensor) -> None:
        sums[layer] += mask @ h.reshape(-1, h.shape[-1]).float()

    hooks = [
        ffn.down.register_forward_pre_hook(lambda _module, inputs, layer=layer: add(layer, inputs[0]))
        for layer, ffn in enumerate(ffns)
    ]
    tokens = 0
    try:
        with torch.inference_mode():
            for batch in batches:
                batch = batch.to(sums.device)
                mask = batch.attention_mask.reshape(-1).float()
                network.base_model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
                tokens += int(mask.sum())
    finally:
        for hook in hooks:
            hook.remove()
    return (sums / max(tokens, 1)).cpu().numpy(), tokens


def batches(
    pairs: pd.DataFrame,
    codec: Codec,
    templates: list[Template],
    names: tuple[str, str],
    text: str,
    batch_size: int,
) -> Iterator[Batch]:
    """Prompts, with their reference translation where `text` is `prompt_reference`, sorted by length."""
    sequences = []
    for row in pairs.itertuples():
        tokens = codec.prompt(templates[row.template].fill(row.source, *names))
        sequences.append(tokens + codec.target(row.target) if text == "prompt_reference" else tokens)
    sequences.sort(key=len)
    for start in range(0, len(sequences), batch_size):
        part = sequences[start : start + batch_size]
        yield codec.pad_right(part, [0] * len(part))


def parse_args() -> argparse.Namespace:
    """The flags of the command line."""
    parser = argparse.ArgumentParser(prog="lander.detect.activations", description=__doc__.splitlines()[0])
    add_model_flags(parser)
    parser.add_argument("--data", type=Path, required=True, help="the direction's training pairs")
    parser.add_argument("--direction", type=parse_direction, required=True)
    add_prompt_flags(parser)
    add_flags(parser, Activations)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    """Average the activations over one direction's training pairs, write the table."""
    args = parse_args()
    machine.prepare(args.threads)
    direction: Direction = args.direction
    names = (args.languages[direction.source], args.languages[direction.target])
    pairs = chunks.head(args.data, "train", args.sentences)
    network, codec = loading.load(args.model, args.revision, args.dtype, args.prompt)
    read = batches(pairs, codec, load_templates(args.templates), names, args.text, args.batch_size)
    means, tokens = mean_activations(network, read)
    counts = np.full(means.shape, tokens, dtype=np.int64)
    tables.write(args.out, tables.by_neuron({"mean": means, "tokens": counts}), "activations")


if __name__ == "__main__":
    run_main(main, "activations")
