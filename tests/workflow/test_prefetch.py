"""Prefetch, with a hub that is a folder: what is fetched, what is said, and that a run can then read it offline."""

import json
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sacrebleu.utils
import toys
import yaml
from huggingface_hub._tree_cache import TreeCacheEntry, write_tree_cache
from sacrebleu.tokenizers import tokenizer_spm

from lander import cli
from lander.config import config
from lander.data import testsets
from lander.data.reading import read
from lander.data.sources import Source
from lander.evaluate import neural
from lander.models import loading
from lander.shared.errors import UserError
from lander.shared.files import shipped, write_json
from lander.workflow import Plan, prefetch

COMMIT = "0123456789abcdef"
CARD = """---
configs:
- config_name: de-en
  data_files: [{split: train, path: de-en/train-*}, {split: test, path: de-en/test-*}]
- config_name: en-it
  data_files: [{split: train, path: en-it/train-*}, {split: test, path: en-it/test-*}]
---
"""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder of repositories in place of the hub, and empty caches."""
    remote, cache = tmp_path / "remote", tmp_path / "home" / "hub"
    fetched: list[str] = []

    def list_files(repository, kind, revision):
        folder = remote / kind / repository
        if not folder.is_dir():
            raise OSError(f"404 for {repository}\nwith hf_abcDEF123 as token")
        files = [path for path in folder.rglob("*") if path.is_file()]
        return COMMIT, {str(path.relative_to(folder)): path.stat().st_size for path in files}

    def fetch_files(repository, kind, revision, names):
        entry = cache / f"{kind}s--{repository.replace('/', '--')}"
        snapshot = entry / "snapshots" / COMMIT
        for name in names:
            (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(remote / kind / repository / name, snapshot / name)
            fetched.append(f"{repository}/{name}")
        (entry / "refs").mkdir(exist_ok=True)
        (entry / "refs" / "main").write_text(COMMIT)
        whole = list_files(repository, kind, revision)[1]  # the hub's cache also has a list of the whole repository
        write_tree_cache(str(entry), COMMIT, {name: TreeCacheEntry(size=1, blob_id="0" * 40) for name in whole})
        return snapshot

    def download(name, langpair):
        folder = tmp_path / "sacrebleu" / name
        folder.mkdir(parents=True, exist_ok=True)
        for end in ("src", "ref"):
            (folder / f"{name}.{langpair}.{end}").write_text("x\n")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("SACREBLEU", str(tmp_path / "sacrebleu"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(prefetch, "list_files", list_files)
    monkeypatch.setattr(prefetch, "fetch_files", fetch_files)
    monkeypatch.setattr(testsets, "_download", download)
    network, tokenizer = toys.bloom(2, vocabulary=300), toys.bloom_tokenizer()
    network.save_pretrained(remote / "model" / "big" / "base")
    tokenizer.save_pretrained(remote / "model" / "big" / "base")
    others = ("modeling.py", "pytorch_model.bin", "tf_model.h5", "onnx/model.safetensors", "README.md")
    texts = {"hparams.yaml": "optimizer: AdamW\npretrained_model: xlm-large\n", "checkpoints/model.ckpt": "weights"}
    encoder = dict.fromkeys(("config.json", "tokenizer.json", "sentencepiece.bpe.model", "model.safetensors"), "{}")
    for name, files in (("big/base", dict.fromkeys(others, "x")), ("best/comet", texts), ("xlm-large", encoder)):
        for file, text in files.items():
            path = remote / "model" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    opus = remote / "dataset" / "big" / "opus"
    for pair in ("de-en", "en-it"):
        one, other = pair.split("-")
        for split in ("train", "test"):
            (opus / pair).mkdir(parents=True, exist_ok=True)
            rows = [{"translation": {one: f"{one} {split} {n}", other: f"{other} {split} {n}"}} for n in range(3)]
            pq.write_table(pa.Table.from_pylist(rows), opus / pair / f"{split}-00000-of-00001.parquet")
    (opus / "README.md").write_text(CARD)
    return fetched


def configured(tmp_path, **changes):
    both = ["en-de", "de-en"]
    raw = {
        "run": "far",
        "languages": ["en", "de"],
        "directions": both,
        "layers": {"k": 1},
        "model": {"path": "big/base"},
        "data": {
            "train": [{"hf": "big/opus", "config": "de-en", "split": "train"}],
            "dev": [{"hf": "big/opus", "split": "test", "directions": both}],
            "test": [{"name": "wmt16", "sacrebleu": "wmt16", "directions": both}],
            "exclude": [],
        },
    }
    path = tmp_path / "far.yaml"
    path.write_text(yaml.safe_dump(config.merge(raw, changes)))
    return path


def fetch(path, *flags):
    cli.main(["prefetch", "--configfile", str(path), *flags])


def test_what_is_fetched_and_that_it_can_be_read_offline(tmp_path, hub, monkeypatch, capsys):
    path = configured(tmp_path)
    fetch(path)
    told = capsys.readouterr().out
    assert sorted(set(hub)) == [
        "big/base/config.json",
        "big/base/generation_config.json",
        "big/base/model.safetensors",
        "big/base/tokenizer.json",
        "big/base/tokenizer_config.json",
        "big/opus/README.md",
        "big/opus/de-en/test-00000-of-00001.parquet",
        "big/opus/de-en/train-00000-of-00001.parquet",
    ]
    assert f"model     big/base at {COMMIT[:12]}" in told
    assert "big/opus de-en train" in told
    assert "sacrebleu wmt16 de-en" in told
    assert f"HF_HUB_OFFLINE=1 snakemake --cores 2 --configfile {path}" in told
    assert f"HF_HOME={tmp_path}/home" in told
    assert f"SACREBLEU={tmp_path}/sacrebleu" in told

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    data = config.read(path).data
    assert next(read(data.train[0], ("de", "en"))) == (0, ("de train 0", "en train 0"))
    assert [texts for _, texts in read(data.dev[0], ("en", "de"))][2] == ("en test 2", "de test 2")
    assert list(read(data.test[0], ("en", "de"))) == [(0, ("x", "x"))]
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # the variable, read when it was imported
    remote = str(tmp_path / "remote" / "model" / "big" / "base")
    _, codec = loading.load("big/base")
    assert codec.prompt("a") == loading.load_codec(remote).prompt("a")
    assert loading.digest("big/base") == loading.digest(remote)


def test_a_dry_run_fetches_no_data(tmp_path, hub, capsys):
    fetch(configured(tmp_path), "--dry-run")
    assert set(hub) == {"big/base/config.json", "big/opus/README.md"}
    assert not (tmp_path / "sacrebleu").exists()
    assert "run without --dry-run to fetch" in capsys.readouterr().out


def test_a_local_config_needs_nothing(tmp_path, hub, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # as the workflow sets it then
    effective = json.dumps(config.effective(config.read()))
    prefetch.main(["--effective", effective])
    assert capsys.readouterr().out.startswith("Nothing is needed from the network")
    assert not hub


DEMO = yaml.safe_load(shipped("config.yaml").read_text(encoding="utf-8"))
TOKENIZER = ["xlm-large/config.json", "xlm-large/sentencepiece.bpe.model", "xlm-large/tokenizer.json"]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Environments that were made, in a working directory of its own."""
    folders: list[Path] = []

    def make(folder):
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "comet-score").write_text("12345")
        folders.append(folder)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(neural, "make_environment", make)
    return folders


def scored(tmp_path, **metric):
    """A config that needs the network for a neural metric alone."""
    path = tmp_path / "scored.yaml"
    path.write_text(yaml.safe_dump({**DEMO, "run": "scored", "evaluate": {"neural": [{"name": "comet", **metric}]}}))
    return path


def test_comet_is_fetched_with_its_encoders_tokenizer_and_installed_once(tmp_path, hub, installed, capsys):
    fetch(scored(tmp_path, model="best/comet", command=["true"]))  # another metric: its model is fetched whole
    assert sorted(hub) == ["best/comet/checkpoints/model.ckpt", "best/comet/hparams.yaml"]
    assert not installed
    hub.clear()
    path = scored(tmp_path, model="best/comet")
    fetch(path, "--dry-run")
    assert hub == ["best/comet/hparams.yaml"]
    assert not installed
    assert "?  results/.environments/comet" in capsys.readouterr().out
    for _ in range(2):
        fetch(path)
    assert sorted(set(hub)) == ["best/comet/checkpoints/model.ckpt", "best/comet/hparams.yaml", *TOKENIZER]
    assert installed == [Path("results/.environments/comet")]
    assert "5 B  results/.environments/comet" in capsys.readouterr().out


def test_the_encoder_of_a_local_checkpoint_is_fetched_unless_it_is_there(tmp_path, hub, installed, monkeypatch):
    shutil.copytree(tmp_path / "remote" / "model" / "best" / "comet", tmp_path / "mine")
    path = scored(tmp_path, model="mine/checkpoints/model.ckpt")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "xlm-large: HF_HUB_OFFLINE is set" in complaint(path)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    fetch(path)
    assert sorted(hub) == TOKENIZER
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fetch(path)


def test_the_pieces_of_spbleu_are_fetched_once_and_missed_before_a_run(tmp_path, monkeypatch, capsys):
    path = tmp_path / "spbleu.yaml"
    path.write_text(yaml.safe_dump({**DEMO, "run": "pieces", "evaluate": {"metrics": ["spbleu"]}}))
    monkeypatch.setattr(tokenizer_spm, "SACREBLEU_DIR", str(tmp_path / "cache"))
    fetched = []

    def download_file(url, place):
        fetched.append(url)
        if len(fetched) == 1:
            Path(place).write_bytes(b"half")
            raise OSError("connection\nreset")
        Path(place).write_bytes(b"pieces")

    monkeypatch.setattr(sacrebleu.utils, "download_file", download_file)
    with pytest.raises(UserError, match=r"metric spbleu: .*flores200sacrebleuspm"):
        Plan(config.read(path))
    assert "flores200sacrebleuspm cannot be fetched (connection reset)" in complaint(path)
    assert not list((tmp_path / "cache" / "models").iterdir())
    for _ in range(2):
        fetch(path)
    assert len(fetched) == 2
    assert "6 B  " in capsys.readouterr().out
    assert Plan(config.read(path)).settings.evaluate.metrics == ("spbleu",)


def test_an_environment_that_cannot_be_made(tmp_path, monkeypatch):
    called = []

    def pip_fails(command, **_):
        called.append(command)
        return subprocess.CompletedProcess(command, returncode=len(called) - 1)

    monkeypatch.setattr(subprocess, "run", pip_fails)
    with pytest.raises(UserError, match="x: COMET cannot be installed there"):
        prefetch.main(["--environment", "x"])
    assert called[0][1:] == ["-m", "venv", "--clear", Path("x")]
    assert called[1][0] == Path("x/bin/python")
    assert "unbabel-comet" in Path(called[1][-1]).read_text()


def complaint(path) -> str:
    with pytest.raises(UserError) as error:
        prefetch.prefetch(config.read(path))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_goes_wrong_is_one_line(tmp_path, hub, monkeypatch):
    assert complaint(configured(tmp_path, model={"path": "big/none"})) == (
        "big/none: cannot be fetched from the hub (404 for big/none with hf_... as token)"
    )
    for source, message in (
        ({"config": "de-en", "split": "dev"}, "big/opus: no file of the split 'dev' of de-en"),
        ({"config": "de-fr", "directions": ["en-de", "de-en"]}, "no config 'de-fr'; there are: de-en, en-it"),
    ):
        assert message in complaint(configured(tmp_path, data={"dev": [{"hf": "big/opus", **source}]}))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set; unset it" in complaint(configured(tmp_path))


def test_a_full_disk_is_said_before_the_download(tmp_path, hub, monkeypatch):
    monkeypatch.setattr(prefetch.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 0))
    assert "has 0 B free; make room, or set HF_HOME" in complaint(configured(tmp_path))
    assert hub == ["big/base/config.json"]


def test_offline_without_prefetch(tmp_path, hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"big/opus: HF_HUB_OFFLINE is set and it is not in the cache .*`lander pre"):
        next(read(Source(hf="big/opus", config="de-en"), ("de", "en")))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    prefetch.fetch_files("big/opus", "dataset", None, ["README.md", "de-en/test-00000-of-00001.parquet"])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="no file of the split 'train'"):
        next(read(Source(hf="big/opus", config="de-en"), ("de", "en")))


def test_weights_of_a_model(tmp_path):
    """Those that transformers reads: shards by the names that their index gives."""
    shards = ["model-00001-of-00002.safetensors", "odd.safetensors"]
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": dict(zip("ab", shards, strict=True))})
    write_json(tmp_path / "config.json", {"model_type": "llama"})
    others = ["consolidated.safetensors", "pytorch_model.bin", "x.py", "original/model.safetensors"]
    wanted = ["config.json", "model.safetensors.index.json", *shards]
    assert prefetch.model_files("x", [*others, *wanted], tmp_path.joinpath) == wanted
    plain = ["config.json", "pytorch_model.bin"]
    assert prefetch.model_files("x", [*plain, "flax_model.msgpack"], tmp_path.joinpath) == plain
    for files, match in ((["config.json"], "has no weights"), (["a.gguf"], "lander convert a.gguf")):
        with pytest.raises(UserError, match=rf"model\.path: x: .*{match}"):
            prefetch.model_files("x", files, tmp_path.joinpath)
    write_json(tmp_path / "config.json", {"model_type": "mixtral"})
    with pytest.raises(UserError, match=r"config\.json: models of type 'mixtral'"):
        prefetch.model_files("x", wanted, tmp_path.joinpath)


def test_only_the_named_files_are_asked_for(monkeypatch):
    asked = {}
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda _name, **options: asked.update(options) or "x")
    prefetch.fetch_files("a/b", "model", None, ["a[1]*.json"])
    [pattern] = asked["allow_patterns"]
    assert fnmatch("a[1]*.json", pattern)
    assert not fnmatch("a1.json", pattern)
