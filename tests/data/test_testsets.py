"""Test sets of sacreBLEU: from a cache that was prepared here, and what is said where there is none. No network."""

import pytest
from test_sources import complaint, parse, rows

from lander.data import testsets
from lander.data.__main__ import hold_out, write_text
from lander.data.overlap import Excluded
from lander.shared import tables
from lander.shared.languages import Direction, parse_direction


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """$SACREBLEU with wmt16 en-de and de-en, and a set of two references."""
    files = {
        "wmt16/wmt16.en-de.src": "one\ntwo\nthree\n",
        "wmt16/wmt16.en-de.ref": "eins\nzwei\ndrei\n",
        "wmt16/wmt16.de-en.src": "vier\nfünf\n",
        "wmt16/wmt16.de-en.ref": "four\nfive\n",
        "wmt16/wmt16.en-de.docid": "a\na\na\n",
        "wmt21/AB/wmt21_AB.en-de.src": "x\ny\n",
        "wmt21/AB/wmt21_AB.en-de.ref-A": "a\n\n",
        "wmt21/AB/wmt21_AB.en-de.ref-B": "b\nc\n",
        "wmt21/AB/wmt21_AB.en-de.ref-C": "not allowed\nnot allowed\n",
    }
    for name, text in files.items():
        path = tmp_path / "sacrebleu" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setenv("SACREBLEU", str(tmp_path / "sacrebleu"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "sacrebleu"


BOTH = {"sacrebleu": "wmt16", "directions": ["en-de", "de-en"]}


def test_each_direction_has_a_set_of_its_own(cache):
    assert rows(BOTH, ("en", "de")) == [(0, ("one", "eins")), (1, ("two", "zwei")), (2, ("three", "drei"))]
    assert rows(BOTH, ("de", "en")) == [(0, ("vier", "four")), (1, ("fünf", "five"))]
    assert rows({**BOTH, "lines": [1, 2]}, ("en", "de")) == [(1, ("two", "zwei"))]


@pytest.mark.parametrize("codes", [("eng", "deu"), ("en", "ger"), ("eng", "de-DE")])
def test_other_codes_of_the_languages(cache, codes):
    source = {"sacrebleu": "wmt16", "directions": [list(codes)]}
    assert rows(source, codes) == rows(source, ("en", "de")) == rows(BOTH, ("en", "de"))
    one, other = parse(source)[0], parse({"sacrebleu": "wmt16", "config": "en-de"})[0]
    assert other.serves(Direction(*codes))
    assert one.shared(other)
    assert not one.remote


def test_one_direction_read_backwards_only_where_it_is_asked_for(cache):
    source = {"sacrebleu": "wmt16", "config": "de-en"}
    assert rows(source, ("en", "de")) == [(0, ("four", "vier")), (1, ("five", "fünf"))]
    assert rows(source, ("de",))[0] == (0, ("vier",))


BOTH_REFERENCES = {"sacrebleu": "wmt21/AB", "config": "en-de"}


def test_several_references_are_read_where_they_count(cache, tmp_path):
    """Those of B and A; where A is empty, B is the first. Training text takes the first."""
    assert rows(BOTH_REFERENCES, several=True) == [(0, ("x", ["a", "b"])), (1, ("y", ["c", ""]))]
    assert rows(BOTH_REFERENCES) == [(0, ("x", "a")), (1, ("y", "c"))]
    assert "character" in complaint(BOTH_REFERENCES, max_line=0.5)
    excluded = Excluded(parse(BOTH_REFERENCES), ("de", "en"))
    assert [text in excluded for text in ("x", "a", "b", "c", "not allowed")] == [True] * 4 + [False]
    hold_out(parse_direction("en-de"), parse(BOTH_REFERENCES, BOTH), tmp_path / "test.parquet")
    assert tables.references_of(tables.read(tmp_path / "test.parquet", "heldout"))[:3] == [
        ["a", "b"],
        ["c", ""],
        ["eins"],
    ]
    hold_out(parse_direction("de-en"), parse(BOTH_REFERENCES), tmp_path / "back.parquet")
    back = tables.read(tmp_path / "back.parquet", "heldout")
    assert (back["source"].tolist(), tables.references_of(back)) == (["a", "c"], [["x"], ["y"]])
    write_text("de", ["en", "de"], parse(BOTH_REFERENCES), 2, 0, tmp_path / "text.parquet")
    assert set(tables.read(tmp_path / "text.parquet", "text")["text"]) == {"a", "c"}


@pytest.mark.parametrize(
    ("name", "pair", "translators"),
    [
        ("wmt21", "de-en", "AB"), ("wmt21/B", "de-en", "AB"), ("wmt21/C", "en-de", "ACD"), ("wmt21/D", "en-de", "DCA"),
        ("wmt21/AB", "en-zh", "BA"), ("wmt21/AC", "en-de", "ACD"), ("wmt22", "en-cs", "BC"), ("wmt23", "he-en", "AB"),
        ("wmt21/dev", "en-is", ["", "A"]), ("wmt22", "liv-en", [""]),
    ],
)  # fmt: skip
def test_the_references_are_those_that_sacrebleu_names(tmp_path, monkeypatch, name, pair, translators):
    """Its own API reads the archive and names them; here, the texts in the cache must do."""
    import sacrebleu

    source, target = pair.split("-")
    dataset = sacrebleu.DATASETS[name]
    monkeypatch.setenv("SACREBLEU", str(tmp_path))
    for attribute, folder in (("_outdir", tmp_path / name), ("_rawdir", tmp_path / name / "raw")):
        monkeypatch.setattr(dataset, attribute, str(folder))
    monkeypatch.setattr(dataset, "maybe_download", lambda: None)
    labels = [f"ref{one}" if name == "wmt23" else one for one in translators]
    parts = [
        f'<ref lang="{target}"' + (f' translator="{one}"' if one else "") + f'><seg id="1">by {one}</seg></ref>'
        for one in labels
    ]
    path = tmp_path / name / "raw" / dataset._get_langpair_path(pair).removeprefix(f"{dataset._rawdir}/")
    path.parent.mkdir(parents=True)
    document = f'<doc origlang="{source}" id="d"><src lang="{source}"><seg id="1">s</seg></src>{"".join(parts)}</doc>'
    path.write_text(f"<dataset>{document}</dataset>")
    assert testsets.cached(name, parse_direction(pair)) is None
    wanted = dataset.get_reference_files(pair)
    found, *references = testsets.cached(name, parse_direction(pair))
    assert found == dataset.get_source_file(pair)
    assert sorted(references) == sorted(wanted)
    assert wanted


def test_as_a_test_set_as_scoring_text_and_as_excluded_text(cache, tmp_path):
    hold_out(parse_direction("de-en"), parse(BOTH), tmp_path / "test.parquet")
    write_text("de", ["en", "de"], parse(BOTH), 2, 0, tmp_path / "text.parquet")
    excluded = Excluded(parse(BOTH), ("de", "en"))
    assert all(text in excluded for text in ("One.", "drei", "Four", "fünf"))
    assert parse(BOTH)[0].shared(parse({"sacrebleu": "wmt16", "config": "de-en"})[0])


def test_the_config_knows_its_languages_and_whether_a_network_is_needed(cache):
    parsed = parse(BOTH, {"sacrebleu": "wmt17", "config": "en-de"}, BOTH_REFERENCES)
    assert parsed[0].languages == ("en", "de")
    assert [source.name for source in parsed] == ["wmt16", "wmt17-en-de", "wmt21-AB-en-de"]
    assert [source.remote for source in parsed] == [False, True, False]
    assert parsed[0].serves(Direction("de", "en"))
    assert not parsed[0].serves(Direction("en", "fr"))
    assert parsed[1].serves(Direction("de", "en"))
    assert parsed[0].paths() == []
    assert "its languages are not known" in complaint({"sacrebleu": "wmt16"})


def test_offline_and_not_in_the_cache(cache):
    message = complaint({"sacrebleu": "wmt17", "config": "en-de"})
    assert message.startswith("sacrebleu wmt17 en-de: ")
    assert all(part in message for part in (str(cache), "HF_HUB_OFFLINE is set", "lander prefetch", "SACREBLEU"))


@pytest.mark.parametrize("fault", [OSError("no route\nto host"), SystemExit(1)])
def test_a_download_that_fails(cache, monkeypatch, fault):
    def fail(name, langpair):
        raise fault

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(testsets, "_download", fail)
    message = complaint({"sacrebleu": "wmt17", "config": "en-de"})
    assert "cannot be fetched" in message
    assert "lander prefetch" in message


def test_unknown_sets_and_directions_and_a_cut_file(cache):
    assert "no such test set; did you mean wmt16?" in complaint({"sacrebleu": "wmt-16", "config": "en-de"})
    assert "wmt17: has no en-it; there are: cs-en, de-en" in complaint(
        {"sacrebleu": "wmt17", "config": "en-it"}, ("en", "it")
    )
    assert "en, fr are not in one of its directions (en-de, de-en)" in complaint(BOTH, ("en", "fr"))
    (cache / "wmt16" / "wmt16.en-de.ref").write_text("eins\n")
    assert "wmt16.en-de.src has 3 lines but" in complaint(BOTH)


def test_the_layout_of_the_cache_is_sacrebleus(cache):
    import sacrebleu

    for name, reference in (("wmt16", "ref"), ("wmt21", "ref:A"), ("wmt20/robust/set1", "ref"), ("mtnt2019", "ref")):
        dataset = sacrebleu.DATASETS[name]
        pair = parse_direction(next(iter(dataset.langpairs)))
        files = [dataset._get_txt_file_path(f"{pair.source}-{pair.target}", field) for field in ("src", reference)]
        for file in files:
            path = cache / file.removeprefix(f"{sacrebleu.SACREBLEU_DIR}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x\n")
        assert [cached.rsplit(".", 1)[1] for cached in testsets.cached(name, pair)] == [
            "src",
            reference.replace(":", "-"),
        ]
