"""Awareness: equation 4 against finite differences and against zeroing a neuron, on a 2-layer toy."""

import numpy as np
import pytest
import torch
import toys

from lander import families
from lander.awareness import batches, summed_loss, taylor_scores
from lander.codec import Codec

SEQUENCE = [5, 9, 13, 7, 2]


@pytest.fixture(scope="module")
def model():
    return toys.bloom().double()


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(toys.bloom_tokenizer())


def loss_with(model, codec, layer: int, neuron: int, token: int, change) -> float:
    """The summed loss when one activation of one token is changed."""

    def edit(_module, inputs):
        h = inputs[0].clone()
        h[0, token, neuron] = change(h[0, token, neuron])
        return (h,)

    hook = families.ffn_of(model, layer).down.register_forward_pre_hook(edit)
    try:
        return summed_loss(model, codec.pad_right([SEQUENCE], [0])).item()
    finally:
        hook.remove()


@pytest.mark.parametrize(("layer", "neuron"), [(0, 0), (0, 17), (1, 3), (1, 63)])
def test_score_equals_finite_differences(model, codec, layer, neuron):
    scores, tokens = taylor_scores(model, iter([codec.pad_right([SEQUENCE], [0])]))
    assert tokens == len(SEQUENCE) - 1
    step, total = 1e-2, 0.0  # not smaller: BLOOM's softmax is in float32, whatever its weights
    for token in range(len(SEQUENCE)):
        up = loss_with(model, codec, layer, neuron, token, lambda h: h * (1 + step))
        down = loss_with(model, codec, layer, neuron, token, lambda h: h * (1 - step))
        total += abs(up - down) / (2 * step)  # |dL/dh * h|
    assert scores[layer, neuron] == pytest.approx(total / tokens, rel=5e-3)


def test_score_is_the_change_of_loss_when_a_neuron_is_zeroed_to_first_order(model, codec):
    """Exact in the limit of small activations: shrink the neuron, and the error shrinks with its square."""
    errors = []
    for size in (1e-2, 1e-3):
        small = toys.bloom().double()
        ffn = families.ffn_of(small, 1)
        ffn.down.weight[:, 5] *= size
        scores, tokens = taylor_scores(small, iter([codec.pad_right([SEQUENCE[:2]], [0])]))
        base = summed_loss(small, codec.pad_right([SEQUENCE[:2]], [0])).item()
        hook = ffn.down.register_forward_pre_hook(lambda _m, x: (x[0].index_fill(-1, torch.tensor([5]), 0.0),))
        zeroed = summed_loss(small, codec.pad_right([SEQUENCE[:2]], [0])).item()
        hook.remove()
        assert tokens == 1
        assert scores[1, 5] == pytest.approx(abs(zeroed - base), rel=20 * size)
        errors.append(abs(scores[1, 5] - abs(zeroed - base)))
    assert errors[1] < errors[0] / 30


def test_padding_and_batching_change_nothing(model, codec):
    sequences = [SEQUENCE, [6, 2], [8, 9, 2]]
    alone = [taylor_scores(model, iter([codec.pad_right([s], [0])])) for s in sequences]
    together, tokens = taylor_scores(model, iter([codec.pad_right(sequences, [0] * 3)]))
    assert tokens == 4 + 1 + 2
    expected = sum(scores * n for scores, n in alone) / tokens
    np.testing.assert_allclose(together, expected, rtol=1e-6)


def test_no_gradient_is_kept_and_no_parameter_has_one(model, codec):
    taylor_scores(model, iter([codec.pad_right([SEQUENCE], [0])]))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_sentences_are_read_as_in_pretraining(codec):
    (batch,) = batches(["bb", "a"], codec, 8)
    assert [codec.tokenizer.decode(row) for row in batch.input_ids] == ["a</s><pad>", "bb</s>"]
    assert batch.predicted == 1 + 2
