"""Tests of `lander.shared.provenance`: in a repository made here, and on made-up files of /proc."""

import json
import subprocess

import pytest

from lander.shared import provenance


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "-q")
    for name in ("code/__init__.py", "code/größe.py", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1\n")
    (tmp_path / ".gitignore").write_text("*.pyc\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "x")
    return tmp_path


def test_commit_and_what_differs_from_it(repository):
    head = git(repository, "rev-parse", "HEAD").strip()
    found = provenance.git_state(repository / "code")
    assert (found["commit"], found["changed"]) == (head, [])
    assert found["date"][4] == "-"
    (repository / "code/größe.py").write_text("2\n")  # changed
    (repository / "README.md").unlink()  # gone, outside the folder
    (repository / "code/new file.py").write_text("")  # unknown to git
    (repository / "notes.txt").write_text("")  # unknown, but not code
    (repository / "code/x.pyc").write_text("")  # ignored
    changed = provenance.git_state(repository / "code")["changed"]
    assert changed == ["README.md", "code/größe.py", "code/new file.py"]


def test_code_that_git_does_not_keep_has_no_commit(repository, tmp_path_factory, monkeypatch):
    installed = repository / "venv/package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert provenance.git_state(installed) == {}
    assert provenance.git_state(tmp_path_factory.mktemp("nowhere")) == {}
    monkeypatch.setenv("PATH", "")  # no git at all
    assert provenance.git_state(repository / "code") == {}


def test_machine(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Chip: 9000 @ 2 GHz\nmodel name\t: other\n")
    gpu = tmp_path / "driver/nvidia/gpus/0000:01/information"
    gpu.parent.mkdir(parents=True)
    gpu.write_text("Model: \t\t NVIDIA X\nIRQ: 5\n")
    found = provenance.machine(tmp_path)
    assert (found["processor"], found["gpus"]) == ("Chip: 9000 @ 2 GHz", ["NVIDIA X"])
    assert found["cores"] >= 1
    assert found["memory_bytes"] > 2**26
    bare = provenance.machine(tmp_path / "nothing")
    assert bare["gpus"] == []
    assert bare["processor"]


def test_all_of_it_is_json():
    found = json.loads(json.dumps(provenance.collect()))
    assert set(found) == {"git", "machine", "versions"}
    assert found["versions"]["pandas"]
