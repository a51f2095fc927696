"""Outputs of other systems, read in place of decoding."""

import gzip

import pandas as pd
import pytest

from lander.evaluate import translations
from lander.shared import tables
from lander.shared.errors import UserError
from lander.translate import external


def test_lines_are_translations_of_the_test_items(tmp_path, monkeypatch):
    items = pd.DataFrame({"source": ["one", "two"], "target": ["eins", "zwei"], "origin": "news", "line": [0, 1]})
    table = tmp_path / "en-de.parquet"
    tables.write(table, items.assign(other_references=[["ein"], None]), "heldout")
    with gzip.open(tmp_path / "out.txt.gz", "wb") as file:
        file.write(b"eins \n\n")
    words = ["--test", f"news:en-de:{table}", "--outputs", str(tmp_path / "out.txt.gz"), "--out-dir", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["external", *words])
    external.main()
    found = translations.read(tmp_path / "news/en-de.jsonl")
    assert (found.source, found.hypothesis, found.raw) == (["one", "two"], ["eins", ""], ["eins", ""])
    assert found.references == [["eins", "ein"], ["zwei"]]
    assert (found.cut, found.loss) == (None, None)
    with pytest.raises(UserError, match=r"out.txt.gz: 2 lines, and the test set has 1 sentences"):
        external.read(tmp_path / "out.txt.gz", items.head(1))
