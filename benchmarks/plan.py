"""What `lander plan` says a stage takes of memory, beside the peak of the stage's process.

    python -m benchmarks.plan

Models of real geometries with random weights (saved in bfloat16, as on the hub) and the tokenizer of lander-tiny; pairs
of CLDR phrases, about 80 tokens each; batches of 8 (stages: 16, translate: 32), some updates.

Bound, set by us: the planned peak is within 25% of the measured one. Peers: none that we know plans a whole run.
JSON: `worst` (the largest relative error), `bytes` (geometry -> what -> planned, measured).
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from benchmarks._geometry import GEOMETRIES
from lander.config import config
from lander.data.reading import read
from lander.data.sources import Source
from lander.models import loading
from lander.shared import tables
from lander.workflow import planning
from lander.workflow.planning import networks

TRAININGS = ("full", "landermt", "lora", "adapter")
STAGES = ("activations", "awareness", "translate")
DIRECTIONS = {"en-de": ("en", "de"), "de-en": ("de", "en")}
NAMES = json.dumps({"en": "English", "de": "German"})
PEAK = """
import atexit, re, runpy, sys
atexit.register(lambda: print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], flush=True))
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def peak(module: str, *flags: str) -> int:
    """Peak resident bytes of `python -m module flags`.

    The process reads them itself: what `wait4` and `getrusage` say of a child begins with its parent's peak.
    """
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PEAK, module, *flags], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        sys.exit(f"{module} {' '.join(flags)}\n{done.stderr[-2000:]}")
    return int(done.stdout.split()[-1]) * 1024


def write_model(folder: Path, geometry: str) -> None:
    """A model of random weights."""
    GEOMETRIES[geometry].make("bfloat16").save_pretrained(folder)
    loading.load_codec("lander-tiny").tokenizer.save_pretrained(folder)


def write_texts(folder: Path, pairs: int) -> None:
    """Parallel files of phrases, two or one to a line, and what the stages read: tables of pairs."""
    rows = read(Source(builtin="cldr", vocabulary="all", lines=(0, 3000)), ("en", "de"))
    phrases, draw = [both for _, both in rows], np.random.default_rng(0)
    drawn = [[phrases[place] for place in draw.integers(0, len(phrases), draw.integers(1, 3))] for _ in range(pairs)]
    text = {code: [" ".join(one[side] for one in line) for line in drawn] for side, code in enumerate(("en", "de"))}
    for code, lines in text.items():
        (folder / f"a.{code}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sentences = pd.DataFrame({"text": text["de"], "origin": "a", "line": range(pairs)})
    tables.write(folder / "text.parquet", sentences, "text")
    for name, (source, target) in DIRECTIONS.items():
        numbers = np.arange(pairs)
        rows = pd.DataFrame({"source": text[source], "target": text[target], "template": numbers % 10})
        rows = rows.assign(origin="a", line=numbers)
        tables.write(folder / f"{name}.parquet", rows, "train")
        tables.write(folder / f"held-{name}.parquet", rows.drop(columns="template").head(64), "heldout")


def settings_of(folder: Path, model: str, methods: tuple[str, ...]) -> config.Config:
    """A config of the same text and model."""
    files = {"files": {code: str(folder / f"a.{code}") for code in ("en", "de")}}
    lines = len((folder / "a.en").read_text(encoding="utf-8").splitlines())
    train, dev, test = ({**files, "lines": [lines - a, lines - b]} for a, b in ((lines, 4), (4, 2), (2, 0)))
    own = {
        "run": "plan",
        "languages": ["en", "de"],
        "directions": list(DIRECTIONS),
        "methods": list(methods),
        "model": {"path": model},
        "data": {"train": [train], "dev": [dev], "test": [{"name": "t", **test}], "exclude": [], "max_pairs": 0},
        "finetune": {"batch_size": 8, "checkpoint_minutes": 0, "max_length": 1024},
        "activations": {"batch_size": 16},
        "awareness": {"batch_size": 16},
        "translate": {"batch_size": 32, "max_new_tokens": 64},
    }
    (folder / "own.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    return config.read(folder / "own.yaml")


def planned(settings: config.Config, here: planning.Machine, zero_stage: str = "0") -> dict[str, float]:
    """Bytes by method and stage, as the plan says."""
    made = planning.make(settings, here)
    trainings = {one["method"]: one["memory_gb"][zero_stage] for one in made["methods"]}
    return {
        name: 1e9 * size for name, size in (trainings | {s["stage"]: s["memory_gb"] for s in made["stages"]}).items()
    }


def measured(folder: Path, settings: config.Config, what: str, steps: int, *more: str) -> int:
    """Peak bytes of a stage, or of the training of a method. `more`: flags of the training."""
    model, out = ["--model", settings.model.path, "--languages", NAMES, "--threads", "1"], str(folder / "out")
    train = [str(folder / f"{name}.parquet") for name in DIRECTIONS]
    if what == "activations":
        flags = ["--data", train[0], "--direction", "en-de", "--sentences", "64", "--batch-size", "16"]
        return peak("lander.detect.activations", *model, *flags, "--out", f"{out}.parquet")
    if what == "awareness":
        flags = ["--text", str(folder / "text.parquet"), "--batch-size", "16"]
        return peak("lander.detect.awareness", *model, *flags, "--out", f"{out}.parquet")
    if what == "translate":
        flags = ["--template", "sentence", "--test", f"t:en-de:{folder / 'held-en-de.parquet'}", "--batch-size", "32"]
        return peak("lander.translate", *model, *flags, "--max-new-tokens", "64", "--out-dir", out)
    flags = ["--method", what, "--train", *train, "--directions", *DIRECTIONS, "--steps", str(steps)]
    if what == "adapter":
        flags += ["--budget-layers", str(settings.layers.k)]
    if what == "landermt":
        network = networks.make_network(networks.read_config(settings))
        for name, mask in networks.masks_of(settings, what, network).items():
            tables.write(folder / "masks" / f"{name}.parquet", mask, "masks")
        flags += ["--masks", str(folder / "masks")]
    return peak("lander.finetune", *model, *flags, *more, "--out", out)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.plan", description=__doc__.splitlines()[0])
    parser.add_argument("--geometries", nargs="+", choices=GEOMETRIES, default=["tiny", "smollm2", "gemma270"])
    parser.add_argument("--what", nargs="+", choices=[*TRAININGS, *STAGES], default=[*TRAININGS, *STAGES])
    parser.add_argument("--steps", type=int, default=4, help="updates of a training, of two micro-batches")
    parser.add_argument("--pairs", type=int, default=320)
    args = parser.parse_args()
    found: dict[str, dict[str, dict[str, float]]] = {}
    here = planning.this_machine("cpu", 1e11, None, 1)  # before this process has held a model
    print(f"{'geometry':<14}{'what':<12}{'planned MB':>12}{'measured MB':>12}{'ratio':>7}")
    for name in args.geometries:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_model(folder / name, name)
            write_texts(folder, args.pairs)
            trainings = tuple(one for one in TRAININGS if one in args.what or one == "landermt")  # it has all stages
            settings = settings_of(folder, str(folder / name), trainings or ("zero-shot",))
            plan, found[name] = planned(settings, here), {}
            for what in args.what:
                row = {"planned": plan[what], "measured": measured(folder, settings, what, args.steps)}
                found[name][what] = row
                print(f"{name:<14}{what:<12}{row['planned'] / 1e6:>12,.0f}{row['measured'] / 1e6:>12,.0f}"
                      f"{row['planned'] / row['measured']:>7.2f}", flush=True)  # fmt: skip
    worst = max(abs(row["planned"] / row["measured"] - 1) for rows in found.values() for row in rows.values())
    print(json.dumps({"benchmark": "plan", "machine": platform.machine(), "worst": worst, "bytes": found}))


if __name__ == "__main__":
    main()
