"""The config of a run: read, checked, typed. Stages know nothing of it: the workflow turns it into their flags.

Every key is declared once, in the module of its section; the schema, the reference page and the file of defaults are
made from the declarations (`lander.config.schema`). `load` takes the merged mapping of the config files and returns
frozen values. What is wrong is said in one line that names the key and the remedy, before any job starts.

    config.read("mine.yaml").layers.k  ->  4
"""

import sys
from collections.abc import Mapping
from functools import reduce
from itertools import permutations
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from lander.config import checks, readings
from lander.config.activations import Activations
from lander.config.awareness import Awareness
from lander.config.base import Base, find_base
from lander.config.data import Data
from lander.config.evaluate import Evaluate
from lander.config.experiments import Experiments
from lander.config.finetune import Finetune
from lander.config.layers import Layers
from lander.config.masks import Ablation, Routing
from lander.config.methods import METHODS, TRAINED, TRAINING_FREE
from lander.config.model import Model
from lander.config.neurons import Neurons
from lander.config.pretrain import Pretrain
from lander.config.translate import Translate
from lander.data.settings import Cleaning, resolve
from lander.data.sources import DirectionValue, Source, check_sources
from lander.shared import section
from lander.shared.errors import UserError
from lander.shared.files import shipped
from lander.shared.languages import CODE, Direction, language_name
from lander.shared.section import Section
from lander.shared.validation import check_values, not_text, read_words, validate
from lander.shared.yamlfile import read_yaml

__all__ = ["TRAINING_FREE", "Base", "Config", "Direction", "Source", "differences", "effective", "find_base", "load",
           "merge", "merged", "names", "read", "trained"]  # fmt: skip
BASELINES = ("zero-shot/best-prompt", "full", "lora", "adapter-lora", "random")  # of tests of significance
EXAMPLES = {  # what a run needs and no default can give -> how it is written
    "languages": "languages: [en, de]",
    "directions": "directions: [en-de, de-en]",
    "model.path": "model: {path: owner/name}",
    "data.train": "data: {train: [{files: {en: train.en, de: train.de}}]}",
    "data.dev": "data: {dev: [{files: {en: dev.en, de: dev.de}}]}",
    "data.test": "data: {test: [{name: news, files: {en: test.en, de: test.de}}]}",
}

ABSENT = object()
PLACEHOLDERS = {"languages": ["en", "de"], "directions": ["en-de"], "model": {"path": "pretrain"}}  # until all is asked


def _names(value: Any) -> Any:
    """Code -> English name, from CLDR where the config has codes alone."""
    if not isinstance(value, list | tuple | Mapping):
        return value
    for index, code in enumerate(value):
        if not isinstance(code, str):
            raise UserError(not_text(f"languages[{index}]", code))
        if not CODE.fullmatch(code):  # it becomes part of the names of files
            raise UserError(f"languages: {code!r} is no code; use letters, digits and - in between, as in zh-Hant")
    return dict(value) if isinstance(value, Mapping) else {code: language_name(code) for code in value}


class Workflow(Section):
    """How the workflow behaves; nothing here changes a result."""

    code_triggers: bool = Field(
        True,
        description="Whether a changed stage is run again; false keeps its results when Lander is upgraded in the "
        "middle of an expensive study.",
    )


class Config(Section):
    """A config. After `load` every key has a value, `null` defaults are resolved, sources are checked and named."""

    run: str = Field(
        "run",
        pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=100,
        description="Name of the run; all results go to results/<run>/.",
    )
    languages: Annotated[
        dict[str, Annotated[str, Field(min_length=1)]],
        BeforeValidator(_names),
        WithJsonSchema({"type": ["array", "object"], "items": {"type": "string"}}),
    ] = Field(
        min_length=2,
        description="Codes of the languages, or a mapping of code to the English name that prompts use (otherwise the "
        "name in Unicode CLDR).",
    )
    directions: tuple[DirectionValue, ...] = Field(
        min_length=1,
        description="Translation directions, as en-de, or as [zh-Hant, en] if a code has a hyphen.",
    )
    methods: tuple[str, ...] = Field(
        ("zero-shot", "full", "lora", "landermt"),
        min_length=1,
        description="What is trained and compared; zero-shot is the base itself, once with a fixed prompt and once "
        "with the one that does best on the dev set.",
    )
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0,), min_length=1, description="Seeds of sampling and training; methods that train nothing use the first."
    )
    threads: int = Field(
        1, ge=1, description="Torch threads of each job; part of the result, because the order of sums depends on it."
    )
    readings: Literal["repaired", "paper"] = Field(
        "repaired", description="Which reading is used where the paper can be understood in two ways (docs/method.md)."
    )
    model: Model = Field(description="The base model.")
    data: Data = Field(Data(), description="Parallel text.")
    pretrain: Pretrain = Field(Pretrain(), description="A small base from scratch, for `model.path: pretrain`.")
    activations: Activations = Field(Activations(), description="Mean activations per direction (paper 3.1, eq. 1).")
    layers: Layers = Field(Layers(), description="The layers that are finetuned (eq. 2).")
    awareness: Awareness = Field(Awareness(), description="Scores of the neurons per language (paper 3.2, eq. 3-4).")
    neurons: Neurons = Field(Neurons(), description="Classes of the neurons (eq. 5).")
    routing: Routing = Field(Routing(), description="How the neurons of a direction are scaled (eq. 6-9).")
    finetune: Finetune = Field(Finetune(), description="Training, the same for all methods (paper 4.2).")
    ablation: Ablation = Field(Ablation(), description="The ablations landermt-lg and landermt-ls (table 2).")
    translate: Translate = Field(Translate(), description="Decoding (paper 4.3).")
    evaluate: Evaluate = Field(Evaluate(), description="Scores and tests of significance (paper 4.3-4.4).")
    experiments: Experiments = Field(
        Experiments(), description="The experiments of the paper and ours, each a target, as `snakemake table1`."
    )
    workflow: Workflow = Field(Workflow(), description="How the workflow behaves; nothing here changes a result.")

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


# ---------------------------------------------------------------- reading


def read(*paths: str | Path) -> Config:
    """Load config files, as `snakemake --configfile` does."""
    return load(merged(*paths))


def merged(*paths: str | Path) -> dict[str, Any]:
    """What config files say together, later ones over earlier ones; without a file, what config.yaml says."""
    return reduce(merge, (_read_yaml(Path(path)) for path in paths or (shipped("config.yaml"),)))


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below` as Snakemake merges config files: mappings merge, everything else replaces."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        mapping = isinstance(value, Mapping)
        merged[key] = merge(old if isinstance(old, Mapping) else {}, value) if mapping else value
    return merged


def load(raw: Mapping[str, Any]) -> Config:
    """Check a config and give it types.

    Raises:
        UserError: anything wrong with it, one line that names the key and the remedy.
    """
    check_values(raw, "")
    typed = validate(Config, merge(PLACEHOLDERS, raw))
    if missing := _missing(typed, raw):  # after all else: a key may be missing because it is misspelt
        wanted = "; ".join(f"{key}, as in `{EXAMPLES[key]}`" for key in missing)
        raise UserError(f"missing: {wanted}; add {'it' if len(missing) == 1 else 'them'} to the config")
    typed = _resolve(typed.model_copy(update=readings.resolve(typed)))
    checks.check(typed)
    for warning in checks.warnings(typed):
        print(f"lander: warning: {warning}", file=sys.stderr)
    return typed


def differences(raw: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Key -> (value, default) of all that a config sets otherwise than the defaults do; what has none is left out."""
    found = {}
    for key in section.keys(Config):
        value: Any = raw
        for part in key.name.split("."):
            value = value.get(part, ABSENT) if isinstance(value, Mapping) else ABSENT
        if key.section or value is ABSENT or key.name in (*EXAMPLES, "run", "data.exclude"):
            continue
        default = key.readings.get(raw.get("readings", "repaired"), key.field.default)
        if (given := read_words(value, key.field.annotation)) != default:
            found[key.name] = given, default
    return found


def _missing(config: Config, raw: Mapping[str, Any]) -> list[str]:
    """What the run needs, no default can give, and the config does not name."""
    needed = ["languages", "directions", "model.path", "data.test"]
    needed += ["data.train"] if trained(config) else []
    needed += ["data.dev"] if "zero-shot" in config.methods else []
    given = set(raw) | {f"{key}.{inner}" for key in ("model", "data") for inner in raw.get(key) or ()}
    return [key for key in EXAMPLES if key in needed and key not in given]


def _resolve(config: Config) -> Config:
    """Fill in what depends on other keys: null defaults, names of sources, directions between known languages."""
    directions = checks.directions(list(config.directions), list(config.languages))
    data = {key: check_sources(getattr(config.data, key), f"data.{key}", named=key == "test")
            for key in ("train", "dev", "test", "exclude")}  # fmt: skip

    def sources(name: str, key: str, default: tuple[Source, ...]) -> tuple[Source, ...]:
        given = getattr(getattr(config, name), key)
        return default if given is None else check_sources(given, f"{name}.{key}")

    changes: dict[str, dict[str, Any]] = {
        "data": {
            **data,
            "max_pairs": config.data.max_pairs or 0,
            "cleaning": validate(
                Cleaning, resolve(config.data.cleaning)
            ),  # with what Lander states of single languages
        },
        "awareness": {
            "languages": tuple(config.languages) if config.awareness.languages is None else config.awareness.languages,
            "data": sources("awareness", "data", data["train"]),
        },
        "pretrain": {
            "text": sources("pretrain", "text", data["train"]),
            "parallel": sources("pretrain", "parallel", ()),
        },
        "finetune": {"accumulate": config.finetune.accumulate or len(directions)}
        | {
            name: own.changed(
                {"learning_rate": own.learning_rate or config.finetune.learning_rate or METHODS[name].rate}
            )
            for name, own in config.finetune.methods.items()
        },
        "evaluate": {"baselines": _baselines(config), "metrics": _metrics(config)},
        "experiments": {
            "untrained": _untrained(config, directions, data["test"]),
            "text": sources("experiments", "text", data["dev"]),
        },
    }
    return config.changed({"directions": directions, **changes})


def _baselines(config: Config) -> tuple[str, ...]:
    """null: the usual ones that the run has."""
    if config.evaluate.baselines is None:
        return tuple(name for name in BASELINES if name.split("/")[0] in config.methods)
    for name in config.evaluate.baselines:
        if name.split("/")[0] not in config.methods:
            raise UserError(f"evaluate.baselines: {name} is not in `methods`; add it there, or remove it here")
    return config.evaluate.baselines


def _metrics(config: Config) -> tuple[str, ...]:
    """The paper's own BLEU comes with its readings."""
    given = config.evaluate.metrics
    return (*given, "bleu_13a") if config.readings == "paper" and "bleu_13a" not in given else given


def _untrained(config: Config, trained: tuple[Direction, ...], test: tuple[Source, ...]) -> tuple[Direction, ...]:
    """null: all untrained pairs of languages that have test text."""
    if config.experiments.untrained is None:
        pairs = (Direction(*pair) for pair in permutations(config.languages, 2))
        return tuple(d for d in pairs if d not in trained and any(source.serves(d) for source in test))
    given = checks.directions(list(config.experiments.untrained), list(config.languages))
    for direction in given:
        if direction in trained:
            raise UserError(f"experiments.untrained: {direction} is in `directions`, so it is trained; remove it")
        if not any(source.serves(direction) for source in test):
            raise UserError(f"experiments.untrained: no source of data.test has text for {direction}; remove it")
    return given


def effective(config: Config) -> dict[str, Any]:
    """The config as plain values, every key present; `workflow` is left out, because it changes no result."""
    plain = config.model_dump(mode="json", by_alias=True, exclude={"workflow"})
    for key in ("train", "dev", "test", "exclude"):
        plain["data"][key] = [source.json for source in getattr(config.data, key)]
    for name, key in (
        ("awareness", "data"),
        ("pretrain", "text"),
        ("pretrain", "parallel"),
        ("experiments", "text"),
    ):
        plain[name][key] = [source.json for source in getattr(getattr(config, name), key)]
    return plain


def names(config: Config) -> dict[str, str]:
    """English name of every language of the run, those of contrast included."""
    return {code: config.languages.get(code) or language_name(code) for code in config.awareness.languages}


def trained(config: Config) -> list[str]:
    """The methods of the run that train something."""
    return [method for method in config.methods if method in TRAINED]


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        value = read_yaml(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a config, it has no keys at its top level")
    return value
