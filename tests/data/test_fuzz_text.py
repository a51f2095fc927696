"""Text, packed text, tables of text and translation memories: no crash, no hang, and every line is accounted for."""

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import damaged, fuzz, told
from hypothesis import given
from hypothesis import strategies as st
from test_sources import parse
from test_tmx import HEAD, TAIL, unit

from lander.data.__main__ import hold_out
from lander.data.cleaning import clean_pair
from lander.data.reading import read
from lander.shared import tables
from lander.shared.languages import Direction

PAIR = Direction("de", "en")
PIECES = [
    b"", b"\0", b"\r", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\t", "\u2028".encode(), "\x85".encode(), b" ",
    b"<b>&amp;", b"a" * 300, "字".encode() * 30, b"Guten Morgen euch allen.", b"Good morning to all of you.",
]  # fmt: skip
lines = st.lists(st.lists(st.sampled_from(PIECES), max_size=3).map(b"".join), max_size=6)
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
FRAGMENTS = ["<tu>", "</tu>", '<tuv xml:lang="en">', '<tuv xml:lang="de">', "</tuv>", "<seg>", "</seg>", "Good",
             "&amp;", "&lol;", "&#0;", "<ph>x</ph>", "<!-- -- -->", "<![CDATA[<]]>", "<?pi?>", "<tuv>", "<!DOCTYPE a>",
             "\0", "</body>"]  # fmt: skip


@pytest.fixture
def clean(tmp_path_factory):
    """A function that cleans sources; the counts by reason, None where they were refused."""
    folder = tmp_path_factory.mktemp("clean")

    def run(source: dict) -> dict[str, int] | None:
        out = [folder / name for name in ("clean.parquet", "counts.parquet", "dropped.jsonl")]
        # `numbers`, `language` need models: what is fuzzed is the reading, repair and counting
        cleaning = {"order": ["repair", "empty", "damaged", "length", "markup", "duplicates"]}
        message = told(lambda: clean_pair(PAIR, parse(source), [], cleaning, *out))
        if message is not None:
            return None
        counts = tables.read(out[1], "counts")
        found = dict(zip(counts["reason"], counts["pairs"], strict=True))
        kept = tables.read(out[0], "clean")
        assert found["kept"] == len(kept) == kept["line"].nunique()
        assert found["read"] == sum(found.values()) - found["read"] - found.pop("repaired", 0)
        assert kept["line"].between(0, found["read"] - 1).all()
        for line in out[2].read_text(encoding="utf-8").splitlines():
            json.loads(line)
        return found

    return run


def count_lines(data: bytes) -> int:
    """Lines as `wc -l` counts them, and one more where the last has no end."""
    return data.count(b"\n") + (data != b"" and not data.endswith(b"\n"))


@fuzz(60)
@given(lines, lines, ends, st.booleans())
def test_text_files(clean, tmp_path_factory, first, second, end, packed):
    folder = tmp_path_factory.getbasetemp()
    data = {code: end.join(text) + end for code, text in (("de", first), ("en", second))}
    for code, content in data.items():
        (folder / f"fuzz.{code}").write_bytes(gzip.compress(content) if packed else content)
    source = {"name": "s", "files": {code: str(folder / f"fuzz.{code}") for code in data}}
    counts = clean(source)
    if counts is not None:
        assert count_lines(data["de"]) == count_lines(data["en"]) == counts["read"]
    out = folder / "held.parquet"
    if told(lambda: hold_out(PAIR, parse(source), out)) is None:
        held = tables.read(out, "heldout")
        assert held["line"].tolist() == list(range(count_lines(data["en"])))
        assert "\n".join(held["source"]).encode() == data["de"].removeprefix(b"\xef\xbb\xbf").replace(
            b"\r\n", b"\n"
        ).removesuffix(b"\n")


@fuzz(40)
@given(data=st.data())
def test_damaged_packed_text(clean, tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    sound = gzip.compress(b"Guten Morgen, ihr Lieben.\n" * 50, mtime=0)
    (folder / "fuzz.de.gz").write_bytes(data.draw(damaged(sound)))
    (folder / "fuzz.en.gz").write_bytes(gzip.compress(b"Good morning, my dear ones.\n" * 50))
    counts = clean({"name": "s", "files": {code: str(folder / f"fuzz.{code}.gz") for code in ("de", "en")}})
    assert counts is None or counts["read"] == 50  # a file that is cut is never taken for a shorter one


@fuzz(40)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=4).map(b"\t".join), max_size=5), ends)
def test_tsv(clean, tmp_path_factory, rows, end):
    file = tmp_path_factory.getbasetemp() / "fuzz.tsv"
    file.write_bytes(end.join(rows) + end)
    counts = clean({"name": "s", "tsv": str(file), "columns": ["de", "en"]})
    if counts is not None:
        assert counts["read"] == count_lines(file.read_bytes())


codes = st.sampled_from(["en", "de", "en-US", "de_AT", "fr", "EN-gb"])
xml_text = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=20)


@fuzz(40)
@given(
    st.lists(st.dictionaries(codes, xml_text.map(escape), max_size=4), max_size=5),
    st.sampled_from(["plain", "gz", "zip"]),
)
def test_translation_memories_count_every_unit(clean, tmp_path_factory, units, packed):
    file = tmp_path_factory.getbasetemp() / "fuzz.tmx"
    write_memory(file, HEAD + "".join(unit(**texts) for texts in units) + TAIL, packed)
    counts = clean({"name": "s", "tmx": str(file)})
    if counts is not None:
        assert counts["read"] == len(units)


def write_memory(file, text: str, packed: str) -> None:
    """A memory, packed or not."""
    data = text.encode("utf-8")
    if packed == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("../m.tmx", data)
        data = buffer.getvalue()
    file.write_bytes(gzip.compress(data) if packed == "gz" else data)


@fuzz(80)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14))
def test_memories_of_fragments(clean, tmp_path_factory, fragments):
    file = tmp_path_factory.getbasetemp() / "fuzz-fragments.tmx"
    text = HEAD + "".join(fragments) + unit(de="Guten Morgen", en="Good morning") + TAIL
    file.write_text(text, encoding="utf-8")
    counts = clean({"name": "s", "tmx": str(file)})
    if counts is not None:
        comments = text.count("<!--") + text.count("<![CDATA[")
        assert comments or counts["read"] == text.count("<tu>") + text.count("<tu ")


@fuzz(120)
@given(data=st.data(), packed=st.sampled_from(["plain", "gz", "zip"]))
def test_damaged_memories(clean, tmp_path_factory, data, packed):
    file = tmp_path_factory.getbasetemp() / "fuzz-damaged.tmx"
    write_memory(file, HEAD + unit(de="Guten Morgen", en="Good morning") * 5 + TAIL, packed)
    file.write_bytes(data.draw(damaged(file.read_bytes())))
    counts = clean({"name": "s", "tmx": str(file)})
    assert counts is None or counts["read"] <= 5


CELLS = ["", "a", '"', '""', "'", 'say "x"', "a,b", "a\tb", "None", "007", " ", "é\u2028", "a\nb", "x" * 200, "#", "\\"]
cells = st.lists(st.tuples(st.sampled_from(CELLS), st.sampled_from(CELLS)), min_size=1, max_size=5)


@fuzz(40)
@given(cells, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.sampled_from(["csv", "tsv", "jsonl", "plain"]))
def test_tables_are_read_as_they_were_written(tmp_path_factory, texts, quoting, kind):
    folder = tmp_path_factory.mktemp("hub")
    stream = io.StringIO()
    if kind == "jsonl":
        stream.writelines(json.dumps(dict(zip(("de", "en"), row, strict=True))) + "\n" for row in texts)
    elif kind == "plain":
        texts = [tuple(" ".join(text.split()) for text in row) for row in texts]
        stream.writelines("\t".join(row) + "\n" for row in [("de", "en"), *texts])
    else:
        writer = csv.writer(stream, delimiter="," if kind == "csv" else "\t", quoting=quoting)
        writer.writerows([("de", "en"), *texts])
    (folder / f"test.{'tsv' if kind == 'plain' else kind}").write_text(stream.getvalue(), newline="")
    source = {"hf": str(folder), "split": "test", "directions": ["de-en"]}
    assert [row for _, row in read(parse(source)[0], ("de", "en"))] == texts


@fuzz(40)
@given(st.data(), st.sampled_from(["csv", "tsv", "jsonl", "json", "parquet", "csv.gz", "csv.xz", "jsonl.bz2"]))
def test_damaged_tables(clean, tmp_path_factory, data, name):
    folder = tmp_path_factory.mktemp("hub")
    rows = [{"de": "Guten Morgen, ihr Lieben.", "en": 'Good "morning" to all of you.'}] * 5
    table = pa.Table.from_pylist(rows)
    end = name.split(".")[0]
    path = folder / f"train.{end}"
    if end == "parquet":
        pq.write_table(table, path)
    elif end.startswith("json"):
        path.write_text(json.dumps(rows) if end == "json" else "".join(json.dumps(row) + "\n" for row in rows))
    else:
        table.to_pandas().to_csv(path, index=False, sep="," if end == "csv" else "\t")
    packers = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}
    packed = packers.get(name.split(".")[-1], bytes)(path.read_bytes())
    path.unlink()
    (folder / f"train.{name}").write_bytes(data.draw(damaged(packed)))
    counts = clean({"name": "s", "hf": str(folder), "directions": ["de-en"]})
    assert counts is None or counts["read"] <= 6
