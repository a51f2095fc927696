"""How much is computed without use: padding in training, padding of prompts, and rows that wait in decoding.

    python -m benchmarks.padding
    python -m benchmarks.padding --text FOLDER FOLDER   # also line-aligned files, <language>.txt or <language>.txt.gz

Measured on the text of the embedded default and on --text, with the batches, templates and lengths of the default.
`train` and `decode` are shares of all tokens that the model reads, over all directions: the micro-batches of an epoch
as `lander.finetune` makes them, and prompts as the translator gives them to the model. `decode_wait` is the share of
row steps (one row in one call of the model) that write no token. The last two are counted in the model's calls while it
decodes. The JSON has the values of the worst text at the top.

Bound: 0. Peer: Hugging Face's loop, with prompts padded to the longest and rows that stay to the end of their batch;
the `library` keys are what it would compute without use.
JSON: `train`, `decode`, `decode_wait`, `library_decode`, `library_wait`, `texts`.
"""

import argparse
import json
import platform
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from lander.config.config import Config, names, read
from lander.data import reading
from lander.data.sources import Source
from lander.data.templates import load_templates
from lander.finetune.__main__ import tokenize
from lander.finetune.schedule import Schedule
from lander.shared import machine
from lander.shared.languages import Direction, parse_direction
from lander.translate import translator

KEYS = ("train", "decode", "decode_wait", "library_decode", "library_wait")
Pairs = list[tuple[str, str]]


def pairs_of(source: Source, direction: Direction, count: int) -> Pairs:
    """The first pairs of a source."""
    return [row for _, row in islice(reading.read(source, (direction.source, direction.target)), count)]


def texts(args: argparse.Namespace, config: Config) -> dict[str, dict[str, Source]]:
    """Name -> `train` and `test` source: the default's, and a folder's lines (test lines are the first ones)."""
    first = {part: getattr(config.data, part)[0] for part in ("train", "test")}
    found = {"default": first}
    for folder in args.text:
        names_of = {f"{code}{end}": code for code in config.languages for end in (".txt", ".txt.gz")}
        files = {names_of[path.name]: str(path) for path in folder.iterdir() if path.name in names_of}
        both = Source(name=folder.name, files=files)
        found[folder.name] = {"train": both, "test": both}
    return found


def shares(args: argparse.Namespace, config: Config, text: dict[str, Source], model: translator.Translator) -> Counter:
    """Counts of one text over its directions: `<key>` computed for nothing, `<key>_all` computed."""
    counts: Counter[str] = Counter()
    for direction in args.directions:
        if {direction.source, direction.target} <= set(text["train"].languages or model.languages):
            train = pairs_of(text["train"], direction, args.pairs)
            counts.update(training(train, direction, config, model, args.batch_size))
            counts.update(decoding(pairs_of(text["test"], direction, args.sentences), direction, config, model, args))
    return counts


def training(
    pairs: Pairs, direction: Direction, config: Config, model: translator.Translator, batch_size: int
) -> dict[str, int]:
    """Padding of an epoch's micro-batches."""
    templates = load_templates()
    table = pd.DataFrame(pairs, columns=["source", "target"])
    table["template"] = np.random.default_rng(0).integers(len(templates), size=len(table))
    spoken = (model.languages[direction.source], model.languages[direction.target])
    tokens = tokenize([table], model.codec, templates, spoken, config.finetune.max_length)
    schedule = Schedule({str(direction): tokens}, batch_size, seed=0)
    batches = [tokens.lengths[schedule.indices(n)] for n in range(schedule.batches_per_epoch(str(direction)))]
    return waste("train", batches)


def decoding(
    pairs: Pairs, direction: Direction, config: Config, model: translator.Translator, args: argparse.Namespace
) -> Counter:
    """Padding of prompts, and rows that wait, while test sentences are decoded greedily."""
    template = next(t for t in load_templates() if t.name == config.translate.template)
    prompts = model.codec.prompts([model.prompt(source, direction, template) for source, _ in pairs])
    counts: Counter[str] = Counter()
    for places in translator.by_length(prompts, args.decode_batch_size):
        counts.update(decoded(model, [prompts[place] for place in places], args.max_new_tokens))
    return counts


def decoded(model: translator.Translator, prompts: list[list[int]], max_new_tokens: int) -> dict[str, int]:
    """What the model read of a batch's prompts, and its steps after that; and as Hugging Face's loop would have it."""
    calls: list[tuple[int, int]] = []  # rows and tokens of each
    hook = model.network.register_forward_pre_hook(
        lambda _module, _args, inputs: calls.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    try:
        outputs = model.generate(prompts, translator.Decoding(max_new_tokens=max_new_tokens))
    finally:
        hook.remove()
    ends, read = set(model.codec.ends), sum(rows * tokens for rows, tokens in calls if tokens > 1)
    lengths = [next((n + 1 for n, token in enumerate(row) if token in ends), len(row)) for row in outputs]
    steps = sum(rows for rows, _ in calls)
    return {
        **{"decode": read - sum(map(len, prompts)), "decode_all": read},
        **{"decode_wait": steps - sum(lengths), "decode_wait_all": steps},
        **waste("library_decode", [np.array([len(prompt) for prompt in prompts])]),
        **waste("library_wait", [np.array(lengths)]),
    }


def waste(key: str, batches: list[np.ndarray]) -> dict[str, int]:
    """Of sequences of these lengths, batch by batch: the places that are filled up, and all."""
    every = sum(int(lengths.max()) * len(lengths) for lengths in batches)
    return {key: every - sum(int(lengths.sum()) for lengths in batches), f"{key}_all": every}


def parse_args() -> argparse.Namespace:
    """The flags of the command line."""
    config = read()
    parser = argparse.ArgumentParser(prog="benchmarks.padding", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--text", type=Path, nargs="+", default=[], help="folders of line-aligned files, one for a language")
    add("--model", default=config.model.path, help="what decodes: a trained model's folder or a base")
    add("--directions", type=parse_direction, nargs="+", default=list(config.directions))
    add("--pairs", type=int, default=config.data.max_pairs, help="of training, for each direction")
    add("--sentences", type=int, default=100, help="to decode, for each direction")
    add("--batch-size", type=int, default=config.finetune.batch_size, help="of training")
    add("--decode-batch-size", type=int, default=config.translate.batch_size)
    add("--max-new-tokens", type=int, default=config.translate.max_new_tokens)
    add("--threads", type=int, default=1)
    return parser.parse_args()


def fractions(counts: Counter) -> Iterator[tuple[str, float]]:
    """Each key's share."""
    for key in KEYS:
        yield key, counts[key] / max(counts[f"{key}_all"], 1)


def main() -> None:
    args, config = parse_args(), read()
    machine.prepare(args.threads)
    model = translator.load(args.model)
    model.languages = names(config)
    found = {name: dict(fractions(shares(args, config, text, model))) for name, text in texts(args, config).items()}
    print(f"{args.model}; training {args.pairs} pairs a direction by {args.batch_size}, decoding {args.sentences}")
    print(f"sentences by {args.decode_batch_size}, {len(args.directions)} directions; shares computed for nothing")
    print(f"{'text':<14}" + "".join(f"{key:>16}" for key in KEYS))
    for name, row in found.items():
        print(f"{name:<14}" + "".join(f"{row[key]:>16.3f}" for key in KEYS))
    worst = {key: max(row[key] for row in found.values()) for key in KEYS}
    print(json.dumps({"benchmark": "padding", "machine": platform.machine(), **worst, "texts": found}))


if __name__ == "__main__":
    main()
