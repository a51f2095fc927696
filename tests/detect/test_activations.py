"""Mean activations: equation 1's A on a 2-layer toy, against a plain forward pass written here."""

import numpy as np
import torch
import toys
from torch.nn.functional import linear

from lander.detect.activations import mean_activations
from lander.models import families
from lander.models.tokens import Codec


def by_hand(model, sequence: list[int]) -> np.ndarray:
    """h of every layer and token, from the inputs of the FFN: (n_layer, tokens, p)."""
    inputs, hooks = [], []
    for layer in families.layers_of(model):
        hooks.append(layer.mlp.register_forward_pre_hook(lambda _m, args: inputs.append(args[0])))
    model(torch.tensor([sequence]))
    for hook in hooks:
        hook.remove()
    h = []
    for layer, x in zip(families.layers_of(model), inputs, strict=True):
        pre = linear(x, layer.mlp.dense_h_to_4h.weight, layer.mlp.dense_h_to_4h.bias)
        h.append(layer.mlp.gelu_impl(pre)[0])
    return torch.stack(h).double().numpy()


def test_means_equal_a_forward_pass_by_hand_whatever_the_padding():
    model, codec = toys.bloom(), Codec(toys.bloom_tokenizer())
    sequences = [[5, 6, 7, 8], [9], [10, 11]]
    later = [by_hand(model, sequence)[:, 1:] for sequence in sequences]  # the first token of a text does not count
    expected = np.concatenate(later, axis=1).mean(axis=1)
    for size in (1, 2, 3):
        parts = [sequences[i : i + size] for i in range(0, 3, size)]
        means, tokens = mean_activations(model, (codec.pad_right(part, [0] * len(part)) for part in parts))
        assert tokens == 4
        np.testing.assert_allclose(means, expected, atol=1e-6)
    assert not any(ffn._forward_pre_hooks for ffn in (families.ffn_of(model, 0).down, families.ffn_of(model, 1).down))
