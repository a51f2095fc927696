"""Delta files: one file of what was trained equals the folder, bit for bit, on the right base only."""

import json
from pathlib import Path

import pytest
import torch
import toys
import trained
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import lander
from lander import cli
from lander.config.methods import TRAINED
from lander.finetune import delta, saved
from lander.models import loading
from lander.shared.errors import UserError

MASK = torch.ones_like(toys.ids())


def logits(path: Path, direction: str | None, base: Path | None = None) -> torch.Tensor:
    return lander.load(str(path), base=str(base) if base else None).logits(toys.ids(), MASK, direction)


@pytest.mark.parametrize("method", TRAINED)
def test_a_delta_equals_the_folder_bit_for_bit(method: str, tmp_path: Path) -> None:
    made = trained.make(tmp_path, method)
    expected = {direction: made.logits(direction) for direction in ("en-de", "en-fr", None)}
    delta.write(made.path, tmp_path / "d.safetensors", {})
    moved = made.base.rename(tmp_path / "moved")
    delta.apply(tmp_path / "d.safetensors", tmp_path / "again", str(moved))
    for path in (made.path, tmp_path / "d.safetensors", tmp_path / "again"):
        model = lander.load(str(path), base=str(moved))
        for direction, value in expected.items():
            assert torch.equal(model.logits(toys.ids(), MASK, direction), value), (path, direction)
    assert not torch.equal(expected["en-de"], logits(moved, None))
    for path in made.path.rglob("*.safetensors"):  # what is restored is what was there
        again = load_file(tmp_path / "again" / path.relative_to(made.path))
        assert all(torch.equal(again[name], value) for name, value in load_file(path).items())


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt_neox"])
def test_other_families_and_layers_of_some_directions(family: str, tmp_path: Path) -> None:
    made = trained.make(tmp_path, "landermt", family=family, partly=True)
    delta.write(made.path, tmp_path / "d.safetensors", {})
    for direction in (*trained.DIRECTIONS, None):
        assert torch.equal(logits(tmp_path / "d.safetensors", direction), made.logits(direction))


def test_a_delta_remembers_how_it_is_asked(tmp_path: Path) -> None:
    """The base's tokenizer does not know that the training was on turns of a chat."""
    made = trained.make(tmp_path, "lora", chat=True)
    delta.write(made.path, tmp_path / "d.safetensors", {})
    delta.apply(tmp_path / "d.safetensors", tmp_path / "again")
    assert loading.load_codec(str(made.base)).style == "plain"
    prompts = [lander.load(str(path)).codec.prompt("a") for path in (made.path, tmp_path / "d.safetensors")]
    assert prompts == [lander.load(str(tmp_path / "again")).codec.prompt("a")] * 2
    assert len(prompts[0]) > 3


def test_a_delta_holds_what_was_trained_and_nothing_else(tmp_path: Path) -> None:
    made = trained.make(tmp_path, "landermt")
    delta.write(made.path, tmp_path / "d.safetensors", {"seed": 3})
    weights = load_file(made.path / "trained.safetensors")
    with safe_open(tmp_path / "d.safetensors", "pt") as file:
        names = set(file.keys())
        metadata = file.metadata()
    assert names == {f"blocks/{name}" for name in weights} | {f"masks/{name}" for name in trained.DIRECTIONS}
    assert json.loads(metadata["provenance"]) == {"seed": 3}
    assert json.loads(metadata["manifest"])["base"]["digest"] == loading.digest(str(made.base))
    size = sum(value.nbytes for value in weights.values())
    masks = sum(path.stat().st_size for path in (made.path / "masks").iterdir())
    assert (tmp_path / "d.safetensors").stat().st_size < size + masks + 20_000  # names and metadata


def test_another_base_or_tokenizer_is_refused(tmp_path: Path) -> None:
    made = trained.make(tmp_path, "lora")
    delta.write(made.path, tmp_path / "d.safetensors", {})
    toys.bloom(3, width=32, vocabulary=300).save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match=r"other: not the base that .*d.safetensors was trained on"):
        logits(tmp_path / "d.safetensors", None, tmp_path / "other")
    with pytest.raises(UserError, match="not the base"):
        delta.apply(tmp_path / "d.safetensors", tmp_path / "again", str(tmp_path / "other"))
    assert not (tmp_path / "again").exists()
    toys.qwen_tokenizer().save_pretrained(made.base)
    with pytest.raises(UserError, match="not the tokenizer"):
        logits(tmp_path / "d.safetensors", None)
    made.base.rename(tmp_path / "gone")
    with pytest.raises(UserError, match=r"base: no such folder.* say where it is with --base"):
        logits(tmp_path / "d.safetensors", None)


def test_damaged_and_hostile_files_are_told_in_one_line(tmp_path: Path) -> None:
    made = trained.make(tmp_path, "landermt")
    file = tmp_path / "d.safetensors"
    delta.write(made.path, file, {})
    whole = file.read_bytes()
    tensors = {name: value.clone() for name, value in load_file(file).items()}  # the file itself will change
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()

    def told(message: str) -> None:
        with pytest.raises(UserError, match=message) as caught:
            lander.load(str(file))
        assert "\n" not in str(caught.value)

    for place in (len(whole) // 2, len(whole) - 1):  # a bit flips
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        told("damaged")
    for content in (b"", b"x", whole[:100], whole[:-1], b"\xff" * 64):
        file.write_bytes(content)
        told("not a readable safetensors file")
    save_file(tensors, file)
    told("not a delta file")
    manifest = json.loads(metadata["manifest"])
    for key, value in (("base", None), ("method", "prompt"), ("directions", 3), ("routing", {}), ("masked", [1])):
        trained.forge(file, metadata, manifest | {key: value}, tensors)
        told(key if key != "method" else "unknown")
    trained.forge(file, metadata, [], tensors)
    told("missing or wrong")
    trained.forge(file, metadata, manifest, tensors | {"masks/../../en-de": tensors["masks/en-de"].clone()})
    with pytest.raises(UserError, match="which the manifest does not name"):
        delta.apply(file, tmp_path / "again")
    assert not list(tmp_path.rglob("en-de.parquet"))[1:]
    file.unlink()
    told("no such file")


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    made = trained.make(tmp_path, "lora")
    (tmp_path / "d.safetensors").write_text("mine")
    for out, message in ((tmp_path / "d.safetensors", "exists"), (tmp_path / "d.bin", r"ends in \.safetensors")):
        with pytest.raises(UserError, match=message):
            delta.write(made.path, out, {})
    with pytest.raises(UserError, match="not a trained model's folder"):
        delta.write(made.base, tmp_path / "e.safetensors", {})
    assert (tmp_path / "d.safetensors").read_text() == "mine"


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    made = trained.make(tmp_path, "landermt")
    cli.main(["delta", "model", "--out", "-d ü.safetensors"])
    assert "its card, -d ü.md" in capsys.readouterr().out
    cli.main(["apply", "--base", str(made.base), "--out", "again", "--", "-d ü.safetensors"])
    cli.main(["export", "--direction", "en-de", "--out", "plain", "--", "-d ü.safetensors"])
    assert torch.allclose(logits(tmp_path / "plain", None), made.logits("en-de"), atol=1e-5)
    with pytest.raises(SystemExit):
        cli.main(["delta", "base", "--out", "e.safetensors"])
    assert "lander delta: error: base: not a trained model's folder" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["full", "landermt", "adapter", "lora"])
def test_a_training_that_is_not_finished_is_told_from_a_folder_that_is_no_model(method: str, tmp_path: Path) -> None:
    made = trained.make(tmp_path, method)
    for name in ("loss.csv", "run.json"):
        (made.path / name).write_text("{}")
    manifest = made.path / "lander.json"
    for content, message in (("[]", "lander.json: not a mapping"), (None, "model is not finished .*lander.json")):
        manifest.write_text(content) if content else manifest.unlink()
        for use in (lander.load, saved.Trained):
            with pytest.raises(UserError, match=message):
                use(made.path)
