"""`lander run`: what Snakemake is started with."""

from pathlib import Path

import pytest

from lander.shared.errors import UserError
from lander.shared.files import shipped
from lander.workflow import run


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.yaml", "more.yml", "cluster.yaml"):
        Path(name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "configs", "rest"),
    [
        ("", "", ""),
        ("mine.yaml table1 -n", "mine.yaml", "table1 -n"),
        ("-n --cores 2 mine.yaml more.yml", "mine.yaml more.yml", "-n --cores 2"),
        ("--configfile mine.yaml more.yml --forcerun masks", "mine.yaml more.yml", "--forcerun masks"),
        ("--configfile=mine.yaml", "mine.yaml", ""),
        ("--profile cluster.yaml mine.yaml", "mine.yaml", "--profile cluster.yaml"),
        ("mine.yaml -- results/mine/config.yaml", "mine.yaml", "-- results/mine/config.yaml"),
    ],
)
def test_files_in_yaml_are_configs(words: str, configs: str, rest: str, mine: Path) -> None:
    assert run.divide(words.split()) == ([Path(name) for name in configs.split()], rest.split())


def test_a_config_that_is_not_there_is_refused(mine: Path) -> None:
    with pytest.raises(UserError, match=r"mein\.yaml: no such file"):
        run.divide(["mein.yaml"])


def test_what_is_not_said_is_filled_in(mine: Path) -> None:
    _, args = run.arguments([Path("mine.yaml")], ["table1"])
    assert args.snakefile == str(shipped("workflow/Snakefile"))
    assert (args.configfile, args.targets) == ([Path("mine.yaml")], ["table1"])
    assert args.cores > 0
    assert args.rerun_incomplete  # as the profile says
    assert "--bind" in args.apptainer_args  # the package is not below the working folder
    _, args = run.arguments([], ["--cores", "3", "--quiet", "all"])
    assert (args.cores, len(args.quiet)) == (3, 1)


def test_a_cluster_has_its_own_cores(mine: Path) -> None:
    Path("cluster.yaml").write_text("jobs: 100\n")
    assert run.arguments([], ["--profile", "cluster.yaml"])[1].cores is None


def test_a_wrong_flag_is_one_line(mine: Path) -> None:
    with pytest.raises(UserError, match=r"^unrecognized arguments: --untill;"):
        run.arguments([], ["--untill", "x"])
