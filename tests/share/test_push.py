"""Uploads: what others get is whole and true for them, and holds nothing of this machine."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
import toys
import trained
from huggingface_hub import ModelCard
from huggingface_hub.errors import LocalTokenNotFoundError
from peft import PeftModel
from transformers import AutoModelForCausalLM

import lander
from lander import cli
from lander.models import loading, plain
from lander.models.plain import hub_id


class Hub:
    """Stands in for the hub: keeps what is uploaded."""

    def __init__(self, folder: Path, error: Exception | None = None):
        self.folder, self.error, self.made = folder, error, []

    def __call__(self, **_options: str) -> "Hub":
        return self

    def create_repo(self, name: str, **options: bool) -> None:
        if self.error:
            raise self.error
        self.made.append((name, options))

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> str:
        shutil.copytree(folder_path, self.folder)
        return f"https://hub/{repo_id}"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub(tmp_path / "uploaded")
    monkeypatch.setattr(huggingface_hub, "HfApi", made)
    return made


def with_base(path: Path, base: str) -> None:
    """Let a trained model say another place of its base."""
    manifest = json.loads((path / "lander.json").read_text())
    manifest["base"]["path"] = base
    (path / "lander.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("method", ["lora", "landermt", "full"])
def test_others_get_what_was_trained(method: str, tmp_path: Path, hub: Hub, capsys: pytest.CaptureFixture) -> None:
    made = trained.make(tmp_path, method)
    (made.path / "run.json").write_text("{}")
    (made.path / "loss.csv").write_text("private")
    with_base(made.path, "/home/me/.cache/hub/models--owner--base/snapshots/0123abc")
    cli.main(["push", str(made.path), "--to", "me/mine", "--private"])
    assert hub.made == [("me/mine", {"private": True, "exist_ok": True})]
    assert capsys.readouterr().out.startswith("https://hub/me/mine\nme/mine:\n")
    there = {str(file.relative_to(hub.folder)) for file in hub.folder.rglob("*") if file.is_file()}
    assert {"README.md", "lander.json", "tokenizer.json"} <= there
    assert not there & {"run.json", "loss.csv"}
    texts = "".join((hub.folder / name).read_text() for name in there if name.endswith((".json", ".md")))
    assert not [word for word in ("/home/me", str(tmp_path), "private") if word in texts]
    card = ModelCard.load(hub.folder / "README.md")
    assert (card.data.base_model, card.data.library_name) == ("owner/base", "peft" if method == "lora" else "lander")
    assert "'me/mine'" in card.text
    model = lander.load(str(hub.folder), base=str(made.base))  # on another machine, where the base is elsewhere
    logits = model.logits(toys.ids(), torch.ones_like(toys.ids()), "en-de")
    torch.testing.assert_close(logits, made.logits("en-de"), rtol=1e-5, atol=1e-4)


def test_a_lora_is_one_for_peft_alone(tmp_path: Path, hub: Hub) -> None:
    made = trained.make(tmp_path, "lora")
    with_base(made.path, "owner/base")
    cli.main(["push", str(made.path), "--to", "me/mine"])
    config = json.loads((hub.folder / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("owner/base", None)
    network = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(made.base), hub.folder)
    with torch.inference_mode():
        torch.testing.assert_close(network(toys.ids()).logits, made.logits(None), rtol=1e-5, atol=1e-4)


def test_an_exported_folder_gets_its_new_name(tmp_path: Path, hub: Hub, capsys: pytest.CaptureFixture) -> None:
    made = trained.make(tmp_path, "landermt")
    cli.main(["export", str(made.path), "--all", "--out", str(tmp_path / "out")])
    (tmp_path / "out/en-de/notes.log").write_text("private")
    cli.main(["push", str(tmp_path / "out/en-de"), "--to", "me/mine", "--dry-run"])
    shown = capsys.readouterr().out
    assert not hub.made
    assert "model.safetensors.index.json" in shown
    assert "from_pretrained('me/mine')" in shown
    assert "notes.log" not in shown
    with pytest.raises(SystemExit):
        cli.main(["push", str(tmp_path / "out"), "--to", "me/mine", "--dry-run"])
    assert "name one of its folders, as" in capsys.readouterr().err


def test_what_is_not_uploaded(tmp_path: Path, hub: Hub, capsys: pytest.CaptureFixture) -> None:
    made = trained.make(tmp_path, "lora")
    hub.error = LocalTokenNotFoundError("no token")
    for flags, message in (
        ([str(made.path), "--to", "mine"], "--to: mine: a model on the hub is called owner/name"),
        ([str(made.base), "--to", "me/mine"], "`lander export` writes one"),
        ([str(tmp_path / "nothing"), "--to", "me/mine"], "`lander export` writes one"),
        ([str(made.path), "--to", "me/mine"], "log in with `hf auth login`"),
    ):
        with pytest.raises(SystemExit):
            cli.main(["push", *flags])
        assert message in capsys.readouterr().err
    assert not hub.folder.exists()


def test_the_id_of_a_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub_id("owner/name") == ("owner/name", None)
    assert hub_id("/cache/models--owner--a--b/snapshots/abc") == ("owner/a--b", "abc")
    assert hub_id("lander-tiny") == (None, None)
    monkeypatch.chdir(tmp_path)
    Path("owner/name").mkdir(parents=True)
    assert hub_id("owner/name") == (None, None)  # a folder here


def test_plain_folders_are_for_transformers_4_too(tmp_path: Path) -> None:
    """It has its own keys for positions, and takes its defaults without a word where it does not find them."""
    rope = {"rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0}
    network = toys.build(
        "gemma3_text", rope_parameters={"full_attention": rope, "sliding_attention": {"rope_theta": 7.0}}
    )
    plain.save(network, toys.bloom_tokenizer(), tmp_path / "gemma")
    config = json.loads((tmp_path / "gemma/config.json").read_text())
    keys = ("rope_theta", "rope_local_base_freq", "rope_scaling")
    assert [config[key] for key in keys] == [5000.0, 7.0, {"rope_type": "linear", "factor": 2.0}]
    plain.save(toys.build("gpt_neox"), toys.bloom_tokenizer(), tmp_path / "neox")
    config = json.loads((tmp_path / "neox/config.json").read_text())
    assert (config["rotary_emb_base"], config["rotary_pct"]) == (10000, 0.25)
    for name in ("gemma", "neox"):
        tokenizer = json.loads((tmp_path / name / "tokenizer_config.json").read_text())
        assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    again = loading.load_model(str(tmp_path / "gemma"), dtype="float32")
    torch.testing.assert_close(again(toys.ids()).logits, network(toys.ids()).logits)
