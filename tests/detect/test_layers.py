"""Choice of layers: equations 1 and 2 on numbers computed by hand."""

import numpy as np
import pytest

from lander.detect.layers import change, choose, delta, top
from lander.shared.errors import UserError

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


# changes 1, 3 of MEANS and 9, 0 of OTHER: D at layer 2 is 3 for the one, at layer 1 it is 9 for the other
OTHER = np.array([[0.0, 0.0], [9.0, 9.0], [9.0, 9.0]])


def chosen(table, direction: str) -> list[int]:
    return table.loc[table["selected"] & (table["direction"] == direction), "layer"].tolist()


def test_each_direction_can_choose_its_own():
    table = choose({"en-de": MEANS, "de-en": OTHER}, 1, "scalar", "upper", selection="per_direction")
    assert (chosen(table, "en-de"), chosen(table, "de-en")) == ([2], [1])
    shared = choose({"en-de": MEANS, "de-en": OTHER}, 1, "scalar", "upper")
    assert table["delta"].equals(shared["delta"])


def test_random_layers_are_those_of_the_seed_and_the_same_for_all_directions():
    activations = {"en-de": np.zeros((30, 2)), "de-en": np.ones((30, 2))}

    def draw(seed: int) -> list[int]:
        table = choose(activations, 4, "vector", "upper", selection="per_direction", draw=seed)
        assert chosen(table, "en-de") == chosen(table, "de-en")
        return chosen(table, "en-de")

    assert draw(3) == draw(3) != draw(4)
    counts = np.bincount(np.concatenate([draw(seed) for seed in range(300)]), minlength=30)
    assert counts.sum() == 1200  # four of them each time
    assert 15 < counts.min() <= counts.max() < 70  # 40 expected, standard deviation 6; every layer has its chance
