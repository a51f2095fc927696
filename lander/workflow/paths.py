"""Where the tables and models of a run are, as plain strings, relative to the working directory.

The rules write the same paths as patterns, with Snakemake's `<results>` for the run's folder.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from lander.shared.runs import Model


@dataclass(frozen=True)
class Paths:
    """Files below `results`, the folder of a run. `reading` is empty or a folder's name with its slash."""

    results: str

    def clean(self, pair: object) -> str:
        return f"{self.results}/data/clean/{pair}"

    def train(self, seed: object, directions: Iterable[object]) -> list[str]:
        return [f"{self.results}/data/s{seed}/train/{direction}.parquet" for direction in directions]

    def awareness(self, reading: str, seed: object, parts: bool = False) -> str:
        """The folder of all languages."""
        return f"{self.results}/awareness{'_parts' if parts else ''}/{reading}s{seed}"

    def selected(self, stage: str, selection: str, seed: object) -> str:
        """The table of the stage `layers` or `neurons` of a selection (`lander.config.variants`)."""
        return f"{self.results}/{stage}/{selection}/s{seed}/{stage}.parquet"

    def of(self, stage: str, model: Model) -> str:
        """The folder of a model in the stage `finetune`, `translate` or `evaluate`; `loss` has a file, .csv."""
        return f"{self.results}/{stage}/{model}"
