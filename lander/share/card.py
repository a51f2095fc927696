"""Model cards: README.md with the metadata that model hubs read, beside every model that leaves the project.

What is not known is left out; text from configs and folders is escaped. No path of this machine gets into a card. The
text of the cards is card.md.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import jinja2
import yaml
from huggingface_hub import ModelCard, ModelCardData

import lander
from lander.config.base import HUB_NAME
from lander.evaluate.metrics import look, sort_metrics
from lander.finetune import saved
from lander.finetune.delta import Delta
from lander.models import loading
from lander.report.inputs import read_scores_table
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.files import read_json, write_text
from lander.shared.languages import language_name, parse_direction
from lander.shared.provenance import git_state
from lander.translate.translator import Model

NAME = "README.md"
TEMPLATE = Path(__file__).with_name("card.md")
SETTINGS = (  # of a training, in the order of the card
    "learning_rate", "schedule", "warmup", "weight_decay", "clip", "batch_size", "accumulate", "max_length", "dtype",
    "precision", "zero_stage", "scope", "scale", "gate", "lora_rank", "lora_alpha",
)  # fmt: skip
RECORDED = ("updates", "parameters_trained", "parameters_total", "pairs", "tokens", "device", "versions")
MARKUP = "\\`*_{}[]<>#|!~$"


class Card:
    """The cards of a trained model, or of a base: in its folder, in its exports, beside its delta file."""

    def __init__(
        self, path: str, trained: Model | None, directions: list[str], scores: Path | None, license: str | None
    ) -> None:
        """
        Args:
            trained: None for a base.
            scores: the run's evaluate/scores.csv. UserError if it has no score of the model in the directions.
            license: as on the hub, "apache-2.0"; by default the base's.
        """
        if trained is None:
            itself = {"path": path, "digest": loading.digest(path)}
            self.manifest: dict[str, Any] = {"method": "base", "base": itself, "directions": [], "languages": {}}
            self.made: dict[str, Any] = {}
        else:
            self.manifest = trained.manifest
            self.made = trained.provenance if isinstance(trained, Delta) else provenance(trained.path, self.manifest)
        base = self.manifest["base"]["path"]
        self.base = base if HUB_NAME.fullmatch(base) else Path(base).name  # as others know it: no folders
        self.license = license or base_license(base)
        self.scores = self._scores(scores, directions) if scores else []

    def _scores(self, file: Path, directions: Sequence[str]) -> list[list[str]]:
        """The model's rows of a table of scores: test, direction, metric, score, signature."""
        table, variant = read_scores_table(file), self.made.get("variant", "main")
        own = (table["method"] == self.manifest["method"]) & (table["variant"] == variant)
        own &= (table["seed"] == str(self.manifest.get("seed"))) & table["direction"].isin(directions)
        if not own.any():
            what = f"{self.manifest['method']}/{variant}/s{self.manifest.get('seed')}"
            raise UserError(f"--scores: {file}: no score of {what} in {', '.join(directions)}")
        order, cells = sort_metrics(table["metric"]), []
        rows = table[own].to_dict("records")
        for row in sorted(rows, key=lambda row: (row["test"], row["direction"], order.index(row["metric"]))):
            shown = look(row["metric"], [row["signature"]])
            metric = row["metric"] + (" (less is better)" if shown.best == "min" else "")
            score = shown.text(row["score"]) + ("%" if shown.factor == 100 else "")
            cells.append([row["test"], row["direction"], metric, score, row["signature"]])
        return cells

    def write(
        self, path: Path, kind: str, name: str, directions: Sequence[str], *, prompt: str = "", chat: bool = False
    ) -> None:
        """Write a card.

        Args:
            kind: `plain` (a Hugging Face folder of one direction), `delta` (a file) or `folder` (a trained model's).
            name: of the folder or file, as the card's examples call it.
            prompt: what the plain model is asked, for an example sentence.
            chat: as a user's turn in the tokenizer's chat template.
        """
        codes = [list(vars(parse_direction(direction)).values()) for direction in directions]
        names = self.manifest["languages"]
        metadata = ModelCardData(
            language=list(dict.fromkeys(code for pair in codes for code in pair)),
            base_model=self.base,
            library_name="transformers" if kind == "plain" else "lander",
            pipeline_tag="translation",
            license=self.license or "other",
            tags=["translation", "lander", self.manifest["method"]],
        )
        made = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
        made.filters |= {"plain": plain, "repr": repr}
        text = made.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
            kind=kind, name=name, base=self.base, license=self.license, prompt=prompt, chat=chat,
            manifest={"routing": None} | self.manifest, metadata=metadata.to_yaml(), made=self._made(),
            pairs=[" to ".join(plain(names.get(code) or language_name(code)) for code in pair) for pair in codes],
            directions=list(directions), scores=[row for row in self.scores if row[1] in directions],
        )  # fmt: skip
        write_text(path, text)

    def _made(self) -> dict[str, str]:
        """What is known of the training."""
        manifest, made = self.manifest, self.made
        base, commit = manifest["base"], git_state().get("commit")
        trained, total = made.get("parameters_trained"), made.get("parameters_total")

        def words(values: dict[str, Any]) -> str:
            return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in values.items())

        rows = {
            "base": f"{self.base} {base.get('revision') or ''} ({base['digest'][:19]}...)",
            "method": ", ".join(filter(None, [manifest["method"], words(manifest.get("sizes") or {})])),
            "mix": f"{made['mix']} of the tuned weights, the rest the base's" if "mix" in made else None,
            "run and variant": f"{made.get('run')}, {made['variant']}" if "variant" in made else None,
            "seed": made.get("seed", manifest.get("seed")),
            "directions trained": ", ".join(manifest["directions"]),
            "updates": made.get("updates"),
            "parameters trained": f"{trained:,} of {total:,}" if trained is not None and total else None,
            "data": ", ".join(made.get("sources", [])),
            "pairs used": words({name: f"{count.get('used', 0):,}" for name, count in made.get("pairs", {}).items()}),
            "settings": words(made.get("settings", {})),
            "device": made.get("device"),
            "versions": words(made.get("versions", {})),
            "trained with": f"commit {made['commit']}" if made.get("commit") else None,
            "written with": f"Lander {lander.__version__}" + (f", commit {commit[:12]}" if commit else ""),
        }
        return {key: str(value) for key, value in rows.items() if value not in (None, "")}


def provenance(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """How a trained model was made: plain values without paths. Outside of a run, run and variant are missing."""
    record = read_json(folder / "run.json") if (folder / "run.json").is_file() else {}
    saved.check_record(record, folder / "run.json")
    settings = record.get("settings") or {}
    found = {
        "settings": {key: settings[key] for key in SETTINGS if settings.get(key) not in (None, "", [])},
        "seed": manifest.get("seed"),
        "mix": manifest.get("mix"),
    }
    place = folder.resolve().parts
    if len(place) > 4 and place[-4] == "finetune" and place[-3] == manifest["method"]:
        found |= {"run": place[-5], "variant": place[-2]}
    found |= {key: record.get(key) for key in RECORDED}
    found["commit"] = str((record.get("git") or {}).get("commit") or "")
    sources: set[str] = set()
    for path in settings.get("train", []):
        with suppress(UserError):  # the table is gone or damaged
            sources.update(tables.read(path, "train", ["origin"])["origin"])
    found["sources"] = sorted(sources)
    return {key: value for key, value in found.items() if value not in (None, "", {}, [])}


def base_license(base: str) -> str | None:
    """The licence that a local base's own card names; None if it names none."""
    for folder in (loading.BUILT_IN / base, Path(base)):
        try:
            found = ModelCard((folder / NAME).read_text(encoding="utf-8"), ignore_metadata_errors=True).data.license
        except (OSError, ValueError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
            continue  # no card, or one that somebody else has damaged
        if isinstance(found, str):
            return found
    return None


def plain(value: str) -> str:
    """Text that Markdown and HTML take as it is, on one line."""
    return "".join(f"\\{sign}" if sign in MARKUP else sign for sign in " ".join(str(value).split()))
