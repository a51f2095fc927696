"""Work of other runs is taken over where it is the same, and only there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lander import reuse


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
        argv = ["reuse", "--files", files, "lander.data", "text", *flags, source, out]
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
    assert os.stat("results/a/out.txt").st_ino != os.stat("results/b/out.txt").st_ino


@pytest.mark.parametrize("what", ["flag", "input", "other input", "code", "package", "turned off"])
def test_another_job_runs(stage: Stage, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stage("a", "--k", "1")
    if what == "other input":
        Path("templates.yaml").write_text("y", encoding="utf-8")
    elif what == "code":
        stage.code = "edited"
    elif what == "package":
        monkeypatch.setattr(reuse, "version", lambda _name: "0")
    elif what == "turned off":
        monkeypatch.setenv("LANDER_REUSE", "0")
    text = "other" if what == "input" else "text"
    assert stage("b", "--k", "2" if what == "flag" else "1", text=text) == text.upper()
    assert stage.runs == 2


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
    assert not [path for path in Path("results/b").iterdir() if path.name not in ("in.txt", "out.txt")]


def test_a_stage_that_fails_leaves_no_note(place: Path) -> None:
    files = json.dumps({"inputs": ["templates.yaml"], "outputs": ["results/a/x.parquet"]})
    command = [
        sys.executable,
        "-m",
        "lander.reuse",
        "--files",
        files,
        "lander.data",
        "counts",
        "--counts",
        "no.parquet",
    ]
    command += ["--out", "results/a/x.parquet", "--csv", "x.csv"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=place)
    assert result.returncode == 1
    assert result.stderr.startswith("lander data: error: no.parquet")
    assert not Path("results/.made").exists()
