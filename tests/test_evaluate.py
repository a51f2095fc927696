"""Tests of `lander.evaluate`. Known numbers are from the `sacrebleu` command line (2.6.0) or counted by hand."""

import csv
import json

import pandas as pd
import pytest

from lander import tables
from lander.errors import UserError
from lander.evaluate import translations
from lander.evaluate.__main__ import main
from lander.evaluate.bleu import bleu_for
from lander.evaluate.collect import COLUMNS, collect, means, merge_signatures, read_scores, write_scores
from lander.evaluate.contamination import normalise, seen_in_training
from lander.evaluate.metrics import flags, score
from lander.evaluate.translations import Translations

GERMAN = (
    ["Der Hund läuft schnell nach Hause.", "Ich habe 3 Äpfel gekauft."],
    ["Der Hund rennt schnell nach Hause.", "Ich habe drei Äpfel gekauft."],
)
CHINESE = (["我今天去了北京大学。", "他喜欢吃苹果和香蕉。"], ["我今天去北京大学了。", "他喜欢吃苹果与香蕉。"])


def items(hypothesis, reference, source=None, raw=None):
    return Translations(source or ["?"] * len(hypothesis), reference, raw or hypothesis, hypothesis)


def scores_of(one, target, seen=None):
    return {s.metric: s for s in score(one, target, flags(one, seen))}


@pytest.mark.parametrize(
    ("target", "texts", "bleu", "chrf", "tokenizer"),
    [
        ("de", GERMAN, 40.016016, 73.424508, "13a"),  # sacrebleu ref -i hyp -l en-de -w 6 (-m chrf --chrf-word-order 2)
        ("zh", CHINESE, 60.931201, 40.836168, "zh"),  # sacrebleu ref -i hyp -l en-zh -w 6
        ("zh-Hant", CHINESE, 60.931201, 40.836168, "zh"),
        ("yue", CHINESE, 60.931201, 40.836168, "zh"),
        ("it", CHINESE, 0.0, 40.836168, "13a"),  # what the wrong tokenizer would say of the same text
    ],
)
def test_known_scores(target, texts, bleu, chrf, tokenizer):
    found = scores_of(items(*texts), target)
    assert found["bleu"].value == pytest.approx(bleu, abs=1e-6)
    assert found["bleu"].signature.startswith(f"nrefs:1|case:mixed|eff:no|tok:{tokenizer}|smooth:exp|version:")
    assert found["chrf2++"].value == pytest.approx(chrf, abs=1e-6)
    assert found["chrf2++"].signature.startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no|version:")


def test_raw_output_is_scored_apart():
    cut, references = GERMAN
    raw = [cut[0] + "\nDer Hund läuft schnell nach Hause.", cut[1]]
    found = scores_of(items(cut, references, raw=raw), "de")
    assert found["bleu"].value == pytest.approx(40.016016, abs=1e-6)
    # 20 tokens against 13 (brevity penalty 1); n-gram matches 11, 7, 3, 1 of 20, 18, 16, 14
    assert found["bleu_raw"].value == pytest.approx(100 * (11 / 20 * 7 / 18 * 3 / 16 * 1 / 14) ** 0.25, abs=1e-6)
    assert found["length_ratio"].value == pytest.approx((34 + 25) / (34 + 28))
    assert found["length_ratio_raw"].value == pytest.approx((34 + 1 + 34 + 25) / (34 + 28))


def test_empty_hypotheses():
    found = scores_of(items(["", " "], ["one two three four five", "six"]), "en")
    assert {name: s.value for name, s in found.items()} == {
        "bleu": 0.0, "chrf2++": 0.0, "bleu_raw": 0.0, "length_ratio": 0.0, "length_ratio_raw": 0.0,
        "empty": 1.0, "copied": 0.0,
    }  # fmt: skip


def test_one_perfect_sentence_and_an_empty_reference():
    found = scores_of(items(["one two three four"], ["one two three four"]), "en")
    assert found["bleu"].value == pytest.approx(100)
    assert found["chrf2++"].value == pytest.approx(100)
    found = scores_of(items(["ab"], [""]), "en")
    assert found["length_ratio"].value == 2.0
    assert scores_of(items([""], [""]), "en")["length_ratio"].value == 1.0


def test_copied_counts_only_where_the_reference_differs():
    one = items(["Paris", "good morning!", "bonjour"], ["Paris", "bonjour", "bonjour"], ["Paris", "Good Morning", "hi"])
    assert flags(one, None) == {"empty": [False] * 3, "copied": [False, True, False]}
    everything = items(["a b", "c d"], ["x", "y"], ["a b", "c d"])
    assert scores_of(everything, "fr")["copied"].value == 1.0


def test_every_metric_has_a_signature():
    for one in score(items(*GERMAN), "de", flags(items(*GERMAN), set())):
        assert one.signature
        assert "|" in one.signature


def test_tokenizers_that_are_not_installed(monkeypatch):
    from sacrebleu.tokenizers import tokenizer_ja_mecab, tokenizer_ko_mecab

    monkeypatch.setattr(tokenizer_ja_mecab, "MeCab", None)
    monkeypatch.setattr(tokenizer_ko_mecab, "MeCab", None)
    for language in ("ja", "jpn"):
        with pytest.raises(UserError, match=r'BLEU into .*pip install "sacrebleu\[ja\]"'):
            bleu_for(language)
    with pytest.raises(UserError, match=r"sacrebleu\[ko\]"):
        bleu_for("ko")


def test_languages_without_spaces_get_a_note(capsys):
    bleu_for("th")
    assert "chrF2++" in capsys.readouterr().err
    bleu_for("ar")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Hello, World!", "hello world", True),
        ("２．５ km", "2.5 km", True),  # full-width characters
        ("你好。", "你好", True),
        ("a\u200bb", "a b", True),
        ("1.5", "15", False),
        ("लड़का", "लड़की", False),  # combining vowels tell words apart
        ("3 + 4", "3 4", False),
    ],
)
def test_normalise(one, other, same):
    assert (normalise(one) == normalise(other)) is same


def write_train(path, pairs):
    rows = [{"source": s, "target": t, "template": 0, "origin": "o", "line": i} for i, (s, t) in enumerate(pairs)]
    tables.write(path, pd.DataFrame(rows), "train")


def test_contamination_is_found_in_any_direction_and_side(tmp_path):
    write_train(tmp_path / "de-fr.parquet", [("Guten Tag!", "Bonjour"), ("...", "!!!")])
    texts = [normalise(text) for text in ("guten tag", "BONJOUR.", "Hello", "?")]
    assert seen_in_training(texts, [tmp_path / "de-fr.parquet"]) == {"guten tag", "bonjour"}


def write_translations(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ("source", "reference", "raw", "hypothesis")
    lines = [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")


def run_score(tmp_path, *extra):
    command = f"score --translations {tmp_path}/in --out-dir {tmp_path}/out --method lora --seed 3"
    main([*command.split(), "--directions", "en-de", "de-en", "--tests", '["news"]', *map(str, extra)])


def test_the_command_line(tmp_path):
    write_translations(
        tmp_path / "in/news/en-de.jsonl",
        [("seen", "gesehen", "a\u2028b", "a\u2028b"), ("new thing here now", *["neues Ding hier jetzt"] * 3)],
    )
    write_translations(tmp_path / "in/news/de-en.jsonl", [("gesehen", "seen", "gesehen", "gesehen")])
    write_train(tmp_path / "train.parquet", [("Seen.", "anderes")])
    run_score(tmp_path, "--train", tmp_path / "train.parquet")

    rows = read_scores(tmp_path / "out/news/en-de.csv")
    assert all((r["method"], r["variant"], r["seed"], r["test"]) == ("lora", "main", "3", "news") for r in rows)
    found = {row["metric"]: float(row["score"]) for row in rows}
    assert found["contaminated"] == 0.5
    assert found["bleu_unseen"] == pytest.approx(100)
    assert found["chrf2++_unseen"] == pytest.approx(100)
    other = {row["metric"]: float(row["score"]) for row in read_scores(tmp_path / "out/news/de-en.csv")}
    assert other["contaminated"] == 1.0
    assert other["copied"] == 1.0
    assert "bleu_unseen" not in other  # nothing is left to score
    assert (tmp_path / "out/news/de-en.flags.csv").read_text() == "line,flag\n0,contaminated\n0,copied\n"

    files = sorted((tmp_path / "out").rglob("*.csv"))
    main(["collect", "--scores", *map(str, files), "--out", str(tmp_path / "scores.csv")])
    with open(tmp_path / "scores.csv", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert tuple(table[0]) == COLUMNS
    assert all(row["signature"] for row in table)
    assert {row["direction"] for row in table} == {"en-de", "de-en", "mean", "mean-into-en", "mean-out-of-en"}
    assert {row["direction"] for row in table if row["metric"] == "bleu_unseen"} == {"en-de", "mean-out-of-en"}


def test_without_training_texts_nothing_is_said_about_contamination(tmp_path):
    for name in ("en-de", "de-en"):
        write_translations(tmp_path / f"in/news/{name}.jsonl", [("a", "b", "c", "c")])
    run_score(tmp_path)
    metrics = {row["metric"] for row in read_scores(tmp_path / "out/news/en-de.csv")}
    assert metrics == {"bleu", "chrf2++", "bleu_raw", "length_ratio", "length_ratio_raw", "empty", "copied"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "no translations in it"),
        (b'{"source": "a", "reference": "b", "raw": "c", "hypothesis": "c"}\n{"source": "a', "line 2 is not JSON"),
        (b'{"source": "a", "reference": "b", "raw": null}\n', "line 1 has no text in raw, hypothesis"),
        (b"[1]\n", "line 1 has no text in source"),
        (b'{"source": "\xff"}\n', "not UTF-8"),
    ],
)
def test_bad_translations_name_the_file(tmp_path, content, message):
    path = tmp_path / "en-de.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        translations.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_direction_leaves_nothing_behind(tmp_path):
    write_translations(tmp_path / "in/news/en-de.jsonl", [("a", "b", "c", "c")])
    with pytest.raises(UserError, match=r"de-en\.jsonl"):
        run_score(tmp_path)
    assert not (tmp_path / "out").exists()


def row(direction, value, metric="bleu", signature="tok:13a|version:1", seed="0"):
    return dict(zip(COLUMNS, ("full", "main", seed, "news", direction, metric, str(value), signature), strict=True))


def test_means_by_hand():
    rows = [
        row("en-de", 10),
        row("en-zh", 20, signature="tok:zh|version:1"),
        row("de-en", 60),
        row("de-en", 7, seed="1"),
    ]
    found = {(r["seed"], r["direction"]): (float(r["score"]), r["signature"]) for r in means(rows)}
    assert found == {
        ("0", "mean"): (30.0, "tok:13a+zh|version:1|mean:3"),
        ("0", "mean-into-en"): (60.0, "tok:13a|version:1|mean:1"),
        ("0", "mean-out-of-en"): (15.0, "tok:13a+zh|version:1|mean:2"),
        ("1", "mean"): (7.0, "tok:13a|version:1|mean:1"),
        ("1", "mean-into-en"): (7.0, "tok:13a|version:1|mean:1"),
    }


def test_without_english_there_is_only_one_mean():
    assert [r["direction"] for r in means([row("cs-uk", 10), row("uk-cs", 20)])] == ["mean"]


def test_collect_is_sorted_and_refuses_what_is_scored_twice(tmp_path):
    write_scores(tmp_path / "b.csv", [row("en-de", 1), row("de-en", 2)])
    write_scores(tmp_path / "a.csv", [row("de-en", 3, seed="10"), row("de-en", 3, seed="2")])
    once = collect([tmp_path / "b.csv", tmp_path / "a.csv"])
    assert once == collect([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert [r["seed"] for r in once if r["direction"] == "de-en"] == ["0", "2", "10"]
    with pytest.raises(UserError, match=r"b\.csv: full main 0 news en-de bleu is scored in"):
        collect([tmp_path / "b.csv", tmp_path / "b.csv"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no scores"),
        ("method,score\nfull,3\n", "no variant, seed"),
        (",".join(COLUMNS) + "\nfull,main,0,news,en-de,bleu,high,s\n", "line 2: score 'high' is not a number"),
        (",".join(COLUMNS) + "\nfull,main,0,news,en-de,bleu,3,\n", "line 2 has no signature"),
    ],
)
def test_bad_score_files(tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_scores(tmp_path / "s.csv")
    with pytest.raises(UserError, match="no such file"):
        read_scores(tmp_path / "t.csv")


def test_merged_signatures_list_what_differs():
    assert merge_signatures(["a:1|b:2", "a:1|b:3"]) == "a:1|b:2+3"
    assert merge_signatures(["a:1", "a:1"]) == "a:1"
