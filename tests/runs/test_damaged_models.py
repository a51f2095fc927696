"""As `test_damaged.py`, for the stages that load a model: the tables that they read, models, checkpoints."""

import shutil
from pathlib import Path

import pytest
import torch
import trained
from test_damaged import DAMAGES, cut, emptied, files, limited, refused_with_its_command, run  # noqa: F401 (a fixture)

from lander.finetune import saved
from lander.models import loading
from lander.shared.errors import UserError

pytestmark = pytest.mark.workflow

COMMANDS = {  # stage: what reads a table -> module, its command line, the tables that it names
    "activations": (
        "lander.detect.activations",
        "--model {base} --data {train} --direction en-de --languages {names} --out {out}",
        ["train"],
    ),
    "awareness": (
        "lander.detect.awareness",
        "--model {base} --language en --text {text} --out {out}",
        ["text"],
    ),
    "translate": (
        "lander.translate.__main__",
        "--model {base} --languages {names} --template sentence --test t:en-de:{heldout} --out-dir {out}",
        ["heldout"],
    ),
    "loss": (
        "lander.translate.loss",
        "--model {base} --languages {names} --template sentence --dev en-de:{heldout} --text en:{text} "
        "--method zero-shot --out {out}",
        ["heldout", "text"],
    ),
}
CASES = [(stage, name) for stage, (_, _, names) in COMMANDS.items() for name in names]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained.base(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("stage", COMMANDS)
def test_whole_files_are_read(stage, base, files, monkeypatch) -> None:  # noqa: F811
    run(COMMANDS[stage], files | {"base": base}, monkeypatch)
    assert files["out"].exists()


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize(("stage", "name"), CASES)
def test_a_damaged_table(stage, name, damage, base, files, monkeypatch) -> None:  # noqa: F811
    damage(files[name])
    refused_with_its_command(COMMANDS[stage], files | {"base": base}, name, monkeypatch)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_mask(damage, files) -> None:  # noqa: F811
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
    with pytest.raises(UserError, match=str(made / file)):
        saved.Trained(made)


def write_tensors(path: Path) -> None:
    saved.Named(path.name).save(path.parent, {"a": torch.zeros(50_000)}, {})


def test_a_full_disk_leaves_whole_models(tmp_path) -> None:
    kind, message = limited(write_tensors, tmp_path / "made.safetensors")
    assert kind == "UserError", message
    assert list(tmp_path.iterdir()) == []
