"""The splits, general or specific, and the owners, on numbers computed by hand."""

import sys
from functools import partial
from math import log

import numpy as np
import pandas as pd
import pytest

from lander.detect import neurons
from lander.detect.neurons import (
    by_entropy,
    by_sum,
    by_variance,
    entropy,
    general_by_share,
    general_by_threshold,
    normalized,
    permuted,
    read_awareness,
    table_of,
)
from lander.shared import tables
from lander.shared.errors import UserError

# three languages, one layer, four neurons
PHI = np.array([[[1.0, 5.0, 2.0, 0.0]], [[1.0, 1.0, 2.0, 4.0]], [[1.0, 0.0, 5.0, 2.0]]])


def classify(phi: np.ndarray, threshold: str, share: float, unactivated: float | None) -> pd.DataFrame:
    """The table of equation 5, with the owners' numbers."""
    rule = partial(by_variance, threshold=threshold, share=share)
    table = table_of(phi, neurons.classify(phi, rule, unactivated), [str(n) for n in range(len(phi))])
    table["owner"] = table["language"].fillna("-1").astype(int)
    return table


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
    for name, shape in (("a", (1, 2)), ("b", (1, 3))):
        counts = np.ones(shape, dtype=np.int64)
        tables.write(tmp_path / name, tables.by_neuron({"score": np.ones(shape), "tokens": counts}), "awareness")
    with pytest.raises(UserError, match="not the same model"):
        read_awareness([tmp_path / "a", tmp_path / "b"], "none")


def test_a_sample_of_the_neurons_is_refused(tmp_path):
    rows = pd.DataFrame({"layer": [0, 0, 1, 1], "neuron": [0, 2, 0, 1], "score": 1.0, "tokens": 1})
    tables.write(tmp_path / "a", rows, "awareness")
    with pytest.raises(UserError, match="only some neurons"):
        read_awareness([tmp_path / "a"], "none")


def test_summed_rule_by_hand():
    """Sums 3, 6, 9, 6: half of the neurons are general, the third and, of the two sixes, the first."""
    general, owned = by_sum(PHI[:, 0], 0.5, 0.7)
    assert general.tolist() == [False, True, True, False]
    assert owned[:, 0].tolist() == [True, True, True]  # all alike: all own it
    assert owned[:, 3].tolist() == [False, True, False]  # 0, 4, 2 against .7 * 4
    assert by_sum(PHI[:, 0], 0.5, 0.5)[1][:, 3].tolist() == [False, True, True]  # a share of one half: 2 is enough
    table = table_of(PHI, neurons.classify(PHI, partial(by_sum, share=0.5, owner_share=0.5)), ["en", "de", "fr"])
    assert table["neuron"].tolist() == [0, 0, 0, 1, 2, 3, 3]
    assert table["language"].fillna("-").tolist() == ["en", "de", "fr", "-", "-", "de", "fr"]
    assert table["variance"].tolist()[-2:] == pytest.approx([8 / 3, 8 / 3])


PROBABILITIES = np.array([[0.9, 0.8, 0.1, 0.2, 0.0], [0.9, 0.0, 0.1, 0.0, 0.0], [0.9, 0.8, 0.1, 0.0, 0.0]])


def test_entropy_by_hand():
    assert entropy(PROBABILITIES).tolist() == pytest.approx([log(3), log(2), log(3), 0, 0])


def test_entropy_rule_by_hand():
    # sorted: 0 x6, .1 x3, .2, .8 x2, .9 x3. Quantile .6 is the 9th, .1: neurons 0, 1, 3 come above it
    general, above = by_entropy(PROBABILITIES, 0.6, 0.6)
    assert general.tolist() == [True, False, True, False, True]  # two of five: the entropies 0 and log 2
    assert above[:, 1].tolist() == [True, False, True]
    assert above[:, 3].tolist() == [True, False, False]
    assert by_entropy(PROBABILITIES, 0.0, 0.6)[0].tolist() == [False, False, True, False, True]  # no more above the bar
    # quantile .8 is the 12th, .8: only neuron 0 comes above it, whatever its entropy
    assert by_entropy(PROBABILITIES, 0.6, 0.8)[0].tolist() == [False, True, True, True, True]


def test_permuting_keeps_each_layers_groups_and_moves_their_members():
    phi = np.random.default_rng(0).random((3, 2, 200))
    classes = neurons.classify(phi, partial(by_sum, share=0.5, owner_share=0.7), 0.2)
    moved = permuted(classes, 1)
    for layer in range(2):
        before, after = (
            sorted(zip(of.kind[layer], map(tuple, of.owned[:, layer].T), strict=True)) for of in (classes, moved)
        )
        assert before == after
        assert 0.3 < (moved.kind[layer] == classes.kind[layer]).mean() < 0.7  # half of them by chance
    assert (moved.kind[0] != moved.kind[1]).any()
    assert (permuted(classes, 1).owned == moved.owned).all()
    assert (permuted(classes, 2).owned != moved.owned).any()


def run_stage(monkeypatch, folder, *flags: str) -> pd.DataFrame:
    """The stage on two languages and two layers of three neurons, layer 1 chosen."""
    for language, scores in {"en": [[1, 2, 3], [0.5, 0, 0.9]], "de": [[3, 2, 1], [0.5, 0.8, 0]]}.items():
        values = {"score": np.array(scores, dtype=float) / 4, "tokens": np.ones((2, 3), dtype=np.int64)}
        tables.write(folder / language, tables.by_neuron(values), "awareness")
    layers = {"direction": "en-de", "layer": [0, 1], "activation": 1.0, "delta": 1.0, "selected": [False, True]}
    tables.write(folder / "layers", pd.DataFrame(layers), "layers")
    paths = ["--awareness", str(folder / "en"), str(folder / "de"), "--layers", str(folder / "layers")]
    fixed = [*paths, "--awareness-languages", "en", "de", "--out", str(folder / "out")]
    monkeypatch.setattr(sys, "argv", ["lander.detect.neurons", *fixed, *flags])
    neurons.main()
    return tables.read(folder / "out", "neurons")


def test_the_stage(monkeypatch, tmp_path):
    table = run_stage(monkeypatch, tmp_path, "--general-share", "0.34", "--normalize", "none")
    assert table["selected"].tolist() == [False] * 3 + [True] * 3
    assert table["language"].fillna("-").tolist() == ["de", "-", "en", "-", "de", "en"]
    flags = ["--rule", "entropy", "--general-share", "0.34", "--activation-quantile", "0.5"]
    table = run_stage(monkeypatch, tmp_path, *flags)  # layer 0: above the third of 1 1 2 2 3 3 are the two 3s
    assert table["language"].fillna("-").tolist() == ["de", "-", "en", "-", "de", "en"]
    table = run_stage(monkeypatch, tmp_path, *flags, "--permute", "0")
    assert sorted(table["language"].fillna("-")) == ["-", "-", "de", "de", "en", "en"]


def test_entropy_of_no_probabilities_is_refused():
    with pytest.raises(UserError, match="--estimator probability"):
        neurons.Split(rule="entropy").prepare(np.full((1, 1, 2), 3.0))
