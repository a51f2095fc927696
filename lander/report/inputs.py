"""Everything that the report is made of, read and checked."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from lander.data import chunks
from lander.evaluate.collect import read_scores
from lander.report.significance import Significance
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.files import read_json
from lander.shared.languages import language_name, parse_direction

LOSS_COLUMNS = ["update", "direction", "loss", "tokens"]
PROMPT_COLUMNS = ["direction", "prompt", "bleu", "chosen"]


class Run(NamedTuple):
    """One trained (or untrained) model: `results/<run>/finetune/<method>/<variant>/s<seed>`."""

    method: str
    variant: str
    seed: str


@dataclass
class Inputs:
    """The contents of the input files; None or empty where the run has no such file."""

    name: str
    scores: pd.DataFrame  # method, variant, seed, test, direction, metric, score (float), signature
    layers: pd.DataFrame | None = None
    neurons: pd.DataFrame | None = None
    awareness: dict[str, pd.DataFrame] = field(default_factory=dict)  # language -> table "awareness"
    counts: pd.DataFrame | None = None
    prompts: pd.DataFrame | None = None  # direction, prompt, bleu, chosen
    losses: dict[Run, pd.DataFrame] = field(default_factory=dict)
    runs: dict[Run, dict[str, Any]] = field(default_factory=dict)
    config: str | None = None
    config_path: str | None = None
    significance: Significance = field(default_factory=Significance)
    dropped: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # pair -> examples: reason, first, second
    benchmarks: pd.DataFrame = field(
        default_factory=pd.DataFrame
    )  # stage, seconds, memory (bytes), copied; a row a job
    lengths: pd.DataFrame = field(default_factory=pd.DataFrame)  # language, characters, sentences
    code: dict[str, Any] = field(default_factory=dict)  # stage -> digest of its code
    made: dict[str, Any] = field(default_factory=dict)  # git, machine and versions with which the page is made

    def setting(self, *keys: str) -> Any:
        """A value of the config, or None where there is no config, no such key, or it is not readable."""
        value: Any = None
        try:
            value = yaml.safe_load(self.config or "")
        except yaml.YAMLError:  # the page shows the config as it is; only the summary misses a detail
            return None
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def language(self, code: str) -> str:
        """`Arabic (ar)`: the name that the config or CLDR has for a language; the code alone where there is none."""
        name = self.setting("languages", code)
        try:
            return f"{name if isinstance(name, str) else language_name(code)} ({code})"
        except UserError:
            return code


def read_scores_table(path: Path) -> pd.DataFrame:
    """scores.csv with `score` as a number."""
    scores = pd.DataFrame(read_scores(path))
    return scores.astype({"score": float})


def read_awareness(files: Sequence[Path], languages: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Awareness tables by language; files and languages are in the same order."""
    if len(files) != len(languages):
        raise UserError(
            f"--awareness has {len(files)} files and --awareness-languages {len(languages)}: give one language a file"
        )
    found = zip(languages, files, strict=True)
    return {language: tables.read(path, "awareness", ["layer", "neuron", "score"]) for language, path in found}


def read_loss(path: Path) -> pd.DataFrame:
    """A loss log of `lander.finetune`; a line that was cut short is left out."""
    loss = _read_csv(path, LOSS_COLUMNS, "finetune")
    numbers = ["update", "loss", "tokens"]
    loss[numbers] = loss[numbers].apply(pd.to_numeric, errors="coerce")
    return loss.dropna()


def read_prompts(path: Path) -> pd.DataFrame:
    """The prompts that `lander.translate --choose-prompt` tried on the dev set."""
    prompts = _read_csv(path, PROMPT_COLUMNS, "translate")
    prompts["chosen"] = prompts["chosen"].astype(str).str.lower() == "true"
    prompts["bleu"] = pd.to_numeric(prompts["bleu"], errors="coerce")
    return prompts.astype({"prompt": str}).dropna()


def _read_csv(path: Path, columns: list[str], stage: str) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `python -m lander.{stage}` makes it") from None
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"{path}: cannot be read as CSV ({error}); remove it and run snakemake again") from None
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; it should have {', '.join(columns)}")
    return table[columns].astype({"direction": str})


def read_run(path: Path) -> dict[str, Any]:
    """A run.json of `lander.finetune`: settings, versions and costs, each of them optional."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object; remove it and run snakemake again")
    return content


def read_dropped(files: Sequence[Path], number: int) -> dict[str, list[dict[str, Any]]]:
    """The first `number` pairs that each filter dropped, from files <pair>.dropped.jsonl of `lander.data`."""
    found = {}
    for path in files:
        pair, kept, seen = path.name.split(".")[0], [], {}
        parse_direction(pair)
        try:
            with open(path, encoding="utf-8", newline="\n") as stream:
                for line in stream:
                    row = json.loads(line)
                    reason = str(row["reason"])
                    seen[reason] = seen.get(reason, 0) + 1
                    if seen[reason] <= number:
                        kept.append({**row, "first": str(row["first"]), "second": str(row["second"])})
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; `python -m lander.data` makes it") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not a list of dropped pairs ({error}); remove it and run snakemake") from None
        found[pair] = sorted(kept, key=lambda row: list(seen).index(str(row["reason"])))
    return found


def read_benchmarks(folder: Path) -> pd.DataFrame:
    """Time and memory of every job from Snakemake's benchmark files: <folder>/<stage>/**.tsv, or <stage>.tsv.

    A job whose log, in the folder `logs` beside this one, says that it was copied, took nothing.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; leave --benchmarks out")
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        table = pd.read_csv(path, sep="\t")
        if not {"s", "max_rss"} <= set(table):
            raise UserError(f"{path}: not a benchmark of Snakemake (no columns s and max_rss); remove it")
        found = table[["s", "max_rss"]].apply(pd.to_numeric, errors="coerce").dropna(subset="s")
        stage = path.relative_to(folder).parts[0].removesuffix(".tsv")
        copied = _copied(folder.parent / "logs" / path.relative_to(folder).with_suffix(".log"))
        rows += [
            (stage, seconds, memory * 2**20, copied) for seconds, memory in found.itertuples(index=False, name=None)
        ]
    return pd.DataFrame(rows, columns=["stage", "seconds", "memory", "copied"])


def _copied(log: Path) -> bool:
    """Whether a job only copied what another run had made."""
    try:
        with open(log, encoding="utf-8", errors="replace") as stream:
            return any(line.startswith("copied from ") for line in stream)
    except OSError:
        return False


def read_lengths(files: Sequence[Path]) -> pd.DataFrame:
    """Characters of the training sentences: how many sentences of each language have each length.

    A sentence counts once for each direction in which it is trained.
    """
    counts: Counter[tuple[str, int]] = Counter()
    for path in files:
        pair = parse_direction(path.stem)
        for part in chunks.reading(path, "train", ("source", "target")):
            counts.update((pair.source, len(text)) for text in part["source"])
            counts.update((pair.target, len(text)) for text in part["target"])
    rows = [(language, characters, number) for (language, characters), number in sorted(counts.items())]
    return pd.DataFrame(rows, columns=["language", "characters", "sentences"]) if rows else pd.DataFrame()


def parse_assignments(values: Sequence[str], flag: str) -> dict[Run, Path]:
    """Read METHOD/VARIANT/sSEED=FILE; variant and seed are `main` and `0` where they are left out."""
    found = {}
    for value in values:
        name, equals, path = value.partition("=")
        parts = name.split("/")
        if not equals or not path or not all(parts) or len(parts) > 3:
            raise UserError(f"{flag} {value}: write METHOD/VARIANT/sSEED=FILE, as in lora/main/s0=loss.csv")
        method, variant, seed = parts + ["main", "s0"][len(parts) - 1 :]
        run = Run(method, variant, seed.removeprefix("s"))
        if run in found:
            raise UserError(f"{flag} {value}: {name} is given twice")
        found[run] = Path(path)
    return found
