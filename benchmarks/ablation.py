"""How well the Taylor score approximates an ablation: the exact change of the loss when a neuron is set to zero.

    python -m benchmarks.ablation

Measured per layer and language, on the built-in base and corpus: the rank correlation (Spearman, over the neurons of
the layer) of the Taylor score, the mean over tokens of |g h|, with two exact changes:

- tokens: mean over tokens of |change of the token's loss|.
- sum: |change of the summed loss|. Tokens that gain cancel tokens that lose, which the Taylor score does not see. The
  score `summed`, |sum over tokens of g h|, does see it; `summed` is its correlation with this change.

Bound, set by us: a median of at least 0.95 for `tokens`. Peers: none.
JSON: `medians`, `rows`.
"""

import argparse
import json
import platform
import statistics
import time

import numpy as np
import pandas as pd

from lander.data import cldr
from lander.detect import estimators, samples
from lander.models import families, loading
from lander.shared import machine

COLUMNS = {
    "tokens": "taylor, change of tokens",
    "sum": "taylor, change of sum",
    "summed": "summed, change of sum",
}


def correlations(network, codec, sentences: list[str], neurons: list[np.ndarray]) -> pd.DataFrame:
    """One language: layer, and the rank correlations over its neurons."""
    read = sorted(samples.monolingual(sentences, codec), key=len)

    def batches():
        return samples.batches(read, codec, 16)

    absolute, signed = estimators.ablate(network, batches(), neurons)
    changes = {"tokens": absolute.scores(), "sum": signed.scores()}
    scored = {name: estimators.sum_scores(network, batches(), name).scores() for name in ("taylor", "summed")}
    rows = []
    for layer, chosen in enumerate(neurons):
        row = {name: _spearman(scored["taylor"][layer, chosen], of[layer, chosen]) for name, of in changes.items()}
        summed = _spearman(scored["summed"][layer, chosen], changes["sum"][layer, chosen])
        rows.append({"layer": layer, **row, "summed": summed})
    return pd.DataFrame(rows)


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(pd.Series(one).rank(), pd.Series(other).rank())[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.ablation", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lander-tiny", help="built-in name, local folder or hub id")
    parser.add_argument("--languages", nargs="+", default=["en", "de", "it", "fr", "ar", "zh"])
    parser.add_argument("--sentences", type=int, default=16)
    parser.add_argument("--neurons", type=int, default=128, help="of each layer, drawn; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    machine.prepare(args.threads)
    network, codec = loading.load(args.model, dtype="float32")
    neurons = estimators.choose(families.shape_of(network), args.neurons or None, args.seed)
    text = cldr.lines(args.languages, 0, args.sentences)
    began = time.perf_counter()
    tables = {language: correlations(network, codec, text[language], neurons) for language in args.languages}
    seconds = time.perf_counter() - began
    table = pd.concat([rows.assign(language=language) for language, rows in tables.items()], ignore_index=True)
    print(f"{args.model}, {args.sentences} sentences a language, {len(neurons[0])} neurons a layer, {seconds:.0f} s")
    print(f"{'language':<10}{'layer':>6}" + "".join(f"{title:>27}" for title in COLUMNS.values()))
    for row in table.itertuples():
        print(f"{row.language:<10}{row.layer:>6}" + "".join(f"{getattr(row, name):>27.3f}" for name in COLUMNS))
    medians = {name: statistics.median(table[name]) for name in COLUMNS}
    print(f"{'median':<16}" + "".join(f"{value:>27.3f}" for value in medians.values()))
    rows = table.to_dict("records")
    print(json.dumps({"benchmark": "ablation", "machine": platform.machine(), "medians": medians, "rows": rows}))


if __name__ == "__main__":
    main()
