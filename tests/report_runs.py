"""Made-up runs of any shape, for the tests of the report."""

import json
from itertools import product

import numpy as np
import pandas as pd
from made import write_table

from lander.evaluate.collect import COLUMNS, means, write_scores
from lander.evaluate.significance import COLUMNS as SIGNIFICANCE
from lander.report import charts, paper
from lander.report.document import Document, numbers, write
from lander.report.tables import Cell, Head, Table
from lander.shared import tables
from lander.shared.languages import parse_direction

TEN = ["en-de", "de-en", "en-it", "it-en", "en-fr", "fr-en", "en-ar", "ar-en", "en-zh", "zh-en"]
MADE = {
    "git": {"commit": "c0ffee" * 7, "changed": ["lander/detect/masks.py"]},
    "machine": {"processor": "Chip", "cores": 2, "memory_bytes": 24 * 10**9, "gpus": ["X", "X"], "system": "Linux"},
    "versions": {"sacrebleu": "2.6.0", "torch": "2.13.0"},
}
METHODS = {
    ("zero-shot", "main"): 3.0,
    ("zero-shot", "best-prompt"): 14.0,
    ("full", "main"): 41.0,
    ("lora", "main"): 39.0,
    ("landermt", "main"): 42.5,
}
METRICS = {"bleu": 1, "chrf2++": 1.3, "bleu_raw": 0.8, "length_ratio": 0.02, "empty": 0.0005, "contaminated": 0.002}


def put(path, text):
    """Write a file in a folder that may not exist yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def make_scores(path, directions, methods=METHODS, seeds=("0",), tests=("cldr",)):
    random = np.random.default_rng(0)
    rows = []
    for ((method, variant), level), seed, test, direction in product(methods.items(), seeds, tests, directions):
        value = level * random.uniform(0.7, 1.3)
        tokenizer = "zh" if direction.endswith("-zh") else "13a"
        signature = f"nrefs:1|case:mixed|eff:no|tok:{tokenizer}|smooth:exp|version:2.6.0"
        for metric, factor in METRICS.items():
            key = (method, variant, seed, test, direction, metric, f"{value * factor:.6f}", signature)
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
    write_table(path, "layers", pd.DataFrame(rows, columns=columns))


def make_neurons(folder, languages, n_layer, p=40):
    """Awareness tables and the neurons table. Returns the flags that name them."""
    random = np.random.default_rng(2)
    grid = pd.MultiIndex.from_product([range(n_layer), range(p)], names=["layer", "neuron"]).to_frame(index=False)
    for language in languages:
        score = random.gamma(2, 1e-4, len(grid)) * (1 + grid["layer"] / n_layer)
        write_table(folder / f"{language}.parquet", "awareness", grid.assign(score=score))
    specific = random.random(len(grid)) < 0.1
    owner = np.where(specific, random.choice(languages, len(grid)), None)
    kind = np.where(specific, "specific", "general")
    table = grid.assign(kind=kind, language=owner, selected=grid["layer"] > 2)
    write_table(folder / "neurons.parquet", "neurons", table)
    files = [f"{folder}/{language}.parquet" for language in languages]
    return ["--neurons", f"{folder}/neurons.parquet", "--awareness", *files, "--awareness-languages", *languages]


def make_loss(path, directions, updates, end):
    random = np.random.default_rng(3)
    rows = []
    for update, direction in product(range(1, updates + 1), directions):
        loss = end + 2 * np.exp(-4 * update / updates) + random.normal(0, 0.1)
        rows.append((update, direction, loss, 120, 1e-4))
    pd.DataFrame(rows, columns=["update", "direction", "loss", "tokens", "learning_rate"]).to_csv(path, index=False)


def make_counts(path, directions):
    reasons = {"read": 1000, "empty": 12, "too_long": 3, "language": 40, "copied": 0, "duplicate": 100, "max_pairs": 45}
    rows = [(d, "cldr", reason, number) for d in directions for reason, number in reasons.items()]
    rows += [(direction, "cldr", "kept", 800) for direction in directions]
    tables.write(path, pd.DataFrame(rows, columns=["direction", "origin", "reason", "pairs"]), "counts")


TEXTS = {
    "en": "The committee met on {} May and approved the budget without a vote.",
    "de": "Der Ausschuss trat am {}. Mai zusammen und billigte den Haushalt ohne Abstimmung.",
    "it": "Il comitato si è riunito il {} maggio e ha approvato il bilancio senza votare.",
    "fr": "Le comité s’est réuni le {} mai et a approuvé le budget sans vote.",
    "ar": "اجتمعت اللجنة في {} مايو وأقرت الميزانية دون تصويت.",
    "zh": "委员会于5月{}日召开会议，未经表决批准了预算。",
}


def make_translations(folder, directions, models, lines=12, test="cldr", evil=""):
    """Translations of models and their flags; the last model writes English every fifth line. Returns the flags.

    `evil`: a text that stands in the first source, reference and output.
    """
    random = np.random.default_rng(4)
    given = {"--translations": [], "--flags": []}
    for number, (method, variant) in enumerate(models):
        for direction in directions:
            source, target = parse_direction(direction).source, parse_direction(direction).target
            rows, flags = [], ["line,flag,detail"]
            for line in range(lines):
                reference = TEXTS.get(target, TEXTS["en"]).format(line + 1)
                words = reference.split()
                hypothesis = " ".join(words[: len(words) - int(random.integers(0, 3))]) + "x" * (number % 2)
                if number == len(models) - 1 and line % 5 == 0:
                    hypothesis = TEXTS["en"].format(line + 1)
                    flags.append(f"{line},off_target,en")
                if line == 3:
                    hypothesis = ""
                    flags.append(f"{line},empty,")
                row = {"source": TEXTS.get(source, TEXTS["en"]).format(line + 1), "reference": reference}
                if evil and line == 0:
                    row = {"source": evil, "reference": evil}
                    hypothesis = evil
                rows.append(json.dumps(row | {"raw": hypothesis, "hypothesis": hypothesis}))
            place = f"{method}/{variant}/s0/{test}/{direction}"
            put(folder / f"translate/{place}.jsonl", "\n".join(rows) + "\n")
            put(folder / f"evaluate/{place}.flags.csv", "\n".join(flags) + "\n")
        name = f"{method}/{variant}/s0"
        given["--translations"].append(f"{name}={folder}/translate/{name}")
        given["--flags"].append(f"{name}={folder}/evaluate/{name}")
    return [one for flag, values in given.items() for one in (flag, *values)]


def write_significance(path, rows):
    """The table of `lander.evaluate.significance` from rows with some of its columns; the others are filled in."""
    table = pd.DataFrame(rows).reindex(columns=list(SIGNIFICANCE))
    defaults = {"variant": "main", "baseline": "", "test": "news", "direction": "en-de", "metric": "bleu", "seeds": 1}
    table["p_bootstrap_holm"] = table["p_bootstrap_holm"].fillna(table["p_holm"])
    table["signature"] = table["signature"].fillna("s")
    table.fillna(defaults).to_csv(path, index=False)
    return path


def make_significance(path, scores, baselines, metrics=("bleu",)):
    """Intervals of one point to each side; a difference of more than two points is significant."""
    scores = pd.read_csv(scores, dtype={"seed": str})
    scores = scores[scores["metric"].isin(metrics)]
    keys = ["test", "direction", "metric"]
    rows = []
    for baseline in baselines:
        method, variant = [*baseline.split("/"), "main"][:2]
        base = scores[(scores["method"] == method) & (scores["variant"] == variant)].set_index(keys)["score"]
        for row in scores.to_dict("records"):
            kept = {name: row[name] for name in ("method", "variant", *keys, "score")}
            kept |= {"low": row["score"] - 1, "high": row["score"] + 1}
            if (row["method"], row["variant"]) != (method, variant):
                gap = row["score"] - base[tuple(row[key] for key in keys)]
                kept |= {"baseline": baseline, "difference": gap, "difference_low": gap - 1, "difference_high": gap + 1}
                kept |= {"p_holm": 0.0004 if abs(gap) > 2 else 0.4}
            rows.append(kept)
    write_significance(path, rows)


def make_experiments(folder, names=("forgetting", "table1", "sweep_k")):
    """Experiments as `lander.experiments` writes them."""
    for name in names:
        line = pd.DataFrame({"value": [0, 1, 2], "series": "full", "mean": [1, 3, 2]})
        drawing = charts.lines(name, name, [charts.Panel(line, "nats per character")])
        rows = [("full", [Cell("41.0", True, "±0.3"), Cell("–")]), ("a|b", [Cell("39.1"), Cell("+1.5")])]
        table = Table(f"Table of {name}", "method", [Head("BLEU"), Head("gain | cost")], rows, notes=["Bold: best."])
        blocks = [f"What {name} shows: the k matters.", table, *([paper.table(1)] if name == "table1" else [])]
        data = pd.DataFrame({"method": ["full"], "mean": [41.0]})
        write(Document(name, f"Title of {name}", blocks, numbers(data), drawing), folder)


CONFIG = "run: demo\nmodel:\n  path: lander-tiny\ndata:\n  test:\n  - name: cldr\n    builtin: cldr\n"


def add_everything(folder, flags, directions=TEN, methods=METHODS, **translations):
    """All that a report can show, beside a run of `make_run`. Returns the command line."""
    make_significance(folder / "significance.csv", folder / "scores.csv", ["full", "zero-shot/best-prompt"])
    make_experiments(folder / "experiments")
    dropped = [
        {"reason": "language", "score": 0.0, "first": "Hallo <b>", "second": "Hi", "origin": "cldr", "line": line}
        for line in range(5)
    ]
    (folder / "de-en.dropped.jsonl").write_text("\n".join(map(json.dumps, dropped)) + "\n")
    (folder / "code.json").write_text('{"lander.detect.masks": "e053ee4f2524e22c"}')
    more = ["--significance", f"{folder}/significance.csv", "--experiments", f"{folder}/experiments"]
    more += ["--dropped", f"{folder}/de-en.dropped.jsonl", "--code", f"{folder}/code.json"]
    pairs = {"source": ["abc", "a" * 40], "target": ["xy", "z" * 38], "template": 0, "origin": "cldr", "line": [0, 1]}
    tables.write(folder / "train/en-de.parquet", pd.DataFrame(pairs), "train")
    for stage, seconds in (("data/s0/train/en-de", 4.0), ("data/s0/train/de-en", 6.0), ("report", 90.0)):
        put(folder / f"benchmarks/{stage}.tsv", f"s\tmax_rss\tcpu_time\n{seconds}\t{100 * seconds}\t1\n")
    more += ["--train", f"{folder}/train/en-de.parquet", "--benchmarks", f"{folder}/benchmarks"]
    return [*flags, *more, *make_translations(folder, directions, list(methods), **translations)]


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


# ---------------------------------------------------------------- for tests by hand


def table_of(rows):
    """Scores from (method, variant, seed, direction, BLEU)."""
    return pd.DataFrame(
        [(m, v, s, "news", d, "bleu", value, f"tok:{'zh' if d == 'en-zh' else '13a'}") for m, v, s, d, value in rows],
        columns=COLUMNS,
    )


def texts(table):
    """Label of a row -> the texts of its cells."""
    return {label: [cell.text for cell in cells] for label, cells in table.rows}
