"""Model cards: README.md with the metadata that model hubs read, beside every model that leaves the project.

What is not known is left out; text from configs and folders is escaped. No path of this machine gets into a card.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

import lander
from lander.finetune.manifest import check_provenance
from lander.report.inputs import read_scores_table
from lander.report.labels import look
from lander.shared.errors import UserError
from lander.shared.files import read_json, write_text
from lander.shared.languages import language_name, parse_direction
from lander.shared.provenance import git_state

NAME = "README.md"
SETTINGS = (  # of a training, in the order of the card
    "learning_rate", "schedule", "warmup", "weight_decay", "clip", "batch_size", "accumulate", "max_length", "dtype",
    "precision", "zero_stage", "scope", "scale", "gate", "lora_rank", "lora_alpha",
)  # fmt: skip
METRICS = ("bleu", "chrf2++", "bleu_raw", "comet")  # these first
MARKUP = "\\`*_{}[]<>#|!~$"
WHAT = {  # kind of card -> what it is about
    "plain": "A translation model of the base's own architecture: any code that loads the base loads it.",
    "delta": "What was trained of a translation model; it is put on its base, which is needed too.",
    "folder": "A trained translation model; except for the method `full`, its base is needed too.",
}
LIMITS = (
    "It was trained on single sentences with the prompts of its training, not on longer texts or with other prompts.",
    "Beyond what it was trained for, its knowledge and its faults, biases among them, are the base's.",
    "Translations can be wrong, or leave out or add something; have a person read what matters.",
)
PLAIN_LIMITS = (
    "It is exact in float32; other types round, as they do for the base.",
    "Neurons of other languages are zero: it is of use for its direction alone.",  # only of a routed model
)


def provenance(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """How a trained model was made, from its folder: plain values without paths.

    Args:
        folder: results/<run>/finetune/<method>/<variant>/s<seed>; elsewhere run and variant are not known.
    """
    record = read_json(folder / "run.json") if (folder / "run.json").is_file() else {}
    check_provenance(record, folder / "run.json")
    settings = record.get("settings") or {}
    found = {
        "settings": {key: settings[key] for key in SETTINGS if settings.get(key) not in (None, "", [])},
        "seed": manifest.get("seed"),
        "mix": manifest.get("mix"),
    }
    place = folder.resolve().parts
    if len(place) > 4 and place[-4] == "finetune" and place[-3] == manifest["method"]:
        found |= {"run": place[-5], "variant": place[-2]}
    for key in ("updates", "parameters_trained", "parameters_total", "pairs", "tokens", "device", "versions"):
        found[key] = record.get(key)
    found["commit"] = str((record.get("git") or {}).get("commit") or "")
    found["sources"] = record.get("sources") or _sources(settings.get("train", []))
    return {key: value for key, value in found.items() if value not in (None, "", {}, [])}


def _sources(tables: Iterable[str]) -> list[str]:
    """Names of the sources of training tables that are still there."""
    import pyarrow as pa
    import pyarrow.compute
    import pyarrow.parquet as pq

    names: set[str] = set()
    for path in map(Path, tables):
        try:
            names.update(pa.compute.unique(pq.read_table(path, columns=["origin"])["origin"]).to_pylist())
        except (OSError, pa.ArrowException, KeyError, ValueError):
            continue
    return sorted(names)


def scores_of(file: Path, manifest: dict[str, Any], made: dict[str, Any], directions: Sequence[str]) -> list[dict]:
    """A model's rows of evaluate/scores.csv in some directions.

    Raises:
        UserError: no such table, or no row of the model in it.
    """
    table = read_scores_table(file)
    own = (table["method"] == manifest["method"]) & (table["variant"] == made.get("variant", "main"))
    rows = table[own & (table["seed"] == str(manifest.get("seed"))) & table["direction"].isin(directions)]
    if rows.empty:
        what = f"{manifest['method']}/{made.get('variant', 'main')}/s{manifest.get('seed')}"
        raise UserError(f"--scores: {file}: no score of {what} in {', '.join(directions)}")
    return rows.to_dict("records")


def base_license(base: str) -> str | None:
    """The licence that a local base's own card names; None where there is none."""
    from huggingface_hub import ModelCard

    from lander.models import loading

    for folder in (loading.BUILT_IN / base, Path(base)):
        try:
            found = ModelCard((folder / NAME).read_text(encoding="utf-8"), ignore_metadata_errors=True).data.license
        except (OSError, ValueError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
            continue  # no card, or one that somebody else has damaged
        if isinstance(found, str):
            return found
    return None


def write(
    path: Path,
    manifest: dict[str, Any],
    made: dict[str, Any],
    *,
    kind: str,
    name: str,
    directions: Sequence[str],
    prompt: str = "",
    chat: bool = False,
    scores: Sequence[dict] = (),
    license: str | None = None,
) -> None:
    """Write a card.

    Args:
        manifest: the trained model's.
        made: its provenance.
        kind: `plain` (a Hugging Face folder of one direction), `delta` (a file) or `folder` (a trained model's own).
        name: of the folder or file, as the card's examples call it.
        directions: which it translates.
        prompt: what the plain model is asked, for an example sentence.
        chat: as a user's turn in the tokenizer's chat template.
        license: as on the hub, "apache-2.0"; by default the base's.
    """
    from huggingface_hub import ModelCardData

    base = _base_name(manifest["base"]["path"])
    license = license or base_license(manifest["base"]["path"])
    codes = [list(vars(parse_direction(direction)).values()) for direction in directions]
    pairs = [" to ".join(_plain(_language(code, manifest["languages"])) for code in pair) for pair in codes]
    limits = [*LIMITS, *PLAIN_LIMITS[: 2 if manifest.get("routing") else 1]] if kind == "plain" else LIMITS
    terms = "The licence of the base and the terms of the training data apply to this model too."
    if license:
        terms = f"The base, {_plain(base)}, has the licence {_plain(license)}. {terms}"
    data = ModelCardData(
        language=list(dict.fromkeys(code for pair in codes for code in pair)),
        base_model=base,
        library_name="transformers" if kind == "plain" else "lander",
        pipeline_tag="translation",
        license=license or "other",
        tags=["translation", "lander", manifest["method"]],
    )
    parts = [
        f"---\n{data.to_yaml()}\n---",
        "# " + _plain(", ".join([base, manifest["method"], *directions])),
        f"{WHAT[kind]} It translates {'; '.join(pairs)}.",
        "## How to load\n\n" + _loading(kind, name, base, directions, prompt, chat),
        "## Scores\n\n" + (_scores(scores) if scores else "None were given for this card."),
        "## How it was made\n\n" + _made(manifest, made),
        "## Limitations\n\n" + "\n".join(f"- {line}" for line in limits),
        f"## Licence\n\n{terms}",
    ]
    write_text(path, "\n\n".join(parts) + "\n")


def _loading(kind: str, name: str, base: str, directions: Sequence[str], prompt: str, chat: bool) -> str:
    if kind == "plain":
        asked = f"tokenizer({prompt!r}, return_tensors='pt', return_token_type_ids=False)"
        if chat:
            options = "add_generation_prompt=True, enable_thinking=False, return_tensors='pt', return_dict=True"
            asked = f"tokenizer.apply_chat_template([{{'role': 'user', 'content': {prompt!r}}}], {options})"
        lines = [
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            f"tokenizer, model = (kind.from_pretrained({name!r}) for kind in (AutoTokenizer, AutoModelForCausalLM))",
            f"prompt = {asked}",
            "output = model.generate(**prompt, max_new_tokens=256, do_sample=False)",
            "print(tokenizer.decode(output[0, prompt['input_ids'].shape[1] :], skip_special_tokens=True))",
        ]
        after = "\n\nThe sentence is inside the prompt of the training; the translation is the output's first line."
    else:
        where = f", base={base!r}" if kind == "delta" else ""
        lines = ["import lander", f"model = lander.load({name!r}{where})"]
        lines += [f"print(model.translate(['Good morning.'], {directions[0]!r}))"] if directions else []
        after = "\n\nThe base's digest is checked before anything is put on it." if kind == "delta" else ""
    return "```python\n" + "\n".join(lines) + "\n```" + after


def _scores(scores: Sequence[dict]) -> str:
    order = {metric: place for place, metric in enumerate(METRICS)}
    rows = sorted(scores, key=lambda row: (row["test"], row["direction"], order.get(row["metric"], 99), row["metric"]))
    cells = []
    for row in rows:
        shown = look(row["metric"], [str(row["signature"])])
        metric = row["metric"] + (" (less is better)" if shown.best == "min" else "")
        score = shown.text(row["score"]) + ("%" if shown.factor == 100 else "")
        cells.append([row["test"], row["direction"], metric, score, str(row["signature"])])
    return _table(["test", "direction", "metric", "score", "signature"], cells)


def _made(manifest: dict[str, Any], made: dict[str, Any]) -> str:
    """A table of what is known of the training."""
    base, settings = manifest["base"], made.get("settings", {})
    trained, total = made.get("parameters_trained"), made.get("parameters_total")
    sizes = manifest.get("sizes") or {}
    pairs, commit = made.get("pairs", {}), git_state().get("commit")
    rows: dict[str, Any] = {
        "base": f"{_base_name(base['path'])} {base.get('revision') or ''} ({base['digest'][:19]}...)",
        "method": manifest["method"] + "".join(f", {key.replace('_', ' ')} {value}" for key, value in sizes.items()),
        "mix": f"{made['mix']} of the tuned weights, the rest the base's" if made.get("mix") is not None else None,
        "run and variant": f"{made.get('run')}, {made['variant']}" if "variant" in made else None,
        "seed": made.get("seed", manifest.get("seed")),
        "directions trained": ", ".join(manifest["directions"]),
        "updates": made.get("updates"),
        "parameters trained": f"{trained:,} of {total:,}" if trained is not None and total else None,
        "data": ", ".join(made.get("sources", [])) or None,
        "pairs used": ", ".join(f"{name} {count['used']:,}" for name, count in pairs.items()) or None,
        "settings": ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in settings.items()) or None,
        "device": made.get("device"),
        "versions": ", ".join(f"{key} {value}" for key, value in made.get("versions", {}).items()) or None,
        "trained with": f"commit {made['commit']}" if made.get("commit") else None,
        "written with": f"Lander {lander.__version__}" + (f", commit {commit[:12]}" if commit else ""),
    }
    return _table(["", ""], [[key, str(value)] for key, value in rows.items() if value is not None])


def _language(code: str, languages: dict[str, str]) -> str:
    if code in languages:
        return str(languages[code])
    try:
        return language_name(code)
    except UserError:
        return code


def _base_name(path: str) -> str:
    """A base as others know it: a hub id as it is, of a local folder the name alone."""
    return Path(path).name if path.startswith(("/", ".", "~")) or path.count("/") != 1 else path


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(value: str) -> str:
    """Text that Markdown and HTML take as it is, on one line."""
    return "".join(f"\\{sign}" if sign in MARKUP else sign for sign in " ".join(str(value).split()))
