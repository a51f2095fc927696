"""Sampling, held-out sets, text for the neurons, and the command line of the data stage."""

import json
import random
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sources import parse

from lander.data import sampling
from lander.data.__main__ import hold_out, main, write_text
from lander.data.sampling import pair_hash, sample
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.languages import parse_direction


def make_clean(folder, rows, dropped=0):
    """Tables `clean` and `counts` with these (first, second, origin) rows."""
    table = pd.DataFrame([(*row, line) for line, row in enumerate(rows)], columns=["first", "second", "origin", "line"])
    tables.write(folder / "clean.parquet", table, "clean")
    counts = []
    for origin, kept in table["origin"].value_counts().items():
        counts += [("de-en", origin, "read", kept + dropped), ("de-en", origin, "empty", dropped)]
        counts.append(("de-en", origin, "kept", kept))
    tables.write(folder / "counts.parquet", pd.DataFrame(counts, columns=tables.SCHEMAS["counts"].names), "counts")


def draw(folder, direction="en-de", origins=("a", "b"), max_pairs=0, seed=0, unique=()):
    outputs = folder / "train.parquet", folder / "counts-out.parquet"
    sources = folder / "clean.parquet", folder / "counts.parquet"
    cleaning = {"default": {"duplicates": dict.fromkeys(unique, True)}}
    sample(parse_direction(direction), *sources, origins, max_pairs, seed, None, cleaning, *outputs)
    counts = tables.read(outputs[1], "counts")
    for _, group in counts.groupby("origin"):
        pairs = dict(zip(group["reason"], group["pairs"], strict=True))
        assert pairs.pop("read") == sum(pairs.values())
    return tables.read(outputs[0], "train"), counts


ROWS = [(f"d{n}", f"e{n}", "ab"[n % 2]) for n in range(200)]


def test_the_draw_is_the_pairs_of_smallest_hash_in_that_order(tmp_path):
    make_clean(tmp_path, ROWS)
    train, counts = draw(tmp_path, max_pairs=50, seed=3)
    direction = parse_direction("en-de")
    expected = sorted((pair_hash(3, direction, second, first), second, first) for first, second, _ in ROWS)[:50]
    assert list(train["source"]) == [source for _, source, _ in expected]
    assert list(train["target"]) == [target for _, _, target in expected]
    assert list(train["template"]) == [number % 10 for (_, number), _, _ in expected]
    dropped = counts[counts["reason"] == "max_pairs"]["pairs"].sum()
    assert (len(train), dropped) == (50, 150)
    assert set(counts["direction"]) == {"en-de"}


def test_the_hash_never_changes():
    """Known numbers: a change of the hash would silently change everybody's training data."""
    assert pair_hash(0, parse_direction("en-de"), "Hello.", "Hallo.") == (15366623228178831221, 13114438015118490217)


def test_the_draw_does_not_depend_on_order_or_block(tmp_path, monkeypatch):
    make_clean(tmp_path, ROWS)
    one, _ = draw(tmp_path, max_pairs=70)
    shuffled = ROWS[:]
    random.Random(1).shuffle(shuffled)
    make_clean(tmp_path, shuffled)
    monkeypatch.setattr(sampling, "BLOCK", 7)
    monkeypatch.setattr(tables, "CHUNK", 11)
    other, _ = draw(tmp_path, max_pairs=70)
    columns = ["source", "target", "template", "origin"]
    pd.testing.assert_frame_equal(one[columns], other[columns])


def test_a_long_table_is_read_twice_and_nothing_is_left_beside_it(tmp_path, monkeypatch):
    make_clean(tmp_path, ROWS)
    before = set(tmp_path.iterdir())
    read, opened = tables.read_chunks, []
    monkeypatch.setattr(tables, "read_chunks", lambda *args: opened.append(args) or read(*args))
    monkeypatch.setattr(sampling, "BLOCK", 7)
    train, _ = draw(tmp_path, max_pairs=0)
    assert (len(train), len(opened)) == (200, 2)
    assert not [path for path in set(tmp_path.iterdir()) - before if path.name.startswith(".")]


def test_the_head_of_a_table_is_all_that_is_read_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "CHUNK", 2)
    tables.write_rows(tmp_path / "t.parquet", ((f"line {number}", "x", number) for number in range(7)), "text")
    whole = tables.read(tmp_path / "t.parquet", "text")
    conform, parts = tables._conform, []
    monkeypatch.setattr(tables, "_conform", lambda table, *args: parts.append(len(table)) or conform(table, *args))
    for rows in (0, 1, 2, 3, 7, 9):
        parts.clear()
        head = tables.head(tmp_path / "t.parquet", "text", rows)
        pd.testing.assert_frame_equal(head, whole.head(rows))
        assert sum(parts) == min(7, max(2, rows + rows % 2))


def test_seeds_directions_and_templates_differ(tmp_path):
    make_clean(tmp_path, ROWS)
    one, other = (set(draw(tmp_path, max_pairs=50, seed=seed)[0]["source"]) for seed in (0, 1))
    back, _ = draw(tmp_path, "de-en", max_pairs=50)
    assert one != other
    assert {f"e{text[1:]}" for text in back["source"]} != one
    assert back["source"].str.startswith("d").all()
    assert set(draw(tmp_path)[0]["template"]) == set(range(10))


def test_text_in_another_form_is_kept_and_warned_of(tmp_path, capsys):
    lines = {"fr": ["e\u0301te\u0301", "été", "\u200fa", "d"], "en": ["a", "b", "c", "d &quot;"]}
    for code, texts in lines.items():
        (tmp_path / code).write_text("\n".join(texts) + "\n", encoding="utf-8")
    source = {"name": "news", "files": {code: str(tmp_path / code) for code in lines}}
    hold_out(parse_direction("en-fr"), parse(source), tmp_path / "h.parquet")
    assert list(tables.read(tmp_path / "h.parquet", "heldout")["target"]) == lines["fr"]
    assert "warning: news, en-fr: 3 lines are not in NFC" in capsys.readouterr().err
    hold_out(parse_direction("en-fr"), parse({**source, "lines": [1, 2]}), tmp_path / "h.parquet")
    assert not capsys.readouterr().err
    (tmp_path / "fr").write_text("été\n \n\nx\n", encoding="utf-8")
    hold_out(parse_direction("fr-en"), parse(source), tmp_path / "h.parquet")
    assert "warning: news, fr-en: 2 lines have an empty source or reference" in capsys.readouterr().err


def test_origins_that_do_not_serve_the_direction_are_counted(tmp_path):
    make_clean(tmp_path, ROWS, dropped=5)
    train, counts = draw(tmp_path, origins=["a", "elsewhere"], max_pairs=30)
    assert set(train["origin"]) == {"a"}
    pairs = counts.set_index(["origin", "reason"])["pairs"]
    assert pairs["b", "direction"] == 100
    assert (pairs["b", "kept"], pairs["b", "empty"], pairs["b", "read"]) == (0, 5, 105)
    assert (pairs["a", "max_pairs"], pairs["a", "kept"]) == (70, 30)
    with pytest.raises(UserError, match="direction en-de: no training pair is left"):
        draw(tmp_path, origins=["elsewhere"])


def test_a_sentence_may_be_asked_to_stand_once_on_a_side(tmp_path):
    make_clean(tmp_path, [("d1", "e1", "a"), ("d2", "e1", "a"), ("d2", "e2", "a"), ("d3", "e3", "b")])
    train, counts = draw(tmp_path, unique=["source"])
    assert sorted(train["source"]) == ["e1", "e2", "e3"]
    assert counts.set_index("reason")["pairs"]["duplicate_source"] == 1
    train, _ = draw(tmp_path, unique=["source", "target"])
    assert train["source"].is_unique
    assert train["target"].is_unique
    assert len(draw(tmp_path)[0]) == 4


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.sampled_from("xy")), min_size=1),
    st.integers(0, 5),
    st.sets(st.sampled_from(["source", "target"])),
)
def test_counts_add_up_whatever_is_drawn(tmp_path_factory, rows, max_pairs, unique):
    folder = tmp_path_factory.mktemp("draw")
    make_clean(folder, rows)
    train, counts = draw(folder, origins=["x", "y"], max_pairs=max_pairs, unique=unique)
    assert counts[counts["reason"] == "kept"]["pairs"].sum() == len(train)
    assert not max_pairs or len(train) <= max_pairs


# ---------------------------------------------------------------- held-out sets and text for the neurons


def put(folder, name="set", **texts):
    """A source of files with these texts."""
    for language, text in texts.items():
        (folder / f"{language}.txt").write_bytes(text.encode())
    return {"name": name, "files": {language: str(folder / f"{language}.txt") for language in texts}}


def test_held_out_lines_stay_as_they_are(tmp_path):
    english = ["", "same", "same", "<b>&amp;</b>", " schÃ¶n ", "\x00", "x" * 90_000, "..."]
    german = ["a", "same", "same", "", "b\u2028c", "\x00", "y", "\ufffd"]
    source = put(tmp_path, en="\n".join(english) + "\n", de="\n".join(german) + "\n")
    sources = parse(source, {**source, "name": "more", "lines": [2, 4]})
    hold_out(parse_direction("de-en"), sources, tmp_path / "h.parquet")
    table = tables.read(tmp_path / "h.parquet", "heldout")
    assert list(table["source"]) == german + german[2:4]
    assert list(table["target"]) == english + english[2:4]
    assert list(table["line"]) == [*range(8), 2, 3]
    assert list(table["origin"]) == ["set"] * 8 + ["more"] * 2


@pytest.mark.parametrize(
    ("german", "message"),
    [
        ("a\n", "must have equally many"),
        ("", "empty"),
        ("a\n" + "x" * 1_000_000 + "\n", "line 2: 1,000,000 characters"),
    ],
)
def test_held_out_errors_leave_no_file(tmp_path, german, message):
    source = put(tmp_path, en="a\nb\n", de=german)
    with pytest.raises(UserError, match=message):
        hold_out(parse_direction("de-en"), parse(source), tmp_path / "h.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["de.txt", "en.txt"]


def texts_of(folder, language, languages, sources, sentences=5, seed=0):
    write_text(language, languages, parse(*sources), sentences, seed, folder / "t.parquet")
    return tables.read(folder / "t.parquet", "text")


def test_text_holds_the_same_segments_in_every_language(tmp_path, capsys):
    sides = {language: "".join(f"{language} {n}\n" if n % 5 else "\n" for n in range(30)) for language in ("de", "it")}
    source = put(tmp_path, en="".join(f"en {n}\n" for n in range(30)), **sides)
    drawn = [texts_of(tmp_path, language, ["de", "en", "it"], [source], 10) for language in ("en", "de", "it")]
    assert all(list(table["line"]) == list(drawn[0]["line"]) for table in drawn)
    assert all(line % 5 for line in drawn[0]["line"])
    assert list(drawn[1]["text"]) == [f"de {line}" for line in drawn[0]["line"]]
    assert list(texts_of(tmp_path, "en", ["de", "en", "it"], [source], 10, seed=1)["line"]) != list(drawn[0]["line"])
    assert capsys.readouterr().err == ""


def test_text_of_a_language_of_its_own_comes_with_a_warning(tmp_path, capsys):
    (tmp_path / "x").mkdir()
    sources = [put(tmp_path, en="a\nb\n", de="c\nd\n"), put(tmp_path / "x", "other", en="e\n", it="f\n")]
    assert sorted(texts_of(tmp_path, "it", ["de", "en", "it"], sources)["text"]) == ["f"]
    message = capsys.readouterr().err
    assert "no source holds all of de, en, it" in message
    assert "1 sentences to score neurons with, not the 5" in message
    with pytest.raises(UserError, match="language fr: no source"):
        texts_of(tmp_path, "fr", ["de", "en", "it"], sources)


# ---------------------------------------------------------------- command line


def call(command, **flags):
    """Run a subcommand; values that are no text are passed as JSON."""
    pairs = [(f"--{name.replace('_', '-')}", value) for name, value in flags.items()]
    texts = [(name, value if isinstance(value, str) else json.dumps(value, default=str)) for name, value in pairs]
    main([command, *(part for pair in texts for part in pair)])


def test_the_whole_stage_on_the_built_in_corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = {"builtin": "cldr", "name": "cldr", "lines": [0, 300]}
    held = {"builtin": "cldr", "name": "held", "lines": [300, 320]}
    call("clean", pair="en-de", sources=[source], exclude=[held], out="clean", counts="counts", dropped="dropped")
    for name in ("en-de", "de-en"):
        tables_of_pair = {"clean": "clean", "counts": "counts", "origins": ["cldr"], "max_pairs": 100}
        call("sample", direction=name, **tables_of_pair, out=f"{name}.train", counts_out=f"{name}.counts")
    call("heldout", direction="de-en", sources=[held], out="held")
    call("text", language="de", languages=["de", "zh"], sources=[source], sentences=7, out="text")
    main(["counts", "--counts", "en-de.counts", "de-en.counts", "--out", "all", "--csv", "csv"])
    train, heldout = tables.read("de-en.train", "train"), tables.read("held", "heldout")
    assert (len(train), len(heldout), len(tables.read("text", "text"))) == (100, 20, 7)
    assert not set(train["source"]) & set(heldout["source"])
    table = pd.read_csv("csv")
    assert list(table.columns) == ["direction", "origin", "reason", "pairs"]
    assert set(table["direction"]) == {"en-de", "de-en"}


def test_a_users_fault_is_one_line_and_a_status_that_is_not_zero(tmp_path):
    source = [{"tsv": str(tmp_path / "nope.tsv"), "columns": ["en", "de"]}]
    command = [sys.executable, "-m", "lander.data", "heldout", "--direction", "en-de", "--sources", json.dumps(source)]
    done = subprocess.run([*command, "--out", str(tmp_path / "h.parquet")], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [f"lander data: error: {tmp_path}/nope.tsv: no such file"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flags", [["--origins", "cldr"], ["--origins", "3"], ["--cleaning", "[]"]])
def test_flags_that_are_no_json_of_the_right_form(flags):
    with pytest.raises(UserError):
        main(["sample", "--direction", "en-de", *flags])
