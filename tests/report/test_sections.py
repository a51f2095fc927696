"""Tests of the numbers in the sections of `lander.report`, by hand, but for scores."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_runs import MADE, make_counts, make_translations, put, table_of, texts
from sacrebleu import sentence_chrf
from sacrebleu.metrics import BLEU

from lander.report import charts, data, detection, provenance, summary, svg, training, translations
from lander.report.analysis import analysis, words
from lander.report.document import Document
from lander.report.inputs import Inputs, parse_assignments, read_benchmarks, read_lengths
from lander.report.tables import duration, quantity, signed
from lander.report.translations import Browser, Group, Output, Sentence, first_pair, read_browser
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.languages import parse_direction
from lander.shared.runs import Model


def test_small_helpers():
    assert [duration(value) for value in (None, 9.6, 750, 12_240)] == ["–", "10 s", "12 min", "3.4 h"]
    assert [quantity(value) for value in (950, 12_345, 4_560_000, 805_519_360)] == ["950", "12.3k", "4.56M", "806M"]
    assert quantity(1.3e9, "B") == "1.3 GB"
    assert [quantity(value) for value in (999_499, 999_700, 999.7, float("nan"))] == ["999k", "1M", "1k", "–"]
    assert [signed(value) for value in (1.23, -4.56, 0.04, -0.04)] == ["+1.2", "−4.6", "0.0", "0.0"]
    log = pd.DataFrame({"update": [1, 1, 2], "loss": [1.0, 4.0, np.inf], "tokens": [2, 1, 5]})
    assert training.binned_loss([log]).values.tolist() == [[1, 2.0]]
    long = pd.DataFrame({"update": range(1, 12_501), "loss": 1.0, "tokens": 1})
    assert len(training.binned_loss([long, long])) == 60


# ---------------------------------------------------------------- layers and neurons


def test_awareness_of_general_and_specific_neurons():
    rows = {"layer": [0, 0, 0, 0], "neuron": [0, 1, 2, 3]}
    neurons = pd.DataFrame({**rows, "kind": ["general"] * 3 + ["specific"], "language": [None] * 3 + ["de"]})
    scores = pd.DataFrame({**rows, "score": [0.001, 0.002, 0.003, 0.02]})
    inputs = Inputs("x", table_of([]), neurons=neurons, awareness={"de": scores})
    found = {name: detection.draw(name, inputs).data["awareness"].tolist() for name in detection.LANGUAGE_LINES}
    assert found == {
        name: [pytest.approx(value)]
        for name, value in (("awareness", 0.0065), ("awareness-general", 0.002), ("awareness-specific", 0.02))
    }


def test_answers_about_layers_and_neurons():
    inputs = Inputs("x", table_of([]))
    inputs.layers = pd.DataFrame(
        {"direction": "en-de", "layer": [0, 1, 2], "delta": [np.nan, 0.5, 0.25], "selected": [False, True, False]}
    )
    kinds = {"kind": ["general", *["specific"] * 3], "language": [None, "ar", "de", "ar"]}
    place = {"layer": [0, 1, 1, 2], "neuron": [0, 0, 1, 0]}
    inputs.neurons = pd.DataFrame({**place, **kinds, "selected": [False, True, True, False]})
    assert summary.findings(inputs) == [
        ("Layers chosen", "1 (of 3, counted from 0)", "detection"),
        ("Specific neurons", "3 of 4 neurons; 2 of 2 in the chosen layers", "detection"),
    ]
    table = {"Arabic (ar)": ["2", "1", "66.7%"], "German (de)": ["1", "1", "33.3%"], "all": ["3", "2", "100.0%"]}
    assert texts(detection.owners_table(inputs)) == table
    inputs.neurons.loc[2, "neuron"] = 0  # a neuron of two languages is one neuron
    assert summary.findings(inputs)[1][1] == "2 of 3 neurons; 1 of 1 in the chosen layers"
    found = detection.owners_table(inputs)
    assert list(texts(found).values()) == [["2", "1", "100.0%"], ["1", "1", "50.0%"], ["2", "1", "100.0%"]]
    assert "2 specific, 1 general" in found.notes[0]
    assert found.notes[1:] == [detection.SHARED]


def test_whether_specific_neurons_are_the_important_ones():
    rows = {"layer": [0] * 4, "neuron": [0, 1, 2, 3]}
    kind = ["general", "general", "specific", "specific"]
    inputs = Inputs("x", table_of([]), neurons=pd.DataFrame({**rows, "kind": kind, "language": None, "selected": True}))
    # by their means: .1 .2 .4 3.3 and 1 .8 1.2 1; means .55 .5 .8 2.15, variances .2025 .09 .16 1.3225
    inputs.awareness = {
        "de": pd.DataFrame({**rows, "score": [1.0, 2.0, 4.0, 33.0]}),
        "en": pd.DataFrame({**rows, "score": [1.0, 0.8, 1.2, 1.0]}),
    }
    (note,) = detection.importance(inputs)  # ranks of the means 2 1 3 4, of the variances 3 1 2 4: 1 - 6 * 2 / 60
    assert "with its variance: 0.80" in note
    assert "squared mean: -0.60" in note  # .669 .36 .25 .286, ranks 4 3 1 2: 1 - 6 * 16 / 60
    assert "2.81 times" in note  # 1.475 / .525
    inputs.awareness["en"] = inputs.awareness["en"][:3]  # ablation of a sample
    assert detection.importance(inputs) == []


def test_masks_from_elsewhere_are_named():
    scores = table_of([("landermt", "main", "0", "en-de", 1.0)])
    inputs = Inputs("x", scores, config="neurons: {masks: lape-masks}")
    (found,) = summary.findings(inputs)
    assert "lape-masks" in found[1]
    assert found[2] == "provenance"
    assert detection.foreign_masks(Inputs("x", scores, config="neurons: {masks: null}")) == ""
    assert detection.foreign_masks(Inputs("x", scores[:0], config="neurons: {masks: lape-masks}")) == ""


def test_overlap_between_languages():
    grid = pd.DataFrame({"layer": 0, "neuron": range(40)})
    # the highest awareness: neurons 38 and 39, and 37 and 38
    languages = {"de": grid.assign(score=range(40)), "en": grid.assign(score=[*range(39), 0])}
    inputs = Inputs("x", table_of([]), awareness=languages)
    drawn = detection.overlap(inputs)
    assert drawn.data.dropna().values.tolist() == [["de", "en", 50], ["en", "de", 50]]
    assert drawn.svg.count(">50<") == 2
    assert texts(drawn.table)["de"] == ["–", "50"]
    assert 'class="shaded"' in svg.inline(drawn.svg, "x", "y")  # its cells keep their colours on a dark page


def test_estimators_agree_as_their_numbers_say():
    rows = ["kind,a,b,layer,language,value,n", "estimators_correlation,taylor,lape,0,en,0.9,8"]
    rows += ["estimators_correlation,taylor,lape,1,de,0.1,8", "estimators_correlation,taylor,lape,1,en,0.7,8"]
    rows += ["estimators_overlap,taylor,lape,0,en,0.99,8", "estimators_overlap,taylor,lape,0,any,0.25,8"]
    rows += ["estimators_overlap,taylor,lape,1,any,,0", "running_overlap,taylor,8,0,any,1,8"]
    drawn = detection.agreement([Document("agreement", "t", [], "\n".join(rows))])
    assert drawn.data["value"].tolist() == [0.7, 0.25]  # medians over layers; of the sets of all languages
    assert drawn.svg.count(">0.70<") == drawn.svg.count(">0.25<") == 2
    assert detection.agreement([]) is None
    assert detection.agreement([Document("agreement", "t", [], "kind,a\n")]) is None


def test_only_what_shows_data_is_of_the_class_data():
    figure, (axes,) = charts.grid(1, 1, 2)
    axes.axhline(0, zorder=0)
    assert "data" not in svg.inline(svg.to_svg(figure, "x", "t"), "x", "y")
    axes.plot([0, 1], [1, 2], label="a")
    axes.bar([0, 1], [1, 2])
    assert svg.inline(svg.to_svg(figure, "x", "t"), "x", "y").count('class="data"') == 3


# ---------------------------------------------------------------- data, cost


def test_data_table_says_whether_it_adds_up(tmp_path):
    make_counts(tmp_path / "c.parquet", ["en-de", "de-en"])
    counts = tables.read(tmp_path / "c.parquet", "counts")
    (table,) = data.count_tables(Inputs("x", counts, counts=counts))
    heads = [head.text for head in table.heads]
    assert heads == ["read", "kept", "empty", "too long", "language", "duplicate", "max pairs"]
    assert texts(table)["all"] == ["2,000", "1,600", "24", "6", "80", "200", "90"]
    assert table.notes[0].endswith(": copied.")
    assert table.notes[1] == "Read = kept + dropped."
    counts.loc[counts["reason"].eq("kept") & counts["direction"].eq("de-en"), "pairs"] = 1
    assert "de-en do not add up" in data.count_tables(Inputs("x", counts, counts=counts))[0].notes[-1]
    make_counts(tmp_path / "c.parquet", ["en-de", "de-en"])
    counts = tables.read(tmp_path / "c.parquet", "counts")
    repaired = counts[counts["reason"] == "copied"].assign(reason="repaired", pairs=7)
    (table,) = data.count_tables(Inputs("x", counts, counts=pd.concat([counts, repaired])))
    assert [head.text for head in table.heads][:3] == ["read", "repaired", "kept"]
    assert texts(table)["all"][:3] == ["2,000", "14", "1,600"]
    assert "Read = kept + dropped." in table.notes
    more = counts[counts["direction"] == "en-de"].assign(origin="news")
    _, by_source = data.count_tables(Inputs("x", counts, counts=pd.concat([counts, more])))
    assert {label: cells[0] for label, cells in texts(by_source).items()} == {
        "cldr": "2,000", "news": "1,000", "all": "3,000",
    }  # fmt: skip


def test_languages_and_their_lengths(tmp_path):
    pairs = {"source": ["abc", "a" * 40], "target": ["xy", "z" * 38], "template": 0, "origin": "cldr", "line": [0, 1]}
    tables.write(tmp_path / "en-de.parquet", pd.DataFrame(pairs), "train")
    inputs = Inputs("x", table_of([]), lengths=read_lengths([tmp_path / "en-de.parquet"]))
    assert inputs.lengths.values.tolist() == [["de", 2, 1], ["de", 38, 1], ["en", 3, 1], ["en", 40, 1]]
    shown = data.lengths(inputs).data.query("language == 'de' and sentences > 0")
    assert shown[["characters", "percent"]].values.tolist() == [[2, 50], [38, 50]]
    assert texts(data.languages_table(inputs))["German (de)"][:3] == ["–", "–", "2"]
    inputs.counts = pd.DataFrame({"direction": ["en-de", "en-fr"]})
    assert texts(data.languages_table(inputs)) == {
        "German (de)": ["0", "1", "2", "2", "38", "38"],
        "English (en)": ["2", "0", "2", "3", "40", "40"],
    }


def test_copied_jobs_cost_nothing(tmp_path):
    for name, seconds in (("data/en", 4), ("data/de", 6), ("layers", 1)):
        put(tmp_path / f"benchmarks/{name}.tsv", f"s\tmax_rss\n{seconds}\t100\n")
    for name in ("data/de", "layers"):
        put(tmp_path / f".copied/{name}.json", '{"from": ["results/a/x"]}')
    inputs = Inputs("x", table_of([]), benchmarks=read_benchmarks(tmp_path / "benchmarks"))
    assert texts(training.stage_table(inputs)) == {
        "data": ["1", "1", "4 s", "4 s", "105 MB"],
        "layers": ["0", "1", "–", "–", "–"],
    }
    assert training.stages(inputs).data["stage"].tolist() == ["data"]


def test_a_training_that_was_stopped_took_the_time_of_all_its_processes(tmp_path):
    """The benchmark of Snakemake is that of the last one, 4 s; the other training was never stopped."""
    for name, seconds, whole in (("full/main/s0", 4, 60.0), ("lora/main/s0", 5, 4.5)):
        put(tmp_path / f"benchmarks/finetune/{name}.tsv", f"s\tmax_rss\n{seconds}\t100\n")
        put(tmp_path / f"finetune/{name}/run.json", json.dumps({"seconds": whole}))
    assert read_benchmarks(tmp_path / "benchmarks")["seconds"].tolist() == [60, 5]


def test_gain_against_cost_by_hand():
    mean = {"zero-shot": 10.0, "full": 30.0, "lora": 25.0, "layers": 24.0, "adapter": 30.0}
    inputs = Inputs("x", table_of([(method, "main", "0", "mean", value) for method, value in mean.items()]))
    sizes = {"full": 1000, "lora": 10, "layers": 10, "adapter": 500}
    inputs.runs = {Model(one, "main", 0): {"parameters_trained": size, "seconds": 2} for one, size in sizes.items()}
    assert training.gains(inputs, ["news"])[["label", "gain", "parameters", "best"]].values.tolist() == [
        ["full", 20.0, 1000, False],  # the adapter does as well with fewer
        ["layers", 14.0, 10, False],
        ["lora", 15.0, 10, True],
        ["adapter", 20.0, 500, True],
    ]


# ---------------------------------------------------------------- translations


def test_translations_small_helpers():
    spread, text_direction = translations.spread, translations.text_direction
    assert [spread(3, 5), spread(10, 4), spread(5, 0)] == [[0, 1, 2], [0, 2, 5, 7], []]
    languages = ["ar", "ar-EG", "az-Arab", "de", "zh-Hant", "heb", "pa-Arab", "pa"]
    assert [text_direction("", one) for one in languages] == [*["rtl"] * 3, *["ltr"] * 2, "rtl", "rtl", "ltr"]
    mixed = [("Hello", "ar"), ("12.5", "ar"), ("مرحبا", "de"), ("BLEU هو مقياس", "ar"), ("das Wort مرحبا", "de")]
    assert [text_direction(*one) for one in mixed] == ["ltr", "rtl", "rtl", "rtl", "ltr"]
    assert translations.visible("a\x00\x7f\x85\r\n\t\udc80\ufffe\u200f\U0001f600") == "a␀␡�␍\n\t��\u200f😀"


def test_translations_are_read_scored_and_marked(tmp_path):
    flags = make_translations(tmp_path, ["en-de"], [("lora", "main"), ("zero-shot", "main")], lines=6)
    # --translations a b --flags a b
    folders, flagged = (parse_assignments(values, "--x") for values in (flags[1:3], flags[4:6]))
    browser = read_browser(folders, flagged, 100)
    assert browser.models == ["zero-shot (fixed instruction)", "lora"]
    assert browser.flags == ["empty", "off-target"]
    assert (browser.cap, browser.notes, browser.pair) == ("", [], (0, 1))
    sentence = browser.groups[0].sentences[5]
    assert sentence.line == 5  # from 0
    zero, lora = sentence.outputs
    assert (zero.flags, lora.flags) == ([("off-target", "en")], [])
    assert lora.chrf == pytest.approx(sentence_chrf(lora.text, sentence.references, word_order=2).score)
    assert zero.chrf < 30 < lora.chrf
    path = flagged[Model("zero-shot", "main", 0)] / "cldr/en-de.flags.csv"
    path.write_text(path.read_text().replace("off_target,en", "off_target,"))  # too short to identify
    outputs = read_browser(folders, flagged, 100).groups[0].sentences[5].outputs
    assert outputs[0].flags == [("off-target", "not de")]
    capped = read_browser(folders, flagged, 3)
    assert [one.line for one in capped.groups[0].sentences] == [0, 2, 4]
    assert "At most 3 sentences" in capped.cap
    unmarked = read_browser(folders, {}, 100)  # without files, what can be seen at once
    assert [one.flags for one in unmarked.groups[0].sentences[3].outputs] == [[("empty", "")]] * 2
    path = next(iter(folders.values())) / "cldr/en-de.jsonl"
    path.rename(path.with_stem("de-en"))
    assert read_browser(folders, {}, 100).notes == [
        "cldr, en-de: no translations of lora.", "cldr, de-en: no translations of zero-shot (fixed instruction).",
    ]  # fmt: skip
    path.with_stem("de-en").rename(path)
    path.write_text(path.read_text().replace("committee", "board", 1))
    with pytest.raises(UserError, match="other sentences than"):
        read_browser(folders, {}, 100)


def test_the_first_two_models_are_the_better_zero_shot_and_landermt():
    def pair(*models):
        """`models`: (method, variant, score)."""
        outputs = [Output(place, "", score, []) for place, (_, _, score) in enumerate(models)]
        group = Group("news", parse_direction("en-de"), 1, [Sentence(0, "", "", outputs, [])])
        return first_pair([Model(method, variant, 0) for method, variant, _ in models], [group])

    zero, best, context = ("zero-shot", "main", 9), ("zero-shot", "best-prompt", 5), ("in-context", "main", 50)
    assert pair(best, zero, ("full", "main", 9), ("landermt", "main", 1), ("lora", "main", 8)) == (1, 3)
    assert pair(zero, best, ("full", "main", 9), ("landermt", "k8", 10), ("lora", "main", 8)) == (0, 3)
    assert pair(best, zero, context) == (1, 2)
    assert pair(context, ("lora", "main", 8)) == (0, 1)
    assert pair(("lora", "main", 8), ("full", "main", 9)) == (0, 1)
    assert pair(zero) == (0, 0)


# ---------------------------------------------------------------- provenance


def test_every_reference_of_a_sentence_is_shown_and_counts(tmp_path):
    row = {"source": "a", "reference": "rain <b>", "raw": "it rains", "hypothesis": "it rains"}
    row["other_references"] = ["it rains"]
    put(tmp_path / "lora/news/de-en.jsonl", json.dumps(row) + "\n")
    browser = read_browser({Model("lora", "main", 0): tmp_path / "lora"}, {}, 10)
    assert browser.groups[0].sentences[0].references == ["rain <b>", "it rains"]
    assert browser.groups[0].sentences[0].outputs[0].chrf == pytest.approx(100)
    put(tmp_path / "full/news/de-en.jsonl", json.dumps({**row, "other_references": ["rain"]}) + "\n")
    folders = {Model(name, "main", 0): tmp_path / name for name in ("lora", "full")}
    with pytest.raises(UserError, match="other sentences than"):
        read_browser(folders, {}, 10)


def test_commands_that_reproduce_a_number(tmp_path, monkeypatch):
    """The last one prints the score that it says; `python` and `sacrebleu` are those of the tests."""
    scores = table_of([("zero-shot", "main", "0", "en-zh", 1.0), ("full", "main", "0", "en-zh", 0.0)])
    inputs = Inputs("demo", scores, config_path="results/demo/config.yaml")
    config = "snakemake --cores 2 --configfile results/demo/config.yaml"
    (_, first), (_, second), (what, third), (_, last) = provenance.commands(inputs, ["table1", "tune"])
    assert [first, second] == [config, f"{config} -- table1 tune"]
    assert third == f"{config} -- results/demo/evaluate/full/main/s0/news/en-zh.csv"
    assert "full, seed 0, en-zh on news" in what
    assert score_printed(tmp_path, monkeypatch, last, [("委员会于5月开会", "委员会于5月开会"), ("“猫”", "“狗”")])


def score_printed(tmp_path, monkeypatch, command, lines, **more) -> bool:
    """Whether a command prints sacreBLEU's score of (reference, hypothesis) and of further references."""
    texts_of = [{"reference": reference, "hypothesis": hypothesis, **more} for reference, hypothesis in lines]
    path = tmp_path / "results/demo/translate/full/main/s0/news/en-zh.jsonl"
    put(path, "\n".join(map(json.dumps, texts_of)) + "\n")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    references, hypotheses = zip(*lines, strict=True)
    others = [[other] * len(lines) for other in more.get("other_references", [])]
    wanted = BLEU(tokenize="zh").corpus_score(hypotheses, [references, *others])
    return done.stdout.strip() == f"{wanted.score:.1f}"


def test_commands_that_reproduce_a_number_of_several_references(tmp_path, monkeypatch):
    scores = table_of([("full", "main", "0", "en-zh", 0.0)])
    scores["signature"] = "nrefs:2|tok:zh"
    inputs = Inputs("demo", scores, config_path="results/demo/config.yaml")
    lines, more = [("委员会于5月开会", "委员会于6月开会"), ("“猫”", "“猫”")], {"other_references": ["委员会于6月"]}
    assert score_printed(tmp_path, monkeypatch, provenance.commands(inputs, [])[-1][1], lines, **more)
    scores["signature"] = "nrefs:var|tok:zh"
    assert "sacrebleu" not in provenance.commands(inputs, [])[-1][1]


def test_what_the_numbers_were_made_with():
    scores = table_of([("full", "main", "0", "en-zh", 0.0)])
    record = {"git": {"commit": "ab" * 20, "changed": []}, "versions": {"torch": "2.12"}}
    inputs = Inputs("demo", scores, runs={Model("full", "main", 0): record}, made=MADE)
    machines, versions = provenance.made_tables(inputs)
    found = texts(machines)
    assert found["this page"][0] == "c0ffee" * 7 + ", changed since: lander/detect/masks.py"
    assert found["this page"][1:5] == ["Chip", "2", "24 GB", "2 × X"]
    assert found["full, seed 0"][0] == "ab" * 20 + ", nothing changed"
    assert texts(versions) == {"sacrebleu": ["–", "2.6.0"], "torch": ["2.12", "2.13.0"]}
    assert texts(provenance.signature_table(inputs)) == {"BLEU": ["all directions", "tok:zh"]}


def test_tokenizers_as_sacrebleus_command_line_calls_them():
    signed = ["13a", "zh", "ja-mecab-0.996-IPA", "ko-mecab-0.996/ko-0.9.2-KO", "flores200"]
    assert list(map(provenance.tokenizer_choice, signed)) == ["13a", "zh", "ja-mecab", "ko-mecab", "flores200"]


def test_points_of_curves_say_their_values():
    rows = pd.DataFrame({"value": [1, 2, 3], "series": "a<b", "mean": [0.5, np.nan, 7.25]})
    drawn = svg.inline(charts.lines("x", "Title", [charts.Panel(rows)]), "x", "Title")
    assert re.findall(r"<title>(.*?)</title>", drawn) == ["a&lt;b, 1: 0.5", "a&lt;b, 3: 7.25"]


def test_translations_by_length_and_by_frequency():
    """Four sentences, shortest to longest: one model copies the references, the other writes one wrong word each."""
    texts = ["a", "a b", "a b c", "a b c d"]
    sentences = [
        Sentence(line, "x", [text], [Output(0, text, 100.0, []), Output(1, "z", 10.0 * line, [])], [])
        for line, text in enumerate(texts)
    ]
    browser = Browser(["good", "bad"], [Group("news", parse_direction("en-de"), 4, sentences)], (0, 1))
    table = analysis(browser)
    assert [head.text for head in table.heads] == ["shortest", "short", "long", "longest", "1", "2–4"]
    assert [[cell.text for cell in cells] for _, cells in table.rows] == [
        ["100.0"] * 6, ["0.0", "10.0", "20.0", "30.0", "0.0", "0.0"],
    ]  # fmt: skip
    assert words("Ein Haus, 房子!") == {"ein": 1, "haus": 1, "房": 1, "子": 1}
    assert analysis(browser.shortened(0, "")) is None
