"""Section "Provenance": what the numbers were made with, and the commands that reproduce them."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from sacrebleu.metrics import BLEU

from lander.evaluate.collect import MEANS
from lander.evaluate.metrics import look, sort_metrics
from lander.report.inputs import Inputs
from lander.report.labels import ORDER, method_of, run_label, sort_directions
from lander.report.tables import MISSING, Table, first, quantity
from lander.shared.runs import Model

MACHINE = ("processor", "cores", "system", "python")
READ = "import json, sys; [print(json.loads(line)[sys.argv[1]]) for line in sys.stdin]"  # a column of JSON lines
READ_ALL = (  # all references of each line, with tabs between them
    "import json, sys; rows = map(json.loads, sys.stdin); "
    "[print(row['reference'], *row['other_references'], sep='\t') for row in rows]"
)


def run_command(inputs: Inputs) -> str:
    config = f" --configfile {shlex.quote(inputs.config_path)}" if inputs.config_path else ""
    return f"snakemake --cores 2{config}"


def model_label(model: Model) -> str:
    return f"{run_label(method_of(model))}, seed {model.seed}"


def commands(inputs: Inputs, experiments: Iterable[str]) -> list[tuple[str, str]]:
    """(what it makes, command): the run, its experiments, one score, and that score from its translations alone."""
    base = run_command(inputs)
    found = [("The run and this page", base)]
    if names := " ".join(map(shlex.quote, experiments)):
        found.append(("Its experiments", f"{base} -- {names}"))
    rows = inputs.scores[(inputs.scores["metric"] == "bleu") & ~inputs.scores["direction"].isin(MEANS)]
    if rows.empty:
        return found
    trained = rows[~rows["method"].isin(ORDER[:2])]
    row = (trained if len(trained) else rows).iloc[0]
    results = Path(inputs.config_path).parent if inputs.config_path else Path("results", inputs.name)
    model, item = Model(row["method"], row["variant"], int(row["seed"])), f"{row['test']}/{row['direction']}"
    what = f"{model_label(model)}, {row['direction']} on {row['test']}"
    score = shlex.quote(f"{results}/evaluate/{model}/{item}.csv")
    found.append((f"The scores of one model, with its training ({what})", f"{base} -- {score}"))
    signature = dict(part.partition(":")[::2] for part in row["signature"].split("|"))
    file = shlex.quote(f"{results}/translate/{model}/{item}.jsonl")
    number = signature.get("nrefs", "1")
    if number == "var":  # sacreBLEU's command line wants equally many references of each sentence
        return found
    read, several = f"python -c {shlex.quote(READ)}", "" if number == "1" else f" --num-refs {number}"
    lines = [f"{read} {column} < {file} > {column}.txt" for column in ("reference", "hypothesis")]
    if several:
        lines[0] = f"python -c {shlex.quote(READ_ALL)} < {file} > reference.txt"
    tokenizer = tokenizer_choice(signature.get("tok", "13a"))
    lines.append(f"sacrebleu reference.txt{several} -i hypothesis.txt -m bleu --tokenize {tokenizer} -b")
    found.append((f"The same BLEU from the translations, with sacreBLEU alone: {row['score']:.1f}", "\n".join(lines)))
    return found


def tokenizer_choice(signed: str) -> str:
    """A tokenizer of a signature as sacreBLEU's command line names it: `ja-mecab` for `ja-mecab-0.996-IPA`."""
    known = [name for name in BLEU.TOKENIZERS if signed == name or signed.startswith(f"{name}-")]
    return max(known, key=len, default=shlex.quote(signed))


def signature_table(inputs: Inputs) -> Table:
    """The signatures of each metric, with the directions that have them."""
    rows = inputs.scores[~inputs.scores["direction"].isin(MEANS)]
    table = []
    for metric in sort_metrics(rows["metric"]):
        part = rows[rows["metric"] == metric]
        heading, everywhere = look(metric, part["signature"].unique()).heading, part["direction"].nunique()
        for signature, own in part.groupby("signature"):
            names = sort_directions(own["direction"].unique())
            where = "all directions" if len(names) == everywhere else ", ".join(names)
            table.append((heading, [where, signature]))
    notes = ["A mean over directions carries the signatures of its scores. scores.csv has every score's signature."]
    columns = ["directions", "signature"]
    return Table.of("Signatures of the scores", "metric", columns, table, notes=notes, wide=True)


def made_tables(inputs: Inputs) -> list[Table]:
    """Code, machine and library versions of this page and of the trainings, and digests of the stages' code."""
    both = (versions(inputs), inputs.made.get("versions") or {})
    names = sorted(set().union(*both), key=str.lower)
    libraries = [(name, [own.get(name, MISSING) for own in both]) for name in names]
    found = [
        _machine_table(inputs),
        Table.of("Versions", "library", ["trainings", "this page"], libraries),
        Table.of("Code of the stages", "stage", ["digest"], [(name, [one]) for name, one in inputs.code.items()]),
    ]
    return [table for table in found if table.rows]


def versions(inputs: Inputs) -> dict[str, str]:
    """Library -> its version in the trainings; several if they differ."""
    found: dict[str, set[str]] = {}
    for content in inputs.runs.values():
        there = content.get("versions")
        for name, version in (there if isinstance(there, dict) else {}).items():
            found.setdefault(str(name), set()).add(str(version))
    return {name: ", ".join(sorted(there)) for name, there in found.items()}


def _machine_table(inputs: Inputs) -> Table:
    """Commit and machine; makers with the same values share a row."""
    records = {"this page": inputs.made} | {model_label(model): one for model, one in inputs.runs.items()}
    found: dict[tuple[str, ...], list[str]] = {}
    for name, record in records.items():
        git, machine = (record.get(key) if isinstance(record.get(key), Mapping) else {} for key in ("git", "machine"))
        if not git and not machine:
            continue
        changed = [str(file) for file in git.get("changed") or []]
        since = f"changed since: {first(changed, 5)}" if changed else "nothing changed"
        commit = f"{git['commit']}, {since}" if git.get("commit") else "not in git"
        gpus, memory = machine.get("gpus") or [], machine.get("memory_bytes")
        chips = ", ".join(f"{gpus.count(gpu)} × {gpu}" for gpu in dict.fromkeys(gpus)) or "none"
        size = quantity(memory, "B") if isinstance(memory, int) else MISSING
        processor, cores, system, python = (str(machine.get(key, MISSING)) for key in MACHINE)
        found.setdefault((commit, processor, cores, size, chips, f"{system}, Python {python}"), []).append(name)
    rows = [(first(names), texts) for texts, names in found.items()]
    columns = ["code (git)", "processor", "cores", "memory", "GPU", "system"]
    notes = ["If files differ from the commit, their code may not be in the repository. The digests below identify it."]
    return Table.of("Code and machine", "what was made", columns, rows, notes=notes, wide=True)
