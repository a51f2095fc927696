"""Awareness of one language of every FFN neuron of every layer: the first-order Taylor score.

Paper: section 3.2, equations 3 and 4, appendix A.2. Setting a neuron's activation h_i to zero changes the loss, to
first order, by |dL/dh_i * h_i|; Phi_i is the mean of it over tokens. L is the *summed* token loss, so that the score
of a token does not depend on how many tokens share its batch. The text is monolingual, the same sentences in every
language (section 5.4).

One forward and one backward pass score all neurons of all layers: parameters are frozen, so the backward pass
computes gradients of activations only, and |g * h| is summed the moment that g exists; nothing is kept per token.

Reads:  <run>/data/s<seed>/text/<language>.parquet, the model
Writes: <run>/awareness/s<seed>/<language>.parquet   layer, neuron, score, tokens

Example:
    python -m lander.awareness --model lander-tiny --text results/demo/data/s0/text/de.parquet --out de.parquet
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lander import families, machine, model, tables
from lander.codec import IGNORED, Batch, Codec
from lander.errors import run_main


def taylor_scores(network: nn.Module, batches: Iterator[Batch]) -> tuple[np.ndarray, int]:
    """Phi_i = mean over tokens of |dL/dh_i * h_i| (eq. 4), h_i the i-th input of the FFN's output projection.

    Padding stands behind the text and the model is causal: its gradient is exactly zero, and so is its score.

    Returns:
        scores: float64 (n_layer, p), nats; tokens: how many the means are over (those that predict a token).
    """
    ffns = [families.ffn_of(network, layer) for layer in range(len(families.layers_of(network)))]
    sums = torch.zeros(len(ffns), ffns[0].n_neurons, dtype=torch.float64, device=ffns[0].down.weight.device)

    def listen(layer: int, h: torch.Tensor) -> None:
        def add(gradient: torch.Tensor) -> None:
            score = at_least_float32(gradient * h.detach()).abs()
            sums[layer] += score.reshape(-1, score.shape[-1]).sum(0)  # float32 within a batch, float64 over batches

        h.register_hook(add)

    hooks = [
        ffn.down.register_forward_pre_hook(lambda _module, inputs, layer=layer: listen(layer, inputs[0]))
        for layer, ffn in enumerate(ffns)
    ]
    tokens = 0
    try:
        for batch in batches:
            batch = batch.to(sums.device)
            loss = summed_loss(network, batch)
            loss.backward()
            tokens += batch.predicted
    finally:
        for hook in hooks:
            hook.remove()
    return (sums / max(tokens, 1)).cpu().numpy(), tokens


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """bfloat16 is too coarse for sums."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def summed_loss(network: nn.Module, batch: Batch) -> torch.Tensor:
    """L, the sum of the token losses, with a graph from the embeddings on although all parameters are frozen."""
    embedded = network.get_input_embeddings()(batch.input_ids).detach().requires_grad_(True)
    output = network(inputs_embeds=embedded, attention_mask=batch.attention_mask, use_cache=False)
    logits = at_least_float32(output.logits[:, :-1])  # (batch, tokens - 1, vocabulary)
    return cross_entropy(logits.flatten(0, 1), batch.labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum")


def batches(sentences: list[str], codec: Codec, batch_size: int) -> Iterator[Batch]:
    """Sentences as the model met them in pretraining, sorted by length; the first token is not predicted."""
    sequences = sorted((codec.sentence(sentence) for sentence in sentences), key=len)
    for start in range(0, len(sequences), batch_size):
        part = sequences[start : start + batch_size]
        yield codec.pad_right(part, [0] * len(part))


def main() -> None:
    """Score all neurons on the sentences of one language, write the table."""
    parser = argparse.ArgumentParser(prog="lander.awareness", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="built-in name, local folder or hub id")
    parser.add_argument("--revision", default="", help="revision of a hub model")
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--text", type=Path, required=True, help="sentences of the language")
    parser.add_argument("--language", help="for the logs only")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--site", choices=["post"], default="post", help="h_i: after the nonlinearity")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    machine.prepare(args.threads)
    network, codec = model.load(args.model, args.revision, args.dtype)
    sentences = tables.read(args.text, "text")["text"].tolist()
    scores, tokens = taylor_scores(network, batches(sentences, codec, args.batch_size))
    counts = np.full(scores.shape, tokens, dtype=np.int64)
    tables.write(args.out, tables.by_neuron({"score": scores, "tokens": counts}), "awareness")


if __name__ == "__main__":
    run_main(main, "awareness")
