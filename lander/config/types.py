"""The config as typed, frozen values. The schema (workflow/schemas/config.schema.yaml) says what each key means."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lander.config.sources import Source
from lander.shared.errors import UserError
from lander.shared.languages import Direction


@dataclass(frozen=True)
class Model:
    path: str
    revision: str | None
    dtype: str
    prompt: str


@dataclass(frozen=True)
class Data:
    train: tuple[Source, ...]
    dev: tuple[Source, ...]
    test: tuple[Source, ...]
    exclude: tuple[Source, ...]
    max_pairs: int
    templates: str | None
    cleaning: Mapping[str, Any]


@dataclass(frozen=True)
class Pretrain:
    text: tuple[Source, ...]
    parallel: tuple[Source, ...]
    tokens: int
    d_model: int
    n_layer: int
    n_head: int
    vocabulary: int
    context: int
    bilingual: float
    batch_tokens: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class Activations:
    text: str
    sentences: int
    batch_size: int


@dataclass(frozen=True)
class Layers:
    k: int
    difference: str
    side: str
    selection: str


@dataclass(frozen=True)
class Awareness:
    languages: tuple[str, ...]
    data: tuple[Source, ...]
    sentences: int
    batch_size: int
    estimator: str
    neurons: int | None
    site: str
    text: str


@dataclass(frozen=True)
class Neurons:
    general_share: float
    unactivated: float
    unactivated_role: str
    masks: str | None
    normalize: str
    threshold: str


@dataclass(frozen=True)
class Routing:
    share: str
    pool: str
    scale: str
    gate: str


@dataclass(frozen=True)
class Finetune:
    steps: int | None
    epochs: float
    batch_size: int
    accumulate: int
    learning_rate: float
    schedule: str
    warmup: float
    weight_decay: float
    clip: float
    max_length: int
    precision: str
    zero_stage: int
    recompute: bool
    ranks: int
    checkpoint_minutes: float
    scope: str
    methods: Mapping[str, Mapping[str, Any]]  # finetune.<method>: learning_rate, and what lander/config/methods.py says

    def method(self, name: str) -> Mapping[str, Any]:
        """Settings of one method, for example its learning rate.

        Raises:
            UserError: nothing is trained by it.
        """
        if name not in self.methods:
            raise UserError(f"{name}: trains nothing; the methods that do are {', '.join(self.methods)}")
        return self.methods[name]


@dataclass(frozen=True)
class Ablation:
    untrained: str


@dataclass(frozen=True)
class Translate:
    template: str
    beams: int
    max_new_tokens: int
    batch_size: int
    dev_sentences: int
    shots: int


@dataclass(frozen=True)
class Neural:
    name: str
    model: str
    command: tuple[str, ...] | None
    signature: str | None
    less_is_better: bool | None

    @property
    def remote(self) -> bool:
        """Whether the model is on the hub; a local checkpoint needs no network."""
        return not os.path.exists(self.model)


@dataclass(frozen=True)
class Evaluate:
    baselines: tuple[str, ...]
    metrics: tuple[str, ...]
    neural: tuple[Neural, ...]


@dataclass(frozen=True)
class Experiments:
    draws: int
    sweep_k: tuple[int, ...] | None
    sweep_epsilon: tuple[float, ...]
    transfer: tuple[str, ...]
    untrained: tuple[Direction, ...]
    text: tuple[Source, ...]
    mixes: tuple[float, ...]
    estimators: tuple[str, ...]
    tune_share: float
    tune_factor: float


@dataclass(frozen=True)
class Workflow:
    code_triggers: bool


@dataclass(frozen=True)
class Config:
    """A checked config: every key has a value, `null` defaults are resolved, directions and sources are parsed."""

    run: str
    languages: Mapping[str, str]  # code -> English name
    directions: tuple[Direction, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    threads: int
    readings: str
    model: Model
    data: Data
    pretrain: Pretrain
    activations: Activations
    layers: Layers
    awareness: Awareness
    neurons: Neurons
    routing: Routing
    finetune: Finetune
    ablation: Ablation
    translate: Translate
    evaluate: Evaluate
    experiments: Experiments
    workflow: Workflow

    @property
    def tests(self) -> dict[str, tuple[Direction, ...]]:
        """Name of each test set and the directions that it has text for."""
        return self.tested(self.directions)

    def tested(self, directions: tuple[Direction, ...]) -> dict[str, tuple[Direction, ...]]:
        """Name of each test set and those of some directions that it has text for."""
        tests: dict[str, tuple[Direction, ...]] = {}
        for source in self.data.test:
            served = {direction for direction in directions if source.serves(direction)}
            tests[source.name] = tuple(d for d in directions if d in served or d in tests.get(source.name, ()))
        return tests
