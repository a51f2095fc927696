"""Test sets of sacreBLEU: from a cache that was prepared here, and what is said where there is none. No network."""

import pytest
from test_sources import complaint, parse, rows

from lander.data import testsets
from lander.data.__main__ import hold_out, write_text
from lander.data.overlap import Excluded
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
        "wmt21/dev/wmt21_dev.en-de.src": "x\n",
        "wmt21/dev/wmt21_dev.en-de.ref-A": "a\n",
        "wmt21/dev/wmt21_dev.en-de.ref-B": "b\n",
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


def test_one_direction_read_backwards_only_where_it_is_asked_for_and_the_first_reference(cache):
    source = {"sacrebleu": "wmt16", "config": "de-en"}
    assert rows(source, ("en", "de")) == [(0, ("four", "vier")), (1, ("five", "fünf"))]
    assert rows(source, ("de",))[0] == (0, ("vier",))
    assert rows({"sacrebleu": "wmt21/dev", "config": "en-de"}, ("en", "de")) == [(0, ("x", "a"))]


def test_as_a_test_set_as_scoring_text_and_as_excluded_text(cache, tmp_path):
    hold_out(parse_direction("de-en"), parse(BOTH), tmp_path / "test.parquet")
    write_text("de", ["en", "de"], parse(BOTH), 2, 0, tmp_path / "text.parquet")
    excluded = Excluded(parse(BOTH), ("de", "en"))
    assert all(text in excluded for text in ("One.", "drei", "Four", "fünf"))
    assert parse(BOTH)[0].shared(parse({"sacrebleu": "wmt16", "config": "de-en"})[0])


def test_the_config_knows_its_languages_and_whether_a_network_is_needed(cache):
    parsed = parse(BOTH, {"sacrebleu": "wmt17", "config": "en-de"}, {"sacrebleu": "wmt21/dev", "config": "en-de"})
    assert parsed[0].languages == ("en", "de")
    assert [source.name for source in parsed] == ["wmt16", "wmt17-en-de", "wmt21-dev-en-de"]
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

    for name in ("wmt16", "wmt21", "wmt20/robust/set1", "mtnt2019"):
        dataset = sacrebleu.DATASETS[name]
        pair = parse_direction(next(iter(dataset.langpairs)))
        files = [dataset._get_txt_file_path(f"{pair.source}-{pair.target}", field) for field in ("src", "ref:A")]
        for file in files:
            path = cache / file.removeprefix(f"{sacrebleu.SACREBLEU_DIR}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x\n")
        assert [cached.rsplit(".", 1)[1] for cached in testsets.cached(name, pair)] == ["src", "ref-A"]
