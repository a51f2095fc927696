"""Files of data sets in the hub's layout, as `datasets` finds them."""

import datasets
import pytest

from lander.data.hub import files_of
from lander.data.sources import Source
from lander.shared.errors import UserError

CARD = """---
configs:
- config_name: de-en
  data_files: [{split: train, path: de-en/train-*}, {split: test, path: [de-en/test-*]}]
- config_name: all
  data_files: "**/*.parquet"
- config_name: en-it
  data_dir: en-it
---
# text
"""
OPUS = [f"{config}/{split}-00000-of-00001.parquet" for config in ("de-en", "en-it") for split in ("train", "test")]
FILES = [*OPUS, "README.md", ".gitattributes", "dataset_infos.json", "opus.py"]


def select(files, card, config=None, split="train"):
    return files_of(Source(hf="x/y", config=config, split=split), ("de", "en"), files, card)


def test_the_card_says_it():
    assert select(FILES, CARD, split="test") == ["de-en/test-00000-of-00001.parquet"]
    assert select(FILES, CARD, "all") == sorted(OPUS)
    assert select(FILES, CARD, "it-en") == ["en-it/train-00000-of-00001.parquet"]
    with pytest.raises(UserError, match="no config 'en-fr'; there are: de-en, all, en-it"):
        select(FILES, CARD, "en-fr")


@pytest.mark.parametrize(
    "card", ["", "no front matter", "---\n[broken", "---\nlicense: mit\n---\n", "---\nconfigs: 3\n---\n"]
)
def test_without_a_card_a_configuration_is_a_folder(card):
    assert select(FILES, card) == ["de-en/train-00000-of-00001.parquet"]


@pytest.mark.parametrize(
    ("files", "split", "expected"),
    [
        (["a.csv", "b.csv"], "train", ["a.csv", "b.csv"]),
        (["train.jsonl", "dev.jsonl"], "validation", ["dev.jsonl"]),
        (["data/training.csv.gz", "data/latest.csv.gz"], "train", ["data/training.csv.gz"]),
        (["test/a.json", "train/a.json", "config.json"], "test", ["test/a.json"]),
        (["x-extra_2.tsv", "x-train.tsv"], "extra_2", ["x-extra_2.tsv"]),
    ],
)
def test_splits_by_name(files, split, expected):
    assert select(files, "", split=split) == expected


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (["train.csv"], "no file of the split 'test'"),
        (["a.txt"], "no file of the split"),
        (["test.csv", "test.json"], "files of several kinds"),
        (["test-00000-of-00003.parquet", "test-00002-of-00003.parquet"], "2 of its 3 parts are there"),
    ],
)
def test_what_cannot_be_read(files, reason):
    with pytest.raises(UserError, match=reason):
        select(files, "", split="test")


def test_datasets_finds_the_same(tmp_path):
    for name in OPUS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "README.md").write_text(CARD)
    for config in ("de-en", "all", "en-it"):
        builder = datasets.load_dataset_builder(str(tmp_path), config)
        for split, paths in builder.config.data_files.items():
            found = sorted(str(path).removeprefix(f"{tmp_path}/") for path in paths)
            assert select(FILES, CARD, config, str(split)) == found
