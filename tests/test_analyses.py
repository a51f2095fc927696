"""Clusters: scores by hand, and data whose answer is known. Claims: data on which each is true, and false."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import toys

from lander import families, tables
from lander.analyses import clusters, separation
from lander.codec import Codec
from lander.errors import UserError

# Four points on a line, two labels: a at 0 and 1, b at 4 and 6.
LINE = np.array([[0.0], [1.0], [4.0], [6.0]])
LABELS = np.array(["a", "a", "b", "b"])


def test_silhouette_by_hand():
    # 0: a=1, b=(4+6)/2=5 -> 4/5; 1: a=1, b=(3+5)/2=4 -> 3/4; 4: a=2, b=(4+3)/2=3.5 -> 1.5/3.5; 6: a=2, b=5.5 -> 3.5/5.5
    expected = (4 / 5 + 3 / 4 + 1.5 / 3.5 + 3.5 / 5.5) / 4
    table = separation.distances(LINE, "euclidean")
    assert table[0].tolist() == pytest.approx([0, 1, 4, 6])
    assert separation.silhouette(table, LABELS) == pytest.approx(expected)
    # a label's only point counts as 0: 0 alone, then 1, 4, 6: (1-0)/... by hand
    alone = np.array(["a", "b", "b", "b"])
    # 1: a=(3+5)/2=4, b=1 -> -3/4; 4: a=(3+2)/2=2.5, b=4 -> 1.5/4; 6: a=(5+2)/2=3.5, b=6 -> 2.5/6
    assert separation.silhouette(table, alone) == pytest.approx((0 - 3 / 4 + 1.5 / 4 + 2.5 / 6) / 4)


def test_neighbours_by_hand():
    table = separation.distances(LINE, "euclidean")
    assert separation.neighbour_accuracy(table, LABELS, 1) == 1  # 0-1, 1-0, 4-6, 6-4
    assert separation.neighbour_accuracy(table, np.array(["a", "b", "b", "b"]), 1) == 0.5  # 0's is b; 1's is a
    assert separation.neighbour_accuracy(table, LABELS, 2) == 1  # one vote each: the nearer wins
    assert separation.neighbour_accuracy(table, LABELS, 3) == 0  # outvoted, two to one


def test_retrieval_by_hand():
    # a: 0 and 10; b: 1 and 4. a->b: 0 finds 1 (right), 10 finds 4 (right); b->a: 1 finds 0 (right), 4 finds 0 (wrong)
    points = np.array([[0.0], [10.0], [1.0], [4.0]])
    assert separation.retrieval(separation.distances(points, "euclidean"), LABELS) == 0.75
    # without their means: -5, 5 and -1.5, 1.5: all right
    centred = separation.without_means(points, LABELS)
    assert centred[:, 0].tolist() == [-5, 5, -1.5, 1.5]
    assert separation.retrieval(separation.distances(centred, "euclidean"), LABELS) == 1


def test_cosine_is_seen_from_the_centre():
    points = np.array([[1.0, 0], [2, 0], [0, 1], [0, 2], [-3, -3]]) + 7
    table = separation.distances(points, "cosine")
    assert table[0, 1] == pytest.approx(0)
    assert table[0, 2] == pytest.approx(1)
    assert table[0, 4] == pytest.approx(1 + 0.5**0.5)


def test_projection_keeps_the_distances_of_flat_points_and_its_signs():
    random = np.random.default_rng(0)
    flat = random.normal(size=(12, 2)) @ np.linalg.qr(random.normal(size=(9, 9)))[0][:2]  # a plane in nine dimensions
    xy = separation.project(flat + 3)
    assert separation.distances(xy, "euclidean") == pytest.approx(separation.distances(flat, "euclidean"), abs=1e-6)
    assert xy[:, 0].var() >= xy[:, 1].var()
    assert separation.project(np.outer(np.arange(3.0), [0, -2, 1]))[:, 0] == pytest.approx([5**0.5, 0, -(5**0.5)])


def languages_in_neurons(tells: slice) -> tuple[np.ndarray, np.ndarray]:
    """Three languages, 15 sentences in parallel, 40 neurons: `tells` hold the language, the others the sentence."""
    random = np.random.default_rng(5)
    labels = np.repeat(["en", "de", "fr"], 15)
    meaning, language = (
        np.tile(random.normal(size=(15, 40)), (3, 1)),
        np.repeat(random.normal(size=(3, 40)), 15, axis=0),
    )
    points = meaning + 0.05 * random.normal(size=(45, 40))
    points[:, tells] = language[:, tells] + 0.05 * random.normal(size=(45, 40))[:, tells]
    return points, labels


def scores(points: np.ndarray, labels: np.ndarray) -> dict[tuple[str, str], pd.Series]:
    _, table = clusters.analyse(points, labels, np.arange(36), np.arange(36, 40), parallel=True, draws=40)
    return {(row.group, row.score): row for row in table.itertuples()}


def test_specific_neurons_that_tell_languages_apart_are_seen_to():
    got = scores(*languages_in_neurons(slice(36, 40)))
    assert got["specific", "silhouette"].value > 0.8
    assert got["specific", "silhouette"].p < 0.06  # 40 draws: 2 / 41 at least
    assert got["specific", "neighbours"].value == 1
    assert got["specific", "retrieval"].value < 0.3  # chance: 1 / 15
    assert got["general", "silhouette"].value < 0
    assert got["general", "neighbours"].value < 0.1  # the nearest sentences are the translations
    assert got["general", "retrieval"].value == 1
    assert (got["general_equal", "silhouette"].neurons, got["general", "silhouette"].neurons) == (4, 36)
    assert got["general_equal", "retrieval"].value > 0.9
    # some of four random neurons are specific ones
    assert got["general_equal", "silhouette"].value <= got["specific", "silhouette"].control_mean


def test_specific_neurons_that_do_not_are_seen_not_to():
    got = scores(*languages_in_neurons(slice(0, 36)))
    assert got["specific", "silhouette"].value < 0
    assert got["specific", "silhouette"].value < got["specific", "silhouette"].control_mean
    assert got["general", "neighbours"].value == 1
    assert got["specific", "neighbours"].p < 0.06  # far out, on the other side


def test_two_sided():
    control = np.arange(19.0)
    assert clusters.two_sided(30, control) == 2 / 20
    assert clusters.two_sided(-1, control) == 2 / 20
    assert clusters.two_sided(9, control) == 1
    assert clusters.two_sided(17, control) == pytest.approx(2 * 3 / 20)  # 17 and 18


@pytest.mark.parametrize(("kind", "skip"), [("bloom", 0), ("llama", 1)])
def test_representation_is_the_mean_over_the_sentences_own_tokens(kind, skip):
    model, codec = toys.bloom(vocabulary=300), Codec(toys.TOKENIZERS[kind]())
    sentences = ["b", "a longer one", "cc"]
    got = clusters.representations(model, codec, sentences, [1], batch_size=2)[1]
    ffn = families.ffn_of(model, 1)
    for sentence, mean in zip(sentences, got, strict=True):
        seen = {}
        hook = ffn.down.register_forward_pre_hook(lambda _m, x, seen=seen: seen.update(h=x[0]))
        model(torch.tensor([codec.sentence(sentence)]))
        hook.remove()
        np.testing.assert_allclose(mean, seen["h"][0, skip:-1].mean(0), rtol=1e-4, atol=1e-6)


def test_clusters_by_the_command_line(tmp_path, monkeypatch):
    neurons = pd.DataFrame({"layer": np.repeat(range(2), 64), "neuron": list(range(64)) * 2, "variance": 0.0})
    neurons["kind"] = np.where(neurons["neuron"] < 56, "general", "specific")
    neurons["language"] = np.where(neurons["neuron"] < 56, None, "de")
    tables.write(tmp_path / "neurons.parquet", neurons.assign(selected=True), "neurons")
    for number, code in enumerate(("en", "de")):
        texts = [f"{code} sentence {line} {'x' * (line % 4 + number)}" for line in range(8)]
        table = pd.DataFrame({"text": texts, "origin": "o", "line": range(8)})
        tables.write(tmp_path / f"{code}.parquet", table, "text")
    codec = Codec(toys.bloom_tokenizer())
    monkeypatch.setattr(clusters.model, "load", lambda *_: (toys.bloom(vocabulary=300), codec))
    call = ["clusters", "--model", "toy", "--languages", "en", "de", "--draws", "3", "--sentences", "6"]
    call += ["--text", *(str(tmp_path / f"{code}.parquet") for code in ("en", "de"))]
    call += ["--neurons", str(tmp_path / "neurons.parquet"), "--layer", "1", "0"]
    call += ["--points", str(tmp_path / "points.csv"), "--scores", str(tmp_path / "scores.csv")]
    monkeypatch.setattr(sys, "argv", call)
    clusters.main()
    points, table = pd.read_csv(tmp_path / "points.csv"), pd.read_csv(tmp_path / "scores.csv")
    assert list(points) == ["layer", "group", "language", "sentence", "x", "y"]
    assert len(points) == 2 * 3 * 2 * 6
    assert list(table) == ["layer", "group", "neurons", "score", "value", "control_mean", "control_sd", "p"]
    assert len(table) == 2 * 3 * 4
    first = [Path(tmp_path / name).read_bytes() for name in ("points.csv", "scores.csv")]
    clusters.main()
    assert [Path(tmp_path / name).read_bytes() for name in ("points.csv", "scores.csv")] == first
    monkeypatch.setattr(sys, "argv", [*call, "--layer", "2"])
    with pytest.raises(UserError, match="--layer 2: the model has layers 0 to 1"):
        clusters.main()
