"""A file of a run that is not as it was written is refused; any other file is read as it is."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made import write_table

from lander.evaluate.collect import read_scores, write_scores
from lander.shared import seals, tables
from lander.shared.errors import UserError
from lander.shared.files import PACKAGE, check, read_json, whole_file, whole_folder, write_json, write_text

SCORE = {"method": "full", "variant": "main", "seed": "0", "test": "news", "direction": "en-de", "metric": "bleu"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "results" / "r"


def awareness(path: Path, value: float) -> Path:
    write_table(path, "awareness", {"score": np.full((2, 3), value)})
    return path


def test_a_shorter_table_of_scores_is_refused(run: Path) -> None:
    path = run / "evaluate" / "scores.csv"
    write_scores(path, [SCORE | {"seed": seed, "score": "1.5", "signature": "s"} for seed in ("0", "1")])
    assert len(read_scores(path)) == 2
    written = path.stat().st_size
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError) as told:
        read_scores(path)
    assert str(told.value).startswith(f"{path}: ")
    assert f"{path.stat().st_size} bytes and was written with {written}" in str(told.value)
    assert f"`rm {path} && snakemake --cores 1 -- {path}`" in str(told.value)
    assert str(told.value).endswith(f"`rm {os.path.relpath(run)}/.seals/evaluate/scores.csv`")


def test_exchanged_tables_are_refused(run: Path) -> None:
    one, other = awareness(run / "awareness/s0/en.parquet", 0.5), awareness(run / "awareness/s0/de.parquet", 0.25)
    data = one.read_bytes()
    assert len(data) == other.stat().st_size  # so that the size alone does not show it
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    for path in (one, other):
        with pytest.raises(UserError, match=f"{path}: .*another content"):
            tables.read(path, "awareness")


def test_a_folder_of_another_seed_is_refused(run: Path) -> None:
    for seed, value in enumerate((0.5, 0.25)):
        awareness(run / f"awareness/s{seed}/en.parquet", value)
    for old, new in (("s0", "s"), ("s1", "s0"), ("s", "s1")):
        (run / "awareness" / old).rename(run / "awareness" / new)
    for seed in (0, 1):
        with pytest.raises(UserError, match=rf"s{seed}/en\.parquet"):
            tables.read(run / f"awareness/s{seed}/en.parquet", "awareness")


def test_a_table_of_another_run_is_refused(run: Path) -> None:
    one, other = awareness(run / "awareness/s0/en.parquet", 0.5), awareness(run / "../q/awareness/s0/en.parquet", 0.25)
    one.write_bytes(other.read_bytes())
    with pytest.raises(UserError, match=str(one)):
        tables.read(one, "awareness")


def test_a_table_rewritten_without_its_last_row_is_refused(run: Path) -> None:
    path = awareness(run / "awareness/s0/en.parquet", 0.5)
    pd.read_parquet(path).iloc[:-1].to_parquet(path)
    with pytest.raises(UserError, match=str(path)):
        tables.read(path, "awareness")


def test_a_run_may_be_renamed(run: Path) -> None:
    path = awareness(run / "awareness/s0/en.parquet", 0.5)
    run.rename(run.with_name("other"))
    assert len(tables.read(run.with_name("other") / path.relative_to(run), "awareness")) == 6


def test_what_has_no_seal_is_read(run: Path, tmp_path: Path) -> None:
    own = run / "translate" / "own.json"
    own.parent.mkdir(parents=True)
    own.write_text("[1]")
    assert read_json(own) == [1]
    write_json(tmp_path / "mine.json", [1, 2])
    (tmp_path / "mine.json").write_text("[1]")
    assert read_json(tmp_path / "mine.json") == [1]
    assert seals.seal_of(tmp_path / "mine.json") is None


def test_the_message_says_how_to_keep_a_change(run: Path) -> None:
    path = run / "a.json"
    write_json(path, [1, 2])
    path.write_text("[1]")
    with pytest.raises(UserError) as told:
        read_json(path)
    remove = str(told.value).split("yours: `rm ")[1].split("`")[0]
    os.remove(remove)
    assert read_json(path) == [1]


def test_a_seal_that_was_cut_says_nothing(run: Path) -> None:
    path = run / "a.json"
    write_json(path, [1])
    seal = seals.seal_of(path)
    seal.write_text(seal.read_text()[:9])
    assert read_json(path) == [1]


def test_a_kill_after_the_file_and_before_its_seal(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run / "a.json"
    write_json(path, [1])
    monkeypatch.setattr(seals, "seal", lambda _path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_json(path, [2])
    assert read_json(path) == [2]


def test_a_folder_is_sealed_file_by_file(run: Path) -> None:
    with whole_folder(run / "pretrain") as folder:
        write_text(folder / "lander.json", "{}")
    assert [str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()] == [
        ".seals/pretrain/lander.json",
        "pretrain/lander.json",
    ]
    (run / "pretrain/lander.json").write_text('{"prompt": "x"}')
    with pytest.raises(UserError, match=r"pretrain/lander\.json"):
        read_json(run / "pretrain/lander.json")


@pytest.mark.parametrize("place", ["checkpoints/full/main/s0/state.json", ".copied/a.json", ".neural/a.json"])
def test_what_has_a_check_of_its_own_is_not_sealed(place: str, run: Path) -> None:
    write_json(run / place, {})
    assert not (run / ".seals").exists()


def test_only_the_ends_of_a_large_file_are_read(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "LARGE", 100)
    monkeypatch.setattr(seals, "END", 10)
    path = run / "large.bin"
    with whole_file(path) as temporary:
        temporary.write_bytes(bytes(200))
    changed = {place: bytes(place) + b"x" + bytes(199 - place) for place in (0, 100, 199)}
    refused = []
    for place, content in changed.items():
        path.write_bytes(content)
        try:
            check(path)
        except UserError:
            refused.append(place)
    assert refused == [0, 199]
    path.write_bytes(bytes(199))
    with pytest.raises(UserError, match="199 bytes and was written with 200"):
        check(path)


def test_the_seal_is_beside_the_run(run: Path) -> None:
    write_json(run / "a.json", [1])
    assert json.loads((run / ".seals/a.json").read_text())["bytes"] == (run / "a.json").stat().st_size


def test_a_copy_without_seals_is_warned_of_once(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("a.json", "b.json"):
        write_json(run / name, [1])
    other = tmp_path / "other" / "results" / "r"
    shutil.copytree(run, other, ignore=shutil.ignore_patterns(".*"))
    assert [read_json(place / name) for place in (run, other) for name in ("a.json", "b.json")] == [[1]] * 4
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {other}/.seals: no such folder")
    assert said.count("\n") == 1


def test_no_other_module_reads_tables_by_itself() -> None:
    """What pandas, pyarrow or json read from a file directly would not be compared with its seal."""
    direct = re.compile(r"\bpd\.read_\w+\((?!io\.StringIO)|\bpq\.(read_|ParquetFile)|\bjson\.load\(")
    readers = {path.name for path in PACKAGE.rglob("*.py") if direct.search(path.read_text(encoding="utf-8"))}
    assert readers == {"csvfile.py", "tables.py", "hub.py"}  # hub.py reads data sets of users, which have no seal
