"""The whole workflow is killed (SIGKILL, with all jobs) at random moments and started again, as docs/resuming.md says.

Its results must equal those of an undisturbed run, byte by byte, except logs, benchmark files and the timings in a few
files. While it runs, a second run in its folder is refused.

`LANDER_SOAK=1` kills a larger run, with a base from scratch, all kinds of methods and two ranks, many times;
`LANDER_KILLS=N` says how often, `LANDER_SEED=N` when.
"""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import trained
from test_run import Project, said

SOAK = bool(os.environ.get("LANDER_SOAK"))
KILLS = int(os.environ.get("LANDER_KILLS", 40 if SOAK else 2))
SEED = int(os.environ.get("LANDER_SEED", 1))
SHORT: dict[str, Any] = {
    "model": {"path": "base"},
    "methods": ["landermt"],
    "directions": ["en-de"],
    "data": {"max_pairs": 40},
    "awareness": {"languages": ["en", "de"]},
    "finetune": {"steps": 8, "batch_size": 2, "checkpoint_minutes": 1e-9},
}
LONG: dict[str, Any] = {
    "methods": ["zero-shot", "full", "lora", "adapter", "landermt"],
    "finetune": {"steps": 12, "ranks": 2, "zero_stage": 2, "checkpoint_minutes": 1e-9},
}
CHANGES, TARGETS = (LONG, ["all"]) if SOAK else (SHORT, ["results/tiny/finetune/landermt/main/s0/lander.json"])
OWN = ("logs", "benchmarks", "checkpoints", "report")  # folders whose files contain times
TIMES = ("seconds", "peak_memory_bytes")  # keys of run.json that depend on the machine

pytestmark = pytest.mark.workflow


class Attempt:
    """A run of the workflow that can be killed together with everything that it started."""

    def __init__(self, project: Project, **changes: Any) -> None:
        self.project, self.mark = project, f"LANDER_ATTEMPT={uuid.uuid4()}"
        self.began = time.time()
        command = arguments(project, env=dict([self.mark.split("=")]), **changes)
        self.log = open(project.work / "attempt.log", "w", encoding="utf-8")  # noqa: SIM115 (closed by `wait`)
        self.process = subprocess.Popen(**command, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True)

    def wait_for(self, log: Path, seconds: float) -> bool:
        """Wait until a job has run for some seconds, by its log; False if the run has ended before."""
        while self.process.poll() is None:
            if log.is_file() and log.stat().st_mtime >= self.began:
                time.sleep(seconds)
                return self.process.poll() is None
            time.sleep(0.02)
        return False

    def wait_for_checkpoint(self) -> None:
        """Wait until a training has saved its state; then it is in its updates."""
        folder = self.project.work / "results" / "tiny" / "checkpoints"
        while self.process.poll() is None and not list(folder.rglob("update-*/state.json")):
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL for the process group and for processes that have left it."""
        os.killpg(self.process.pid, signal.SIGKILL)
        while left := [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._started(pid)]:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.02)
        self.process.wait()
        self.log.close()

    def _started(self, pid: int) -> bool:
        try:
            alive = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            return alive and self.mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False

    def wait(self) -> str:
        """Wait for its end; what it printed."""
        self.process.wait(timeout=3600)
        self.log.close()
        return (self.project.work / "attempt.log").read_text(encoding="utf-8")


def arguments(project: Project, *flags: str, env: dict[str, str], **changes: Any) -> dict[str, Any]:
    """Of `subprocess.run`: the command that is repeated after each kill."""
    changes = CHANGES | changes
    return project.command(sys.executable, "--cores", "2", *flags, "--", *TARGETS, changes=changes, env=env)


def snakemake(project: Project, *flags: str, fails: bool = False, **changes: Any) -> str:
    """What it prints when it is run to its end."""
    return said(fails, **arguments(project, *flags, env={}, **changes), timeout=3600)


def artifacts(results: Path) -> dict[str, bytes | str]:
    """File -> content of all that a run has made, without what depends on machine and time."""
    files = [path for path in results.rglob("*") if path.is_file() and path.relative_to(results).parts[0] not in OWN]
    hidden = {path for path in files if any(part.startswith(".") for part in path.relative_to(results).parts)}  # seals
    return {str(path.relative_to(results)): content(path) for path in files if path not in hidden}


def content(path: Path) -> bytes | str:
    """A file's content."""
    if path.name != "run.json":
        return path.read_bytes()
    timeless = lambda pairs: {key: value for key, value in pairs if key not in TIMES}  # noqa: E731
    return json.dumps(json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=timeless))


def moments(results: Path, kills: int, seed: int) -> list[tuple[str, float]]:
    """Random jobs, in the order in which they ran, and how long after their start they are killed."""
    dice = random.Random(seed)
    files = sorted((results / "benchmarks").rglob("*.tsv"), key=lambda path: path.stat().st_mtime)
    lasted = []
    for path in files:
        with open(path, encoding="utf-8", newline="") as stream:
            lasted.append(float(next(csv.DictReader(stream, delimiter="\t"))["s"]))
    drawn = sorted(dice.choices(range(len(files)), weights=lasted, k=kills))  # long jobs are hit more often
    names = [str(files[number].relative_to(results / "benchmarks").with_suffix(".log")) for number in drawn]
    return [(name, dice.uniform(0, lasted[number])) for name, number in zip(names, drawn, strict=True)]


def second_run_is_refused(project: Project) -> None:
    """Snakemake's lock refuses it; if another run in the folder has removed that lock on ending, ours does."""
    refused = snakemake(project, fails=True)
    assert "cannot be locked" in refused
    assert "--unlock" in refused  # what to do where no other run is there
    shutil.rmtree(project.work / ".snakemake" / "locks")
    assert "results/tiny: process" in snakemake(project, fails=True)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    trained.base(made.work / "base")
    return made


def test_a_killed_run_ends_as_an_undisturbed_one(project: Project) -> None:
    results, undisturbed = project.work / "results" / "tiny", project.work / "undisturbed"
    whole = Attempt(project)
    output = whole.wait()
    assert whole.process.returncode == 0, output
    plan = moments(results, KILLS, SEED)
    wanted = artifacts(results)
    results.rename(undisturbed)
    (project.work / ".snakemake").rename(project.work / "snakemake-undisturbed")

    kills = 0
    for log, seconds in plan:
        if (results / "benchmarks" / log).with_suffix(".tsv").is_file():  # its job was done before an earlier kill
            continue
        attempt = Attempt(project)
        if not attempt.wait_for(results / "logs" / log, seconds):  # it was quicker this time
            output = attempt.wait()
            assert attempt.process.returncode == 0, output
            break
        if not kills:
            os.killpg(attempt.process.pid, signal.SIGSTOP)  # it must not end meanwhile
            second_run_is_refused(project)
        if attempt.process.poll() is None:
            attempt.kill()
            kills += 1
        if (project.work / ".snakemake" / "locks").is_dir():
            snakemake(project, "--unlock")
    assert kills
    snakemake(project)
    made = artifacts(results)
    assert sorted(made) == sorted(wanted)
    assert [name for name in wanted if made[name] != wanted[name]] == []
    assert not list((results / "checkpoints").rglob("*.safetensors"))


@pytest.mark.parametrize("deaf", [False, True])
def test_a_signal_for_snakemake_alone_stops_a_training_and_loses_nothing(project: Project, deaf: bool) -> None:
    """A training gets SIGINT too, and saves its state. One that is deaf to it ends, and its model is kept."""
    if deaf:
        project.edit("lander/workflow/plan.py", "process.send_signal(signal.SIGINT)", "pass")
    steps = 40 if deaf else 4000
    attempt = Attempt(project, finetune={**SHORT["finetune"], "steps": steps})
    attempt.wait_for_checkpoint()
    attempt.process.send_signal(signal.SIGINT)
    output = attempt.wait()
    assert attempt.process.returncode == 1, output
    assert "Terminating processes on user request" in output
    log = project.work / "results" / "tiny" / "logs" / "finetune" / "landermt" / "main" / "s0.log"
    model = project.work / "results" / "tiny" / "finetune" / "landermt" / "main" / "s0" / "lander.json"
    rest = snakemake(project, "--dry-run", finetune={**SHORT["finetune"], "steps": steps})
    if deaf:
        assert model.is_file()
        assert "Nothing to be done" in rest
    else:
        assert "SIGINT: stopped after update" in log.read_text(encoding="utf-8")
        assert not model.is_file()
        assert "finetune" in rest
        assert list((project.work / "results" / "tiny" / "checkpoints").rglob("state.json"))
