"""A run: its texts, models and experiments, the digests of its code, and the machine that it runs on."""

import hashlib
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lander.config import config
from lander.config.methods import MASKED
from lander.config.variants import MAIN, selection
from lander.shared import guard
from lander.shared.digest import code_digest, record_digests, recorded_digest
from lander.shared.errors import UserError
from lander.shared.languages import Direction
from lander.shared.runs import Model
from lander.workflow.experiments import Experiments
from lander.workflow.models import Models
from lander.workflow.texts import Texts

ERROR = re.compile(r"lander [a-z._-]+: error: ")
LOGS = re.compile(r" +log: (.+) \(check log file\(s\) for error details\)")  # how Snakemake names a failed job's


class Plan:
    """What a checked config asks for."""

    def __init__(self, settings: config.Config) -> None:
        if "spbleu" in settings.evaluate.metrics:
            from lander.evaluate.tokenizers import check_flores

            check_flores()
        self.settings = settings
        self.stages: set[str] = set()  # modules whose code is a parameter of a rule
        self.results = f"results/{settings.run}"
        self.ledger = Path(self.results, ".code.json")
        self.texts = Texts(settings)
        self.models = Models(settings)
        self.experiments = Experiments(settings, self.models.base.n_layer)
        self.directions = self.models.directions
        self.trained = config.trained(settings)
        self.detects = any(self._detects(method) for method in self.trained)
        self.tests = {name: [str(direction) for direction in served] for name, served in settings.tests.items()}
        untrained = settings.tested(settings.experiments.untrained)
        self.untrained = {
            name: [str(direction) for direction in served] for name, served in untrained.items() if served
        }
        self.test_items, self.untrained_items = items(self.tests), items(self.untrained)

    def _detects(self, method: str) -> bool:
        return method in MASKED and not self.models.given(method)

    # ------------------------------------------------------------ translations, losses and scores

    @property
    def test_flags(self) -> list[str]:
        """<name of the test set>:<direction>:<table>, as --test takes it."""
        return self._heldout(self.test_items)

    @property
    def untrained_flags(self) -> list[str]:
        """The same of the directions that no model is trained on."""
        return self._heldout(self.untrained_items)

    def _heldout(self, names: list[str]) -> list[str]:
        return [f"{name.replace('/', ':')}:{self.results}/data/test/{name}.parquet" for name in names]

    @property
    def dev_flags(self) -> list[str]:
        """<direction>:<table>, as --dev takes it."""
        return [f"{direction}:{self.results}/data/dev/{direction}.parquet" for direction in self.directions]

    @property
    def text_flags(self) -> list[str]:
        """<language>:<table> of the text on which forgetting is measured, as --text takes it."""
        return [f"{language}:{self.results}/data/kept/{language}.parquet" for language in self.settings.languages]

    def seen_flags(self, wildcards: Any) -> list[str]:
        """The flag that names the test items that occur in training, where something is trained."""
        return ["--seen", f"{self.results}/evaluate/seen-s{wildcards.seed}.json"] if self.trained else []

    def seen_untrained_flags(self, wildcards: Any) -> list[str]:
        """The same of the directions that no model is trained on."""
        return ["--seen", f"{self.results}/evaluate/seen-untrained-s{wildcards.seed}.json"] if self.trained else []

    @property
    def compared(self) -> list[Model]:
        """All models of the run's methods."""
        return self.experiments.of_methods(self.settings.methods)

    @property
    def trained_models(self) -> list[Model]:
        """Those that are trained."""
        return [model for model in self.compared if model.method in self.trained]

    # ------------------------------------------------------------ experiments and report

    @property
    def title(self) -> str:
        """What was run, for the tables of experiments."""
        text = ", ".join(source.name for source in self.settings.data.train)
        return f"Run {self.settings.run}: base {self.settings.model.path}, trained on {text}"

    @property
    def shown(self) -> list[Model]:
        """The models whose translations the report shows: those of the first seed."""
        return [model for model in self.compared if model.seed == self.settings.seeds[0]]

    def main_table(self, stage: str) -> str:
        """The table of layers or neurons of `landermt`, at the first seed."""
        folder = selection(self.settings, stage, "landermt", MAIN)
        return f"<results>/{stage}/{folder}/s{self.settings.seeds[0]}/{stage}.parquet"

    def report_files(self, _wildcards: Any) -> dict[str, list[str]]:
        """What the report shows, by the name of its flag; what this run does not have is left out."""
        seed = f"s{self.settings.seeds[0]}"
        items = [(model, item) for model in self.shown for item in self.test_items]
        files = {
            "translations": [f"<results>/translate/{model}/{item}.jsonl" for model, item in items],
            "flags": [f"<results>/evaluate/{model}/{item}.flags.csv" for model, item in items],
            "significance": ["<results>/evaluate/significance.csv"],
        }
        if self.trained:
            files["counts"] = [f"<results>/data/{seed}/counts.parquet"]
            files["dropped"] = [f"<results>/data/clean/{pair}.dropped.jsonl" for pair in self._pairs()]
            files["train"] = [f"<results>/data/{seed}/train/{direction}.parquet" for direction in self.directions]
            files["loss"] = [f"<results>/finetune/{model}/loss.csv" for model in self.trained_models]
            files["runs"] = [f"<results>/finetune/{model}/run.json" for model in self.trained_models]
        if "zero-shot" in self.settings.methods:
            files["prompts"] = [f"<results>/translate/zero-shot/best-prompt/{seed}/prompts.csv"]
        if self.detects:
            files |= {stage: [self.main_table(stage)] for stage in ("layers", "neurons")}
            languages = self.settings.awareness.languages
            files["awareness"] = [f"<results>/awareness/{seed}/{language}.parquet" for language in languages]
        return {name: found for name, found in files.items() if found}

    # Not inputs: the report shows the experiments that there are, and must not bring them up to date.

    def _experiments(self) -> list[Path]:
        return sorted(Path(self.results, "experiments").glob("*.json"))

    def experiments_digest(self, _wildcards: Any) -> str:
        """Digest of the experiments that the report shows: it is made anew when they are."""
        return hashlib.sha256(b"".join(path.read_bytes() for path in self._experiments())).hexdigest()[:16]

    def _pairs(self) -> list[str]:
        return list(dict.fromkeys(str(direction.pair) for direction in self.settings.directions))

    def report_flags(self, wildcards: Any, input: Any) -> list[str]:
        """The flags of the report that go with `report_files`."""
        folders = {"translations": "translate", "flags": "evaluate"}
        flags: list[str] = []
        for name in self.report_files(wildcards):
            files = input[name] if isinstance(input[name], list) else [input[name]]
            if name in ("loss", "runs"):
                files = [f"{model}={file}" for model, file in zip(self.trained_models, files, strict=True)]
            elif name in folders:
                files = [f"{model}={self.results}/{folders[name]}/{model}" for model in self.shown]
            flags += [f"--{name}", *map(str, files)]
        if shown := self._experiments():
            flags += ["--experiments", *map(str, shown)]
        flags += ["--benchmarks", f"{self.results}/benchmarks", "--code", str(self.ledger)]
        return [*flags, "--awareness-languages", *self.settings.awareness.languages] if self.detects else flags

    # ------------------------------------------------------------ guard

    def hold(self) -> None:
        """Keep other Snakemakes out of the run until this one ends."""
        try:
            self.guard = guard.hold_run(Path(self.results))
        except UserError as error:
            sys.exit(f"lander: error: {error}")

    # ------------------------------------------------------------ code digests

    def code(self, stage: str) -> str:
        """Digest of a stage's code, a parameter of its rules; without triggers, the one that the run began with."""
        module = f"lander.{stage}"
        self.stages.add(module)
        return code_digest(module) if self.settings.workflow.code_triggers else recorded_digest(module, self.ledger)

    def record_code(self, keep: bool) -> None:
        """Note the digests that the run is made with; `keep` those of stages that have one."""
        if self.settings.workflow.code_triggers:
            record_digests(sorted(self.stages), self.ledger, keep=keep)

    # ------------------------------------------------------------ machine

    @property
    def gpu(self) -> int:
        """1 where this machine has a GPU; where it has none, model jobs run side by side."""
        return int(Path("/proc/driver/nvidia/version").exists())

    def set_environment(self) -> None:
        """Jobs use the Python that runs Snakemake, show progress at once, and ask no network that they do not need."""
        os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        os.environ["PYTHONUNBUFFERED"] = "1"
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the cores to other jobs
        data = self.settings.data
        sources = [*data.train, *data.dev, *data.test, *data.exclude, *self.settings.awareness.data]
        sources += self.settings.experiments.text
        named = [*sources, *self.settings.evaluate.neural]
        if self.models.base.kind != "hub" and not any(one.remote for one in named):
            os.environ["HF_HUB_OFFLINE"] = "1"


def served(settings: config.Config, directions: tuple[Direction, ...]) -> dict[str, list[str]]:
    """Test set -> those of some directions that it has text for."""
    tests = settings.tested(directions)
    return {name: [str(direction) for direction in found] for name, found in tests.items() if found}


def items(tests: dict[str, list[str]]) -> list[str]:
    """<test set>/<direction> of all."""
    return [f"{test}/{direction}" for test, served in tests.items() for direction in served]


def show_errors(logs: Iterable[str]) -> None:
    """Say once more, after all that Snakemake prints, which errors of the user's input made a run fail.

    Args:
        logs: of Snakemake; they name those of the jobs that failed.
    """
    lines = [line for log in logs for line in _lines(log)]
    failed = [name for line in lines if (found := LOGS.fullmatch(line)) for name in found[1].split(", ")]
    lines += [line for name in dict.fromkeys(failed) for line in _lines(name)]
    if errors := dict.fromkeys(line for line in lines if ERROR.match(line)):
        print("\n".join(errors), file=sys.stderr)


def _lines(path: str) -> list[str]:
    """Of a log; none where a job has not begun one."""
    return Path(path).read_text(encoding="utf-8", errors="replace").splitlines() if Path(path).is_file() else []
