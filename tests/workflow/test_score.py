"""`lander score`: outputs of any systems, as those of a run."""

import json

import pytest
from sacrebleu.metrics import BLEU, CHRF

from lander import cli
from lander.evaluate.collect import read_scores
from lander.report import terminal
from lander.workflow import score

SOURCE = ["The cat sat on the mat.", "It rains today.", "Hello there, my friend.", "The house is old."]
REFERENCE = ["Die Katze saß auf der Matte.", "Es regnet heute.", "Hallo, mein Freund.", "Das Haus ist alt."]
MINE = ["Die Katze saß auf der Matte.", "Es regnet morgen.", "Hallo, mein Freund.", ""]
OTHER = ["Eine Katze liegt auf Matten.", "Heute regnet es.", "Hallo, Freunde.", "Das Haus ist neu."]


@pytest.fixture
def files(tmp_path):
    texts = {"news.en": SOURCE, "news.de": REFERENCE, "mine.txt": MINE, "other.txt": OTHER, "second.de": OTHER}
    for name, lines in texts.items():
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return tmp_path


def run(files, *words):
    given = ["-s", str(files / "news.en"), "-r", str(files / "news.de"), "--resamples", "200"]
    cli.main(["score", *given, *(str(files / word) if word.endswith((".txt", ".de")) else word for word in words)])


def test_scores_are_sacrebleus_and_the_folder_is_read_as_a_run(files, capsys):
    run(files, "--hypothesis", "mine.txt", "--hypothesis", "other.txt", "--out", str(files / "scored"))
    said = capsys.readouterr().out
    rows = {(row["method"], row["metric"]): row for row in read_scores(files / "scored/evaluate/scores.csv")}
    for name, lines in (("mine", MINE), ("other", OTHER)):
        for metric, reference in (("bleu", BLEU()), ("chrf2++", CHRF(word_order=2))):
            found = rows[name, metric]
            assert float(found["score"]) == pytest.approx(reference.corpus_score(lines, [REFERENCE]).score, abs=1e-6)
            assert found["signature"].startswith(str(reference.get_signature()))
    assert (rows["mine", "bleu"]["test"], rows["mine", "empty"]["score"]) == ("news", "0.250000")
    table = json.loads(terminal.show(files / "scored", "bleu", "json"))
    assert {row["method"] for row in table if row["baseline"] == "mine"} == {"other"}
    assert "BLEU minus that of mine, on news" in said
    page = (files / "scored/report/index.html").read_text(encoding="utf-8")
    assert "Es regnet morgen." in page
    with pytest.raises(SystemExit):
        run(files, "--hypothesis", "mine.txt", "--out", str(files / "scored"))
    assert "choose another one" in capsys.readouterr().err


def test_several_references(files, capsys):
    run(files, "-r", "second.de", "-d", "en-de", "--hypothesis", "mine.txt", "--metrics", "bleu_13a")
    expected = BLEU().corpus_score(MINE, [REFERENCE, OTHER]).score
    out = capsys.readouterr().out
    assert f"{expected:.1f}" in out
    assert "nrefs:2|" in out


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["--hypothesis", "short.txt"], "short.txt: 1 lines, and the test set has 4 sentences"),
        (["--hypothesis", "none.txt"], "none.txt: no such file"),
        (["--hypothesis", "mine.txt", "mine.txt"], "mine is "),
        (["-d", "en-en", "--hypothesis", "mine.txt"], "en-en"),
        (["-d", "en-ja", "--hypothesis", "mine.txt"], "mecab"),
    ],
)
def test_faults_are_one_line(files, words, wrong, capsys):
    (files / "short.txt").write_text("Ja.\n")
    with pytest.raises(SystemExit) as stopped:
        run(files, *words)
    said = capsys.readouterr().err
    assert (stopped.value.code, said.count("\n")) == (1, 1)
    assert wrong in said.replace("MeCab", "mecab")


def test_a_system_is_called_by_its_file_or_as_it_is_named(tmp_path):
    words = [str(tmp_path / "out" / "nllb-3.3B.de.txt.gz"), "GPT-4o=a/out.txt", "mine=b/out.txt"]
    assert [model.method for model in score.name_systems(words)] == ["nllb-3.3B.de", "GPT-4o", "mine"]
