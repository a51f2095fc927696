"""Clusters: scores by hand, and data whose answer is known. Claims: data on which each is true, and false. Figures."""

import re
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import toys
from made import write_table

from lander.experiments import clusters, figures
from lander.experiments.claims import __main__ as claims
from lander.experiments.claims import judge, statistics
from lander.models import families
from lander.models.tokens import Codec
from lander.shared import tables
from lander.shared.errors import UserError

# Four points on a line, two labels: a at 0 and 1, b at 4 and 6.
LINE = np.array([[0.0], [1.0], [4.0], [6.0]])
LABELS = np.array(["a", "a", "b", "b"])


def test_silhouette_and_neighbours_by_hand():
    # 0: a=1, b=(4+6)/2=5 -> 4/5; 1: a=1, b=(3+5)/2=4 -> 3/4; 4: a=2, b=(4+3)/2=3.5 -> 1.5/3.5; 6: a=2, b=5.5 -> 3.5/5.5
    expected = (4 / 5 + 3 / 4 + 1.5 / 3.5 + 3.5 / 5.5) / 4
    table = clusters.distances(LINE, "euclidean")
    assert table[0].tolist() == pytest.approx([0, 1, 4, 6])
    assert clusters.silhouette(table, LABELS) == pytest.approx(expected)
    # a label's only point counts as 0
    alone = np.array(["a", "b", "b", "b"])
    # 1: a=(3+5)/2=4, b=1 -> -3/4; 4: a=(3+2)/2=2.5, b=4 -> 1.5/4; 6: a=(5+2)/2=3.5, b=6 -> 2.5/6
    assert clusters.silhouette(table, alone) == pytest.approx((0 - 3 / 4 + 1.5 / 4 + 2.5 / 6) / 4)
    # neighbours
    assert clusters.neighbour_accuracy(table, LABELS, 1) == 1  # 0-1, 1-0, 4-6, 6-4
    assert clusters.neighbour_accuracy(table, alone, 1) == 0.5  # 0's is b; 1's is a
    assert clusters.neighbour_accuracy(table, LABELS, 2) == 1  # one vote each: the nearer wins
    assert clusters.neighbour_accuracy(table, LABELS, 3) == 0  # outvoted, two to one


def test_retrieval_by_hand():
    # a: 0 and 10; b: 1 and 4. a->b: 0 finds 1 (right), 10 finds 4 (right); b->a: 1 finds 0 (right), 4 finds 0 (wrong)
    points = np.array([[0.0], [10.0], [1.0], [4.0]])
    assert clusters.retrieval(clusters.distances(points, "euclidean"), LABELS) == 0.75
    # without their means: -5, 5 and -1.5, 1.5: all right
    centred = clusters.without_means(points, LABELS)
    assert centred[:, 0].tolist() == [-5, 5, -1.5, 1.5]
    assert clusters.retrieval(clusters.distances(centred, "euclidean"), LABELS) == 1


def test_cosine_is_seen_from_the_centre():
    points = np.array([[1.0, 0], [2, 0], [0, 1], [0, 2], [-3, -3]]) + 7
    table = clusters.distances(points, "cosine")
    assert table[0, 1] == pytest.approx(0)
    assert table[0, 2] == pytest.approx(1)
    assert table[0, 4] == pytest.approx(1 + 0.5**0.5)


def test_projection_keeps_the_distances_of_flat_points_and_its_signs():
    random = np.random.default_rng(0)
    flat = random.normal(size=(12, 2)) @ np.linalg.qr(random.normal(size=(9, 9)))[0][:2]  # a plane in nine dimensions
    xy = clusters.project(flat + 3)
    assert clusters.distances(xy, "euclidean") == pytest.approx(clusters.distances(flat, "euclidean"), abs=1e-6)
    assert xy[:, 0].var() >= xy[:, 1].var()
    assert clusters.project(np.outer(np.arange(3.0), [0, -2, 1]))[:, 0] == pytest.approx([5**0.5, 0, -(5**0.5)])


def languages_in_neurons(tells: slice) -> tuple[np.ndarray, np.ndarray]:
    """Three languages, 15 sentences in parallel, 40 neurons: `tells` hold the language, the others the sentence."""
    random = np.random.default_rng(5)
    labels = np.repeat(["en", "de", "fr"], 15)
    meaning = np.tile(random.normal(size=(15, 40)), (3, 1))
    language = np.repeat(random.normal(size=(3, 40)), 15, axis=0)
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
    found = [clusters.two_sided(value, control) for value in (30, -1, 9, 17)]
    assert found == pytest.approx([2 / 20, 2 / 20, 1, 2 * 3 / 20])  # 17 and 18


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
    neurons = pd.DataFrame({"layer": np.repeat(range(2), 64), "neuron": list(range(64)) * 2})
    neurons["kind"] = np.where(neurons["neuron"] < 56, "general", "specific")
    neurons["language"] = np.where(neurons["neuron"] < 56, None, "de")
    neurons = neurons.assign(selected=neurons["layer"] == 1)
    second = neurons[(neurons["layer"] == 1) & (neurons["neuron"] == 63)].assign(language="en")  # of two owners
    write_table(tmp_path / "neurons.parquet", "neurons", pd.concat([neurons, second]))
    for number, code in enumerate(("en", "de")):
        texts = [f"{code} sentence {line} {'x' * (line % 4 + number)}" for line in range(8)]
        write_table(tmp_path / f"{code}.parquet", "text", {"text": texts})
    codec = Codec(toys.bloom_tokenizer())
    monkeypatch.setattr(clusters.loading, "load", lambda *_: (toys.bloom(vocabulary=300), codec))
    call = ["clusters", "--model", "toy", "--languages", "en", "de", "--draws", "39", "--sentences", "6"]
    call += ["--text", *(str(tmp_path / f"{code}.parquet") for code in ("en", "de"))]
    call += ["--neurons", str(tmp_path / "neurons.parquet"), "--out", str(tmp_path / "out")]
    paths = [tmp_path / "out" / f"clusters{end}" for end in (".csv", "_points.csv", ".md", ".svg")]

    def run(*more: str) -> list[bytes]:
        monkeypatch.setattr(sys, "argv", [*call, *more])
        clusters.main()
        return [path.read_bytes() for path in paths]

    first = run("--layer", "1", "0")
    table, points = map(pd.read_csv, paths[:2])
    assert list(points) == ["layer", "group", "language", "sentence", "x", "y"]
    assert len(points) == 2 * 3 * 2 * 6
    assert list(table) == ["layer", "group", "neurons", "score", "value", "control_mean", "control_sd", "p"]
    assert len(table) == 2 * 3 * 4
    assert table["neurons"].tolist() == 2 * [*[56] * 4, *[8] * 8]
    assert run("--layer", "1", "0") == first
    run()
    assert pd.read_csv(paths[0]).equals(table[table["layer"] == 1])  # the layer that is selected
    for flag, number in (("--draws", "38"), ("--layer", "2")):
        with pytest.raises(UserError, match=f"{flag} {number}: "):
            run(flag, number)
    with pytest.raises(UserError, match="no layer is selected in it; name layers with --layer"):
        clusters.chosen_neurons(neurons.assign(selected=False), [], [64, 64])


def test_clusters_in_words_and_tables():
    rows = [  # layer 2 as the paper says; layer 3: general neurons that are not mixed, no specific ones
        (2, "general", 90, "silhouette", 0.05, 0.2, 0.01, 0.02),
        (2, "specific", 10, "silhouette", 0.5, 0.1, 0.01, 0.04),
        (2, "general_equal", 10, "silhouette", 0.6, 0.1, 0.01, 1.0),
        (2, "general", 90, "retrieval", 0.75, 0.5, 0.125, 0.02),
        (2, "specific", 10, "retrieval", 0.25, 0.5, 0.125, 0.02),
        (3, "general", 100, "silhouette", 0.3, 0.3, 0.01, 1.0),
    ]
    columns = ["layer", "group", "neurons", "score", "value", "control_mean", "control_sd", "p"]
    table = pd.DataFrame(rows, columns=columns)
    points = pd.DataFrame({"layer": 3, "group": "general", "language": ["en", "de"] * 40, "sentence": range(80)})
    points = points.assign(sentence=points["sentence"] // 2, x=points.index, y=0.0)
    made = clusters.document(points, table, 5, 99)
    assert made.title.endswith("2 languages, 40 each")
    shows, silhouettes, found, _ = made.blocks
    assert re.findall(r"in (\d of \d|\d)\b", shows) == ["1 of 2", "1 of 1", "0", "0 of 1"]
    wanted = [*(f"2 {name}" for name in clusters.GROUPS.values()), "3 general"]
    assert [label for label, _ in silhouettes.rows] == wanted
    assert [cell.text for cell in silhouettes.rows[1][1]] == ["10", "0.50", "0.10", "0.04"]
    assert [(cell.text, cell.spread) for cell in found.rows[0][1]][1:3] == [("75.0", ""), ("50.0", "±12.5")]
    assert "100 general" in made.svg
    assert "no specific neurons" in made.svg
    marks = re.findall(r'<use xlink:href="#\w+" x="[\d.]+" y="[\d.]+" style="fill: #0072b2', made.svg)
    assert len(marks) == clusters.SHOWN + 1  # of 40 sentences, and the legend's


# Claims -------------------------------------------------------------------------------------------------------------

SUPPORTED, NOT, UNTESTABLE = judge.SUPPORTED, judge.NOT_SUPPORTED, judge.NOT_TESTABLE
DIRECTIONS = ["ar-en", "de-en", "en-ar", "en-de", "en-fr", "en-it", "fr-en", "it-en"]
LANGUAGES = ["en", "de", "it", "fr", "ar", "zh"]


def verdicts(found: judge.Found) -> dict[str, str]:
    assert {key for key, _ in found} <= set(judge.CLAIMS)
    return {key: result.verdict for key, result in found}


def test_permutation_test_by_hand():
    values = np.array([3.0, 1.0, 2.0])  # first above last: of 6 orders (3,2) (3,1) (2,1) -> differences 1, 2, 1
    test = judge.tested(lambda order: values[order][0] - values[order][2], judge.orders(3, 0))
    assert test[:4] == (1, 0, 3 / 6, UNTESTABLE)  # 1 / 6 is the best that any outcome could have
    assert len(judge.orders(7, 0)) == 5040
    assert len(judge.orders(8, 0)) == judge.DRAWS
    signs = judge.tested(lambda sign: (sign * np.ones(5)).mean(), judge.signs(5, 0))
    assert (signs.p, signs.verdict) == (1 / 32, SUPPORTED)


def test_helpers_by_hand():
    assert judge.spearman(np.array([1, 5, 9.0, np.nan]), np.array([2, 3, 100, 1.0])) == pytest.approx(1)
    assert judge.spearman(np.array([1, 2, 3, 4.0]), np.array([1, 2, 4, 3.0])) == pytest.approx(0.8)
    assert np.isnan(judge.spearman(np.array([1, np.nan, 2]), np.arange(3.0)))
    assert judge.correlations(np.array([[1.0, 2, 3], [3, 2, 1], [5, 5, 5]]))[0].tolist() == pytest.approx([1, -1, 0])
    depth = np.arange(7.0) ** 2
    assert judge.part_above_part(depth, "middle", "outer", 0)[:2] == (29 / 3, (0 + 1 + 25 + 36) / 4)  # layers 2 to 4
    assert judge.part_above_part(depth, "late", "early", 0)[:2] == (77 / 3, 5 / 3)  # layer 3 is in neither
    likeness = np.array([[0, 9, 1, 2], [9, 0, 3, 4], [1, 3, 0, 5], [2, 4, 5, 0]], dtype=float)
    assert judge.pairs_against_others(likeness, ["x", "x", None, None], 0)[:2] == (9, 3)
    genera = [[table.get(code) for code in LANGUAGES] for table in (judge.GENUS, statistics.TABLE_3)]
    assert [len(set(of)) for of in genera] == [4, 4]
    assert [of.count("Romance") for of in genera] == [2, 3]


def curves(by: str, grows: bool) -> np.ndarray:
    """(direction, 12 layers): one curve for all, and a wave of its own per pair or per target that grows or fades."""
    random = np.random.default_rng(0)
    keys = ["-".join(sorted(d.split("-"))) for d in DIRECTIONS]
    if by == "target":
        keys = [d.split("-")[1] + d[:1] * (d[:2] != "en") for d in DIRECTIONS]
    own = {key: random.normal(size=12) for key in dict.fromkeys(keys)}
    depth = np.arange(12) / 11
    size = (depth if grows else 1 - depth) ** 2
    shared = np.abs(depth - 0.5) ** 2 * 8 * (-1) ** np.arange(12)  # changes much at both ends
    noise = 0.02 * random.normal(size=(len(keys), 12))
    return shared + noise + np.stack([own[key] * size for key in keys]) * 0.6


def delta_of(means: np.ndarray) -> np.ndarray:
    return np.abs(np.diff(means, axis=-1, prepend=np.nan))


def activation_claims(means: np.ndarray) -> dict[str, str]:
    deltas = delta_of(means)
    return verdicts(statistics.activation_claims(DIRECTIONS, means, deltas, means, seed=0))


def test_claims_about_activations():
    got = activation_claims(curves("pair", grows=True))
    assert set(got.values()) == {SUPPORTED}
    assert len(got) == 7
    got = activation_claims(curves("target", grows=False))
    assert {got[key] for key in ("pair_curves", "pair_neurons", "early_overlap", "shallow_alike")} == {NOT}
    assert activation_claims(np.random.default_rng(1).normal(size=(8, 12)))["curves_alike"] == NOT
    got = activation_claims(curves("pair", grows=True)[:, [*range(1, 12, 2), *range(10, -1, -2)]])
    assert got["change_at_ends"] == NOT


def phi_of(true: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Awareness of six languages, 9 layers, 60 neurons (48 general), that agrees with the paper, or turns it round."""
    random = np.random.default_rng(2)
    family = [0, 0, 1, 1, 2, 3] if true else [0, 1, 0, 1, 2, 2]  # of en de it fr ar zh
    owner = np.full((9, 60), -1)
    owner[:, 48:] = np.repeat(range(6), 2)
    trend = 2 + 1.5 * (np.sin(np.arange(9)) if true else random.normal(size=(4, 9)).clip(-1, 1)[family])
    outer = np.abs(np.linspace(-1, 1, 9))
    apart = 0.3 * random.normal(size=(4, 9)).clip(-1, 1)[family] * (outer if true else 1 - outer)  # of the layers
    neurons = 0.3 * random.random((4, 9, 60))[family] + 0.05 * random.random((6, 9, 60))
    phi = (trend * (1 + apart))[..., None] * (1 + neurons)
    phi[0] *= 1.2 if true else 0.5
    phi[:, owner == 0] *= 1.5 if true else 0.5
    rise = np.linspace(0.5, 3, 9) if true else np.linspace(4, 1.5, 9)
    for language in range(6):
        phi[language] *= np.where(owner == language, rise[:, None], 1)
    return phi, owner, owner < 0


def test_claims_about_awareness_where_they_hold():
    got = verdicts(statistics.awareness_claims(LANGUAGES, *phi_of(True), seed=0))
    assert len(got) == 11
    wrong = {name: verdict for name, verdict in got.items() if "table_3" in name}
    assert wrong == dict.fromkeys(wrong, NOT)  # English is like German here, not like French
    assert len(wrong) == 2
    assert got | wrong == dict.fromkeys(got, SUPPORTED) | wrong


def test_claims_about_awareness_where_they_do_not():
    phi, owner, general = phi_of(False)
    got = verdicts(statistics.awareness_claims(LANGUAGES, phi, owner, general, seed=0))
    assert got.pop("kinds_differ") == SUPPORTED
    assert got == dict.fromkeys(got, NOT)
    same = statistics.awareness_claims(LANGUAGES, np.tile(phi[:, :, :1], 60), owner, general, seed=0)
    assert verdicts(same)["kinds_differ"] == UNTESTABLE


def test_claims_that_cannot_be_tested():
    phi, _, general = phi_of(True)
    found = statistics.awareness_claims(LANGUAGES[1:4], phi[1:4, :2], np.full((2, 60), -1), general[:2], seed=0)
    assert set(verdicts(found).values()) == {UNTESTABLE}  # no English, two layers, nothing specific, three languages
    found = statistics.activation_claims(["en-de", "de-en"], np.array([[1.0, 2], [1, 3]]), np.ones((2, 2)), None, 0)
    assert set(verdicts(found).values()) == {UNTESTABLE}


def transfer(change) -> pd.DataFrame:
    rows = [(a, b, change(a, b)) for a in DIRECTIONS for b in DIRECTIONS]
    return pd.DataFrame(rows, columns=["trained", "tested", "change"])


def transfer_claims(table: pd.DataFrame) -> dict[str, judge.Result]:
    return dict(statistics.transfer_claims(table, 0))


def test_claims_about_transfer():
    got = transfer_claims(transfer(lambda a, b: -0.5 if (a, b) == ("de-en", "ar-en") else 50 if a == b else 2))
    assert (got["helps"].verdict, got["hurts"].verdict) == (SUPPORTED, SUPPORTED)
    assert got["helps"].value == pytest.approx((7 * 2 * 8 - 2.5) / 56)  # the trained direction itself does not count
    assert got["hurts"][:3] == (-0.5, 2, 1 / 56)
    assert got["near"].verdict == UNTESTABLE  # fr-it is one of six pairs: p is at least 1/6
    both = transfer(lambda a, b: 2.0)
    got = transfer_claims(both.assign(mean_to_better=both["change"] - 5))
    found = [(got[key].value, got[key].verdict) for key in ("helps", "helps_beyond_prompt")]
    assert found == [(2, SUPPORTED), (-3, NOT)]  # it was the prompt
    got = transfer_claims(transfer(lambda a, b: 3 if b == "ar-en" else -1))
    assert (got["helps"].verdict, got["hurts"].verdict) == (NOT, NOT)
    assert transfer_claims(both[both["tested"] != "ar-en"])["hurts"].verdict == UNTESTABLE


LEVELS = {"main": 19, "draw2": 21, "draw3": 15, "draw4": 17, "draw5": 19}
DRAWN = [("random", name, level) for name, level in LEVELS.items()]


def test_claims_about_methods():
    table = pd.DataFrame(
        [
            (m, v, s, d, base + n)
            for m, v, base in [("landermt", "main", 20), ("lora", "main", 18), *DRAWN]
            for s in ("0", "1")
            for n, d in enumerate(DIRECTIONS)
        ],
        columns=["method", "variant", "seed", "direction", "score"],
    )
    got = dict(statistics.method_claims(table, 0))
    assert (got["above_lora"].verdict, got["above_adapter_lora"].verdict) == (SUPPORTED, UNTESTABLE)
    # levels 20 | 19 21 15 17 19 at both seeds: of 6 x 6 sums 8 are at least 20 + 20 (20 or 21 each, 21 and a 19)
    found = got["detected_above_random"]
    assert found[:4] == (23.5, pytest.approx(21.7), 8 / 36, NOT)
    table.loc[table["method"] == "landermt", "score"] += 2
    one, own = table[table["seed"] == "0"], table[table["method"] == "landermt"]
    found = [dict(statistics.method_claims(rows, 0))["detected_above_random"] for rows in (table, one, own)]
    # five draws at one seed: no lead could be rarer
    assert [row[2:4] for row in found[:2]] == [(1 / 36, SUPPORTED), (1 / 6, UNTESTABLE)]
    assert found[2].verdict == UNTESTABLE


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([10, 14, 12, 11], (SUPPORTED, SUPPORTED)),  # at 4
        ([10, 11, 14, 11], (SUPPORTED, NOT)),  # at 8
        ([10, 11, 12, 14], (NOT, NOT)),  # at the end
    ],
)
def test_claims_about_the_peak(scores, expected):
    def got(table: pd.DataFrame) -> tuple[str, ...]:
        return tuple(verdicts(statistics.peak_claims(table, "k")).values())

    one = pd.DataFrame({"k": [0, 4, 8, 30], "score": scores})
    assert set(got(one)) == set(got(one.assign(spread=np.nan))) == {UNTESTABLE}  # one seed
    table = pd.concat([one.assign(score=one["score"] + noise) for noise in (-0.5, 0.5)])
    assert got(table) == expected
    noisy = pd.concat([table.assign(score=table["score"] + noise) for noise in (-9, 9)])
    assert set(got(noisy)) == {NOT}  # within the spread of seeds
    assert set(got(one.assign(spread=[5, np.nan, 5, 5]))) == {NOT}  # more than the peak's lead
    assert got(table[:2]) == ()


def test_claims_about_clusters():
    columns = ["layer", "group", "score", "value", "control_mean", "p"]
    rows = [(2, "general", "silhouette", 0.05, 0.1, 0.1), (2, "specific", "silhouette", 0.5, 0.1, 0.04)]
    rows += [(3, "general", "silhouette", 0.3, 0.3, 1), (3, "specific", "silhouette", 0.5, 0.4, 0.3)]
    rows += [(3, "general_equal", "silhouette", 0.3, 0.3, 1), (3, "specific", "neighbours", 1, 0.1, 0.01)]
    found = statistics.cluster_claims(pd.DataFrame(rows, columns=columns))
    assert [row.verdict for _, row in found] == [SUPPORTED, SUPPORTED, NOT, NOT]


@pytest.fixture
def detected(tmp_path) -> list:
    """Tables of layers, activations, awareness and neurons of the claims that hold. Returns the flags of the first."""
    means, (phi, owner, general) = curves("pair", grows=True), phi_of(True)
    parts = [
        pd.DataFrame({"direction": d, "layer": range(12), "activation": row, "delta": delta_of(row)})
        for d, row in zip(DIRECTIONS, means, strict=True)
    ]
    write_table(tmp_path / "layers.parquet", "layers", pd.concat(parts))
    for name, row in zip(DIRECTIONS, means, strict=True):
        write_table(tmp_path / f"{name}.parquet", "activations", {"mean": row[:, None] * np.ones(3)})
    for code, one in zip(LANGUAGES, phi, strict=True):
        write_table(tmp_path / f"{code}.parquet", "awareness", {"score": one})
    names = np.array([*LANGUAGES, None], dtype=object)
    kinds = {"kind": np.where(general, "general", "specific"), "language": names[owner]}
    write_table(tmp_path / "neurons.parquet", "neurons", kinds)
    flags = ["--layers", tmp_path / "layers.parquet", "--neurons", tmp_path / "neurons.parquet"]
    return [*flags, "--awareness", *(tmp_path / f"{code}.parquet" for code in LANGUAGES), "--out", tmp_path / "out"]


def test_claims_by_the_command_line(detected, tmp_path, monkeypatch):
    transfer(lambda a, b: 1.0).assign(method="landermt").to_csv(tmp_path / "transfer.csv", index=False)
    turned = DIRECTIONS[::-1]
    call = [*detected, "--languages", *LANGUAGES, "--transfer", tmp_path / "transfer.csv"]
    call += ["--directions", *turned, "--activations", *(tmp_path / f"{name}.parquet" for name in turned)]

    def run(*more: object) -> pd.DataFrame:
        monkeypatch.setattr(sys, "argv", list(map(str, ["claims", *call, *more])))
        claims.main()
        return pd.read_csv(tmp_path / "out" / "claims.csv")

    table = run()
    assert list(table) == ["claim", "where", "statistic", "value", "control", "p", "verdict", "rule"]
    counts = table["verdict"].value_counts()
    first = (tmp_path / "out" / "claims.md").read_text().splitlines()[0]
    assert re.findall(r"\d+", first) == [str(counts[name]) for name in (SUPPORTED, NOT, UNTESTABLE)]
    means = curves("pair", grows=True)
    direct = statistics.activation_claims(DIRECTIONS, means, delta_of(means), np.repeat(means, 3, axis=1), 0)
    direct += statistics.awareness_claims(LANGUAGES, *phi_of(True), 0)
    assert table["value"][:18].tolist() == pytest.approx([row.value for _, row in direct], rel=1e-5)
    assert (table["verdict"] == UNTESTABLE).sum() == 1 + 8 + 4 + 2  # near transfer, methods, sweeps, clusters
    metrics = {"test": [None] * 3 + ["news"] * 3, "metric": ["dev loss"] * 3 + ["bleu"] * 3}
    made = pd.DataFrame({"value": [0, 4, 8] * 2, "mean": [3, 2, 1, 5, 9, 6], "spread": 0.5, **metrics})
    made.to_csv(tmp_path / "k.csv", index=False)
    table = run("--sweep-k", tmp_path / "k.csv")
    assert table.loc[table["where"] == "A.3, figure 10", "verdict"].tolist() == [SUPPORTED, SUPPORTED]
    with pytest.raises(UserError, match=r"transfer\.csv: no row with method lora; there are: landermt"):
        run("--method", "lora")


def test_claims_as_tables_by_section():
    none = (np.nan,) * 3
    rows = [
        ("a", "A.3, figure 10", "s", 4, 2, np.nan, SUPPORTED, "r"),
        ("b", "5.2, figure 4", "s", 0.51234, 0.1, 0.03, NOT, "r"),
        ("c", "-", "s", *none, UNTESTABLE, "r"),
        ("d", "5.2", "s", *none, UNTESTABLE, "q"),
        ("e", "5.2", "s", 0.99912, 0.99934, 0.125, NOT, "r"),
    ]
    made = claims.document(pd.DataFrame(rows, columns=list(claims.rows_of([]))))
    assert made.title == "Claims of the paper: 1 supported, 2 not supported, 2 not testable here"
    _, second, appendix, other = made.blocks
    captions = [block.caption for block in (second, appendix, other)]
    assert captions == ["Section 5.2", "Appendix A.3", "Not in the paper"]
    assert [(label, [cell.text for cell in cells]) for label, cells in second.rows] == [
        ("b", ["figure 4", "s", "0.5123", "0.1", "0.03", NOT]),
        ("d", ["–", "s", "–", "–", "–", UNTESTABLE]),
        ("e", ["–", "s", "0.9991", "0.9993", "0.12", NOT]),
    ]
    assert second.notes == ["Rule of d: q.", "Rule of all others: r."]
    assert appendix.notes == ["Rule: r."]


# Figures ------------------------------------------------------------------------------------------------------------


def test_figures_by_the_command_line(detected, tmp_path, capsys):
    flags = [*map(str, detected), "--awareness-languages", *LANGUAGES]
    figures.main(["layers", *flags])
    names = ["activation.svg", "activation.csv", "delta.svg", "delta.csv", "layers.md"]
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "out" / name) for name in names]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    delta = pd.read_csv(tmp_path / "out" / "delta.csv").set_index(["direction", "layer"])["delta"]["en-de"]
    means = curves("pair", grows=True)[DIRECTIONS.index("en-de")]
    assert delta.tolist() == pytest.approx(delta_of(means), nan_ok=True)
    figures.main(["awareness", *flags])
    drawn = ["awareness-general", "awareness-specific", "awareness", "owners"]
    made = {path.name for path in (tmp_path / "out").iterdir()} - set(names)
    assert made == {"awareness.md"} | {f"{name}.{end}" for name in drawn for end in ("svg", "csv")}
    means = pd.read_csv(tmp_path / "out" / "awareness.csv").set_index(["layer", "language"])["awareness"]
    assert means.loc[2][LANGUAGES].tolist() == pytest.approx(phi_of(True)[0][:, 2].mean(axis=1))
    text = (tmp_path / "out" / "awareness.md").read_text()
    assert re.findall(r"\((figure \d)\)", text) == ["figure 6", "figure 7", "figure 8"]
    assert re.findall(r"\]\((.*)\)", text) == [f"{name}.svg" for name in drawn]
    with pytest.raises(UserError, match="--neurons, --awareness: the figures of awareness need it"):
        figures.main(["awareness", "--out", "x"])
    layers = tables.read(tmp_path / "layers.parquet", "layers")
    tables.write(tmp_path / "layers.parquet", layers[layers["layer"] == 0], "layers")
    with pytest.raises(UserError, match="nothing to draw in delta; a model of one layer has no change D"):
        figures.main(["layers", *flags])
