"""Sources and files of the text of a run, for the rules of the stages `data` and `pretrain`."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lander.config.config import Config
from lander.data.settings import resolve
from lander.data.sources import Source
from lander.shared.languages import Direction, parse_direction
from lander.workflow.paths import Paths

PACKAGED_TEMPLATES = Path(__file__).parents[1] / "data" / "templates.yaml"


class Texts:
    """Which sources and files a job reads."""

    def __init__(self, settings: Config, paths: Paths) -> None:
        self.settings, self.paths = settings, paths
        self.cleaning = as_json(resolve(settings.data.cleaning))

    def training_sources(self, wildcards: Any) -> str:
        """Training sources of a pair of languages, as JSON."""
        return sources_json(self._of_pair(wildcards.pair))

    def training_files(self, wildcards: Any) -> list[str]:
        """Files that hold the training text of a pair of languages."""
        pair = parse_direction(wildcards.pair)
        return files_of(self._of_pair(wildcards.pair), pair)

    def excluded_files(self, _wildcards: Any) -> list[str]:
        """Files whose sentences are taken out of training, in any language."""
        return files_of(self.settings.data.exclude)

    def origins(self, wildcards: Any) -> str:
        """Names of the training sources that may serve a direction, as JSON."""
        direction = parse_direction(wildcards.direction)
        return as_json([source.name for source in self.settings.data.train if source.serves(direction)])

    def heldout_sources(self, wildcards: Any) -> str:
        """Dev sources of a direction, or those of a test set in it, as JSON."""
        return sources_json(self._heldout(wildcards))

    def heldout_files(self, wildcards: Any) -> list[str]:
        """Files that hold the same text."""
        return files_of(self._heldout(wildcards), parse_direction(wildcards.direction))

    def scoring_files(self, _wildcards: Any) -> list[str]:
        """Files that hold the text that scores the neurons."""
        return files_of(self.settings.awareness.data, self.settings.awareness.languages)

    def pretraining_files(self, _wildcards: Any) -> list[str]:
        """Files that a base from scratch is trained on."""
        pretrain = self.settings.pretrain
        return files_of([*pretrain.text, *pretrain.parallel], self.settings.awareness.languages)

    def kept_files(self, wildcards: Any) -> list[str]:
        """Files that hold the text, in a language, on which forgetting is measured."""
        return files_of(self.settings.experiments.text, [wildcards.language])

    def cleaned(self, wildcards: Any) -> dict[str, str]:
        """The cleaned pairs that a direction draws on, and the counts of what cleaning dropped."""
        stem = self.paths.clean(parse_direction(wildcards.direction).pair)
        return {"table": f"{stem}.parquet", "counts": f"{stem}.counts.parquet"}

    # A function, not a value: in a path that is a value, Snakemake would read a brace as a wildcard.
    def templates(self, _wildcards: Any) -> str:
        """The file of instruction templates."""
        return _from_here(self.settings.data.templates or PACKAGED_TEMPLATES)

    def _of_pair(self, name: str) -> list[Source]:
        pair = parse_direction(name)
        directions = [direction for direction in self.settings.directions if direction.pair == pair]
        return [source for source in self.settings.data.train if any(map(source.serves, directions))]

    def _heldout(self, wildcards: Any) -> list[Source]:
        data, direction = self.settings.data, parse_direction(wildcards.direction)
        tested = hasattr(wildcards, "test")
        found = [one for one in data.test if one.name == wildcards.test] if tested else data.dev
        return [source for source in found if source.serves(direction)]


def sources_json(sources: Iterable[Source]) -> str:
    """Sources as the stages take them."""
    return as_json([source.json for source in sources])


def as_json(value: Any) -> str:
    """JSON in one order: keys in another order rerun nothing."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def files_of(sources: Iterable[Source], languages: Direction | Iterable[str] | None = None) -> list[str]:
    """Files of sources in some languages (None: in all of them), each once."""
    if isinstance(languages, Direction):
        languages = (languages.source, languages.target)
    return list(dict.fromkeys(file for source in sources for file in source.paths(languages)))


def _from_here(path: str | Path) -> str:
    """A path below the working directory as relative, so that moving a project reruns nothing."""
    path = Path(path).absolute()
    found = str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    return str(path) if found.startswith("-") else found  # it must not look like a flag
