"""Tests of the intervals and paired tests, against sacreBLEU's own and against numbers worked out by hand."""

import math
import os
import random

import numpy as np
import pandas as pd
import pytest
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest

from lander.evaluate import significance
from lander.evaluate.__main__ import main
from lander.evaluate.metrics import METRICS
from lander.evaluate.resampling import Design, holm, interval, over_seeds, p_bootstrap, p_randomisation, sample
from lander.evaluate.scoring import Measured, counter, segments
from lander.evaluate.segments import Compared, Method, Place, read_all
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.runs import Model

WORDS = ["der", "die", "das", "Haus", "Hund", "läuft", "schnell", "heute", "nicht", "immer,", "und.", "gut", "neu"]


def sentences(number, seed):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 12))) for _ in range(number)]


def damaged(texts, share, seed):
    draw = random.Random(seed)
    return [" ".join(w if draw.random() > share else draw.choice(WORDS) for w in text.split()) for text in texts]


def write_segments(folder, method, hypotheses, references, direction="en-de", seed="0", variant="main", test="news"):
    place = {"method": method, "variant": variant, "seed": seed, "test": test, "direction": direction}
    found = []
    for name in ("bleu", "chrf2++"):
        metric = METRICS[name].make("de")
        counts = counter(metric, [[one] if isinstance(one, str) else one for one in references])(hypotheses)
        found.append(Measured(name, str(metric.get_signature()), counts))
    path = folder / f"{method}-{variant}-{seed}-{test}-{direction}.parquet"
    tables.write(path, segments(place, found), "segments")
    return path


def rows_of(files, baselines, resamples=1000, **filters):
    table = pd.DataFrame(significance.compare(read_all(files), baselines, resamples))
    for name, value in filters.items():
        table = table[table[name] == value]
    return table


def test_scores_of_sums_are_those_of_sacrebleu():
    references = [*sentences(30, 1), "", "ein", "Haus!"]
    hypotheses = [*damaged(references[:30], 0.3, 2), "etwas", "", "Haus!"]
    for name in ("bleu", "chrf2++"):
        metric = METRICS[name].make("de")
        measured = Measured(name, "s", counter(metric, [[one] for one in references])(hypotheses))
        whole = metric.corpus_score(hypotheses, [references]).score
        assert measured.score().value == pytest.approx(whole, abs=1e-10)
        part = [0, 5, 30, 31, 32]
        chosen = [[texts[line] for line in part] for texts in (hypotheses, references)]
        assert measured.score(part).value == pytest.approx(metric.corpus_score(chosen[0], [chosen[1]]).score, abs=1e-10)
        single = BLEU(force=True, effective_order=True) if isinstance(metric, BLEU) else metric
        for found, hypothesis, reference in zip(measured.sentence_scores(), hypotheses, references, strict=True):
            assert found == pytest.approx(single.sentence_score(hypothesis, [reference]).score, abs=1e-10)


def test_loss_is_tested_as_a_ratio_of_sums(tmp_path):
    place = {"variant": "main", "seed": "0", "test": "news", "direction": "en-de"}
    texts = sentences(40, 1)
    losses = {"base": [len(text) * 2.0 for text in texts], "tuned": [len(text) * 1.0 for text in texts]}
    files = []
    for method, nats in losses.items():
        counts = np.array([(1000 * cost, len(text)) for cost, text in zip(nats, texts, strict=True)], np.int32)
        found = [Measured("loss_per_character", "s", counts)]
        files.append(tmp_path / f"{method}.parquet")
        tables.write(files[-1], segments({"method": method, **place}, found), "segments")
    [row] = rows_of(files, ["base"], method="tuned", baseline="base", direction="en-de").to_dict("records")
    assert (row["score"], row["difference"]) == pytest.approx((1, -1))
    assert row["p_randomisation"] < 0.01
    assert row["low"] == row["high"] == pytest.approx(1)  # every sentence costs the same by character


@pytest.mark.parametrize(("other_share", "several"), [(0.28, False), (0.35, False), (0.28, True)])
def test_same_scores_ps_and_intervals_as_sacrebleu(tmp_path, monkeypatch, other_share, several):
    """With several references each output has its own nearest one, so the statistics of the references differ."""
    monkeypatch.setitem(os.environ, "SACREBLEU_SEED", "12345")
    references = sentences(120, 0)
    systems = [("base", damaged(references, 0.35, 1)), ("new", damaged(references, other_share, 2))]
    streams = [references, damaged(references, 0.3, 3)] if several else [references]
    files = [write_segments(tmp_path, name, texts, list(zip(*streams, strict=True))) for name, texts in systems]
    ours = rows_of(files, ["base"], 1100, direction="en-de").set_index(["metric", "method", "baseline"])
    for test_type, p in (("bs", "p_bootstrap"), ("ar", "p_randomisation")):
        metrics = {"bleu": BLEU(force=True), "chrf2++": CHRF(word_order=2)}
        _, theirs = PairedTest(systems, metrics, streams, test_type, 1100)()
        for metric, name in (("bleu", "BLEU"), ("chrf2++", "chrF2++")):
            row = ours.loc[metric, "new", "base"]
            assert ours.loc[metric, "base", ""]["score"] == pytest.approx(theirs[name][0].score, abs=1e-9)
            assert row["score"] == pytest.approx(theirs[name][1].score, abs=1e-9)
            # the same draws: only where a resample ties with the observed difference do the two count differently
            assert row[p] == pytest.approx(theirs[name][1].p_value, abs=2 / 1101)
            if test_type == "bs":
                low, high = row[["low", "high"]]
                assert (high - low) / 2 == pytest.approx(theirs[name][1].ci, abs=1e-3)  # theirs adds in float32


def test_a_small_randomisation_is_all_swappings():
    """Four sentences have 16 swappings; their exact p is what many random ones come near."""
    one, other = np.array([3.0, 1.0, 4.0, 1.0]), np.array([1.0, 1.5, 1.0, 0.5])
    differences = one - other
    signs = np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, -1).T
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12)
    design = Design([(Method("a", "main"), Method("b", "main"))], 4000, 1)
    models = [Model(name, "main", 0) for name in ("a", "b")]
    compared = Compared("s", dict(zip(models, (one[:, None], other[:, None]), strict=True)))
    (swapped,) = sample("comet", compared, design).swapped.values()
    assert swapped[0] == pytest.approx(differences.mean())
    assert p_randomisation(swapped[1:], swapped[0]) == pytest.approx(exact, abs=0.03)


# ---------------------------------------------------------------- degenerate inputs


def test_identical_systems_do_not_differ(tmp_path):
    references = sentences(20, 0)
    texts = damaged(references, 0.3, 1)
    files = [write_segments(tmp_path, name, texts, references) for name in ("a", "b")]
    row = rows_of(files, ["b"], 500, method="a", baseline="b", direction="en-de").iloc[0]
    assert (row["difference"], row["difference_low"], row["difference_high"]) == (0, 0, 0)
    assert row[["p_bootstrap", "p_randomisation", "p_bootstrap_holm", "p_holm"]].tolist() == [1, 1, 1, 1]


def test_one_sentence_and_all_empty(tmp_path):
    texts = (("a", ["das Haus"]), ("b", ["nein"]))
    one = [write_segments(tmp_path, name, hypotheses, ["das Haus"]) for name, hypotheses in texts]
    rows = rows_of(one, ["b", "b"], 200, method="a", baseline="b", metric="chrf2++")
    assert rows["direction"].tolist() == ["en-de", "mean", "mean-out-of-en"]
    assert (rows[["score", "low", "high"]] == 100).all(axis=None)
    assert (rows[["p_bootstrap", "p_randomisation", "p_holm"]] == 1).all(axis=None)
    references = sentences(5, 0)
    files = [write_segments(tmp_path, name, [""] * 5, references, test="e") for name in ("a", "b")]
    table = rows_of(files, ["b"], 200)
    assert (table[["score", "low", "high"]] == 0).all(axis=None)
    assert set(table.loc[table["baseline"] == "b", "p_holm"]) == {1.0}


def test_a_difference_that_never_varies_is_as_sure_as_it_can_be(tmp_path, monkeypatch):
    """Nothing written against the references themselves: 100 less in every resample, as in sacreBLEU."""
    monkeypatch.setitem(os.environ, "SACREBLEU_SEED", "12345")
    references = sentences(50, 0)
    systems = [("base", references), ("new", [""] * 50)]
    files = [write_segments(tmp_path, name, texts, references) for name, texts in systems]
    rows = rows_of(files, ["base"], 200, method="new", baseline="base", metric="chrf2++")
    assert rows["direction"].tolist() == ["en-de", "mean", "mean-out-of-en"]
    assert (rows[["difference", "difference_low", "difference_high"]] == -100).all(axis=None)
    _, theirs = PairedTest(systems, {"chrf": CHRF(word_order=2)}, [references], "bs", 200)()
    assert rows["p_bootstrap"].tolist() == pytest.approx([theirs["chrF2++"][1].p_value] * 3)
    assert rows["p_bootstrap"].tolist() == pytest.approx([1 / 201] * 3)


def test_ps_and_intervals_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1, 1]
    assert holm([]) == []
    # ties count
    assert p_randomisation(np.array([0.0, 1.0, -2.0, 0.5]), 1.0) == pytest.approx(3 / 5)
    assert p_bootstrap(np.array([1.0, 3.0]), 1.0, 2) == pytest.approx(2 / 3)  # sizes minus their mean: -1 and 1
    # a fortieth is left out at either end
    assert interval(np.arange(80.0)) == (2.0, 77.0)
    assert interval(np.array([4.0])) == (4.0, 4.0)


def test_hierarchical_bootstrap_has_the_variance_of_the_mean_of_seeds():
    scores = np.array([[10.0], [20.0], [60.0]]) @ np.ones((1, 40_000))
    drawn = over_seeds(scores, [1])
    assert drawn.mean() == pytest.approx(30, abs=0.3)
    assert drawn.std() == pytest.approx(math.sqrt(np.var([10, 20, 60]) / 3), rel=0.02)


# ---------------------------------------------------------------- seeds, means, families


def segment_csv(path, scores, direction="en-de", metric="comet"):
    """`scores`: (method, seed) -> segment scores."""
    place = {"variant": "main", "test": "news", "direction": direction, "metric": metric}
    parts = [
        pd.DataFrame({"method": method, "seed": seed, **place, "line": range(len(values)), "score": values})
        for (method, seed), values in scores.items()
    ]
    pd.concat(parts).to_csv(path, index=False)
    return path


def test_seeds_together(tmp_path):
    scores = {("lora", "0"): [0.5, 0.7], ("lora", "1"): [0.7, 0.9], ("zero-shot", "0"): [0.1, 0.3]}
    file = segment_csv(tmp_path / "comet.csv", scores)
    table = rows_of([file], ["zero-shot"], 2000, direction="en-de").set_index(["method", "baseline"])
    row = table.loc["lora", "zero-shot"]
    assert row["score"] == pytest.approx(0.7)
    assert row["spread"] == pytest.approx(np.std([0.6, 0.8], ddof=1))
    assert row["seeds"] == 2
    assert (row["low"], row["high"]) == pytest.approx((0.5, 0.9))  # the worst seed on the worst sentence, and the best
    assert row["difference"] == pytest.approx(0.5)
    assert row["p_randomisation"] == pytest.approx(0.5, abs=0.05)  # of 4 swappings 2 are as far apart
    assert pd.isna(table.loc["zero-shot", ""]["spread"])


def test_means_and_families(tmp_path):
    draw = np.random.default_rng(0)
    files = []
    for direction in ("en-de", "de-en", "en-fr"):
        values = {(name, "0"): draw.normal(size=30) + shift for name, shift in (("a", 0), ("b", 1), ("c", 0.1))}
        if direction != "en-fr":
            values["d", "0"] = draw.normal(size=30)
        files.append(segment_csv(tmp_path / f"{direction}.csv", values, direction))
    table = rows_of(files, ["a", "b"], 500)
    # a-b, a-c, b-c in all three directions, a-d and b-d in two
    plain = table[~table["direction"].str.startswith("mean") & (table["baseline"] != "")]
    assert set(plain["comparisons"]) == {13}
    # both ways where both are baselines
    pairs = set(zip(table["method"], table["baseline"], strict=True))
    assert {("a", "b"), ("b", "a"), ("c", "a"), ("c", "b"), ("d", "a")} <= pairs
    means = table[(table["direction"] == "mean") & (table["baseline"] == "")].set_index("method")["score"]
    assert set(means.index) == {"a", "b", "c"}  # d has no en-fr
    singles = table[(table["method"] == "b") & (table["baseline"] == "")].set_index("direction")["score"]
    assert means["b"] == pytest.approx(singles[["en-de", "de-en", "en-fr"]].mean())
    assert singles["mean-out-of-en"] == pytest.approx(singles[["en-de", "en-fr"]].mean())
    forth = table.set_index(["direction", "method", "baseline"])
    assert forth.loc[("mean", "a", "b"), "difference"] == -forth.loc[("mean", "b", "a"), "difference"]
    assert forth.loc[("mean", "a", "b"), "p_holm"] == forth.loc[("mean", "b", "a"), "p_holm"]
    # a mean over directions is surer than each of them
    width = (forth["difference_high"] - forth["difference_low"]).xs(("b", "a"), level=("method", "baseline"))
    assert width["mean"] < 0.8 * width[["en-de", "de-en", "en-fr"]].min()
    # corrected p's are Holm's of the family
    family = plain[plain["baseline"].isin(["a"]) | ((plain["baseline"] == "b") & (plain["method"] != "a"))]
    assert family["p_holm"].tolist() == pytest.approx(holm(family["p_randomisation"].tolist()))


def test_enough_resamples_for_the_correction():
    methods = [Method(f"m{n}", "main") for n in range(601)]
    models = {Model(name, "main", 0): np.ones((1, 1)) for name, _ in methods}
    for number, resamples in ((10, 10_000), (600, 24_000)):
        design = Design([(method, methods[0]) for method in methods[1 : number + 1]], 0)
        assert significance.enough({Place("t", "en-de", "comet"): Compared("s", models)}, design) == resamples
        assert number / (resamples + 1) < 0.05


def test_the_null_is_rarely_rejected(tmp_path):
    """Under no difference p_randomisation is below 0.1 in about a tenth of the cases."""
    draw = np.random.default_rng(3)
    values = {(f"m{place}", "0"): draw.normal(size=25) for place in range(60)} | {("base", "0"): np.zeros(25)}
    file = segment_csv(tmp_path / "s.csv", values)
    table = rows_of([file], ["base"], 400, direction="en-de", baseline="base")
    assert 0.01 <= (table["p_randomisation"] < 0.1).mean() <= 0.22


# ---------------------------------------------------------------- the command, and what it refuses


def test_the_command_line(tmp_path):
    references = sentences(40, 0)
    files = [write_segments(tmp_path, "full", damaged(references, 0.1, 1), references)]
    files.append(write_segments(tmp_path, "zero-shot", damaged(references, 0.9, 2), references, variant="best-prompt"))
    flags = ["--baselines", "zero-shot/best-prompt", "--resamples", "300", "--out", str(tmp_path / "out.csv")]
    main(["significance", "--segments", *map(str, files), *flags])
    table = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert tuple(table.columns) == significance.COLUMNS
    row = table[(table["baseline"] == "zero-shot/best-prompt") & (table["metric"] == "bleu")].iloc[0]
    assert float(row["p_holm"]) == pytest.approx(1 / 301, abs=1e-6)
    assert "|bs:300|ar:300|rs:12345|ci:95" in row["signature"]
    assert table["signature"].str.len().gt(0).all()
    again = (tmp_path / "out.csv").read_bytes()
    main(["significance", "--segments", *map(str, reversed(files)), *flags])
    assert (tmp_path / "out.csv").read_bytes() == again  # the order of the files changes nothing


def test_without_baselines_there_are_intervals_and_spreads(tmp_path):
    file = segment_csv(tmp_path / "s.csv", {("a", "0"): [0.1, 0.5], ("a", "1"): [0.3, 0.9], ("b", "0"): [0.2, 0.2]})
    main(["significance", "--segments", str(file), "--baselines", "--out", str(tmp_path / "out.csv")])
    table = pd.read_csv(tmp_path / "out.csv").query("direction == 'en-de'").set_index("method")
    assert table["baseline"].isna().all()
    found = table.loc["a", ["score", "spread", "seeds"]].tolist()
    assert found == pytest.approx([0.45, 0.3 / math.sqrt(2), 2], abs=1e-6)
    assert (table.loc["b", "low"], table.loc["b", "high"]) == (0.2, 0.2)


def test_what_cannot_be_compared_is_refused(tmp_path):
    references = sentences(6, 0)
    one = write_segments(tmp_path, "a", references, references)
    with pytest.raises(UserError, match="--baselines full: no segment scores of it; there are a"):
        significance.compare(read_all([one]), ["full"], 10)
    with pytest.raises(UserError, match="give each file once"):
        read_all([one, one])
    with pytest.raises(UserError, match="other references"):
        read_all([one, write_segments(tmp_path, "b", references, [*references[:5], "was"])])
    with pytest.raises(UserError, match="5 lines, not 6"):
        read_all([one, write_segments(tmp_path, "c", references[:5], references[:5])])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": ["0.5", "nan"]}, "line 3"),
        ({"score": ["0.5", "high"]}, "line 3: score .high. is not a number"),
        ({"line": ["0", "2"]}, "are not 0 to 1"),
        ({"metric": None}, "no column metric"),
    ],
)
def test_bad_segment_files(tmp_path, change, message):
    rows = pd.read_csv(segment_csv(tmp_path / "s.csv", {("a", "0"): [0.5, 0.6]}), dtype=str)
    for name, values in change.items():
        rows = rows.drop(columns=name) if values is None else rows.assign(**{name: values})
    rows.to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(UserError, match=message) as caught:
        read_all([tmp_path / "s.csv"])
    assert "s.csv" in str(caught.value)
