"""A change reruns exactly the jobs that it touches: every key of the config, code of each stage, each input file.

The run is rehearsed (`rehearsal.py`): Snakemake plans, schedules and records as ever, only the jobs' commands are left
out. Each key is tried alone but for three kinds, which `LANDER_SOAK=1` tries singly: thresholds of the cleaning,
learning rates of methods (one of each stands for all), keys that rerun nothing (all at once).
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml
from reruns import BASE, CODE, INPUTS, KEYS, LANGUAGES, SCRATCH, SCRATCH_KEYS, TARGETS, UNRECORDED
from test_run import ROOT, copy_code

from lander.config import config
from lander.shared.section import keys
from lander.workflow import Plan

LEAVES = [key.name for key in keys(config.Config) if not key.section]
SOAK = bool(os.environ.get("LANDER_SOAK"))
IDLE = [key for key, (_, roots) in KEYS.items() if not roots and key not in UNRECORDED]
SAMPLED = ("data.cleaning.default.length.max", "finetune.lora.learning_rate")
ALIKE = [key for key in KEYS if fnmatchcase(key, "data.cleaning.default.*") or fnmatchcase(key, "*.*.learning_rate")]
TRIED = [key for key in LEAVES if SOAK or key in SAMPLED or key not in (*ALIKE, *IDLE)]

pytestmark = pytest.mark.workflow


class Rehearsed:
    """A run that has been rehearsed, in a folder with a copy of the project's code."""

    def __init__(self, folder: Path) -> None:
        self.code, self.work = copy_code(folder / "project"), folder / "work"
        (self.work / "mine").mkdir(parents=True)
        for name in ("train", "dev", "test", "scoring"):
            for code in (*LANGUAGES, "it"):
                (self.work / f"{name}.{code}").write_text("one\ntwo\nthree\n", encoding="utf-8")
        for direction in BASE["directions"]:
            (self.work / "mine" / f"{direction}.parquet").touch()
            (self.work / "outside/news").mkdir(parents=True, exist_ok=True)
            (self.work / f"outside/news/{direction}.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
        shutil.copy(ROOT / "lander/data/templates.yaml", self.work / "my-templates.yaml")
        for name in ("base", "base2"):
            (self.work / name).mkdir()
            (self.work / name / "config.json").write_text(
                '{"model_type": "bloom", "num_hidden_layers": 3}', encoding="utf-8"
            )
            (self.work / name / "model.safetensors").write_text(name, encoding="utf-8")
        command = [sys.executable, str(Path(__file__).with_name("rehearsal.py"))]
        environment = {**os.environ, "PYTHONPATH": str(self.code), "OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, cwd=self.work, env=environment, **pipes)

    def plans(self, requests: list[tuple[list[str], dict[str, Any]]]) -> list[list[dict[str, Any]]]:
        """The jobs of runs, each with flags and changes over the config; run, if `--dry-run` is not among the flags."""
        lines = []
        for number, (flags, changes) in enumerate(requests):
            file = self.work / f"{number}.yaml"
            file.write_text(yaml.safe_dump(config.merge(BASE, changes)), encoding="utf-8")
            where = ["--snakefile", str(self.code / "workflow" / "Snakefile"), "--directory", str(self.work)]
            lines.append([*where, "--cores", "8", "--configfile", file.name, *flags])
        self.process.stdin.write(json.dumps(lines) + "\n")
        self.process.stdin.flush()
        answers = json.loads(self.process.stdout.readline())
        assert [answer["error"] for answer in answers if "error" in answer] == []
        return [answer["jobs"] for answer in answers]

    def plan(self, *targets: str, **changes: Any) -> list[dict[str, Any]]:
        """The jobs of one dry run, of all targets unless some are named."""
        return self.plans([(["--dry-run", "--", *(targets or TARGETS)], changes)])[0]

    def path(self, file: str) -> Path:
        """Where a file of the tables is."""
        return (self.code if file.startswith("lander/") else self.work) / file

    @contextmanager
    def edited(self, files: Iterable[str], edit: Callable[[str], str]) -> Iterator[None]:
        """Files of the tables, changed for a while."""
        texts = {file: self.path(file).read_text(encoding="utf-8") for file in files}
        try:
            for file, text in texts.items():
                self.path(file).write_text(edit(text), encoding="utf-8")
            yield
        finally:
            for file, text in texts.items():
                self.path(file).write_text(text, encoding="utf-8")


def check(jobs: list[dict[str, Any]], roots: list[str]) -> None:
    """A dry run does the jobs that `roots` names and what follows from them, and no other."""
    names = [name_of(job) for job in jobs]
    unknown = [root for root in roots if not any(matches(name, root) for name in names)]
    assert not unknown, f"no such job: {unknown}; there are {sorted(names)}"
    wanted = {number for number, name in enumerate(names) if any(matches(name, root) for root in roots)}
    while more := {number for number, job in enumerate(jobs) if wanted & set(job["before"])} - wanted:
        wanted |= more
    planned = {number for number, job in enumerate(jobs) if job["runs"]}
    missed = sorted(names[number] for number in wanted - planned)
    needless = sorted(f"{names[number]}: {jobs[number]['why']}" for number in planned - wanted)
    assert (missed, needless) == ([], [])


def name_of(job: dict[str, Any]) -> str:
    """A job's rule and wildcards, as the table writes them."""
    return " ".join([job["rule"], *(f"{key}={value}" for key, value in job["wildcards"].items()), ""])


def matches(name: str, pattern: str) -> bool:
    """Whether a job's name begins as a pattern says."""
    return fnmatchcase(name, pattern + ("*" if " " in pattern or "*" in pattern else " *"))


def nested(key: str, value: Any) -> dict[str, Any]:
    """{"a.b": 1} as {"a": {"b": 1}}."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsed]:
    """A run of every method, of an experiment and of analyses; and one of a base from scratch."""
    made = Rehearsed(tmp_path_factory.mktemp("rehearsed"))
    made.plans([(["--", *TARGETS[1:]], {})])  # the report shows the experiments that are there when it is made
    made.plans([(["--", TARGETS[0]], {})])
    made.plans([(["--", "all"], SCRATCH)])
    yield made
    made.process.stdin.close()
    made.process.wait()


@pytest.fixture(scope="module")
def plans(run: Rehearsed) -> dict[str, list[dict[str, Any]]]:
    """The dry run of each key, side by side."""
    targets = dict.fromkeys(TRIED, TARGETS) | {"neurons.masks": [name for name in TARGETS if name != "sweep_k"]}
    asked = [(["--dry-run", "--", *targets[key]], nested(key, KEYS[key][0])) for key in TRIED]
    return dict(zip(TRIED, run.plans(asked), strict=True))


def test_every_key_has_a_row() -> None:
    assert sorted(KEYS) == sorted(LEAVES)


def test_nothing_changed_reruns_nothing(run: Rehearsed) -> None:
    check(run.plan(), [])


@pytest.mark.parametrize("key", TRIED)
def test_a_key(plans: dict[str, list[dict[str, Any]]], key: str) -> None:
    roots = KEYS[key][1]
    check(plans[key], roots if key in UNRECORDED else [*roots, "effective_config"])


def test_keys_that_rerun_nothing(run: Rehearsed) -> None:
    """All at once: none of them may."""
    changes: dict[str, Any] = {}
    for key in IDLE:
        changes = config.merge(changes, nested(key, KEYS[key][0]))
    check(run.plan(**changes), ["effective_config"])


def test_each_threshold_is_in_what_cleaning_is_told(run: Rehearsed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that are left out above: the parameter that those two rules hang on has every one of them."""
    monkeypatch.chdir(run.work)
    texts = {
        key: Plan(config.load(config.merge(BASE, nested(key, value)))).texts.cleaning
        for key, (value, _) in KEYS.items()
        if key.startswith("data.cleaning.")
    }
    assert len(set(texts.values())) == len(texts)


@pytest.mark.parametrize("key", SCRATCH_KEYS if SOAK else ["pretrain.tokens", "pretrain.text"])
def test_a_key_of_a_base_from_scratch(run: Rehearsed, key: str) -> None:
    changes = config.merge(SCRATCH, nested(key, SCRATCH_KEYS[key]))
    check(run.plan("all", **changes), ["pretrain", "effective_config"])


def with_code(text: str) -> str:
    return f"{text}\nREHEARSED = True\n"


@pytest.mark.parametrize("file", CODE)
def test_code(run: Rehearsed, file: str) -> None:
    with run.edited([file], with_code):
        check(run.plan(), CODE[file])


def test_code_without_triggers(run: Rehearsed) -> None:
    with run.edited(CODE, with_code):
        check(run.plan(workflow={"code_triggers": False}), [])


def test_comments_layout_and_docstrings(run: Rehearsed) -> None:
    with run.edited(CODE, lambda text: text.replace('"""', '"""Put otherwise: ', 1) + "\n\n\n# a comment\n"):
        check(run.plan(), [])


@pytest.mark.parametrize("file", INPUTS)
def test_an_input(run: Rehearsed, file: str) -> None:
    with run.edited([file], lambda text: f"{text}\n"):
        check(run.plan(), INPUTS[file])


def test_times_of_files(run: Rehearsed) -> None:
    for file in (*map(run.path, INPUTS), *(run.work / "results").rglob("*.parquet")):
        file.touch()
    check(run.plan(), [])
