"""What is installed and how: the distribution, the image, make."""

import fnmatch
import re
import subprocess
import tomllib
from pathlib import Path

from lander.shared.provenance import DISTRIBUTION
from lander.workflow.plan import IMAGE

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMMANDS = re.sub(r"\\\n\s*", "", DOCKERFILE).splitlines()


def test_the_distribution_has_one_name() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"] == DISTRIBUTION


def test_the_image_gets_what_the_wheel_is_made_of() -> None:
    """All that is copied is there and not ignored, and `pip install .` finds all that pyproject.toml names."""
    copied = [name for line in COMMANDS if line.startswith("COPY") for name in line.split()[1:-1]]
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [*wheel["packages"], *wheel["force-include"], project["project"]["readme"]]
    assert set(needed + project["project"]["license-files"]) <= set(copied)


def test_the_image_is_the_one_that_the_workflow_names() -> None:
    assert f'container: "{IMAGE}"' in (ROOT / "workflow" / "Snakefile").read_text()
    assert fnmatch.filter([IMAGE.name], "*.sif")  # what Apptainer runs without a conversion


def test_make_and_the_image_take_the_build_of_torch_that_is_asked_for() -> None:
    pinned = re.search(r"^UV := (uv==\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert f"ARG UV={pinned}\n" in DOCKERFILE
    said = subprocess.run(
        ["make", "-n", "run", "TORCH=cpu", "VENV=.no"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    order = ["-m venv .no", f"--quiet {pinned}", "--torch-backend cpu", "--requirement requirements.lock", "lander run"]
    assert sorted(map(said.index, order)) == list(map(said.index, order))
    run = next(line for line in COMMANDS if line.startswith("RUN") and "--torch-backend" in line)
    assert run.index("--torch-backend") < run.index("pip install --requirement requirements.lock")
    for command in (line.removeprefix("RUN ") for line in COMMANDS if line.startswith("RUN")):
        subprocess.run(["bash", "-n", "-c", command], check=True)
