"""Bases, trained models, and the tables that select what is trained: files and flags of the rules that need a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lander.config import config, variants
from lander.config.methods import MASKED, METHODS
from lander.config.rules import rule_of
from lander.config.schema import choices
from lander.shared.errors import UserError
from lander.workflow.texts import as_json

PRETRAINED_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "lander.json")
MEGABYTE = 1_000_000
STAGE_MB = 2_500  # of a job that loads torch, transformers and deepspeed, without any weights
HUB_MODEL_MB = 16_000  # a guess at the weights of a model that is not on this machine
ACTIVATION_KEYS = ("text",)  # keys on which the tables of activations hang, beside sizes
PARTS = 16  # of the scoring text, to see after how many sentences the chosen neurons stop changing
AWARENESS_KEYS = ("estimator", "site", "text")


class Models:
    """Files and flags of the jobs that run a model.

    Wildcards: `method`, `variant` and `seed` name a model; in the stages that select layers, neurons and masks
    `variant` is the name of a selection (`lander.config.variants.selection`).
    """

    PRETRAINED_FILES = PRETRAINED_FILES

    def __init__(self, settings: config.Config) -> None:
        self.settings = settings
        self.results = f"results/{settings.run}"
        self.base = config.find_base(settings.model.path, settings.pretrain.n_layer)
        self.directions = [str(direction) for direction in settings.directions]
        self.prompt_names = as_json(dict(settings.languages))  # no contrast languages: adding one retrains nothing
        self.all_names = as_json(config.names(settings))

    # ------------------------------------------------------------ the base

    def model(self, _wildcards: Any) -> str:
        """What --model takes for the base."""
        return f"{self.results}/pretrain" if self.base.kind == "pretrain" else self.settings.model.path

    def model_files(self, _wildcards: Any) -> list[str]:
        """The base's files, which the stages that load it depend on; none for a model on the hub."""
        if self.base.kind == "pretrain":
            return [f"<results>/pretrain/{name}" for name in PRETRAINED_FILES]
        return self.base.files()

    @property
    def revision(self) -> list[str]:
        """The flag --revision, where the config has one."""
        return [f"--revision={self.settings.model.revision}"] if self.settings.model.revision else []

    @property
    def base_flags(self) -> list[str]:
        """Flags of the stages that give instructions to the base: its revision, and how they are put to it."""
        prompt = self.settings.model.prompt
        return [*self.revision, *([] if prompt == "plain" else ["--prompt", prompt])]

    def memory(self, copies: int) -> int:
        """MB of memory of a job that holds so many copies of the weights (gradients and moments count)."""
        if self.base.kind == "hub":
            return STAGE_MB + copies * HUB_MODEL_MB
        return STAGE_MB + copies * ((self.base.weight_bytes or 0) // MEGABYTE)

    # ------------------------------------------------------------ selections: layers, neurons, masks

    def of(self, wildcards: Any) -> config.Config:
        """The config of a model's variant, or of a selection."""
        method, variant = getattr(wildcards, "method", None), wildcards.variant
        if method is None:
            method, variant = variants.selected(variant)
        found = variants.configure(self.settings, variant, method)
        if self.base.n_layer is not None and found.layers.k > self.base.n_layer and method in MASKED:
            raise UserError(f"{variant}: the model has {self.base.n_layer} layers")
        return found

    def recipe(self, wildcards: Any) -> Any:
        """The recipe of a selection's method."""
        return MASKED[variants.selected(wildcards.variant)[0]]

    def draw_seed(self, wildcards: Any) -> int:
        """Seed of what a control draws at random: each seed of the run and each draw has its own."""
        return 1000 * int(wildcards.seed) + variants.draw(variants.selected(wildcards.variant)[1])

    def activation_files(self, wildcards: Any) -> list[str]:
        """Activations of all directions, as a selection reads them."""
        reading = variants.reading(self.of(wildcards).activations, self.settings.activations, ACTIVATION_KEYS)
        folder = f"<results>/activations/{reading}s{wildcards.seed}"
        return [f"{folder}/{direction}.parquet" for direction in self.directions]

    def activation_text(self, wildcards: Any) -> str:
        """What the model reads for the tables of a reading."""
        return wildcards.reading.rstrip("/") or self.settings.activations.text

    def layer_flags(self, wildcards: Any) -> list[str]:
        """Flags of the stage layers."""
        layers = self.of(wildcards).layers
        flags = {"k": layers.k, "difference": layers.difference, "side": layers.side, "selection": layers.selection}
        if self.recipe(wildcards).random == "layers":
            flags |= {"choice": "random", "seed": self.draw_seed(wildcards)}
        return as_flags(flags)

    def awareness_files(self, wildcards: Any) -> list[str]:
        """Scores of all languages, as a selection reads them."""
        return self._awareness(self.of(wildcards), wildcards.seed)

    def _awareness(self, settings: config.Config, seed: str | int) -> list[str]:
        reading = variants.reading(settings.awareness, self.settings.awareness, AWARENESS_KEYS)
        folder = f"<results>/awareness/{reading}s{seed}"
        return [f"{folder}/{language}.parquet" for language in settings.awareness.languages]

    def scores_of(self, wildcards: Any) -> Any:
        """The section `awareness` of a reading: the config's, with the values that the folder's name gives."""
        given = [part for part in wildcards.reading.rstrip("/").split("-") if part]
        values = {
            value: key
            for key in AWARENESS_KEYS
            for value in choices(f"awareness.{key}")
        }  # fmt: skip
        return self.settings.awareness.changed({values[value]: value for value in given})

    def awareness_text(self, wildcards: Any) -> dict[str, list[str]]:
        """What a language is scored on: its own text, or the translations of its directions."""
        if self.scores_of(wildcards).text == "monolingual":
            return {"text": [f"<results>/data/s{wildcards.seed}/text/{wildcards.language}.parquet"]}
        return {
            "data": [
                f"<results>/data/s{wildcards.seed}/train/{direction}.parquet"
                for direction in self._directions_with(wildcards.language)
            ]
        }

    # Snakemake does not compare a parameter whose function takes `input` or `output` either: what changes a result must
    # stand in one that takes wildcards alone.

    def awareness_flags(self, wildcards: Any) -> list[str]:
        """Flags of the stage awareness that hang on the reading."""
        awareness = self.scores_of(wildcards)
        flags = as_flags({"estimator": awareness.estimator, "site": awareness.site, "seed": wildcards.seed})
        if awareness.estimator == "ablation" and awareness.neurons:
            flags += as_flags({"neurons": awareness.neurons})
        if awareness.text == "monolingual":
            return flags
        return [*flags, "--languages", self.prompt_names, "--sentences", str(awareness.sentences)]

    def awareness_inputs(self, wildcards: Any, input: Any) -> list[str]:
        """The flags that name its files."""
        if self.scores_of(wildcards).text == "monolingual":
            return ["--text", str(input.text)]
        files = [input.data] if isinstance(input.data, str) else list(input.data)
        pairs = zip(self._directions_with(wildcards.language), files, strict=True)
        return ["--data", *(f"{direction}:{file}" for direction, file in pairs), "--templates", str(input.templates)]

    def parts_flags(self, wildcards: Any) -> list[str]:
        """Flags of the scores of parts of the text."""
        return [*self.awareness_flags(wildcards), "--parts", str(PARTS)]

    def parts_inputs(self, wildcards: Any, input: Any, output: Any) -> list[str]:
        """The flags that name their files."""
        return [*self.awareness_inputs(wildcards, input), "--parts-out", str(output.parts)]

    def _directions_with(self, language: str) -> list[str]:
        return [str(d) for d in self.settings.directions if language in (d.source, d.target)]

    def layers_table(self, wildcards: Any) -> str:
        """The table of layers that a selection uses."""
        return self._table("layers", wildcards, "layers")

    def neuron_flags(self, wildcards: Any) -> list[str]:
        """Flags of the stage neurons."""
        settings = self.of(wildcards)
        neurons = settings.neurons
        flags = {
            "rule": rule_of(settings.awareness.estimator),
            "normalize": neurons.normalize,
            "threshold": neurons.threshold,
            "general-share": neurons.general_share,
            "unactivated": neurons.unactivated,
        }
        if self.recipe(wildcards).random == "neurons":
            flags["permute"] = self.draw_seed(wildcards)
        return as_flags(flags)

    def neurons_table(self, wildcards: Any) -> str:
        """The table of neurons that a selection uses."""
        return self._table("neurons", wildcards, "neurons")

    def _table(self, stage: str, wildcards: Any, name: str) -> str:
        method, variant = variants.selected(wildcards.variant)
        folder = variants.selection(self.settings, stage, method, variant)
        return f"<results>/{stage}/{folder}/s{wildcards.seed}/{name}.parquet"

    def mask_flags(self, wildcards: Any) -> list[str]:
        """Flags of the stage masks."""
        settings, recipe = self.of(wildcards), self.recipe(wildcards)
        flags = {
            "normalize": settings.neurons.normalize,
            "unactivated": settings.neurons.unactivated_role,
            "share": settings.routing.share,
            "pool": settings.routing.pool,
            "gate": settings.routing.gate,
        }
        if recipe.train != "both":
            flags |= {"train": recipe.train, "untrained": settings.ablation.untrained}
        return as_flags(flags)

    # ------------------------------------------------------------ trained models

    def trained_directions(self, wildcards: Any) -> list[str]:
        """The directions that a model is trained on."""
        return [str(direction) for direction in self.of(wildcards).directions]

    def training_tables(self, wildcards: Any) -> list[str]:
        """Training pairs of a model."""
        return [f"<results>/data/s{wildcards.seed}/train/{name}.parquet" for name in self.trained_directions(wildcards)]

    def mask_files(self, wildcards: Any) -> list[str]:
        """Masks of the methods that need them: the user's where the config names a folder, else ours."""
        if wildcards.method not in MASKED:
            return []
        names = [Path(file).name for file in self.given_masks] if self.given(wildcards.method) else None
        names = names or [f"{direction}.parquet" for direction in self.directions]
        return [f"{self._mask_folder(wildcards, '<results>')}/{name}" for name in names]

    @property
    def given_masks(self) -> list[str]:
        """The user's masks, of the directions that have one."""
        files = [Path(self.settings.neurons.masks, f"{direction}.parquet") for direction in self.directions]
        return [str(file) for file in files if file.is_file()]

    def given(self, method: str) -> bool:
        """Whether a method goes by the user's masks: `landermt` as they are, `random` with their neurons dealt anew."""
        return bool(self.settings.neurons.masks) and method in ("landermt", "random")

    def given_seed(self, wildcards: Any) -> int:
        """Seed of a draw of random neurons among the user's masks."""
        return 1000 * int(wildcards.seed) + int(wildcards.draw)

    def _mask_folder(self, wildcards: Any, results: str) -> str:
        if self.given(wildcards.method):
            drawn = f"{results}/masks/given/draw{variants.draw(wildcards.variant)}/s{wildcards.seed}"
            return drawn if wildcards.method == "random" else str(Path(self.settings.neurons.masks))
        name = variants.selection(self.settings, "masks", wildcards.method, wildcards.variant)
        return f"{results}/masks/{name}/s{wildcards.seed}"

    def method_flags(self, wildcards: Any) -> list[str]:
        """Flags that only one method has."""
        method, settings = wildcards.method, self.of(wildcards)
        if method not in MASKED:
            return as_flags(METHODS[method].flags(settings.finetune.method(method), settings))
        return as_flags(
            {
                "masks": self._mask_folder(wildcards, self.results),
                "scope": settings.finetune.scope,
                "scale": settings.routing.scale,
                "gate": settings.routing.gate,
                "routes": self.directions,
            }
        )

    def learning_rate(self, wildcards: Any) -> float:
        """The method's own learning rate, or that of all."""
        return self.of(wildcards).finetune.method(wildcards.method).learning_rate

    def accumulate(self, wildcards: Any) -> int:
        """Micro-batches per update."""
        return self.of(wildcards).finetune.accumulate

    def warmup(self, wildcards: Any) -> int:
        """Updates of linear warmup."""
        return self.of(wildcards).finetune.warmup

    def mix_share(self, wildcards: Any) -> float:
        """Share of the tuned weights in an average."""
        return variants.mix(wildcards.variant)

    def training_length(self, wildcards: Any) -> list[str]:
        """Updates where they are given, else epochs."""
        finetune = self.of(wildcards).finetune
        flags = as_flags({"steps": finetune.steps} if finetune.steps else {"epochs": finetune.epochs})
        return [*flags, "--keep-diverged"] if variants.is_trial(wildcards.variant) else flags

    # Snakemake reruns a job whose parameters have changed, but for functions that take `resources`: what a machine
    # gives. Processes, ZeRO stage and checkpoints change no result, so a change of theirs must rerun nothing.

    def launcher(self, _wildcards: Any, resources: Any) -> str:
        """What runs the finetuning: one process, torchrun with several, or a torchrun on each node of a SLURM job."""
        ranks, nodes = self.settings.finetune.ranks, int(resources.get("nodes", 1))
        if nodes == 1:
            return "python" if ranks == 1 else f"python -m lander.shared.gpus {ranks} torchrun --nproc_per_node {ranks}"
        if ranks % nodes:
            raise UserError(f"finetune.ranks: {ranks} cannot be shared by the profile's {nodes} nodes; use a multiple")
        srun = f"srun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 --kill-on-bad-exit=1"
        meeting = "--rdzv_backend c10d --rdzv_id $SLURM_JOB_ID"
        place = "--rdzv_endpoint $(hostname):$((20000 + SLURM_JOB_ID % 20000))"
        return f"{srun} torchrun --nnodes {nodes} --nproc_per_node {ranks // nodes} {meeting} {place}"

    def machine_flags(self, _wildcards: Any, resources: Any) -> list[str]:
        """Flags of the finetuning that change no result."""
        finetune = self.settings.finetune
        flags = as_flags(
            {"zero-stage": finetune.zero_stage, "checkpoint-every": 200 if finetune.checkpoint_minutes else 0}
        )
        return [*flags, "--recompute"] if finetune.recompute else flags

    # ------------------------------------------------------------ what is decoded

    def decoded(self, wildcards: Any) -> str | list[str]:
        """The manifest of the model that is decoded; nothing for the base."""
        if wildcards.method in config.TRAINING_FREE:
            return []
        return f"<results>/finetune/{wildcards.method}/{wildcards.variant}/s{wildcards.seed}/lander.json"

    def decoder_flags(self, wildcards: Any) -> list[str]:
        """The flags that say which model is decoded, or its loss measured."""
        if wildcards.method in config.TRAINING_FREE:
            return ["--model", self.model(wildcards), *self.base_flags]
        folder = f"{self.results}/finetune/{wildcards.method}/{wildcards.variant}/s{wildcards.seed}"
        return ["--model", folder]

    def example_files(self, wildcards: Any) -> list[str]:
        """Training pairs from which in-context takes its examples."""
        return self.training_tables(wildcards) if wildcards.method == "in-context" else []

    def shots(self, wildcards: Any) -> list[str]:
        """Flags of the method in-context."""
        if wildcards.method != "in-context":
            return []
        tables = [file.replace("<results>", self.results) for file in self.training_tables(wildcards)]
        examples = [f"{direction}:{table}" for direction, table in zip(self.directions, tables, strict=True)]
        shots = as_flags({"shots": self.settings.translate.shots, "seed": wildcards.seed})
        return [*shots, "--examples", *examples]


def as_flags(values: Mapping[str, Any]) -> list[str]:
    """{"k": 3, "routes": ["en-de"]} -> ["--k", "3", "--routes", "en-de"]."""
    flags: list[str] = []
    for name, value in values.items():
        flags += [f"--{name}", *map(str, value if isinstance(value, list | tuple) else [value])]
    return flags
