"""The tutorial, followed exactly in a copy of the project, then the examples of other pages on its results.

Only config.yaml differs in the copy: it asks for a few lines of text and four updates. `LANDER_TUTORIAL=whole` keeps
the original, which takes a quarter of an hour on two idle cores.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from lander.config import config
from lander.data import cldr

ROOT = Path(__file__).parent.parent.parent
WHOLE = os.environ.get("LANDER_TUTORIAL") == "whole"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COPIED = ("Makefile", "pyproject.toml", "requirements.lock", "config.yaml", "README.md")
CORPUS = {"builtin": "cldr", "vocabulary": "all"}
SMALL = {
    "languages": ["en", "de"],
    "directions": ["en-de", "de-en"],
    "data": {
        "train": [{**CORPUS, "lines": [0, 300]}],
        "dev": [{**CORPUS, "lines": [30000, 30004]}],
        "test": [{"name": "cldr", **CORPUS, "lines": [30200, 30205]}],
        "exclude": [{**CORPUS, "lines": [30000, 30300]}],
        "max_pairs": 60,
    },
    "activations": {"sentences": 20},
    "awareness": {"sentences": 20},
    "finetune": {"steps": 4, "batch_size": 4, "warmup": 1},
    "translate": {"max_new_tokens": 12, "dev_sentences": 2},
}

VIRTUAL = (Path(sys.prefix) / "bin" / "activate").is_file()
pytestmark = [pytest.mark.workflow, pytest.mark.skipif(not VIRTUAL, reason="it is for a virtual environment")]


def blocks(page: str, kind: str) -> list[str]:
    """The blocks of a kind of a page of docs/, in order."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [block for found, block in BLOCK.findall(text) if found == kind]


class Copy:
    """A copy of the project as it is after a clone, with an environment that is there already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("lander", "workflow"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in COPIED:
            shutil.copy2(ROOT / name, folder)
        if not WHOLE:
            shipped = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
            (folder / "config.yaml").write_text(yaml.safe_dump(config.merge(shipped, SMALL)), encoding="utf-8")
        (folder / ".venv").mkdir()
        for name in ("bin", "lib", "pyvenv.cfg"):
            (folder / ".venv" / name).symlink_to(Path(sys.prefix) / name)
        (folder / ".venv" / ".installed").touch()  # newer than what it is made from: nothing is installed

    def run(self, *command: str) -> str:
        """Run a command in the copy; what it says."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}
        paths = [str(self.folder / ".venv" / "bin"), environment["PATH"]]
        options = {"cwd": self.folder, "env": environment | {"PATH": ":".join(paths)}, "timeout": 7200}
        done = subprocess.run(command, **options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout[-5000:]
        return done.stdout


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Copy, str]:
    """The copy after the tutorial, and all that was to be seen."""
    copy = Copy(tmp_path_factory.mktemp("tutorial"))
    script = "\n".join(blocks("tutorial.md", "sh"))
    return copy, copy.run("bash", "-e", "-o", "pipefail", "-c", script)


def test_the_tutorial_does_what_it_says(tutorial: tuple[Copy, str]) -> None:
    copy, output = tutorial
    assert "100% all: " in output
    assert "lander run: done; open results/demo/report/index.html" in output
    dry_run = next(block for block in blocks("tutorial.md", "text") if "total                  11" in block)
    assert all(row in output for row in dry_run.splitlines())
    layers = pd.read_parquet(copy.folder / "results/demo/layers/main/s0/layers.parquet")
    assert layers.groupby("direction")["selected"].sum().eq(4).all()
    assert len((copy.folder / "out.txt").read_text(encoding="utf-8").splitlines()) == 3
    assert "Lander was imported: False" in output
    for name in ("my-model", "my-models/en-de", "my-models/de-en"):
        assert (copy.folder / name / "config.json").is_file()
    assert (copy.folder / "my-model.safetensors").stat().st_size < 4_000_000
    assert "<html" in (copy.folder / "results/demo/report/index.html").read_text(encoding="utf-8")


def test_the_examples_of_reading_tables_read_them(tutorial: tuple[Copy, str]) -> None:
    copy, _output = tutorial
    output = copy.run("python", "-c", "\n".join(blocks("tables.md", "python")))
    for word in ("zero-shot", "best-prompt", "selected", "general", "source", "layer"):
        assert word in output


def test_the_example_of_own_text_is_a_run(tutorial: tuple[Copy, str]) -> None:
    copy, _output = tutorial
    (copy.folder / "text").mkdir()
    for name, start in (("train", 0), ("dev", 40), ("test", 50)):
        for code, lines in cldr.lines(("de", "en"), start, start + 10).items():
            (copy.folder / "text" / f"{name}.{code}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    copy.run("gzip", "text/train.en", "text/train.de")
    (copy.folder / "mine.yaml").write_text(blocks("own-text.md", "yaml")[0], encoding="utf-8")
    check, *_run = blocks("own-text.md", "sh")[0].splitlines()
    assert "mine, to results/mine/" in copy.run("bash", "-c", check)
    assert "finetune" in copy.run("bash", "-c", "snakemake -n --configfile mine.yaml")
