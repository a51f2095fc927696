"""Tests of `lander.evaluate`. Known numbers are from the `sacrebleu` command line (2.6.0) or counted by hand."""

import csv
import json
import unicodedata

import pandas as pd
import pytest
from made import write_table
from sacrebleu.metrics import BLEU

from lander.evaluate import significance, translations
from lander.evaluate.__main__ import main, score_all
from lander.evaluate.bleu import bleu_for, flores
from lander.evaluate.collect import COLUMNS, collect, means, merge_signatures, read_scores, write_scores
from lander.evaluate.contamination import normalise, seen_in_training
from lander.evaluate.metrics import METRICS, Look, Metric, check_files, look
from lander.evaluate.outputs import flags, repeated_share, target_judge, unfinished
from lander.evaluate.scoring import score, segments
from lander.evaluate.segments import read_all
from lander.evaluate.translations import Translations
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.languages import Direction
from lander.shared.runs import Model

GERMAN = (
    ["Der Hund läuft schnell nach Hause.", "Ich habe 3 Äpfel gekauft."],
    ["Der Hund rennt schnell nach Hause.", "Ich habe drei Äpfel gekauft."],
)
PLACE = {"method": "m", "variant": "v", "seed": "0", "test": "t", "direction": "en-de"}
CHINESE = (["我今天去了北京大学。", "他喜欢吃苹果和香蕉。"], ["我今天去北京大学了。", "他喜欢吃苹果与香蕉。"])


def items(hypothesis, reference, source=None, raw=None, cut=None):
    return Translations(source or ["?"] * len(hypothesis), reference, raw or hypothesis, hypothesis, cut)


def marks_of(one, target="de"):
    return flags(one, Direction("en", target), None).marks


def scores_of(one, target, seen=None, **options):
    flagged = flags(one, Direction("en" if target != "en" else "de", target), seen)
    found = score(one, target, flagged, **options)[0]
    assert all("|" in score.signature for score in found)
    return {score.metric: score for score in found}


@pytest.mark.parametrize(
    ("target", "texts", "bleu", "chrf", "tokenizer"),
    [
        ("de", GERMAN, 40.016016, 73.424508, "13a"),  # sacrebleu ref -i hyp -l en-de -w 6 (-m chrf --chrf-word-order 2)
        ("zh", CHINESE, 60.931201, 40.836168, "zh"),  # sacrebleu ref -i hyp -l en-zh -w 6
        ("zh-Hant", CHINESE, 60.931201, 40.836168, "zh"),
        *(
            (code, CHINESE, 60.931201, 40.836168, "zh")
            for code in ("yue", "zho", "cmn-Hant", "chi", "zh-TW", "zh-Hanb", "zh-Bopo")
        ),
        ("it", CHINESE, 0.0, 40.836168, "13a"),  # what the wrong tokenizer would say of the same text
    ],
)
def test_known_scores(target, texts, bleu, chrf, tokenizer):
    found = scores_of(items(*texts), target, extras=["bleu_13a"])
    assert found["bleu"].value == pytest.approx(bleu, abs=1e-6)
    assert found["bleu_13a"].value == pytest.approx(bleu if tokenizer == "13a" else 0, abs=1e-6)
    assert "tok:13a" in found["bleu_13a"].signature
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


NFC = ["Les élèves ont mangé près de l’école.", "Il fait très chaud là-bas, n’est-ce pas ?"]
NFD = [unicodedata.normalize("NFD", text) for text in NFC]
MARKED = [f"\u200f{text}\u200e" for text in NFC]


@pytest.mark.parametrize(("outputs", "references"), [(NFC, NFD), (NFC, MARKED), (NFD, NFC), (NFC, [NFC[0], NFD[1]])])
def test_texts_in_another_form_are_scored_in_both(outputs, references):
    found = scores_of(items(outputs, references), "fr")
    assert found["bleu"].value == pytest.approx(BLEU().corpus_score(outputs, [references]).score)
    assert found["bleu"].value < 99
    assert found["bleu_nfc"].value == found["chrf2++_nfc"].value == pytest.approx(100)
    assert found["bleu_nfc"].signature != found["bleu"].signature
    alike = scores_of(items(references, references), "fr")
    assert "bleu_nfc" not in alike
    assert "bleu_nfc" not in scores_of(items(NFC, ["Autre chose.", NFC[1]]), "fr")


def test_references_in_another_form_are_warned_of(tmp_path, capsys):
    for reference, said in ((NFD, "t en-fr: references of 2 of 2 items are not in NFC"), (NFC, None)):
        write_translations(
            tmp_path / "t/en-fr.jsonl", [("?", one, text, text) for one, text in zip(reference, NFC, strict=True)]
        )
        score_all(tmp_path, {"t": ["en-fr"]}, None, Model("m", "main", 0), tmp_path / "out")
        warning = capsys.readouterr().err
        assert said in warning if said else not warning
        if said:
            assert "bleu_nfc 100.0" in warning


def test_empty_hypotheses():
    found = scores_of(items(["", " "], ["one two three four five", "six"]), "en")
    assert {name: s.value for name, s in found.items()} == {
        "bleu": 0.0, "chrf2++": 0.0, "bleu_raw": 0.0, "length_ratio": 0.0, "length_ratio_raw": 0.0, "repeated": 0.0,
        "empty": 1.0, "copied": 0.0, "off_target": 0.0, "language_unknown": 1.0,
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
    assert marks_of(one)["copied"] == [False, True, False]


def test_tokenizers_that_are_not_installed(monkeypatch):
    from sacrebleu.tokenizers import tokenizer_ja_mecab, tokenizer_ko_mecab

    monkeypatch.setattr(tokenizer_ja_mecab, "MeCab", None)
    monkeypatch.setattr(tokenizer_ko_mecab, "MeCab", None)
    for language, package in (("ja", "ja"), ("jpn", "ja"), ("ko", "ko")):
        with pytest.raises(UserError, match=rf'pip install "sacrebleu\[{package}\]"'):
            bleu_for(language)


def test_the_wrong_tokenizer_is_refused_with_the_reason(tmp_path):
    for language, own in (("zh", "zh"), ("zh-Hant", "zh"), ("yue", "zh"), ("ja", "ja-mecab")):
        with pytest.raises(UserError, match="written without spaces") as caught:
            bleu_for(language, "13a")
        assert f"refused for {language}" in str(caught.value)
        assert f"then it is {own}" in str(caught.value)
    assert "tok:13a" in scores_of(items(*GERMAN), "de", tokenizer="13a")["bleu"].signature
    assert "tok:char" in scores_of(items(*CHINESE), "zh", tokenizer="char")["bleu"].signature
    command = f"score --translations {tmp_path} --directions en-zh --tokenizer 13a --method m --out-dir {tmp_path}"
    with pytest.raises(UserError, match="refused for zh"):  # before anything is read
        main([*command.split(), "--tests", '["t"]'])


def test_spbleu(tmp_path, monkeypatch):
    """With a small sentencepiece model in the place of flores200's: BLEU of its pieces."""
    import sentencepiece
    from sacrebleu.metrics import BLEU
    from sacrebleu.tokenizers import tokenizer_spm

    monkeypatch.setattr(tokenizer_spm, "SACREBLEU_DIR", str(tmp_path))
    with pytest.raises(UserError, match=r"metric spbleu: .*flores200sacrebleuspm is missing"):
        check_files(["spbleu"])
    path = flores()[0]
    path.parent.mkdir()
    with open(path, "wb") as stream:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(GERMAN[0] + GERMAN[1]), model_writer=stream, vocab_size=32, minloglevel=2
        )
    found = scores_of(items(*GERMAN), "de", extras=["spbleu"])["spbleu"]
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    split = [[" ".join(pieces.encode(text, out_type=str)) for text in texts] for texts in GERMAN]
    assert found.value == pytest.approx(BLEU(tokenize="none", force=True).corpus_score(split[0], [split[1]]).score)
    assert "tok:flores200" in found.signature


def test_a_metric_is_one_entry(tmp_path, monkeypatch):
    """TER has two statistics, as the loss does; its name says how it is scored, tested and shown."""
    from sacrebleu.metrics import TER

    entry = Metric(Look("TER", best="min"), lambda _: TER(), lambda sums: 100 * sums[0] / sums[1].clip(1), fixed=[1])
    monkeypatch.setitem(METRICS, "ter", entry)
    files = []
    for method, texts in (("a", GERMAN[0]), ("b", ["Nein.", "Doch."])):
        one = items(texts, GERMAN[1])
        scores, measured = score(one, "de", flags(one, Direction("en", "de"), None), extras=["ter"])
        found = {s.metric: s for s in scores}["ter"]
        assert found.value == pytest.approx(TER().corpus_score(texts, [GERMAN[1]]).score)
        files.append(tmp_path / f"{method}.parquet")
        tables.write(files[-1], segments(PLACE | {"method": method}, measured), "segments")
    rows = significance.compare(read_all(files), ["b/v"], 100)
    (row,) = [row for row in rows if row["metric"] == "ter" and row["direction"] == "en-de" and row["baseline"]]
    assert row["difference"] < 0
    assert look("ter").best == "min"
    tables.write(files[0], tables.read(files[0], "segments").replace({"metric": {"ter": "wer"}}), "segments")
    with pytest.raises(UserError, match=r"a\.parquet: .* wer .*statistics"):
        read_all(files)


ENGLISH = "The committee has decided that the meeting will take place tomorrow."
GERMAN_TEXT = "Der Ausschuss hat beschlossen, dass die Sitzung morgen stattfinden wird."


@pytest.mark.parametrize(
    ("target", "text", "language"),
    [
        ("de", GERMAN_TEXT, "de"),
        ("de", ENGLISH, "en"),
        ("de", "Ja, bitte.", None),
        ("de", "", None),
        ("de", "委员会决定明天举行会议。", "zh"),  # its script tells
        ("zh", "委员会决定明天举行会议。", "zh"),
        ("zh", ENGLISH, "en"),
        ("zh", "USB", None),
        ("ar", GERMAN_TEXT, "de"),
        ("ar", "Bonne nuit tous", ""),  # too short to tell languages of one script apart
        ("ar", "Bitte", None),
        ("en", "قررت اللجنة أن يعقد الاجتماع غدا", "ar"),
    ],
)
def test_language_of_outputs(target, text, language):
    assert target_judge(Direction("en" if target != "en" else "de", target))(text) == language


SCRIPTS = {  # code -> text of the language in a script that the identifier has not learnt it in
    "sr-Latn": "Odbor je odlučio da će se sastanak održati sutra ujutru u novoj zgradi.",
    "srp-Latn-RS": "Odbor je odlučio da će se sastanak održati sutra ujutru u novoj zgradi.",
    "az-Cyrl": "Бүтүн инсанлар ләјагәт вә һүгугларына ҝөрә азад вә бәрабәр доғулурлар.",
    "kk-Latn": "Barlyq adamdar týmysynan azat jáne qadir-qasıeti men quqyqtary teń bolyp dúnıege keledi.",
    "pa-Arab": "سارے انسان آزاد تے حقوق تے عزت دے لحاظ نال برابر پیدا ہوندے نیں۔",
    "bs-Cyrl": "Одбор је одлучио да ће се састанак одржати сутра ујутру у новој згради.",
}


@pytest.mark.parametrize("target", SCRIPTS)
def test_outputs_in_another_script_than_the_usual_one(target):
    judge = target_judge(Direction("en", target))
    foreign = "Комитет решил, что заседание состоится завтра утром в новом здании." if "Cyrl" in target else ENGLISH
    assert [judge(SCRIPTS[target]), judge(ENGLISH), judge(foreign) == target] == [target, "en", False]


def test_codes_of_one_language_give_the_same_scores():
    texts = (["The same sentence.", ENGLISH, GERMAN_TEXT], ["The very same sentence.", ENGLISH, GERMAN_TEXT])
    wanted = scores_of(items(*texts), "de")
    for code in ("deu", "ger", "de-DE", "deu-Latn"):
        assert scores_of(items(*texts), code) == wanted
    assert target_judge(Direction("de", "eng"))(ENGLISH) == "eng"
    assert target_judge(Direction("deu", "fra"))(GERMAN_TEXT) == "deu"


def test_off_target_outputs_are_told_apart_from_short_ones(tmp_path):
    one = items([ENGLISH, GERMAN_TEXT, "Ja.", ENGLISH], ["x"] * 4)
    found = scores_of(one, "de")
    assert found["off_target"].value == 0.5
    assert found["language_unknown"].value == 0.25
    rows = flags(one, Direction("fr", "de"), None).rows()
    assert rows == [(0, "off_target", "en"), (2, "language_unknown", ""), (3, "off_target", "en")]


def test_a_copy_is_in_the_language_of_the_source():
    texts = ["Bonjour à tous", "Le comité a décidé que la réunion aurait lieu demain."]
    one = Translations([texts[0], ENGLISH], ["x"] * 2, [texts[0].upper(), texts[1]], [texts[0].upper(), texts[1]])
    rows = [row for row in flags(one, Direction("it", "ar"), None).rows() if row[1] == "off_target"]
    assert rows == [(0, "off_target", "it"), (1, "off_target", "fr")]


def test_a_target_that_the_identifier_does_not_know(capsys):
    assert "off_target" not in marks_of(items(["ojoj"], ["x"]), "szl")
    assert "does not know szl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("a b", True), ("\n a b", True), ("a b\n", False), ("a\nb c", False), ("a\u2028b", False), ("", True)],
)
def test_unfinished_translations(raw, expected):
    assert unfinished(raw) is expected


def test_outputs_cut_by_the_length_limit():
    one = items(["a", "b", "c"], ["x"] * 3, raw=["a", "b\nmore and m", "c"], cut=[True, True, False])
    found = scores_of(one, "de")
    assert found["cut"].value == pytest.approx(1 / 3)  # the second is whole: what was cut came after it
    assert found["cut_raw"].value == pytest.approx(2 / 3)
    assert "cut" not in scores_of(items(["a"], ["x"]), "de")


def test_repeated_ngrams():
    # "a b a b a b a": abab baba abab baba, 2 of 4 repeated; "a b c d e": 2, none repeated; too short: none
    assert repeated_share(["a b a b a b a", "a b c d e", "a b c", ""], str) == pytest.approx(2 / 6)
    assert repeated_share(["a"], str) == 0.0
    looping = items(["你好你好你好你"], ["你好"])
    assert scores_of(looping, "zh")["repeated"].value == pytest.approx(2 / 4)


def test_segments_keep_scores_and_statistics(tmp_path):
    one = items(*GERMAN)
    _, measured = score(one, "de", flags(one, Direction("en", "de"), None))
    tables.write(tmp_path / "s.parquet", segments(PLACE, measured), "segments")
    table = tables.read(tmp_path / "s.parquet", "segments")
    assert table["metric"].tolist() == ["bleu", "bleu", "chrf2++", "chrf2++"]
    assert table["line"].tolist() == [0, 1, 0, 1]
    # "Der Hund läuft schnell nach Hause ." against "... rennt ...": lengths, matches, n-grams
    assert table["statistics"][0].tolist() == [7, 7, 6, 4, 2, 1, 7, 6, 5, 4]
    # precisions 6/7, 4/6, 2/5, 1/4
    assert table["score"][0] == pytest.approx(100 * (6 / 7 * 4 / 6 * 2 / 5 * 1 / 4) ** 0.25)


def test_languages_without_spaces_get_a_note(capsys):
    bleu_for("th")
    assert "chrF2++" in capsys.readouterr().err
    for code in ("tha", "mya", "bo", "km-KH"):
        bleu_for(code)
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


OTHERS = [["the cat sat on the mat today", "a cat sat on a mat today"], ["it rains"], ["hello there", "hi there", "hi"]]
OUTPUTS = ["a cat sat on the mat", "it rains again", "hi there"]


def write_several(path, references, outputs):
    """Translations of items with several references; the sources are a, b, c ..."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as stream:
        for source, (first, *others), output in zip("abc", references, outputs, strict=False):
            row = {"source": source, "reference": first, "raw": output, "hypothesis": output, "loss": 2.0}
            stream.write(json.dumps(row | ({"other_references": others} if others else {})) + "\n")


@pytest.mark.parametrize(
    ("references", "number"), [(OTHERS, "var"), (OTHERS[:1], "2"), ([one[:1] for one in OTHERS], "1")]
)
def test_several_references_are_scored_as_sacrebleu_scores_them(tmp_path, references, number):
    """By its own API, with None where an item has fewer; TER is none of Lander's metrics."""
    from sacrebleu.metrics import BLEU, CHRF

    outputs = OUTPUTS[: len(references)]
    write_several(tmp_path / "in/news/de-en.jsonl", references, outputs)
    write_train(tmp_path / "train.parquet", [("Hi, THERE!", "x")])
    command = (
        f"score --translations {tmp_path}/in --out-dir {tmp_path}/out --method lora --train {tmp_path}/train.parquet"
    )
    main([*command.split(), "--tests", '{"news": ["de-en"]}'])
    found = {row["metric"]: row for row in read_scores(tmp_path / "out/news/de-en.csv")}
    streams = [[one[place] if place < len(one) else None for one in references] for place in range(3)]
    streams = [stream for stream in streams if any(stream)]
    segments = tables.read(tmp_path / "out/news/de-en.segments.parquet", "segments")
    for name, metric, single in (
        ("bleu", BLEU(force=True), BLEU(force=True, effective_order=True)),
        ("chrf2++", CHRF(word_order=2), CHRF(word_order=2)),
    ):
        assert float(found[name]["score"]) == pytest.approx(metric.corpus_score(outputs, streams).score, abs=1e-5)
        assert found[name]["signature"] == str(metric.get_signature())
        assert f"nrefs:{number}|" in found[name]["signature"]
        wanted = [single.sentence_score(text, one).score for text, one in zip(outputs, references, strict=True)]
        assert segments[segments["metric"] == name]["score"].tolist() == pytest.approx(wanted)
    assert float(found["contaminated"]["score"]) == (0.333333 if number == "var" else 0)  # its second reference


def test_a_line_with_other_references_that_are_no_texts(tmp_path):
    row = {"source": "a", "reference": "b", "raw": "c", "hypothesis": "c", "other_references": "d"}
    (tmp_path / "x.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match="line 1: other_references is not a list of texts"):
        translations.read(tmp_path / "x.jsonl")


def run_score(tmp_path, *extra):
    command = f"score --translations {tmp_path}/in --out-dir {tmp_path}/out --method lora --seed 3"
    main([*command.split(), "--directions", "en-de", "de-en", "--tests", '["news"]', *map(str, extra)])


def test_the_command_line(tmp_path):
    pairs = [("seen", "gesehen", "a\u2028b", "a\u2028b"), ("new thing here now", *["neues Ding hier jetzt"] * 3)]
    write_translations(tmp_path / "in/news/en-de.jsonl", pairs)
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
    flagged = (tmp_path / "out/news/de-en.flags.csv").read_text()
    assert flagged == "line,flag,detail\n0,contaminated,\n0,copied,\n0,language_unknown,\n"

    files = sorted((tmp_path / "out").rglob("*.csv"))
    flags = ["--out", str(tmp_path / "scores.csv"), "--parquet", str(tmp_path / "scores.parquet")]
    main(["collect", "--scores", *map(str, files), *flags])
    with open(tmp_path / "scores.csv", newline="") as stream:
        table = list(csv.DictReader(stream))
    same = tables.read(tmp_path / "scores.parquet", "scores")
    assert same.assign(score=same["score"].map("{:.6f}".format)).to_dict("records") == table
    assert tuple(table[0]) == COLUMNS
    assert all(row["signature"] for row in table)
    assert {row["direction"] for row in table} == {"en-de", "de-en", "mean", "mean-into-en", "mean-out-of-en"}
    assert {row["direction"] for row in table if row["metric"] == "bleu_unseen"} == {"en-de", "mean-out-of-en"}


def test_what_training_was_repaired_to_is_seen(tmp_path):
    write_train(tmp_path / "train.parquet", [("schön hier", "Tom & Ann"), ("soft", "schÃ¶n dort")])
    texts = ["SchÃ¶n hier.", "Tom &amp; Ann", "so\xadft", "schÃ¶n dort", "schÃ¶n"]
    seen = seen_in_training(texts, [tmp_path / "train.parquet"])
    assert seen == set(map(normalise, texts[:-1]))


@pytest.mark.parametrize("target", ["ja", "ja-Hira", "ja-Kana", "ja-Hrkt", "jpn_Jpan"])
def test_scripts_of_a_language_share_its_tokenizer(target):
    with pytest.raises(UserError, match="refused for"):
        bleu_for(target, "13a")


def test_what_training_has_seen_is_looked_up_once(tmp_path):
    write_translations(tmp_path / "in/news/en-de.jsonl", [("seen", "gesehen", "a", "a"), ("new", "neu", "b", "b")])
    write_translations(tmp_path / "in/news/de-en.jsonl", [("gesehen", "seen", "a", "a")])
    write_train(tmp_path / "train.parquet", [("Seen.", "anderes")])
    rows = pd.DataFrame({"source": ["seen", "new"], "target": ["gesehen", "neu"], "origin": "o", "line": [0, 1]})
    tables.write(tmp_path / "test.parquet", rows, "heldout")
    main(["seen", "--heldout", str(tmp_path / "test.parquet"), "--train", str(tmp_path / "train.parquet"),
          "--out", str(tmp_path / "seen.json")])  # fmt: skip
    assert json.loads((tmp_path / "seen.json").read_text()) == ["seen"]
    run_score(tmp_path, "--train", tmp_path / "train.parquet")
    apart = [path.read_bytes() for path in sorted((tmp_path / "out").rglob("*.csv"))]
    run_score(tmp_path, "--seen", tmp_path / "seen.json")
    assert [path.read_bytes() for path in sorted((tmp_path / "out").rglob("*.csv"))] == apart
    with pytest.raises(UserError, match="give one of them"):
        run_score(tmp_path, "--seen", tmp_path / "seen.json", "--train", tmp_path / "train.parquet")
    (tmp_path / "seen.json").write_text("{}")
    with pytest.raises(UserError, match=r"seen\.json: not a JSON list"):
        run_score(tmp_path, "--seen", tmp_path / "seen.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "no translations in it"),
        (b'{"source": "a", "reference": "b", "raw": "c", "hypothesis": "c"}\n{"source": "a', "line 2 is not JSON"),
        (b'{"source": "a", "reference": "b", "raw": null}\n', "line 1 has no text in raw, hypothesis"),
        (b"[1]\n", "line 1 has no text in source"),
        (b'{"source": "a", "reference": "b", "raw": "c", "hypothesis": "c", "cut": "no"}\n', "line 1: cut is 'no'"),
        (b'{"source": "a", "reference": "b", "raw": "c", "hypothesis": "c", "loss": NaN}\n', "line 1: loss is nan"),
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


def test_a_diverged_model_has_no_loss(tmp_path):
    """What `lander.translate` writes for it is read: no remedy would give another number."""
    row = {"source": "a", "reference": "b", "raw": "c", "hypothesis": "c"}
    for nats, known in ((999_999, True), (1_000_000, False), (1e300, False), (None, False)):
        (tmp_path / "en-de.jsonl").write_text("".join(json.dumps({**row, "loss": n}) + "\n" for n in (1.5, nats)))
        assert translations.read(tmp_path / "en-de.jsonl").loss == ([1.5, nats] if known else None)


def test_a_missing_direction_leaves_nothing_behind(tmp_path):
    write_translations(tmp_path / "in/news/en-de.jsonl", [("a", "b", "c", "c")])
    with pytest.raises(UserError, match=r"de-en\.jsonl"):
        run_score(tmp_path)
    assert not (tmp_path / "out").exists()
    write_translations(tmp_path / "in/news/de-en.jsonl", [("a", "b", "c", "c")])
    run_score(tmp_path)
    metrics = {row["metric"] for row in read_scores(tmp_path / "out/news/en-de.csv")}
    assert "bleu" in metrics
    assert "contaminated" not in metrics  # without training texts


def test_translations_have_the_sentences_of_their_test_set(tmp_path):
    """Those of the user's own system, too: they have no seal."""
    test = {"en-de": ["a", "c"], "de-en": ["b", "d"]}
    for direction, sources in test.items():
        write_table(tmp_path / f"test/news/{direction}.parquet", "heldout", {"source": sources, "target": "x"})
        write_translations(tmp_path / f"in/news/{direction}.jsonl", [(source, "x", "y", "y") for source in sources])
    heldout = ["--heldout", *(tmp_path / f"test/news/{direction}.parquet" for direction in test)]
    run_score(tmp_path, *heldout)
    path = tmp_path / "in/news/en-de.jsonl"
    write_translations(path, [("a", "x", "y", "y")])
    with pytest.raises(UserError, match=f"{path}: 1 translations, and the test set has 2 sentences"):
        run_score(tmp_path, *heldout)
    path.write_bytes((tmp_path / "in/news/de-en.jsonl").read_bytes())
    with pytest.raises(UserError, match=f"{path}: line 1 has another source"):
        run_score(tmp_path, *heldout)


def row(direction, value, metric="bleu", signature="tok:13a|version:1", seed="0"):
    return dict(zip(COLUMNS, ("full", "main", seed, "news", direction, metric, str(value), signature), strict=True))


def test_means_by_hand():
    rows = [row("en-de", 10), row("en-zh", 20, signature="tok:zh|version:1"), row("de-en", 60)]
    rows.append(row("de-en", 7, seed="1"))
    found = {(r["seed"], r["direction"]): (float(r["score"]), r["signature"]) for r in means(rows)}
    assert found == {
        ("0", "mean"): (30.0, "tok:13a+zh|version:1|mean:3"),
        ("0", "mean-into-en"): (60.0, "tok:13a|version:1|mean:1"),
        ("0", "mean-out-of-en"): (15.0, "tok:13a+zh|version:1|mean:2"),
        ("1", "mean"): (7.0, "tok:13a|version:1|mean:1"),
        ("1", "mean-into-en"): (7.0, "tok:13a|version:1|mean:1"),
    }
    assert [r["direction"] for r in means([row("cs-uk", 10), row("uk-cs", 20)])] == ["mean"]  # without English


def test_collect_is_sorted_and_refuses_what_is_scored_twice(tmp_path):
    write_scores(tmp_path / "b.csv", [row("en-de", 1), row("de-en", 2)])
    write_scores(tmp_path / "a.csv", [row("de-en", 3, seed="10"), row("de-en", 3, seed="2")])
    once = collect([tmp_path / "b.csv", tmp_path / "a.csv"])
    assert once == collect([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert [r["seed"] for r in once if r["direction"] == "de-en"] == ["0", "2", "10"]
    with pytest.raises(UserError, match=r"b\.csv: full main 0 news en-de bleu is scored in"):
        collect([tmp_path / "b.csv", tmp_path / "b.csv"])


def test_the_references_loss_is_a_metric_with_segments():
    one = Translations(["?"] * 3, ["ab", "abcd", ""], ["x"] * 3, ["x"] * 3, loss=[1.0, 2.5, 0.5])
    scores, measured = score(one, "de", flags(one, Direction("en", "de"), None))
    found = {s.metric: s for s in scores}["loss_per_character"]
    assert found.value == pytest.approx(4.0 / 6)  # nats of all references by their characters, no mean of means
    assert found.signature == "lander:loss_per_character|unit:nats|v:1"
    rows = segments(PLACE, measured).to_pandas().query("metric == 'loss_per_character'")
    assert rows["score"].tolist() == pytest.approx([0.5, 0.625, 0.5])
    assert [list(counts) for counts in rows["statistics"]] == [[1000, 2], [2500, 4], [500, 0]]
    assert "loss_per_character" not in scores_of(items(["a"], ["x"]), "de")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",".join(COLUMNS) + "\n", "no scores"),
        ("method,score\nfull,3\n", "no column variant, seed"),
        (",".join(COLUMNS) + "\nfull,main,0,news,en-de,bleu,high,s\n", "line 2: score 'high' is not a number"),
        (",".join(COLUMNS) + "\nfull,main,0,news,en-de,bleu,3,\n", "line 2: no signature"),
    ],
)
def test_bad_score_files(tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_scores(tmp_path / "s.csv")


def test_merged_signatures_list_what_differs():
    assert merge_signatures(["a:1|b:2", "a:1|b:3"]) == "a:1|b:2+3"
    assert merge_signatures(["own1|b:2", "own1|b:2"]) == "own1|b:2"
    assert merge_signatures(["own1", "own2"]) == "own1|own2"
