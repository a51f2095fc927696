"""Files of data sets in the hub's layout, as `datasets` finds them."""

import datasets
import pytest

from lander.data.layout import configurations, select
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


def test_the_card_says_it():
    assert configurations(FILES, CARD) == ["de-en", "all", "en-it"]
    assert select("x", FILES, CARD, "de-en", "test") == ["de-en/test-00000-of-00001.parquet"]
    assert select("x", FILES, CARD, "all", "train") == sorted(OPUS)
    assert select("x", FILES, CARD, "en-it", "train") == ["en-it/train-00000-of-00001.parquet"]


@pytest.mark.parametrize(
    "card", ["", "no front matter", "---\n[broken", "---\nlicense: mit\n---\n", "---\nconfigs: 3\n---\n"]
)
def test_without_a_card_a_configuration_is_a_folder(card):
    assert configurations(FILES, card) == ["de-en", "en-it"]
    assert select("x", FILES, card, "de-en", "train") == ["de-en/train-00000-of-00001.parquet"]


@pytest.mark.parametrize(
    ("files", "split", "expected"),
    [
        (["a.csv", "b.csv"], "train", ["a.csv", "b.csv"]),
        (["train.jsonl", "dev.jsonl"], "validation", ["dev.jsonl"]),
        (["data/training.csv.gz", "data/latest.csv.gz"], "train", ["data/training.csv.gz"]),
        (["test/a.json", "train/a.json", "config.json"], "test", ["test/a.json"]),
        (["x-extra.tsv", "x-train.tsv"], "extra", ["x-extra.tsv"]),
    ],
)
def test_splits_by_name(files, split, expected):
    assert select("x", files, "", None, split) == expected


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
        select("x", files, "", None, "test")


def test_datasets_finds_the_same(tmp_path):
    for name in OPUS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "README.md").write_text(CARD)
    for config in ("de-en", "all", "en-it"):
        builder = datasets.load_dataset_builder(str(tmp_path), config)
        for split, paths in builder.config.data_files.items():
            found = sorted(str(path).removeprefix(f"{tmp_path}/") for path in paths)
            assert select("x", FILES, CARD, config, str(split)) == found
