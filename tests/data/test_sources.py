"""Sources: known rows, and every kind of damage told in one line that names the file."""

import gzip
import json
import subprocess
import sys

import pytest

from lander.data.reading import aligned, read
from lander.data.sources import parse_sources
from lander.shared.errors import UserError


def write(path, text):
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


@pytest.fixture
def files(tmp_path):
    en = write(tmp_path / "a.en.txt.gz", "one\ntwo\nthree\nfour\n")
    de = write(tmp_path / "a.de.txt", "eins\r\nzwei\r\ndrei\r\nvier")
    zh = write(tmp_path / "a.zh.txt", "\ufeff一\n二\n三\n四\n")
    return {"files": {"en": en, "de": de, "zh": zh}}


def parse(*given):
    """Checked sources."""
    return list(parse_sources(json.dumps(given)))


def rows(given, languages=("en", "de"), **options):
    """All rows of a source."""
    return list(read(parse(given)[0], languages, **options))


def complaint(given, languages=("en", "de"), **options):
    """The message of the error that a source raises: one short line."""
    with pytest.raises(UserError) as error:
        rows(given, languages, **options)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    return str(error.value)


def test_files_plain_gzip_windows_ends_and_byte_order_mark(files):
    found = rows(files, ("zh", "de", "en"))
    assert found[0] == (0, ("一", "eins", "one"))
    assert found[3] == (3, ("四", "vier", "four"))
    assert len(found) == 4


@pytest.mark.parametrize(("lines", "expected"), [([1, 3], [1, 2]), ([2, None], [2, 3]), ([0, 4], [0, 1, 2, 3])])
def test_lines_are_a_half_open_range_from_zero(files, lines, expected):
    assert [line for line, _ in rows({**files, "lines": lines})] == expected


BEYOND = dict.fromkeys([(0, 5), (4, 5), (4, None), (9, 10)], "the file has 4 lines")
NONE = dict.fromkeys([(3, 3), (2, 1), (-1, 2), (0,), "all", (0.5, 2), (None, 2)], "lines")


@pytest.mark.parametrize(("lines", "expected"), {**BEYOND, **NONE}.items())
def test_ranges_that_cannot_be_read(files, lines, expected):
    assert expected in complaint({**files, "lines": lines})


def test_only_a_newline_ends_a_line_and_gzip_is_known_by_its_content(tmp_path):
    text = "a\u2028b\x0bc\x85d\x1ee\x0cf\u2029g\rh"
    source = {"files": {"en": write(tmp_path / "e", gzip.compress(text.encode())), "de": write(tmp_path / "d", text)}}
    assert rows(source, ("en", "de")) == [(0, (text, text))]
    write(tmp_path / "d", text + "\n")
    assert rows(source, ("en", "de")) == [(0, (text, text))]


@pytest.mark.parametrize("lines", [None, [0, 1]])
def test_unequal_lengths_say_both_even_beyond_the_range(tmp_path, files, lines):
    files["files"]["de"] = write(tmp_path / "short", "eins\nzwei\ndrei\n")
    message = complaint({**files, "lines": lines} if lines else files)
    assert "a.en.txt.gz has 4 lines" in message
    assert "short has 3" in message


PACKED = gzip.compress(b"".join(b"%d line %d\n" % (n * n, n) for n in range(20000)))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing", None, "no such file"),
        ("folder/", None, "is a folder"),
        ("empty", b"", "the file is empty"),
        ("cut.gz", PACKED[: len(PACKED) // 2], "cut short after line"),
        ("not.gz", b"plain text\n", "the gzip file is damaged"),
        ("crc.gz", PACKED[:-8] + b"12345678", "the gzip file is damaged"),
        ("utf8", b"ok\nfine\ncaf\xe9\nok\n", "line 3: not valid UTF-8 (byte 4 of the line is 0xe9)"),
        ("surrogate", b"ok\n\xed\xa0\x80\nfine\nok\n", "line 2: not valid UTF-8"),
        ("utf16", "a\nb\nc\nd\n".encode("utf-16"), "line 1: not valid UTF-8"),
    ],
)
@pytest.mark.parametrize("side", ["en", "de"])
def test_damaged_files_are_named(tmp_path, files, name, content, expected, side):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    elif name.endswith("/"):
        path.mkdir()
    files["files"][side] = str(path)
    message = complaint(files)
    assert path.name in message
    assert expected in message


def test_a_line_of_a_million_characters_is_refused_or_read(tmp_path, files):
    files["files"]["de"] = write(tmp_path / "long.txt", "eins\n" + "x" * 1_000_000 + "\ndrei\nvier\n")
    assert "long.txt, line 2: 1,000,000 characters (de)" in complaint(files, max_line=100_000)
    assert len(rows(files)[1][1][1]) == 1_000_000


@pytest.mark.parametrize("header", ["en\tde", "ENG\tde-DE", "English\tGerman", "source\ttarget", "en\tGerman"])
def test_a_header_of_tsv_is_no_pair(tmp_path, header):
    source = {"tsv": write(tmp_path / "f.tsv", f"{header}\none\teins\n"), "columns": ["en", "de"]}
    assert "f.tsv, line 1: is a header" in complaint(source)
    assert rows({**source, "lines": [1, None]}) == [(1, ("one", "eins"))]
    for first in ("Text\tText", "English\tDeutsch", "source\tQuelle", "de\ten"):
        write(tmp_path / "f.tsv", f"{first}\n")
        assert rows(source) == [(0, tuple(first.split("\t")))]


def test_tsv_takes_quotes_as_text(tmp_path):
    source = {"tsv": write(tmp_path / "f.tsv", 'one\t"eins\t1\ntwo"\tzwei\t2\n'), "columns": ["en", "de", "id"]}
    assert rows(source, ("de", "en")) == [(0, ('"eins', "one")), (1, ("zwei", 'two"'))]
    assert parse(source)[0].languages == ("en", "de", "id")


def test_a_language_or_a_field_that_is_missing(tmp_path, files):
    assert "has no it, only en, de, zh" in complaint(files, ("en", "it"))
    source = {"tsv": write(tmp_path / "f.tsv", "one\teins\ntwo\n"), "columns": ["en", "de"]}
    assert "f.tsv, line 2: 1 fields, but `columns` names 2" in complaint(source)


def test_builtin_lines_do_not_depend_on_range_or_company():
    whole = dict(rows({"builtin": "cldr", "lines": [0, 50]}))
    part = dict(rows({"builtin": "cldr", "lines": [20, 25]}, ("it", "de", "en")))
    assert list(part) == [20, 21, 22, 23, 24]
    assert all(whole[line] == (texts[2], texts[1]) for line, texts in part.items())
    assert not aligned(parse({"builtin": "cldr"})[0], ["en", "tlh"])


@pytest.mark.parametrize(
    "source",
    [
        {}, "cldr", None, {"files": ["a"]}, {"tsv": "a"}, {"builtin": "nope"}, {"builtin": "cldr", "splt": 1},
        {"builtin": "cldr", "lines": [0, None]}, {"builtin": "cldr", "tsv": "x", "columns": ["en", "de"]},
    ],
)  # fmt: skip
def test_forms_that_are_no_source(source):
    with pytest.raises(UserError, match=r"^sources"):
        parse(source)


def test_overlap_is_found_by_file_and_range(files):
    def shared(first, second):
        return parse(first)[0].shared(parse(second)[0])

    train, [english, german, other] = {**files, "lines": [0, 3], "name": "t"}, files["files"].values()
    assert "lines [2, 3]" in shared(train, {**files, "lines": [2, 4]})
    assert shared(train, {"files": {"en": english, "fr": __file__}})
    assert shared(train, {**files, "lines": [3, 4]}) is None
    assert shared({"files": {"en": english, "de": german}}, {"files": {"zh": other, "fr": __file__}}) is None
    cldr = {"builtin": "cldr"}
    assert shared({**cldr, "lines": [0, 10]}, {**cldr, "lines": [9, 12], "vocabulary": "all"})
    assert shared({**cldr, "lines": [0, 10]}, {**cldr, "lines": [10, 12]}) is None


def test_sources_are_light_to_import(tmp_path, monkeypatch):
    """The config and other stages import these modules: they must not bring the heavy libraries along."""
    monkeypatch.setenv("SACREBLEU", str(tmp_path))
    (tmp_path / "wmt16").mkdir()
    for end in ("src", "ref"):
        (tmp_path / "wmt16" / f"wmt16.en-de.{end}").write_text("x\n")
    code = """if True:
        import sys
        import lander.data.templates
        from lander.data.reading import read
        from lander.data.sources import Source
        assert list(read(Source(sacrebleu="wmt16", config="en-de"), ("en", "de"))) == [(0, ("x", "x"))]
        print([name for name in ("datasets", "torch", "pandas") if name in sys.modules])"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
