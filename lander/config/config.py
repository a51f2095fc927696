"""The config of a run: read, checked, typed. Stages know nothing of it: the workflow turns it into their flags.

`load` takes the merged mapping that Snakemake has made of config.yaml and --configfile, and returns frozen values;
whatever is wrong is told in one line that names the key and the remedy, before any job starts.

    schema.py    defaults and messages, from workflow/schemas/config.schema.yaml
    readings.py  the switches between readings of the paper
    sources.py   sources of text: names, languages, files
    base.py      the base model: where its files are, how many layers it has
    checks.py    what a schema cannot say
    types.py     the dataclasses
"""

import dataclasses
import typing
from collections.abc import Mapping
from functools import reduce
from itertools import permutations
from pathlib import Path
from typing import Any

from lander.config import checks, readings
from lander.config.base import Base, find_base, no_flags
from lander.config.methods import TRAINED, TRAINING_FREE
from lander.config.schema import choices, validate
from lander.config.sources import Source, parse_sources
from lander.config.types import Config, Neural
from lander.data import settings
from lander.shared.errors import UserError
from lander.shared.files import shipped
from lander.shared.languages import CODE, Direction, language_name, parse_direction
from lander.shared.yamlfile import read_yaml

__all__ = [
    "TRAINING_FREE",
    "Base",
    "Config",
    "Direction",
    "Source",
    "choices",
    "effective",
    "find_base",
    "load",
    "merge",
    "names",
    "read",
    "trained",
]


BASELINES = ("zero-shot/best-prompt", "full", "lora", "adapter-lora", "random")  # of tests of significance


def load(raw: Mapping[str, Any]) -> Config:
    """Check a config and give it types.

    Raises:
        UserError: anything wrong with it, one line that names the key and the remedy.
    """
    config = readings.resolve(no_flags(validate(raw)))
    config["languages"] = _languages(config["languages"])
    config["directions"] = checks.directions([parse_direction(value) for value in config["directions"]], config)
    config["data"] = _data(config["data"])
    train = config["data"]["train"]
    config["awareness"] = _awareness(config["awareness"], list(config["languages"]), train)
    config["pretrain"] = _pretrain(config["pretrain"], train)
    config["finetune"] = _finetune(config["finetune"], len(config["directions"]))
    config["evaluate"] = _evaluate(config["evaluate"], config)
    config["experiments"] = _experiments(config["experiments"], config)
    typed = _build(Config, config)
    checks.check(typed)
    return typed


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below` as Snakemake merges config files: mappings merge, everything else replaces."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        mapping = isinstance(value, Mapping)
        merged[key] = merge(old if isinstance(old, Mapping) else {}, value) if mapping else value
    return merged


def read(*paths: str | Path) -> Config:
    """Load config.yaml with config files over it, later ones over earlier ones, as `snakemake --configfile` does."""
    return load(reduce(merge, (_read_yaml(Path(path)) for path in (shipped("config.yaml"), *paths))))


def effective(config: Config) -> dict[str, Any]:
    """The config as plain values, every key present; `workflow` is left out, it changes no result."""
    plain = _plain(config)
    plain["finetune"] |= plain["finetune"].pop("methods")
    del plain["workflow"]
    return plain


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        value = read_yaml(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a config, it has no keys at its top level")
    return value


def _languages(value: list[str] | Mapping[str, str]) -> dict[str, str]:
    """Code -> name, the name from the config or from CLDR."""
    for code in value:
        if not CODE.fullmatch(code):  # it becomes part of the names of files
            raise UserError(f"languages: {code!r} is no code; use letters, digits and - in between, as in zh-Hant")
    return dict(value) if isinstance(value, Mapping) else {code: language_name(code) for code in value}


def _sources(value: list[dict] | None, key: str, default: tuple[Source, ...]) -> tuple[Source, ...]:
    return default if value is None else parse_sources(value, key)


def _data(data: dict[str, Any]) -> dict[str, Any]:
    parsed = {
        key: parse_sources(data[key], f"data.{key}", named=key == "test") for key in ("train", "dev", "test", "exclude")
    }
    cleaning = settings.resolve(data["cleaning"])
    return {**data, **parsed, "max_pairs": data["max_pairs"] or 0, "cleaning": cleaning}


def _awareness(awareness: dict[str, Any], languages: list[str], train: tuple[Source, ...]) -> dict[str, Any]:
    scored = languages if awareness["languages"] is None else awareness["languages"]
    data = _sources(awareness["data"], "awareness.data", train)
    return {**awareness, "languages": scored, "data": data}


def _pretrain(pretrain: dict[str, Any], train: tuple[Source, ...]) -> dict[str, Any]:
    text = _sources(pretrain["text"], "pretrain.text", train)
    return {**pretrain, "text": text, "parallel": parse_sources(pretrain["parallel"], "pretrain.parallel")}


def _finetune(finetune: dict[str, Any], directions: int) -> dict[str, Any]:
    """Resolve `null`: one micro-batch per direction and update, and each method's learning rate."""
    resolved = {name: value for name, value in finetune.items() if name not in TRAINED}
    resolved["accumulate"] = finetune["accumulate"] or directions
    resolved["methods"] = {
        name: {**finetune[name], "learning_rate": finetune[name]["learning_rate"] or finetune["learning_rate"]}
        for name in TRAINED
    }
    return resolved


def _evaluate(evaluate: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Resolve `null`: the usual baselines that the run has. The paper's own BLEU comes with its readings."""
    usual = [name for name in BASELINES if name.split("/")[0] in config["methods"]]
    given = usual if evaluate["baselines"] is None else evaluate["baselines"]
    for name in given:
        if name.split("/")[0] not in config["methods"]:
            raise UserError(f"evaluate.baselines: {name} is not in `methods`; add it there, or remove it here")
    paper = ["bleu_13a"] if config["readings"] == "paper" and "bleu_13a" not in evaluate["metrics"] else []
    return {"baselines": given, "metrics": [*evaluate["metrics"], *paper], "neural": _neural(evaluate["neural"])}


def _neural(given: list[dict[str, Any]]) -> list[Neural]:
    """The neural metrics; `checks` looks at what they name."""
    values = ({"command": None, "signature": None, "less_is_better": None, **one} for one in given)
    return [Neural(**{**one, "command": one["command"] and tuple(one["command"])}) for one in values]


def _experiments(experiments: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Resolve `null`: all untrained pairs of languages, the sides of the dev text."""
    trained, test = config["directions"], config["data"]["test"]
    untrained = [Direction(*pair) for pair in permutations(config["languages"], 2)]
    untrained = [d for d in untrained if d not in trained and any(source.serves(d) for source in test)]
    if experiments["untrained"] is not None:
        given = {"languages": config["languages"]}
        untrained = checks.directions([parse_direction(value) for value in experiments["untrained"]], given)
        for direction in untrained:
            if direction in trained:
                raise UserError(f"experiments.untrained: {direction} is in `directions`, so it is trained; remove it")
            if not any(source.serves(direction) for source in test):
                raise UserError(f"experiments.untrained: no source of data.test has text for {direction}; remove it")
    text = _sources(experiments["text"], "experiments.text", config["data"]["dev"])
    return {**experiments, "untrained": untrained, "text": text}


def _build(kind: Any, value: Any) -> Any:
    """Plain values as an instance of a dataclass, lists as tuples, at every depth."""
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _build(hints[name], item) for name, item in value.items()})
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """The reverse of `_build`: mappings, lists and scalars that YAML and JSON can hold."""
    if isinstance(value, Source):
        return value.json
    if isinstance(value, Direction):
        return [value.source, value.target] if "--" in str(value) else str(value)
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def names(config: Config) -> dict[str, str]:
    """English name of every language of the run, those of contrast included."""
    return {code: config.languages.get(code) or language_name(code) for code in config.awareness.languages}


def trained(config: Config) -> list[str]:
    """The methods of the run that train something."""
    return [method for method in config.methods if method in TRAINED]
