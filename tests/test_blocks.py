"""Compact blocks: how masks become blocks, and what a direction runs."""

import numpy as np
import pytest
import torch
import toys
from torch.nn.functional import linear

from lander import families
from lander.errors import UserError
from lander.finetune.blocks import Router, Routing, install
from lander.finetune.methods import prepare
from lander.finetune.partition import partition
from lander.languages import Direction

P = 64  # neurons per layer of the toy


def test_partition_by_role_and_owner():
    groups = partition(toys.masks([1], P), 1, P)
    assert [group.owner for group in groups] == [None, "en", "de", "fr", "it"]
    assert sorted(np.concatenate([group.neurons for group in groups])) == list(range(P))
    general, en, de, fr, it = groups
    assert set(general.routes) == {"en-de", "de-en", "en-fr"}
    assert en.routes["en-de"] == ("source", 0.2)
    assert de.trained_in == {"en-de", "de-en"}
    assert set(fr.routes) == {"en-fr"}
    assert not it.routes  # a contrast language: in no direction
    assert not it.trained_in


def test_a_mask_of_another_model_is_refused():
    with pytest.raises(UserError, match="en-de, layer 1: 64 rows, but the layer has 65 neurons"):
        partition(toys.masks([1], P), 1, 65)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mask: mask.assign(role="generall"), "en-de, layer 1: role 'generall'"),
        (
            lambda mask: mask.assign(role=["base"] + ["absent"] * 63),
            "en-de, layer 1: role base for some",
        ),
        (lambda mask: mask.assign(role="base", trained=True), "en-de, layer 1: role base for .* or trained"),
        (lambda mask: mask.assign(layer=0), "en-de: layer 1 is missing, though other directions have it"),
    ],
)
def test_masks_that_make_no_sense_are_refused(change, message):
    masks = toys.masks([1], P)
    masks["en-de"] = change(masks["en-de"])
    with pytest.raises(UserError, match=message):
        partition(masks, 1, P)


def test_a_neuron_that_runs_untrained_in_one_direction_only_is_refused():
    masks = toys.masks([1], P)
    masks["en-de"]["trained"] = False
    with pytest.raises(UserError, match="train it wherever it takes part, or nowhere"):
        partition(masks, 1, P)


@pytest.mark.parametrize("where", ["input", "output"])
def test_routed_output_equals_equations_7_to_9_by_hand(where):
    model, router = toys.bloom(), Router("en-de")
    ffn, mask = families.ffn_of(model, 1), toys.masks([1], P)["en-de"]
    scale = torch.tensor(mask["scale"].to_numpy(), dtype=torch.float32)
    x, residual = torch.randn(2, 3, 16), torch.randn(2, 3, 16)
    pre = linear(x, ffn.up.weight)  # (2, 3, P)
    inside = pre * scale if where == "input" else pre
    h = ffn.act(inside + ffn.up.bias) * ((scale > 0) if where == "input" else scale)
    expected = residual + linear(h, ffn.down.weight) + ffn.down.bias
    routed = install(model, toys.masks([1], P), router, Routing(where))[1]
    torch.testing.assert_close(routed(x, residual), expected, rtol=1e-5, atol=1e-5)


def test_gate_moves_weight_from_the_specific_group_to_the_general_one():
    router = Router("en-de")
    routed = install(toys.bloom(), toys.masks([1], P), router, Routing())[1]
    routed.gates["en-de"].shift.data.fill_(0.1)
    scales = routed.scales(routed.shifts())
    assert [None if scale is None else round(scale.item(), 6) for scale in scales] == [0.9, 0.1, 0.1, None, None]
    router.direction = "de-en"  # its own gate has not moved
    assert [None if s is None else round(s.item(), 6) for s in routed.scales(routed.shifts())][:2] == [0.8, 0.2]


def test_an_untrained_direction_runs_the_neurons_of_its_languages():
    router = Router("de-fr")
    routed = install(toys.bloom(), toys.masks([1], P), router, Routing())[1]
    assert routed.scales({}) == [1.0] * 5  # unknown yet: the base's graph
    routed.add_direction(Direction("de", "fr"))
    assert routed.scales({}) == pytest.approx([0.8, None, 0.2, 0.2, None])
    with pytest.raises(UserError, match="de-zh: the model knows de, en, fr, it, not zh"):
        routed.add_direction(Direction("de", "zh"))


def test_training_runs_every_trained_block_and_gives_idle_ones_exact_zeros():
    model = toys.bloom(3)
    prepared = prepare("landermt", model, masks=toys.masks([1], P), scope="ffn")
    prepared.router.direction = "en-de"
    model.train()(toys.ids()).logits.square().mean().backward()
    by_name = {group.name: group for group in prepared.groups}
    assert all(p.grad.abs().sum() == 0 for p in by_name["blocks of en-fr"].parameters.values())
    assert all(p.grad.abs().sum() > 0 for p in by_name["blocks of de-en, en-de"].parameters.values())
    contrast = families.layers_of(model)[1].mlp.blocks[4]
    assert not contrast.down.weight.requires_grad


def test_scope_decides_about_attention_and_norms():
    def shared(scope: str) -> set[str]:
        groups = prepare("landermt", toys.bloom(3), masks=toys.masks([1], P), scope=scope).groups
        return {name.removeprefix("transformer.h.1.") for name in groups[0].parameters}

    assert shared("ffn") == {"mlp.bias"}
    assert {"self_attention.query_key_value.weight", "input_layernorm.bias", "mlp.bias"} < shared("layer")


def test_blocks_of_one_neuron_and_of_all():
    masks = toys.masks([1], P)
    for mask in masks.values():
        mask["owner"], mask["role"], mask["scale"] = None, "general", 1.0
        mask.loc[0, ["owner", "role", "trained"]] = ["xx", "absent", False]
        mask["trained"] = mask["role"] == "general"
    groups = partition(masks, 1, P)
    assert [len(group.neurons) for group in groups] == [1, P - 1]
