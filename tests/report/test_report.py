"""Tests of `lander.report`, on made-up runs of several shapes."""

import base64
import hashlib
import html.parser
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_runs import (
    add_everything,
    make_counts,
    make_loss,
    make_run,
    make_scores,
    make_translations,
)

from lander.evaluate.collect import COLUMNS
from lander.report import __main__ as command
from lander.report import page as page_module
from lander.report.__main__ import main
from lander.report.inputs import Inputs, parse_assignments
from lander.report.tables import Cell
from lander.shared import tables
from lander.shared.errors import UserError

PACKAGE = Path(page_module.__file__).parent
MADE = {
    "git": {"commit": "c0ffee" * 7, "changed": ["lander/detect/masks.py"]},
    "machine": {
        "processor": "Chip 9000",
        "cores": 2,
        "memory_bytes": 24 * 10**9,
        "gpus": ["X", "X"],
        "system": "Linux",
    },
    "versions": {"sacrebleu": "2.6.0", "torch": "2.13.0"},
}


@pytest.fixture(scope="module", autouse=True)
def made():
    """Git and the machine, the same for every report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "collect", lambda: MADE)
        yield


class Page(html.parser.HTMLParser):
    """Checks that tags are balanced, and collects ids, links, texts of the sections and loaded resources."""

    VOID = ("meta", "link", "br", "img", "input", "col")

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.loaded, self.text = [], [], [], [], ""
        self.script, self.policy, self.captions, self.tables, self.bare = "", "", 0, 0, 0
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs, closed=False):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [value for name, value in attrs.items() if name in ("href", "xlink:href")]
        self.loaded += [value for name, value in attrs.items() if name in ("src", "srcset", "data", "action")]
        assert tag not in ("iframe", "object", "base")
        if tag == "script":
            assert attrs == {}
            assert self.script == ""  # one script, and it is ours
        if attrs.get("http-equiv") == "Content-Security-Policy":
            self.policy = attrs["content"]
        self.captions += tag == "caption"
        self.tables += tag == "table"
        self.bare += tag == "th" and "scope" not in attrs
        assert not any(name.startswith("on") for name in attrs)
        if tag not in self.VOID and not closed:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs, closed=True)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.script += data
        else:
            self.text += data


def check_page(folder):
    """What holds for every report."""
    text = (folder / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert page.loaded == []
    assert page.captions == page.tables > 0
    assert page.bare == 0  # every heading of a table says what it heads
    assert page.script == (PACKAGE / "page.js").read_text().strip()
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    assert "default-src 'none'" in page.policy
    assert f"script-src 'sha256-{digest}'" in page.policy
    targets = [link[1:] for link in page.links if link.startswith("#")] + re.findall(r"url\(#([^)]+)\)", text)
    assert set(targets) <= set(page.ids)
    for link in page.links:  # its own places, its own files, the paper; nothing is fetched to show the page
        known = link.startswith(("#", "data:,", "data:image/png", "https://aclanthology.org/"))
        known = known or (folder / link).is_file()
        assert known, link
    assert "@import" not in text
    assert len(text.encode()) < 5_000_000
    for path in folder.glob("*.svg"):
        ET.parse(path)
        assert path.with_suffix(".csv").stat().st_size > 0
        assert "<dc:date>" not in path.read_text()
    return page


SHAPES = {
    "ten directions": {},
    "two languages without English": {"directions": ["cs-uk", "uk-cs"], "languages": ("cs", "uk")},
    "one direction, one layer": {"directions": ["de-en"], "languages": ("de", "en"), "n_layer": 1, "chosen": (0,)},
    "a code with a hyphen, layers of each direction": {
        "directions": ["zh-Hant--en", "en--zh-Hant"],
        "languages": ("zh-Hant", "en"),
        "chosen": ([1, 2], [2, 3]),
    },
    "deep, three seeds, two test sets": {"n_layer": 30, "seeds": ("0", "1", "2"), "tests": ("news", "cldr")},
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_shape_of_run_gives_a_sound_page(tmp_path, shape):
    main(make_run(tmp_path, **shape))
    page = check_page(tmp_path / "report")
    for section in ("summary", "scores-section", "detection", "training", "data", "provenance"):
        assert section in page.ids
    assert len(list((tmp_path / "report").glob("*.svg"))) == (9 if shape.get("n_layer") == 1 else 10)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The folder of a run of two directions and its command line; its report is in `report`."""
    folder = tmp_path_factory.mktemp("small")
    flags = make_run(folder, directions=["en-de", "de-en"], languages=("en", "de"))
    main(flags)
    return folder, flags


def test_the_same_inputs_give_the_same_bytes(small, tmp_path):
    folder, flags = small
    main([*flags, "--out", str(tmp_path)])
    first = {path.name: path.read_bytes() for path in (folder / "report").iterdir()}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first


def test_only_scores_are_needed_and_old_figures_go_away(small, tmp_path):
    folder, _ = small
    shutil.copytree(folder / "report", tmp_path / "report")
    scores = ["--run", "demo", "--scores", f"{folder}/scores.csv", "--out", f"{tmp_path}/report"]
    # the workflow gives a flag without a value where the run has no such file
    main([*scores, "--layers", "--neurons", "--awareness", "--awareness-languages", "--counts", "--loss", "--runs"])
    page = check_page(tmp_path / "report")
    assert not {"detection", "training", "data", "activation", "loss"} & set(page.ids)
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"index.html", "scores.svg", "scores.csv"}


def test_what_users_write_is_text(tmp_path):
    evil = "</code><script>alert('x')</script> & \"$x_1$\""
    make_scores(tmp_path / "scores.csv", ["en-de"], {("zero-shot", "main"): 1, ("full", evil): 9}, tests=(evil,))
    (tmp_path / "config.yaml").write_text(f"run: [broken {evil}", encoding="utf-8")
    make_loss(tmp_path / "loss.csv", ["en-de"], 5, 1)
    (tmp_path / "run.json").write_text(json.dumps({"settings": evil, "versions": {evil: evil}, "seconds": "soon"}))
    flags = ["--run", evil, "--scores", f"{tmp_path}/scores.csv", "--config", f"{tmp_path}/config.yaml"]
    flags += ["--loss", f"full={tmp_path}/loss.csv", "--runs", f"full={tmp_path}/run.json"]
    main([*flags, "--out", f"{tmp_path}/report"])
    page = check_page(tmp_path / "report")  # it fails at a script tag, or at tags that do not balance
    assert page.text.count(evil) > 5


def test_figures_come_with_their_numbers(small):
    folder, _ = small
    layers = tables.read(folder / "layers.parquet", "layers")
    shown = pd.read_csv(folder / "report/delta.csv")
    merged = layers.merge(shown, on=["layer", "direction"], suffixes=("", "_shown"))
    assert len(merged) == len(layers)
    np.testing.assert_allclose(merged["delta"], merged["delta_shown"])
    scores = tables.read(folder / "de.parquet", "awareness")
    neurons = tables.read(folder / "neurons.parquet", "neurons")
    own = scores[(neurons["language"] == "de") & (neurons["layer"] == 2)]["score"]
    specific = pd.read_csv(folder / "report/awareness-specific.csv").query("layer == 2 and language == 'de'").iloc[0]
    assert specific["awareness"] == pytest.approx(own.mean())
    assert specific["neurons"] == len(own)
    owners = pd.read_csv(folder / "report/owners.csv")
    assert owners["neurons"].sum() == (neurons["kind"] == "specific").sum()


def table_of(rows):
    return pd.DataFrame(
        [(m, v, s, "news", d, "bleu", value, f"tok:{'zh' if d == 'en-zh' else '13a'}") for m, v, s, d, value in rows],
        columns=COLUMNS,
    )


def test_score_table_by_hand():
    from lander.report.tables import Cell, score_table

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
    assert table.notes == [
        "Signature: tok:13a",
        "Signature of en-zh: tok:zh",
        "Means over the seeds 0, 1; ± is the standard deviation over seeds.",
    ]


def test_verdict_by_hand():
    from lander.report.cautions import notes
    from lander.report.summary import verdict

    rows = []
    numbers = {("zero-shot", "main"): (1, 30), ("zero-shot", "best-prompt"): (20, 24), ("landermt", "main"): (40, 26)}
    numbers[("full", "main")] = (50, 28)
    for (method, variant), values in numbers.items():
        rows += [(method, variant, "0", d, value) for d, value in zip(("en-de", "de-en"), values, strict=True)]
        rows.append((method, variant, "0", "mean", sum(values) / 2))
    found = verdict(Inputs("demo", table_of(rows)), "news")
    (side,) = found.sides
    assert (side.of, side.best, side.mean, side.gain) == ("all directions", "full", "39.0", "+17.0")
    assert found.sentence == (
        "full scores highest, mean BLEU 39.0. That is 17.0 BLEU above the better zero-shot, zero-shot (best prompt) "
        "with 22.0; in 1 of 2 directions it is ahead of every zero-shot prompt. "
        "landermt has 33.0, 6.0 less than the highest."
    )
    assert not any("BLEU, the best has" in text for text in notes(Inputs("demo", table_of(rows)), ["news"]))
    low = [(*row[:4], row[4] / 10) for row in rows]
    assert notes(Inputs("demo", table_of(low)), ["news"])[1].startswith(
        "news: no method reaches 5 BLEU, the best has 3.9"
    )


def test_a_tie_is_no_win():
    from lander.report.significance import Outcome, Significance
    from lander.report.summary import glance_table, verdict, winners_table

    level = {("zero-shot", "main"): 0.0, ("lora", "main"): 8.0, ("full", "main"): 8.04, ("adapter", "main"): 2.0}
    rows = [(*run, "0", name, value) for run, value in level.items() for name in ("en-de", "mean")]
    place = ("news", "en-de", "bleu")
    tests = {(run, ("zero-shot", "main"), place): Outcome(value, 0.001) for run, value in level.items() if value}
    tests[("full", "main"), ("lora", "main"), place] = Outcome(0.04, 0.001)
    inputs = Inputs("x", table_of(rows), significance=Significance(tests=tests))
    found = verdict(inputs, "news")
    assert (found.sides[0].best, found.sides[0].mean, found.sides[0].gain) == ("tied: full, lora", "8.0", "+8.0")
    assert found.sentence.startswith(
        "full and lora are tied as the highest, mean BLEU 8.0. That is 8.0 BLEU above the better zero-shot, zero-shot "
        "(fixed instruction) with 0.0; in 1 of 1 directions each of them is ahead of every "
        "zero-shot prompt. Direction by direction, full is"
    )
    bold = [label for label, cells in glance_table(inputs, ["news"]).rows if cells[0].best]
    _, (_, cells) = winners_table(inputs, "news").rows
    assert [cell.text for cell in cells] == [
        "full, lora", "8.0", "–", "tied", "–", "zero-shot (fixed instruction)",
    ]  # fmt: skip
    assert ", ".join(bold) == cells[0].text
    nothing = [(*run, "0", name, 0.0) for run in level for name in ("en-de", "mean")]
    (side,) = verdict(Inputs("x", table_of(nothing)), "news").sides
    assert side.best == "tied: zero-shot (fixed instruction), full, lora, adapter"
    assert side.sentence.endswith(
        "are tied as the highest, mean BLEU 0.0. The best trained methods, tied, are full, lora and adapter, 0.0. That "
        "is level with the better zero-shot, zero-shot (fixed instruction) with 0.0; in 0 of 1 directions each "
        "of them is ahead of every zero-shot prompt."
    )


def two_sided():
    """Scores of two test directions and their means: full is best out of English, in-context into it."""
    numbers = {("zero-shot", "main"): (10, 10), ("in-context", "main"): (12, 40), ("lora", "main"): (20, 30)}
    numbers[("full", "main")] = (30, 25)
    names = ("en-de", "de-en", "mean-out-of-en", "mean-into-en", "mean")
    rows = [
        (*run, "0", name, value)
        for run, (out, into) in numbers.items()
        for name, value in zip(names, (out, into, out, into, (out + into) / 2), strict=True)
    ]
    return table_of(rows)


def test_two_sides_stand_side_by_side():
    from lander.report.costs import gains
    from lander.report.inputs import Run
    from lander.report.summary import glance_table, verdict

    inputs = Inputs("demo", two_sided())
    found = verdict(inputs, "news")
    sides = [(side.of, side.best, side.mean, side.gain) for side in found.sides]
    assert sides == [("out of English", "full", "30.0", "+20.0"), ("into English", "in-context", "40.0", "+20.0")]
    assert found.sentence == (
        "Out of English, full scores highest, mean BLEU 30.0. That is 20.0 BLEU above the better zero-shot, zero-shot "
        "(fixed instruction) with 10.0; in 1 of 1 directions it is ahead of every zero-shot prompt. "
        "Into English, in-context scores highest, mean BLEU 40.0. The best trained method is lora, 30.0. That is 20.0 "
        "BLEU above the better zero-shot, zero-shot (fixed instruction) with 10.0; in 1 of 1 directions it is ahead of "
        "every zero-shot prompt."
    )
    table = glance_table(inputs, ["news"])
    assert [head.text for head in table.heads] == [
        "BLEU out of en", "gain", "BLEU into en", "gain", "chrF2++ out of en", "chrF2++ into en",
    ]  # fmt: skip
    assert [cell.text for cell in dict(table.rows)["full"]] == ["30.0", "+20.0", "25.0", "+15.0", "–", "–"]
    inputs.runs = {Run(name, "main", "0"): {"parameters_trained": size} for name, size in (("full", 9), ("lora", 3))}
    assert gains(inputs, ["news"])[["directions", "label", "gain", "best"]].values.tolist() == [
        ["out of English", "full", 20.0, True], ["out of English", "lora", 10.0, True],
        ["into English", "full", 15.0, False], ["into English", "lora", 20.0, True],
    ]  # fmt: skip


def test_data_table_says_whether_it_adds_up(tmp_path):
    from lander.report.texts import data_tables

    make_counts(tmp_path / "c.parquet", ["en-de", "de-en"])
    counts = tables.read(tmp_path / "c.parquet", "counts")
    (table,) = data_tables(counts)
    heads = [head.text for head in table.heads]
    assert heads == ["read", "kept", "empty", "too long", "language", "duplicate", "max pairs"]
    assert [cell.text for cell in table.rows[-1][1]] == ["2,000", "1,600", "24", "6", "80", "200", "90"]
    assert table.notes == ["Filters that dropped nothing: copied.", "Read = kept + dropped."]
    counts.loc[counts["reason"].eq("kept") & counts["direction"].eq("de-en"), "pairs"] = 1
    assert data_tables(counts)[0].notes[-1] == "Does not add up for de-en: read is not kept + dropped."
    more = counts[counts["direction"] == "en-de"].assign(origin="news")
    _, by_source = data_tables(pd.concat([counts, more]))
    assert [(label, cells[0].text) for label, cells in by_source.rows] == [
        ("cldr", "2,000"), ("news", "1,000"), ("all", "3,000"),
    ]  # fmt: skip


def test_prompts_of_the_dev_set_are_shown(tmp_path):
    make_scores(tmp_path / "scores.csv", ["en-de"])
    (tmp_path / "prompts.csv").write_text(
        "direction,prompt,bleu,chrf2++,chosen\nen-de,own,31.24,50,True\nen-de,none,5.0,9,False\n"
    )
    flags = ["--run", "x", "--scores", f"{tmp_path}/scores.csv", "--prompts", f"{tmp_path}/prompts.csv"]
    main([*flags, "--out", f"{tmp_path}/report"])
    check_page(tmp_path / "report")
    text = (tmp_path / "report/index.html").read_text()
    assert '<th scope="row">own</th><td><strong>31.2</strong>' in text
    assert '<th scope="row">none</th><td>5.0</td>' in text


def test_small_helpers():
    from lander.report.curves import binned_loss
    from lander.report.figures import scaled
    from lander.report.summary import duration, quantity, signed

    assert [duration(value) for value in (None, 9.6, 750, 12_240)] == ["–", "10 s", "12 min", "3.4 h"]
    assert [quantity(value) for value in (950, 12_345, 4_560_000, 805_519_360)] == ["950", "12.3k", "4.56M", "806M"]
    assert quantity(1.3e9, "B") == "1.3 GB"
    assert [quantity(value) for value in (999_499, 999_700, 999.7, float("nan"))] == ["999k", "1M", "1k", "–"]
    assert [signed(value) for value in (1.23, -4.56, 0.04, -0.04)] == ["+1.2", "−4.6", "0.0", "0.0"]
    assert scaled(pd.Series([0.00042, -0.00012]), "x", "nats") == (pytest.approx(1e4), "x (10⁻⁴ nats)")
    assert scaled(pd.Series([0.0, np.nan]), "x", "") == (1.0, "x (no unit)")
    log = pd.DataFrame({"update": [1, 1, 2], "loss": [1.0, 4.0, np.inf], "tokens": [2, 1, 5]})
    assert binned_loss([log]).values.tolist() == [[1, 2.0]]
    long = pd.DataFrame({"update": range(1, 12_501), "loss": 1.0, "tokens": 1})
    assert len(binned_loss([long, long])) == 60


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run with everything that a report can show; its report is in `report`."""
    folder = tmp_path_factory.mktemp("whole")
    main(add_everything(folder, make_run(folder), lines=12, evil=EVIL))
    return folder


EVIL = "</script></dd><img src=x onerror=alert(1)> \"'& {{ 7 * 7 }} \x00\x1b\ud800 \u202e abc \u200f"


def test_a_page_with_everything(whole):
    page = check_page(whole / "report")
    text = (whole / "report/index.html").read_bytes()
    assert not re.search(rb"[\x00-\x08\x0b-\x1f]", text)
    assert "49 " not in page.text  # a text is no template
    assert page.text.count("␀␛\ufffd") >= 3 * len(SHAPES)
    wanted = ["summary", "gain-section", "scores-section", "beside", "experiments", "detection", "training"]
    wanted += ["translations", "data", "cost", "provenance"]
    assert [one for one in page.ids if one in wanted] == wanted
    assert "gain" not in page.ids  # forgetting was measured
    figures = re.findall(r"Figure (\d+)\. ([^<]*?)\.</strong>", text.decode())
    assert figures[0] == ("1", "Title of forgetting")  # the Pareto picture comes first
    assert [int(number) for number, _ in figures] == list(range(1, len(figures) + 1))
    for name in ("forgetting", "sweep_k"):
        assert (whole / f"report/experiments/{name}.svg").read_text() == (whole / f"experiments/{name}.svg").read_text()
    assert page.text.count("The paper's table 1: BLEU") == 1  # not again in the experiment
    assert "Examples of dropped pairs, de-en" in page.text
    assert page.text.count("Hallo <b>") == 3  # of five
    assert "e053ee4f2524e22c" in page.text
    assert page.text.count("Folded parts of the page are not printed") == 1


def test_texts_say_their_language_and_direction(whole):
    text = (whole / "report/index.html").read_text()
    assert '<dd lang="ar" dir="rtl">اجتمعت اللجنة' in text
    assert '<dd lang="zh" dir="ltr">委员会于5月' in text
    # off-target: English where Arabic was wanted runs from the left
    assert re.search(r'off-target: en</em></dt><dd lang="ar" dir="ltr">The committee', text)
    assert '<td lang="de" dir="ltr">Hallo &lt;b&gt;</td>' in text


def significance_file(path, rows):
    head = "method,variant,seed,baseline,test,direction,metric,score,low,high,difference,p_holm"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_of_losses_the_lowest_is_the_best_and_ahead(tmp_path):
    from lander.report.significance import read_significance
    from lander.report.tables import difference_table, score_table

    metric, lora = "loss_per_character", ("lora", "main")
    rows = [f"full,main,,lora,news,en-de,{metric},0.5,0.4,0.6,-0.125,0.001"]
    rows += [f"adapter,main,,lora,news,en-de,{metric},0.75,0.7,0.8,0.125,0.001"]
    found = read_significance(significance_file(tmp_path / "s.csv", rows))
    place = ("news", "en-de", metric)
    assert found.beaten(("full", "main"), place) == [lora]
    assert found.beaten(("adapter", "main"), place) == []
    runs = [("full", 0.5), ("lora", 0.625), ("adapter", 0.75)]
    scores = table_of([(name, "main", "0", "en-de", value) for name, value in runs]).assign(metric=metric)
    cells = {label: cells[0] for label, cells in score_table(scores, "news", metric, found).rows}
    assert {label: (cell.text, cell.best, cell.ahead) for label, cell in cells.items()} == {
        "full": ("0.500", True, "lora"),
        "lora": ("0.625", False, ""),
        "adapter": ("0.750", False, ""),
    }
    differences = difference_table(found, "news", metric, lora)
    assert {label: cells[0].text for label, cells in differences.rows} == {"full": "−0.125", "adapter": "+0.125"}


def test_significance_by_hand(tmp_path):
    from lander.report.significance import read_significance
    from lander.report.summary import winners_table
    from lander.report.tables import Cell, difference_table, score_table

    rows = ["lora,main,,,news,en-de,bleu,12,11,13,,", "full,main,,,news,en-de,bleu,20,18,22,,"]
    rows += ["full,main,,lora,news,en-de,bleu,20,18,22,8,0.0004", "landermt,k8,,lora,news,en-de,bleu,13,12.5,14,1,0.2"]
    # seeds apart: the larger p and the wider interval count
    rows += ["full,main,0,lora,news,de-en,bleu,20,19,21,8,0.01", "full,main,1,lora,news,de-en,bleu,22,20,24,10,0.06"]
    found = read_significance(significance_file(tmp_path / "s.csv", rows))
    place, back = ("news", "en-de", "bleu"), ("news", "de-en", "bleu")
    full, lora, k8 = ("full", "main"), ("lora", "main"), ("landermt", "k8")
    assert found.interval(lora, place) == (11, 13)
    assert found.interval(full, back) == (19, 24)
    assert (found.compare(full, lora, back).difference, found.compare(full, lora, back).p) == (9, 0.06)
    assert (found.compare(lora, full, place).difference, found.compare(lora, full, place).text) == (-8, "p < 0.001")
    assert found.compare(full, k8, place) is None
    assert found.beaten(full, place) == [lora]
    assert found.beaten(full, back) == []
    scores = table_of([("full", "main", "0", "en-de", 20.0), ("lora", "main", "0", "en-de", 12.0)])
    table = score_table(scores, "news", "bleu", found)
    hover = "95% interval 18.0 to 22.0; against lora +8.0, p < 0.001, significant"
    assert table.rows[0] == ("full", [Cell("20.0", True, "", "18.0–22.0", "a", "lora", hover)])
    how = "the paired test, Holm-corrected p < 0.05, and 0 is outside the interval"
    assert table.notes[0].startswith(f"Letters: significantly ahead ({how}) of a lora. ")
    differences = difference_table(found, "news", "bleu", lora)
    assert [(label, [(c.text, c.best, c.spread) for c in cells]) for label, cells in differences.rows] == [
        ("full", [("+8.0", True, "p < 0.001"), ("+9.0", False, "p = 0.060")]),
        ("landermt (k8)", [("+1.0", False, "p = 0.20"), ("–", False, "")]),
    ]
    inputs = Inputs("x", scores, significance=found)
    assert [cell.text for cell in winners_table(inputs, "news").rows[0][1]] == [
        "full", "20.0", "lora", "+8.0", "yes, p < 0.001", "lora",
    ]  # fmt: skip
    untested = winners_table(Inputs("x", scores), "news")
    assert untested.rows[0][1][-1].text == "not tested"
    assert "No paired tests" in untested.notes[0]


def test_with_several_seeds_a_difference_must_hold_over_seeds_too(tmp_path):
    from lander.report.cautions import notes
    from lander.report.significance import read_significance

    head = "method,variant,baseline,test,direction,metric,low,high,difference,difference_low,difference_high,"
    head += "p_bootstrap_holm,p_holm,seeds,signature\n"
    rows = {  # difference, its interval, p of the bootstrap, of randomisation
        "full": (8, 5, 11, 0.02, 0.001),
        "landermt": (8, -1, 17, 0.2, 0.001),  # sure on these sentences, not with other seeds
        "layers": (2, -0.5, 4, 0.03, 0.03),  # one-tailed, and the interval has 0
    }
    for seeds, ahead in (("3", ["full"]), ("1", ["full", "landermt", "layers"])):
        lines = [
            f"{name},main,lora,news,en-de,bleu,1,2,{d},{low if seeds == '3' else 0.1},{high},{p},{q},{seeds},s"
            for name, (d, low, high, p, q) in rows.items()
        ]
        (tmp_path / "s.csv").write_text(head + "\n".join(lines) + "\n")
        found = read_significance(tmp_path / "s.csv")
        place, lora = ("news", "en-de", "bleu"), ("lora", "main")
        assert [name for name in rows if found.beaten((name, "main"), place)] == ahead
        assert found.compare(("full", "main"), lora, place).p == (0.02 if seeds == "3" else 0.001)
        scores = table_of([("full", "main", str(seed), "en-de", 20.0) for seed in range(int(seeds))])
        said = " ".join(notes(Inputs("x", scores, significance=found), ["news"]))
        assert ("over sentences and over seeds" in said) == (seeds == "3")


def test_whose_lower_scores_are_better_and_whose_are_not_known(tmp_path):
    from lander.report.metrics import look
    from lander.report.significance import read_significance
    from lander.report.tables import score_table

    head = "method,variant,baseline,test,direction,metric,low,high,difference,p_holm,signature\n"
    for signature, best, ahead in (
        ("model:x|better:less", "full", ["full"]),
        ("model:x|better:more", "lora", []),
        ("model:x", None, []),
    ):
        row = f"full,main,lora,news,en-de,metricx,1,2,-1,0.001,{signature}|bs:10\n"
        (tmp_path / "s.csv").write_text(head + row)
        tested = read_significance(tmp_path / "s.csv")
        scores = table_of([("full", "main", "0", "en-de", 2.0), ("lora", "main", "0", "en-de", 3.0)])
        scores = scores.assign(metric="metricx", signature=signature)
        table = score_table(scores, "news", "metricx", tested)
        assert [label for label, cells in table.rows if cells[0].best] == ([best] if best else [])
        assert [label for label, cells in table.rows if cells[0].marks] == ahead
        assert ("less is better" in table.caption) == ("less" in signature)
        assert any("is not known" in note for note in table.notes) == (best is None)
    assert look("comet", ["model:y"]).best == "max"


def test_significance_marks_the_cells(whole):
    text = (whole / "report/index.html").read_text()
    assert re.search(r'<td title="95% interval [^"]*against full [^"]*significant"', text)
    assert re.search(r'<sup aria-hidden="true">ab</sup><span class="vh"> significantly ahead of full, zero-shot', text)
    assert "Direction by direction, landermt is significantly (p < 0.05) ahead of full in" in html.unescape(text)


def test_documents_come_back_as_they_were_written(whole, tmp_path):
    from lander.report.document import Document, read, read_all, write
    from lander.report.paper import table1
    from lander.report.tables import Cell, Head, Table

    found = read_all([whole / "experiments"])
    assert [one.name for one in found] == ["forgetting", "table1", "sweep_k"]
    assert (found[2].title, found[2].paragraphs) == ("Title of sweep_k", ["What sweep_k shows: the k matters."])
    rows = [("full", [Cell("41.0", True, "±0.3"), Cell("–")]), ("a|b", [Cell("39.1"), Cell("+1.5")])]
    heads = [Head("BLEU"), Head("gain | cost")]
    assert found[2].tables == [Table("Table of sweep_k", "method", heads, rows, notes=["Bold: best."])]
    assert read_all([whole / "experiments/table1.json"]) == [found[1]]
    written = Document("v1.5", "title", [table1(), "# *between*", *found[2].tables], "a,b\n1,2\n")
    write(written, tmp_path)
    assert read(tmp_path / "v1.5.json") == written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v1.5.csv", "v1.5.json", "v1.5.md"]


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('"text": "41.0"', '"text": 41.0', "text"),
        ('"best": true', '"bold": true', "bold"),
        ('"caption"', '"heading"', "caption"),
        ('"figure"', '"picture"', "picture|figure"),
        ("{", "", "JSON"),
    ],
)
def test_a_damaged_document_is_named(whole, tmp_path, old, new, where):
    from lander.report.document import read, read_all

    for end in ("csv", "json"):
        (tmp_path / f"sweep_k.{end}").write_text((whole / f"experiments/sweep_k.{end}").read_text())
    with pytest.raises(UserError, match=r"sweep_k\.svg"):
        read(tmp_path / "sweep_k.json")
    path = tmp_path / "sweep_k.json"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=rf"sweep_k\.json: .*({where})"):
        read_all([tmp_path])


@pytest.mark.parametrize(
    "inside",
    [
        "<script>alert(1)</script>",
        '<path onclick="alert(1)"/>',
        '<use xlink:href="https://example.org/x.svg#a"/>',
        '<image href="https://example.org/x.png"/>',
        '<path style="fill: url(https://example.org/x)"/>',
        "<style>@import 'https://example.org/x.css';</style>",
        '<h:p xmlns:h="http://www.w3.org/1999/xhtml">x</h:p>',
        "<g>",
    ],
)
def test_pictures_that_are_more_than_pictures_are_refused(tmp_path, inside):
    from lander.report.document import check_svg

    head = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    check_svg(f'{head}<image xlink:href="data:image/png;base64,AA=="/><use xlink:href="#a"/></svg>', tmp_path / "x.svg")
    with pytest.raises(UserError, match=r"x\.svg"):
        check_svg(f"{head}{inside}</svg>", tmp_path / "x.svg")


def test_translations_small_helpers():
    from lander.report.translations import spread, text_direction, visible

    assert [spread(3, 5), spread(10, 4), spread(5, 0)] == [[0, 1, 2], [0, 2, 5, 7], []]
    languages = [("", "ar"), ("", "ar-EG"), ("", "az-Arab"), ("", "de"), ("", "zh-Hant")]
    assert [text_direction(*one) for one in languages] == ["rtl", "rtl", "rtl", "ltr", "ltr"]
    mixed = [("Hello", "ar"), ("12.5", "ar"), ("مرحبا", "de"), ("BLEU هو مقياس", "ar"), ("das Wort مرحبا", "de")]
    assert [text_direction(*one) for one in mixed] == ["ltr", "rtl", "rtl", "rtl", "ltr"]
    assert visible("a\x00\x7f\x85\r\n\t\udc80\ufffe\u200f\U0001f600") == "a␀␡�␍\n\t��\u200f😀"


def test_translations_are_read_scored_and_marked(tmp_path):
    from sacrebleu import sentence_chrf

    from lander.report.translations import Flag, read_browser

    flags = make_translations(tmp_path, ["en-de"], [("lora", "main"), ("zero-shot", "main")], lines=6)
    folders, flagged = (
        parse_assignments(values, "--x") for values in (flags[1:3], flags[4:6])
    )  # --translations a b --flags a b
    browser = read_browser(folders, flagged, 100)
    assert browser.models == ["zero-shot (fixed instruction)", "lora"]
    assert browser.flags == ["empty", "off-target"]
    assert (browser.cap, browser.notes, browser.pair) == ("", [], (0, 1))
    sentence = browser.groups[0].sentences[5]
    assert sentence.line == 5  # from 0
    zero, lora = sentence.outputs
    assert (zero.flags, lora.flags) == ([Flag("off-target", "en")], [])
    assert lora.chrf == pytest.approx(sentence_chrf(lora.text, [sentence.reference], word_order=2).score)
    assert zero.chrf < 30 < lora.chrf
    path = next(path for run, path in flagged.items() if run.method == "zero-shot") / "cldr/en-de.flags.csv"
    path.write_text(path.read_text().replace("off_target,en", "off_target,"))  # too short to tell which
    outputs = read_browser(folders, flagged, 100).groups[0].sentences[5].outputs
    assert outputs[0].flags == [Flag("off-target", "not de")]
    capped = read_browser(folders, flagged, 3)
    assert [one.line for one in capped.groups[0].sentences] == [0, 2, 4]
    assert capped.cap == "At most 3 sentences of each direction and test set are shown, spread evenly."
    unmarked = read_browser(folders, {}, 100)  # without files, what can be seen at once
    assert [one.flags for one in unmarked.groups[0].sentences[3].outputs] == [[Flag("empty")]] * 2
    path = next(folders.values().__iter__()) / "cldr/en-de.jsonl"
    path.write_text(path.read_text().replace("committee", "board", 1))
    with pytest.raises(UserError, match="other sentences than"):
        read_browser(folders, {}, 100)


def test_the_first_two_models_are_the_better_zero_shot_and_landermt():
    from lander.report.inputs import Run
    from lander.report.translations import Group, Output, Sentence, first_pair

    def pair(*models):
        """`models`: (method, variant, score)."""
        outputs = [Output(place, "", "de", "ltr", score, []) for place, (_, _, score) in enumerate(models)]
        group = Group("news", "en-de", "en", "de", "ltr", "ltr", 1, [Sentence(0, "", "", outputs, [])])
        return first_pair([Run(method, variant, "0") for method, variant, _ in models], [group])

    zero, best, context = ("zero-shot", "main", 9), ("zero-shot", "best-prompt", 5), ("in-context", "main", 50)
    assert pair(best, zero, ("full", "main", 9), ("landermt", "main", 1), ("lora", "main", 8)) == (1, 3)
    assert pair(zero, best, ("full", "main", 9), ("landermt", "k8", 10), ("lora", "main", 8)) == (0, 3)
    assert pair(best, zero, context) == (1, 2)
    assert pair(context, ("lora", "main", 8)) == (0, 1)
    assert pair(("lora", "main", 8), ("full", "main", 9)) == (0, 1)
    assert pair(zero) == (0, 0)


def test_what_one_method_lacks_is_said(tmp_path):
    flags = make_translations(tmp_path, ["en-de"], [("full", "main")])
    more = make_translations(tmp_path, ["en-de", "de-en"], [("lora", "main")])
    make_scores(tmp_path / "scores.csv", ["en-de"])
    given = ["--translations", flags[1], more[1]]
    main(["--run", "x", "--scores", f"{tmp_path}/scores.csv", *given, "--out", f"{tmp_path}/report"])
    assert "cldr, de-en: no translations of full." in check_page(tmp_path / "report").text


def test_the_page_keeps_below_its_limit(whole, tmp_path, monkeypatch):
    size = (whole / "report/index.html").stat().st_size
    for limit, left in ((size - 50_000, True), (size // 3, False)):
        monkeypatch.setattr(page_module, "LIMIT", limit)
        flags = make_run(tmp_path / str(left), updates=20)
        main(add_everything(tmp_path / str(left), flags, lines=12))
        page = check_page(tmp_path / f"{left}/report")
        assert (tmp_path / f"{left}/report/index.html").stat().st_size < limit or not left
        assert ("spread evenly: no room for more" in page.text) == left
        assert ("No sentence is shown" in page.text) != left


def test_beside_the_paper():
    from lander.report.beside import beside

    rows = [("landermt", "main", "0", d, 10.0) for d in ("en-de", "de-en", "en-fr", "ca-es")]
    rows += [("landermt", "k8", "0", "en-de", 90.0)]  # an experiment: not the paper's
    rows += [("lora", "main", "0", d, v) for d, v in (("en-de", 9.0), ("de-en", 11.0), ("en-fr", 10.0), ("ca-es", 0.0))]
    (part,) = beside(Inputs("x", table_of(rows)), ["news"])
    assert part.ahead.rows == [("lora", [Cell("10 of 10", value=1.0), Cell("1 of 3", value=1 / 3)])]
    assert [head.text for head in part.ours[0].heads] == ["out of en", "into en", "en-de", "en-fr", "de-en"]
    heads = [head.text for head in part.theirs.heads]
    assert heads[:3] == ["out of en", "into en", "en-ar"]
    paper = dict(part.theirs.rows)["LANDeRMT"]
    assert paper[heads.index("en-de")] == Cell("18.85", True)
    assert paper[heads.index("zh-en")] == Cell("28.11", True)
    rows = [("landermt-ls", "main", "0", "ca-es", 9.0), ("landermt", "main", "0", "ca-es", 10.0)]
    _, two = beside(Inputs("x", table_of([*rows, ("lora", "main", "0", "ca-es", 0.0)])), ["news"])
    assert two.title.startswith("Table 2")
    assert two.ahead.rows == [("landermt-ls", [Cell("4 of 4", value=1.0), Cell("1 of 1", value=1.0)])]
    assert [head.text for head in two.ours[0].heads] == ["ca-es"]  # none of the paper's: the run's own
    assert [head.text for head in two.theirs.heads] == ["en-fr", "en-zh", "fr-en", "zh-en"]


def test_beside_the_paper_means_are_over_the_directions_shown():
    from lander.report.beside import beside
    from lander.report.significance import Outcome, Significance

    names = ("en-de", "en-ca", "mean-out-of-en")
    rows = [("landermt", "main", "0", name, value) for name, value in zip(names, (10.0, 50.0, 30.0), strict=True)]
    rows += [("lora", "main", "0", name, value) for name, value in zip(names, (20.0, 0.0, 10.0), strict=True)]
    tests = {
        (("landermt", "main"), ("lora", "main"), ("news", name, "bleu")): Outcome(1, 0.001) for name in names
    }  # the mean's is over other directions than the one that is shown
    (part,) = beside(Inputs("x", table_of(rows), significance=Significance(tests=tests)), ["news"])
    (ours,) = part.ours
    assert [head.text for head in ours.heads] == ["out of en", "en-de"]
    assert [(label, [(c.text, c.marks) for c in cells]) for label, cells in ours.rows] == [
        ("landermt", [("10.0", ""), ("10.0", "a")]),
        ("lora", [("20.0", ""), ("20.0", "")]),
    ]


def test_more_tables_by_hand(whole):
    from lander.report.costs import stage_table
    from lander.report.inputs import read_benchmarks, read_lengths
    from lander.report.maps import overlap, overlap_shares
    from lander.report.texts import languages_table

    inputs = Inputs("x", table_of([]), benchmarks=read_benchmarks(whole / "benchmarks"))
    inputs.lengths = read_lengths([whole / "train/en-de.parquet"])
    assert [(label, [cell.text for cell in cells]) for label, cells in stage_table(inputs).rows] == [
        ("data", ["2", "0", "10 s", "6 s", "629 MB"]),
        ("report", ["1", "0", "90 s", "90 s", "9.44 GB"]),
    ]
    assert inputs.lengths.values.tolist() == [["de", 2, 1], ["de", 38, 1], ["en", 3, 1], ["en", 40, 1]]
    shown = pd.read_csv(whole / "report/lengths.csv").query("language == 'de' and sentences > 0")
    assert shown[["characters", "percent"]].values.tolist() == [[2, 50], [38, 50]]
    grid = pd.DataFrame({"layer": 0, "neuron": range(40)})
    one = grid.assign(score=range(40))  # most aware: 38 and 39
    other = grid.assign(score=[*range(39), 0])  # 37 and 38
    inputs.awareness = {"de": one, "en": other}
    shares = overlap_shares(inputs).dropna()
    assert shares.values.tolist() == [["de", "en", 50], ["en", "de", 50]]
    drawn = overlap(inputs)
    assert drawn.svg.count(">50<") == 2
    assert [cell.text for cell in page_module.parts.figure_table(drawn).rows[0][1]] == ["–", "50"]
    inputs.counts = pd.DataFrame({"direction": ["en-de", "en-fr"]})
    assert [(label, [cell.text for cell in cells]) for label, cells in languages_table(inputs).rows] == [
        ("German (de)", ["0", "1", "2", "2", "38", "38"]),
        ("English (en)", ["2", "0", "2", "3", "40", "40"]),
    ]
    inputs.counts = None
    assert [cell.text for cell in languages_table(inputs).rows[0][1]][:3] == ["–", "–", "2"]


def test_awareness_of_general_and_specific_neurons_has_one_unit():
    from lander.report import figures

    rows = {"layer": [0, 0, 0, 0], "neuron": [0, 1, 2, 3]}
    neurons = pd.DataFrame({**rows, "kind": ["general"] * 3 + ["specific"], "language": [None] * 3 + ["de"]})
    scores = pd.DataFrame({**rows, "score": [0.001, 0.001, 0.001, 0.02]})  # the mean is .00575
    inputs = Inputs("x", table_of([]), neurons=neurons, awareness={"de": scores})
    for make in (figures.awareness, figures.awareness_general, figures.awareness_specific):
        assert "mean awareness (10⁻³ nats)" in html.unescape(make(inputs).svg)


def test_answers_by_hand():
    from lander.report.findings import findings, owners_table

    off = {"full": {"en-ar": 0.2, "en-de": 0, "en-fr": 0.3, "en-it": 0.02}, "lora": {"en-ar": 0.01, "en-de": 0}}
    rows = [
        (method, "main", "0", "news", name, "off_target", share, "unit:share")
        for method, shares in off.items()
        for name, share in shares.items()
    ]
    inputs = Inputs("x", pd.DataFrame(rows, columns=COLUMNS))
    answer = "full 30.0% in en-fr, 20.0% in en-ar and 1 more; at most 1% in every direction: lora"
    assert findings(inputs) == [("Output in another language", answer, "scores-section")]
    told = {"full": {"en-ar": 0.5, "en-fr": 0.6}, "lora": {"en-ar": 0.99}, "adapter": {"en-ar": 1, "en-de": 1}}
    rows += [
        (method, "main", "0", "news", name, "language_unknown", share, "unit:share")
        for method, shares in told.items()
        for name, share in shares.items()
    ]  # a share of those long enough: en-ar .2 / .5, en-fr .3 / .4
    rows += [("adapter", "main", "0", "news", name, "off_target", 0, "unit:share") for name in told["adapter"]]
    answer = (
        "of the 40–100% of outputs that are long enough to tell: full 75.0% in en-fr, 40.0% in en-ar and 1 more; at "
        "most 1% in every direction: lora (not told in 1 of 2); not told, fewer than 10% of the outputs are long "
        "enough: adapter"
    )
    (found,) = findings(Inputs("x", pd.DataFrame(rows, columns=COLUMNS)))
    assert found[1] == answer
    empty = [row for row in rows if row[0] == "adapter"]
    (found,) = findings(Inputs("x", pd.DataFrame(empty, columns=COLUMNS)))
    assert found[1] == "not told, fewer than 10% of the outputs are long enough: all methods"
    inputs.layers = pd.DataFrame(
        {"direction": "en-de", "layer": [0, 1, 2], "delta": [np.nan, 0.5, 0.25], "selected": [False, True, False]}
    )
    kinds = {"kind": ["general", *["specific"] * 3], "language": [None, "ar", "de", "ar"]}
    inputs.neurons = pd.DataFrame(
        {"layer": [0, 1, 1, 2], "neuron": [0, 0, 1, 0], **kinds, "selected": [False, True, True, False]}
    )
    layers, neurons, _ = findings(inputs)
    why = (
        "1 (of 3, counted from 0): there the activation changes most from layer to layer; mean D is largest at 1 (0.5)"
    )
    assert layers[1:] == (why, "delta")
    assert neurons[1] == "Arabic (ar) 2, German (de) 1 (of 4); in the chosen layers ar 1, de 1 (of 2)"
    assert [(label, [cell.text for cell in cells]) for label, cells in owners_table(inputs).rows] == [
        ("Arabic (ar)", ["2", "1", "66.7%"]),
        ("German (de)", ["1", "1", "33.3%"]),
        ("all", ["3", "2", "100.0%"]),
    ]


def test_a_neuron_of_two_languages_is_one_neuron():
    from lander.report.figures import owners
    from lander.report.findings import findings, owners_table

    kinds = {"kind": ["general", *["specific"] * 3], "language": [None, "ar", "de", "ar"]}
    neurons = pd.DataFrame({"layer": [0, 0, 0, 1], "neuron": [0, 1, 1, 0], **kinds, "selected": [True] * 3 + [False]})
    inputs = Inputs("x", table_of([]), neurons=neurons)
    ((_, answer, _),) = findings(inputs)
    assert answer == "Arabic (ar) 2, German (de) 1 (of 3); in the chosen layers ar 1, de 1 (of 2)"
    table = owners_table(inputs)
    assert [[cell.text for cell in cells] for _, cells in table.rows] == [
        ["2", "1", "100.0%"], ["1", "1", "50.0%"], ["2", "1", "100.0%"],
    ]  # fmt: skip
    assert table.notes == ["A neuron of several languages counts for each of them, and once in all."]
    assert owners(inputs).caption.startswith("Of 3 neurons 1 are general, 2 specific.")


def test_masks_from_elsewhere_are_named():
    from lander.report.cautions import foreign_masks
    from lander.report.findings import findings

    scores = table_of([("landermt", "main", "0", "en-de", 1.0)])
    inputs = Inputs("x", scores, config="neurons: {masks: lape-masks}")
    assert foreign_masks(inputs) == "landermt used the masks of lape-masks (neurons.masks)."
    assert findings(inputs) == [("Masks of landermt", foreign_masks(inputs), "provenance")]
    assert foreign_masks(Inputs("x", scores, config="neurons: {masks: null}")) == ""
    assert foreign_masks(Inputs("x", scores[:0], config="neurons: {masks: lape-masks}")) == ""


def test_copied_jobs_cost_nothing(tmp_path):
    from lander.report.costs import stage_table, stages
    from lander.report.inputs import read_benchmarks

    for name, seconds in (("data/en", 4), ("data/de", 6), ("layers", 1)):
        for folder, text in (("benchmarks", f"s\tmax_rss\n{seconds}\t100\n"), ("logs", "")):
            path = tmp_path / folder / f"{name}.{'tsv' if folder == 'benchmarks' else 'log'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for name in ("data/de", "layers"):
        (tmp_path / f"logs/{name}.log").write_text("note\ncopied from results/a/x: same command, files and code\n")
    inputs = Inputs("x", table_of([]), benchmarks=read_benchmarks(tmp_path / "benchmarks"))
    assert [(label, [cell.text for cell in cells]) for label, cells in stage_table(inputs).rows] == [
        ("data", ["1", "1", "4 s", "4 s", "105 MB"]),
        ("layers", ["0", "1", "–", "–", "–"]),
    ]
    assert "(4 s of 4 s in 1 jobs)" in stages(inputs).caption
    inputs.benchmarks = inputs.benchmarks.assign(memory=np.nan)
    assert "memory was held" not in stages(inputs).caption


def test_only_what_shows_data_is_of_the_class_data():
    from lander.report import svg

    figure, axes = svg.new_figure()
    axes.axhline(0, zorder=0)
    assert "data" not in svg.inline(svg.to_svg(figure, "x", "t"), "x", "y")
    axes.plot([0, 1], [1, 2], label="a")
    axes.bar([0, 1], [1, 2])
    assert svg.inline(svg.to_svg(figure, "x", "t"), "x", "y").count('class="data"') == 3


def test_tokenizers_as_sacrebleus_command_line_calls_them():
    from lander.report.origin import tokenizer_choice

    signed = ["13a", "zh", "ja-mecab-0.996-IPA", "ko-mecab-0.996/ko-0.9.2-KO", "flores200"]
    assert [tokenizer_choice(one) for one in signed] == ["13a", "zh", "ja-mecab", "ko-mecab", "flores200"]


def test_gain_against_cost_by_hand(small):
    from lander.report.costs import gains
    from lander.report.inputs import Run

    folder, _ = small
    mean = {"zero-shot": 10.0, "full": 30.0, "lora": 25.0, "layers": 24.0, "adapter": 30.0}
    inputs = Inputs("x", table_of([(method, "main", "0", "mean", value) for method, value in mean.items()]))
    sizes = {"full": 1000, "lora": 10, "layers": 10, "adapter": 500}
    inputs.runs = {Run(one, "main", "0"): {"parameters_trained": size, "seconds": 2} for one, size in sizes.items()}
    table = gains(inputs, ["news"])
    assert table[["label", "gain", "parameters", "best"]].values.tolist() == [
        ["full", 20.0, 1000, False],  # the adapter does as well with fewer
        ["layers", 14.0, 10, False],
        ["lora", 15.0, 10, True],
        ["adapter", 20.0, 500, True],
    ]
    text = (folder / "report/index.html").read_text()
    assert re.findall(r"Figure (\d+)\. ([^<]*?)\.</strong>", text)[0] == ("1", "Gain against cost")
    assert f"--configfile {folder}/config.yaml -- forgetting</code>" in text
    shown = pd.read_csv(folder / "report/gain.csv").query("method == 'lora' and directions == 'into English'").iloc[0]
    scores = pd.read_csv(folder / "scores.csv").query("metric == 'bleu' and direction == 'mean-into-en'")
    scores = scores.set_index("method")
    zero = scores.loc["zero-shot", "score"].max()
    assert shown["gain"] == pytest.approx(scores.loc["lora", "score"] - zero)


def test_estimators_agree_as_their_numbers_say():
    from lander.report.document import Document
    from lander.report.maps import agreement

    rows = ["kind,a,b,layer,language,value,n", "estimators_correlation,taylor,lape,0,en,0.9,8"]
    rows += ["estimators_correlation,taylor,lape,1,de,0.1,8", "estimators_correlation,taylor,lape,1,en,0.7,8"]
    rows += ["estimators_overlap,taylor,lape,0,en,0.99,8", "estimators_overlap,taylor,lape,0,any,0.25,8"]
    rows += ["estimators_overlap,taylor,lape,1,any,,0", "running_overlap,taylor,8,0,any,1,8"]
    drawn = agreement([Document("agreement", "t", [], "\n".join(rows))])
    assert drawn.data["value"].tolist() == [0.7, 0.25]  # medians over layers; of the sets of all languages
    assert drawn.svg.count(">0.70<") == drawn.svg.count(">0.25<") == 2
    assert agreement([]) is None
    assert agreement([Document("agreement", "t", [], "kind,a\n")]) is None


def test_commands_that_make_a_number_again(tmp_path, monkeypatch):
    """The last one prints the score that it says; `python` and `sacrebleu` are those of the tests."""
    from lander.report.inputs import Run
    from lander.report.origin import commands, made_table, signature_table, version_table

    scores = table_of([("zero-shot", "main", "0", "en-zh", 1.0), ("full", "main", "0", "en-zh", 0.0)])
    inputs = Inputs("demo", scores, config_path="results/demo/config.yaml")
    config = "snakemake --cores 2 --configfile results/demo/config.yaml"
    (_, first), (_, second), (what, third), (_, last) = commands(inputs, ["table1", "tune"])
    assert [first, second] == [config, f"{config} -- table1 tune"]
    assert third == f"{config} -- results/demo/evaluate/full/main/s0/news/en-zh.csv"
    assert what == "One model's scores, with its training (full, seed 0, en-zh on news)"
    folder = tmp_path / "results/demo/translate/full/main/s0/news"
    folder.mkdir(parents=True)
    lines = [
        {"reference": "委员会于5月开会", "hypothesis": "委员会于5月开会"},
        {"reference": "“猫”", "hypothesis": "“狗”"},
    ]
    (folder / "en-zh.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    done = subprocess.run(last, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    from sacrebleu.metrics import BLEU

    texts = ([one[key] for one in lines] for key in ("hypothesis", "reference"))
    wanted = BLEU(tokenize="zh").corpus_score(next(texts), [next(texts)])
    assert done.stdout.strip() == f"{wanted.score:.1f}"
    inputs.runs = {
        Run("full", "main", "0"): {"git": {"commit": "ab" * 20, "changed": []}, "versions": {"torch": "2.12"}}
    }
    inputs.made = MADE
    page, training = made_table(inputs).rows
    assert page[0] == "this page"
    assert page[1][0].text == "c0ffee" * 7 + ", changed since: lander/detect/masks.py"
    assert [cell.text for cell in page[1][1:5]] == ["Chip 9000", "2", "24 GB", "2 × X"]
    assert (training[0], training[1][0].text) == ("full (seed 0)", "ab" * 20 + ", nothing changed")
    assert [(name, [cell.text for cell in cells]) for name, cells in version_table(inputs).rows] == [
        ("sacrebleu", ["–", "2.6.0"]), ("torch", ["2.12", "2.13.0"]),
    ]  # fmt: skip
    assert signature_table(scores).rows == [("BLEU", [Cell("all directions"), Cell("tok:zh")])]


# ---------------------------------------------------------------- in a browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
browsed = pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine")
PROBE = """
const cell = (table, row, column) => table.tBodies[0].rows[row].cells[column].textContent;
const found = {};
const table = document.querySelector("#summary table.sortable");
const button = table.tHead.rows[1].cells[0].querySelector("button");
const column = () => [...table.tBodies[0].rows].map((row) => row.cells[1].textContent);
found.made = column();
for (const order of ["descending", "ascending", "none"]) {
  button.click();
  found[order] = [column(), table.tHead.rows[1].cells[0].getAttribute("aria-sort")];
}
const total = document.querySelector("#data table.total");
total.tHead.rows[1].cells[0].querySelector("button").click();
found.total = total.tBodies[0].rows[total.tBodies[0].rows.length - 1].cells[0].textContent;
const form = document.getElementById("browse");
const articles = () => [...document.querySelectorAll("#translations article")].filter((a) => a.checkVisibility());
const cells = ["12 min", "3.4 h", "45 s", "1.3 GB", "\\u22124.6", "1,234", "90k", "3 heads", "1e-05", "p < 0.1"];
found.parsed = cells.map((text) => numberOf(Object.assign(document.createElement("td"), { textContent: text })));
found.numbers = [document.getElementById("found").textContent];
const set = (values) => {
  form.reset();
  for (const [name, value] of Object.entries(values)) {
    if (name === "two") form.elements[name].checked = value; else form.elements[name].value = value;
  }
  form.dispatchEvent(new Event("input", { bubbles: true }));
  return new Promise((done) => setTimeout(done, 300));
};
(async () => {
  const name = [...form.elements.a.options].map((one) => one.textContent);
  const a = String(name.indexOf("full")), b = String(name.indexOf("landermt"));
  await set({ direction: "en-ar" });
  found.numbers.push(articles().length);
  await set({ search: "7 MAY", direction: "en-ar" });
  found.search = articles().map((one) => one.querySelector("h3").textContent);
  const lists = [...document.querySelectorAll("#translations details.group")];
  const seen = () => lists.filter((one) => one.checkVisibility());
  const counts = () => seen().map((one) => one.querySelector(".count").textContent);
  found.counts = [counts()];
  await set({});
  found.counts.push(counts()[0]);
  lists.forEach((one) => { one.open = false; });
  await set({ search: "committee met on 7 may" });
  found.opened = [lists.filter((one) => one.open).length, articles().length];
  form.reset();
  found.pair = [form.elements.a, form.elements.b].map((one) => one.selectedOptions[0].textContent);
  await set({ flag: "off-target", direction: "de-en" });
  found.flagged = articles().map((one) => one.querySelector("h3").textContent);
  await set({ direction: "en-de", order: "b", two: true, a, b });
  found.order = articles().map((one) => {
    const score = (m) => Number(one.querySelector(`dt[data-m="${m}"]`).dataset.c);
    return score(b) - score(a);
  });
  found.terms = [...articles()[0].querySelectorAll("dt")].filter((one) => one.checkVisibility()).length;
  const [left, right] = [a, b].map((m) => articles()[0].querySelector(`dt[data-m="${m}"]`).getBoundingClientRect());
  found.beside = [left.top === right.top, left.left < right.left];
  found.arabic = getComputedStyle(document.querySelector('dd[lang="ar"][dir="rtl"]')).direction;
  tell(found);
})();
"""
WIDTHS = (400, 1280)
TELL = """
const extent = (one) => { const box = one.getBBox(); return box.width + box.height; };
const marks = (picture) => [...picture.querySelectorAll(".data path, .data use, .data image")]
  .filter((one) => !one.closest("defs") && extent(one) > 0).length;
const tell = (found) => {
  const root = document.documentElement;
  found.wide = [window.innerWidth, root.scrollWidth - root.clientWidth];
  const figures = [...document.querySelectorAll("figure")].filter((one) => one.querySelector("svg"));
  found.marks = Object.fromEntries(figures.map((one) => [one.id, marks(one)]));
  parent.postMessage(found, "*");
};
"""


def browse(page, *flags):
    """The page as Chromium has it after its scripts have run, and what went wrong."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000"]
    command += ["--enable-logging=stderr", "--dump-dom", *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def at_widths(page):
    """What a page's script tells (`tell`) of it, shown in frames of exactly `WIDTHS` pixels; a line of errors fails."""
    frames = "".join(
        f'<iframe src="{page.name}" style="width:{width}px;height:900px;border:0"></iframe>' for width in WIDTHS
    )
    collect = "const all = []; onmessage = (one) => { all.push(one.data); document.title = JSON.stringify(all); };"
    (page.parent / "frames.html").write_text(f"<title></title><script>{collect}</script>{frames}")
    dom, wrong = browse(page.parent / "frames.html", "--window-size=1400,2000")
    assert wrong == []
    found = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", dom)[1]))
    return sorted(found, key=lambda one: one["wide"][0])


def check_widths(pages):
    """Nothing sticks out at either width, and every figure has drawn marks, axes and guide lines apart."""
    assert [one["wide"] for one in pages] == [[width, 0] for width in WIDTHS]
    for one in pages:
        assert one["marks"]
        assert [name for name, number in one["marks"].items() if not number] == []


@pytest.mark.workflow
@browsed
def test_in_a_browser(whole, tmp_path):
    text = (whole / "report/index.html").read_text()
    probed = re.sub(r"<meta http-equiv[^>]*>", "", text).replace(
        "</body>", f"<script>{{{TELL}{PROBE}}}</script></body>"
    )
    (tmp_path / "page.html").write_text(probed)
    pages = at_widths(tmp_path / "page.html")
    found = pages[0]
    numbers = [float(re.match(r"[\d.]+", one)[0]) for one in found["made"]]
    down, up, none = found["descending"], found["ascending"], found["none"]
    assert [float(re.match(r"[\d.]+", one)[0]) for one in down[0]] == sorted(numbers, reverse=True)
    assert up[0] == down[0][::-1]
    assert [down[1], up[1], none] == ["descending", "ascending", [found["made"], None]]
    assert found["parsed"] == [720, 12240, 45, 1.3e9, -4.6, 1234, 90_000, 3, 1e-5, None]
    assert found["total"] == "all"  # a sum stays below
    assert found["numbers"] == ["120 sentences in 10 lists.", 12]
    assert found["search"] == ["line 6"]  # they count from 0
    assert found["counts"] == [["1 of the 12 shown match"], "12 of 12 sentences"]
    assert found["opened"][0] == found["opened"][1] == 10  # English is on one side of each of the ten
    assert found["pair"] == ["zero-shot (fixed instruction)", "landermt"]
    assert [one["beside"] for one in pages] == [[False, False], [True, True]]
    assert found["flagged"] == ["line 0", "line 5", "line 10"]
    assert len(found["order"]) == 12
    assert found["order"] == sorted(found["order"], reverse=True)
    assert found["terms"] == 4  # source, reference and the two
    check_widths(pages)
    assert found["arabic"] == "rtl"


@pytest.mark.workflow
@browsed
def test_the_policy_lets_our_script_run_and_no_other(whole, tmp_path):
    dom, wrong = browse(whole / "report/index.html")
    assert wrong == []
    assert "<button" in dom
    text = (whole / "report/index.html").read_text()
    (tmp_path / "page.html").write_text(text.replace("</main>", "<script>document.title = 'owned'</script></main>"))
    dom, wrong = browse(tmp_path / "page.html")
    assert "<title>owned" not in dom
    assert len(wrong) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--loss", "full"], "--loss full: write METHOD/VARIANT/sSEED=FILE"),
        (["--loss", "a/b/c/d=x"], "write METHOD/VARIANT/sSEED=FILE"),
        (["--loss", "full=missing.csv"], r"missing\.csv: no such file"),
        (["--loss", "full=scores.csv"], r"scores\.csv: no column update"),
        (["--runs", "full=a.json", "full/main/s0=b.json"], "is given twice"),
        (["--runs", "full=list.json"], r"list\.json: not a JSON object"),
        (["--awareness", "a.parquet", "--awareness-languages", "de", "en"], "1 files and --awareness-languages 2"),
        (["--layers", "missing.parquet"], r"missing\.parquet: no such file"),
        (["--config", "missing.yaml"], r"missing\.yaml: the config cannot be read"),
        (["--significance", "missing.csv"], r"missing\.csv: no such file"),
        (["--significance", "scores.csv"], r"scores\.csv: no column baseline, low, high, difference, p_holm"),
        (["--significance", "words.csv"], r"words\.csv: could not convert"),
        (["--experiments", "nowhere"], "nowhere: no such file or folder"),
        (["--translations", "full=."], "no <test>/<direction>.jsonl in it"),
        (["--translations", "full"], "--translations full: write METHOD"),
        (["--sentences", "0"], "--sentences 0: give a number of at least 1"),
        (["--dropped", "de-en.jsonl"], r"de-en\.jsonl: no such file"),
        (["--dropped", "en-de.list"], r"en-de\.list: not a list of dropped pairs"),
        (["--code", "list.json"], r"list\.json: not a JSON object"),
        (["--benchmarks", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_bad_inputs_are_named(tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    make_scores(tmp_path / "scores.csv", ["en-de"])
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "en-de.list").write_text("[1]\n")
    significance_file(tmp_path / "words.csv", ["full,main,0,lora,news,en-de,bleu,20,19,21,much,0.01"])
    with pytest.raises(UserError, match=message):
        main(["--run", "x", "--scores", "scores.csv", "--out", "report", *flags])
    assert not (tmp_path / "report").exists()
