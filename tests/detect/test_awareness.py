"""Awareness: the estimators against finite differences, loops by hand and zeroing a neuron, on 2-layer toys."""

import gc
import re
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import toys
from made import write_table
from torch.nn.functional import cross_entropy

from lander.data import cldr
from lander.data.templates import load_templates
from lander.detect import awareness, estimators
from lander.detect.estimators import ablate, predicting, random_scores, sum_scores, summed_loss
from lander.detect.samples import batches, monolingual, translations
from lander.detect.standalone import read_texts
from lander.models import families, loading
from lander.models.tokens import Batch, Codec
from lander.shared import progress, tables
from lander.shared.errors import UserError

SEQUENCE = [5, 9, 13, 7, 2]
CODEC = Codec(toys.bloom_tokenizer())


@pytest.fixture(scope="module")
def toy():
    return toys.bloom().double()


def scores(network, *sequences: list[int], prompts: list[int] | None = None, **options):
    """Scores (n_layer, p) of one batch, and the number of tokens."""
    batch = CODEC.pad_right(list(sequences), prompts or [0] * len(sequences))
    sums = sum_scores(network, iter([batch]), **options)
    return sums.scores(), sums.tokens


def loss_with(toy, layer: int, neuron: int, token: int, change) -> float:
    """The summed loss when one activation of one token is changed."""

    def edit(_module, inputs):
        h = inputs[0].clone()
        h[0, token, neuron] = change(h[0, token, neuron])
        return (h,)

    hook = families.ffn_of(toy, layer).down.register_forward_pre_hook(edit)
    try:
        return summed_loss(toy, CODEC.pad_right([SEQUENCE], [0])).item()
    finally:
        hook.remove()


@pytest.mark.parametrize(("layer", "neuron"), [(0, 0), (0, 17), (1, 3), (1, 63)])
def test_score_equals_finite_differences(toy, layer, neuron):
    phi, tokens = scores(toy, SEQUENCE)
    assert tokens == len(SEQUENCE) - 1
    step, total = 1e-2, 0.0  # not smaller: BLOOM's softmax is in float32, whatever its weights
    for token in range(len(SEQUENCE)):
        up = loss_with(toy, layer, neuron, token, lambda h: h * (1 + step))
        down = loss_with(toy, layer, neuron, token, lambda h: h * (1 - step))
        total += abs(up - down) / (2 * step)  # |dL/dh * h|
    assert phi[layer, neuron] == pytest.approx(total / tokens, rel=5e-3)


def test_score_is_the_change_of_loss_when_a_neuron_is_zeroed_to_first_order(toy):
    """Exact in the limit of small activations: shrink the neuron, and the error shrinks with its square."""
    errors = []
    for size in (1e-2, 1e-3):
        small = toys.bloom().double()
        ffn = families.ffn_of(small, 1)
        ffn.down.weight[:, 5] *= size
        phi, tokens = scores(small, SEQUENCE[:2])
        base = summed_loss(small, CODEC.pad_right([SEQUENCE[:2]], [0])).item()
        hook = ffn.down.register_forward_pre_hook(lambda _m, x: (x[0].index_fill(-1, torch.tensor([5]), 0.0),))
        zeroed = summed_loss(small, CODEC.pad_right([SEQUENCE[:2]], [0])).item()
        hook.remove()
        assert tokens == 1
        assert phi[1, 5] == pytest.approx(abs(zeroed - base), rel=20 * size)
        errors.append(abs(phi[1, 5] - abs(zeroed - base)))
    assert errors[1] < errors[0] / 30


def test_padding_and_batching_change_nothing(toy):
    sequences = [SEQUENCE, [6, 2], [8, 9, 2]]
    alone = [scores(toy, s) for s in sequences]
    together, tokens = scores(toy, *sequences)
    assert tokens == 4 + 1 + 2
    expected = sum(phi * n for phi, n in alone) / tokens
    np.testing.assert_allclose(together, expected, rtol=1e-6)
    assert all(parameter.grad is None for parameter in toy.parameters())


@pytest.mark.parametrize("site", ["post", "pre"])
def test_a_batch_is_given_back_before_the_next_is_read(site, toy):
    seen, left = [], []  # activations; how many there were whenever another batch was asked for

    def read():
        for _ in range(3):
            left.append(sum(one() is not None for one in seen))
            yield CODEC.pad_right([SEQUENCE], [0])

    hooks = [families.ffn_of(toy, layer).at_site(site, lambda h: seen.append(weakref.ref(h))) for layer in range(2)]
    gc.disable()  # it would find a cycle some day, after many batches: a cycle has few objects and much memory
    try:
        sum_scores(toy, read(), site=site)
    finally:
        gc.enable()
        for hook in hooks:
            hook.remove()
    assert len(seen) == 6
    assert left == [0, 0, 0]


def test_sentences_are_read_as_in_pretraining():
    (batch,) = batches(monolingual(["bb", "a"], CODEC), CODEC, 8)
    assert [CODEC.tokenizer.decode(row) for row in batch.input_ids] == ["bb</s>", "a</s><pad>"]
    assert batch.predicted == 2 + 1


def test_translations_have_a_loss_on_the_target_only():
    pairs = pd.DataFrame({"source": ["Hi"], "target": ["Ab"], "template": [3]})
    templates, names = load_templates(), ("English", "German")
    (batch,) = batches(translations(pairs, CODEC, templates, names), CODEC, 8)
    prompt = templates[3].fill("Hi", *names)
    assert CODEC.tokenizer.decode(batch.input_ids[0]) == prompt + "Ab</s>"
    assert CODEC.tokenizer.decode(batch.labels[0, -3:]) == "Ab</s>"
    assert batch.predicted == 3
    assert predicting(batch).nonzero()[:, 1].tolist() == [len(batch.input_ids[0]) - n for n in (4, 3, 2)]
    (alone,) = translations(pairs, CODEC, templates, names, reference=False)
    assert CODEC.tokenizer.decode(alone.tokens) == prompt


def products(network, batch: Batch, layer: int, neuron: int, site: str) -> tuple[list[float], list[float]]:
    """(g h, h) of one neuron at every token of a single sequence, through the logits alone."""
    kept, ffn = [], families.ffn_of(network, layer)
    where = {"post": ffn.down, "pre": ffn.up if ffn.gate is None else ffn.gate}[site]
    if site == "post":
        hook = where.register_forward_pre_hook(lambda _m, x: kept.append(x[0].requires_grad_(True)) or (kept[0],))
    else:
        hook = where.register_forward_hook(lambda _m, _x, y: kept.append(y.requires_grad_(True)) or kept[0])
    logits = network(batch.input_ids, attention_mask=batch.attention_mask).logits
    hook.remove()
    loss = cross_entropy(logits[0, :-1], batch.labels[0, 1:], reduction="sum")
    (gradient,) = torch.autograd.grad(loss, kept[0])
    h = kept[0][0, :, neuron].detach()
    return (gradient[0, :, neuron] * h).tolist(), h.tolist()


@pytest.mark.parametrize("family", ["bloom", "llama", "gpt_neox"])
@pytest.mark.parametrize("site", ["post", "pre"])
def test_estimators_by_hand(family, site):
    network = toys.FAMILIES[family]()
    text = {"prompts": [2, 0], "site": site}  # a prompt of two tokens; padding
    names = (*estimators.GRADIENT, *estimators.READING)
    found = {name: scores(network, SEQUENCE, [6, 2], estimator=name, **text) for name in names}
    for layer, neuron in ((0, 3), (2, 11)):
        gh, h, lit = [], [], []
        for sequence, skip in ((SEQUENCE, 2), ([6, 2], 0)):
            single = CODEC.pad_right([sequence], [skip])
            gh += products(network, single, layer, neuron, site)[0]
            read = slice(max(skip - 1, 0), len(sequence) - 1)  # the tokens that predict one
            h += products(network, single, layer, neuron, site)[1][read]
            lit += products(network, single, layer, neuron, "pre")[1][read]
        assert len(h) == 3 + 1
        expected = {
            "taylor": sum(map(abs, gh)) / 4,
            "taylor_squared": sum(value**2 for value in gh) / 4,
            "summed": abs(sum(gh)) / 4,
            "activation": sum(map(abs, h)) / 4,
            "probability": sum(value > 0 for value in lit) / 4,  # gelu and silu keep the sign
        }
        for name, value in expected.items():
            assert found[name][1] == 4
            assert found[name][0][layer, neuron] == pytest.approx(value, rel=1e-3, abs=1e-6), name


def test_parts_add_up_and_are_each_a_text_of_its_own():
    toy = toys.bloom(vocabulary=300)
    sentences = ["abcd", "e", "fg", "hij", "k"]
    samples = sorted(monolingual(sentences, CODEC, 3), key=len)
    parts = [sample.part for sample in samples]
    sums = sum_scores(toy, batches(samples, CODEC, 2), "summed", parts=parts)
    assert sums.part_rows.tolist() == [2, 2, 1]
    np.testing.assert_allclose(sums.by_part.sum(0), sums.total, rtol=1e-4, atol=1e-5)
    alone, tokens = scores(toy, *map(CODEC.sentence, ["fg", "hij"]), estimator="summed")
    assert tokens == sums.part_tokens[1] == 2 + 3
    np.testing.assert_allclose(abs(sums.by_part[1]) / tokens, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_ablation_by_hand(family):
    """Against a whole forward pass with the neuron's column of the output projection set to zero."""
    network = toys.FAMILIES[family]()
    sequences, prompts = [SEQUENCE, [8, 9, 2]], [2, 0]
    batch = CODEC.pad_right(sequences, prompts)

    def losses() -> torch.Tensor:
        logits = network(batch.input_ids, attention_mask=batch.attention_mask).logits[:, :-1]
        return cross_entropy(logits.transpose(1, 2), batch.labels[:, 1:], ignore_index=-100, reduction="none")

    chosen = [np.array([2, 7]), np.array([], dtype=int), np.array([5])]
    absolute, signed = ablate(network, iter([batch]), chosen, parts=[0, 1])
    before = losses()
    for layer, neuron in ((0, 2), (0, 7), (2, 5)):
        column = families.ffn_of(network, layer).down.weight[:, neuron]
        kept = column.clone()
        column.zero_()
        change = losses() - before
        column.copy_(kept)
        assert absolute.scores()[layer, neuron] == pytest.approx(change.abs().sum().item() / 5, rel=1e-3)
        assert signed.total[layer, neuron].item() == pytest.approx(change.sum().item(), rel=1e-2, abs=5e-5)
        assert absolute.by_part[1, layer, neuron].item() == pytest.approx(
            change[1].abs().sum().item(), rel=1e-3, abs=1e-5
        )
    assert absolute.total[1].abs().sum() == 0
    torch.testing.assert_close(losses(), before, rtol=0, atol=0)


@pytest.mark.parametrize("family", ["bloom", "llama"])
def test_zeroing_the_input_of_a_nonlinearity_zeroes_the_neuron(family):
    """act(0) = 0 for gelu and silu, so the site does not matter to ablation."""
    network, batch = toys.FAMILIES[family](), CODEC.pad_right([SEQUENCE], [0])
    neurons = [np.arange(4)] * 3
    post, pre = (ablate(network, iter([batch]), neurons, site)[0].scores() for site in ("post", "pre"))
    assert post[:, :4].min() > 0
    np.testing.assert_allclose(pre, post, rtol=1e-4, atol=1e-6)


def test_ablation_in_several_goes(monkeypatch, toy):
    batch, neurons = CODEC.pad_right([SEQUENCE], [0]), [np.arange(7), np.arange(3)]
    at_once, _ = ablate(toy, iter([batch]), neurons)
    monkeypatch.setattr(estimators, "TOKENS_AT_ONCE", 10)
    torch.testing.assert_close(ablate(toy, iter([batch]), neurons)[0].total, at_once.total)


def test_ablation_says_how_far_it_is(monkeypatch, capsys, toy):
    """Two batches of 5 and 3 tokens, 7 neurons below two layers and 4 below one: steps of 70, 20, 42 and 12 of 144."""
    monkeypatch.setattr(progress, "EVERY", 0.0)
    read = iter([CODEC.pad_right([SEQUENCE], [0]), CODEC.pad_right([SEQUENCE[:3]], [0])])
    ablate(toy, read, [np.arange(7), np.arange(4)], name="de")
    shares = re.findall(r"^de: (\d+)%, .* left$", capsys.readouterr().err, re.MULTILINE)
    assert shares == ["0", "49", "62", "92", "100"]


def test_taylor_scores_rank_neurons_as_exact_ablation_does():
    """The claim of the approximation, on the built-in base: per layer and language, rank correlation."""
    network, codec = loading.load("lander-tiny", dtype="float32")
    neurons = estimators.choose(families.shape_of(network), 40, seed=0)
    text, tokens, total = cldr.lines(("en", "zh"), 0, 4), [], []
    for sentences in text.values():
        samples = monolingual(sentences, codec)
        absolute, signed = ablate(network, batches(samples, codec, 8), neurons)
        taylor = sum_scores(network, batches(samples, codec, 8)).scores()
        for layer, chosen in enumerate(neurons):
            rows = [taylor[layer, chosen], absolute.scores()[layer, chosen], signed.scores()[layer, chosen]]
            ranks = np.argsort(np.argsort(rows))
            tokens.append(np.corrcoef(ranks[0], ranks[1])[0, 1])
            total.append(np.corrcoef(ranks[0], ranks[2])[0, 1])
    print(f"median of tokens {np.median(tokens):.3f}, of the sum {np.median(total):.3f}")
    assert np.median(tokens) >= 0.95
    assert np.median(total) < np.median(tokens)  # a sum lets tokens cancel, the score does not


@pytest.mark.parametrize(
    ("en", "de", "most", "expected", "said"),
    [
        ("a\n\nc\nd\n", "A\nB\n \nD", None, [["a", "d"], ["A", "D"]], "2 of 4 lines are left out of all files"),
        ("a\n\nc\nd\n", "A\nB\n \nD", 1, [["a"], ["A"]], ""),
        ("a\nb\n", "A\nB\n\n\n", None, [["a", "b"], ["A", "B"]], ""),
        ("a\n\nc\n", "A\nB\n", None, [["a", "c"], ["A", "B"]], "warning: de.txt ends with line 2, others do not"),
        ("a\n\nc\nd\ne\n", "A\n", 3, [["a", "c", "d"], ["A"]], "warning: de.txt ends with line 1"),
    ],
)
def test_texts_stay_in_step(en, de, most, expected, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("en.txt").write_text(en)
    Path("de.txt").write_text(de)
    assert list(read_texts({"en": Path("en.txt"), "de": Path("de.txt")}, most).values()) == expected
    told = capsys.readouterr().err
    assert said in told
    assert bool(said) == bool(told)


def test_texts_without_a_line_in_common(tmp_path):
    (tmp_path / "en").write_text("a\n\n")
    (tmp_path / "de").write_text("\nB\n")
    with pytest.raises(UserError, match="no line has text in all files"):
        read_texts({"en": tmp_path / "en", "de": tmp_path / "de"})


MODEL = ("--model", "lander-tiny")


def test_the_stage_writes_one_schema_whatever_the_estimator(command, tmp_path):
    write_table(tmp_path / "text", "text", {"text": cldr.lines(("de",), 0, 4)["de"]})
    flags = [*MODEL, "--text", tmp_path / "text", "--language", "de", "--out", tmp_path / "out"]
    for estimator, rows in {"taylor": 3072, "probability": 3072, "random": 3072, "ablation": 12}.items():
        extra = ["--neurons", "2", "--sentences", "1"] if estimator == "ablation" else []
        command(awareness, *flags, "--estimator", estimator, *extra)
        table = tables.read(tmp_path / "out", "awareness")
        assert len(table) == rows
        assert table.groupby("layer").size().tolist() == [rows // 6] * 6
    assert not np.array_equal(random_scores((1, 9), 0, "de"), random_scores((1, 9), 0, "en"))


def test_the_stage_reads_translations_of_several_directions(command, tmp_path):
    text = cldr.lines(("en", "de"), 0, 4)
    for one, other in (("en", "de"), ("de", "en")):
        pairs = {"source": text[one], "target": text[other], "template": 0}
        write_table(tmp_path / f"{one}-{other}", "train", pairs)
    data = [f"{name}:{tmp_path / name}" for name in ("en-de", "de-en")]
    flags = [*MODEL, "--languages", '{"en": "English", "de": "German"}', "--sentences", 3]
    parts = ["--parts", 3, "--parts-out", tmp_path / "parts"]
    command(awareness, "--data", *data, *flags, *parts, "--out", tmp_path / "both")
    command(awareness, "--data", data[0], *flags, "--out", tmp_path / "one")
    command(awareness, "--data", data[1], *flags, "--out", tmp_path / "other")
    both, one, other = (tables.read(tmp_path / name, "awareness") for name in ("both", "one", "other"))
    assert both["tokens"][0] == one["tokens"][0] + other["tokens"][0]
    together = (one["score"] * one["tokens"] + other["score"] * other["tokens"]) / both["tokens"]
    np.testing.assert_allclose(both["score"], together, rtol=1e-4)
    parts = tables.read(tmp_path / "parts", "awareness_parts")
    assert parts.groupby("part")["sentences"].first().tolist() == [2, 2, 2]
    with pytest.raises(SystemExit):
        command(awareness, *MODEL, "--data", *data, "--out", "x")
