"""The config of a run: read, checked, typed. Stages know nothing of it: the workflow turns it into their flags.

Every key is declared once, in its section; the schema, the reference page and the file of defaults are made from the
declarations (`lander.config.schema`). `load` takes the merged mapping of the config files and returns frozen values.

    config.read("mine.yaml").layers.k  ->  4
"""

import re
import sys
from collections.abc import Mapping
from itertools import permutations
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from lander.config import checks
from lander.config.activations import Activations
from lander.config.awareness import Awareness
from lander.config.base import BUILT_IN, PRETRAIN, Base, check_cached, depth, find_folder
from lander.config.data import Data
from lander.config.evaluate import Evaluate
from lander.config.experiments import Experiments, Workflow
from lander.config.finetune import Finetune
from lander.config.layers import Layers
from lander.config.masks import Ablation, Routing
from lander.config.methods import METHODS, TRAINED
from lander.config.model import Model
from lander.config.neurons import Neurons
from lander.config.pretrain import Pretrain
from lander.config.translate import Translate
from lander.data.settings import Cleaning, resolve
from lander.data.sources import DirectionValue, Source, check_sources
from lander.shared.errors import UserError
from lander.shared.files import shipped
from lander.shared.languages import CODE, Direction, language_name
from lander.shared.runs import METHOD
from lander.shared.section import Distinct, PathText, Section, Text, items, keys
from lander.shared.validation import check_values, not_text, read_words, validate
from lander.shared.yamlfile import read_yaml

BASELINES = ("zero-shot/best-prompt", "full", "lora", "adapter-lora", "random")  # of tests of significance
EXAMPLES = {  # what a run needs and no default can give -> how it is written
    "languages": "languages: [en, de]",
    "directions": "directions: [en-de, de-en]",
    "model.path": "model: {path: owner/name}",
    "data.train": "data: {train: [{files: {en: train.en, de: train.de}}]}",
    "data.dev": "data: {dev: [{files: {en: dev.en, de: dev.de}}]}",
    "data.test": "data: {test: [{name: news, files: {en: test.en, de: test.de}}]}",
}
PLACEHOLDERS = {"languages": ["en", "de"], "directions": ["en-de"], "model": {"path": "pretrain"}}  # until all is asked


def _names(value: Any) -> Any:
    """Code -> English name, from CLDR where the config has codes alone."""
    if not isinstance(value, list | tuple | Mapping):
        return value
    for index, code in enumerate(value):
        if not isinstance(code, str):
            raise UserError(not_text(f"languages[{index}]", code))
        if not CODE.fullmatch(code):  # it becomes part of the names of files
            example = re.sub("[^A-Za-z0-9]+", "-", code).strip("-") if CODE.match(code) else "zh-Hant"
            raise UserError(f"languages: {code!r} is no code; use letters, digits and - in between, as in {example}")
    return dict(value) if isinstance(value, Mapping) else {code: language_name(code) for code in value}


class Config(Section):
    """A config. After `load` every key has a value, `null` defaults are resolved, sources are checked and named."""

    run: str = Field("run", pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """Name of the run; all results go to results/<run>/."""
    languages: Annotated[
        dict[str, Text],
        BeforeValidator(_names),
        WithJsonSchema({"type": ["array", "object"], "items": {"type": "string"}}),
    ] = Field(min_length=2)
    """Codes of the languages, or a mapping of code to the English name that prompts use (otherwise the name in Unicode
    CLDR)."""
    directions: Annotated[tuple[DirectionValue, ...], Distinct] = Field(min_length=1)
    """Translation directions, as en-de, or as [zh-Hant, en] if a code has a hyphen."""
    methods: Annotated[tuple[Literal[*METHODS], ...], Distinct] = Field(
        ("zero-shot", "full", "lora", "landermt"), min_length=1
    )
    """What is trained and compared; zero-shot is the base itself, once with a fixed prompt and once with the one that
    does best on the dev set."""
    external: dict[Annotated[str, Field(pattern=f"^{METHOD}$", max_length=60)], PathText] = Field({})
    """Other systems, whose outputs are scored beside the methods: name to folder, with <test>/<direction>.txt in it.
    Line n is the translation of sentence n."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Distinct] = Field((0,), min_length=1)
    """Seeds of sampling and training; methods that train nothing use the first."""
    threads: int = Field(1, ge=1, le=1024)
    """Torch threads of each job; part of the result, because the order of sums depends on it."""
    readings: Literal["repaired", "paper"] = "repaired"
    """Which reading is used where the paper can be understood in two ways (docs/method.md)."""
    model: Model
    data: Data = Data()
    pretrain: Pretrain = Pretrain()
    activations: Activations = Activations()
    layers: Layers = Layers()
    awareness: Awareness = Awareness()
    neurons: Neurons = Neurons()
    routing: Routing = Routing()
    finetune: Finetune = Finetune()
    ablation: Ablation = Ablation()
    translate: Translate = Translate()
    evaluate: Evaluate = Evaluate()
    experiments: Experiments = Experiments()
    workflow: Workflow = Workflow()

    @property
    def base(self) -> Base:
        """The base model."""
        if self.model.path == PRETRAIN:
            return Base("pretrain", None, self.pretrain.n_layer)
        folder = find_folder(self.model.path)
        if folder is None:
            check_cached(self.model.path, self.model.revision)
            return Base("hub", None, None)
        return Base("built-in" if folder.parent == BUILT_IN else "local", folder, depth(folder / "config.json"))

    def tested(self, directions: tuple[Direction, ...]) -> dict[str, tuple[Direction, ...]]:
        """Name of each test set and those of some directions that it has text for."""
        parts: dict[str, list[Source]] = {}
        for source in self.data.test:
            parts.setdefault(source.name, []).append(source)
        return {name: tuple(d for d in directions if any(one.serves(d) for one in parts[name])) for name in parts}


# The switches between two readings of the paper: reading -> section -> key -> value
READINGS: dict[str, dict[str, dict[str, str]]] = {"repaired": {}, "paper": {}}
for key in keys(Config):
    for which, value in key.readings.items():
        section, name = key.name.split(".")
        READINGS[which].setdefault(section, {})[name] = value


# ---------------------------------------------------------------- reading


def read(*paths: str | Path) -> Config:
    """Load config files, as `snakemake --configfile` does."""
    return load(merged(*paths))


def merged(*paths: str | Path) -> dict[str, Any]:
    """What config files say together, later ones over earlier ones; without a file, what config.yaml says."""
    found: dict[str, Any] = {}
    for path in paths or (shipped("config.yaml"),):
        value = read_yaml(path)
        if not isinstance(value, dict):
            raise UserError(f"{path}: not a config, it has no keys at its top level")
        found = merge(found, value)
    return found


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below` as Snakemake merges config files: mappings merge, everything else replaces."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        mapping = isinstance(value, Mapping)
        merged[key] = merge(old if isinstance(old, Mapping) else {}, value) if mapping else value
    return merged


def load(raw: Mapping[str, Any]) -> Config:
    """Check a config and give it types. UserError for anything wrong: one line with the key and the remedy."""
    check_values(raw, "")  # before anything walks through it
    config = validate(Config, merge(PLACEHOLDERS, raw))
    needless = {"data.train": not trained(config), "data.dev": "zero-shot" not in config.methods}
    given = set(raw) | {f"{key}.{inner}" for key in ("model", "data") for inner in raw.get(key) or ()}
    if missing := [key for key in EXAMPLES if key not in given and not needless.get(key)]:  # last: it may be misspelt
        wanted = "; ".join(f"{key}, as in `{EXAMPLES[key]}`" for key in missing)
        raise UserError(f"missing: {wanted}; add {'it' if len(missing) == 1 else 'them'} to the config")
    config = _resolve(config)
    checks.check(config)
    for warning in checks.warnings(config):
        print(f"lander: warning: {warning}", file=sys.stderr)
    return config


def _resolve(config: Config) -> Config:
    """Fill in what depends on other keys: switches, null defaults, names of sources."""
    switches = {
        section: {key: value for key, value in values.items() if key not in getattr(config, section).model_fields_set}
        for section, values in READINGS[config.readings].items()
    }
    config = config.changed(switches)

    def sources(key: str, default: tuple[Source, ...] = ()) -> tuple[Source, ...]:
        given = attrgetter(key)(config)
        return default if given is None else check_sources(given, key, named=key == "data.test")

    data = {key: sources(f"data.{key}") for key in ("train", "dev", "test", "exclude")}
    usual = tuple(name for name in BASELINES if name.split("/")[0] in config.methods)
    paper = ("bleu_13a",) if config.readings == "paper" and "bleu_13a" not in config.evaluate.metrics else ()
    pairs = [Direction(*pair) for pair in permutations(config.languages, 2)]
    tested = (pair for pair in pairs if any(source.serves(pair) for source in data["test"]))
    untrained = tuple(pair for pair in tested if pair not in config.directions)
    scored, baselines, forgotten = config.awareness.languages, config.evaluate.baselines, config.experiments.untrained
    return config.changed(
        {
            "data": {
                **data,
                "max_pairs": config.data.max_pairs or 0,
                "cleaning": validate(Cleaning, resolve(config.data.cleaning)),  # with what Lander states of languages
            },
            "awareness": {
                "languages": tuple(config.languages) if scored is None else scored,
                "data": sources("awareness.data", data["train"]),
            },
            "pretrain": {"text": sources("pretrain.text", data["train"]), "parallel": sources("pretrain.parallel")},
            "finetune": {
                "accumulate": config.finetune.accumulate
                or len(config.directions) // config.finetune.together(len(config.directions)),
                **{
                    name: {"learning_rate": own.learning_rate or config.finetune.learning_rate or METHODS[name].rate}
                    for name, own in config.finetune.methods.items()
                },
            },
            "evaluate": {
                "baselines": usual if baselines is None else baselines,
                "metrics": (*config.evaluate.metrics, *paper),
            },
            "experiments": {
                "untrained": untrained if forgotten is None else forgotten,
                "text": sources("experiments.text", data["dev"]),
            },
        }
    )


# ---------------------------------------------------------------- what a config says


def differences(raw: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Key -> (value, default) of all that a config sets otherwise than the defaults do; what has none is left out."""
    found, absent = {}, object()
    for key in keys(Config):
        value: Any = raw
        for part in key.name.split("."):
            value = value.get(part, absent) if isinstance(value, Mapping) else absent
        if key.section or value is absent or key.name in (*EXAMPLES, "run", "data.exclude"):
            continue
        default = key.readings.get(raw.get("readings", "repaired"), key.field.default)
        if (given := read_words(value, key.field.annotation)) != default:
            found[key.name] = given, default
    return found


def other_readings(config: Config) -> list[str]:
    """`section.key: value` of each switch that a loaded config has otherwise than its set of readings."""
    values = {key.name: key.readings[config.readings] for key in keys(Config) if key.readings}
    return [f"{key}: {now}" for key, value in values.items() if (now := attrgetter(key)(config)) != value]


def effective(config: Config) -> dict[str, Any]:
    """The config as plain values, every key present; `workflow` is left out, because it changes no result."""
    plain = config.model_dump(mode="json", by_alias=True, exclude={"workflow"})
    for key in keys(Config):
        if items(key.field.annotation) is Source:
            section, name = key.name.split(".")
            plain[section][name] = [source.json for source in attrgetter(key.name)(config)]
    return plain


def names(config: Config) -> dict[str, str]:
    """English name of every language of the run, those of contrast included."""
    return {code: config.languages.get(code) or language_name(code) for code in config.awareness.languages}


def trained(config: Config) -> list[str]:
    """The methods of the run that train something."""
    return [method for method in config.methods if method in TRAINED]
