"""What detection costs: the activation dump and the scoring pass over all layers, against a plain forward pass.

    python -m benchmarks.detection

Bounds: the dump reads every activation once more (no FLOPs to speak of), so 1.0 x forward; the scoring pass adds a
backward pass for activations only, of the same FLOPs as the forward pass, so 2.0 x. The three are interleaved, and
only ratios are to be believed: machines are noisy.
"""

import argparse
import json
import platform
import statistics
from collections.abc import Callable

import torch
from transformers import BloomConfig, BloomForCausalLM

from benchmarks._measuring import measure
from lander.activations import mean_activations
from lander.awareness.estimators import scores
from lander.codec import Batch


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.detection", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--layers", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config = BloomConfig(vocab_size=8000, hidden_size=args.width, n_layer=args.layers, n_head=8)
    model = BloomForCausalLM(config).eval().requires_grad_(False)
    ids = torch.randint(4, 8000, (8, 64))
    batch = Batch(ids, torch.ones_like(ids), ids)

    def forward() -> None:
        with torch.inference_mode():
            model(input_ids=ids, attention_mask=batch.attention_mask, use_cache=False)

    systems: dict[str, Callable[[], object]] = {
        "forward": forward,
        "activations": lambda: mean_activations(model, iter([batch])),
        "awareness": lambda: scores(model, iter([batch])),
    }
    seconds = measure(systems, args.rounds)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {name: value / medians["forward"] for name, value in medians.items()}
    print(f"BLOOM, width {args.width}, {args.layers} layers, batch 8 x 64, float32, {args.threads} thread(s)")
    print(f"{'system':<14}{'median s':>10}{'x forward':>11}{'bound':>8}")
    for name, bound in {"forward": 1.0, "activations": 1.0, "awareness": 2.0}.items():
        print(f"{name:<14}{medians[name]:>10.4f}{ratios[name]:>11.2f}{bound:>8.1f}")
    print(json.dumps({"benchmark": "detection", "machine": platform.machine(), "ratios": ratios, "seconds": medians}))


if __name__ == "__main__":
    main()
