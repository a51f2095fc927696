"""Datasets in the hub's layout, through `datasets`: known rows, and texts that stay as they are written."""

import bz2
import csv
import gzip
import io
import json
import lzma

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_layout import CARD
from test_sources import complaint, parse, rows

from lander.data.overlap import Excluded
from lander.data.sources import Source
from lander.shared.languages import Direction


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder like Helsinki-NLP/opus-100: two configs, `translation` rows."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "opus"
    for config in ("de-en", "en-it"):
        one, other = config.split("-")
        rows = [{"translation": {one: f"{one} {n}", other: f"{other} {n}"}} for n in range(4)]
        for split in ("train", "test"):
            write_rows(folder / config / f"{split}-00000-of-00001.parquet", rows)
    return folder


@pytest.mark.parametrize("configs", [True, False])
@pytest.mark.parametrize("config", ["en-it", "it-en"])
def test_dataset_folder_with_and_without_configs(hub, configs, config):
    if configs:
        (hub / "README.md").write_text(CARD)
    source = {"hf": str(hub), "config": config, "split": "test", "lines": [1, 3]}
    assert rows(source, ("it", "en")) == [(1, ("it 1", "en 1")), (2, ("it 2", "en 2"))]
    assert set(parse(source)[0].languages) == {"en", "it"}


def test_brackets_in_a_path_are_no_pattern(tmp_path, hub):
    for folder in ("d[ab]*", "da"):
        write_rows(tmp_path / folder / "train[0].parquet", [{"en": folder, "de": "b"}])
    card = "---\nconfigs:\n- config_name: x\n  data_files: [{split: train, path: 'train[0].parquet'}]\n---\n"
    (tmp_path / "d[ab]*/README.md").write_text(card)
    assert rows({"hf": str(tmp_path / "d[ab]*"), "directions": ["en-de"]}) == [(0, ("d[ab]*", "b"))]


def test_dataset_flat_columns_renamed_columns_and_missing_values(tmp_path, hub):
    folder = tmp_path / "flat"
    write_rows(folder / "train.parquet", [{"en": "a", "sentence_deu": "b"}, {"en": "c", "sentence_deu": None}])
    source = {"hf": str(folder), "columns": {"en": "en", "de": "sentence_deu"}}
    assert rows(source, ("en", "de")) == [(0, ("a", "b")), (1, ("c", ""))]
    assert "no column 'de' for de" in complaint({"hf": str(folder), "directions": ["en-de"]})


def test_dataset_config_of_the_pair_and_codes_that_are_not_ours(hub):
    """`columns` names the keys of `translation`, for a code with a hyphen, say."""
    (hub / "README.md").write_text(CARD)
    assert rows({"hf": str(hub), "directions": ["en-de"]})[0] == (0, ("en 0", "de 0"))
    source = {"hf": str(hub), "config": "de-en", "columns": {"en": "en", "de-AT": "de"}}
    assert rows(source, ("de-AT", "en"))[0] == (0, ("de 0", "en 0"))


def test_dataset_columns_and_configs_under_other_codes(tmp_path):
    folder = tmp_path / "flores"
    for config, row in (("eng_Latn-srp_Latn", {"eng_Latn": "a", "srp_Latn": "b"}), ("en-srp_Cyrl", {"en": "c"})):
        write_rows(folder / config / "test.parquet", [row])
    source = {"hf": str(folder), "config": "eng_Latn-srp_Latn", "split": "test"}
    assert rows(source, ("en", "sr-Latn")) == [(0, ("a", "b"))]
    by_pair = {"hf": str(folder), "directions": [["en", "sr-Latn"]], "split": "test"}
    assert rows(by_pair, ("en", "sr-Latn")) == [(0, ("a", "b"))]
    assert parse(source)[0].serves(Direction("sr-Latn", "eng"))
    assert not parse(source)[0].serves(Direction("sr", "eng"))


def test_dataset_that_changed_is_read_anew(tmp_path, hub):
    folder = tmp_path / "flat"
    for word in ("old", "new"):
        write_rows(folder / "train.parquet", [{"en": word, "de": word}])
        assert rows({"hf": str(folder), "directions": ["en-de"]}) == [(0, (word, word))]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"config": "fr-en"}, "no config 'fr-en'; there are: "),
        ({"config": "de-en", "split": "nope"}, "split 'nope'"),
        ({"config": "de-en", "lines": [0, 9]}, "it has 4 rows"),
        ({"config": "de-en", "lines": [4, None]}, "no row from 4"),
        ({"config": "en-it"}, "no column 'de'"),
        ({"columns": {"en": "en", "fr": "fr"}}, "has no de, only en, fr"),
    ],
)
def test_dataset_errors(hub, source, expected):
    (hub / "README.md").write_text(CARD)
    assert expected in complaint({"hf": str(hub), **source})


def test_a_damaged_dataset_file_or_a_mistyped_folder_is_named(hub):
    (hub / "README.md").write_text(CARD)
    path = hub / "de-en" / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:50])
    assert "opus" in complaint({"hf": str(hub), "config": "de-en"})
    for place in ("./nope", "/nope/x", "data/more/nope"):  # not looked for on the hub
        assert f"{place}: no such folder" in complaint({"hf": place})


# ---------------------------------------------------------------- text of datasets' files as it is written


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def table(folder, name: str, content: str | bytes, languages="en-de", **more) -> dict:
    """A source of a folder with this file of its test split, and text files beside it that are no rows of it."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "train.en").write_text("other\n")
    return {"hf": str(folder), "split": "test", "directions": [languages], **more}


WORDS = ["None", "NA", "null", "N/A", "nan", "NaN", "", "true", "007", "1.50", "3", "2024-01-02", "1e5", "-inf", " x "]


@pytest.mark.parametrize("name", ["test.csv", "test.tsv", "test.jsonl", "test.json"])
@pytest.mark.parametrize("chosen", [slice(None), slice(8, 11), slice(11, 12), slice(0, 1)])
def test_words_numbers_and_dates_stay_text(tmp_path, offline, name, chosen):
    """Also where a whole column looks like numbers, dates or missing values."""
    words = WORDS[chosen]
    if name.startswith("test.json"):
        rows_of = [json.dumps({"id": 7, "en": word, "de": word}) for word in words]
        content = "[" + ",\n".join(rows_of) + "]" if name.endswith(".json") else "\n\n".join(rows_of) + "\n"
    else:
        sep = "," if name.endswith(".csv") else "\t"
        content = "".join(sep.join(row) + "\r\n" for row in [["", "en", "de"], *[["7", word, word] for word in words]])
    found = rows(table(tmp_path / "d", name, "\ufeff" + content))
    assert found == [(line, (word, word)) for line, word in enumerate(words)]


QUOTED = [["en", "de"], ['He said "hi".', "a\tb"], ["x", 'the 5" pipe'], ["line\nbreak", "y"], ['"Hello."', "z"]]


def written(rows_of, **options) -> str:
    """What a CSV writer makes of rows."""
    stream = io.StringIO()
    csv.writer(stream, **options).writerows(rows_of)
    return stream.getvalue()


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize(("name", "sep"), [("test.csv", ","), ("test.tsv", "\t")])
def test_quotes_of_a_csv_writer_are_taken_off(tmp_path, offline, name, sep, quoting):
    source = table(tmp_path / "d", name, written(QUOTED, delimiter=sep, quoting=quoting))
    assert [texts for _, texts in rows(source)] == [tuple(row) for row in QUOTED[1:]]


@pytest.mark.parametrize(
    "lines",
    [
        ['"We waited, she said.\t„Wir', "a\tb", '"Nobody came.\t„Niemand'],  # would swallow what is between
        ['"Hello."\t"Hallo."', "a\tb"],
        ['a\t"', 'b\t"'],  # a CSV reader finds a text of two lines
        ['"Hello."\t"Hallo."'],  # a sentence in quotes, as the header shows: it has none
        ['"Hello, you."\t"Hallo, du."', "Yes.\tJa."],  # Excel would write so too
        ['5" pipe\t5-Zoll-Rohr "x"'],
        ['"He said ""hi"".\tx', 'a\t"'],
        ["it's\ta\u2028b\x85c\x0bd"],
    ],
)
def test_other_quotes_of_a_tsv_file_are_text(tmp_path, offline, lines):
    source = table(tmp_path / "d", "test.tsv", "\n".join(["en\tde", *lines]) + "\n")
    assert [texts for _, texts in rows(source)] == [tuple(line.split("\t")) for line in lines]


def test_what_a_lone_quote_swallows_is_not_trained_on(tmp_path, offline):
    """The case of the exclusion: pairs of the test that a quote hid."""
    content = 'en\tde\n"We waited.\tx\nNone\tKeine\n"Nobody.\ty\n'
    excluded = Excluded(parse(table(tmp_path / "d", "test.tsv", content)), ("en", "de"))
    assert all(text in excluded for text in ("None", "Keine", "we waited", "y"))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("test.csv", 'en,de\na,b\n"We waited, she said.,c\nd,e\n"Nobody" came,f\n', "test.csv, line 5: "),
        ("test.csv", "en,de\na,b\nWell, yes,ja\n", "test.csv, line 3: 3 fields, but there are 2 columns"),
        ("test.tsv", "en\tde\na\tb\nc\n", "test.tsv, line 3: 1 fields, but there are 2 columns"),
        ("test.csv", b"en,de\ncaf\xe9,b\n", "test.csv: no valid UTF-8 behind line 0"),
        ("test.csv", "en;de\na;b\n", "no column 'en' for en; there are: en;de"),
        ("test.csv", "", "has no row from 0"),
        ("test.csv", 'en,de\nHi,"x\na,b\nBye,y"\n', "test.csv, line 4: a text in quotes goes over several lines"),
        ("test.csv", "en,de,en\na,b,c\n", "two columns have one name"),
        ("test.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "test.csv: is a Git LFS pointer"),
        ("test.jsonl", "<!DOCTYPE html>\n", "test.jsonl: is a web page"),
        ("test.parquet", "x", "test.parquet: "),
        ("test.arrow", "x", "test.arrow: "),
        ("test.parquet", "version https://git-lfs.github.com/spec/v1\n", "test.parquet: is a pointer of Git LFS"),
        ("test.json", '{"version": "1", "en": ["a", "c"], "de": ["b", "d"]}', "row 1: en and de hold lists of texts"),
        ("test.jsonl", '{"en": "a", "de": "b"}\n{"en": "c"}\n', "test.jsonl, row 2: no column 'de' for de"),
        ("test.jsonl", '{"en": "a", "de": "b"}\n[{"en": "c", "de": "d"}]\n', "row 2: not columns with their values"),
        ("test.json", '{"en": {"0": "a"}, "de": {"0": "b"}}', "row 1: a value of a language's column is not text"),
        ("test.json", "7", "row 1: not columns with their values but 7"),
        ("test.json", '{"translation": {"language": ["en", "de"], "translation": ["a"]}}', "test.json, row 1: "),
        ("test.json", '{"x": {"de": "1", "en": "a"}, "y": {"en": "b", "de": "2"}}', "x and y hold the columns; choose"),
        ("test.jsonl", '{"en": "a", "de": "b"}\n{"en": "a", \n', "row 2: not JSON in one line"),
        ("test.jsonl", '{"en": "\\ud83d", "de": "b"}\n', "row 1: half of a pair of surrogates"),
        ("test.jsonl", '{"en": 7, "de": "b"}\n', "not text but 7; write it as text"),
        ("test.jsonl", '["a", "b"]\n', "row 1: not columns with their values but 'a'"),
        ("test.csv.zst", b"x", "test.csv.zst: the zstd file is damaged"),
        ("test.csv.gz", b"x", "test.csv.gz: the gzip file is damaged"),
        ("test.csv.bz2", bz2.compress(b"en,de\n") + b"BZh91AY&SY" + b"x" * 99, "test.csv.bz2: "),
    ],
)
def test_tables_that_cannot_be_read_are_one_line(tmp_path, offline, name, content, expected):
    assert expected in complaint(table(tmp_path / "d", name, content))


@pytest.mark.parametrize(("end", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)])
@pytest.mark.parametrize("name", ["test.csv", "test.jsonl"])
def test_packed_tables(tmp_path, offline, name, end, pack):
    content = b"en,de\nNA,1.50\n" if name == "test.csv" else b'{"en": "NA", "de": "1.50"}\n'
    assert rows(table(tmp_path / "d", name + end, pack(content))) == [(0, ("NA", "1.50"))]


WRITTEN = [["en", "de"], ["Well, yes.", "ja"], ['5" pipe', "7"], ["one\ttab", ""], ["plain", "NA"]]


@pytest.mark.parametrize(
    "lines",
    [
        ["en\tde", '"Well, yes."\tja', '"5"" pipe"\t7', '"one\ttab"\t', "plain\tNA"],  # Excel
        ["en\tde", "Well, yes.\tja", '"5"" pipe"\t7', '"one\ttab"\t""', "plain\tNA"],  # PostgreSQL
        ['"en"\t"de"', '"Well, yes."\t"ja"', r'"5\" pipe"' + "\t7", '"one\ttab"\t""', '"plain"\tNA'],  # R
        ['"en"\t"de"', '"Well, yes."\t"ja"', '"5"" pipe"\t7', '"one\ttab"\t""', '"plain"\tNA'],  # R, "double"
    ],
)
def test_quotes_of_other_programs_are_taken_off(tmp_path, offline, lines):
    source = table(tmp_path / "d", "test.tsv", "\r\n".join(lines) + "\r\n")
    assert [texts for _, texts in rows(source)] == [tuple(row) for row in WRITTEN[1:]]


@pytest.mark.parametrize(
    ("contents", "count"),
    [
        (['{"en": ["a", "c"], "de": ["b", "d"]}'], 2),  # columns, as by pandas' orient="list"
        (['{\n"en": ["a", "c"],\n"de": ["b", "d"]\n}'], 2),
        (['{\n"en": "a",\n"de": "b"\n}'], 1),
        (['{"en": "a", "de": "b"}\n', '[{"en": "c", "de": "d"}]'], 2),  # files of one split
        (['{"en": "a", "de": "b"}\n', '{"translation": {"en": "c", "de": "d"}}\n'], 2),
        (['{"translation": {"en": "a", "de": "b"}}\n{"de": "d", "en": "c"}\n'], 2),
    ],
)
def test_shapes_of_json(tmp_path, offline, contents, count):
    for number, content in enumerate(contents):
        source = table(tmp_path / "d[ab]*", f"test-{number}.json", content)  # not a pattern
    assert rows(source, several=True) == [(0, ("a", "b")), (1, ("c", "d"))][:count]


@pytest.mark.parametrize(
    ("name", "option", "content"),
    [
        ("t.csv", 'quotechar: "\'"', "en,de\n'NA, a',7\n"),
        ("t.csv", "quoting: 3\n  sep: ';'", "en;de\nNA, a;7\n"),
        ("t.csv", "escapechar: '\\'", 'en,de\n"NA\\, a",7\n'),
        ("t.csv", "column_names: [de, en]\n  header: 0", 'x,y\n7,"NA, a"\n'),
        ("t.csv", "header: null\n  column_names: [en, de]", '"NA, a",7\n'),
        ("t.tsv", "names: [en, de]\n  header: null\n  quoting: 3\n  skiprows: [0]", "broken\nNA, a\t7\n"),
        ("t.csv", "skiprows: 2", 'broken\n\nen,de\n"NA, a",7\n'),
        ("t.csv", "encoding: utf-16", 'en,de\n"NA, a",7\n'.encode("utf-16")),
        ("t.csv", 'sep: ";"', "en;de\nNA, a;7\n"),
        ("t.csv", 'delimiter: "|"', "en|de\nNA, a|7\n"),
        ("t.tsv", "column_names: [en, de]", "NA, a\t7\n"),
        ("t.json", "field: data", '{"version": 1,\n "data": [{"en": "NA, a", "de": "7"}]}'),
    ],
)
def test_what_the_card_says_of_the_rows(tmp_path, offline, name, option, content):
    source = table(tmp_path / "d", name, content)
    card = f"---\nconfigs:\n- config_name: x\n  {option}\n  data_files: [{{split: test, path: {name}}}]\n---\n"
    (tmp_path / "d/README.md").write_text(card)
    assert rows({**source, "config": "x"}) == [(0, ("NA, a", "7"))]


def test_lines_of_json_end_at_a_line_feed_alone(tmp_path, offline):
    source = table(tmp_path / "d", "test.jsonl", '{"en": "a\u2028b\x85", "de": "c"}\r\n{"en": "d", "de": "e"}')
    assert rows(source) == [(0, ("a\u2028b\x85", "c")), (1, ("d", "e"))]


@pytest.mark.parametrize(
    ("name", "content", "option"),
    [
        ("test.csv", "en,de\nNA,007\n", ""),
        ("test.csv", "en;de\nNA;007\n", 'sep: ";"'),
        ("test.tsv", 'NA\t007\n"a\tb\n', "column_names: [en, de]"),
        ("test.jsonl", '{"en": "NA", "de": "007"}\n', ""),
        ("test.json", '{"data": [{"en": "NA", "de": "007"}]}', "field: data"),
        ("test.parquet", None, ""),
    ],
)
def test_a_data_set_of_the_hub_is_read_alike(tmp_path, monkeypatch, name, content, option):
    """Its files are found by `datasets`; here, a folder stands for the hub."""
    folder = tmp_path / "d"
    write_rows(folder / name, [{"en": "NA", "de": "007"}])
    if content:
        (folder / name).write_text(content)
    card = f"---\nconfigs:\n- config_name: x\n  {option}\n  data_files: [{{split: test, path: {name}}}]\n---\n"
    (folder / "README.md").write_text(card)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(Source, "remote", True)
    found = rows({"hf": str(folder), "config": "x", "split": "test", "directions": ["en-de"]})
    assert found[0] == (0, ("NA", "007"))
    assert found[1:] == ([(1, ('"a', "b"))] if name == "test.tsv" else [])


def test_a_folder_of_save_to_disk(tmp_path, offline):
    """`load_dataset` refuses it, and other programs read its state.json as rows."""
    one = datasets.Dataset.from_dict({"en": ["a", "NA"], "de": ["b", "007"]})
    one.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": one, "test": one.select([1])}).save_to_disk(tmp_path / "two")
    for folder in (tmp_path / "one", tmp_path / "two/train"):
        (folder / "cache-0123.arrow").write_bytes((folder / "data-00000-of-00001.arrow").read_bytes())
    assert rows({"hf": str(tmp_path / "one"), "directions": ["en-de"]}) == [(0, ("a", "b")), (1, ("NA", "007"))]
    source = {"hf": str(tmp_path / "two"), "directions": ["en-de"]}
    assert rows({**source, "split": "test"}) == [(0, ("NA", "007"))]
    assert len(rows(source)) == 2


def test_later_rows_may_have_what_the_first_lack(tmp_path, offline):
    """`datasets` takes the columns of the first 10 MB, and a later date for an error."""
    part = "".join(json.dumps({"en": f"{n} {'x' * 2000}", "de": "y", "closed": None}) + "\n" for n in range(6000))
    last = json.dumps({"en": "a", "de": "b", "closed": "2024-01-01T00:00:00", "more": 1})
    assert rows(table(tmp_path / "d", "test.jsonl", part + last))[-1] == (6000, ("a", "b"))


def test_two_files_of_other_columns(tmp_path, offline):
    source = table(tmp_path / "d", "test-1.csv", "en,de\na,b\n")
    (tmp_path / "d/test-2.csv").write_text("en,de\nc,d\n")
    assert rows(source) == [(0, ("a", "b")), (1, ("c", "d"))]
    (tmp_path / "d/test-2.csv").write_text("de,en\nd,c\n")
    assert rows(source) == [(0, ("a", "b")), (1, ("c", "d"))]


NESTED = [
    ({"de-en": {"de": "b", "en": "a"}}, {}, "b"),  # as in WMT22-Test
    ({"id": 1, "data": {"translation": {"en": "a", "de": "b"}}}, {}, "b"),
    ({"en": "x", "translation": {"en": "a", "de": "b"}}, {}, "b"),
    ({"en": "a", "de": "b", "other": {"en": "x", "de": "x"}}, {}, "b"),
    ({"text": {"en": "a"}, "out": {"de": "b"}}, {"columns": {"en": "text.en", "de": "out.de"}}, "b"),
    ({"a.b": "a", "de": "b"}, {"columns": {"en": "a.b", "de": "de"}}, "b"),
    ({"en": "a", "de": ["b", "c"]}, {}, ["b", "c"]),  # several references
    ({"src": "a", "refs": ["b", "", "c", None]}, {"columns": {"en": "src", "de": "refs"}}, ["b", "c"]),
    ({"translation": {"en": "a", "de": ["b"]}}, {}, "b"),
    ({"translation": {"language": ["de", "en", "de"], "translation": ["b", "a", "c"]}}, {}, ["b", "c"]),
    ({"en": "a", "de": None}, {}, ""),
    ({"en": "a", "de": []}, {}, ""),
    ({"translation": None}, {}, None),
]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize(("row", "more", "german"), NESTED)
def test_columns_inside_a_row_and_lists_of_references(tmp_path, offline, kind, row, more, german):
    path = tmp_path / "d" / f"test.{kind}"
    write_rows(path, [row])
    if kind == "jsonl":
        path.write_text(json.dumps(row) + "\n")
    source = {"hf": str(path.parent), "split": "test", "directions": ["en-de"], **more}
    english, german = ("", "") if german is None else ("a", german)
    first = german if isinstance(german, str) else german[0]
    assert rows(source, several=True) == [(0, (english, german))]
    assert rows(source) == [(0, (english, first))]


def test_a_config_whose_column_is_called_as_the_pair(tmp_path, offline):
    card = "---\nconfigs:\n- config_name: de-en\n  data_files:\n  - split: test\n    path: de-en/test-*\n---\n"
    folder = tmp_path / "WMT22-Test"
    for line, word in enumerate(("Zug", "Fenster")):
        name = f"de-en/test-0000{line}-of-00002.parquet"
        write_rows(folder / name, [{"de-en": {"de": word, "en": word.lower()}}])
    (folder / "README.md").write_text(card)
    source = {"hf": str(folder), "config": "en-de", "split": "test"}
    assert rows(source) == [(0, ("zug", "Zug")), (1, ("fenster", "Fenster"))]
