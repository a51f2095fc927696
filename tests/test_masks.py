"""Masks: roles, owners and equation 6's shares, on numbers computed by hand."""

import numpy as np
import pandas as pd
import pytest

from lander.languages import Direction
from lander.masks import direction_mask, general_scale, roles

KIND = np.array(["general", "specific", "specific", "specific", "unactivated"], dtype=object)
OWNER = np.array([None, "en", "de", "fr", None], dtype=object)
EN_DE = Direction("en", "de")


def test_roles():
    assert roles(KIND, OWNER, EN_DE, "general").tolist() == ["general", "source", "target", "absent", "general"]
    assert roles(KIND, OWNER, EN_DE, "absent").tolist() == ["general", "source", "target", "absent", "absent"]
    assert roles(KIND, OWNER, Direction("fr", "zh"), "general").tolist()[1:4] == ["absent", "absent", "source"]


@pytest.mark.parametrize(
    ("share", "pool", "expected"),
    [("general", "sum", 0.6), ("literal", "sum", 0.4), ("general", "mean", 0.75), ("literal", "mean", 0.25)],
)
def test_share_of_equation_6(share, pool, expected):
    phi = np.array([6.0, 1.0, 3.0, 100.0])  # general 6; specific 1 + 3 (mean 2); the absent one does not count
    role = np.array(["general", "source", "target", "absent"], dtype=object)
    assert general_scale(phi, role, share, pool) == pytest.approx(expected)


def test_share_without_scores_follows_the_sizes():
    role = np.array(["general", "general", "general", "source"], dtype=object)
    assert general_scale(np.zeros(4), role, "general", "sum") == pytest.approx(0.75)


def test_share_without_a_group():
    assert general_scale(np.ones(2), np.array(["general"] * 2, dtype=object), "general", "sum") == 1
    assert general_scale(np.ones(2), np.array(["source"] * 2, dtype=object), "general", "sum") == 0
    assert general_scale(np.ones(2), np.array(["absent"] * 2, dtype=object), "general", "sum") == 1


def test_mask_of_a_direction():
    neurons = pd.DataFrame({"layer": 1, "neuron": range(5), "kind": KIND, "language": OWNER})
    phi = np.array([np.zeros(5), [6.0, 1.0, 3.0, 100.0, 0.0]])
    mask = direction_mask(neurons, phi, [1], EN_DE, share="general", pool="sum", scaled=True)
    assert mask["scale"].tolist() == pytest.approx([0.6, 0.4, 0.4, 0.0, 0.6])
    assert mask["trained"].tolist() == [True, True, True, False, True]
    off = direction_mask(neurons, phi, [1], EN_DE, share="general", pool="sum", scaled=False)
    assert off["scale"].tolist() == [1, 1, 1, 0, 1]


def test_no_layer_chosen_is_an_empty_mask():
    neurons = pd.DataFrame({"layer": 1, "neuron": range(5), "kind": KIND, "language": OWNER})
    assert len(direction_mask(neurons, np.zeros((2, 5)), [], EN_DE, share="general", pool="sum", scaled=True)) == 0
