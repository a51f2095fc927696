"""docs/new-method.md, followed exactly: its code goes into two files, its test passes, its methods are trained."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from test_run import ROOT, Project, said

pytestmark = pytest.mark.workflow
PAGE = (ROOT / "docs" / "new-method.md").read_text(encoding="utf-8")


def block(start: str) -> str:
    """The page's block of Python that begins so."""
    return next(text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if text.lstrip().startswith(start))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project with the page's two methods."""
    made = Project(tmp_path_factory.mktemp("new-method"))
    made.edit("lander/finetune/methods.py", "def adapter(", f"{block('def lora_ffn')}\n\ndef adapter(")
    made.edit("lander/config/methods.py", "UNGROUPED = {", f"{block('class LoraFfn')}\n\nUNGROUPED = {{")
    entries = block('"landermt-half"') + block('"lora-ffn"')
    made.edit("lander/config/methods.py", '    "random": _routed', f'{entries}    "random": _routed')
    return made


def test_the_test_of_the_page_passes(project: Project) -> None:
    folder = project.code / "tests"
    folder.mkdir()
    for name in ("conftest.py", "toys.py", "trained.py"):
        shutil.copy(ROOT / "tests" / name, folder)
    (folder / "test_lora_ffn.py").write_text(block("import torch"), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_lora_ffn.py"]
    environment = {**os.environ, "PYTHONPATH": f"{project.code}{os.pathsep}{folder}", "OMP_NUM_THREADS": "1"}
    assert "2 passed" in said(args=command, cwd=project.code, env=environment, timeout=300)


def test_a_run_trains_and_compares_them(project: Project) -> None:
    listed = project.snakemake("--dry-run", "--", "table1")
    for method in ("lora-ffn", "landermt-half"):
        assert Path("results/tiny/finetune", method, "main/s0/lander.json").as_posix() in listed
    project.snakemake("--", "results/tiny/finetune/lora-ffn/main/s0/lander.json")
    saved = project.work / "results/tiny/finetune/lora-ffn/main/s0"
    assert (saved / "adapter_model.safetensors").is_file()
