"""Sources and files of the text of a run, for the rules of the stages `data` and `pretrain`."""

import json
from collections.abc import Callable, Iterable
from dataclasses import astuple
from pathlib import Path
from typing import Any

from lander.config.config import Config
from lander.data.settings import resolve
from lander.data.sources import Source
from lander.data.templates import DEFAULT_PATH
from lander.shared.languages import parse_direction
from lander.workflow.paths import Paths


class Texts:
    """The sources that a job reads (`sources`, as JSON) and their `files`."""

    def __init__(self, settings: Config, paths: Paths) -> None:
        data, scored, pretrain = settings.data, settings.awareness, settings.pretrain
        self.settings, self.paths = settings, paths
        self.cleaning = as_json(resolve(data.cleaning))
        self.excluded_files = as_it_is(files_of(data.exclude))  # left out of training, in any language
        self.scoring_files = as_it_is(files_of(scored.data, scored.languages))
        self.pretraining_files = as_it_is(files_of([*pretrain.text, *pretrain.parallel], scored.languages))
        self.templates = as_it_is(_from_here(data.templates or DEFAULT_PATH))  # of instructions

    def _of(self, wildcards: Any) -> list[Source]:
        """Training sources of a pair of languages, dev sources of a direction, or those of a test set in it."""
        data = self.settings.data
        if hasattr(wildcards, "pair"):
            served = [one for one in self.settings.directions if one.pair == parse_direction(wildcards.pair)]
            return [source for source in data.train if any(map(source.serves, served))]
        found = [one for one in data.test if one.name == wildcards.test] if hasattr(wildcards, "test") else data.dev
        return [source for source in found if source.serves(parse_direction(wildcards.direction))]

    def sources(self, wildcards: Any) -> str:
        return sources_json(self._of(wildcards))

    def files(self, wildcards: Any) -> list[str]:
        pair = parse_direction(getattr(wildcards, "pair", None) or wildcards.direction)
        return files_of(self._of(wildcards), astuple(pair))

    def origins(self, wildcards: Any) -> str:
        """Names of the training sources that may serve a direction, as JSON."""
        direction = parse_direction(wildcards.direction)
        return as_json([source.name for source in self.settings.data.train if source.serves(direction)])

    def cleaned(self, wildcards: Any) -> dict[str, str]:
        """The cleaned pairs that a direction draws on, and the counts of what cleaning dropped."""
        stem = self.paths.clean(parse_direction(wildcards.direction).pair)
        return {"table": f"{stem}.parquet", "counts": f"{stem}.counts.parquet"}

    def kept_files(self, wildcards: Any) -> list[str]:
        """Files of the text, in a language, on which forgetting is measured."""
        return files_of(self.settings.experiments.text, [wildcards.language])


def as_it_is(value: Any) -> Callable[[Any], Any]:
    """Files, or a parameter of a rule, that are the same for all jobs.

    In a parameter that is no function, Snakemake puts the value of a wildcard in place of `{name}`.
    """
    return lambda _wildcards: value


def sources_of(settings: Config) -> list[Source]:
    """All sources of text that a run reads."""
    data, pretrain = settings.data, settings.pretrain
    found = [*data.train, *data.dev, *data.test, *data.exclude, *settings.awareness.data, *settings.experiments.text]
    return [*found, *pretrain.text, *pretrain.parallel] if settings.model.path == "pretrain" else found


def sources_json(sources: Iterable[Source]) -> str:
    """Sources as the stages take them."""
    return as_json([source.json for source in sources])


def as_json(value: Any) -> str:
    """JSON in one order: keys in another order rerun nothing."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def files_of(sources: Iterable[Source], languages: Iterable[str] | None = None) -> list[str]:
    """Files of sources in some languages (None: in all of them), each once."""
    return list(dict.fromkeys(file for source in sources for file in source.paths(languages)))


def _from_here(path: str | Path) -> str:
    """A path below the working directory as relative, so that moving a project reruns nothing."""
    path = Path(path).absolute()
    found = str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    return str(path) if found.startswith("-") else found  # it must not look like a flag
