"""Tests of the page of `lander.report`, on made-up runs of several shapes."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from pages import at_widths, browse, browsed, check_page
from report_runs import MADE, add_everything, make_loss, make_run, make_scores, write_significance

from lander.report import __main__ as command
from lander.report import page as page_module
from lander.report.__main__ import main
from lander.shared import tables
from lander.shared.errors import UserError


@pytest.fixture(scope="module", autouse=True)
def made():
    """Git and the machine, the same for every report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "collect", lambda: MADE)
        yield


SHAPES = {
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
    assert page.text.count("␀␛\ufffd") >= 15
    wanted = ["summary", "scores-section", "beside", "experiments", "detection", "training"]
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
    assert page.text.count("are not printed") == 1


def test_cells_say_their_language_direction_and_significance(whole):
    text = (whole / "report/index.html").read_text()
    assert '<dd lang="ar" dir="rtl">اجتمعت اللجنة' in text
    assert '<dd lang="zh" dir="ltr">委员会于5月' in text
    # off-target: English where Arabic was wanted runs from the left
    assert re.search(r'off-target: en</em></dt><dd lang="ar" dir="ltr">The committee', text)
    assert '<td lang="de" dir="ltr">Hallo &lt;b&gt;</td>' in text
    assert re.search(r'<td title="95% interval [^"]*against full [^"]*significant"', text)
    assert re.search(r'<sup aria-hidden="true">ab</sup><span class="vh"> significantly ahead of full, zero-shot', text)
    assert re.search(r"<th scope=\"col\">against full</th>", text)
    assert re.search(r">\+\d+ −\d+ of 10</td>", text)


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


# ---------------------------------------------------------------- in a browser

PROBE = """
const cell = (table, row, column) => table.tBodies[0].rows[row].cells[column].textContent;
const found = {};
const table = [...document.querySelectorAll("table")].find((one) => one.caption.textContent === "Methods at a glance");
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
  lists.forEach((one) => { one.open = one.dataset.direction === "en-de"; });
  await new Promise((done) => setTimeout(done, 100));
  found.marked = new Set([...lists[0].parentNode.querySelectorAll("mark")].map((one) => one.className)).size;
  found.scrolls = document.querySelectorAll(".plot.scrolls").length > 0;
  found.arabic = getComputedStyle(document.querySelector('dd[lang="ar"][dir="rtl"]')).direction;
  tell(found);
})();
"""


@pytest.mark.workflow
@browsed
def test_in_a_browser(whole, tmp_path):
    shutil.copy(whole / "report/index.html", tmp_path)
    pages = at_widths(tmp_path / "index.html", PROBE)
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
    assert found["arabic"] == "rtl"
    assert found["marked"] == 2  # words that the reference lacks, and those that only one has
    assert [one["scrolls"] for one in pages] == [True, False]


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
        (["--loss", "full"], "--loss full: .*METHOD/VARIANT/sSEED=FILE"),
        (["--loss", "a/b/c/d=x"], "write METHOD/VARIANT/sSEED=FILE"),
        (["--loss", "full=missing.csv"], r"missing\.csv: no such file"),
        (["--loss", "full=scores.csv"], r"scores\.csv: no column update"),
        (["--runs", "full=a.json", "full/main/s0=b.json"], "is given twice"),
        (["--runs", "full=list.json"], r"list\.json: not a JSON object"),
        (["--awareness", "a.parquet", "--awareness-languages", "de", "en"], "1 files and --awareness-languages 2"),
        (["--layers", "missing.parquet"], r"missing\.parquet: no such file"),
        (["--config", "missing.yaml"], r"missing\.yaml: the config cannot be read"),
        (["--significance", "missing.csv"], r"missing\.csv: no such file"),
        (["--significance", "scores.csv"], r"scores\.csv: no column baseline"),
        (["--significance", "words.csv"], r"words\.csv, line 2: difference"),
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
    write_significance(tmp_path / "words.csv", [{"method": "full", "difference": "much"}])
    with pytest.raises(UserError, match=message):
        main(["--run", "x", "--scores", "scores.csv", "--out", "report", *flags])
    assert not (tmp_path / "report").exists()


def test_a_run_whose_hooks_have_not_run_has_a_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_scores(tmp_path / "scores.csv", ["en-de"])
    main(["--run", "x", "--scores", "scores.csv", "--out", "report", "--code", "missing.json"])
    assert (tmp_path / "report" / "index.html").is_file()
