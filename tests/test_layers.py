"""Choice of layers: equations 1 and 2 on numbers computed by hand."""

import numpy as np
import pytest

from lander.errors import UserError
from lander.layers import change, choose, delta, top

# three layers of two neurons; means 1, 2, 5
MEANS = np.array([[0.0, 2.0], [3.0, 1.0], [4.0, 6.0]])


def test_change_between_scalar_means_and_between_vectors():
    assert change(MEANS, "scalar").tolist() == [1, 3]
    assert change(MEANS, "vector").tolist() == [2, 3]  # (3 + 1) / 2 and (1 + 5) / 2


def test_the_side_that_a_change_stands_for():
    np.testing.assert_array_equal(delta(MEANS, "scalar", "lower"), [1, 3, np.nan])
    np.testing.assert_array_equal(delta(MEANS, "scalar", "upper"), [np.nan, 1, 3])


def test_top_k_with_ties_missing_values_and_both_ends():
    scores = np.array([np.nan, 2, 5, 2])
    assert top(scores, 0).tolist() == [False] * 4
    assert top(scores, 1).tolist() == [False, False, True, False]
    assert top(scores, 2).tolist() == [False, True, True, False]  # of two equal layers the lower
    assert top(scores, 4).tolist() == [True] * 4


@pytest.mark.parametrize("k", [4, -1])
def test_k_outside_the_model_is_refused(k):
    with pytest.raises(UserError, match=r"layers\.k: .* 3 layers"):
        top(np.zeros(3), k)


def test_shared_choice_is_by_the_mean_over_directions():
    other = np.array([[0.0, 0.0], [9.0, 9.0], [9.0, 9.0]])  # changes 9, 0
    table = choose({"en-de": MEANS, "de-en": other}, 1, "scalar", "upper")
    assert table[table["selected"]]["layer"].tolist() == [1, 1]  # mean changes 5 and 1.5
    assert table[table["direction"] == "en-de"]["activation"].tolist() == [1, 2, 5]


def test_a_model_of_one_layer():
    table = choose({"en-de": MEANS[:1]}, 1, "vector", "upper")
    assert table["selected"].tolist() == [True]
