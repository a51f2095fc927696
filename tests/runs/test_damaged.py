"""A stage that reads a damaged file names the file and the command that makes it again.

Tables are cut, emptied, or have a changed byte, another column or type, or a score that is not a number. Also: the disk
is full while a file is written. `test_damaged_models.py` has the stages that load a model.
"""

import importlib
import json
import multiprocessing
import os
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made import write_table

from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.files import whole_file, whole_folder, write_json

pytestmark = pytest.mark.workflow

LAYERS, NEURONS = 3, 8
PLACE = {"origin": "text", "line": range(3)}
NAMES = json.dumps({"en": "English", "de": "German"})


def grid(**values: object) -> pd.DataFrame:
    """A table with a row for every neuron of every layer."""
    return tables.by_neuron({name: np.full((LAYERS, NEURONS), value) for name, value in values.items()})


TABLES = {  # file, which is named as its schema -> content
    "clean": {"first": ["a", "b", "c"], "second": ["d", "e", "f"], **PLACE},
    "counts": {"direction": "de-en", "origin": "text", "reason": ["read", "kept"], "pairs": [3, 3]},
    "train": {"source": ["a", "b", "c"], "target": ["d", "e", "f"], "template": 0, **PLACE},
    "heldout": {"source": ["a", "b", "c"], "target": ["d", "e", "f"], **PLACE},
    "text": {"text": ["a", "b", "c"], **PLACE},
    "activations": grid(mean=0.5),
    "layers": {"direction": "en-de", "layer": range(LAYERS), "delta": 0.1, "selected": [False, True, True]},
    "awareness": grid(score=0.5),
    "neurons": grid(kind="general"),
    "masks": grid(role="general", trained=True, scale=0.5),
}
COMMANDS = {  # stage: what reads a table -> module, its command line, the tables that it names
    "sample": (
        "lander.data.__main__",
        'sample --direction en-de --clean {clean} --counts {counts} --origins ["text"] --max-pairs 2 --seed 0 '
        "--cleaning {{}} --out {out} --counts-out {out2}",
        ["clean", "counts"],
    ),
    "counts": ("lander.data.__main__", "counts --counts {counts} --out {out} --csv {out2}", ["counts"]),
    "layers": (
        "lander.detect.layers",
        "--activations {activations} --directions en-de --k 1 --out {out}",
        ["activations"],
    ),
    "neurons": (
        "lander.detect.neurons",
        "--awareness {awareness} --awareness-languages en --layers {layers} --general-share 0.5 --out {out}",
        ["awareness", "layers"],
    ),
    "masks": (
        "lander.detect.masks",
        "--neurons {neurons} --layers {layers} --awareness {awareness} {awareness} --awareness-languages en de "
        "--directions en-de --out-dir {out}",
        ["neurons", "layers", "awareness"],
    ),
}
CASES = [(stage, name) for stage, (_, _, names) in COMMANDS.items() for name in names]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def one_byte(path: Path) -> None:
    """Change a byte of the first column's values, after the header of its page."""
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    data = bytearray(path.read_bytes())
    data[start + column.total_compressed_size - 1] ^= 0x55
    path.write_bytes(bytes(data))


def other_column(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.rename_columns(["other", *table.column_names[1:]]), path)


def other_type(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, table.column_names[0], pa.array([b"\xff\xfe"] * len(table))), path)


def no_number(path: Path) -> None:
    """The last score is NaN; in a table without scores, the first column's last value is missing."""
    table = pq.read_table(path)
    scores = [number for number, name in enumerate(table.column_names) if name in ("mean", "score")]
    index = scores[0] if scores else 0
    values = table.column(index).to_pylist()
    values[-1] = float("nan") if scores else None
    pq.write_table(table.set_column(index, table.column_names[index], pa.array(values)), path)


def rows_lost(path: Path) -> None:
    """Remove the last row. Only tables with a fixed number of rows can show that."""
    table = pq.read_table(path)
    pq.write_table(table.slice(0, len(table) - 1), path)


DAMAGES: list[Callable[[Path], None]] = [cut, emptied, one_byte, other_column, other_type, no_number]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """What the command lines name, as the workflow would have made it."""
    results = tmp_path / "results" / "r"
    for name, content in TABLES.items():
        write_table(results / f"{name}.parquet", name, content)
    made = {name: results / f"{name}.parquet" for name in TABLES}
    return made | {"out": tmp_path / "out", "out2": tmp_path / "out2"}


def run(command: tuple[str, str, list[str]], files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a stage in this process."""
    module, line, _ = command
    arguments = [part.format(**files, names=NAMES) for part in line.split()]
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    importlib.import_module(module).main()


def refused_with_its_command(command, files: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage refuses a file, names it and the command that makes it again, and writes nothing."""
    with pytest.raises(UserError) as told:
        run(command, files, monkeypatch)
    assert str(files[name]) in str(told.value)
    assert f"`rm {files[name]} && snakemake --cores 1 -- {files[name]}`" in str(told.value)
    assert not files["out"].exists()


@pytest.mark.parametrize("stage", COMMANDS)
def test_whole_files_are_read(stage: str, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    run(COMMANDS[stage], files, monkeypatch)
    assert files["out"].exists()


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize(("stage", "name"), CASES)
def test_a_damaged_table(stage, name, damage, files, monkeypatch) -> None:
    damage(files[name])
    refused_with_its_command(COMMANDS[stage], files, name, monkeypatch)


@pytest.mark.parametrize(
    ("stage", "name"),
    [("layers", "activations"), ("neurons", "awareness"), ("masks", "neurons"), ("masks", "layers")],
)
def test_a_lost_row(stage, name, files, monkeypatch) -> None:
    rows_lost(files[name])
    refused_with_its_command(COMMANDS[stage], files, name, monkeypatch)


def test_a_missing_table_has_the_command_that_makes_it(files, monkeypatch) -> None:
    files["activations"].unlink()
    with pytest.raises(UserError, match=f"`snakemake --cores 1 -- {files['activations']}`"):
        run(COMMANDS["layers"], files, monkeypatch)


def test_a_table_of_the_users_own_is_not_to_be_removed(files, tmp_path) -> None:
    mine = shutil.copy(files["masks"], tmp_path / "mine.parquet")
    cut(Path(mine))
    with pytest.raises(UserError, match=r"mine\.parquet") as told:
        tables.read(mine, "masks")
    assert "rm " not in str(told.value)


# ------------------------------------------------------------ a full disk

SIZE = 20_000  # bytes that a file may have


def write_parquet(path: Path) -> None:
    table = pd.DataFrame({"text": [os.urandom(8).hex() for _ in range(5000)], "origin": "o", "line": 1})
    write_table(path, "text", table)


def write_chunks(path: Path) -> None:
    tables.write_rows(path, ((os.urandom(8).hex(), "o", number) for number in range(30_000)), "text")


def write_plain(path: Path) -> None:
    write_json(path, ["x" * 100] * 1000)


def write_by_hand(path: Path) -> None:
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        stream.writelines("line\n" for _ in range(50_000))


def write_folder(path: Path) -> None:
    with whole_folder(path) as folder:
        (folder / "new").write_bytes(bytes(50_000))


WRITERS = [write_parquet, write_chunks, write_plain, write_by_hand, write_folder]


def limited(write: Callable[[Path], None], path: Path) -> tuple[str, str]:
    """Write in another process, where no file may be larger than SIZE. Returns the name and message of the error."""

    def child(pipe) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE, SIZE))
        try:
            write(path)
        except Exception as error:
            pipe.send((type(error).__name__, str(error)))
        else:
            pipe.send(("nothing", ""))

    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    process = fork.Process(target=child, args=(there,))
    process.start()
    there.close()
    said = here.recv()
    process.join()
    return said


@pytest.mark.parametrize("old", [False, True], ids=["new", "replaced"])
@pytest.mark.parametrize("write", WRITERS)
def test_a_full_disk_leaves_whole_files(write, old, tmp_path) -> None:
    path = tmp_path / "made"
    if old and write is write_folder:
        with whole_folder(path) as folder:
            (folder / "old").write_text("old")
    elif old:
        path.write_text("old")
    kind, message = limited(write, path)
    assert kind == "UserError", message
    assert str(path) in message
    assert [item.name for item in tmp_path.iterdir()] == (["made"] if old else [])
    if old:
        assert (path / "old" if path.is_dir() else path).read_text() == "old"
