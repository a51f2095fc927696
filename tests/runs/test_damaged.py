"""A stage that reads a damaged file names the file and the command that makes it again.

Tables are cut, emptied, or have a changed byte, another column or type, or a score that is not a number. Also: the disk
is full while a file is written, and models are damaged.
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
import torch
import trained
from made import write_table

from lander.finetune import saved
from lander.models import loading
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
COMMANDS = {  # stage: the module that reads tables, and its command line
    "sample": 'lander.data.__main__ sample --direction en-de --clean {clean} --counts {counts} --origins ["text"] '
    "--max-pairs 2 --seed 0 --cleaning {{}} --out {out} --counts-out {out2}",
    "counts": "lander.data.__main__ counts --counts {counts} --out {out} --csv {out2}",
    "layers": "lander.detect.layers --activations {activations} --directions en-de --k 1 --out {out}",
    "neurons": "lander.detect.neurons --awareness {awareness} --awareness-languages en --layers {layers} "
    "--general-share 0.5 --out {out}",
    "masks": "lander.detect.masks --neurons {neurons} --layers {layers} --awareness {awareness} {awareness} "
    "--awareness-languages en de --directions en-de --out-dir {out}",
    "activations": "lander.detect.activations --model {base} --data {train} --direction en-de --languages {names} "
    "--out {out}",
    "awareness": "lander.detect.awareness --model {base} --language en --text {text} --out {out}",
    "translate": "lander.translate.__main__ --model {base} --languages {names} --template sentence "
    "--test t:en-de:{heldout} --out-dir {out}",
    "loss": "lander.translate.loss --model {base} --languages {names} --template sentence --dev en-de:{heldout} "
    "--text en:{text} --method zero-shot --out {out}",
}


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
    """Remove the last row. Only the tables in `WHOLE`, with a fixed number of rows, can show that."""
    table = pq.read_table(path)
    pq.write_table(table.slice(0, len(table) - 1), path)


DAMAGES: list[Callable[[Path], None]] = [cut, emptied, one_byte, other_column, other_type, no_number]
WHOLE = [("layers", "activations"), ("neurons", "awareness"), ("masks", "neurons"), ("masks", "layers")]
READ = [(stage, name) for stage, line in COMMANDS.items() for name in TABLES if f"{{{name}}}" in line]
CASES = [(*read, damage) for read in READ for damage in DAMAGES] + [(stage, name, rows_lost) for stage, name in WHOLE]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained.base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def files(base: Path, tmp_path: Path) -> dict[str, Path]:
    """What the command lines name, as the workflow would have made it; without seals, which would show any damage."""
    results = tmp_path / "results" / "r"
    for name, content in TABLES.items():
        write_table(results / f"{name}.parquet", name, content)
    shutil.rmtree(results / ".seals")
    made = {name: results / f"{name}.parquet" for name in TABLES}
    return made | {"base": base, "out": tmp_path / "out", "out2": tmp_path / "out2"}


def run(stage: str, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a stage in this process."""
    command = [part.format(**files, names=NAMES) for part in COMMANDS[stage].split()]
    monkeypatch.setattr(sys, "argv", command)
    importlib.import_module(command[0]).main()


@pytest.mark.parametrize("stage", COMMANDS)
def test_whole_files_are_read(stage: str, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    run(stage, files, monkeypatch)
    assert files["out"].exists()


@pytest.mark.parametrize(("stage", "name", "damage"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_a_damaged_table(stage, name, damage, files, monkeypatch) -> None:
    damage(files[name])
    with pytest.raises(UserError) as told:
        run(stage, files, monkeypatch)
    assert f"`rm {files[name]} && snakemake --cores 1 -- {files[name]}`" in str(told.value)
    assert not files["out"].exists()


def test_a_missing_table_has_the_command_that_makes_it(files, monkeypatch) -> None:
    files["activations"].unlink()
    with pytest.raises(UserError, match=f"`snakemake --cores 1 -- {files['activations']}`"):
        run("layers", files, monkeypatch)


def test_a_table_of_the_users_own_is_not_to_be_removed(files, tmp_path) -> None:
    mine = shutil.copy(files["masks"], tmp_path / "mine.parquet")
    cut(Path(mine))
    with pytest.raises(UserError, match=r"mine\.parquet") as told:
        tables.read(mine, "masks")
    assert "rm " not in str(told.value)


# ------------------------------------------------------------ models


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_mask(damage, files) -> None:
    folder = files["masks"].parent / "masks"
    folder.mkdir()
    mask = files["masks"].rename(folder / "en-de.parquet")
    damage(mask)
    with pytest.raises(UserError, match=rf"{mask}: .*snakemake --cores 1 -- {mask}"):
        saved.read_masks(folder, ["en-de"])


@pytest.mark.parametrize("damage", [cut, emptied])
@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_base(damage, file, base, tmp_path) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "results" / "r" / "pretrain"))
    damage(folder / file)
    with pytest.raises(UserError) as told:
        loading.load(str(folder), dtype="float32")
    assert str(folder) in str(told.value)
    no_model = file == "config.json" or (file, damage) == ("model.safetensors", emptied)  # not one that a run has made
    assert no_model or f"snakemake --cores 1 -- {folder}/lander.json" in str(told.value)


@pytest.mark.parametrize("damage", [cut, emptied, Path.unlink])
@pytest.mark.parametrize("file", ["lander.json", "trained.safetensors", "masks/en-de.parquet"])
def test_a_damaged_trained_model(damage, file, tmp_path) -> None:
    made = trained.make(tmp_path / "results" / "r", "landermt").path
    damage(made / file)
    with pytest.raises(UserError, match=f"{made}.*{file}"):
        saved.Trained(made)


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


def write_tensors(path: Path) -> None:
    saved.Named(path.name).save(path.parent, {"a": torch.zeros(50_000)}, {})


WRITERS = [write_parquet, write_chunks, write_plain, write_by_hand, write_folder, write_tensors]


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
