"""What a run consists of: the files and flags that the rules of the workflow ask for.

The rules (workflow/rules/*.smk) hold no logic: what depends on the config is here, where it can be tested. Paths with
`<results>` are completed by Snakemake; `wildcards` is its object with the values of a job's path.

    plan = Plan(load(config))
    plan.training_files(wildcards)  ->  ["corpora/bible/de.txt.gz", "corpora/bible/en.txt.gz"]
"""

import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lander import config
from lander.config.checks import MASKED
from lander.config.sources import Source
from lander.digest import code_digest, record_digests, recorded_digest
from lander.languages import Direction, parse_direction

MAIN = "main"  # the variant of a method as configured
PACKAGED_TEMPLATES = Path(__file__).parent / "data" / "templates.yaml"
PRETRAINED_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "lander.json")
MEGABYTE = 1_000_000
ERROR = re.compile(r"lander [a-z-]+: error: ")
STAGE_MB = 2_500  # of a job that loads torch, transformers and deepspeed, without any weights
HUB_MODEL_MB = 16_000  # a guess at the weights of a model that is not on this machine


class Plan:
    """The files and flags of a run, from its checked config."""

    def __init__(self, settings: config.Config, stages: Iterable[str]) -> None:
        self.settings = settings
        self.stages = sorted(stages)
        self.base = config.find_base(settings.model.path, settings.pretrain.n_layer)
        self.results = f"results/{settings.run}"
        self.ledger = Path(self.results, ".code.json")
        self.directions = [str(direction) for direction in settings.directions]
        self.first_seed = settings.seeds[0]
        self.trained = config.trained(settings)
        self.detects = not settings.neurons.masks and any(method in MASKED for method in self.trained)
        self.tests = {name: [str(direction) for direction in served] for name, served in settings.tests.items()}
        self.test_items = [f"{test}/{direction}" for test, served in self.tests.items() for direction in served]
        self.prompt_names = _json(dict(settings.languages))  # without contrast languages: adding one retrains nothing
        self.all_names = _json(config.names(settings))

    # ------------------------------------------------------------ data

    def training_sources(self, wildcards: Any) -> str:
        """Training sources of a pair of languages, as JSON."""
        return sources_json(self._of_pair(wildcards.pair))

    def training_files(self, wildcards: Any) -> list[str]:
        """Files that hold the training text of a pair of languages."""
        pair = parse_direction(wildcards.pair)
        return _files(self._of_pair(wildcards.pair), pair)

    def excluded_files(self, _wildcards: Any) -> list[str]:
        """Files whose sentences are taken out of training, in any language."""
        return _files(self.settings.data.exclude)

    def origins(self, wildcards: Any) -> str:
        """Names of the training sources that may serve a direction, as JSON."""
        direction = parse_direction(wildcards.direction)
        return _json([source.name for source in self.settings.data.train if source.serves(direction)])

    def dev_sources(self, wildcards: Any) -> str:
        """Dev sources of a direction, as JSON."""
        return sources_json(self._dev(parse_direction(wildcards.direction)))

    def dev_files(self, wildcards: Any) -> list[str]:
        """Files that hold the dev text of a direction."""
        direction = parse_direction(wildcards.direction)
        return _files(self._dev(direction), direction)

    def test_sources(self, wildcards: Any) -> str:
        """The sources of a test set in a direction, as JSON."""
        return sources_json(self._test(wildcards.test, parse_direction(wildcards.direction)))

    def test_files(self, wildcards: Any) -> list[str]:
        """Files that hold a test set in a direction."""
        direction = parse_direction(wildcards.direction)
        return _files(self._test(wildcards.test, direction), direction)

    def scoring_files(self, _wildcards: Any) -> list[str]:
        """Files that hold the text that scores the neurons."""
        return _files(self.settings.awareness.data, self.settings.awareness.languages)

    def pretraining_files(self, _wildcards: Any) -> list[str]:
        """Files that a base from scratch is trained on."""
        pretrain = self.settings.pretrain
        return _files([*pretrain.text, *pretrain.parallel], self.settings.awareness.languages)

    def _of_pair(self, name: str) -> list[Source]:
        pair = parse_direction(name)
        directions = [direction for direction in self.settings.directions if direction.pair == pair]
        return [source for source in self.settings.data.train if any(map(source.serves, directions))]

    def _dev(self, direction: Direction) -> list[Source]:
        return [source for source in self.settings.data.dev if source.serves(direction)]

    def _test(self, name: str, direction: Direction) -> list[Source]:
        return [source for source in self.settings.data.test if source.name == name and source.serves(direction)]

    def clean_table(self, wildcards: Any) -> str:
        """The cleaned pairs that a direction draws on."""
        return f"<results>/data/clean/{parse_direction(wildcards.direction).pair}.parquet"

    def clean_counts(self, wildcards: Any) -> str:
        """What was dropped on the way to them."""
        return f"<results>/data/clean/{parse_direction(wildcards.direction).pair}.counts.parquet"

    # ------------------------------------------------------------ models

    def model(self, _wildcards: Any) -> str:
        """What --model takes for the base."""
        return f"{self.results}/pretrain" if self.base.kind == "pretrain" else self.settings.model.path

    # Functions, not values: in a path that is a value, Snakemake would read a brace as a wildcard.

    def model_files(self, _wildcards: Any) -> list[str]:
        """The base's files, which the stages that load it depend on; none for a model on the hub."""
        if self.base.kind == "pretrain":
            return [f"<results>/pretrain/{name}" for name in PRETRAINED_FILES]
        return self.base.files()

    def templates(self, _wildcards: Any) -> str:
        """The file of instruction templates."""
        return _from_here(self.settings.data.templates or PACKAGED_TEMPLATES)

    @property
    def revision(self) -> list[str]:
        """The flag --revision, where the config has one."""
        return [f"--revision={self.settings.model.revision}"] if self.settings.model.revision else []

    def mask_files(self, wildcards: Any) -> list[str]:
        """Masks of the methods that need them: the user's where the config names a folder, else ours."""
        if wildcards.method not in MASKED:
            return []
        if self.settings.neurons.masks:
            files = [Path(self.settings.neurons.masks, f"{direction}.parquet") for direction in self.directions]
            return [str(file) for file in files if file.is_file()]
        folder = f"<results>/masks/{wildcards.variant}/s{wildcards.seed}"
        return [f"{folder}/{direction}.parquet" for direction in self.directions]

    def method_flags(self, wildcards: Any) -> list[str]:
        """Flags that only one method has."""
        if wildcards.method == "lora":
            lora = self.settings.finetune.lora
            targets = ["--lora-targets", *lora.targets] if lora.targets else []
            return ["--lora-rank", str(lora.rank), "--lora-alpha", str(lora.alpha), *targets]
        if wildcards.method in MASKED:
            routing = self.settings.routing
            masks = self.settings.neurons.masks or f"{self.results}/masks/{wildcards.variant}/s{wildcards.seed}"
            flags = {
                "masks": masks,
                "scope": self.settings.finetune.scope,
                "scale": routing.scale,
                "gate": routing.gate,
            }
            return [part for name, value in flags.items() for part in (f"--{name}", value)]
        return []

    def learning_rate(self, wildcards: Any) -> float:
        """The method's own learning rate, or that of all."""
        return self.settings.finetune.method(wildcards.method).learning_rate

    @property
    def training_length(self) -> list[str]:
        """Updates where they are given, else epochs."""
        finetune = self.settings.finetune
        return ["--steps", str(finetune.steps)] if finetune.steps else ["--epochs", str(finetune.epochs)]

    # Snakemake reruns a job whose parameters have changed, but for functions that take `resources`: what a machine
    # gives. Processes, ZeRO stage and checkpoints change no result, so a change of theirs must rerun nothing.

    def launcher(self, _wildcards: Any, resources: Any) -> str:
        """What runs the finetuning: one process, or torchrun with several."""
        ranks = self.settings.finetune.ranks
        return "python" if ranks == 1 else f"torchrun --nproc_per_node {ranks}"

    def machine_flags(self, _wildcards: Any, resources: Any) -> list[str]:
        """Flags of the finetuning that change no result."""
        finetune = self.settings.finetune
        return ["--zero-stage", str(finetune.zero_stage), "--checkpoint-every", str(finetune.checkpoint_every)]

    # ------------------------------------------------------------ translations and scores

    @property
    def test_flags(self) -> list[str]:
        """<name of the test set>:<direction>:<table>, as --test takes it."""
        folder = f"{self.results}/data/test"
        return [f"{item.replace('/', ':')}:{folder}/{item}.parquet" for item in self.test_items]

    @property
    def dev_flags(self) -> list[str]:
        """<direction>:<table>, as --dev takes it."""
        return [f"{direction}:{self.results}/data/dev/{direction}.parquet" for direction in self.directions]

    @property
    def models(self) -> list[str]:
        """<method>/<variant>/s<seed> of all that is scored; what trains nothing uses the first seed."""
        free = [f"zero-shot/{variant}/s{self.first_seed}" for variant in (MAIN, "best-prompt")]
        return (free if "zero-shot" in self.settings.methods else []) + self.trained_models

    @property
    def trained_models(self) -> list[str]:
        """<method>/<variant>/s<seed> of all that is trained."""
        return [f"{method}/{MAIN}/s{seed}" for method in self.trained for seed in self.settings.seeds]

    # ------------------------------------------------------------ report

    def report_files(self, _wildcards: Any) -> dict[str, list[str]]:
        """What the report shows, by the name of its flag; what this run does not have is left out."""
        seed, main = f"s{self.first_seed}", f"{MAIN}/s{self.first_seed}"
        files: dict[str, list[str]] = {}
        if self.trained:
            files["counts"] = [f"<results>/data/{seed}/counts.parquet"]
            files["loss"] = [f"<results>/finetune/{model}/loss.csv" for model in self.trained_models]
            files["runs"] = [f"<results>/finetune/{model}/run.json" for model in self.trained_models]
        if "zero-shot" in self.settings.methods:
            files["prompts"] = [f"<results>/translate/zero-shot/best-prompt/{seed}/prompts.csv"]
        if self.detects:
            files["layers"] = [f"<results>/layers/{main}/layers.parquet"]
            files["neurons"] = [f"<results>/neurons/{main}/neurons.parquet"]
            languages = self.settings.awareness.languages
            files["awareness"] = [f"<results>/awareness/{seed}/{language}.parquet" for language in languages]
        return files

    def report_flags(self, wildcards: Any, input: Any) -> list[str]:
        """The flags of the report that go with `report_files`."""
        flags: list[str] = []
        for name in self.report_files(wildcards):
            files = input[name] if isinstance(input[name], list) else [input[name]]
            if name in ("loss", "runs"):
                files = [f"{model}={file}" for model, file in zip(self.trained_models, files, strict=True)]
            flags += [f"--{name}", *files]
        return [*flags, "--awareness-languages", *self.settings.awareness.languages] if self.detects else flags

    # ------------------------------------------------------------ code digests

    def code(self, stage: str) -> str:
        """Digest of a stage's code, a parameter of its rules; without triggers, the one that the run began with."""
        module = f"lander.{stage}"
        return code_digest(module) if self.settings.workflow.code_triggers else recorded_digest(module, self.ledger)

    def record_code(self, keep: bool) -> None:
        """Note the digests that the run is made with; `keep` those of stages that have one."""
        if self.settings.workflow.code_triggers:
            record_digests([f"lander.{stage}" for stage in self.stages], self.ledger, keep=keep)

    # ------------------------------------------------------------ machine

    @property
    def gpu(self) -> int:
        """1 where this machine has a GPU; where it has none, model jobs run side by side."""
        return int(Path("/proc/driver/nvidia/version").exists())

    def model_memory(self, copies: int) -> int:
        """MB of memory of a job that holds so many copies of the weights (gradients and moments count)."""
        if self.base.kind == "hub":
            return STAGE_MB + copies * HUB_MODEL_MB
        return STAGE_MB + copies * ((self.base.weight_bytes or 0) // MEGABYTE)

    def set_environment(self) -> None:
        """Jobs use the Python that runs Snakemake, show progress at once, and ask no network that they do not need."""
        os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        os.environ["PYTHONUNBUFFERED"] = "1"
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the cores to other jobs
        data = self.settings.data
        sources = [*data.train, *data.dev, *data.test, *data.exclude, *self.settings.awareness.data]
        if self.base.kind != "hub" and not any(source.remote for source in sources):
            os.environ["HF_HUB_OFFLINE"] = "1"


def show_errors(logs: Iterable[str]) -> None:
    """Say once more, after all that Snakemake prints, which errors of the user's input made a run fail."""
    lines = [line for log in logs for line in Path(log).read_text(encoding="utf-8", errors="replace").splitlines()]
    print("\n".join(dict.fromkeys(line for line in lines if ERROR.match(line))), file=sys.stderr)


def sources_json(sources: Iterable[Source]) -> str:
    """Sources as the stages take them."""
    return _json([source.json for source in sources])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)  # keys in another order rerun nothing


def _files(sources: Iterable[Source], languages: Direction | Iterable[str] | None = None) -> list[str]:
    """Files of sources in some languages (None: in all of them), each once."""
    if isinstance(languages, Direction):
        languages = (languages.source, languages.target)
    return list(dict.fromkeys(file for source in sources for file in source.files(languages)))


def _from_here(path: str | Path) -> str:
    """Relative to the working directory where it is below it, so that a project that moves reruns nothing."""
    path = Path(path).absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
