"""How neurons are numbered decides nothing: a network whose neurons are renamed is the same network.

Renaming the neurons of a layer permutes the rows of the FFN's input projections and the columns of its output
projection. So every stage, in every reading, must choose the same layers and the same neurons by their new names. The
one exception is `layers.difference: vector`, a switch that is kept for comparison.
"""

import itertools
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch

from lander.config.config import READINGS
from lander.config.layers import Layers
from lander.config.masks import Routing
from lander.config.neurons import Neurons
from lander.detect import layers, masks, neurons
from lander.detect.activations import mean_activations
from lander.detect.awareness import score
from lander.detect.samples import batches, monolingual
from lander.models import families, loading
from lander.shared.languages import parse_direction

TEXT = {"en": ["three days", "New Zealand and Fiji"], "de": ["drei Tage", "Neuseeland und Fidschi"], "fr": ["un jour"]}
ESTIMATORS = ("taylor", "taylor_squared", "summed", "activation", "probability")


def rename(network: torch.nn.Module) -> np.ndarray:
    """Renames the neurons of every layer; returns the old number of each new one, (n_layer, p)."""
    dice, n_layer = np.random.default_rng(0), len(families.layers_of(network))
    orders = np.array([dice.permutation(families.ffn_of(network, layer).n_neurons) for layer in range(n_layer)])
    with torch.no_grad():
        for layer, order in enumerate(orders):
            ffn = families.ffn_of(network, layer)
            for entry in filter(None, (ffn.up, ffn.gate)):
                entry.weight.copy_(entry.weight[order])
                if entry.bias is not None:
                    entry.bias.copy_(entry.bias[order])
            ffn.down.weight.copy_(ffn.down.weight[:, order])
    return orders


def renamed(values: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Values (..., n_layer, p) by the new numbers."""
    return np.take_along_axis(values, np.broadcast_to(orders, values.shape), axis=-1)


@pytest.fixture(scope="module")
def measured():
    """Of lander-tiny: mean activations, scores by estimator (language, n_layer, p), and the order of the new names."""
    network, codec = loading.load("lander-tiny", dtype="float32")
    samples = {code: monolingual(lines, codec) for code, lines in TEXT.items()}

    def measure():
        scores = {
            estimator: np.stack(
                [
                    score(network, codec, some, estimator)[0]["score"].to_numpy().reshape(families.shape_of(network))
                    for some in samples.values()
                ]
            )
            for estimator in ESTIMATORS
        }
        read = [sample for some in samples.values() for sample in some]
        return mean_activations(network, batches(read, codec, 8))[0], scores

    first, orders = measure(), rename(network)
    return first, measure(), orders


def test_scores_and_activations_follow_their_neurons(measured):
    (means, scores), (new_means, new_scores), orders = measured
    np.testing.assert_allclose(new_means, renamed(means, orders), rtol=1e-4, atol=1e-6)
    for estimator in ESTIMATORS:
        old = renamed(scores[estimator], orders)
        np.testing.assert_allclose(new_scores[estimator], old, rtol=1e-3, atol=1e-5 * old.max(), err_msg=estimator)


def values(section, *names):
    """All combinations of the values of these keys."""
    return (
        dict(zip(names, chosen, strict=True))
        for chosen in itertools.product(*(get_args(section.model_fields[name].annotation) for name in names))
    )


def test_every_reading_chooses_the_same_layers_but_for_vector(measured):
    (means, _), _, orders = measured
    differing = set()
    for reading in values(Layers, "difference", "side", "selection"):
        for k in range(1, 6):
            found = [
                layers.choose({"en-de": one}, Layers(k=k, **reading))["selected"].tolist()
                for one in (means, renamed(means, orders))
            ]
            differing |= {reading["difference"]} if found[0] != found[1] else set()
    assert differing <= {"vector"}
    assert all(reading.get("layers", {}).get("difference") != "vector" for reading in READINGS.values())
    assert Layers().difference == "distribution"


def test_every_reading_makes_the_same_masks(measured):
    (_, scores), _, orders = measured
    orders, scores = orders[:1], scores["taylor"][:, :1]
    languages, direction, n_layer = list(TEXT), parse_direction("en-de"), len(orders)
    dice = np.random.default_rng(1)  # ties are broken by number; there are none here, as with any real scores
    phi = scores * dice.uniform(0.999, 1.001, scores.shape) + 1e-12 * dice.random(orders.shape)

    def mask(phi: np.ndarray, split: dict, routing: dict) -> pd.DataFrame:
        table = neurons.table_of(neurons.classify(phi, neurons.Split(**split)), languages)
        pair = neurons.normalized(phi, split.get("normalize", "none"))[:2].mean(0)
        rules = masks.Rules(**routing)
        return masks.direction_mask(masks.joined(table), pair, list(range(n_layer)), direction, rules)

    splits = [*values(Neurons, "normalize", "statistic", "threshold"), {"rule": "summed"}]
    routings = values(Routing, "share", "pool", "start", "others")
    for split, routing in [*((split, {}) for split in splits), *(({}, routing) for routing in routings)]:
        old, new = mask(phi, split, routing), mask(renamed(phi, orders), split, routing)
        place = np.arange(n_layer)[:, None] * orders.shape[1] + orders
        old = old.iloc[place.ravel()].reset_index(drop=True)
        for column in ("role", "owner", "trained"):
            assert old[column].equals(new[column]), (split, routing, column)
        np.testing.assert_allclose(new["scale"], old["scale"], rtol=1e-9)
