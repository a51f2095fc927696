"""A tiny run of the workflow as jobs of a real SLURM, whose daemons run here (see `cluster`), through its profile.

Two ranks train on one node, then on two. A training is cancelled in the middle. With `LANDER_SOAK=1`, a training with
less time than it needs is started again by SLURM. Skipped if SLURM's programs or Snakemake's plugin are not installed;
`LANDER_SLURM=install` installs both (Debian's packages munge and slurm-wlm, as root; the plugin into a temporary
folder).
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cluster as slurm
import pytest
import yaml
from test_run import ROOT, Project, rows_of, said

from lander.config import config

pytestmark = pytest.mark.workflow
PLUGIN = "snakemake_executor_plugin_slurm"
STEPS = 120
CHANGES = {
    "methods": ["landermt"],
    "awareness": {"languages": ["en", "de"]},
    "finetune": {"ranks": 2, "zero_stage": 2, "steps": STEPS, "checkpoint_minutes": 1e-9},
}
FLAGS = ["--jobs", "4", "--slurm-init-seconds-before-status-checks", "5", "--latency-wait", "20"]  # of a fast test
CHECKPOINTS = "results/tiny/checkpoints/landermt/main/s0"
FINETUNE = "results/tiny/finetune/landermt/main/s0"


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the executor plugin is in."""
    install = os.environ.get("LANDER_SLURM") == "install"
    folder = tmp_path_factory.mktemp("plugins")
    try:
        if slurm.missing() and install:
            slurm.install()
        if install and not importlib.util.find_spec(PLUGIN):
            slurm.install_plugins(folder)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"SLURM could not be installed: {error}: {(getattr(error, 'stderr', None) or b'')[-300:]!r}")
    if missing := slurm.missing():
        pytest.skip(f"no SLURM here: {', '.join(missing)} not found; LANDER_SLURM=install installs it, as root")
    if found := importlib.util.find_spec(PLUGIN):
        return Path(str(found.origin)).parent.parent
    if not install:
        pytest.skip(f"{PLUGIN} is not installed (pip install '.[slurm]', or LANDER_SLURM=install)")
    return folder


@pytest.fixture(scope="module")
def cluster(plugins: Path) -> Iterator[slurm.Cluster]:
    """A cluster of two nodes."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # sockets need short paths
    made = slurm.Cluster(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Run:
    """A project whose workflow has gone through SLURM."""

    project: Project
    cluster: slurm.Cluster
    plugins: Path
    output: str = ""
    interrupted: dict[str, int] = field(default_factory=dict)  # job of the training -> update of its last checkpoint
    records: list[dict[str, str]] = field(default_factory=list)  # what SLURM knew of them

    @property
    def environment(self) -> dict[str, str]:
        return self.cluster.environment | {"PYTHONPATH": f"{self.project.code}{os.pathsep}{self.plugins}"}

    def snakemake(self, *flags: str, **changes: Any) -> str:
        """What the workflow prints when it runs through the profile; a cluster is not given --cores."""
        flags = (*FLAGS, "--profile", str(self.project.code / "workflow" / "profiles" / "slurm"), *flags)
        changes = config.merge(CHANGES, changes)
        command = self.project.command(sys.executable, *flags, changes=changes, env=self.environment)
        return said(**command, timeout=1800)

    def interrupt(self, done: threading.Event) -> None:
        """Cancel the training at its first checkpoint, and put its next job back into the queue at a later one."""
        commands, checkpoints = [["scancel"], ["scontrol", "requeue"]], self.project.work / CHECKPOINTS
        while commands and not done.wait(0.2):
            saved = [int(path.name.removeprefix("update-")) for path in checkpoints.glob("update-*[0-9]")]
            last, before = max(saved, default=0), max(self.interrupted.values(), default=0)
            jobs = [job for job in self.cluster.jobs("finetune") if job not in self.interrupted]
            if jobs and last > before:
                self.records.append(self.cluster.record(jobs[0]))
                self.interrupted[jobs[0]] = last
                self.cluster.run(*commands.pop(0), jobs[0], check=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project, its profile with two GPUs for trainings."""
    made = Project(tmp_path_factory.mktemp("slurm"))
    made.edit("workflow/profiles/slurm/config.yaml", "gpu: 1  # as many", "gpu: 2  # as many")
    return made


@pytest.fixture(scope="module")
def run(project: Project, cluster: slurm.Cluster, plugins: Path) -> Run:
    """The tiny run through SLURM, its training interrupted twice."""
    made, done = Run(project, cluster, plugins), threading.Event()
    killer = threading.Thread(target=made.interrupt, args=[done])
    killer.start()
    try:
        made.output = made.snakemake()
    finally:
        done.set()
        killer.join()
    return made


def test_the_run_is_complete(run: Run) -> None:
    results = run.project.work / "results" / "tiny"
    assert {row["method"] for row in rows_of(results / "evaluate" / "scores.csv")} == {"landermt"}
    assert (results / "report" / "index.html").is_file()
    waiting = run.cluster.run("squeue", "-h", "--states=PENDING,RUNNING,COMPLETING").stdout
    assert waiting == ""


def test_jobs_ask_for_what_the_rules_and_the_profile_say(run: Run) -> None:
    first, second = run.records
    allotted = dict(item.split("=") for item in first["TRES"].split(","))
    assert (allotted["cpu"], allotted["node"], first["TresPerJob"]) == ("2", "1", "gres:gpu:2")
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("2500M", "3750M")  # the second attempt asks for more
    assert {record["TimeLimit"] for record in run.records} == {"1-00:00:00"}
    assert {record["Requeue"] for record in run.records} == {"1"}


def test_an_interrupted_training_goes_on(run: Run) -> None:
    """Cancelled, it is submitted again by Snakemake; requeued, SLURM starts the same job again."""
    first, second = run.interrupted.values()
    assert 0 < first < second < STEPS
    log = (run.project.work / "results/tiny/logs/finetune/landermt/main/s0.log").read_text(encoding="utf-8")
    resumed = int(log.split("resuming at update ")[1].split()[0])
    assert second <= resumed < STEPS
    assert losses(run.project.work / FINETUNE).keys() == set(range(STEPS))
    assert not (run.project.work / CHECKPOINTS).exists()


def test_what_slurm_says_of_a_failed_job_is_kept(run: Run) -> None:
    paths = run.project.work.glob("results/slurm-logs/**/*.log")
    logs = {path.stem: path.read_text(encoding="utf-8") for path in paths}
    cancelled, requeued = run.interrupted
    assert list(logs) == [cancelled]
    assert "CANCELLED" in logs[cancelled]
    assert run.output.count(f"SLURM jobid {requeued} ") == 1


def test_a_second_run_submits_nothing(run: Run) -> None:
    assert "Nothing to be done" in run.snakemake()


def test_the_profile_knows_the_rules() -> None:
    """Needs no SLURM: the profile repeats which rules want a GPU, and nothing of the default one, which would win."""
    given = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text(encoding="utf-8"))
    default = yaml.safe_load((ROOT / "workflow/profiles/default/config.yaml").read_text(encoding="utf-8"))
    assert not given.keys() & default.keys()
    wanted = set()
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        _, *blocks = re.split(r"^ *rule\b", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        named = {block: re.match(r" (\w+):|:[\s\S]*?name:\s+f\"(\w+)", block) for block in blocks}
        for block, found in named.items():
            if " gpu=" in block:  # a rule in a loop is one for the directions of the run, and one for the others
                wanted |= {found[1]} if found[1] else {found[2], f"{found[2]}_untrained"}
            if heirs := re.findall(r"use rule (\w+) as (\w+)", block):
                wanted |= {heir for parent, heir in heirs if parent in wanted}
    assert wanted == {name for name, values in given["set-resources"].items() if "gpu" in values}


def losses(folder: Path) -> dict[int, float]:
    """Update -> loss summed over directions."""
    found: dict[int, float] = {}
    for row in rows_of(folder / "loss.csv"):
        found[int(row["update"])] = found.get(int(row["update"]), 0.0) + float(row["loss"])
    return found


def test_two_nodes_train_as_two_ranks_of_one_node_do(run: Run) -> None:
    """One job with two tasks, each a torchrun that finds the other at the first node (docs/cluster.md)."""
    data = "results/tiny/data/s0/train"
    directions = ["en-de", "de-en"]
    flags = ["-m", "lander.finetune", "--method", "full", "--model", "results/tiny/pretrain", "--steps", "4"]
    flags += ["--train", *(f"{data}/{name}.parquet" for name in directions), "--directions", *directions]
    flags += ["--languages", json.dumps({"en": "English", "de": "German"}), "--batch-size", "4", "--zero-stage", "2"]
    flags += ["--precision", "float32", "--learning-rate", "0.001"]
    env = os.environ | run.environment | {"OMP_NUM_THREADS": "1"}
    options = {"cwd": run.project.work, "env": env, "timeout": 600}
    torchrun = [sys.executable, "-m", "torch.distributed.run"]

    said(args=[*torchrun, "--nproc_per_node", "2", *flags, "--out", "one"], **options)
    port = slurm.free_ports(1)[0]
    nodes = ["srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--mem=8000", *torchrun, "--nnodes", "2"]
    nodes += ["--nproc_per_node", "1", "--rdzv_backend", "c10d", "--rdzv_endpoint", f"localhost:{port}"]
    nodes += ["--rdzv_id", str(time.time_ns())]
    said(args=[*nodes, *flags, "--out", "two"], **options)
    assert losses(run.project.work / "two") == pytest.approx(losses(run.project.work / "one"), abs=1e-5)


@pytest.mark.skipif(
    not os.environ.get("LANDER_SOAK"), reason="make soak: two minutes; test_trainings.py has the same without SLURM"
)
def test_a_training_that_nears_its_limit_comes_back(project: Project, cluster: slurm.Cluster, plugins: Path) -> None:
    """60 updates of over a second, in jobs of a minute (SLURM's shortest): one job, which SLURM starts again.

    The last test: it changes the code, and needs no run before it.
    """
    made, updates = Run(project, cluster, plugins), 60
    project.edit("lander/finetune/trainer.py", "log.extend(rows)\n", "log.extend(rows); time.sleep(1)\n")
    finetune = {"steps": updates, "checkpoint_minutes": 0}
    flags = ["--set-resources", "finetune:runtime=1", "--", "results/tiny/finetune/full/main/s0/lander.json"]
    made.snakemake(*flags, methods=["full"], finetune=finetune)
    (job,) = cluster.jobs("finetune_wildcards_full", "all")
    record = cluster.record(job)
    assert (record["JobState"], record["TimeLimit"]) == ("COMPLETED", "00:01:00")
    assert int(record["Restarts"]) >= 1
    log = (project.work / "results/tiny/logs/finetune/full/main/s0.log").read_text(encoding="utf-8")
    assert 0 < int(log.split("resuming at update ")[1].split()[0]) < updates
    assert losses(project.work / "results/tiny/finetune/full/main/s0").keys() == set(range(updates))
    assert not (project.work / "results/tiny/checkpoints/full").exists()
