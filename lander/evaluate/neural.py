"""COMET and other neural metrics, run as an executable of another environment (their pins clash with ours).

The executable gets three files, one sentence a line (UTF-8, nothing in a sentence breaks a line), and the name of the
file for its scores. `{source}`, `{hypothesis}`, `{reference}` and `{scores}` in the arguments are replaced by them; if
no argument has one, all four are appended in this order. `{model}` and `{gpus}` are --model and --gpus. It is started
once for all models, without a shell, and writes

- one number a line, or a JSON list of numbers, or
- what `comet-score --to_json` writes: {"<hypothesis file>": [{"src": ..., "mt": ..., "ref": ..., "COMET": 0.83}, ...]}.

COMET-22 (`comet-score` alone gets its arguments), from a local checkpoint, or by the hub's name Unbabel/wmt22-comet-da:

    python -m lander.evaluate neural --metric comet --command /envs/comet/bin/comet-score \\
        --model /models/wmt22-comet-da --models lora/main/s0=results/demo/translate/lora/main/s0 \\
        --tests '["cldr"]' --directions en-de \\
        --cache results/demo/evaluate/.neural --out-dir results/demo/evaluate

A local checkpoint is the hub's folder: hparams.yaml and checkpoints/model.ckpt. COMET also reads the tokenizer and the
settings of its encoder (hparams.yaml names it: xlm-roberta-large) from the Hugging Face cache, so with HF_HUB_OFFLINE
these must be there. The workflow sets that variable where nothing in the config is on the hub.

Scores of the same metric, signature and texts are taken from the cache; if nothing is new, the executable is not
started. By default the signature has the model's name, the digest of a local checkpoint, and COMET's version.

Writes, below `<out-dir>/<method>/<variant>/s<seed>/<test>/`: `<direction>.<metric>.csv` (as `score` does) and
`<direction>.<metric>.segments.parquet`, which `significance` tests.
"""

import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lander.evaluate import translations
from lander.evaluate.collect import number, write_scores
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.files import read_json, sha256, shipped, whole_file, write_json
from lander.shared.runs import Model

PLACES = ("source", "hypothesis", "reference", "scores")
COMET = [
    *("-s", "{source}", "-t", "{hypothesis}", "-r", "{reference}", "--model", "{model}", "--gpus", "{gpus}"),
    *("--to_json", "{scores}", "--only_system"),
]
SETTINGS = "hparams.yaml"
ENCODER = re.compile(r"""^pretrained_model:\s*['"]?([\w./-]+)""", re.MULTILINE)
Texts = tuple[str, str, str]  # source, hypothesis, reference


@dataclass(frozen=True)
class Metric:
    """A metric of another environment: name and signature in the tables, and how it is run."""

    name: str
    signature: str
    command: list[str]
    better: str = ""  # which score is: less, more, or empty if it is not known


def parse_command(text: str) -> list[str]:
    """The executable and its arguments, from a JSON list; a path alone is an executable without arguments."""
    parts: Any = [text]
    if text.lstrip().startswith("["):
        try:
            parts = json.loads(text)
        except (ValueError, RecursionError):
            parts = []
    if not all(isinstance(part, str) for part in parts) or not "".join(parts[:1]):
        raise UserError(f'--command {text}: write a JSON list, for example \'["comet-score", "-s", "{{source}}"]\'')
    return parts


def make_metric(
    name: str, command: list[str], model: str = "", gpus: int = 0, signature: str = "", better: str = ""
) -> Metric:
    """A metric as it is run: model and GPUs are filled into its arguments."""
    comet = Path(command[0]).name == "comet-score"
    command = command + COMET if comet and len(command) == 1 else command
    if not model and (not signature or "{model}" in " ".join(command)):
        raise UserError(f"metric {name}: --model is missing; give a local checkpoint or the hub's name of it")
    place = checkpoint(model) if comet and model else model
    filled = [part.replace("{model}", place).replace("{gpus}", str(gpus)) for part in command]
    return Metric(name, signature or _signature(model, Path(place), command[0]), filled, better)


def checkpoint(model: str) -> str:
    """COMET's checkpoint of a local folder or file; a name of the hub is itself."""
    path = Path(model)
    if not path.exists():
        return model
    file = path / "checkpoints" / "model.ckpt" if path.is_dir() else path
    if file.suffix != ".ckpt" or not file.is_file():
        raise UserError(f"{file}: no checkpoint of COMET; give the folder that has checkpoints/model.ckpt")
    settings = settings_of(model)
    if not settings.is_file():
        raise UserError(f"{settings}: no such file, and COMET needs it beside checkpoints/; copy it there")
    return str(file)


def _signature(model: str, file: Path, executable: str) -> str:
    """What makes scores comparable: the model's name, a local file's digest, COMET's version if it is known."""
    if file.exists():
        model = file.absolute().parent.parent.name if file.suffix == ".ckpt" else file.name
    fields = [f"model:{model}", *([f"sha256:{sha256(file)[:12]}"] if file.is_file() else [])]
    home = Path(shutil.which(executable) or executable).absolute().parent.parent
    for folder in sorted(home.glob("lib/python*/site-packages/unbabel_comet-*.dist-info"))[:1]:
        fields.append(f"comet:{folder.name.split('-')[1].removesuffix('.dist')}")
    return "|".join(fields)


def score_models(
    models: Mapping[Model, Path], tests: Mapping[str, Sequence[str]], metric: Metric, cache: Path, out: Path
) -> None:
    """Score the translations of all models (folders) and write their files."""
    items: dict[tuple[Model, str, str], list[Texts]] = {}
    for model, folder in models.items():
        for test, served in tests.items():
            for name in served:
                read = translations.read(folder / test / f"{name}.jsonl")
                texts = zip(read.source, read.hypothesis, read.reference, strict=True)
                items[model, test, name] = [tuple(" ".join(text.split()) for text in row) for row in texts]
    scores = cached_scores((text for texts in items.values() for text in texts), metric, cache)
    # readers of the tables mark the better scores by the signature
    signature = f"{metric.signature}|better:{metric.better}" if metric.better else metric.signature
    for (model, test, name), texts in items.items():
        place = {**model.columns, "test": test, "direction": name, "metric": metric.name}
        found = [scores[text] for text in texts]
        path = out / str(model) / test / f"{name}.{metric.name}.csv"
        rows = pd.DataFrame({"line": range(len(found)), "score": found}).assign(statistics=None, signature=signature)
        tables.write(path.with_suffix(".segments.parquet"), rows.assign(**place), "segments")
        write_scores(path, [{**place, "score": number(float(np.mean(found))), "signature": signature}])


def cached_scores(texts: Iterable[Texts], metric: Metric, folder: Path) -> dict[Texts, float]:
    """Scores of texts, from the cache and, for those that it lacks, from the executable.

    The cache is a folder of JSON files, {digest: score}, which are only ever added: two jobs may use it at once.
    """
    keys = {text: json.dumps([metric.name, metric.signature, *text]) for text in texts}
    wanted = {text: hashlib.sha256(key.encode()).hexdigest()[:32] for text, key in keys.items()}
    known: dict[str, float] = {}
    for path in sorted((folder / metric.name).glob("*.json")):
        known |= read_json(path)
    missing = [text for text, digest in wanted.items() if digest not in known]
    if missing:
        new = dict(zip((wanted[text] for text in missing), run(metric, missing), strict=True))
        name = hashlib.sha256("".join(new).encode()).hexdigest()[:16]
        write_json(folder / metric.name / f"{name}.json", new)
        known |= new
    return {text: known[digest] for text, digest in wanted.items()}


# ---------------------------------------------------------------- the executable


def run(metric: Metric, texts: Sequence[Texts]) -> list[float]:
    """Scores of texts by the executable; what it prints goes to our stderr.

    UserError if it cannot be started, fails, or does not return one finite number for each sentence.
    """
    what = f"metric {metric.name}: {metric.command[0]}"
    environment = os.environ | {"PYTHONUTF8": "1"}  # comet-score opens files in the locale's encoding
    environment.pop("PYTHONPATH", None)  # ours is not for the other environment
    with tempfile.TemporaryDirectory(prefix="lander-neural-") as folder:
        files = {name: str(Path(folder, f"{name}.txt")) for name in PLACES}
        for name, side in zip(PLACES, zip(*texts, strict=True), strict=False):
            with whole_file(files[name]) as temporary:
                temporary.write_text("".join(f"{text}\n" for text in side), encoding="utf-8", newline="\n")
        command = metric.command
        for name, path in files.items():
            command = [part.replace(f"{{{name}}}", path) for part in command]
        if command == metric.command:
            command = [*command, *files.values()]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, env=environment, check=False)
        except OSError as error:
            raise UserError(f"{what} cannot be started ({error.strerror}); name an executable in --command") from None
        if done.returncode:
            raise UserError(f"{what} failed with status {done.returncode}; see what it says above")
        return _read_scores(what, Path(files["scores"]), len(texts))


def _read_scores(what: str, path: Path, wanted: int) -> list[float]:
    """Numbers from lines, from a JSON list, or from comet-score's JSON."""
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{what} wrote no scores; it must write the file that {{scores}} names") from None
    try:
        if content.lstrip().startswith("{"):
            (rows,) = json.loads(content).values()
            values = [float(row["COMET"]) for row in rows]
        else:
            lines = json.loads(content) if content.lstrip().startswith("[") else content.splitlines()
            values = [float(value) for value in lines]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UserError(f"{what}: the scores are neither a number a line, nor a JSON list, nor comet-score's") from None
    if len(values) != wanted:
        raise UserError(f"{what}: {len(values)} scores came back for {wanted} sentences; it must score each line once")
    for line, value in enumerate(values, start=1):
        if not math.isfinite(value):
            raise UserError(f"{what}: the score of sentence {line} is {value}, not a finite number")
    return values


# ---------------------------------------------------------------- what COMET needs from the network beside its model


def make_environment(folder: Path) -> None:
    """Install COMET into a Python environment for it alone (its pins clash with ours); the folder is emptied first."""
    new = [sys.executable, "-m", "venv", "--clear", folder]
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check"]
    for command in (new, [*pip, "--requirement", shipped("workflow/envs/comet.txt")]):
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, check=False).returncode:
            raise UserError(f"{folder}: COMET cannot be installed there; see what Python says above")


def encoder(settings: Path) -> str | None:
    """The hub's name of the encoder that a checkpoint was trained from; COMET reads its tokenizer from the cache."""
    found = ENCODER.search(settings.read_text(encoding="utf-8", errors="replace"))
    return found[1] if found else None


def settings_of(checkpoint: str) -> Path:
    """hparams.yaml of a local checkpoint: the hub's folder, or checkpoints/model.ckpt in it."""
    path = Path(checkpoint).absolute()
    return (path if path.is_dir() else path.parent.parent) / SETTINGS
