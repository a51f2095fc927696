"""Work of other runs is taken over where it is the same, and only there."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import huggingface_hub.constants
import pytest

from lander.workflow import reuse

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("templates.yaml").write_text("x", encoding="utf-8")
    return tmp_path


class Stage:
    """A stage that writes its input in capitals, and counts how often it runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs, self.code, self.monkeypatch = 0, "code", monkeypatch
        monkeypatch.setattr(reuse, "run", self.run)
        monkeypatch.setattr(reuse, "code_digest", lambda _stage: self.code)

    def run(self, _stage: str, flags: list[str]) -> None:
        self.runs += 1
        source, out = flags[-2:]
        Path(out).write_text(Path(source).read_text(encoding="utf-8").upper(), encoding="utf-8")

    def __call__(self, run: str, *flags: str, text: str = "text") -> str:
        """Run it in a run's folder; returns what it made."""
        source, out = f"results/{run}/in.txt", f"results/{run}/out.txt"
        Path(source).parent.mkdir(parents=True, exist_ok=True)
        Path(source).write_text(text, encoding="utf-8")
        Path(out).unlink(missing_ok=True)  # as Snakemake does before a job
        files = json.dumps({"inputs": [source, "templates.yaml"], "outputs": [out]})
        argv = ["reuse", "--files", files, "--copied", f"results/{run}/.copied/x.json"]
        argv += ["lander.data", "text", *flags, source, out]
        self.monkeypatch.setattr(sys, "argv", argv)
        reuse.main()
        return Path(out).read_text(encoding="utf-8")


@pytest.fixture
def stage(place: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_the_same_job_of_another_run_is_copied(stage: Stage, capsys: pytest.CaptureFixture) -> None:
    assert stage("a", "--k", "1") == "TEXT"
    assert stage("b", "--k", "1") == "TEXT"
    assert stage.runs == 1
    assert "copied from results/a/out.txt" in capsys.readouterr().err
    assert json.loads(Path("results/b/.copied/x.json").read_text()) == {"from": ["results/a/out.txt"]}
    stage("b", "--k", "2")
    assert not Path("results/b/.copied/x.json").exists()
    assert os.stat("results/a/out.txt").st_ino != os.stat("results/b/out.txt").st_ino


@pytest.mark.parametrize("what", ["flag", "input", "other input", "code", "package", "no package", "turned off"])
def test_another_job_runs(stage: Stage, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stage("a", "--k", "1")
    if what == "other input":
        Path("templates.yaml").write_text("y", encoding="utf-8")
    elif what == "code":
        stage.code = "edited"
    elif what == "package":
        monkeypatch.setattr(reuse, "version", lambda name: "0" if name == "ftfy" else version(name))
    elif what == "no package":
        monkeypatch.setattr(reuse, "packages", dict)
    elif what == "turned off":
        monkeypatch.setenv("LANDER_REUSE", "0")
    text = "other" if what == "input" else "text"
    assert stage("b", "--k", "2" if what == "flag" else "1", text=text) == text.upper()
    assert stage.runs == 2


def test_a_note_about_another_job_is_not_believed(stage: Stage) -> None:
    stage("a", "--k", "1")
    stage("a", "--k", "2", text="other")
    one, other = reuse.NOTES.iterdir()
    one.rename(one.with_suffix(".tmp"))
    other.rename(one)
    one.with_suffix(".tmp").rename(other)
    assert stage("b", "--k", "2", text="other") == "OTHER"
    assert stage("b", "--k", "1") == "TEXT"
    assert stage.runs == 4


def test_all_that_a_job_makes_stays_there() -> None:
    """An output that Snakemake deletes could not be copied, and nothing of its job either."""
    files = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
    rules = [rule for file in files for rule in re.split(r"^(?:use )?rule ", file.read_text("utf-8"), flags=re.M)[1:]]
    reused = [rule for rule in rules if "files=made_of" in rule]
    assert {"clean:", "awareness:", "awareness"} <= {rule.split()[0] for rule in reused}
    assert not [rule for rule in reused if "temp(" in rule]


def test_every_package_that_lander_asks_for_counts() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    assert set(reuse.packages()) == needed
    assert {"babel", "emoji", "ftfy", "regex", "py3langid", "sacrebleu", "torch"} <= needed


@pytest.mark.parametrize(
    ("visible", "expected"), [(None, True), ("", False), ("-1", False), ("0", True), ("GPU-1a", True)]
)
def test_a_hidden_gpu_is_none(visible: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: path == Path("/proc/driver/nvidia/version"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert reuse.has_gpu() == expected


MAIN, PINNED = "0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef"


@pytest.fixture
def caches(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model, a data set and a test set in the caches."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(place / "hub"))
    monkeypatch.setenv("SACREBLEU", str(place / "sacrebleu"))
    for name in ("models--big--base", "datasets--big--opus"):
        (place / "hub" / name / "refs").mkdir(parents=True)
        (place / "hub" / name / "refs" / "main").write_text(MAIN)
    (place / "sacrebleu" / "wmt16").mkdir(parents=True)
    for end in ("src", "ref"):
        (place / "sacrebleu" / "wmt16" / f"wmt16.en-de.{end}").write_text(end)
    (place / "folder").mkdir()
    return place


def sources(*values: dict) -> list[str]:
    return ["--sources", json.dumps(values)]


OPUS, WMT = {"hf": "big/opus", "config": "en-de"}, {"sacrebleu": "wmt16", "directions": ["en-de"]}


@pytest.mark.parametrize(
    ("flags", "online", "offline"),
    [
        (["--model", "big/base"], [None], [MAIN]),
        (["--model", "big/base", "--revision", PINNED], [PINNED], [PINNED]),
        (["--model", "big/base", "--revision", "v2"], [None], [None]),
        (["--model", "lander-tiny", "--out", "results/a/b"], [], []),
        (["--model", "./folder"], [], []),
        (sources({"files": {"en": "a", "de": "b"}}, {"hf": "./folder"}, {"builtin": "cldr"}), [], []),
        (sources(OPUS | {"revision": PINNED}, OPUS), [PINNED, None], [PINNED, MAIN]),
        (sources(WMT), *[[hashlib.sha256(b"srcref").hexdigest()]] * 2),
        (["--exclude", *sources(WMT | {"directions": ["de-en"]})[1:]], [None], [None]),
    ],
)
def test_what_is_fetched_is_known_by_its_content(
    flags: list[str], online: list, offline: list, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert list(reuse.fetched_inputs(flags).values()) == online
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert list(reuse.fetched_inputs(flags).values()) == offline


def test_a_model_that_may_change_is_asked_again(stage: Stage, caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for run in ("a", "b"):
        stage(run, "--model", "big/base")
    assert stage.runs == 2
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for run in ("c", "d"):
        stage(run, "--model", "big/base")
    assert stage.runs == 3
    (caches / "hub" / "models--big--base" / "refs" / "main").write_text(PINNED)
    stage("e", "--model", "big/base")
    assert stage.runs == 4


@pytest.mark.parametrize("damage", ["changed", "removed", "note"])
def test_what_is_no_more_as_it_was_is_made_anew(stage: Stage, damage: str) -> None:
    stage("a")
    [note] = Path("results/.made").iterdir()
    if damage == "changed":
        Path("results/a/out.txt").write_text("TEXt", encoding="utf-8")
    elif damage == "removed":
        Path("results/a/out.txt").unlink()
    else:
        note.write_text("{", encoding="utf-8")
    assert stage("b") == "TEXT"
    assert stage.runs == 2
    assert stage("c") == "TEXT"  # now from b
    assert stage.runs == 2
    assert not [path for path in Path("results/b").iterdir() if path.name not in ("in.txt", "out.txt", ".copied")]


def test_a_stage_that_fails_leaves_no_note(place: Path) -> None:
    files = json.dumps({"inputs": ["templates.yaml"], "outputs": ["results/a/x.parquet"]})
    flags = ["--files", files, "--copied", "results/a/.copied/x.json", "lander.data", "counts"]
    flags += ["--counts", "no.parquet", "--out", "results/a/x.parquet", "--csv", "x.csv"]
    command = [sys.executable, "-m", "lander.workflow.reuse", *flags]
    result = subprocess.run(command, capture_output=True, text=True, cwd=place)
    assert result.returncode == 1
    assert result.stderr.startswith("lander data: error: no.parquet")
    assert not Path("results/.made").exists()
