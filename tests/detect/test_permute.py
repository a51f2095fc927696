"""Random neurons for given masks."""

import numpy as np
import pandas as pd
import pytest
import toys

from lander.detect import permute
from lander.shared import tables
from lander.shared.errors import UserError

FACTS = ["role", "owner", "trained", "scale"]


def test_groups_keep_their_sizes_and_directions_their_common_neurons(tmp_path, command):
    masks = toys.masks([1, 3], 12, ("en-de", "de-en", "en-fr"))
    for name, mask in masks.items():
        tables.write(tmp_path / "mine" / f"{name}.parquet", mask, "masks")
    files = [tmp_path / "mine" / f"{name}.parquet" for name in masks]
    command(permute, "--masks", *files, "--seed", 7, "--out-dir", tmp_path / "drawn")
    drawn = {name: tables.read(tmp_path / "drawn" / f"{name}.parquet", "masks") for name in masks}
    moved = 0
    for layer in (1, 3):
        before, after = (
            pd.concat([mask[mask["layer"] == layer].set_index("neuron")[FACTS] for mask in one.values()], axis=1)
            for one in (masks, drawn)
        )
        before, after = ([str(row) for row in one.itertuples(index=False, name=None)] for one in (before, after))
        assert sorted(before) == sorted(after)  # what a neuron is in all directions together
        moved += sum(one != other for one, other in zip(before, after, strict=True))
    assert moved > 8
    again = permute.permuted(masks, 8)
    assert not np.array_equal(again["en-de"]["role"], drawn["en-de"]["role"])


def test_masks_of_different_neurons_are_refused():
    masks = toys.masks([1], 12, ("en-de", "de-en"))
    masks["de-en"] = masks["de-en"][masks["de-en"]["neuron"] != 3]
    with pytest.raises(UserError, match="de-en: layer 1 lacks neurons"):
        permute.permuted(masks, 0)
