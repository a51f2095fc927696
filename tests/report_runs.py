"""Made-up runs of any shape, for the tests of the report."""

import json

import numpy as np
import pandas as pd

from lander import tables
from lander.evaluate.collect import COLUMNS, means, write_scores

TEN = ["en-de", "de-en", "en-it", "it-en", "en-fr", "fr-en", "en-ar", "ar-en", "en-zh", "zh-en"]
METHODS = {
    ("zero-shot", "main"): 3.0,
    ("zero-shot", "best-prompt"): 14.0,
    ("full", "main"): 41.0,
    ("lora", "main"): 39.0,
    ("landermt", "main"): 42.5,
}
METRICS = {"bleu": 1, "chrf2++": 1.3, "bleu_raw": 0.8, "length_ratio": 0.02, "empty": 0.0005, "contaminated": 0.002}


def make_scores(path, directions, methods=METHODS, seeds=("0",), tests=("cldr",)):
    random = np.random.default_rng(0)
    rows = []
    for (method, variant), level in methods.items():
        for seed in seeds:
            for test in tests:
                for direction in directions:
                    value = level * random.uniform(0.7, 1.3)
                    tokenizer = "zh" if direction.endswith("-zh") else "13a"
                    for metric, factor in METRICS.items():
                        signature = f"nrefs:1|case:mixed|eff:no|tok:{tokenizer}|smooth:exp|version:2.6.0"
                        score = f"{value * factor:.6f}"
                        key = (method, variant, seed, test, direction, metric, score, signature)
                        rows.append(dict(zip(COLUMNS, key, strict=True)))
    write_scores(path, rows + means(rows))


def make_layers(path, directions, n_layer, chosen):
    """`chosen`: the same layers for all directions, or one list for each."""
    random = np.random.default_rng(1)
    rows = []
    for place, direction in enumerate(directions):
        own = chosen[place] if isinstance(chosen[0], list) else chosen
        for layer in range(n_layer):
            level = 0.02 * np.sin(layer / 3) + random.normal(0, 0.002)
            delta = None if layer == 0 else abs(random.normal(0.004, 0.002)) + 0.01 * (layer in own)
            rows.append((direction, layer, level, delta, layer in own))
    columns = ["direction", "layer", "activation", "delta", "selected"]
    tables.write(path, pd.DataFrame(rows, columns=columns), "layers")


def make_neurons(folder, languages, n_layer, p=40):
    """Awareness tables and the neurons table. Returns the flags that name them."""
    random = np.random.default_rng(2)
    grid = pd.MultiIndex.from_product([range(n_layer), range(p)], names=["layer", "neuron"]).to_frame(index=False)
    for language in languages:
        score = random.gamma(2, 1e-4, len(grid)) * (1 + grid["layer"] / n_layer)
        tables.write(folder / f"{language}.parquet", grid.assign(score=score, tokens=1000), "awareness")
    specific = random.random(len(grid)) < 0.1
    owner = np.where(specific, random.choice(languages, len(grid)), None)
    kind = np.where(specific, "specific", "general")
    table = grid.assign(variance=0.1, kind=kind, language=owner, selected=grid["layer"] > 2)
    tables.write(folder / "neurons.parquet", table, "neurons")
    files = [f"{folder}/{language}.parquet" for language in languages]
    return ["--neurons", f"{folder}/neurons.parquet", "--awareness", *files, "--awareness-languages", *languages]


def make_loss(path, directions, updates, end):
    random = np.random.default_rng(3)
    rows = []
    for update in range(1, updates + 1):
        for direction in directions:
            loss = end + 2 * np.exp(-4 * update / updates) + random.normal(0, 0.1)
            rows.append((update, direction, loss, 120, 1e-4))
    pd.DataFrame(rows, columns=["update", "direction", "loss", "tokens", "learning_rate"]).to_csv(path, index=False)


def make_counts(path, directions):
    reasons = {"read": 1000, "empty": 12, "too_long": 3, "language": 40, "copied": 0, "duplicate": 100, "max_pairs": 45}
    rows = [(d, "cldr", reason, number) for d in directions for reason, number in reasons.items()]
    rows += [(direction, "cldr", "kept", 800) for direction in directions]
    tables.write(path, pd.DataFrame(rows, columns=["direction", "origin", "reason", "pairs"]), "counts")


CONFIG = "run: demo\nmodel:\n  path: lander-tiny\ndata:\n  test:\n  - name: cldr\n    builtin: cldr\n"


def make_run(
    folder,
    directions=TEN,
    languages=("en", "de", "it", "fr", "ar", "zh"),
    n_layer=6,
    chosen=(2, 4, 5),
    seeds=("0",),
    methods=METHODS,
    tests=("cldr",),
    config=CONFIG,
    updates=90,
):
    """A whole made-up run. Returns the command line for it."""
    folder.mkdir(parents=True, exist_ok=True)
    make_scores(folder / "scores.csv", directions, methods, seeds, tests)
    make_layers(folder / "layers.parquet", directions, n_layer, list(chosen))
    make_counts(folder / "counts.parquet", directions)
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    flags = ["--run", "demo", "--scores", f"{folder}/scores.csv", "--layers", f"{folder}/layers.parquet"]
    flags += [*make_neurons(folder, list(languages), n_layer), "--counts", f"{folder}/counts.parquet"]
    losses, runs = [], []
    for place, (method, variant) in enumerate(methods):
        if method == "zero-shot":
            continue
        for seed in seeds:
            name = f"{method}-{variant}-{seed}"
            make_loss(folder / f"{name}.csv", directions, updates, 0.5 + 0.2 * place)
            content = {
                "settings": {"learning_rate": 0.0005, "steps": updates},
                "versions": {"torch": "2.13.0", "transformers": "5.23.0"},
                "seconds": 34.5 * (place + 1), "tokens": 1_234_567, "parameters_trained": 10_000 * (place + 1) ** 2,
                "parameters_total": 24_010_000, "peak_memory_bytes": 1_300_000_000,
            }  # fmt: skip
            (folder / f"{name}.json").write_text(json.dumps(content))
            losses.append(f"{method}/{variant}/s{seed}={folder}/{name}.csv")
            runs.append(f"{method}/{variant}/s{seed}={folder}/{name}.json")
    flags += ["--loss", *losses, "--runs", *runs]
    return [*flags, "--config", f"{folder}/config.yaml", "--out", f"{folder}/report"]
