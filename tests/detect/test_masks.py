"""Masks: roles, owners and equation 6's shares, on numbers computed by hand."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from lander.detect import masks
from lander.detect.masks import direction_mask, general_scale, joined, roles
from lander.shared.errors import UserError
from lander.shared.languages import Direction

KIND = np.array(["general", "specific", "specific", "specific", "unactivated"], dtype=object)
OWNER = np.array([None, "en", "de", "fr", None], dtype=object)
EN_DE = Direction("en", "de")
Rules = partial(masks.Rules, others="absent", start="car")  # as the paper has it


def test_roles():
    assert roles(KIND, OWNER, EN_DE, "general").tolist() == ["general", "source", "target", "absent", "general"]
    assert roles(KIND, OWNER, EN_DE, "absent").tolist() == ["general", "source", "target", "absent", "absent"]
    assert roles(KIND, OWNER, Direction("fr", "zh"), "general").tolist()[1:4] == ["absent", "absent", "source"]


@pytest.mark.parametrize(
    ("phi", "role", "share", "pool", "expected"),
    [
        ([6, 1, 3, 100], "gsta", "general", "sum", 0.6),  # specific 1 + 3 (mean 2); the absent one does not count
        ([6, 1, 3, 100], "gsta", "literal", "sum", 0.4),
        ([6, 1, 3, 100], "gsta", "general", "mean", 0.75),
        ([6, 1, 3, 100], "gsta", "literal", "mean", 0.25),
        ([0, 0, 0, 0], "gggs", "general", "sum", 0.75),  # without scores the sizes decide
        ([1, 1], "gg", "general", "sum", 1),
        ([1, 1], "ss", "general", "sum", 0),
        ([1, 1], "aa", "general", "sum", 1),
    ],
)
def test_share_of_equation_6(phi, role, share, pool, expected):
    names = {"g": "general", "s": "source", "t": "target", "a": "absent"}
    role = np.array([names[letter] for letter in role], dtype=object)
    assert general_scale(np.array(phi, dtype=float), role, share, pool) == pytest.approx(expected)


NEURONS = pd.DataFrame({"layer": 1, "neuron": range(5), "kind": KIND, "language": OWNER})
PHI = np.array([np.zeros(5), [6.0, 1.0, 3.0, 100.0, 0.0]])  # general 6, specific of the pair 4: shares .6 and .4


def test_mask_of_a_direction():
    mask = direction_mask(NEURONS, PHI, [1], EN_DE, Rules())
    assert mask["scale"].tolist() == pytest.approx([0.6, 0.4, 0.4, 0.0, 0.6])
    assert mask["trained"].tolist() == [True, True, True, False, True]
    assert direction_mask(NEURONS, PHI, [1], EN_DE, Rules(gate="off"))["scale"].tolist() == [1, 1, 1, 0, 1]
    assert len(direction_mask(NEURONS, PHI, [], EN_DE, Rules())) == 0  # no layer is chosen


def test_a_training_can_start_at_the_base():
    """The neurons of other languages run untrained, all at scale 1; an unactivated neuron that is absent stays so."""
    mask = direction_mask(NEURONS, PHI, [1], EN_DE, Rules(others="base", start="identity", unactivated_role="absent"))
    assert mask["role"].tolist() == ["general", "source", "target", "base", "absent"]
    assert mask["scale"].tolist() == [1, 1, 1, 1, 0]
    assert mask["trained"].tolist() == [True, True, True, False, False]
    assert mask["owner"].tolist()[3] == "fr"


def test_untrained_neurons_run_as_the_base_has_them():
    neurons = NEURONS.assign(kind=["general", "untrained", "specific", "specific", "untrained"])
    mask = direction_mask(neurons, PHI, [1], EN_DE, Rules())  # others: absent
    assert mask["role"].tolist() == ["general", "base", "target", "absent", "base"]
    assert mask["scale"].tolist() == pytest.approx([6 / 9, 1, 3 / 9, 0, 1])  # they have no part in the shares
    assert mask["trained"].tolist() == [True, False, True, False, False]


@pytest.mark.parametrize(
    ("train", "trained"),
    [("general", [True, False, False, False, True]), ("specific", [False, True, True, False, False])],
)
@pytest.mark.parametrize("share", ["literal", "general"])
def test_ablations_freeze_a_group_or_leave_it_out(train, trained, share):
    both = direction_mask(NEURONS, PHI, [1], EN_DE, Rules(share=share))
    frozen = direction_mask(NEURONS, PHI, [1], EN_DE, Rules(share=share, train=train))
    assert frozen["trained"].tolist() == trained
    assert frozen[["role", "owner", "scale"]].equals(both[["role", "owner", "scale"]])
    absent = direction_mask(NEURONS, PHI, [1], EN_DE, Rules(share=share, train=train, untrained="absent"))
    assert absent["trained"].tolist() == trained
    assert (absent["role"] != "absent").tolist() == trained
    assert absent["scale"].tolist() == [float(value) for value in trained]  # all of the share is the one group's
    assert absent["owner"].equals(both["owner"])


def test_a_layer_of_other_directions_is_the_base():
    neurons = pd.concat([NEURONS.assign(layer=layer) for layer in range(3)])
    mask = direction_mask(neurons, np.vstack([PHI, PHI[1]]), [1], EN_DE, Rules(), others={2})
    assert mask["layer"].tolist() == [1] * 5 + [2] * 5
    rows = mask[mask["layer"] == 2]
    assert set(rows["role"]) == {"base"}
    assert rows["owner"].isna().all()
    assert set(rows["scale"]) == {1}
    assert not rows["trained"].any()
    alone = direction_mask(neurons, PHI, [1], EN_DE, Rules())
    pd.testing.assert_frame_equal(mask[mask["layer"] == 1], alone, check_dtype=False)


def test_a_neuron_of_several_owners_takes_part_with_each():
    rows = [(0, "fr"), (0, "de"), (1, "de"), (1, "en"), (2, "zh"), (2, "fr"), (3, "fr")]
    neurons = pd.DataFrame([(1, i, "specific", code) for i, code in rows], columns=NEURONS.columns)
    general = pd.DataFrame([(1, 4, "general", None)], columns=NEURONS.columns)
    table = joined(pd.concat([neurons, general], ignore_index=True)).sort_values("neuron")
    assert table["language"].tolist()[:4] == ["de+fr", "de+en", "fr+zh", "fr"]
    owner = table["language"].to_numpy()
    role = roles(table["kind"].to_numpy(), owner, EN_DE, "general")
    assert role.tolist() == ["target", "source", "absent", "absent", "general"]
    mask = direction_mask(table, np.ones((2, 5)), [1], Direction("fr", "de"), Rules())
    assert mask["role"].tolist() == ["source", "target", "source", "source", "general"]
    assert mask["owner"].tolist()[:4] == ["de+fr", "de+en", "fr+zh", "fr"]
    assert mask["scale"].tolist() == pytest.approx([0.8] * 4 + [0.2])  # four specific, one general, equal scores


def test_a_neuron_of_two_kinds_is_refused():
    rows = [(1, 0, "general", None), (1, 0, "specific", "en")]
    with pytest.raises(UserError, match="layer 1, neuron 0 has rows of different kinds"):
        joined(pd.DataFrame(rows, columns=NEURONS.columns))
