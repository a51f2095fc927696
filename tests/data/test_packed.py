"""Packed text: every format that is read, damaged files, and formats that are named and refused."""

import bz2
import gzip
import io
import lzma
import zipfile

import pyarrow as pa
import pytest
from test_sources import complaint, parse, rows, write

from lander.data.sources import Source, check_sources
from lander.shared.errors import UserError


def zipped(*names: str, content: bytes = b"one\ntwo\n") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return stream.getvalue()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


PACKERS = {
    ".gz": gzip.compress, ".xz": lzma.compress, ".lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    ".bz2": bz2.compress, ".zst": zstd,
    ".zip": lambda data: zipped("a/x.txt", content=data),
}  # fmt: skip


@pytest.mark.parametrize("end", PACKERS)
@pytest.mark.parametrize("name", ["x.en{}", "x.en"])
def test_packed_text_is_known_by_its_first_bytes(tmp_path, end, name):
    packed = PACKERS[end](b"one\ntwo\n")
    if end != ".zip":
        packed += PACKERS[end](b"three\n")  # a file may be several, one behind the other
    path = tmp_path / name.format(end)
    path.write_bytes(packed)
    de = write(tmp_path / "x.de", "eins\nzwei\n" + "drei\n" * (end != ".zip"))
    found = rows({"files": {"en": str(path), "de": de}})
    assert found[:2] == [(0, ("one", "eins")), (1, ("two", "zwei"))]
    assert len(found) == (2 if end == ".zip" else 3)
    tsv = tmp_path / f"y.tsv{end}"
    tsv.write_bytes(PACKERS[end](b"a\tb\n"))
    assert rows({"tsv": str(tsv), "columns": ["en", "de"]}) == [(0, ("a", "b"))]
    assert parse({"tsv": str(tsv), "columns": ["en", "de"]})[0].name == "y"


LONG = b"".join(b"%d line %d\n" % (n * n, n) for n in range(20000))


NAMES = {".gz": "gzip", ".xz": "xz", ".lzma": "lzma", ".bz2": "bzip2", ".zst": "zstd", ".zip": "zip"}


@pytest.mark.parametrize("end", PACKERS)
@pytest.mark.parametrize("damage", ["cut", "changed", "plain"])
def test_damaged_packed_text_is_named(tmp_path, end, damage):
    if (end, damage) == (".zst", "changed"):
        pytest.skip("pyarrow writes no checksum into zstd files; the program zstd does")
    sound = PACKERS[end](LONG)
    half = len(sound) // 2
    content = {"cut": sound[:half], "changed": sound[:half] + b"\0" * 9 + sound[half + 9 :], "plain": b"plain\n"}
    path = tmp_path / f"x{end}"
    path.write_bytes(content[damage])
    message = complaint({"files": {"en": str(path)}}, ("en",))
    assert f"x{end}" in message
    if damage != "changed":  # the text of xz is there before its checksum
        assert f"the {NAMES[end]} file is" in message


def test_a_sentence_about_a_tag_is_text(tmp_path):
    path = write(tmp_path / "x", "<html> is the first tag of a page\n")
    assert rows({"files": {"en": path}}, ("en",)) == [(0, ("<html> is the first tag of a page",))]


@pytest.mark.parametrize("end", [".gz", ".xz", ".bz2", ".zst"])
def test_a_damaged_second_stream_is_not_the_end(tmp_path, end):
    """bz2 and lzma of Python take it for the end, and what fills up the end (zeros) is none."""
    path = tmp_path / "x"
    first, second = PACKERS[end](b"one\n"), PACKERS[end](b"two\n" * 99)
    path.write_bytes(first + second[:4] + b"\1" * 20)
    assert "file is " in complaint({"files": {"en": str(path)}}, ("en",))
    if end != ".zst":
        path.write_bytes(first + bytes(8) + second + bytes(70000))
        assert len(rows({"files": {"en": str(path)}}, ("en",))) == 100


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (zipped("a.en", "a.de"), "must hold exactly one file, found 2 (in it: a.en, a.de); unpack it"),
        (zipped(), "found 0 (in it: nothing)"),
        (b"7z\xbc\xaf\x27\x1c\0", "is a 7z archive, not text"),
        (b"Rar!\x1a\x07\x01\0", "is a rar archive, not text"),
        (b"PAR1\x15", "is a Parquet file"),
        (b"LZIP\1\x0c", "is an lzip file"),
        (b"\x1f\x9d\x90", "is a file of `compress` (.Z)"),
        (b"\xff\x06\0\0sNaPpY", "is a snappy file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        (b"\xef\xbb\xbf\r\n <!DOCTYPE html>\n", "is a web page"),
        (
            gzip.compress(b'<?xml version="1.0"?>\n<tmx>\n', mtime=0),
            "is XML or SGML (name a translation memory as a tmx source)",
        ),
        (b"<html lang='en'>\n<head>\n", "is a web page"),
        (rb"{\rtf1\ansi", "is an RTF document"),
        (
            gzip.compress(b"x.en".ljust(257, b"\0") + b"ustar\x0000" + b"\0" * 300 + b"one\n", mtime=0),
            "is a tar archive",
        ),
    ],
)
def test_formats_that_are_not_read_are_named(tmp_path, content, expected):
    path = tmp_path / "packed"
    path.write_bytes(content)
    assert expected in complaint({"files": {"en": str(path)}}, ("en",))
    with pytest.raises(UserError, match=r"data\.train\[0\]: .*packed"):  # before a run
        check_sources([Source(files={"en": str(path)})], "data.train")
