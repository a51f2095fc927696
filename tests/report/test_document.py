"""Tests of `lander.report.document`: what an experiment writes, the report reads."""

import pytest
from report_runs import make_experiments

from lander.report import paper
from lander.report.document import Document, check_svg, read, read_all, write
from lander.report.tables import Cell, Head, Table
from lander.shared.errors import UserError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with `experiments`."""
    folder = tmp_path_factory.mktemp("documents")
    make_experiments(folder / "experiments")
    return folder


def test_documents_come_back_as_they_were_written(whole, tmp_path):
    found = read_all([whole / "experiments"])
    assert [one.name for one in found] == ["forgetting", "table1", "sweep_k"]
    assert found[2].title == "Title of sweep_k"
    rows = [("full", [Cell("41.0", True, "±0.3"), Cell("–")]), ("a|b", [Cell("39.1"), Cell("+1.5")])]
    heads = [Head("BLEU"), Head("gain | cost")]
    table = Table("Table of sweep_k", "method", heads, rows, notes=["Bold: best."])
    assert found[2].blocks == ["What sweep_k shows: the k matters.", table]
    assert read_all([whole / "experiments/table1.json"]) == [found[1]]
    written = Document("v1.5", "title", [paper.table(1), "# *between*", table], "a,b\n1,2\n")
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
    head = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    check_svg(f'{head}<image xlink:href="data:image/png;base64,AA=="/><use xlink:href="#a"/></svg>', tmp_path / "x.svg")
    with pytest.raises(UserError, match=r"x\.svg"):
        check_svg(f"{head}{inside}</svg>", tmp_path / "x.svg")
