"""A base on the hub, in a cache that holds it, without a network: its digest, and trained models that stand on it."""

import shutil
from pathlib import Path

import huggingface_hub
import peft
import pytest
import torch
import toys
import trained
from huggingface_hub.utils import OfflineModeIsEnabled

import lander
from lander.finetune import delta, saved
from lander.models import loading
from lander.share import export
from lander.shared.errors import UserError
from lander.shared.files import read_json, sha256, write_json

COMMIT, NEXT = "0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef"
NAME = "big/base"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder of a model, which has no snapshot yet; whatever asks the hub is told that it is offline."""

    def refused(*_args: object, **_kwargs: object) -> None:
        raise OfflineModeIsEnabled("offline")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", refused)
    folder = tmp_path / "cache" / "models--big--base"
    (folder / "refs").mkdir(parents=True)
    return folder


def put(base: Path, cache: Path, commit: str = COMMIT) -> Path:
    """Put a model into the cache, as the latest commit."""
    (cache / "refs" / "main").write_text(commit)
    return shutil.copytree(base, cache / "snapshots" / commit)


def test_a_snapshot_has_the_digest_of_a_copy(tmp_path: Path, cache: Path) -> None:
    folder = trained.base(tmp_path / "base")
    put(folder, cache)
    expected = "sha256:" + sha256(folder / "config.json", folder / "model.safetensors")
    (folder / "pytorch_model.bin").write_text("the same weights in another format, which nobody reads")
    assert [loading.digest(NAME), loading.digest(NAME, COMMIT), loading.digest(str(folder))] == [expected] * 3
    assert loading.place(NAME) == {"path": NAME, "revision": COMMIT}
    assert loading.place(str(folder)) == {"path": str(folder), "revision": None}


def test_an_adapter_names_the_id_of_its_base(tmp_path: Path, cache: Path) -> None:
    put(trained.base(tmp_path / "base"), cache)
    network = peft.get_peft_model(loading.load_model(NAME), peft.LoraConfig(target_modules=["query_key_value"]))
    assert network.peft_config["default"].base_model_name_or_path == NAME


def test_a_model_trained_on_a_hub_id(tmp_path: Path, cache: Path) -> None:
    """It is loaded, exported and sent, with its base in the cache, in a folder, and where the hub has a newer one."""
    made = trained.make(tmp_path, "landermt")
    snapshot = put(made.base, cache)
    manifest = {key: value for key, value in read_json(made.path / "lander.json").items() if key != "base"}
    write_json(made.path / "lander.json", manifest | {"base": loading.place(NAME) | {"digest": loading.digest(NAME)}})
    moved = made.base.rename(tmp_path / "moved")
    newer = put(moved, cache, NEXT)
    (newer / "model.safetensors").write_bytes(b"other weights")
    delta.write(made.path, tmp_path / "d.safetensors", {})
    delta.apply(tmp_path / "d.safetensors", tmp_path / "again")
    assert saved.Trained(tmp_path / "again").manifest["base"]["revision"] == COMMIT == snapshot.name
    export.export(made.path, "en-de", tmp_path / "plain")
    mask, expected = torch.ones_like(toys.ids()), made.logits("en-de")
    for path, base in ((made.path, None), (made.path, moved), (tmp_path / "d.safetensors", moved)):
        loaded = lander.load(str(path), base=str(base) if base else None)
        assert torch.equal(loaded.logits(toys.ids(), mask, "en-de"), expected)
    plain = lander.load(str(tmp_path / "plain")).logits(toys.ids(), mask, None)
    torch.testing.assert_close(plain, expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(UserError, match="not the base that"):
        saved.check_base(made.path, saved.Trained(made.path).manifest, str(newer))


def test_a_base_is_loaded_in_a_revision_and_with_a_prompt(tmp_path: Path, cache: Path) -> None:
    """Two commits of a base with a chat template, which list other end tokens."""
    folder = trained.base(tmp_path / "base", tokenizer=toys.chat_tokenizer("qwen"))
    for commit, end in ((COMMIT, 50), (NEXT, 60)):
        write_json(folder / "generation_config.json", {"eos_token_id": [0, end], "repetition_penalty": 1.3})
        put(folder, cache, commit)
    assert lander.load(NAME).codec.ends == [0, 60, 2]  # of the tokenizer, the newest commit, the config
    assert lander.load(NAME).codec.style == "plain"
    old = lander.load(NAME, revision=COMMIT, prompt="chat").codec
    assert (old.style, old.ends) == ("chat", [2, 0, 50])


def test_what_a_trained_model_knows_itself_is_not_asked_for(tmp_path: Path) -> None:
    made = trained.make(tmp_path, "lora", chat=True)
    delta.write(made.path, tmp_path / "d.safetensors", {})
    for path in (made.path, tmp_path / "d.safetensors"):
        for prompt in (None, "chat", "auto"):
            assert lander.load(path, prompt=prompt).codec.style == "chat"
        with pytest.raises(UserError, match=r"^prompt: plain, but .* was trained with chat prompts; leave it out$"):
            lander.load(path, prompt="plain")
        with pytest.raises(UserError, match=r"^revision: main, but .* knows that of its base; leave it out$"):
            lander.load(path, revision="main")


def test_a_model_that_is_not_there(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(
        UserError, match=r"^model\.path: big/base: no such folder, and cannot be fetched from the hub \(.*\)$"
    ):
        loading.digest(NAME)
    (cache / "snapshots" / COMMIT).mkdir(parents=True)
    (cache / "refs" / "main").write_text(COMMIT)
    with pytest.raises(UserError, match=r"has no config\.json"):
        loading.digest(NAME)
