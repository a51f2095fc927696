"""What a run needs, from its config: texts, models, experiments, digests of code. (`lander plan` is in `planning/`.)"""

import hashlib
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from lander.config import config
from lander.config.methods import MASKED
from lander.config.variants import MAIN
from lander.evaluate.metrics import check_files
from lander.shared import guard
from lander.shared.digest import code_digest, record_digests, recorded_digest
from lander.shared.errors import ERRORS, UserError
from lander.shared.files import sweep
from lander.shared.languages import Direction
from lander.shared.runs import METHOD, Model
from lander.workflow.experiments import BEST_PROMPT, Experiments
from lander.workflow.models import Models, as_flags, refuse
from lander.workflow.paths import Paths
from lander.workflow.texts import Texts, sources_of

IMAGE = Path("lander.sif")  # as the Snakefile names it
COMET = "results/.environments/comet/bin/comet-score"  # installed once for all runs, by the rule `comet_environment`
USUAL_RATE = (100, 1)  # Snakemake's own limit: jobs started, per so many seconds


class Heldout:
    """The test sets in some directions: those of the run, or those that no model is trained on.

    Attributes:
        ending: of the names of its rules and files; empty for the directions of the run.
        tests: test set -> its directions.
        items: <test set>/<direction> of all; tables: theirs; flags: as --test takes them.
        record: name of the file that `translate` writes beside the translations.
        dev: directions whose dev sets choose the base's prompts: their own, and the run's if one has no dev set.
    """

    def __init__(self, ending: str, settings: config.Config, directions: tuple[Direction, ...], paths: Paths) -> None:
        self.ending, self.record = ending, f"{ending or 'run'}.json"
        self.tests = {test: list(map(str, served)) for test, served in settings.tested(directions).items() if served}
        self.items = [f"{test}/{direction}" for test, served in self.tests.items() for direction in served]
        tables = {item: f"{paths.results}/data/test/{item}.parquet" for item in self.items}
        self.tables = list(tables.values())
        self.flags = [f"{item.replace('/', ':')}:{table}" for item, table in tables.items()]
        own = [one for one in directions if any(source.serves(one) for source in settings.data.dev)]
        self.dev = list(map(str, own if len(own) == len(directions) else dict.fromkeys((*own, *settings.directions))))

    def after(self, sign: str) -> str:
        """The ending after a sign, as in `translate_untrained`."""
        return f"{sign}{self.ending}" if self.ending else ""


def stop(*_signal: object) -> None:
    """On SIGINT, end the jobs too. Ctrl-C reaches them by itself; `kill -INT` reaches Snakemake alone, which would then
    wait for them, for hours. Those that have had it and are ending get it only if they take over a second."""
    threading.Timer(1.0, interrupt_jobs).start()
    raise KeyboardInterrupt


def interrupt_jobs() -> None:
    """Send SIGINT to the stages that this process has started; torchrun ends when its ranks do."""
    import psutil  # Snakemake needs it, other users of this module do not

    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            words = process.cmdline()
            stage = any(flag == "-m" and module.startswith("lander.") for flag, module in pairwise(words))
            if stage and not words[1].endswith("torchrun"):
                process.send_signal(signal.SIGINT)


class Plan:
    """What a checked config asks for.

    Attributes:
        trained: methods that are trained; trained_models: their models.
        compared: models of all methods; shown: those whose translations the report shows, of the first seed.
        title: what was run, for the tables of experiments.
        text_flags: <language>:<table> of the text on which forgetting is measured, as --text takes it.
        detects: whether layers and neurons are chosen here, not by masks that the user gives.
        gpu: 1 if this machine has a GPU. Without one, jobs that run a model run side by side.
        neural: neural metrics by name.
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
        self.heldout = [one for one in (self.tested, self.untrained) if one.items]
        items, untrained = self.tested.items, self.untrained.items
        self.experiments = Experiments(settings, self.models.variants, self.paths, items, untrained)
        self.trained = config.trained(settings)
        self.compared = [
            model for method in (*settings.methods, *settings.external) for model in self.experiments.of_method(method)
        ]
        self.trained_models = [model for model in self.compared if model.method in self.trained]
        self.shown = [model for model in self.compared if model.seed == settings.seeds[0]]
        self.detects = any(method in MASKED and not self.models.given(method) for method in self.trained)
        text = ", ".join(source.name for source in settings.data.train)
        self.title = f"Run {settings.run}: base {settings.model.path}, trained on {text}"
        self.text_flags = [f"{language}:{self.results}/data/kept/{language}.parquet" for language in settings.languages]
        self.gpu = int(Path("/proc/driver/nvidia/version").exists())
        self.neural = {metric.name: metric for metric in settings.evaluate.neural}

    # ------------------------------------------------------------ experiments and report

    def target(self, name: str, workflow: Any) -> Callable[[Any], str]:
        """The input function of an experiment's target: its table.

        An experiment that the config cannot have ends Snakemake; among targets that can be made it is left out.
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
        """What the report shows, by the name of its flag."""
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
        return files

    # Not inputs: the report shows the experiments that there are, and must not bring them up to date.

    def _experiments(self) -> list[Path]:
        return sorted(Path(self.results, "experiments").glob("*.json"))

    def experiments_digest(self, _wildcards: Any) -> str:
        """Digest of the experiments that the report shows: it is made again when they change."""
        return hashlib.sha256(b"".join(path.read_bytes() for path in self._experiments())).hexdigest()[:16]

    def report_flags(self, wildcards: Any) -> list[str]:
        """The flags of the report that go with `report_files`."""
        flags: dict[str, Any] = self.report_files(wildcards)
        for name in {"loss", "runs"} & flags.keys():
            flags[name] = [f"{model}={file}" for model, file in zip(self.trained_models, flags[name], strict=True)]
        for name, stage in {"translations": "translate", "flags": "evaluate"}.items():
            flags[name] = [f"{model}={self.paths.of(stage, model)}" for model in self.shown]
        flags |= {"experiments": self._experiments(), "benchmarks": f"{self.results}/benchmarks", "code": self.ledger}
        return as_flags(flags | {"awareness-languages": self.settings.awareness.languages if self.detects else []})

    # ------------------------------------------------------------ other systems

    @property
    def own_method(self) -> str:
        """Pattern of the names of methods that are decoded here."""
        others = "|".join(re.escape(name) for name in self.settings.external)
        return (f"(?!({others})/)" if others else "") + METHOD

    def external_files(self, wildcards: Any) -> list[str]:
        """The outputs of another system, of each item of the test sets."""
        return [f"{self.settings.external[wildcards.method]}/{item}.txt" for item in self.tested.items]

    # ------------------------------------------------------------ neural metrics

    def executable(self, wildcards: Any) -> list[str]:
        """What must be there before a neural metric can run: COMET, if the config names no command."""
        return [] if self.neural[wildcards.metric].command else [COMET]

    def neural_flags(self, wildcards: Any) -> list[str]:
        """How `lander.evaluate neural` runs a metric."""
        metric = self.neural[wildcards.metric]
        command = list(metric.command or [COMET])
        flags = ["--model", metric.model, "--command", json.dumps(command), "--gpus", str(self.gpu)]
        flags += ["--signature", metric.signature] if metric.signature else []
        better = {True: ["--better", "less"], False: ["--better", "more"]}
        return flags + better.get(metric.less_is_better, [])

    # ------------------------------------------------------------ begin and end

    def begin(self, workflow: Any) -> None:
        """Keep other Snakemakes out of the run until this one ends, and forget the errors of the last.

        Also lift Snakemake's limit on starts of jobs, unless the user has set another. With it, Snakemake 9.27 looks
        for ready jobs more often with every job that ends, and takes half of a core after 150 jobs (its PR 3744).
        """
        try:
            self.guard = guard.hold_run(Path(self.results))
        except UserError as error:
            refuse(error)
        methods = {method.name for method in workflow.deployment_settings.deployment_method}
        if "APPTAINER" in methods and not IMAGE.exists():
            refuse(
                f"{IMAGE}: no such file; --sdm apptainer runs the jobs in it, and docs/install.md says how to make it"
            )
        for folder, _, _ in os.walk(self.results):
            sweep(folder)
        self.errors.unlink(missing_ok=True)
        limit = workflow.scheduling_settings.max_jobs_per_timespan
        if limit and (limit.max_jobs, limit.timespan) == USUAL_RATE:
            workflow.scheduler.job_rate_limiter = None
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, stop)
        self._record_code(keep=True)

    def keep_finished(self, workflow: Any) -> None:
        """Note jobs that have succeeded after SIGINT: Snakemake waits for them, but would make their files again."""
        with workflow.scheduler._lock:
            workflow.scheduler._finish_jobs()

    def end(self, done: bool) -> None:
        """Below all that Snakemake prints: errors of the user's input that made jobs fail, and what was left out."""
        if done:
            self._record_code(keep=False)
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

    def _record_code(self, keep: bool) -> None:
        """Note the digests that the run is made with; `keep` those of stages that have one."""
        if self.settings.workflow.code_triggers:
            record_digests(sorted(self.stages), self.ledger, keep=keep)

    def set_environment(self) -> None:
        """Jobs use the Python that runs Snakemake, show progress at once, and use the network only if they must."""
        os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        os.environ["PYTHONUNBUFFERED"] = "1"
        os.environ[ERRORS] = str(self.errors)  # each job that fails by the user's input adds its line
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the cores to other jobs
        named = [*sources_of(self.settings), *self.settings.evaluate.neural]
        if self.models.base.kind != "hub" and not any(one.remote for one in named):
            os.environ["HF_HUB_OFFLINE"] = "1"
