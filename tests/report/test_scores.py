"""Tests of the scores, their significance and the summary of `lander.report`, by hand."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from report_runs import table_of, texts, write_significance

from lander.evaluate.collect import COLUMNS
from lander.evaluate.metrics import look
from lander.report import summary, training
from lander.report.inputs import Inputs, read_prompts
from lander.report.paper import beside
from lander.report.scores import baseline_tables, prompt_table, score_table
from lander.report.significance import Outcome, Significance, read_significance
from lander.report.tables import Cell, Table
from lander.report.terminal import aligned, show
from lander.shared.runs import Model

FULL, LORA, LANDERMT, ZERO = (("full", "main"), ("lora", "main"), ("landermt", "main"), ("zero-shot", "main"))
PLACE = ("news", "en-de", "bleu")


# ---------------------------------------------------------------- scores and summary


def test_score_table_by_hand():
    rows = [("full", "main", "0", "en-de", 10.0), ("full", "main", "1", "en-de", 14.0)]
    rows += [("full", "main", s, "mean", 12.0) for s in "01"]
    rows += [("landermt", "k8", "0", "en-zh", 30.0), ("zero-shot", "main", "0", "en-de", 11.96)]
    table = score_table(table_of(rows), "news", "bleu")
    assert [head.text for head in table.groups] == ["mean", "out of English"]
    assert [head.text for head in table.heads] == ["all", "en-de", "en-zh"]
    none = Cell("–")
    assert table.rows == [
        ("zero-shot (fixed instruction)", [none, Cell("12.0", best=True), none]),  # equal as printed: both are best
        ("full", [Cell("12.0", True, "±0.0"), Cell("12.0", True, "±2.8"), none]),
        ("landermt (k8)", [none, none, Cell("30.0", best=True)]),
    ]
    first, second, third = table.notes
    assert (first, second) == ("Signature: tok:13a", "Signature of en-zh: tok:zh")
    assert "seeds 0, 1;" in third


def test_prompts_of_the_dev_set(tmp_path):
    rows = "direction,prompt,bleu,chrf2++,chosen\nen-de,own,31.24,50,True\nen-de,none,5.0,9,False\n"
    (tmp_path / "prompts.csv").write_text(rows)
    table = prompt_table(read_prompts(tmp_path / "prompts.csv"))
    assert table.rows == [("own", [Cell("31.2", best=True)]), ("none", [Cell("5.0")])]


def test_answers_by_hand():
    numbers = {ZERO: (1, 30), ("zero-shot", "best-prompt"): (20, 24), LANDERMT: (40, 26), FULL: (50, 28)}
    rows = []
    for run, values in numbers.items():
        rows += [(*run, "0", d, value) for d, value in zip(("en-de", "de-en"), values, strict=True)]
        rows.append((*run, "0", "mean", sum(values) / 2))
    assert summary.answers(Inputs("demo", table_of(rows)), "news") == [
        "<code>full</code> against <code>zero-shot (best prompt)</code>: BLEU +17.0 all directions.",
        "<code>landermt</code> against <code>full</code>: BLEU −6.0 all directions.",
    ]
    assert len(summary.cautions(Inputs("demo", table_of(rows)), ["news"], {})) == 1  # one seed
    (_, few) = summary.cautions(Inputs("demo", table_of(rows)), ["news"], {"news": {"en-de": 99, "de-en": 100}})
    assert few.startswith("news: only 99 sentences in en-de.")
    forms = table_of([row for row in rows if row[3] == "en-de"]).assign(metric="bleu_nfc")
    forms.loc[forms["method"] == "full", "score"] = 90.0
    (_, form) = summary.cautions(Inputs("demo", pd.concat([table_of(rows), forms])), ["news"], {})
    assert "BLEU of full is 90.0 instead of 50.0 (en-de)" in form
    low = summary.cautions(Inputs("demo", table_of([(*row[:4], row[4] / 10) for row in rows])), ["news"], {})[1]
    assert low.startswith("news: no method reaches 5 BLEU")
    assert "3.9" in low


def test_a_tie_is_no_win():
    level = {ZERO: 0.0, LORA: 8.0, FULL: 8.04, ("adapter", "main"): 2.0}
    rows = [(*run, "0", name, value) for run, value in level.items() for name in ("en-de", "mean")]
    tests = {(run, ZERO, PLACE): Outcome(value, 0.001) for run, value in level.items() if value}
    tests[FULL, LORA, PLACE] = Outcome(0.04, 0.001)
    inputs = Inputs("x", table_of(rows), significance=Significance(tests=tests))
    assert summary.answers(inputs, "news")[1] == "<code>full</code> against <code>lora</code>: BLEU 0.0 all directions."
    assert texts(summary.tests_table(inputs, ["news"])) == {
        "zero-shot (fixed instruction)": ["–", "+0 −1 of 1"], "full": ["+1 −0 of 1"] * 2,
        "lora": ["+1 −0 of 1", "–"], "adapter": ["+1 −0 of 1", "–"],
    }  # fmt: skip
    bold = [label for label, cells in summary.glance_table(inputs, ["news"]).rows if cells[0].best]
    assert bold == ["full", "lora"]


def test_two_sides_are_apart():
    """full is best out of English, in-context into it."""
    numbers = {ZERO: (10, 10), ("in-context", "main"): (12, 40), LORA: (20, 30), FULL: (30, 25)}
    names = ("en-de", "de-en", "mean-out-of-en", "mean-into-en", "mean")
    rows = [
        (*run, "0", name, value)
        for run, (out, into) in numbers.items()
        for name, value in zip(names, (out, into, out, into, (out + into) / 2), strict=True)
    ]
    inputs = Inputs("demo", table_of(rows))
    best, other = (str(text.striptags()) for text in summary.answers(inputs, "news"))
    assert best == "full against zero-shot (fixed instruction): BLEU +20.0 out of English and +15.0 into English."
    assert other == "full against lora: BLEU +10.0 out of English and −5.0 into English."
    table = summary.glance_table(inputs, ["news"])
    assert [head.text for head in table.heads] == [
        "BLEU out of en", "gain", "BLEU into en", "gain", "chrF2++ out of en", "chrF2++ into en",
    ]  # fmt: skip
    assert texts(table)["full"] == ["30.0", "+20.0", "25.0", "+15.0", "–", "–"]
    inputs.runs = {Model(name, "main", 0): {"parameters_trained": size} for name, size in (("full", 9), ("lora", 3))}
    assert training.gains(inputs, ["news"])[["directions", "label", "gain", "best"]].values.tolist() == [
        ["out of English", "full", 20.0, True], ["out of English", "lora", 10.0, True],
        ["into English", "full", 15.0, False], ["into English", "lora", 20.0, True],
    ]  # fmt: skip


def test_output_in_a_wrong_language():
    off = {"full": {"en-ar": 0.2, "en-de": 0, "en-fr": 0.3, "en-it": 0.02}, "lora": {"en-ar": 0.01, "en-de": 0}}
    told = {"full": {"en-ar": 0.5, "en-fr": 0.6}, "lora": {"en-ar": 0.99}, "adapter": {"en-ar": 1, "en-de": 1}}

    def rows(metric, shares):
        return [
            (method, "main", "0", "news", name, metric, share, "unit:share")
            for method, found in shares.items()
            for name, share in found.items()
        ]

    def table(rows):
        return texts(summary.off_target_table(pd.DataFrame(rows, columns=COLUMNS)))

    assert table(rows("off_target", off)) == {
        "full": ["en-fr on news", "30.0%", "3", "4", "0"],
        "lora": ["en-ar on news", "1.0%", "0", "2", "0"],
    }
    off["adapter"] = {"en-ar": 0, "en-de": 0}
    # a share of those whose language can be identified: en-fr .3 / .4; fewer than a tenth of lora's en-ar
    assert table(rows("off_target", off) + rows("language_unknown", told)) == {
        "full": ["en-fr on news", "75.0%", "3", "4", "0"],
        "lora": ["en-de on news", "0.0%", "0", "1", "1"],
        "adapter": ["–", "–", "0", "0", "2"],
    }


# ---------------------------------------------------------------- significance


def compared(method, baseline, difference, p, direction="en-de", **more):
    """A row of a comparison, its interval half a point to each side."""
    ends = {"difference_low": difference - 0.5, "difference_high": difference + 0.5}
    row = {"method": method, "baseline": baseline, "difference": difference, "p_holm": p, "direction": direction}
    return row | ends | more


def test_significance_by_hand(tmp_path):
    rows = [{"method": "lora", "low": 11, "high": 13}, {"method": "full", "low": 18, "high": 22}]
    rows += [compared("full", "lora", 8, 0.0004), compared("landermt", "lora", 1, 0.2, variant="k8")]
    rows += [compared("full", "lora", 9, 0.06, "de-en", low=19, high=24)]
    found = read_significance(write_significance(tmp_path / "s.csv", rows))
    back = ("news", "de-en", "bleu")
    assert (found.intervals[LORA, PLACE], found.intervals[FULL, back]) == ((11, 13), (19, 24))
    assert (found.compare(LORA, FULL, PLACE).difference, found.compare(LORA, FULL, PLACE).text) == (-8, "p < 0.001")
    assert found.compare(FULL, ("landermt", "k8"), PLACE) is None
    assert (found.beaten(FULL, PLACE), found.beaten(FULL, back)) == ([LORA], [])
    scores = table_of([("full", "main", "0", "en-de", 20.0), ("lora", "main", "0", "en-de", 12.0)])
    table = score_table(scores, "news", "bleu", found)
    hover = "95% interval 18.0 to 22.0; against lora +8.0, p < 0.001, significant"
    assert table.rows[0] == ("full", [Cell("20.0", True, "", "18.0–22.0", "a", "lora", hover)])
    assert "a lora" in table.notes[0]
    (differences,) = baseline_tables(found, "news", "bleu")
    assert [(label, [(c.text, c.best, c.spread) for c in cells]) for label, cells in differences.rows] == [
        ("full", [("+8.0", True, "p < 0.001"), ("+9.0", False, "p = 0.060")]),
        ("landermt (k8)", [("+1.0", False, "p = 0.20"), ("–", False, "")]),
    ]


def test_with_several_seeds_a_difference_must_hold_over_seeds_too(tmp_path):
    differences = {  # difference, its interval, p of the bootstrap, of randomisation
        "full": (8, 5, 11, 0.02, 0.001),
        "landermt": (8, -1, 17, 0.2, 0.001),  # sure on these sentences, not with other seeds
        "layers": (2, -0.5, 4, 0.03, 0.03),  # one-tailed, and the interval has 0
    }
    for seeds, ahead in ((3, ["full"]), (1, ["full", "landermt", "layers"])):
        rows = []
        for name, (gap, low, high, p, q) in differences.items():
            more = {"difference_low": low if seeds == 3 else 0.1, "difference_high": high, "p_bootstrap_holm": p}
            rows.append(compared(name, "lora", gap, q, **more, seeds=seeds))
        found = read_significance(write_significance(tmp_path / "s.csv", rows))
        assert [name for name in differences if found.beaten((name, "main"), PLACE)] == ahead
        assert found.compare(FULL, LORA, PLACE).p == (0.02 if seeds == 3 else 0.001)
        scores = table_of([("full", "main", str(seed), "en-de", 20.0) for seed in range(seeds)])
        cautions = summary.cautions(Inputs("x", scores, significance=found), ["news"], {})
        assert cautions[0].startswith("3 seeds" if seeds == 3 else "One seed")


def test_whose_lower_scores_are_better_and_whose_are_not_known(tmp_path):
    for metric, signature, best, ahead in (
        ("loss_per_character", "s", "full", ["full"]),
        ("metricx", "model:x|better:less", "full", ["full"]),
        ("metricx", "model:x|better:more", "lora", []),
        ("metricx", "model:x", None, []),
    ):
        row = compared("full", "lora", -1, 0.001, metric=metric, signature=f"{signature}|bs:10", low=1, high=2)
        tested = read_significance(write_significance(tmp_path / "s.csv", [row]))
        scores = table_of([("full", "main", "0", "en-de", 2.0), ("lora", "main", "0", "en-de", 3.0)])
        scores = scores.assign(metric=metric, signature=signature)
        table = score_table(scores, "news", metric, tested)
        assert [label for label, cells in table.rows if cells[0].best] == ([best] if best else [])
        assert [label for label, cells in table.rows if cells[0].marks] == ahead
        assert ("less is better" in table.caption) == (best == "full")
        assert any("less_is_better" in note for note in table.notes) == (best is None)
        (differences,) = baseline_tables(tested, "news", metric)
        assert texts(differences) == {"full": ["−1.000"]}
    assert look("comet", ["model:y"]).best == "max"


# ---------------------------------------------------------------- beside the paper


def test_beside_the_paper():
    rows = [("landermt", "main", "0", d, 10.0) for d in ("en-de", "de-en", "en-fr", "ca-es")]
    rows += [("landermt", "k8", "0", "en-de", 90.0)]  # an experiment: not the paper's
    rows += [("lora", "main", "0", d, v) for d, v in (("en-de", 9.0), ("de-en", 11.0), ("en-fr", 10.0), ("ca-es", 0.0))]
    ((ahead, ours, theirs),) = beside(Inputs("x", table_of(rows)), ["news"]).values()
    assert ahead.rows == [("lora", [Cell("10 of 10", value=1.0), Cell("1 of 3", value=1 / 3)])]
    assert [head.text for head in ours.heads] == ["out of en", "into en", "en-de", "en-fr", "de-en"]
    heads = [head.text for head in theirs.heads]
    assert heads[:3] == ["out of en", "into en", "en-ar"]
    paper = dict(theirs.rows)["LANDeRMT"]
    assert paper[heads.index("en-de")] == Cell("18.85", True)
    assert paper[heads.index("zh-en")] == Cell("28.11", True)
    assert (heads[-1], paper[-1].text) == ("trained", "805M")
    rows = [("landermt-ls", "main", "0", "ca-es", 9.0), ("landermt", "main", "0", "ca-es", 10.0)]
    found = beside(Inputs("x", table_of([*rows, ("lora", "main", "0", "ca-es", 0.0)])), ["news"])
    ahead, ours, theirs = found["Table 2: which neurons are trained"]
    assert ahead.rows == [("landermt-ls", [Cell("4 of 4", value=1.0), Cell("1 of 1", value=1.0)])]
    assert [head.text for head in ours.heads] == ["ca-es"]  # none of the paper's: the run's own
    assert [head.text for head in theirs.heads] == ["en-fr", "en-zh", "fr-en", "zh-en"]


def test_beside_the_paper_means_are_over_the_directions_shown():
    names = ("en-de", "en-ca", "mean-out-of-en")
    rows = [("landermt", "main", "0", name, value) for name, value in zip(names, (10.0, 50.0, 30.0), strict=True)]
    rows += [("lora", "main", "0", name, value) for name, value in zip(names, (20.0, 0.0, 10.0), strict=True)]
    # the mean's is over other directions than the one that is shown
    tests = {(LANDERMT, LORA, ("news", name, "bleu")): Outcome(1, 0.001) for name in names}
    ((_, ours, _),) = beside(Inputs("x", table_of(rows), significance=Significance(tests=tests)), ["news"]).values()
    assert [head.text for head in ours.heads] == ["out of en", "en-de"]
    assert [(label, [(c.text, c.marks) for c in cells]) for label, cells in ours.rows] == [
        ("landermt", [("10.0", ""), ("10.0", "a")]),
        ("lora", [("20.0", ""), ("20.0", "")]),
    ]


# ---------------------------------------------------------------- in a terminal


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of one direction: lora with two seeds, and the tests of all against zero-shot with the best prompt."""
    scores = {("zero-shot", "best-prompt"): 12, ("zero-shot", "main"): 1, ("full", "main"): 12.5, ("lora", "main"): 20}
    rows, tests = [], []
    for (method, variant), score in scores.items():
        for seed in range(2 if method == "lora" else 1):
            rows += [(method, variant, str(seed), name, score + 2 * seed) for name in ("en-de", "mean")]
        own = {"method": method, "variant": variant, "direction": "mean", "low": score - 1, "high": score + 1}
        if variant == "main":
            own |= compared(method, "zero-shot/best-prompt", score - 12, 0.2 if method == "full" else 0.001, "mean")
        tests.append(own)
    (tmp_path / "evaluate").mkdir()
    table_of(rows).to_csv(tmp_path / "evaluate/scores.csv", index=False)
    write_significance(tmp_path / "evaluate/significance.csv", tests)
    return tmp_path


def test_scores_in_a_terminal_say_how_sure_they_are(run):
    lines = [line.split("|")[1:-1] for line in show(run, "bleu", "markdown").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert cells[0] == ["method", "all", "en-de"]
    assert cells[2:6] == [
        ["zero-shot (fixed instruction)", "1.0 0.0–2.0", "1.0"],
        ["zero-shot (best prompt)", "12.0 11.0–13.0", "12.0"],
        ["full", "12.5 11.5–13.5", "12.5"],
        ["lora", "**21.0** ±1.4 19.0–21.0", "**21.0** ±1.4"],
    ]
    assert cells[8:] == [
        ["zero-shot (fixed instruction)", "**−11.0** p = 0.001"],
        ["full", "+0.5 p = 0.20"],
        ["lora", "**+8.0** p = 0.001"],
    ]
    (run / "evaluate/significance.csv").unlink()
    assert "| 1.0 |" in show(run, "bleu", "markdown").replace("  ", "")


def test_scores_in_columns_and_as_rows(run):
    lines = show(run, "bleu").splitlines()
    assert lines[2:7] == [
        "method                                          all       en-de",
        "zero-shot (fixed instruction)           1.0 0.0–2.0         1.0",
        "zero-shot (best prompt)              12.0 11.0–13.0        12.0",
        "full                                 12.5 11.5–13.5        12.5",
        "lora                           *21.0 ±1.4 19.0–21.0  *21.0 ±1.4",
    ]
    rows = json.loads(show(run, "bleu", "json"))
    table = pd.read_csv(io.StringIO(show(run, "bleu", "csv")))
    assert [row["low"] for row in rows] == table["low"].tolist()
    (tested,) = [row for row in rows if row["method"] == "lora" and row["baseline"]]
    assert tested["difference"] == 8
    (run / "evaluate/significance.csv").unlink()  # as for metrics that are not tested
    row = next(row for row in json.loads(show(run, "bleu", "json")) if row["method"] == "lora")
    assert (row["score"], row["seeds"], row["low"], row["direction"]) == (21, 2, None, "en-de")


def test_a_table_wider_than_the_terminal_is_cut_between_columns():
    table = Table.of("BLEU", "method", ["en-de", "de-en", "en-fr"], [("lora", ["1.0", Cell("2.0", best=True), "3.0"])])
    whole, parts = aligned(table, 40).splitlines(), aligned(table, 21).splitlines()
    assert whole[2:] == ["method  en-de  de-en  en-fr", "lora      1.0   *2.0    3.0"]
    assert parts[2:] == ["method  en-de  de-en", "lora      1.0   *2.0", "", "method  en-fr", "lora      3.0"]
    assert all(name in aligned(table, 5) for name in ("en-de", "de-en", "en-fr"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this machine")
def test_a_full_disk_is_told_in_one_line(run):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "lander.cli", "scores", str(run)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "lander scores: error: No space left on device; make room and run it again\n"
