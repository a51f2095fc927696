"""A finetune on a hub id whose files are in the cache, without a network: trained, exported, loaded elsewhere."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
import toys
from test_run import said
from trainings import pairs

import lander
from lander.shared import tables
from lander.shared.files import read_json

COMMIT = "0123456789abcdef0123456789abcdef01234567"

pytestmark = pytest.mark.workflow


def run(folder: Path, *arguments: str) -> None:
    """Run Python in a folder that has the cache, offline."""
    environment = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder / "cache")}
    said(args=[sys.executable, *arguments], cwd=folder, env=os.environ | environment)


def test_a_model_trained_on_a_hub_id_is_exported_and_runs_on_a_copy_of_the_base(tmp_path: Path) -> None:
    entry = tmp_path / "cache" / "models--big--base"
    snapshot = entry / "snapshots" / COMMIT
    toys.bloom(3, vocabulary=300).save_pretrained(snapshot)
    toys.bloom_tokenizer().save_pretrained(snapshot)
    (entry / "refs").mkdir()
    (entry / "refs" / "main").write_text(COMMIT)
    tables.write(tmp_path / "en-de.parquet", pairs("en-de"), "train")
    flags = ["--method", "lora", "--lora-rank", "2", "--model", "big/base", "--train", "en-de.parquet"]
    flags += ["--directions", "en-de", "--languages", json.dumps({"en": "English", "de": "German"}), "--steps", "2"]
    run(tmp_path, "-m", "lander.finetune", *flags, "--learning-rate", "0.1", "--out", "trained")
    run(tmp_path, "-m", "lander.cli", "export", "trained", "--direction", "en-de", "--out", "plain")
    base = read_json(tmp_path / "trained" / "lander.json")["base"]
    assert base["path"] == "big/base"
    assert base["digest"].startswith("sha256:")
    ids, mask = toys.ids(), torch.ones_like(toys.ids())
    loaded = lander.load(str(tmp_path / "trained"), base=str(snapshot)).logits(ids, mask, "en-de")
    plain = lander.load(str(tmp_path / "plain")).logits(ids, mask, None)
    torch.testing.assert_close(plain, loaded, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(loaded, lander.load(str(snapshot)).logits(ids, mask, None), atol=1e-2)
