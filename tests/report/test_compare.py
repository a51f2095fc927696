"""Tests of `lander compare`, on small runs whose translations are scored for real."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from pages import at_widths, browse, browsed, check_page
from report_runs import make_translations, put

from lander import cli
from lander.evaluate import significance
from lander.evaluate.__main__ import score_all
from lander.evaluate.collect import collect, write_scores
from lander.evaluate.resampling import Design
from lander.evaluate.segments import Compared, Method, Place, read_all
from lander.report.compare import page, runs
from lander.report.compare.page import config_table, cost_table, flat, glance_table, software_table, stage_table
from lander.report.compare.runs import MAIN, _family, paired
from lander.report.significance import Significance
from lander.report.tables import Cell
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.runs import Model

PAIR = ["en-de", "de-en"]
ORDER = [("full", "main"), ("lora", "main")]


def make(folder, models=ORDER, directions=PAIR, tests=("cldr",), config=None, seconds=10, lines=12, segments=True):
    """A finished run: the model at an even place writes well, that at an odd one adds letters."""
    files = []
    for test in tests:
        make_translations(folder, directions, models, lines=lines, test=test)
    for method, variant in models:
        model = Model(method, variant, 0)
        own = Path(str(model))
        score_all(folder / "translate" / own, dict.fromkeys(tests, directions), None, model, folder / "evaluate" / own)
        files += [folder / "evaluate" / own / test / f"{one}.csv" for test in tests for one in directions]
        record = {"seconds": seconds, "parameters_trained": 1000, "peak_memory_bytes": 2e9, "versions": {"torch": "2"}}
        put(folder / "finetune" / own / "run.json", json.dumps(record))
    if not segments:
        for path in (folder / "evaluate").rglob("*.segments.parquet"):
            path.unlink()
    write_scores(folder / "evaluate/scores.csv", collect(files))
    put(folder / "config.yaml", yaml.safe_dump(config or {"run": folder.name}))
    put(folder / "benchmarks/report.tsv", f"s\tmax_rss\n{seconds}\t1\n")
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two runs: `a` with full and lora, `b` whose full writes as the lora of `a`; b has one more direction."""
    folder = tmp_path_factory.mktemp("two")
    a = make(folder / "a", config={"run": "a", "layers": {"k": 4}, "methods": ["full", "lora"]})
    b = make(
        folder / "b",
        [("random", "main"), ("full", "main")],
        [*PAIR, "en-fr"],
        config={"run": "b", "layers": {"k": 8}, "methods": ["full", "lora"], "seeds": [0]},
        seconds=25,
    )
    return a, b


@pytest.fixture(scope="module")
def made(two):
    """What is made of them: the runs, common items, scores, tests."""
    found = runs.read_runs(two)
    items, notes = runs.common(found)
    return found, (items, notes), runs.scores_of(found, items), paired(found, items)


def test_what_runs_have_in_common(made):
    _, (items, notes), scores, _ = made
    assert items == [("cldr", "en-de"), ("cldr", "de-en")]
    assert notes == ["Left out, not in all runs: cldr (en-fr) of b."]
    assert set(scores["method"]) == {"full · a", "lora · a", "full · b", "random · b"}
    # a mean is over the common directions, not over the three of b
    bleu = scores[(scores["method"] == "full · b") & (scores["metric"] == "bleu")].set_index("direction")["score"]
    assert bleu["mean"] == pytest.approx((bleu["en-de"] + bleu["de-en"]) / 2, abs=1e-6)
    assert bleu["mean-into-en"] == bleu["de-en"]
    assert "en-fr" not in bleu


def test_tests_are_those_of_one_run(two, made):
    """The same outputs as two methods of one run, tested by `lander.evaluate`."""
    found, _, _, (tested, untested) = made
    files = [two[0] / f"evaluate/full/main/s0/cldr/{one}.segments.parquet" for one in PAIR]
    renamed = [two[1] / f"evaluate/full/main/s0/cldr/{one}.segments.parquet" for one in PAIR]
    for path in renamed:
        copy = two[1] / f"renamed-{path.name}"
        tables.write(copy, tables.read(path, "segments").assign(method="other"), "segments")
        files.append(copy)
    wanted = [row for row in significance.compare(read_all(files), ["full"]) if row["baseline"]]
    assert len(wanted) == 2 * (2 + 3)  # two metrics; two directions and their means
    for row in wanted:
        place = (row["test"], row["direction"], row["metric"])
        outcome = tested.compare(("full · b", MAIN), ("full · a", MAIN), place)
        assert outcome.difference == pytest.approx(row["difference"])
        assert (outcome.low, outcome.high) == pytest.approx((row["difference_low"], row["difference_high"]))
        assert outcome.p == pytest.approx(row["p_holm"])
    assert len(tested.tests) == len(wanted)
    assert untested == []
    assert (("lora · a", MAIN), ("cldr", "en-de", "bleu")) in tested.intervals
    assert runs.bases(found) == {"full · b": "full · a"}


def family(scores, directions, pairs, seeds=False):
    """Tests of made-up sentence scores, by (method, seed), in each direction."""
    models = {Model(name, MAIN, int(seed)): values for (name, seed), values in scores.items()}
    data = {Place("news", direction, "comet"): Compared("s", models) for direction in directions}
    found = Significance(seeds=seeds)
    pairs = [(Method(one, MAIN), Method(base, MAIN)) for one, base in pairs.items()]
    _family(data, [("news", one) for one in directions], Design(pairs, 500), found)
    return found


def test_methods_that_wrote_the_same_are_no_comparisons():
    """Of two methods one writes the same in both runs: the other's p is not doubled."""
    draw = np.random.default_rng(0)
    scores = {(name, "0"): draw.normal(size=(30, 1)) for name in ("full a", "full b", "lora a")}
    pairs, directions = {"full b": "full a", "lora b": "lora a"}, ["en-de", "en-fr"]
    both = family(scores | {("lora b", "0"): scores["lora a", "0"]}, directions, pairs)
    alone = family({key: scores[key] for key in list(scores)[:2]}, directions, pairs)
    assert both.comparisons == alone.comparisons == {("news", "comet"): (2, 2)}  # the means: all, and out of English
    place = ("news", "en-de", "comet")
    full, lora = ([(f"{one} b", MAIN), (f"{one} a", MAIN)] for one in ("full", "lora"))
    assert both.compare(*full, place) == alone.compare(*full, place)
    same = both.compare(*lora, place)
    assert (same.difference, same.p, same.low, same.high, same.significant) == (0, 1, 0, 0, False)


def test_with_several_seeds_a_difference_must_hold_over_them_too():
    """One seed is worse than the base in every sentence, the other better: a quarter of the draws take that alone."""
    level = {("new", "0"): 0.3, ("new", "1"): 0.9, ("base", "0"): 0.5, ("base", "1"): 0.5}
    scores = {key: np.full((40, 1), value) for key, value in level.items()}
    for seeds, p in ((True, 0.25), (False, 1 / 501)):
        found = family(scores, ["en-de"], {"new": "base"}, seeds)
        outcome = found.compare(("new", MAIN), ("base", MAIN), ("news", "en-de", "comet"))
        assert outcome.difference == pytest.approx(0.1)
        assert outcome.p == pytest.approx(p, abs=0.05 if seeds else 1e-9)
        assert not outcome.significant  # the interval, from -.2 to .4, is over seeds in either case


def test_tables_by_hand(made):
    found, _, scores, (tested, _) = made
    table = config_table(found)
    assert [head.text for head in table.heads] == ["a", "b"]
    assert table.rows == [("layers.k", [Cell("4"), Cell("8")]), ("seeds", [Cell("–"), Cell("[0]")])]
    assert flat({"a": {"b": [{"c": "d, e"}], "f": {}}, "g": None, "h": "no"}) == {
        "a.b": "[{c: 'd, e'}]", "a.f": "{}", "g": "null", "h": "'no'",
    }  # fmt: skip
    assert software_table(found) is None
    full = dict(cost_table(found).rows)["full · b"]
    assert [(cell.text, cell.spread) for cell in full] == [
        ("1k", "×1.00"), ("25 s", "×2.50"), ("–", ""), ("2 GB", "×1.00"), ("–", ""),
    ]  # fmt: skip
    assert stage_table(found).rows[0][0] == "report"
    assert [cell.text for cell in stage_table(found).rows[0][1]] == ["10 s", "25 s", "1.05 MB", "1.05 MB"]
    ((label, cells),) = glance_table(found, scores, ["cldr"], tested).rows
    assert label == "full · b − a"
    bleu = scores[scores["metric"] == "bleu"].set_index(["method", "direction"])["score"]
    expected = bleu["full · b", "en-de"] - bleu["full · a", "en-de"]
    assert cells[0].text == f"{expected:+.1f}".replace("-", "−")
    outcomes = [tested.compare(("full · b", MAIN), ("full · a", MAIN), ("cldr", one, "bleu")) for one in PAIR]
    worse = sum(one.significant and one.difference < 0 for one in outcomes)
    assert [cell.text for cell in cells[2:]] == ["0 of 2", f"{worse} of 2", "×1.00", "×2.50", "×1.00"]


def test_the_command_prints_and_writes(two, tmp_path, capsys):
    cli.main(["compare", *map(str, two), "--out", str(tmp_path / "index.html"), "--resamples", "50"])
    out = capsys.readouterr().out
    for text in ("| layers.k |", "## Differences in BLEU, on cldr (2 comparisons)", "full · b − a"):
        assert text in out
    shown = check_page(tmp_path)
    assert {"summary", "config", "scores-section", "cost", "provenance", "scores-0"} <= set(shown.ids)
    assert "Left out, not in all runs: cldr (en-fr) of b." in shown.text
    assert f"lander compare {two[0]} {two[1]}" in shown.text


def test_without_segments_and_without_a_common_method(two, tmp_path, capsys):
    c = make(tmp_path / "x" / "a", [("layers", "main")], segments=False)
    (c / "config.yaml").unlink()
    page.compare([two[0], c], tmp_path / "index.html", resamples=50)
    shown = check_page(tmp_path)
    assert "No method is in two of the runs" in shown.text
    assert "Not tested: no segment scores in x/a." in shown.text
    assert "x/a has no config.yaml that can be read." in shown.text
    assert page.SAME in shown.text
    assert f"full · {two[0].parent.name}/a" in capsys.readouterr().out  # both folders are called a


def test_other_sentences_are_not_compared(two, tmp_path):
    c = make(tmp_path / "c", tests=("cldr", "news"))
    d = make(tmp_path / "d", tests=("cldr", "news"))
    for path in (d / "translate").rglob("news/en-de.jsonl"):
        path.write_text(path.read_text().replace("committee", "board"))
    items, notes = runs.common(runs.read_runs([c, d]))
    assert ("news", "en-de") not in items
    assert len(items) == 3
    assert notes == ["Left out, same name but other sentences: news (en-de)."]
    for path in (d / "translate").rglob("*.jsonl"):
        path.write_text(path.read_text().replace("May", "June").replace("Mai", "Juni"))
    with pytest.raises(UserError, match="other sentences: cldr"):
        runs.common(runs.read_runs([c, d]))
    for path in (d / "translate").rglob("*.jsonl"):
        path.unlink()
    _, (note,) = runs.common(runs.read_runs([c, d]))
    assert note.startswith("Not checked")
    assert note.endswith(" d.")


def test_segments_that_do_not_go_together(two, tmp_path):
    d = make(tmp_path / "d", lines=11)
    for path in (d / "translate").rglob("*.jsonl"):
        path.unlink()
    found = runs.read_runs([two[0], d])
    tested, notes = paired(found, runs.common(found)[0], 20)
    assert not tested.tests
    (note,) = notes
    assert re.fullmatch(r"Not tested: d: 11 .* 12 \(cldr .*, cldr .*, cldr .* and 1 more\)\.", note)


def test_an_overview_of_all_runs(two, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("results/unfinished").mkdir(parents=True)
    for age, path in enumerate(two):
        shutil.copytree(path, Path("results", path.name))
        os.utime(Path("results", path.name, "evaluate/scores.csv"), (1e9 - age, 1e9 - age))
    cli.main(["compare"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["run", "a", "b"]
    scores = pd.read_csv(two[0] / "evaluate/scores.csv").query("metric == 'bleu' and direction == 'mean'")
    best = scores.groupby(["method", "variant"])["score"].mean().max()
    assert f"{best:.1f}" in lines[3].split()
    cli.main(["compare", "results/b"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[3:4]] == ["b"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "results: no finished run"),
        (["nowhere"], "nowhere: no such folder"),
        (["a", "a"], "a: .*twice"),
        (["a", "nowhere"], "nowhere: no such folder"),
        (["a", "empty"], r"empty: .*evaluate/scores\.csv"),
        (["a", "french"], r"french: .*: a has cldr \(en-de, de-en\); french"),
        (["a", "b", "--out", "."], r"--out \.: a folder"),
    ],
)
def test_errors(two, tmp_path, monkeypatch, capsys, given, message):
    monkeypatch.chdir(tmp_path)
    for path in two:
        Path(path.name).symlink_to(path)
    Path("empty").mkdir()
    Path("french/evaluate").mkdir(parents=True)
    rows = pd.read_csv("a/evaluate/scores.csv", dtype=str)
    rows[rows["direction"] == "en-de"].assign(direction="en-fr").to_csv("french/evaluate/scores.csv", index=False)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["compare", *given])
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(f"lander compare: error: {message}", error), error
    assert not Path("compare.html").exists()


PROBE = """
const first = document.querySelector("#scores-section table.sortable");
const column = () => [...first.tBodies[0].rows].map((row) => numberOf(row.cells[1]));
[...first.tHead.rows[1].cells][0].querySelector("button").click();
tell({ sorted: column() });
"""


@pytest.mark.workflow
@browsed
def test_in_a_browser(two, tmp_path):
    page.compare(two, tmp_path / "page.html", resamples=50)
    _, wrong = browse(tmp_path / "page.html")
    assert wrong == []
    found, _ = at_widths(tmp_path / "page.html", PROBE)
    assert found["sorted"] == sorted(found["sorted"], reverse=True)
    assert len(found["sorted"]) == 4
