"""Every supported family: neurons through the description are the model's own, blocks are the FFN, export is exact."""

import pytest
import torch
import toys

from lander import families
from lander.errors import UserError
from lander.finetune import blocks


@pytest.fixture(params=toys.FAMILIES)
def model(request):
    return toys.FAMILIES[request.param]()


def test_zeroing_a_neuron_through_the_description_equals_zeroing_its_column_by_hand(model):
    """h_i is the i-th input of the output projection, gated or not."""
    ffn = families.ffn_of(model, 1)
    hook = ffn.down.register_forward_pre_hook(lambda _m, x: (x[0].index_fill(-1, torch.tensor([3]), 0.0),))
    through = model(toys.ids()).logits
    hook.remove()
    untouched = model(toys.ids()).logits
    ffn.down.weight[:, 3] = 0
    torch.testing.assert_close(model(toys.ids()).logits, through, rtol=0, atol=1e-5)
    assert not torch.allclose(untouched, through, atol=1e-3)


def test_neuron_activation_is_what_the_description_says(model):
    ffn, seen = families.ffn_of(model, 0), {}
    ffn.module.register_forward_pre_hook(lambda _m, x: seen.update(x=x[0]))
    ffn.down.register_forward_pre_hook(lambda _m, x: seen.update(h=x[0]))
    model(toys.ids())
    h = ffn.act(ffn.up(seen["x"])) if ffn.gate is None else ffn.act(ffn.gate(seen["x"])) * ffn.up(seen["x"])
    torch.testing.assert_close(seen["h"], h)


def test_blocks_are_the_dense_ffn_without_a_direction(model):
    before = model(toys.ids()).logits
    n_neurons = families.ffn_of(model, 0).n_neurons
    blocks.install(model, toys.masks([0, 2], n_neurons), blocks.Router(), blocks.Routing())
    torch.testing.assert_close(model(toys.ids()).logits, before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("where", ["input", "output"])
@pytest.mark.parametrize("direction", ["en-de", "en-fr", None])
def test_folded_equals_routed(model, request, where, direction):
    router = blocks.Router()
    n_neurons = families.ffn_of(model, 0).n_neurons
    ffns = blocks.install(model, toys.masks([0, 2], n_neurons), router, blocks.Routing(where))
    with torch.no_grad():
        for ffn in ffns.values():
            for gate in ffn.gates.values():
                gate.shift.fill_(0.05)
    plain = toys.FAMILIES[request.node.callspec.params["model"]]()
    router.direction = direction
    blocks.fold(model, ffns, plain)
    torch.testing.assert_close(plain(toys.ids()).logits, model(toys.ids()).logits, rtol=1e-5, atol=1e-5)


def test_an_unknown_family_names_the_known_ones():
    model = toys.bloom()
    model.config.model_type = "mamba"
    with pytest.raises(UserError, match=r"'mamba' are not supported .*bloom.*llama.*families\.py"):
        families.ffn_of(model, 0)
