"""Which neurons of a layer form a block: those that no mask tells apart."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lander.shared.errors import UserError

GENERAL, SOURCE, TARGET, ABSENT, BASE = "general", "source", "target", "absent", "base"


@dataclass(frozen=True)
class Group:
    """The neurons of one block of one layer, and what each direction does with them."""

    neurons: np.ndarray  # indices in the dense FFN
    owner: str | None  # several are joined by `+`
    routes: dict[str, tuple[str, float]]  # direction -> (role, scale); where it is absent or base it is left out
    trained_in: frozenset[str]  # directions whose batches train it

    @property
    def owners(self) -> frozenset[str]:
        return frozenset(self.owner.split("+")) if self.owner else frozenset()


def chosen_layers(masks: dict[str, pd.DataFrame]) -> list[int]:
    """The layers that are not the base's in every direction."""
    return sorted({int(layer) for mask in masks.values() for layer in mask.loc[mask["role"] != BASE, "layer"].unique()})


def untouched_in(masks: dict[str, pd.DataFrame], layer: int) -> set[str]:
    """The directions that run the base's layer, because others alone have chosen it."""
    return {name for name, mask in masks.items() if (mask.loc[mask["layer"] == layer, "role"] == BASE).any()}


def partition(masks: dict[str, pd.DataFrame], layer: int, n_neurons: int) -> list[Group]:
    """The blocks of a layer: neurons with the same mask in every direction. Ordered by their first neuron.

    Raises:
        UserError: a mask does not name each neuron of the layer once, or says what cannot be done.
    """
    columns = {}
    for direction, mask in masks.items():
        rows = mask[mask["layer"] == layer].sort_values("neuron")
        _check(direction, layer, rows, n_neurons)
        for name in ("role", "owner", "trained", "scale"):
            columns[direction, name] = rows[name].to_numpy()
    keys = pd.DataFrame(columns)
    by_mask = keys.groupby(list(keys.columns), dropna=False, sort=False)
    return [_group(rows.index.to_numpy().copy(), rows.iloc[0], list(masks), layer) for _, rows in by_mask]


def _group(neurons: np.ndarray, row: pd.Series, directions: list[str], layer: int) -> Group:
    """A block, from the row that its neurons share: (direction, column) -> value."""
    owners = (row[direction, "owner"] for direction in directions)
    routes = {
        direction: (row[direction, "role"], float(row[direction, "scale"]))
        for direction in directions
        if row[direction, "role"] not in (ABSENT, BASE)
    }
    trained_in = frozenset(direction for direction in directions if row[direction, "trained"])
    if trained_in and trained_in != frozenset(routes):
        raise UserError(
            f"masks: layer {layer}, neuron {neurons[0]} takes part in {', '.join(sorted(routes))} "
            f"but is trained in {', '.join(sorted(trained_in))}; train it wherever it takes part, or nowhere"
        )
    return Group(neurons, next((owner for owner in owners if isinstance(owner, str)), None), routes, trained_in)


def _check(direction: str, layer: int, rows: pd.DataFrame, n_neurons: int) -> None:
    """One row per neuron, in order, of roles that go together."""
    where = f"masks: {direction}, layer {layer}"
    if rows.empty:
        raise UserError(
            f"masks: {direction}: layer {layer} is missing, though other directions have it; a layer that one "
            f"direction has needs a row per neuron in the mask of every direction (role {BASE} to leave it untouched)"
        )
    used = set(rows["role"])
    unknown = sorted(used - {GENERAL, SOURCE, TARGET, ABSENT, BASE})
    if unknown:
        raise UserError(f"{where}: role {unknown[0]!r}; a role is {GENERAL}, {SOURCE}, {TARGET}, {ABSENT} or {BASE}")
    if BASE in used and (len(used) > 1 or rows["trained"].any()):
        raise UserError(
            f"{where}: role {BASE} for some of the neurons or trained; a direction runs the base's layer as a whole "
            "and untrained, so either all neurons have it or none"
        )
    if not np.array_equal(rows["neuron"], np.arange(n_neurons)):
        raise UserError(
            f"{where}: {len(rows)} rows, but the layer has {n_neurons} neurons "
            f"and each needs one row; make the masks again for this model"
        )
