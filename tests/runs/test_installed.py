"""The wheel and the module: the workflow outside the repository."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from test_run import job_counts

from lander.data import cldr

pytestmark = pytest.mark.workflow
ROOT = Path(__file__).parents[2]
MODULE = """\
configfile: "config/config.yaml"

module lander:
    snakefile: "{}/workflow/Snakefile"
    config: config

use rule * from lander
"""  # as `snakedeploy deploy-workflow` writes it, but for the place of the Snakefile


def run(*command: object, cwd: Path) -> str:
    words, env = list(map(str, command)), {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=600, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def lander(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, as it is in an environment into which the wheel is installed."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist", cwd=ROOT)
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    run(*pip, *(folder / "dist").glob("*.whl"), cwd=folder)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    borrowed = [path for path in sys.path if path.endswith("site-packages")]  # all but Lander, which it holds already
    (packages / "z_others.pth").write_text("\n".join(borrowed) + "\n")
    assert run(python, "-c", "import lander; print(lander.__file__)", cwd=folder).startswith(str(packages))
    return folder / "venv" / "bin" / "lander"


@pytest.fixture
def mine(tmp_path: Path, lander: Path) -> Path:
    """A folder with a config that `lander init` has written."""
    for code, lines in cldr.lines(["en", "de"], 0, 60).items():
        (tmp_path / f"text.{code}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    run(lander, "init", "--model", "lander-tiny", "--text", "text.en", "text.de", cwd=tmp_path)
    return tmp_path


def test_an_installed_package_has_its_workflow(lander: Path, mine: Path) -> None:
    assert "mine, to results/mine/" in run(lander, "check", "mine.yaml", cwd=mine)
    assert "demo, to results/demo/" in run(lander, "check", cwd=mine)
    planned = job_counts(run(lander, "run", "mine.yaml", "-n", "--quiet", "host", "rules", cwd=mine))
    assert (planned["finetune"], planned["report"]) == (3, 1)
    run(lander, "run", "mine.yaml", "--until", "clean", "effective_config", cwd=mine)
    assert (mine / "results/mine/data/clean/de-en.parquet").is_file()  # by the Python of the environment
    assert "lander-tiny" in (mine / "results/mine/config.yaml").read_text()


def test_the_workflow_is_a_module_of_another(mine: Path) -> None:
    for folder in ("workflow", "config"):
        (mine / folder).mkdir()
    (mine / "workflow" / "Snakefile").write_text(MODULE.format(ROOT))
    (mine / "mine.yaml").rename(mine / "config" / "config.yaml")
    said = run(sys.executable, "-m", "snakemake", "-n", "--quiet", "host", "rules", cwd=mine)
    assert job_counts(said)["finetune"] == 3


def test_jobs_run_in_the_image(mine: Path, lander: Path) -> None:
    """With a stand-in for Apptainer, which notes how it is called and runs the job outside."""
    fake = mine / "bin" / "apptainer"
    fake.parent.mkdir()
    fake.write_text(
        "#!/bin/bash\n[ $1 = --version ] && { echo apptainer version 1.3.4; exit; }\n"
        'echo "$@" >> called; while [ $1 != bash ]; do shift; done; exec "$@"\n'
    )
    fake.chmod(0o755)
    (fake.parent / "singularity").symlink_to("apptainer")
    command = ["env", f"PATH={fake.parent}:/usr/bin:/bin", lander, "run", "mine.yaml", "--sdm", "apptainer"]
    done = subprocess.run(list(map(str, command)), cwd=mine, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr.count("lander.sif: no such file")) == (1, 1)
    (mine / "lander.sif").touch()
    run(*command, "--until", "effective_config", cwd=mine)
    called = (mine / "called").read_text()
    assert f"--bind {lander.parents[1]}/lib/" in called  # where the package is
    assert " lander.sif bash -c " in called
