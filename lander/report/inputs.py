"""What the report shows, read and checked."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from lander.evaluate.collect import read_scores
from lander.report.labels import Method, method_of, run_label
from lander.report.significance import Significance
from lander.shared import tables
from lander.shared.csvfile import read_csv
from lander.shared.errors import UserError
from lander.shared.files import check, read_json
from lander.shared.languages import language_name, parse_direction
from lander.shared.runs import Model

EXAMPLES = 3  # dropped pairs of each filter that are shown
LAYERS = ["direction", "layer", "activation", "delta", "selected"]  # columns of the tables that the figures use
NEURONS = ["layer", "neuron", "kind", "language", "selected"]


@dataclass
class Inputs:
    """The contents of the input files; None or empty if the run has no such file."""

    name: str
    scores: pd.DataFrame  # method, variant, seed, test, direction, metric, score (float), signature
    folder: Path | None = None  # of the run, if all is read from there
    layers: pd.DataFrame | None = None
    neurons: pd.DataFrame | None = None
    awareness: dict[str, pd.DataFrame] = field(default_factory=dict)  # language -> table "awareness"
    counts: pd.DataFrame | None = None
    prompts: pd.DataFrame | None = None  # direction, prompt, bleu, chosen
    losses: dict[Model, pd.DataFrame] = field(default_factory=dict)
    runs: dict[Model, dict[str, Any]] = field(default_factory=dict)
    config: str | None = None
    config_path: str | None = None
    significance: Significance = field(default_factory=Significance)
    dropped: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # pair -> examples: reason, first, second
    # stage, seconds, memory (bytes), copied; one row per job
    benchmarks: pd.DataFrame = field(default_factory=pd.DataFrame)
    lengths: pd.DataFrame = field(default_factory=pd.DataFrame)  # language, characters, sentences
    code: dict[str, Any] = field(default_factory=dict)  # stage -> digest of its code
    made: dict[str, Any] = field(default_factory=dict)  # git, machine and versions that make the page
    date: str = ""  # when the scores were made

    @property
    def models(self) -> list[Model]:
        """The models that have scores."""
        rows = self.scores[["method", "variant", "seed"]].drop_duplicates().itertuples(index=False, name=None)
        return sorted(Model(method, variant, int(seed)) for method, variant, seed in rows)

    @property
    def methods(self) -> list[Method]:
        return list(dict.fromkeys(map(method_of, self.models)))

    def label(self, method: Method) -> str:
        """The name of a method of this run beside those of other runs."""
        return f"{run_label(method)} · {self.name}"

    def setting(self, *keys: str) -> Any:
        """A value of the config, or None if there is no config, no such key, or the config cannot be parsed."""
        try:
            value: Any = yaml.safe_load(self.config or "")
        except yaml.YAMLError:  # the page still shows the config as text
            return None
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def language(self, code: str) -> str:
        """`Arabic (ar)`: the name of a language in the config or CLDR; the code alone if neither has one."""
        name = self.setting("languages", code)
        try:
            return f"{name if isinstance(name, str) else language_name(code)} ({code})"
        except UserError:
            return code


def read_scores_table(path: Path) -> pd.DataFrame:
    """scores.csv with `score` as a number."""
    return pd.DataFrame(read_scores(path)).astype({"score": float})


def read_awareness(files: Sequence[Path], languages: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Awareness tables by language. Files and languages are in the same order."""
    if len(files) != len(languages):
        numbers = f"--awareness has {len(files)} files and --awareness-languages {len(languages)}"
        raise UserError(f"{numbers}: give one language per file")
    found = [tables.read(path, "awareness", ["layer", "neuron", "score"]) for path in files]
    return dict(zip(languages, found, strict=True))


def _complete(path: Path, columns: list[str], numbers: list[str], maker: str) -> pd.DataFrame:
    """Some columns of a CSV file; lines without a number where one belongs are left out."""
    table = read_csv(path, columns, absent=f"`python -m {maker}` makes it", dtype=None)[columns]
    table[numbers] = table[numbers].apply(pd.to_numeric, errors="coerce")
    return table.astype({"direction": str}).dropna()


def read_loss(path: Path) -> pd.DataFrame:
    """A loss log of `lander.finetune`."""
    return _complete(path, ["update", "direction", "loss", "tokens"], ["update", "loss", "tokens"], "lander.finetune")


def read_prompts(path: Path) -> pd.DataFrame:
    """The prompts that `lander.translate --choose-prompt` tried on the dev set."""
    prompts = _complete(path, ["direction", "prompt", "bleu", "chosen"], ["bleu"], "lander.translate")
    return prompts.assign(chosen=prompts["chosen"].astype(str).str.lower() == "true").astype({"prompt": str})


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object: run.json of `lander.finetune` (settings, versions and costs, each optional)."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object; remove it and run snakemake again")
    return content


def read_digests(path: Path) -> dict[str, Any]:
    """Digests of code. The hook that writes them does not run in a module of another workflow, or with --no-hooks."""
    return read_object(path) if path.is_file() else {}


def read_config(path: Path) -> str:
    """The text of the config; it may be broken."""
    check(path)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the config cannot be read ({error}); give the YAML file of the run") from None


def read_dropped(files: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """The first pairs that each filter dropped, at most `EXAMPLES`, from <pair>.dropped.jsonl of `lander.data`."""
    found = {}
    for path in files:
        pair, examples = str(parse_direction(path.name.split(".")[0])), {}  # by filter
        check(path)
        try:
            with open(path, encoding="utf-8", newline="\n") as stream:
                for line in stream:
                    row = json.loads(line)
                    own = examples.setdefault(str(row["reason"]), [])
                    if len(own) < EXAMPLES:
                        own.append({**row, "first": str(row["first"]), "second": str(row["second"])})
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; `python -m lander.data` makes it") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{path}: not a list of dropped pairs ({error}); remove it and run snakemake") from None
        found[pair] = [row for rows in examples.values() for row in rows]
    return found


def read_benchmarks(folder: Path) -> pd.DataFrame:
    """Time and memory of every job, from Snakemake's benchmark files <folder>/<stage>/**.tsv or <stage>.tsv.

    A training that was stopped has a benchmark of its last process; its own record has the time of all.
    `copied` marks jobs whose outputs come from another run: `lander.workflow.reuse` left a record at the path of the
    benchmark, in the folder `.copied` beside this one.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; leave --benchmarks out")
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        table = read_csv(path, ["s", "max_rss"], remedy="remove it; it is no benchmark of Snakemake", sep="\t")
        found = table[["s", "max_rss"]].apply(pd.to_numeric, errors="coerce").dropna(subset="s")
        name = path.relative_to(folder)
        stage = name.parts[0].removesuffix(".tsv")
        copied = (folder.parent / ".copied" / name.with_suffix(".json")).is_file()
        if stage == "finetune" and (record := folder.parent / name.with_suffix("") / "run.json").is_file():
            whole = read_object(record).get("seconds", 0)
            found["s"] = found["s"].clip(lower=whole if isinstance(whole, int | float) else 0)
        rows += [(stage, seconds, size * 2**20, copied) for seconds, size in found.itertuples(index=False, name=None)]
    return pd.DataFrame(rows, columns=["stage", "seconds", "memory", "copied"])


def read_lengths(files: Sequence[Path]) -> pd.DataFrame:
    """How many training sentences of each language have each length, once for each direction that they train."""
    counts: Counter[tuple[str, int]] = Counter()
    for path in files:
        pair = parse_direction(path.stem)
        for part in tables.read_chunks(path, "train", ("source", "target")):
            counts.update((pair.source, len(text)) for text in part["source"].to_pylist())
            counts.update((pair.target, len(text)) for text in part["target"].to_pylist())
    rows = [(*key, number) for key, number in sorted(counts.items())]
    return pd.DataFrame(rows, columns=["language", "characters", "sentences"])


def parse_assignments(values: Sequence[str], flag: str) -> dict[Model, Path]:
    """Read METHOD/VARIANT/sSEED=FILE; variant and seed are `main` and `s0` if they are left out."""
    found = {}
    for value in values:
        name, _, path = value.partition("=")
        parts = name.split("/")
        if not path or not 1 <= len(parts) <= 3:
            raise UserError(f"{flag} {value}: write METHOD/VARIANT/sSEED=FILE, as in lora/main/s0=loss.csv")
        model = Model.parse("/".join(parts + ["main", "s0"][len(parts) - 1 :]))
        if model in found:
            raise UserError(f"{flag} {value}: {name} is given twice")
        found[model] = Path(path)
    return found
