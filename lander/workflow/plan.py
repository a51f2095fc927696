"""A run: its texts, models and experiments, the digests of its code, and the machine that it runs on."""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lander.config import config
from lander.config.methods import MASKED
from lander.config.variants import MAIN
from lander.evaluate.metrics import check_files
from lander.shared import guard
from lander.shared.digest import code_digest, record_digests, recorded_digest
from lander.shared.errors import ERRORS, UserError
from lander.shared.languages import Direction
from lander.shared.runs import Model
from lander.workflow.experiments import BEST_PROMPT, Experiments
from lander.workflow.models import Models, refuse
from lander.workflow.paths import Paths
from lander.workflow.texts import Texts

USUAL_RATE = (100, 1)  # Snakemake's own limit: jobs started, per so many seconds


class Heldout:
    """The test sets in some directions: those of the run, or those that no model is trained on.

    Attributes:
        ending: of the names of its rules and files; empty for the directions of the run.
        tests: test set -> its directions.
        items: <test set>/<direction> of all.
        tables: their tables.
        record: name of the file that `translate` writes beside the translations.
        flags: <test set>:<direction>:<table>, as --test takes them.
        dev: directions whose dev sets choose the base's prompts: their own, and the run's if one has no dev set.
    """

    def __init__(self, ending: str, settings: config.Config, directions: tuple[Direction, ...], paths: Paths) -> None:
        self.ending, self.record = ending, f"{ending or 'run'}.json"
        self.tests = {test: list(map(str, served)) for test, served in settings.tested(directions).items() if served}
        self.items = [f"{test}/{direction}" for test, served in self.tests.items() for direction in served]
        self.tables = [f"{paths.results}/data/test/{item}.parquet" for item in self.items]
        pairs = zip(self.items, self.tables, strict=True)
        self.flags = [f"{item.replace('/', ':')}:{table}" for item, table in pairs]
        own = [one for one in directions if any(source.serves(one) for source in settings.data.dev)]
        self.dev = list(map(str, own if len(own) == len(directions) else dict.fromkeys((*own, *settings.directions))))

    def after(self, sign: str) -> str:
        """The ending after a sign, as in `translate_untrained`."""
        return f"{sign}{self.ending}" if self.ending else ""


class Plan:
    """What a checked config asks for.

    Attributes:
        trained: methods that are trained; trained_models: their models.
        compared: models of all methods; shown: those whose translations the report shows, of the first seed.
        title: what was run, for the tables of experiments.
        text_flags: <language>:<table> of the text on which forgetting is measured, as --text takes it.
        detects: whether layers and neurons are chosen here, not by masks that the user gives.
        gpu: 1 if this machine has a GPU. Without one, jobs that run a model run side by side.
    """

    def __init__(self, settings: config.Config) -> None:
        check_files(settings.evaluate.metrics)
        self.settings = settings
        self.stages: set[str] = set()  # modules whose code is a parameter of a rule
        self.left_out: dict[str, str] = {}  # experiment -> why this config cannot have it, of those that were asked for
        self.paths = Paths(f"results/{settings.run}")
        self.results = self.paths.results
        self.ledger = Path(self.results, ".code.json")
        self.errors = Path(self.results, "logs", "errors.txt")
        self.texts = Texts(settings, self.paths)
        self.models = Models(settings, self.paths)
        self.directions = self.models.directions
        self.tested = Heldout("", settings, settings.directions, self.paths)
        self.untrained = Heldout("untrained", settings, settings.experiments.untrained, self.paths)
        self.tests = self.tested.tests
        self.heldout = [one for one in (self.tested, self.untrained) if one.items]
        self.experiments = Experiments(
            settings, self.models.variants, self.paths, self.tested.items, self.untrained.items
        )
        self.trained = config.trained(settings)
        self.compared = self.experiments.of_methods(settings.methods)
        self.trained_models = [model for model in self.compared if model.method in self.trained]
        self.shown = [model for model in self.compared if model.seed == settings.seeds[0]]
        self.detects = any(method in MASKED and not self.models.given(method) for method in self.trained)
        text = ", ".join(source.name for source in settings.data.train)
        self.title = f"Run {settings.run}: base {settings.model.path}, trained on {text}"
        self.text_flags = [f"{language}:{self.results}/data/kept/{language}.parquet" for language in settings.languages]
        self.gpu = int(Path("/proc/driver/nvidia/version").exists())

    # ------------------------------------------------------------ experiments and report

    def target(self, name: str, workflow: Any) -> Callable[[Any], str]:
        """The input function of an experiment's target: its table.

        An experiment that the config cannot have ends Snakemake with the reason. In a list with targets that can be
        made it is left out, with one line that says why, and the others are made.
        """

        def file(_wildcards: Any) -> str:
            why = self.experiments.refusal(name)
            if why is None:
                return f"{self.results}/experiments/{name}.csv"
            if not any(self.experiments.refusal(asked) is None for asked in workflow.dag_settings.targets):
                refuse(why)
            self.left_out[name] = why
            print(f"lander: {name} is left out: {why}", file=sys.stderr)
            return str(workflow.main_snakefile)  # a target with a file that is there is done

        return file

    def main_table(self, stage: str) -> str:
        """The table of layers or neurons of `landermt`, at the first seed."""
        selection = self.models.variants.selection(stage, "landermt", MAIN.name)
        return self.paths.selected(stage, selection, self.settings.seeds[0])

    def report_files(self, _wildcards: Any) -> dict[str, list[str]]:
        """What the report shows, by the name of its flag; what this run does not have is left out."""
        paths, seed = self.paths, self.settings.seeds[0]
        items = [(model, item) for model in self.shown for item in self.tested.items]
        files = {
            "translations": [f"{paths.of('translate', model)}/{item}.jsonl" for model, item in items],
            "flags": [f"{paths.of('evaluate', model)}/{item}.flags.csv" for model, item in items],
            "significance": [f"{self.results}/evaluate/significance.csv"],
        }
        if self.trained:
            pairs = dict.fromkeys(direction.pair for direction in self.settings.directions)
            files["counts"] = [f"{self.results}/data/s{seed}/counts.parquet"]
            files["dropped"] = [f"{paths.clean(pair)}.dropped.jsonl" for pair in pairs]
            files["train"] = paths.train(seed, self.directions)
            files["loss"] = [f"{paths.of('finetune', model)}/loss.csv" for model in self.trained_models]
            files["runs"] = [f"{paths.of('finetune', model)}/run.json" for model in self.trained_models]
        if "zero-shot" in self.settings.methods:
            files["prompts"] = [f"{paths.of('translate', Model('zero-shot', BEST_PROMPT, seed))}/prompts.csv"]
        if self.detects:
            files |= {stage: [self.main_table(stage)] for stage in ("layers", "neurons")}
            folder = paths.awareness("", seed)
            files["awareness"] = [f"{folder}/{language}.parquet" for language in self.settings.awareness.languages]
        return {name: found for name, found in files.items() if found}

    # Not inputs: the report shows the experiments that there are, and must not bring them up to date.

    def _experiments(self) -> list[Path]:
        return sorted(Path(self.results, "experiments").glob("*.json"))

    def experiments_digest(self, _wildcards: Any) -> str:
        """Digest of the experiments that the report shows: it is made again when they change."""
        return hashlib.sha256(b"".join(path.read_bytes() for path in self._experiments())).hexdigest()[:16]

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

    # ------------------------------------------------------------ begin and end

    def begin(self, workflow: Any) -> None:
        """Keep other Snakemakes out of the run until this one ends, and forget the errors of the last.

        Also lift Snakemake's limit on starts of jobs, unless the user has set another. For it, Snakemake 9.27 looks
        for ready jobs once more a second after each time that it looked, and one more such chain begins with every job
        that ends: after 150 jobs it takes half of a core (its pull request 3744 is about the same).
        """
        try:
            self.guard = guard.hold_run(Path(self.results))
        except UserError as error:
            refuse(error)
        self.errors.unlink(missing_ok=True)
        limit = workflow.scheduling_settings.max_jobs_per_timespan
        if limit and (limit.max_jobs, limit.timespan) == USUAL_RATE:
            workflow.scheduler.job_rate_limiter = None
        self.record_code(keep=True)

    def end(self, done: bool) -> None:
        """Below all that Snakemake prints: errors of the user's input that made jobs fail, and what was left out."""
        if done:
            self.record_code(keep=False)
        elif self.errors.is_file():
            errors = self.errors.read_text(encoding="utf-8", errors="replace").splitlines()
            print("\n".join(dict.fromkeys(errors)), file=sys.stderr)
        for name, why in self.left_out.items():
            print(f"lander: {name} was left out: {why}", file=sys.stderr)

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

    def set_environment(self) -> None:
        """Jobs use the Python that runs Snakemake, show progress at once, and use the network only if they must."""
        os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        os.environ["PYTHONUNBUFFERED"] = "1"
        os.environ[ERRORS] = str(self.errors)  # each job that fails by the user's input adds its line
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the cores to other jobs
        data = self.settings.data
        sources = [*data.train, *data.dev, *data.test, *data.exclude, *self.settings.awareness.data]
        sources += self.settings.experiments.text
        named = [*sources, *self.settings.evaluate.neural]
        if self.models.base.kind != "hub" and not any(one.remote for one in named):
            os.environ["HF_HUB_OFFLINE"] = "1"
