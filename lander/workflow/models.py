"""Bases, trained models, and the tables that select what is trained: files and flags of the rules that need a model."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from lander.config import config
from lander.config.awareness import RULES
from lander.config.finetune import Training
from lander.config.methods import MASKED, METHODS, TRAINING_FREE
from lander.config.pretrain import Pretrain
from lander.config.translate import Translate
from lander.config.variants import Variant, Variants, reading, trial
from lander.experiments.rates import rate_name
from lander.shared.errors import UserError
from lander.shared.files import read_json
from lander.shared.runs import Model
from lander.shared.section import flags, names_of
from lander.workflow.paths import Paths
from lander.workflow.texts import as_json

PRETRAINED_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "lander.json")
STAGE_MB = 2_500  # of a job that loads torch, transformers and deepspeed, without any weights
HUB_MODEL_MB = 16_000  # a guess at the weights of a model that is not on this machine
READ = ("text",)  # keys of `activations` that variants change and that its tables depend on
SCORED = ("estimator", "site", "text")  # the same of `awareness`
CLASSES = (
    "general_share",
    "normalize",
    "statistic",
    "threshold",
    "unactivated",
)  # keys of `neurons` that decide their classes
MACHINE = ("zero_stage", "recompute", "checkpoint_minutes", "report_to")  # keys of `finetune` that change no result
TRAINING = names_of(Training, *MACHINE, "ranks", "steps", "epochs", "learning_rate", "scope")
DECODING = names_of(Translate, "dev_sentences", "shots")
PARTS = 16  # of the scoring text, to see after how many sentences the chosen neurons stop changing


class Wanted(NamedTuple):
    """The model that a job is about, or that names the selection that a job makes."""

    method: str
    variant: Variant
    settings: config.Config


class Models:
    """Files and flags of the jobs that run a model.

    Wildcards: `method`, `variant` and `seed` name a model. In the stages that select layers, neurons and masks,
    `variant` is the name of a selection (`lander.config.variants`). `reading` is empty, or the folder, with its slash,
    of activations or awareness of a variant that reads or scores otherwise than the config says.

    `<stage>_flags` are the flags of a stage's jobs, `<what>_files` what they read.
    """

    def __init__(self, settings: config.Config, paths: Paths) -> None:
        self.settings, self.paths = settings, paths
        self.base = settings.base
        self.variants = Variants(settings, self.base.n_layer, self._trials)
        self.directions = [str(direction) for direction in settings.directions]
        self.model = f"{paths.results}/pretrain" if self.base.kind == "pretrain" else settings.model.path
        # Flags of the stages that load the base: with plain text alone, with text, with instructions. Languages of
        # contrast have no name in prompts: adding one retrains nothing.
        self._threads = ["--threads", str(settings.threads)]
        self._names = ["--languages", as_json(dict(settings.languages))]
        self.plain_flags = ["--model", self.model, *flags(settings.model, "revision", "dtype"), *self._threads]
        self.base_flags = [*self.plain_flags, *flags(settings.model, "prompt")]
        self.prompted_flags = [*self.base_flags, *self._names]
        self.best_prompt_flags = [*self.prompted_flags, *flags(settings.translate, *DECODING, "dev_sentences")]
        self.best_prompt_flags += ["--choose-prompt"]
        self.pretrain_flags = ["--languages", as_json(config.names(settings))]
        self.pretrain_flags += [*flags(settings.pretrain, *names_of(Pretrain, "text", "parallel")), *self._threads]
        self.class_flags = flags(settings.neurons, *CLASSES)

    def model_files(self, _wildcards: Any) -> list[str]:
        """The base's files, which the stages that load it depend on; none for a model on the hub."""
        if self.base.kind == "pretrain":
            return [f"{self.model}/{name}" for name in PRETRAINED_FILES]
        return self.base.files()

    def memory(self, copies: int) -> int:
        """MB of memory of a job that holds so many copies of the weights (gradients and moments count)."""
        hub = self.base.kind == "hub"
        return STAGE_MB + copies * (HUB_MODEL_MB if hub else (self.base.weight_bytes or 0) // 1_000_000)

    # ------------------------------------------------------------ what a job is about

    def _trials(self) -> list[Variant]:
        """The trials of learning rates that the rounds of `tune` have planned so far."""
        rounds = [read_json(file)["rates"] for file in Path(self.paths.results, "tune").glob("round*.json")]
        rates = {rate for planned in rounds for found in planned.values() for rate in found}
        return [trial(self.settings, rate_name(rate), rate) for rate in sorted(rates)]

    def _of(self, wildcards: Any) -> Wanted:
        try:
            if hasattr(wildcards, "method"):
                method, name = wildcards.method, wildcards.variant
            else:
                method, name = self.variants.selected(wildcards.variant)
            return Wanted(method, self.variants.row(name), self.variants.config(method, name))
        except UserError as error:
            refuse(error)

    def _reading(self, section: str, keys: tuple[str, ...], folder: str) -> Any:
        """The section of the config with which the tables of a reading are made."""
        found = self.variants.readings(section, keys)
        if folder not in found:
            refuse(f"{section}/{folder}: no variant of this config has tables of this name; see docs/tables.md")
        return found[folder]

    def _drawn(self, wildcards: Any, kind: str, flag: str) -> list[str]:
        """A flag with a seed, for a control that draws `kind` at random. Each seed and each draw has another seed."""
        method, variant, _settings = self._of(wildcards)
        return [flag, str(1000 * int(wildcards.seed) + variant.draw)] if MASKED[method].random == kind else []

    # ------------------------------------------------------------ activations and layers

    def activation_flags(self, wildcards: Any) -> list[str]:
        return [*self.prompted_flags, *flags(self._reading("activations", READ, wildcards.reading))]

    def activation_files(self, wildcards: Any) -> list[str]:
        """Activations of all directions, as a selection reads them."""
        folder = reading(self._of(wildcards).settings.activations, self.settings.activations, READ)
        folder = f"{self.paths.results}/activations/{folder}s{wildcards.seed}"
        return [f"{folder}/{direction}.parquet" for direction in self.directions]

    def layer_flags(self, wildcards: Any) -> list[str]:
        return [*flags(self._of(wildcards).settings.layers), *self._drawn(wildcards, "layers", "--random")]

    # ------------------------------------------------------------ awareness

    def awareness_files(self, wildcards: Any) -> list[str]:
        """Scores of all languages, as a selection reads them."""
        awareness = self._of(wildcards).settings.awareness
        folder = self.paths.awareness(reading(awareness, self.settings.awareness, SCORED), wildcards.seed)
        return [f"{folder}/{language}.parquet" for language in awareness.languages]

    def awareness_text(self, wildcards: Any) -> dict[str, list[str]]:
        """What a language is scored on: its own text, or the translations of its directions."""
        if self._reading("awareness", SCORED, wildcards.reading).text == "monolingual":
            return {"text": [f"{self.paths.results}/data/s{wildcards.seed}/text/{wildcards.language}.parquet"]}
        return {"data": self.paths.train(wildcards.seed, self._directions_with(wildcards.language))}

    def awareness_flags(self, wildcards: Any) -> list[str]:
        awareness = self._reading("awareness", SCORED, wildcards.reading)
        files, sampled = self.awareness_text(wildcards), ["neurons"] if awareness.estimator == "ablation" else []
        found = [*flags(awareness, "sentences", "batch_size", "estimator", "site", *sampled), "--seed", wildcards.seed]
        if "text" in files:
            return [*self.base_flags, *found, "--text", *files["text"]]
        named = _named("--data", self._directions_with(wildcards.language), files["data"])
        return [*self.prompted_flags, *found, *named]

    def parts_flags(self, wildcards: Any) -> list[str]:
        """The same with the scores of parts of the text."""
        folder = self.paths.awareness(wildcards.reading, wildcards.seed, parts=True)
        parts = ["--parts", str(PARTS), "--parts-out", f"{folder}/{wildcards.language}.parquet"]
        return [*self.awareness_flags(wildcards), *parts]

    def _directions_with(self, language: str) -> list[str]:
        return [str(d) for d in self.settings.directions if language in (d.source, d.target)]

    # ------------------------------------------------------------ neurons and masks

    def table(self, stage: str) -> Callable[[Any], str]:
        """An input function: the table of the stage `layers` or `neurons` that a selection uses."""
        return lambda wildcards: self.paths.selected(stage, self._selection(stage, wildcards), wildcards.seed)

    def _selection(self, stage: str, wildcards: Any) -> str:
        method, variant, _settings = self._of(wildcards)
        return self.variants.selection(stage, method, variant.name)

    def neuron_flags(self, wildcards: Any) -> list[str]:
        settings = self._of(wildcards).settings
        found = ["--rule", RULES[settings.awareness.estimator]]
        found += flags(settings.neurons, *CLASSES, "trained_share", "pick")
        return [*found, *self._drawn(wildcards, "neurons", "--permute")]

    def mask_flags(self, wildcards: Any) -> list[str]:
        method, _variant, settings = self._of(wildcards)
        train = MASKED[method].train
        found = flags(settings.neurons, "normalize", "unactivated_role")
        found += flags(settings.routing, "share", "pool", "start", "others", "gate")
        return found if train == "both" else [*found, "--train", train, *flags(settings.ablation)]

    @property
    def given_masks(self) -> list[str]:
        """The user's masks, of the directions that have one."""
        files = [Path(self.settings.neurons.masks, f"{direction}.parquet") for direction in self.directions]
        return [str(file) for file in files if file.is_file()]

    def given(self, method: str) -> bool:
        """Whether a method uses the user's masks: `landermt` as they are, `random` with their neurons shuffled."""
        return bool(self.settings.neurons.masks) and method in ("landermt", "random")

    def given_seed(self, wildcards: Any) -> int:
        """Seed of a draw of random neurons among the user's masks."""
        return 1000 * int(wildcards.seed) + int(wildcards.draw)

    def _mask_folder(self, wildcards: Any) -> str:
        given = self.given(wildcards.method)
        if given and wildcards.method == "landermt":
            return str(Path(self.settings.neurons.masks))
        drawn = f"given/draw{self._of(wildcards).variant.draw}"
        return f"{self.paths.results}/masks/{drawn if given else self._selection('masks', wildcards)}/s{wildcards.seed}"

    def mask_files(self, wildcards: Any) -> list[str]:
        """Masks of the methods that need them: the user's if the config names a folder."""
        if wildcards.method not in MASKED:
            return []
        names = [Path(file).name for file in self.given_masks] if self.given(wildcards.method) else None
        names = names or [f"{direction}.parquet" for direction in self.directions]
        return [f"{self._mask_folder(wildcards)}/{name}" for name in names]

    # ------------------------------------------------------------ trained models

    def trained_directions(self, wildcards: Any) -> list[str]:
        """The directions that a model is trained on."""
        return [str(direction) for direction in self._of(wildcards).settings.directions]

    def training_tables(self, wildcards: Any) -> list[str]:
        """Training pairs of a model."""
        return self.paths.train(wildcards.seed, self.trained_directions(wildcards))

    def finetune_flags(self, wildcards: Any) -> list[str]:
        """Flags of the stage finetune that decide its result."""
        method, variant, settings = self._of(wildcards)
        finetune, own = settings.finetune, settings.finetune.method(method)
        length = "steps" if finetune.steps else "epochs"
        found = [*self.prompted_flags, *flags(finetune, length, *TRAINING), *flags(own, "learning_rate")]
        found += ["--keep-diverged"] if variant.trial else []
        if method not in MASKED:
            return [*found, *as_flags(METHODS[method].flags(own, settings))]
        found += [*flags(finetune, "scope"), *flags(settings.routing, "scale", "gate", "noise")]
        return [*found, "--masks", self._mask_folder(wildcards), "--routes", *self.directions]

    def mix_share(self, wildcards: Any) -> float:
        """Share of the tuned weights in the average that a model is."""
        return self._of(wildcards).variant.mix

    # Snakemake reruns a job whose parameters have changed, but for functions that take `resources`: what a machine
    # gives. Processes, ZeRO stage and checkpoints change no result, so a change of theirs must rerun nothing.

    def launcher(self, _wildcards: Any, resources: Any) -> str:
        """What runs the finetuning: one process, torchrun with several, or a torchrun on each node of a SLURM job."""
        ranks, nodes = self.settings.finetune.ranks, int(resources.get("nodes", 1))
        if nodes == 1:
            return "python" if ranks == 1 else f"python -m lander.shared.gpus {ranks} torchrun --nproc_per_node {ranks}"
        if ranks % nodes:
            refuse(f"finetune.ranks: {ranks} cannot be shared by the profile's {nodes} nodes; use a multiple")
        srun = f"srun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 --kill-on-bad-exit=1"
        meeting = "--rdzv_backend c10d --rdzv_id $SLURM_JOB_ID"
        place = "--rdzv_endpoint $(hostname):$((20000 + SLURM_JOB_ID % 20000))"
        return f"{srun} torchrun --nnodes {nodes} --nproc_per_node {ranks // nodes} {meeting} {place}"

    def machine_flags(self, _wildcards: Any, resources: Any) -> list[str]:
        """Flags of the finetuning that change no result."""
        return flags(self.settings.finetune, *MACHINE)

    # ------------------------------------------------------------ what is decoded

    def decoded(self, wildcards: Any) -> list[str]:
        """The manifest of the trained model that is decoded; nothing for the base."""
        if wildcards.method in TRAINING_FREE:
            return []
        return [f"{self.paths.of('finetune', Model(wildcards.method, wildcards.variant, wildcards.seed))}/lander.json"]

    def _decoder_flags(self, wildcards: Any) -> list[str]:
        """The flags that say which model is loaded. A trained model knows its base and its prompt."""
        trained = [str(Path(manifest).parent) for manifest in self.decoded(wildcards)]
        if not trained:
            return self.prompted_flags
        return ["--model", *trained, *flags(self.settings.model, "dtype"), *self._threads, *self._names]

    def translate_flags(self, wildcards: Any) -> list[str]:
        found = [*self._decoder_flags(wildcards), *flags(self.settings.translate, *DECODING)]
        if wildcards.method != "in-context":
            return found
        examples = _named("--examples", self.directions, self.example_files(wildcards))
        return [*found, *flags(self.settings.translate, "shots"), "--seed", wildcards.seed, *examples]

    def example_files(self, wildcards: Any) -> list[str]:
        """Training pairs from which in-context takes its examples."""
        return self.training_tables(wildcards) if wildcards.method == "in-context" else []

    def loss_flags(self, wildcards: Any) -> list[str]:
        return [*self._decoder_flags(wildcards), *flags(self.settings.translate, "template", "batch_size")]


def refuse(message: object) -> NoReturn:
    """End Snakemake with one line. Any other exception of an input function is printed with a traceback."""
    print(f"lander: error: {message}", file=sys.stderr)
    raise SystemExit(1)


def as_flags(values: Mapping[str, Any]) -> list[str]:
    """{"k": 3, "routes": ["en-de"], "text": []} -> ["--k", "3", "--routes", "en-de"]."""
    lists = {name: value if isinstance(value, list | tuple) else [value] for name, value in values.items()}
    return [text for name, found in lists.items() if found for text in (f"--{name}", *map(str, found))]


def _named(flag: str, directions: list[str], files: list[str]) -> list[str]:
    """A flag of DIRECTION:FILE."""
    return [flag, *(f"{direction}:{file}" for direction, file in zip(directions, files, strict=True))]
