"""The split of equation 5: general or specific, and the owner, on numbers computed by hand."""

import numpy as np
import pytest

from lander.errors import UserError
from lander.neurons import classify, general_by_share, general_by_threshold, normalized, read_awareness

# three languages, one layer, four neurons
PHI = np.array([[[1.0, 5.0, 2.0, 0.0]], [[1.0, 1.0, 2.0, 4.0]], [[1.0, 0.0, 5.0, 2.0]]])


def kinds(table) -> list[str]:
    return table["kind"].tolist()


def test_variance_and_owner_by_hand():
    table = classify(PHI, "general_share", 0.25, None)
    assert table["variance"].tolist() == pytest.approx([0, 14 / 3, 2, 8 / 3])
    assert kinds(table) == ["general", "specific", "specific", "specific"]
    assert table["owner"].tolist() == [-1, 0, 2, 1]


def test_general_share_at_both_ends():
    assert set(kinds(classify(PHI, "general_share", 1.0, None))) == {"general"}
    assert set(kinds(classify(PHI, "general_share", 0.0, None))) == {"specific"}


def test_epsilon_read_to_the_letter():
    # variances from high to low: 14/3, 8/3, 2, 0; lambda is the one at floor(.5 * 4) = 2, that is 2
    assert general_by_threshold(np.array([0, 14 / 3, 2, 8 / 3]), 0.5).tolist() == [True, False, False, False]
    assert general_by_threshold(np.array([0, 14 / 3, 2, 8 / 3]), 0.0).tolist() == [True, False, True, True]
    assert general_by_threshold(np.array([0, 14 / 3, 2, 8 / 3]), 1.0).tolist() == [False, False, False, False]


def test_ties_are_settled_by_index_and_by_the_first_language():
    assert general_by_share(np.array([1.0, 1.0, 1.0, 1.0]), 0.5).tolist() == [True, True, False, False]
    table = classify(np.array([[[3.0]], [[3.0]], [[0.0]]]), "general_share", 0.0, None)
    assert table["owner"].tolist() == [0]


def test_all_scores_zero():
    table = classify(normalized(np.zeros((2, 1, 4)), "language_mean"), "general_share", 0.5, None)
    assert kinds(table) == ["general", "general", "specific", "specific"]
    assert np.isfinite(table["variance"]).all()
    assert set(kinds(classify(np.zeros((2, 1, 4)), "general_share", 0.5, 0.0))) == {"unactivated"}


def test_unactivated_neurons_have_no_part_in_the_split():
    phi = np.array([[[0.0, 1.0, 9.0]], [[0.0, 1.0, 0.0]]])
    table = classify(phi, "general_share", 0.5, 0.0)
    assert kinds(table) == ["unactivated", "general", "specific"]
    assert table["owner"].tolist() == [-1, -1, 0]


def test_language_mean_makes_languages_comparable():
    louder = PHI * np.array([10.0, 1.0, 1.0])[:, None, None]
    np.testing.assert_allclose(normalized(louder, "language_mean"), normalized(PHI, "language_mean"))
    assert (normalized(louder, "none") == louder).all()
    np.testing.assert_allclose(normalized(PHI, "language_mean").mean(axis=-1), 1)


def test_tables_of_different_models_are_refused(tmp_path):
    from lander import tables

    for name, shape in (("a", (1, 2)), ("b", (1, 3))):
        counts = np.ones(shape, dtype=np.int64)
        tables.write(tmp_path / name, tables.by_neuron({"score": np.ones(shape), "tokens": counts}), "awareness")
    with pytest.raises(UserError, match="not the same model"):
        read_awareness([tmp_path / "a", tmp_path / "b"], "none")
