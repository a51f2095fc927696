"""Tests of `lander.report`, on made-up runs of several shapes."""

import base64
import hashlib
import html.parser
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_runs import (
    add_everything,
    make_counts,
    make_experiments,
    make_loss,
    make_run,
    make_scores,
    make_significance,
    make_translations,
)

from lander import tables
from lander.errors import UserError
from lander.evaluate.collect import COLUMNS
from lander.report import page as page_module
from lander.report.__main__ import main

PACKAGE = Path(page_module.__file__).parent


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
    assert len(text) < 5_000_000
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
    assert len(list((tmp_path / "report").glob("*.svg"))) == (7 if shape.get("n_layer") == 1 else 8)


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
    from lander.report.inputs import Inputs
    from lander.report.summary import verdict

    rows = []
    numbers = {("zero-shot", "main"): (1, 30), ("zero-shot", "best-prompt"): (20, 24), ("landermt", "main"): (40, 26)}
    numbers[("full", "main")] = (50, 28)
    for (method, variant), values in numbers.items():
        rows += [(method, variant, "0", d, value) for d, value in zip(("en-de", "de-en"), values, strict=True)]
        rows.append((method, variant, "0", "mean", sum(values) / 2))
    found = verdict(Inputs("demo", table_of(rows)), "news")
    assert (found.best, found.mean, found.gain) == ("full", "39.0", "+17.0")
    assert found.sentence == (
        "full scores highest, mean BLEU 39.0. That is 17.0 BLEU above the better zero-shot, zero-shot (best prompt) "
        "with 22.0; in 1 of 2 directions it is ahead of every zero-shot prompt. "
        "landermt has 33.0, 6.0 less than the highest."
    )


def test_data_table_says_whether_it_adds_up(tmp_path):
    from lander.report.tables import data_table

    make_counts(tmp_path / "c.parquet", ["en-de", "de-en"])
    counts = tables.read(tmp_path / "c.parquet", "counts")
    table = data_table(counts)
    heads = [head.text for head in table.heads]
    assert heads == ["read", "kept", "empty", "too long", "language", "duplicate", "max pairs"]
    assert [cell.text for cell in table.rows[-1][1]] == ["2,000", "1,600", "24", "6", "80", "200", "90"]
    assert table.notes == ["Filters that dropped nothing: copied.", "Read = kept + dropped."]
    counts.loc[counts["reason"].eq("kept") & counts["direction"].eq("de-en"), "pairs"] = 1
    assert data_table(counts).notes[-1] == "Does not add up for de-en: read is not kept + dropped."


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
    assert [signed(value) for value in (1.23, -4.56, 0.04, -0.04)] == ["+1.2", "−4.6", "0.0", "0.0"]
    assert scaled(pd.Series([0.00042, -0.00012]), "x", "nats") == (pytest.approx(1e4), "x (10⁻⁴ nats)")
    assert scaled(pd.Series([0.0, np.nan]), "x", "") == (1.0, "x (no unit)")
    log = pd.DataFrame({"update": [1, 1, 2], "loss": [1.0, 4.0, np.inf], "tokens": [2, 1, 5]})
    assert binned_loss([log]).values.tolist() == [[1, 2.0]]
    long = pd.DataFrame({"update": range(1, 12_501), "loss": 1.0, "tokens": 1})
    assert len(binned_loss([long, long])) == 60


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
    ],
)
def test_bad_inputs_are_named(tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    make_scores(tmp_path / "scores.csv", ["en-de"])
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(UserError, match=message):
        main(["--run", "x", "--scores", "scores.csv", "--out", "report", *flags])
    assert not (tmp_path / "report").exists()
