"""Agreement and stability of neuron tables, on numbers computed by hand."""

import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
from made import write_table

from lander.detect.neurons import Split
from lander.experiments import agreement
from lander.shared import tables
from lander.shared.errors import UserError

HALF = partial(agreement.specific, split=Split(general_share=0.5, normalize="none"))


def write_parts(path, sums: list[list[float]], tokens: list[int]) -> None:
    """One layer; `sums` per part and neuron."""
    parts = [
        {"part": part, "layer": 0, "neuron": neuron, "score": score, "tokens": tokens[part], "sentences": 2}
        for part, row in enumerate(sums)
        for neuron, score in enumerate(row)
    ]
    write_table(path, "awareness_parts", pd.DataFrame(parts))


def correlated(one: list[float], other: list[float]) -> tuple[float, int]:
    arrays = (np.array(scores, dtype=float)[None, None] for scores in (one, other))
    ((*names, value, n),) = agreement.correlations("kind", ("a", "b"), *arrays, ["en"])
    assert names == ["kind", "a", "b", 0, "en"]
    return value, n


def test_spearman_by_hand():
    # ranks 1 2 3 4 and 1 2 4 3: one minus 6 * 2 / (4 * 15)
    assert correlated([1, 5, 7, 9], [0, 1, 9, 8]) == (pytest.approx(0.8), 4)
    # ties: ranks 1.5 1.5 3 against 1 2 3
    assert correlated([1, 1, 2], [1, 2, 3]) == (pytest.approx(1.5 / np.sqrt(1.5 * 2)), 3)
    assert np.isnan(correlated([1, 1, 1], [0, 1, 2])[0])
    # what has no score is left out
    assert correlated([1, 2, 3, np.nan], [1, 2, -1, 9]) == (pytest.approx(-0.5), 3)


def test_jaccard_by_hand():
    one, other = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert agreement.jaccard(one, other) == (pytest.approx(1 / 3), 3)
    assert str(agreement.jaccard(~one & one, ~one & one)) == "(nan, 0)"


def test_specific_sets_and_their_overlap():
    """Variances of the four neurons 0, 4, 1, 0: the second and the third are specific."""
    phi = np.array([[[1.0, 5.0, 1.0, 2.0]], [[1.0, 1.0, 3.0, 2.0]]])
    sets = HALF(phi)
    assert sets[:, 0].tolist() == [[False, True, False, False], [False, False, True, False]]
    other = sets.copy()
    other[1, 0] = [True, False, True, False]
    rows = agreement.overlaps("kind", ("a", "b"), sets, other, ["en", "de"])
    assert [row[4:] for row in rows] == [("en", 1.0, 1), ("de", 0.5, 2), ("any", pytest.approx(2 / 3), 3)]


@pytest.fixture
def parts(tmp_path):
    # en varies, de is all ones per token: a neuron's variance follows the distance of its en score from 1
    write_parts(tmp_path / "en.parquet", [[90.0, 0, 10, 10], [-10, 80, 10, 10], [10, 0, 90, 10]], [10, 10, 10])
    write_parts(tmp_path / "de.parquet", [[10.0] * 4] * 3, [10, 10, 10])
    return agreement.Parts([tmp_path / "en.parquet", tmp_path / "de.parquet"])


def test_parts_together_are_means_over_their_tokens(parts):
    assert parts.phi(slice(2))[0, 0].tolist() == [4, 4, 1, 1]  # (90 - 10) / 20, 80 / 20, ...
    assert parts.phi(slice(1, 2))[0, 0].tolist() == [1, 8, 1, 1]  # without its sign
    assert parts.phi(slice(0, None, 2))[0, 0].tolist() == [5, 0, 5, 1]


def test_running_sets_and_the_sentences_needed(parts):
    """Distances of en from 1: first part 8 1 0 0, two parts 3 3 0 0, all (3, 2.67, 3.67, 1): 2, 1.67, 2.67, 0."""
    rows = agreement.compare_running("x", parts, HALF, 0.3)
    running = [(row[2], row[5], row[6]) for row in rows if row[0] == "running_overlap"]
    # sets: {0, 1}, {0, 1}, {0, 2}
    assert running == [("2", pytest.approx(1 / 3), 3), ("4", pytest.approx(1 / 3), 3), ("6", 1.0, 2)]
    assert rows[-1] == ("sentences_needed", "x", "0.3", 0, "any", 2.0, 6)
    assert agreement.compare_running("x", parts, HALF, 0.95)[-1][5] == 6.0


def test_halves(parts):
    rows = agreement.compare_halves("x", parts, HALF, ["en", "de"])
    # even parts: 5 0 5 1, odd ones: 1 8 1 1; ranks 3.5 1 3.5 2 against 2 4 2 2
    expected = np.corrcoef([3.5, 1, 3.5, 2], [2, 4, 2, 2])[0, 1]
    assert rows[0] == ("halves_correlation", "x even", "x odd", 0, "en", pytest.approx(expected), 4)
    assert np.isnan(rows[1][5])  # all of de's scores are one


def test_the_command(monkeypatch, tmp_path):
    dice = np.random.default_rng(0)
    for name in ("one", "two", "sample"):
        for language in ("en", "de"):
            table = tables.by_neuron({"score": dice.random((2, 40))})
            table = table[:70:5] if name == "sample" else table
            write_table(tmp_path / name / f"{language}.parquet", "awareness", table)
    for language in ("en", "de"):
        write_parts(tmp_path / "parts" / f"{language}.parquet", dice.random((4, 40)).tolist(), [5] * 4)
    flags = ["--languages", "en", "de", "--general-share", "0.9", "--out", str(tmp_path / "out")]
    named = [f"{name}={tmp_path / name}" for name in ("one", "two", "sample")]
    parts = ["--parts", f"one={tmp_path / 'parts'}"]

    def run(*more: str) -> pd.DataFrame:
        monkeypatch.setattr(sys, "argv", ["x", *flags, *more])
        agreement.main()
        return pd.read_csv(tmp_path / "out" / "agreement.csv")

    table = run("--tables", *named, *parts, "--stable", "0.5")
    assert list(table) == ["kind", "a", "b", "layer", "language", "value", "n"]
    counts = table["kind"].value_counts()
    assert [counts[kind] for kind in ("estimators_correlation", "estimators_overlap")] == [3 * 2 * 2, 2 * 3]
    assert [counts[kind] for kind in ("halves_correlation", "halves_overlap")] == [2, 3]
    assert [counts[kind] for kind in ("running_overlap", "sentences_needed")] == [3, 1]
    assert table[table["b"] == "sample"]["n"].tolist() == [8, 6] * 4  # a sample has no set
    assert "Overlap of the specific neurons, by sentences read" in (tmp_path / "out" / "agreement.svg").read_text()
    ruled = run("--tables", *named[:1], *parts, "--rules", "one=summed", "--unactivated", "0.2")
    read = agreement.Parts([tmp_path / "parts" / f"{language}.parquet" for language in ("en", "de")])
    halves = [read.phi(slice(start, None, 2)) for start in (0, 1)]
    sets = [agreement.specific(phi, Split(rule="summed"), 0.2).any(axis=0)[0] for phi in halves]
    overlaps = [one.query("kind == 'halves_overlap' and language == 'any'")["value"].item() for one in (ruled, table)]
    assert overlaps[0] == pytest.approx(agreement.jaccard(*sets)[0], abs=1e-6)
    assert overlaps[0] != overlaps[1]
    with pytest.raises(SystemExit):
        run("--rules", "one=sum")


def test_medians():
    rows = [
        *[("estimators_overlap", "x", "y", layer, "any", value, 9) for layer, value in enumerate((0.5, 0.75, 0.625))],
        ("estimators_overlap", "x", "y", 0, "en", 0.25, 9),
        ("estimators_overlap", "x", "z", 0, "any", 0.125, 9),
        ("halves_correlation", "x even", "x odd", 0, "en", 0.875, 9),
        ("halves_overlap", "x even", "x odd", 0, "en", 0.5, 9),
        ("halves_overlap", "x even", "x odd", 0, "any", np.nan, 0),
        ("running_overlap", "x", "4", 0, "any", 0.75, 9),
        ("running_overlap", "x", "4", 1, "any", 0.25, 9),
        ("running_overlap", "x", "8", 0, "any", 1.0, 9),
        *[("sentences_needed", "x", "0.9", layer, "any", value, 8) for layer, value in enumerate((4.0, 8.0))],
    ]
    made = agreement.document(pd.DataFrame(rows, columns=agreement.COLUMNS), 0.9)
    of_language, of_any, *_ = made.blocks
    texts = [[(label, [cell.text for cell in cells]) for label, cells in table.rows] for table in made.blocks[:-1]]
    assert texts == [
        [("y", ["0.25"])],
        [("y", ["0.62", ""]), ("z", ["0.12", "–"])],  # nobody compared y with z
        [("x", ["0.88", "0.50", "–"])],
        [("x", ["6", "8", "8", "1 of 2"])],
    ]
    assert [head.text for head in of_any.heads] == ["x", "y"]
    assert of_language.caption != of_any.caption
    assert made.svg
    alone = pd.DataFrame(rows[:3], columns=agreement.COLUMNS)
    assert agreement.document(alone, 0.9).svg is None


def test_tables_of_different_models_are_refused():
    with pytest.raises(UserError, match="a: "):
        agreement.in_one_shape({"a": np.ones((2, 3, 4)), "b": np.ones((2, 3, 5))[:, :2]})
