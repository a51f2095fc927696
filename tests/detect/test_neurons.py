"""The splits, general or specific, and the owners, on numbers computed by hand."""

from math import log

import numpy as np
import pandas as pd
import pytest
from made import write_table

from lander.detect import neurons
from lander.detect.neurons import (
    Split,
    by_entropy,
    by_sum,
    entropy,
    general_by_share,
    general_by_threshold,
    normalized,
    permuted,
    table_of,
)
from lander.shared import tables
from lander.shared.errors import UserError

# three languages, one layer, four neurons
PHI = np.array([[[1.0, 5.0, 2.0, 0.0]], [[1.0, 1.0, 2.0, 4.0]], [[1.0, 0.0, 5.0, 2.0]]])


def classify(phi: np.ndarray, share: float, unactivated: float | None = None, normalize: str = "none") -> pd.DataFrame:
    """The table of equation 5, with the owners' numbers."""
    classes = neurons.classify(phi, Split(general_share=share, normalize=normalize), unactivated)
    table = table_of(classes, [str(n) for n in range(len(phi))])
    table["owner"] = table["language"].fillna("-1").astype(int)
    return table


def kinds(table) -> list[str]:
    return table["kind"].tolist()


def test_variance_and_owner_by_hand():
    table = classify(PHI, 0.25)
    assert table["variance"].tolist() == pytest.approx([0, 14 / 3, 2, 8 / 3])
    assert kinds(table) == ["general", "specific", "specific", "specific"]
    assert table["owner"].tolist() == [-1, 0, 2, 1]


def test_relative_variance_does_not_grow_with_the_score():
    """The first neuron varies most, by a tenth of its mean; the second one by all of its small mean. No score is 0."""
    phi = np.array([[[110.0, 2.0, 0.0]], [[90.0, 0.0, 0.0]]])
    for statistic, specific in (("variance", 0), ("relative", 1)):
        split = Split(general_share=2 / 3, normalize="none", statistic=statistic)
        assert np.flatnonzero(neurons.classify(phi, split).kind[0] == "specific").tolist() == [specific]


def test_general_share_at_both_ends():
    assert set(kinds(classify(PHI, 1.0))) == {"general"}
    assert set(kinds(classify(PHI, 0.0))) == {"specific"}


def test_epsilon_read_to_the_letter():
    # variances from high to low: 14/3, 8/3, 2, 0; lambda is the one at floor(.5 * 4) = 2, that is 2
    assert general_by_threshold(np.array([0, 14 / 3, 2, 8 / 3]), 0.5).tolist() == [True, False, False, False]
    assert general_by_threshold(np.array([0, 14 / 3, 2, 8 / 3]), 0.0).tolist() == [True, False, True, True]
    assert general_by_threshold(np.array([0, 14 / 3, 2, 8 / 3]), 1.0).tolist() == [False, False, False, False]


def test_ties_are_settled_by_index_and_by_the_first_language():
    assert general_by_share(np.array([1.0, 1.0, 1.0, 1.0]), 0.5).tolist() == [True, True, False, False]
    table = classify(np.array([[[3.0]], [[3.0]], [[0.0]]]), 0.0)
    assert table["owner"].tolist() == [0]


def test_all_scores_zero():
    table = classify(np.zeros((2, 1, 4)), 0.5, normalize="language_mean")
    assert kinds(table) == ["general", "general", "specific", "specific"]
    assert np.isfinite(table["variance"]).all()
    assert set(kinds(classify(np.zeros((2, 1, 4)), 0.5, 0.0))) == {"unactivated"}


def test_unactivated_neurons_have_no_part_in_the_split():
    phi = np.array([[[0.0, 1.0, 9.0]], [[0.0, 1.0, 0.0]]])
    table = classify(phi, 0.5, 0.0)
    assert kinds(table) == ["unactivated", "general", "specific"]
    assert table["owner"].tolist() == [-1, -1, 0]


def test_language_mean_makes_languages_comparable():
    louder = PHI * np.array([10.0, 1.0, 1.0])[:, None, None]
    np.testing.assert_allclose(normalized(louder, "language_mean"), normalized(PHI, "language_mean"))
    assert (normalized(louder, "none") == louder).all()
    np.testing.assert_allclose(normalized(PHI, "language_mean").mean(axis=-1), 1)


def test_tables_of_different_models_and_of_a_sample_are_refused(tmp_path):
    for name, p in (("a", 2), ("b", 3)):
        write_table(tmp_path / name, "awareness", {"score": np.ones((1, p))})
    with pytest.raises(UserError, match="not the same model"):
        tables.stacked([tmp_path / "a", tmp_path / "b"], "awareness", "score")
    write_table(tmp_path / "a", "awareness", {"layer": [0, 0, 1, 1], "neuron": [0, 2, 0, 1]})
    with pytest.raises(UserError, match="not every neuron of every layer"):
        tables.stacked([tmp_path / "a"], "awareness", "score")


def test_summed_rule_by_hand():
    """Sums 3, 6, 9, 6: half of the neurons are general, the third and, of the two sixes, the first."""
    split = Split(rule="summed", general_share=0.5, normalize="none")
    general, owned = by_sum(PHI[:, 0], split)
    assert general.tolist() == [False, True, True, False]
    assert owned[:, 0].tolist() == [True, True, True]  # all alike: all own it
    assert owned[:, 3].tolist() == [False, True, False]  # 0, 4, 2 against .7 * 4
    split = split.changed({"owner_share": 0.5})
    assert by_sum(PHI[:, 0], split)[1][:, 3].tolist() == [False, True, True]  # a share of one half: 2 is enough
    table = table_of(neurons.classify(PHI, split), ["en", "de", "fr"])
    assert table["neuron"].tolist() == [0, 0, 0, 1, 2, 3, 3]
    assert table["language"].fillna("-").tolist() == ["en", "de", "fr", "-", "-", "de", "fr"]
    assert table["variance"].tolist()[-2:] == pytest.approx([8 / 3, 8 / 3])


PROBABILITIES = np.array([[0.9, 0.8, 0.1, 0.2, 0.0], [0.9, 0.0, 0.1, 0.0, 0.0], [0.9, 0.8, 0.1, 0.0, 0.0]])


def test_entropy_by_hand():
    assert entropy(PROBABILITIES).tolist() == pytest.approx([log(3), log(2), log(3), 0, 0])


def lape(share: float, quantile: float) -> Split:
    return Split(rule="entropy", general_share=share, activation_quantile=quantile)


def test_entropy_rule_by_hand():
    # sorted: 0 x6, .1 x3, .2, .8 x2, .9 x3. Quantile .6 is the 9th, .1: neurons 0, 1, 3 come above it
    general, above = by_entropy(PROBABILITIES, lape(0.6, 0.6))
    assert general.tolist() == [True, False, True, False, True]  # two of five: the entropies 0 and log 2
    assert above[:, 1].tolist() == [True, False, True]
    assert above[:, 3].tolist() == [True, False, False]
    general, _ = by_entropy(PROBABILITIES, lape(0.0, 0.6))
    assert general.tolist() == [False, False, True, False, True]  # no more above the bar
    # quantile .8 is the 12th, .8: only neuron 0 comes above it, whatever its entropy
    assert by_entropy(PROBABILITIES, lape(0.6, 0.8))[0].tolist() == [False, True, True, True, True]


def test_permuting_keeps_each_layers_groups_and_moves_their_members():
    phi = np.random.default_rng(0).random((3, 2, 200))
    classes = neurons.classify(phi, Split(rule="summed", general_share=0.5, normalize="none"), 0.2)
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


def kept(classes, share: float, pick: str) -> list[str]:
    """g, u, or the owners of each trained neuron of layer 0; - of the others."""
    found = neurons.picked(classes, share, pick)
    owners = ["".join(np.array(["e", "d", "f"])[owned]) for owned in found.owned[:, 0].T]
    letters = {"general": "g", "unactivated": "u", "untrained": "-"}
    return [letters.get(kind, owner) for kind, owner in zip(found.kind[0], owners, strict=True)]


def test_a_share_of_each_group_is_trained():
    #                   general       en      de      fr   unactivated
    phi = np.array([[1, 2, 3, 3.0, 9, 8, 1, 1, 1, 1, 0, 0]] * 3) + 0
    phi[:, 4:] = [[9, 8, 1, 1, 1, 1, 0, 0], [1, 1, 5, 6, 1, 1, 0, 0], [1, 1, 1, 1, 7, 7, 0, 0]]
    classes = neurons.classify(phi[:, None], Split(general_share=0.4, normalize="none"), 0.0)
    assert kept(classes, 1, "most") == [*"ggggeeddffuu"]
    assert kept(classes, 0.5, "most") == [*"--gge--df-u-"]  # on a tie the lower index
    assert kept(classes, 0.5, "least") == [*"gg---ed-f-u-"]
    assert kept(classes, 0.5, "exchanged") == [*"--ggd--fe-u-"]
    assert kept(classes, 0.01, "most") == [*"--g-e--df-u-"]  # rounded up
    assert kept(classes, 1, "exchanged") == [*"ggggddffeeuu"]


def run_stage(command, folder, *flags: str) -> pd.DataFrame:
    """The stage on two languages and two layers of three neurons, layer 1 chosen."""
    for language, scores in {"en": [[1, 2, 3], [0.5, 0, 0.9]], "de": [[3, 2, 1], [0.5, 0.8, 0]]}.items():
        write_table(folder / language, "awareness", {"score": np.array(scores) / 4})
    write_table(folder / "layers", "layers", {"layer": [0, 1], "selected": [False, True]})
    paths = ["--awareness", folder / "en", folder / "de", "--layers", folder / "layers", "--out", folder / "out"]
    command(neurons, *paths, "--awareness-languages", "en", "de", *flags)
    return tables.read(folder / "out", "neurons")


def test_the_stage(command, tmp_path):
    table = run_stage(command, tmp_path, "--general-share", "0.34", "--normalize", "none")
    assert table["selected"].tolist() == [False] * 3 + [True] * 3
    assert table["language"].fillna("-").tolist() == ["de", "-", "en", "-", "de", "en"]
    flags = ["--rule", "entropy", "--general-share", "0.34", "--activation-quantile", "0.5"]
    table = run_stage(command, tmp_path, *flags)  # layer 0: above the third of 1 1 2 2 3 3 are the two 3s
    assert table["language"].fillna("-").tolist() == ["de", "-", "en", "-", "de", "en"]
    table = run_stage(command, tmp_path, *flags, "--permute", "0")
    assert sorted(table["language"].fillna("-")) == ["-", "-", "de", "de", "en", "en"]


def test_entropy_of_no_probabilities_is_refused():
    with pytest.raises(UserError, match="--estimator probability"):
        neurons.classify(np.full((1, 1, 2), 3.0), Split(rule="entropy"))
