"""Model cards: README.md with the metadata that model hubs read, beside every model that leaves the project.

What is not known is left out; text from configs and folders is escaped. No path of this machine gets into a card. The
text of the cards is card.md.
"""

from collections.abc import Sequence
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any

import jinja2
import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

import lander
from lander.config.base import HUB_NAME
from lander.config.methods import METHODS
from lander.evaluate.metrics import OPTIONAL, look, sort_metrics
from lander.finetune import saved
from lander.finetune.delta import Delta
from lander.models import loading
from lander.models import plain as plain_folders
from lander.report.inputs import read_scores_table
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.files import read_json, write_text
from lander.shared.languages import language_name, parse_direction
from lander.shared.provenance import git_state
from lander.shared.yamlfile import read_yaml
from lander.translate.translator import Model

NAME = "README.md"
TEMPLATE = Path(__file__).with_name("card.md")
SETTINGS = (  # of a training, in the order of the card
    "learning_rate", "schedule", "warmup", "weight_decay", "clip", "batch_size", "accumulate", "max_length", "dtype",
    "mix_directions", "precision", "zero_stage", "scope", "scale", "gate", "lora_rank", "lora_alpha",
)  # fmt: skip
RECORDED = ("updates", "parameters_trained", "parameters_total", "pairs", "tokens", "device", "versions")
LICENSES = Path(__file__).with_name("licenses.txt").read_text(encoding="utf-8").split()  # that the hub knows
LISTED = ("bleu", "chrf2++", *OPTIONAL)  # metrics in the metadata; the text has all
LICENSE_KEYS = ("license", "license_name", "license_link")
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
            license: as on the hub, "apache-2.0", or the name of another; by default the base's.
        """
        if trained is None:
            itself = {"path": path, "digest": loading.digest(path)}
            self.manifest: dict[str, Any] = {"method": "base", "base": itself, "directions": [], "languages": {}}
            self.made: dict[str, Any] = {}
        else:
            self.manifest = trained.manifest
            self.made = trained.provenance if isinstance(trained, Delta) else provenance(trained.path, self.manifest)
        base = self.manifest["base"]["path"]
        self.base_id, _ = plain_folders.hub_id(base)
        self.base = self.base_id or Path(base).name  # as others know it: no folders
        known = {"license": license} if license else base_license(base)
        if known.get("license", "other") not in (*LICENSES, "other"):
            known = {"license": "other", "license_name": known["license"]}
        self.license = known
        self.scores = self._scores(scores, directions) if scores else []

    def _scores(self, file: Path, directions: Sequence[str]) -> list[dict[str, Any]]:
        """The model's rows of a table of scores, with what the card shows of each as `cells`."""
        table, variant = read_scores_table(file), self.made.get("variant", "main")
        own = (table["method"] == self.manifest["method"]) & (table["variant"] == variant)
        own &= (table["seed"] == str(self.manifest.get("seed"))) & table["direction"].isin(directions)
        if not own.any():
            what = f"{self.manifest['method']}/{variant}/s{self.manifest.get('seed')}"
            raise UserError(f"--scores: {file}: no score of {what} in {', '.join(directions)}")
        order = sort_metrics(table["metric"])
        rows = table[own].to_dict("records")
        rows.sort(key=lambda row: (row["test"], row["direction"], order.index(row["metric"])))
        for row in rows:
            shown = look(row["metric"], [row["signature"]])
            metric = row["metric"] + (" (less is better)" if shown.best == "min" else "")
            score = shown.text(row["score"]) + ("%" if shown.factor == 100 else "")
            row["cells"] = [row["test"], row["direction"], metric, score, row["signature"]]
        return rows

    def write(
        self, path: Path, kind: str, name: str, directions: Sequence[str], *, prompt: str = "", chat: bool = False
    ) -> None:
        """Write a card.

        Args:
            kind: `plain` (a Hugging Face folder of one direction), `delta` (a file), `folder` (a trained model's) or
                `hub` (the same, as others fetch it).
            name: of the folder or file, as the card's examples call it.
            prompt: what the plain model is asked, for an example sentence.
            chat: as a user's turn in the tokenizer's chat template.
        """
        codes = [list(vars(parse_direction(direction)).values()) for direction in directions]
        names = self.manifest["languages"]
        scores = [row for row in self.scores if row["direction"] in directions]
        method = METHODS.get(self.manifest["method"])
        library = "transformers" if kind == "plain" else "lander"
        if kind in ("folder", "hub") and method and method.parts == ("lora",):
            library = "peft"
        metadata = ModelCardData(
            language=list(dict.fromkeys(code for pair in codes for code in pair)),
            base_model=self.base_id,
            datasets=self.made.get("datasets"),
            library_name=library,
            pipeline_tag="translation",
            tags=["translation", "lander", self.manifest["method"]],
            model_name=name if scores else None,
            eval_results=[result(row) for row in scores if row["metric"] in LISTED and isfinite(row["score"])] or None,
            **({"license": "unknown"} | self.license),
        )
        made = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
        made.filters |= {"plain": plain, "repr": repr}
        text = made.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
            kind=kind, name=name, base=self.base, license=self.license, prompt=prompt, chat=chat, library=library,
            manifest={"routing": None} | self.manifest, metadata=metadata.to_yaml(), made=self._made(),
            pairs=[" to ".join(plain(names.get(code) or language_name(code)) for code in pair) for pair in codes],
            directions=list(directions), scores=[row["cells"] for row in scores],
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
    if "run" in found:  # it has its config beside its results
        with suppress(UserError, LookupError, TypeError, AttributeError):
            named = [source.get("hf") for source in read_yaml(Path(*place[:-4], "config.yaml"))["data"]["train"]]
            found["datasets"] = sorted({name for name in named if name and HUB_NAME.fullmatch(name)})
    return {key: value for key, value in found.items() if value not in (None, "", {}, [])}


def base_license(base: str) -> dict[str, str]:
    """The licence that a local base's own card names, with its name and link if it is none of the hub's list."""
    for folder in (loading.BUILT_IN / base, Path(base)):
        try:
            card = ModelCard((folder / NAME).read_text(encoding="utf-8"), ignore_metadata_errors=True).data
        except (OSError, ValueError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
            continue  # no card, or one that somebody else has damaged
        found = {key: card.get(key) for key in LICENSE_KEYS if isinstance(card.get(key), str)}
        if "license" in found:
            return found
    return {}


def result(row: dict[str, Any]) -> EvalResult:
    """A score as the hub lists results."""
    return EvalResult(
        task_type="translation",
        task_name=f"Translation {row['direction']}",
        dataset_type=row["test"],
        dataset_name=row["test"],
        dataset_config=row["direction"],
        metric_type=row["metric"],
        metric_name=row["cells"][2],
        metric_value=row["score"],
        metric_args={"signature": row["signature"]},
    )


def plain(value: str) -> str:
    """Text that Markdown and HTML take as it is, on one line."""
    return "".join(f"\\{sign}" if sign in MARKUP else sign for sign in " ".join(str(value).split()))
