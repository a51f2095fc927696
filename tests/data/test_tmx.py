"""Translation memories: known units, region codes, inline codes, packed files, and hostile ones."""

import gzip
import re
import time
import tracemalloc
import zipfile

import pytest
from test_sources import complaint, parse, rows

from lander.data.__main__ import hold_out
from lander.data.cleaning import clean_pair
from lander.data.overlap import Excluded
from lander.data.reading import read
from lander.data.sources import Source, check_sources
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.languages import parse_direction

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4">
<header srclang="en" datatype="plaintext" adminlang="en" segtype="sentence" o-tmf="x"><note>n</note></header>
<body>
"""
TAIL = "</body></tmx>\n"


def unit(**texts: str) -> str:
    variants = "".join(
        f'<tuv xml:lang="{code.replace("_", "-")}"><prop type="t">p</prop><seg>{text}</seg></tuv>'
        for code, text in texts.items()
    )
    return f"<tu tuid='1'><note>a note</note>{variants}</tu>\n"


def write(path, *units: str, head: str = HEAD, tail: str = TAIL) -> dict:
    path.write_text(head + "".join(units) + tail, encoding="utf-8")
    return {"tmx": str(path)}


@pytest.fixture
def memory(tmp_path):
    return write(
        tmp_path / "m.tmx",
        unit(en_US="one", de="eins", zh_CN="一"),
        unit(en_US="two", de="zwei"),
        unit(en_US="three", zh_CN="三"),
        unit(de="vier", en_US="four"),
    )


def test_units_by_language_whatever_their_order_and_region(memory):
    assert rows(memory, ("de", "en")) == [(0, ("eins", "one")), (1, ("zwei", "two")), (3, ("vier", "four"))]
    assert rows(memory, ("en-US", "zh")) == [(0, ("one", "一")), (2, ("three", "三"))]
    assert rows(memory, ("EN", "DE", "zh-cn")) == [(0, ("one", "eins", "一"))]


def test_lines_count_units(memory):
    for lines, expected in (((1, 4), [1, 3]), ((2, None), [3]), ((0, 4), [0, 1, 3])):
        assert [line for line, _ in rows({**memory, "lines": lines})] == expected
    for lines in ((0, 5), (4, None), (9, 10)):
        assert "the file has 4 translation units" in complaint({**memory, "lines": lines})


def test_other_codes_of_the_languages(tmp_path):
    source = write(tmp_path / "m.tmx", unit(**{"ENG": "good", "deu-DE": "gut", "srp-Latn": "dobro"}))
    assert rows(source, ("en", "de")) == rows(source, ("eng", "ger")) == [(0, ("good", "gut"))]
    assert rows(source, ("en", "sr-Latn")) == [(0, ("good", "dobro"))]
    assert parse(source)[0].serves(parse_direction("en-ger"))


def test_languages_of_the_file(memory):
    [source] = parse(memory)
    assert source.languages == ("en", "en-US", "de", "zh", "zh-CN")
    assert (source.name, source.remote, source.paths()) == ("m", False, [memory["tmx"]])
    assert source.serves(parse_direction("en-zh"))
    assert not source.serves(parse_direction("en-fr"))
    assert source.shared(parse({**memory, "lines": [1, 3]})[0])


def test_codes_of_a_format_go_and_text_stays(tmp_path):
    text = (
        'Press <bpt i="1">&lt;b&gt;</bpt>OK<ept i="1">&lt;/b&gt;</ept>, <hi type="x">then <ph>{0}<sub>no</sub></ph>'
        "wait</hi> &amp; see<it pos='begin'>[</it><ut>\\par</ut> <foo>x</foo>"
    )
    source = write(tmp_path / "m.tmx", unit(en=text, de="a\n   b\u2028c  d "))
    assert rows(source, ("en", "de")) == [(0, ("Press OK, then wait & see x", "a b c  d"))]


@pytest.mark.parametrize(
    "code",
    [
        '<ph x="1" type="lb"/>', '<ph type="x-br">1</ph>', "<ph>&lt;br/></ph>", "<ph>&lt;BR /></ph>", "<br/>",
        "<ph>&amp;nbsp;</ph>", "<ut>{\\line }</ut>", "<it pos='end' type='pb'/>", "<hi type='lb'/>", "<ph>\u00a0</ph>",
        "<ept i='1'>&lt;/p></ept><bpt i='2'>&lt;p></bpt>", " <ph type='lb'/> ", "<ph>\\n</ph>", "<ph>&lt;w:tab/></ph>",
        "<ph>&lt;b></ph><ph type='linebreak'/>", "<ph>&amp;lt;br/&amp;gt;</ph>", "<ph>&amp;amp;nbsp;</ph>",
        "<ph>&lt;text:line-break/></ph>", "<ph>&lt;text:s/></ph>", "<x ctype='lb'/>", "<ph>[br /]</ph>", "<ph>%n</ph>",
        "<ph>^p</ph>", "<t:line-break xmlns:t='urn:t'/>", "<ph>&amp;#10;</ph>",
    ],
)  # fmt: skip
def test_a_break_or_a_space_of_the_format_leaves_one_space(tmp_path, code):
    source = write(tmp_path / "m.tmx", unit(en=f"Stop.{code}Wait.", de=f"{code}Halt.{code}"))
    assert rows(source) == [(0, ("Stop. Wait.", "Halt."))]


@pytest.mark.parametrize(
    "code",
    [
        "<bpt i='1'>&lt;b></bpt>",
        "<ph>{0}</ph>",
        "<ph type='fnote'/>",
        "<ph>C:\\new</ph>",
        "<x/>",
        "<ph>&lt;s></ph>",
        "<ph>50%n</ph>",
    ],
)
def test_other_codes_of_the_format_leave_nothing(tmp_path, code):
    assert rows(write(tmp_path / "m.tmx", unit(en=f"a{code}b", de="c"))) == [(0, ("ab", "c"))]


BAD = [b"\x0b", b"\xff", b"&#11;", b"&#x1F;", b"&#xD800;", b"&nbsp;", b" & ", b" < ", b"\0", "\uffff".encode(), b"]]>"]


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_character_costs_its_unit_alone(tmp_path, bad, capsys):
    path = tmp_path / "m.tmx"
    sound, spoilt = unit(en="one &amp; &#233; &lt;", de="eins"), unit(en="t@wo", de="zwei", fr="d@eux")
    text = HEAD + sound + spoilt + unit(en="three", de="drei", fr="tr@ois") + "<!-- @ -->" + TAIL
    path.write_bytes(text.encode().replace(b"@", bad))
    source = {"tmx": str(path)}
    assert rows(source) == [(0, ("one & é <", "eins")), (2, ("three", "drei"))]  # French is not wanted
    assert (
        "1 translation units with characters that XML does not allow, or damaged, are left out"
        in capsys.readouterr().err
    )
    out = [tmp_path / name for name in ("clean", "counts", "dropped")]
    clean_pair(parse_direction("de-en"), parse(source), [], {}, *out)
    counts = tables.read(out[1], "counts").set_index("reason")["pairs"]
    assert (counts["read"], counts["unreadable"], counts["kept"]) == (3, 1, 2)
    excluded = Excluded(parse(source), ("en", "de"))
    assert "zwei" in excluded
    assert "two" in excluded  # what can be read of it
    assert "texts with characters that XML does not allow" in capsys.readouterr().err


def test_cdata_is_text_and_pieces_may_end_anywhere(tmp_path, monkeypatch):
    text = unit(en="<![CDATA[a & b < c &nbsp;]]> &amp; &#38;", de="x &#233; é 字")
    source = write(tmp_path / "m.tmx", text, unit(en="y &bad; z", de="y"))
    for size in range(1, 12):
        monkeypatch.setattr("lander.data.tmx.CHUNK", size)
        assert rows(source) == [(0, ("a & b < c &nbsp; & &", "x é é 字"))]


@pytest.mark.parametrize(
    ("declared", "used"), [("UTF-16", "utf-8"), ("shift_jis", "shift_jis"), ("UTF-16", "utf-16-le")]
)
def test_encodings_that_are_declared_or_not(tmp_path, declared, used):
    (tmp_path / "m.tmx").write_bytes((HEAD.replace("UTF-8", declared) + unit(en="a", de="日本") + TAIL).encode(used))
    assert rows({"tmx": str(tmp_path / "m.tmx")}) == [(0, ("a", "日本"))]


def test_exact_code_goes_before_a_region_and_the_first_variant_counts(tmp_path):
    source = write(
        tmp_path / "m.tmx",
        unit(en_GB="lift", en="car", de="x")
        + unit(en="a", de="y").replace("</tu>", '<tuv xml:lang="en"><seg>b</seg></tuv></tu>'),
    )
    assert [texts[0] for _, texts in rows(source)] == ["car", "a"]


def test_two_regions_of_one_unit_are_ambiguous_until_one_is_chosen(tmp_path):
    source = write(tmp_path / "m.tmx", unit(zh_CN="简", en="x"), unit(zh_CN="简", zh_TW="繁", en="y"))
    message = complaint(source, ("zh", "en"))
    assert "m.tmx, line 7: zh-cn and zh-tw both serve zh" in message
    chosen = {**source, "columns": {"zh": "zh-CN", "en": "en"}}
    assert [texts for _, texts in rows(chosen, ("zh", "en"))] == [("简", "x"), ("简", "y")]
    assert parse(chosen)[0].languages == ("zh", "en")
    assert "has no de, only zh, en" in complaint(chosen)


def test_a_script_is_served_by_its_region(tmp_path):
    source = write(tmp_path / "m.tmx", unit(zh_TW="繁", en="x"))
    assert rows(source, ("zh-Hant", "en")) == rows(source, ("zh-Hant-TW", "en-US")) == [(0, ("繁", "x"))]
    assert Excluded(parse(source), ("zh-Hant", "en"), 0.5).similarity("繁") == 1
    for other in ("zh-Hans", "zh-HK"):
        assert "no translation unit has all" in complaint(source, (other, "en"))


@pytest.mark.parametrize(
    ("old", "new", "count"),
    [
        ("<seg>zwei</seg>", "<seg>zwei</seg><seg>three</seg>", 1),
        ("<seg>zwei</seg>", "<seg>zw<seg>ei</seg></seg>", 1),
        ("<tuv xml:lang='de'>", "<tu><tuv xml:lang='de'>", 1),
        (" xml:lang='de'>", ">", 1),
        ("zwei", "zwei" * 300_000, 1),
        ("</tuv></tu>", "</tuv><tuv><seg>three</seg></tuv></tu>", 2),  # in no language
        ("</tuv></tu>", "</tuv><tuv xml:lang='en'><seg>three</seg></tuv></tu>", 2),  # another variant
    ],
)
def test_a_damaged_unit_is_left_out_alone(tmp_path, old, new, count):
    text = "<tu><tuv xml:lang='en'><seg>two</seg></tuv><tuv xml:lang='de'><seg>zwei</seg></tuv></tu>"
    assert old in text
    text = text.replace(old, new)
    text += "</tu>" * (text.count("<tu>") - text.count("</tu>"))
    source = write(tmp_path / "m.tmx", text, unit(en="one", de="eins"))
    assert [texts for _, texts in rows(source)] == [("two", "zwei"), ("one", "eins")][-count:]
    excluded = Excluded(parse(source), ("en", "de"))
    assert "two" in excluded
    assert ("three" in excluded) == ("three" in new)


def test_old_attribute_underscores_and_missing_segments(tmp_path):
    old = unit(en="x", de="y").replace('xml:lang="en"', 'lang="en_us"')
    without = '<tu><tuv xml:lang="en"/><tuv xml:lang="de"><seg>w</seg></tuv></tu>'
    source = write(tmp_path / "m.tmx", old, unit(en="z", de=""), without)
    assert rows(source, ("en", "de")) == [(0, ("x", "y")), (1, ("z", ""))]


@pytest.mark.parametrize("kind", ["gz", "zip", "utf-16", "latin-1"])
def test_packed_and_in_other_encodings(tmp_path, kind):
    text = HEAD + unit(en="café", de="größer") + TAIL
    path = tmp_path / "m.tmx.gz"
    if kind == "gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif kind == "zip":
        path = tmp_path / "m.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("read.me", "x")
            archive.writestr("../../deep/er.TMX", text)
    else:
        path = tmp_path / "m.tmx"
        path.write_bytes(text.replace("UTF-8", kind if kind == "latin-1" else "utf-16").encode(kind))
    assert rows({"tmx": str(path)}, ("en", "de")) == [(0, ("café", "größer"))]


def test_units_without_a_language_are_counted(tmp_path, memory, capsys):
    outputs = [tmp_path / name for name in ("clean.parquet", "counts.parquet", "dropped.jsonl")]
    clean_pair(parse_direction("de-en"), parse(memory), [], {}, *outputs)
    counts = tables.read(outputs[1], "counts")
    numbers = dict(zip(counts["reason"], counts["pairs"], strict=True))
    assert (numbers["read"], numbers["untranslated"], numbers["kept"]) == (4, 1, 3)
    assert "1 translation units without de or en are left out" in capsys.readouterr().err
    hold_out(parse_direction("en-zh"), parse(memory), tmp_path / "test.parquet")
    assert list(tables.read(tmp_path / "test.parquet", "heldout")["line"]) == [0, 2]


def test_every_text_of_a_memory_can_be_excluded(memory):
    excluded = Excluded(parse(memory), ("en", "de"), 0.5)
    assert all(text in excluded for text in ("ONE", "zwei", "三"))
    assert "five" not in excluded
    assert excluded.similarity("three") == 1  # English, which en-US serves
    assert excluded.similarity("三") is None  # no language of the pair


DTD = 'SYSTEM "tmx14.dtd"'
BOMB = HEAD.replace(DTD, '[<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]') + unit(en="&b;", de="x") + TAIL
SPY = HEAD.replace(DTD, '[<!ENTITY s SYSTEM "file:///etc/passwd">]') + unit(en="&s;", de="x") + TAIL
PARAMETER = HEAD.replace(DTD, '[<!ENTITY % s SYSTEM "http://localhost/x">%s;]') + unit(en="x", de="x") + TAIL
HOSTILE = [
    ("bomb", BOMB, "declares the entity 'a'"),
    ("spy", SPY, "declares the entity 's'"),
    ("parameter", PARAMETER, "declares the entity 's'"),
    ("unknown", HEAD + unit(en="a&nbsp;b", de="x") + TAIL, "1 units have them, with characters that XML does not"),
    ("cut", HEAD + unit(en="a", de="x") + "<tu><tuv xml:l", "line 7: not well-formed XML"),
    ("mixed", HEAD + "<tu></tuv>" + TAIL, "line 6: not well-formed XML (mismatched tag)"),
    ("html", "<html><body>404</body></html>", "begins with <html>"),
    ("empty", "", "there is nothing in it"),
    ("text", "one\ntwo\n", "line 1: not well-formed XML"),
    ("units", HEAD + TAIL, "holds no translation unit"),
    ("language", HEAD + unit(en="a", fr="x") + TAIL, "no translation unit has all of en, de; its languages are: "),
    ("nameless", HEAD + "<tu><tuv><seg>x</seg></tuv></tu>" + TAIL, "its languages are: none"),
    ("deep", HEAD + "<x>" * 200, "more than 100 elements"),
    ("encoding", HEAD.replace("UTF-8", "zip") + TAIL, "m.tmx, line 1"),
    ("nonsense", HEAD.replace("UTF-8", "klingon") + TAIL, "m.tmx, line 1"),
    ("long", HEAD + unit(en="x" * 1_000_001, de="y") + TAIL, "1 units have them, with"),
]


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_hostile_and_damaged_files_are_one_line(tmp_path, text, expected):
    (tmp_path / "m.tmx").write_text(text)
    message = complaint({"tmx": str(tmp_path / "m.tmx")})
    assert expected in message
    assert "m.tmx" in message


def test_a_comment_without_an_end_is_not_kept_in_memory(tmp_path):
    path = tmp_path / "m.tmx.gz"
    path.write_bytes(gzip.compress((HEAD + "<!-- ").encode() + b"x" * 60_000_000, compresslevel=1))
    tracemalloc.start()
    began = time.monotonic()
    assert "a tag or comment of more than" in complaint({"tmx": str(path)})
    assert time.monotonic() - began < 20
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("names", "damage", "expected"),
    [
        (["a.tmx", "b.tmx"], bytes, "must hold exactly one .tmx file, found 2"),
        (["a.txt"], bytes, "must hold exactly one .tmx file, found 0 (in it: a.txt)"),
        ([], bytes, "must hold exactly one .tmx file, found 0 (in it: nothing)"),
        (["a.tmx"], lambda data: data[:60], "the zip file is damaged"),
        (["a.tmx"], lambda data: b"", "m.zip: there is nothing in it; is it the right file?"),
        # encrypted, as a bit says in both places where it stands
        (["a.tmx"], lambda data: re.sub(b"(PK\x03\x04..|PK\x01\x02....)\0", b"\\1\1", data, flags=re.S), "be unpacked"),
    ],
)
def test_zip_files_that_are_refused(tmp_path, names, damage, expected):
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, HEAD + unit(en="a", de="b") + TAIL)
    path.write_bytes(damage(path.read_bytes()))
    assert expected in complaint({"tmx": str(path)})


def test_a_cut_gzip_is_named(tmp_path):
    (tmp_path / "m.tmx.gz").write_bytes(gzip.compress((HEAD + unit(en="a", de="b") * 100).encode())[:-20])
    assert "cut short" in complaint({"tmx": str(tmp_path / "m.tmx.gz")})


def test_a_long_memory_is_read_in_little_memory(tmp_path):
    path = tmp_path / "m.tmx.gz"
    with gzip.open(path, "wt", compresslevel=1) as stream:
        stream.write(HEAD)
        for number in range(20_000):
            stream.write(unit(en=f"this is the sentence of number {number}", de=f"dies ist der Satz Nummer {number}"))
        stream.write(TAIL)
    tracemalloc.start()
    assert sum(1 for _ in read(parse({"tmx": str(path)})[0], ("en", "de"))) == 20_000
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()


def test_faults_that_are_found_before_a_run(tmp_path, memory):
    assert "no.tmx: no such file" in complaint({"tmx": str(tmp_path / "no.tmx")})
    assert "a list is for tsv" in complaint({**memory, "columns": ["en", "de"]})
    (tmp_path / "bad.tmx").write_text("<html/>")
    with pytest.raises(UserError, match=r"data\.train\[0\]: .*bad\.tmx, line 1: the file begins with <html>"):
        check_sources([Source(tmx=str(tmp_path / "bad.tmx"))], "data.train")
