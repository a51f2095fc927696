"""Provenance: with what the numbers were made, and the commands that make them again."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from sacrebleu.metrics import BLEU

from lander.evaluate.collect import MEANS
from lander.report.inputs import Inputs
from lander.report.metrics import METRICS, look
from lander.report.order import ORDER, run_label, sort_directions
from lander.report.tables import MISSING, Cell, Head, Table, quantity

PAGE = "this page"
READ = "import json, sys; [print(json.loads(line)[sys.argv[1]]) for line in sys.stdin]"  # a column of JSON lines


def results(inputs: Inputs) -> str:
    """The folder of the run: that of its config."""
    return str(Path(inputs.config_path).parent) if inputs.config_path else f"results/{inputs.name}"


def commands(inputs: Inputs, experiments: list[str]) -> list[tuple[str, str]]:
    """(what it makes, command): the run, its experiments, one score, that score from its translations alone."""
    config = f" --configfile {shlex.quote(inputs.config_path)}" if inputs.config_path else ""
    base = f"snakemake --cores 2{config}"
    found = [("The run and this page", base)]
    if experiments:
        found.append(("Its experiments", f"{base} -- {' '.join(map(shlex.quote, experiments))}"))
    rows = inputs.scores[(inputs.scores["metric"] == "bleu") & ~inputs.scores["direction"].isin(MEANS)]
    if rows.empty:
        return found
    order = [*ORDER, *sorted(set(rows["method"]) - set(ORDER))]
    trained = rows[rows["method"].isin(order[2:])]
    row = (trained if len(trained) else rows).iloc[0]
    model = f"{row['method']}/{row['variant']}/s{row['seed']}"
    item = f"{row['test']}/{row['direction']}"
    score, texts = (f"{results(inputs)}/{stage}/{model}/{item}" for stage in ("evaluate", "translate"))
    what = f"{run_label((row['method'], row['variant']))}, seed {row['seed']}, {row['direction']} on {row['test']}"
    found.append((f"One model's scores, with its training ({what})", f"{base} -- {shlex.quote(score + '.csv')}"))
    found.append((f"The same BLEU from the translations, with sacreBLEU alone: {row['score']:.1f}", _bleu(row, texts)))
    return found


def _bleu(row: pd.Series, texts: str) -> str:
    parts = dict(part.partition(":")[::2] for part in row["signature"].split("|"))
    read = f"python -c {shlex.quote(READ)}"
    file = shlex.quote(f"{texts}.jsonl")
    lines = [f"{read} {column} < {file} > {column}.txt" for column in ("reference", "hypothesis")]
    tokenizer = tokenizer_choice(parts.get("tok", "13a"))
    return "\n".join([*lines, f"sacrebleu reference.txt -i hypothesis.txt -m bleu --tokenize {tokenizer} -b"])


def tokenizer_choice(signed: str) -> str:
    """What sacreBLEU's command line calls a tokenizer of its signatures: of `ja-mecab-0.996-IPA` it is `ja-mecab`."""
    known = [name for name in BLEU.TOKENIZERS if signed == name or signed.startswith(f"{name}-")]
    return max(known, key=len, default=shlex.quote(signed))


def signature_table(scores: pd.DataFrame) -> Table:
    """Every signature there is: of which metric, and in which directions."""
    rows = scores[~scores["direction"].isin(MEANS)]
    known = [name for name in METRICS if name in set(rows["metric"])]
    table = []
    for metric in known + sorted(set(rows["metric"]) - set(known)):
        part = rows[rows["metric"] == metric]
        everywhere = part["direction"].nunique()
        for signature, own in part.groupby("signature"):
            names = sort_directions(own["direction"].unique())
            where = "all directions" if len(names) == everywhere else ", ".join(names)
            table.append((look(metric, part["signature"].unique()).heading, [Cell(where), Cell(str(signature))]))
    heads = [Head("directions"), Head("signature")]
    notes = ["Means over directions carry the signatures of what they are means of. scores.csv has each score's own."]
    return Table("Signatures of the scores", "metric", heads, table, notes=notes, wide=True)


def seeds(inputs: Inputs) -> str:
    """Which seeds there are."""
    found = sorted(inputs.scores["seed"].unique(), key=lambda seed: (len(str(seed)), seed))
    what = "of the draw of the training pairs, their templates and their order, and of what training initialises"
    return f"Seed{'s' if len(found) > 1 else ''} {', '.join(map(str, found))}: {what}."


def made_table(inputs: Inputs) -> Table | None:
    """Code and machine: of this page, and of the trainings that noted them; equal ones on one row."""
    found: dict[tuple, list[str]] = {}
    records = {PAGE: inputs.made} | {_name(run): content for run, content in inputs.runs.items()}
    for name, record in records.items():
        git, machine = (record.get(key) if isinstance(record.get(key), Mapping) else {} for key in ("git", "machine"))
        if git or machine:
            found.setdefault((_commit(git), *_machine(machine)), []).append(name)
    if not found:
        return None
    trained = len(inputs.runs)
    rows = []
    for key, names in found.items():
        models = [name for name in names if name != PAGE]
        label = f"training of all {trained} models" if len(models) == trained > 2 else ", ".join(models)
        label = ", ".join(part for part in (PAGE if PAGE in names else "", label) if part)
        rows.append((label, [Cell(text) for text in key]))
    heads = [Head(text) for text in ("code (git)", "processor", "cores", "memory", "GPU", "system")]
    notes = ["Of files that differ from the commit the code may not be in the repository; the digests below know it."]
    return Table("Code and machine", "what was made", heads, rows, notes=notes, wide=True)


def _name(run: tuple[str, str, str]) -> str:
    return f"{run_label(run[:2])} (seed {run[2]})"


def _commit(git: Mapping[str, Any]) -> str:
    if not git.get("commit"):
        return "not in git"
    changed = [str(name) for name in git.get("changed") or []]
    if not changed:
        return f"{git['commit']}, nothing changed"
    more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
    return f"{git['commit']}, changed since: {', '.join(changed[:5])}{more}"


def _machine(machine: Mapping[str, Any]) -> list[str]:
    memory = machine.get("memory_bytes")
    gpus = machine.get("gpus") or []
    counted = [f"{gpus.count(name)} × {name}" for name in dict.fromkeys(gpus)]
    size = quantity(memory, "B") if isinstance(memory, int) else MISSING
    processor, cores, system, python = (
        str(machine.get(key, MISSING)) for key in ("processor", "cores", "system", "python")
    )
    return [processor, cores, size, ", ".join(counted) or "none", f"{system}, Python {python}"]


def version_table(inputs: Inputs) -> Table | None:
    """Versions of the libraries: of the trainings (several where these differ), and of the page."""
    trained: dict[str, set[str]] = {}
    for content in inputs.runs.values():
        versions = content.get("versions")
        for name, version in (versions if isinstance(versions, dict) else {}).items():
            trained.setdefault(str(name), set()).add(str(version))
    here = inputs.made.get("versions") or {}
    names = sorted({*trained, *here}, key=str.lower)
    if not names:
        return None
    rows = [
        (name, [Cell(", ".join(sorted(trained.get(name, {MISSING})))), Cell(str(here.get(name, MISSING)))])
        for name in names
    ]
    return Table("Versions", "library", [Head("trainings"), Head(PAGE)], rows)


def code_table(inputs: Inputs) -> Table | None:
    """Digest of each stage's code."""
    if not inputs.code:
        return None
    rows = [(str(name), [Cell(str(digest))]) for name, digest in inputs.code.items()]
    return Table("Code of the stages", "stage", [Head("digest")], rows)
