"""What the activation pass costs, compared with a plain forward pass over the same tokens.

    python -m benchmarks.activations
    python -m benchmarks.activations --geometry gemma270

Measured: `lander.detect.activations.mean_activations`, hooks included, in turns with the forward pass. The ratio is the
median over rounds.

Bound: the ratio of the arithmetic. The pass adds the product of a row of ones with the activations of each layer
(2 operations per token and neuron, where the FFN's matrices take 4 d_model) and skips the output head. Peers: none.
JSON: `vs_forward`, `bound`, `seconds`, `flops`.
"""

import argparse
import math

from benchmarks import _detection as detection
from benchmarks._geometry import parse
from benchmarks._measuring import ratio
from lander.models import families


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.activations", description=__doc__.splitlines()[0])
    detection.add_flags(parser)
    args = parse(parser)
    made = detection.make(args)
    seconds = made.measured({"activations": made.activations}, args.rounds)
    sums = 2 * made.batch.input_ids.numel() * math.prod(families.shape_of(made.network))
    flops = {"forward": made.flops["forward"], "activations": made.flops["forward"] - made.flops["head"] + sums}
    bound = flops["activations"] / flops["forward"]
    made.show("activations", seconds, flops, vs_forward=ratio(seconds["activations"], seconds["forward"]), bound=bound)


if __name__ == "__main__":
    main()
