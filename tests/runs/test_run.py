"""A tiny run of the whole workflow, from text to report, on a base that it pretrains, in another directory.

Then what a second run does, by dry runs. `test_reruns.py` has what each change of config, code or input reruns.
"""

import csv
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import artifacts
import pytest
import warm
import yaml

from lander.config import config
from lander.data import cldr

ROOT = Path(__file__).parent.parent.parent
LANGUAGES = ("de", "en", "fr")
CONFIG: dict[str, Any] = {
    "run": "tiny",
    "languages": ["en", "de"],
    "directions": ["en-de", "de-en"],
    "methods": ["zero-shot", "full", "lora", "landermt"],
    "model": {"path": "pretrain"},
    "data": {
        "train": [{"name": "text", "files": {code: f"train.{code}" for code in LANGUAGES}, "lines": [0, 200]}],
        "dev": [{"files": {code: f"train.{code}" for code in LANGUAGES}, "lines": [200, 204]}],
        "test": [{"name": "news", "files": {code: f"test.{code}" for code in LANGUAGES}}],
        "exclude": [],
        "max_pairs": 60,
    },
    "pretrain": {
        **{"tokens": 30000, "d_model": 32, "n_layer": 3, "n_head": 2, "vocabulary": 500},
        **{"context": 64, "batch_tokens": 1024},
    },
    "activations": {"sentences": 20},
    "layers": {"k": 1},
    "awareness": {"languages": ["en", "de", "fr"], "sentences": 20},
    "finetune": {"steps": 4, "batch_size": 4, "warmup": 1, "checkpoint_minutes": 1e-9},
    "translate": {"max_new_tokens": 12, "dev_sentences": 2},
    "experiments": {"draws": 2},
}

pytestmark = pytest.mark.workflow


def copy_code(folder: Path) -> Path:
    """A copy of the project's code, which can be edited."""
    ignored = shutil.ignore_patterns("__pycache__", "lander-tiny")
    for name in ("lander", "workflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "config.yaml", folder)
    return folder


def rows_of(table: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with open(table, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def said(fails: bool = False, **command: Any) -> str:
    """What a command prints, given as to `subprocess.run`; it succeeds unless it `fails`."""
    done = subprocess.run(**command, capture_output=True, text=True)
    output = done.stdout + done.stderr
    assert bool(done.returncode) == fails, output
    return output


class Project:
    """A copy of the project, whose code can be edited, and a working directory beside it."""

    def __init__(self, folder: Path) -> None:
        self.code, self.work = copy_code(folder / "project"), folder / "work"
        self.work.mkdir()
        for name, start, stop in (("train", 0, 204), ("test", 300, 305)):
            for code, lines in cldr.lines(LANGUAGES, start, stop).items():
                (self.work / f"{name}.{code}").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def command(self, python: str, *flags: str, changes: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
        """Arguments of `subprocess.run`: Snakemake with changes over the tiny config and the environment."""
        (self.work / "my.yaml").write_text(yaml.safe_dump(config.merge(CONFIG, changes)), encoding="utf-8")
        command = [python, "-m", "snakemake", "--snakefile", str(self.code / "workflow" / "Snakefile")]
        command += ["--directory", str(self.work), "--configfile", str(self.work / "my.yaml"), *flags]
        env = os.environ | {"PYTHONPATH": str(self.code), "OMP_NUM_THREADS": "1"} | env
        return {"args": command, "cwd": self.work, "env": env}

    def snakemake(self, *flags: str, fails: bool = False, **changes: Any) -> str:
        """What a run prints, on one core unless the flags say otherwise."""
        flags = ("--cores", "1", *flags)
        command = self.command(warm.python(), *flags, changes=changes, env=warm.environment(self.code))
        return said(fails, **command, timeout=600)

    def jobs(self, **changes: Any) -> dict[str, int]:
        """What a run with these changes would do: how many jobs of each rule, the total left out."""
        return job_counts(self.snakemake("--dry-run", **changes))

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text in the copy's code."""
        path = self.code / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")


def job_counts(output: str) -> dict[str, int]:
    """Rule -> number of jobs, from Snakemake's table of jobs."""
    if "Nothing to be done" in output:
        return {}
    table = output.split("Job stats:\n", 1)[1].split("\n\n", 1)[0]
    rows = [re.fullmatch(r"(\w+)\s+(\d+)", line) for line in table.splitlines()[2:]]
    return {row[1]: int(row[2]) for row in rows if row and row[1] != "total"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after a whole run."""
    made = Project(tmp_path_factory.mktemp("run"))
    made.snakemake()
    return made


def test_the_run_is_complete(project: Project) -> None:
    results = project.work / "results" / "tiny"
    rows = rows_of(results / "evaluate" / "scores.csv")
    assert all(row["signature"] for row in rows)
    scored = {(row["method"], row["variant"], row["direction"]) for row in rows if row["metric"] == "bleu"}
    models = [("zero-shot", "best-prompt"), *((method, "main") for method in CONFIG["methods"])]
    assert scored >= {(*model, direction) for model in models for direction in ("en-de", "de-en", "mean")}
    assert {row["metric"] for row in rows} >= {"bleu", "chrf2++", "bleu_raw", "loss_per_character"}
    lines = (results / "translate/landermt/main/s0/news/en-de.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 5
    assert list(json.loads(lines[0])) == ["source", "reference", "raw", "hypothesis", "cut", "loss"]
    assert "<html" in (results / "report" / "index.html").read_text(encoding="utf-8")
    effective = yaml.safe_load((results / "config.yaml").read_text(encoding="utf-8"))
    assert effective["finetune"]["accumulate"] == 2
    assert (results / "benchmarks/finetune/landermt/main/s0.tsv").is_file()
    assert (results / "logs/finetune/landermt/main/s0.log").is_file()


def test_a_second_run_does_nothing(project: Project) -> None:
    assert "Nothing to be done" in project.snakemake()


SCORED = {"scores": 1, "significance": 1, "report": 1, "effective_config": 1, "all": 1}
ZERO_SHOT = {"pretrain": 1, "dev": 2, "test": 2, "translate": 1, "best_prompt": 1, "score": 2, **SCORED}
TRAINED = {
    **{"pretrain": 1, "clean": 1, "sample": 2, "counts": 1, "test": 2, "finetune": 1, "translate": 1, "seen": 1},
    **{"score": 1, **SCORED},
}
MASKS = {"masks": "results/tiny/masks/main/s0"}
SHAPES = [
    ({"methods": ["zero-shot"]}, ZERO_SHOT),
    ({"methods": ["zero-shot"], "languages": {"en": "{input}", "de": "<x> {direction}"}}, ZERO_SHOT),
    (
        {"methods": ["zero-shot"], "directions": ["en-de"], "data": {"dev": CONFIG["data"]["test"]}},
        ZERO_SHOT | {"dev": 1, "test": 1},
    ),
    (
        {"methods": ["lora"], "seeds": [0, 1]},
        TRAINED | {"sample": 4, "finetune": 2, "translate": 2, "seen": 2, "score": 2},
    ),
    ({"methods": ["landermt"], "neurons": MASKS}, TRAINED),
    ({"methods": ["random"], "neurons": MASKS}, TRAINED | {"permuted_masks": 1}),
]


@pytest.mark.parametrize(("changes", "jobs"), SHAPES, ids=[json.dumps(changes)[:60] for changes, _ in SHAPES])
def test_runs_of_other_shapes_do_what_they_need(
    project: Project, changes: dict[str, Any], jobs: dict[str, int]
) -> None:
    assert project.jobs(run="other", **changes) == jobs


EXPERIMENTS = [
    "table1",
    "table2",
    "transfer",
    "forgetting",
    "readings",
    "sweep_k",
    "sweep_epsilon",
    "sweep_trained",
    "estimators",
]
ANALYSES = ["second_model", "clusters", "claims", "agreement", "figures_layers", "figures_awareness", "tune"]


def test_every_experiment_can_be_planned(project: Project) -> None:
    planned = project.snakemake("--dry-run", *EXPERIMENTS, *ANALYSES, directions=["en-de"])  # de-en is not trained
    jobs = job_counts(planned)
    assert all(jobs[name] == 1 for name in EXPERIMENTS + ANALYSES)
    assert jobs["mix"] == 3
    assert "experiments.untrained: forgetting" in project.snakemake("--dry-run", "--", "forgetting", fails=True)


def test_bad_text_is_one_line_and_leaves_nothing(project: Project) -> None:
    (project.work / "short.de").write_text("eins\n", encoding="utf-8")
    source = {"name": "short", "files": {"en": "test.en", "de": "short.de"}}
    output = project.snakemake(fails=True, data={"test": [source]})
    assert re.search(r"lander data: error: .*test\.en.*short\.de|lander data: error: .*short\.de.*test\.en", output)
    assert "Traceback" not in output
    assert not list((project.work / "results/tiny/data/test").glob("short/*"))


def test_a_bad_config_starts_nothing(project: Project) -> None:
    output = project.snakemake(fails=True, layers={"kk": 3})
    assert output.strip().splitlines()[-1].startswith("lander config: error: layers.kk: ")


def test_another_run_takes_over_what_is_the_same(project: Project) -> None:
    project.snakemake("--until", "neurons", run="again", neurons={"general_share": 0.5})
    first, again = (project.work / "results" / run for run in ("tiny", "again"))
    folders = ("data/clean", "data/s0", "activations", "awareness")
    shared = [file for name in folders for file in (again / name).rglob("*.parquet")]
    assert len(shared) > 10
    for file in shared:
        assert file.read_bytes() == (first / file.relative_to(again)).read_bytes()
    for log in ("data/clean/de-en", "data/s0/train/en-de", "activations/s0/en-de", "awareness/s0/fr"):
        assert "copied from results/tiny/" in (again / "logs" / f"{log}.log").read_text(encoding="utf-8"), log
    log = (again / "logs/neurons/main/s0.log").read_text(encoding="utf-8")
    assert "copied" not in log


def test_an_experiment_trains_what_is_missing(project: Project) -> None:
    project.snakemake("--", "sweep_epsilon", experiments={"sweep_epsilon": [0.5, 0.9]})
    text = (project.work / "results/tiny/experiments/sweep_epsilon.md").read_text(encoding="utf-8")
    assert "0.5" in text
    assert "0.9" in text
    assert project.jobs() == {"report": 1, "all": 1}  # which shows it now; nothing of it is brought up to date
    project.snakemake()
    assert "sweep_epsilon" in (project.work / "results/tiny/report/index.html").read_text(encoding="utf-8")


def test_an_untrained_direction_has_the_prompt_that_is_best_for_the_base(project: Project) -> None:
    scores = "results/other/evaluate/zero-shot/best-prompt/s0/news/de-en.csv"
    base = {"model": {"path": "results/tiny/pretrain"}, "methods": ["zero-shot"], "directions": ["en-de"]}
    project.snakemake("--", scores, run="other", **base)
    folder = project.work / "results/other/translate/zero-shot/best-prompt/s0"
    rows = rows_of(folder / "prompts-untrained.csv")
    assert {row["direction"] for row in rows} == {"de-en"}
    assert [row["chosen"] for row in rows].count("True") == 1
    assert len((folder / "news/de-en.jsonl").read_text(encoding="utf-8").splitlines()) == 5


FEW = {
    "transfer": ["landermt"],
    "sweep_k": [0, 1],
    "sweep_epsilon": [0.5, 0.9],
    "sweep_trained": [0.1],
    "estimators": ["taylor", "summed"],
}


def test_tables_claims_and_analyses_are_made(project: Project) -> None:
    """The rules between experiments: `claims` reads what six others have written."""
    small = {"adapter-lora": {"rank": 2}}  # as much as the adapter's budget leaves room for
    targets = ("claims", "table1", "agreement", "figures_layers")
    project.snakemake("--cores", "2", "--", *targets, experiments=FEW, finetune=small)
    made = project.work / "results/tiny/experiments"
    names = ("table1", "transfer", "sweep_k", "sweep_epsilon", "clusters", "claims", "agreement", "layers")
    assert all((made / f"{name}.md").read_text(encoding="utf-8").startswith("# ") for name in names)
    claims = {row["claim"]: row for row in rows_of(made / "claims.csv")}
    control = claims["(control, not in the paper) detected neurons are better than random ones"]
    assert "(1 seed, 2 draws)" in control["statistic"]
    assert control["value"]
    assert control["verdict"] == "not testable here"
    assert claims["LANDeRMT is better than training whole layers"]["value"]  # of table 2
    assert {row["kind"] for row in rows_of(made / "agreement.csv")} >= {"estimators_overlap", "halves_overlap"}


@pytest.mark.parametrize("place", ["translate/lora/main/s0/news/en-de.jsonl", "evaluate/scores.csv"])
def test_a_file_without_its_last_line_stops_the_run(project: Project, place: str) -> None:
    path = Path("results/tiny", place)
    content = (project.work / path).read_bytes()
    (project.work / path).write_bytes(artifacts.without_last_row(project.work / path, []))
    output = project.snakemake(fails=True)
    assert f"error: {path}: cut, exchanged or changed" in output
    assert f"`rm {path} && snakemake --cores 1 -- {path}`" in output
    assert "Traceback" not in output
    (project.work / path).write_bytes(content)
    project.snakemake()


def test_every_file_that_is_not_as_it_was_written_is_refused(project: Project) -> None:
    """Cut at a line or anywhere, or exchanged with a file of another direction, language, method or seed."""
    kinds: dict[str, list[Path]] = {}
    for kind, path in artifacts.artifacts(project.work / "results/tiny"):
        kinds.setdefault(kind, []).append(path)
    assert len(kinds) > 20
    exchanged, accepted = set(), []
    for kind, paths in kinds.items():
        read = artifacts.READERS[kind]
        for path in paths:
            content = path.read_bytes()
            damaged = {make: make(path, paths) for make in artifacts.DAMAGES}
            exchanged |= {kind} if damaged[artifacts.twin] else set()
            for make, other in damaged.items():
                if other is not None and other != content:
                    path.write_bytes(other)
                    accepted += [(path.name, make.__name__)] if artifacts.accepts(read, path) else []
            path.write_bytes(content)
            read(path)
    assert not accepted
    assert len(exchanged) >= 15
