"""Choice of layers: equations 1 and 2 on numbers computed by hand."""

import numpy as np
import pytest

from lander.config.layers import Layers
from lander.detect.layers import choose, delta, top
from lander.shared.errors import UserError

# three layers of two neurons. MEANS: means 1, 2, 5; changes 1, 3. OTHER: changes 9, 0
MEANS = np.array([[0.0, 2.0], [3.0, 1.0], [4.0, 6.0]])
OTHER = np.array([[0.0, 0.0], [9.0, 9.0], [9.0, 9.0]])
ONE = Layers(k=1, difference="scalar", side="upper")


@pytest.mark.parametrize(
    ("difference", "side", "expected"),
    [
        ("scalar", "lower", [1, 3, np.nan]),
        ("scalar", "upper", [np.nan, 1, 3]),
        ("vector", "lower", [2, 3, np.nan]),  # (3 + 1) / 2 and (1 + 5) / 2
        ("distribution", "lower", [1, 3, np.nan]),  # sorted: (1 + 1) / 2 and (3 + 3) / 2
    ],
)
def test_changes_and_the_side_that_they_choose(difference, side, expected):
    np.testing.assert_array_equal(delta(MEANS, difference, side), expected)


def test_only_the_change_neuron_by_neuron_depends_on_how_neurons_are_numbered():
    """Renaming the neurons of a layer changes nothing that the model computes."""
    dice = np.random.default_rng(0)
    means = dice.normal(size=(6, 50)) * dice.gamma(1, size=(6, 1))
    renamed = np.array([dice.permutation(layer) for layer in means])
    for difference in ("scalar", "distribution", "vector"):
        found = [delta(one, difference, "upper")[1:] for one in (means, renamed)]
        assert np.allclose(*found, rtol=1e-12) == (difference != "vector")
    spread = np.array([[-1.0, 1.0], [-3.0, 3.0]])  # of equal means
    assert delta(spread, "distribution", "upper")[1] == 2 > delta(spread, "scalar", "upper")[1] == 0


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


def chosen(table, direction: str) -> list[int]:
    return table.loc[table["selected"] & (table["direction"] == direction), "layer"].tolist()


def test_directions_share_their_layers_or_choose_their_own():
    activations = {"en-de": MEANS, "de-en": OTHER}
    shared = choose(activations, ONE)
    assert (chosen(shared, "en-de"), chosen(shared, "de-en")) == ([1], [1])  # mean changes 5 and 1.5
    assert shared[shared["direction"] == "en-de"]["activation"].tolist() == [1, 2, 5]
    own = choose(activations, ONE.changed({"selection": "per_direction"}))
    assert (chosen(own, "en-de"), chosen(own, "de-en")) == ([2], [1])
    assert own["delta"].equals(shared["delta"])


def test_a_model_of_one_layer():
    assert choose({"en-de": MEANS[:1]}, Layers(k=1))["selected"].tolist() == [True]


def test_random_layers_are_those_of_the_seed_and_the_same_for_all_directions():
    activations = {"en-de": np.zeros((30, 2)), "de-en": np.ones((30, 2))}

    def draw(seed: int) -> list[int]:
        table = choose(activations, Layers(k=4, selection="per_direction"), draw=seed)
        assert chosen(table, "en-de") == chosen(table, "de-en")
        return chosen(table, "en-de")

    assert draw(3) == draw(3) != draw(4)
    counts = np.bincount(np.concatenate([draw(seed) for seed in range(300)]), minlength=30)
    assert counts.sum() == 1200  # four of them each time
    assert 15 < counts.min() <= counts.max() < 70  # 40 expected, standard deviation 6; every layer has its chance
