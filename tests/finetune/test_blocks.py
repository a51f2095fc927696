"""Compact blocks: how masks become blocks, and what a direction runs."""

import numpy as np
import pandas as pd
import pytest
import torch
import toys
from torch.nn.functional import linear

from lander.config.masks import Routing
from lander.finetune.blocks import BlockFFN, fold, install, partition
from lander.finetune.engine import BlockAdamW
from lander.finetune.methods import prepare
from lander.finetune.switch import Router, switches
from lander.finetune.trainer import TranslationLoss
from lander.models import families
from lander.models.tokens import Codec
from lander.shared.errors import UserError
from lander.shared.languages import Direction

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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mask: mask.iloc[1:], "en-de, layer 1: 63 rows, but the layer has 64 neurons"),
        (lambda mask: mask.assign(role="generall"), "en-de, layer 1: role 'generall'"),
        (lambda mask: mask.assign(role=["base"] + ["general"] * 63), "en-de, layer 1: role base, but trained"),
        (lambda mask: mask.assign(layer=0), "en-de, layer 1: missing, though other directions have it"),
        (lambda mask: mask.assign(trained=False), "train it wherever it takes part, or nowhere"),
    ],
)
def test_masks_that_make_no_sense_are_refused(change, message):
    masks = toys.masks([1], P)
    masks["en-de"] = change(masks["en-de"])
    with pytest.raises(UserError, match=message):
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
    routed = install(model, toys.masks([1], P), router, Routing(scale=where))[1]
    torch.testing.assert_close(routed(x, residual), expected, rtol=1e-5, atol=1e-5)


def test_gate_moves_weight_from_the_specific_group_to_the_general_one():
    router = Router("en-de")
    routed = install(toys.bloom(), toys.masks([1], P), router, Routing())[1].eval()
    routed.gates["en-de"].shift.data.fill_(0.1)
    assert routed.scales(routed.shifts(), routed.router.direction) == pytest.approx([0.9, 0.1, 0.1, None, None])
    router.direction = "de-en"  # its own gate has not moved
    assert routed.scales(routed.shifts(), routed.router.direction) == pytest.approx([0.8, 0.2, 0.2, None, None])


def others_as_the_base():
    """The toy's masks, in which a direction runs what it would leave out as the base has it, all at scale 1."""
    masks = toys.masks([1], P)
    for mask in masks.values():
        mask.loc[mask["role"] == "absent", "role"] = "base"
        mask["scale"] = 1.0
    return masks


@pytest.mark.parametrize("gate", ["off", "learned"])
def test_neurons_of_others_run_as_the_base_has_them_no_matter_who_trains_them(gate):
    model = toys.bloom().double()
    expected = model(toys.ids()).logits
    prepared = prepare("landermt", model, masks=others_as_the_base(), routing=Routing(gate=gate), scope="ffn")
    router, network = prepared.router, prepared.network.eval()
    for direction in (None, "en-de", "de-en", "en-fr", "fr-de"):
        router.direction = direction
        torch.testing.assert_close(network(toys.ids()).logits, expected, rtol=0, atol=1e-12)
    (routed,) = (part for part in network.modules() if isinstance(part, BlockFFN))
    kinds = [(group.owner, group.copy, set(group.routes)) for group in routed.groups]
    assert kinds == [
        (None, False, {"en-de", "de-en", "en-fr"}),
        ("en", False, {"en-de", "de-en", "en-fr"}),
        ("de", False, {"en-de", "de-en"}),
        ("de", True, {"en-fr"}),
        ("fr", False, {"en-fr"}),
        ("fr", True, {"en-de", "de-en"}),
        ("it", False, {"en-de", "de-en", "en-fr"}),  # nobody trains it: one block is enough
    ]
    before = {}
    for direction in ("en-de", "de-en"):
        router.direction = direction
        before[direction] = network(toys.ids()).logits
    for parameter in routed.blocks[4].parameters():  # French is trained
        parameter.data.normal_()
    for direction, logits in before.items():
        router.direction = direction
        assert torch.equal(network(toys.ids()).logits, logits)
        fold(network, plain := toys.bloom().double())
        torch.testing.assert_close(plain(toys.ids()).logits, logits, rtol=0, atol=1e-12)
    router.direction = "en-fr"
    assert not torch.allclose(network(toys.ids()).logits, expected, atol=1e-3)
    routed.add_direction(Direction("fr", "de"))
    router.direction = "fr-de"
    assert [scale is not None for scale in routed.scales({}, routed.router.direction)] == [
        True,
        False,
        True,
        False,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("training", [False, True])
def test_a_token_gate_starts_at_the_base(training):
    model = toys.bloom().double()
    expected = model(toys.ids()).logits
    routing = Routing(gate="token", start="identity", others="base")
    prepared = prepare("landermt", model, masks=others_as_the_base(), routing=routing)
    prepared.network.train(training)
    for rows in (["en-de"] * 3, ["en-fr", "en-de", "de-en"]):
        with prepared.router.mixed(rows):
            torch.testing.assert_close(prepared.network(toys.ids()).logits, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("gate", ["learned", "token"])
def test_a_mixed_batch_of_bfloat16_stays_bfloat16(gate):
    prepared = prepare("landermt", toys.bloom().bfloat16(), masks=toys.masks([0], P), routing=Routing(gate=gate))
    with prepared.router.mixed(["en-fr", "en-de", "de-en"]):
        assert prepared.network(toys.ids()).logits.dtype == torch.bfloat16


@pytest.mark.parametrize("where", ["input", "output"])
def test_a_token_gate_weighs_the_groups_token_by_token(where):
    router = Router("en-de")
    routed = install(toys.bloom(), toys.masks([1], P), router, Routing(gate="token", scale=where))[1].eval()
    x, gate = 3 * torch.randn(2, 3, 16), routed.gates["en-de"]
    gate.weight.data.normal_()
    g = linear(x, gate.weight, gate.bias).sigmoid()
    assert g.max() - g.min() > 0.9
    general, source, target = (routed.blocks[number] for number in range(3))
    with_bias = routed.bias.expand_as(x)
    factors = [(general, 0.8 * (2 - 2 * g)), (source, 0.2 * 2 * g), (target, 0.2 * 2 * g)]
    parts = [block(x * factor) if where == "input" else block(x) * factor for block, factor in factors]
    torch.testing.assert_close(routed(x), with_bias + sum(parts), rtol=1e-5, atol=1e-5)
    gate.weight.data.mul_(1e6)
    shift = routed.shifts(x)["en-de"]  # 1 - 2 g
    assert (shift.min(), shift.max(), shift.shape) == (-1, 1, (2, 3, 1))
    gate.weight.data.zero_()
    for training, progress, noisy in ((True, 0.0, False), (True, 0.5, True), (False, 0.5, False)):
        router.progress = progress
        assert bool(routed.train(training).shifts(x)["en-de"].any()) == noisy


@pytest.mark.parametrize("routing", [Routing(), Routing(gate="token"), Routing(gate="off", scale="input")])
def test_the_loss_of_mixed_directions_has_the_gradient_of_one_micro_batch_for_each(routing):
    """Of different numbers of rows and of predicted tokens: the mean of the means, not the mean over all tokens."""
    prepared = prepare("landermt", toys.bloom().double(), masks=toys.masks([1], P), routing=routing)
    rows, loss = ["en-de", "en-fr", "en-fr", "de-en", "de-en", "de-en"], TranslationLoss(prepared.network).train()
    codec, texts = Codec(toys.bloom_tokenizer()), [list(range(5, 9 + row)) for row in range(6)]

    def gradients(places: list[range]) -> tuple[list[float], dict[str, torch.Tensor]]:
        prepared.network.zero_grad()
        sequences = [texts[place] for part in places for place in part]
        with prepared.router.mixed([rows[place] for part in places for place in part]):
            found = loss(codec.pad_right(sequences, [2] * len(sequences)), [len(part) for part in places])
        found.mean().backward()
        return found.reshape(-1).tolist(), {name: p.grad.clone() for name, p in prepared.trained().items()}

    parts = [range(1), range(1, 3), range(3, 6)]
    losses, mixed = gradients(parts)
    alone = [gradients([part]) for part in parts]
    assert losses == pytest.approx([one for found, _ in alone for one in found], rel=1e-6)
    for name, gradient in mixed.items():
        expected = sum(one[name] for _, one in alone) / len(parts)
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-6 * expected.abs().max().item(), msg=name)


def test_an_untrained_direction_runs_the_neurons_of_its_languages():
    router = Router("de-fr")
    routed = install(toys.bloom(), toys.masks([1], P), router, Routing())[1]
    assert routed.scales({}, routed.router.direction) == [1.0] * 5  # unknown yet: the base's graph
    routed.add_direction(Direction("de", "fr"))
    assert routed.scales({}, routed.router.direction) == pytest.approx([0.8, None, 0.2, 0.2, None])
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


def test_the_scope_ffn_leaves_attention_and_norms_out():
    groups = prepare("landermt", toys.bloom(3), masks=toys.masks([1], P), scope="ffn").groups
    assert list(groups[0].parameters) == ["transformer.h.1.mlp.bias"]


def test_blocks_of_one_neuron_and_of_all():
    masks = toys.masks([1], P)
    for mask in masks.values():
        mask[["owner", "role", "trained", "scale"]] = [None, "general", True, 1.0]
        mask.loc[0, ["owner", "role", "trained"]] = ["xx", "absent", False]
    assert [len(group.neurons) for group in partition(masks, 1, P)] == [1, P - 1]


# ------------------------------------------------------------ layers that are chosen for some directions only


def base_rows(mask: pd.DataFrame, layer: int) -> pd.DataFrame:
    """The mask of a direction that has not chosen the layer."""
    here = mask["layer"] == layer
    untouched = mask[here].assign(role="base", owner=None, trained=False, scale=1.0)
    return pd.concat([mask[~here], untouched], ignore_index=True)


def masks_with_base(n_neurons: int) -> dict[str, pd.DataFrame]:
    """Layer 0 is chosen for en-de and de-en, layer 1 for en-de alone, layer 2 for no direction; en-fr has none."""
    masks = toys.masks([0, 1, 2], n_neurons)
    for direction, layers in {"en-de": [2], "de-en": [1, 2], "en-fr": [0, 1, 2]}.items():
        for layer in layers:
            masks[direction] = base_rows(masks[direction], layer)
    return masks


def general_only(masks: dict[str, pd.DataFrame], untrained: str) -> dict[str, pd.DataFrame]:
    """What `lander.detect.masks --train general` makes of masks."""
    changed = {}
    for name, mask in masks.items():
        trained = mask["role"] == "general"
        changed[name] = mask.assign(trained=trained)
        if untrained == "absent":
            changed[name] = changed[name].assign(role=np.where(trained, "general", "absent"), scale=trained * 1.0)
    return changed


def with_base(family: str, **options):
    """A prepared toy with `masks_with_base`."""
    model = toys.FAMILIES[family]()
    return prepare("landermt", model, masks=masks_with_base(families.ffn_of(model, 0).n_neurons), **options)


def loss_of(prepared, direction: str | None) -> torch.Tensor:
    prepared.router.direction = direction
    return prepared.network(toys.ids(), use_cache=False).logits.square().mean()


def train(prepared, windows: list[list[str]]) -> None:
    """Updates over windows of directions, in a single process."""
    groups = [{"params": list(group.parameters.values())} for group in prepared.groups]
    optimizer = BlockAdamW(groups, lr=0.01, weight_decay=0.1)
    prepared.network.train()
    for window in windows:
        for options, group in zip(optimizer.param_groups, prepared.groups, strict=True):
            options["idle"] = group.idle(set(window))
        for direction in window:
            loss_of(prepared, direction).backward()
        optimizer.step()
        optimizer.zero_grad()
    prepared.network.eval()


def logits(prepared, direction: str | None) -> torch.Tensor:
    prepared.router.direction = direction
    with torch.no_grad():
        return prepared.network(toys.ids()).logits


@pytest.mark.parametrize("scope", ["layer", "ffn"])
@pytest.mark.parametrize("family", ["bloom", "llama"])
def test_a_direction_that_chose_no_layer_stays_the_base_to_the_bit(family, scope):
    base = toys.FAMILIES[family]()(toys.ids()).logits
    prepared = with_base(family, scope=scope)
    assert torch.equal(logits(prepared, "en-fr"), base)
    before = {direction: logits(prepared, direction) for direction in ("en-de", "de-en", None)}
    torch.testing.assert_close(before[None], base)
    train(prepared, [["en-de", "en-fr"], ["de-en"], ["en-de", "de-en"]])
    assert torch.equal(logits(prepared, "en-fr"), base)
    assert all((logits(prepared, name) - old).abs().max() > 0.01 for name, old in before.items())
    prepared.network.train()
    torch.testing.assert_close(logits(prepared, "en-fr"), base)  # the idle parts add nothing


def test_a_window_of_other_directions_moves_nothing_of_a_layer():
    """Attention, norms and output bias too, though they are shared by those who chose the layer."""
    prepared = with_base("bloom")
    layers = families.layers_of(prepared.network)
    start = {name: value.clone() for name, value in prepared.network.named_parameters()}
    train(prepared, [["en-de"]])
    first = {name: value.clone() for name, value in prepared.network.named_parameters()}
    moved = {name.partition(".h.")[2] for name in first if not torch.equal(first[name], start[name])}
    assert {"1.mlp.trained.bias", "1.self_attention.dense.trained.weight", "1.input_layernorm.trained.weight"} < moved
    assert not any("untouched" in name or name.startswith("2.") for name in moved)
    train(prepared, [["de-en", "en-fr"]])
    second = dict(layers[1].named_parameters(prefix="transformer.h.1"))
    assert all(torch.equal(value, first[name]) for name, value in second.items())
    assert not torch.equal(layers[0].mlp.trained.bias, first["transformer.h.0.mlp.trained.bias"])


@pytest.mark.parametrize("family", ["bloom", "llama"])
@pytest.mark.parametrize("ablation", [False, True])
def test_all_directions_run_and_give_gradients_in_one_order(family, ablation):
    """What ZeRO 2 and 3 count on: the same modules forward, the same parameters backward, each time.

    With frozen blocks too (`ablation`): ZeRO 3 gathers their parameters, and all ranks must do it together.
    """
    model = toys.FAMILIES[family]()
    masks = masks_with_base(families.ffn_of(model, 0).n_neurons)
    prepared = prepare("landermt-lg", model, masks=general_only(masks, "frozen") if ablation else masks)
    order: list[str] = []
    for name, module in prepared.network.named_modules():
        if any(True for _ in module.parameters(recurse=False)):
            module.register_forward_pre_hook(lambda *_, name=name: order.append(name))
    for name, parameter in prepared.trained().items():
        parameter.register_post_accumulate_grad_hook(lambda _, name=name: order.append(f"gradient of {name}"))
    prepared.network.train()
    seen = []
    for direction in ("en-de", "de-en", "en-fr"):
        order.clear()
        loss_of(prepared, direction).backward()
        seen.append(list(order))
    assert all(other == seen[0] for other in seen)
    assert {f"gradient of {name}" for name in prepared.trained()} < set(seen[0])
    prepared.network.zero_grad()
    loss_of(prepared, "en-fr").backward()
    assert all(parameter.grad.abs().sum() == 0 for parameter in prepared.trained().values())


@pytest.mark.parametrize("scope", ["layer", "ffn"])
@pytest.mark.parametrize("family", list(toys.FAMILIES))
def test_folding_equals_routing_where_some_layers_are_the_base(family, scope):
    prepared = with_base(family, scope=scope)
    ffns = dict(enumerate(part for part in prepared.network.modules() if isinstance(part, BlockFFN)))
    assert len(ffns) == 2  # nobody chose layer 2
    train(prepared, [["en-de", "de-en"]] * 2)
    for ffn in ffns.values():
        ffn.add_direction(Direction("de", "fr"))
    plain = {}
    for direction in ("en-de", "de-en", "en-fr", "de-fr"):
        plain[direction] = toys.FAMILIES[family]()
        routed = logits(prepared, direction)
        fold(prepared.network, plain[direction])
        torch.testing.assert_close(plain[direction](toys.ids()).logits, routed, rtol=1e-4, atol=1e-5)
    base = toys.FAMILIES[family]().state_dict()
    assert all(torch.equal(value, base[name]) for name, value in plain["en-fr"].state_dict().items())
    layer = families.family_of(prepared.network).layers + ".1."
    same = [n for n, v in plain["de-en"].state_dict().items() if n.startswith(layer) and torch.equal(v, base[n])]
    assert same == [name for name in base if name.startswith(layer)]


def test_copies_are_made_for_layers_of_some_directions_only():
    base, model = toys.bloom(3), toys.bloom(3)
    masks = toys.masks([0, 1], P)
    masks["en-fr"] = base_rows(masks["en-fr"], 1)
    prepare("landermt", model, masks=masks)

    def size(network, layer: int) -> int:
        return sum(p.numel() for p in families.layers_of(network)[layer].parameters())

    gates = 3
    assert size(model, 0) == size(base, 0) + gates
    assert size(model, 1) == 2 * size(base, 1) + gates - 1
    assert next(iter(switches(model))).startswith("transformer.h.1")
    ffn = prepare("landermt", toys.bloom(3), masks=masks, scope="ffn").network
    assert list(switches(ffn)) == ["transformer.h.1.mlp"]


@pytest.mark.parametrize("family", ["bloom", "llama"])
def test_cache_and_gradient_checkpointing_go_on_working(family):
    prepared = with_base(family)
    train(prepared, [["en-de", "de-en"]])
    network = prepared.network
    for direction in ("en-de", "en-fr"):
        prepared.router.direction = direction
        options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        with_cache, without = (network.generate(toys.ids(), use_cache=use, **options) for use in (True, False))
        assert torch.equal(with_cache, without)
    network.train()
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            network.gradient_checkpointing_enable()
            network.enable_input_require_grads()
        network.zero_grad()
        for direction in ("en-de", "de-en", "en-fr"):
            loss_of(prepared, direction).backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in prepared.trained().items()})
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, msg=name)


def test_a_layer_that_no_direction_chose_stays_as_it_is():
    masks = {name: base_rows(mask, 1) for name, mask in toys.masks([1], P).items()}
    assert prepare("landermt", toys.bloom(), masks=masks).groups == []


def test_an_untrained_direction_runs_a_layer_that_a_direction_of_its_languages_chose():
    masks = toys.masks([1], P, ("en-de", "fr-it"))
    masks["fr-it"] = base_rows(masks["fr-it"], 1)
    ffn = install(toys.bloom(), masks, Router("de-fr"), Routing())[1]
    ffn.add_direction(Direction("de", "fr"))
    assert ffn.untouched_in == {"fr-it"}
    # general, en, de, fr, it: French is in no direction that chose the layer, and has the specific blocks' scale
    assert ffn.scales({}, ffn.router.direction) == pytest.approx([0.8, None, 0.2, 0.2, None])
    ffn.add_direction(Direction("it", "fr"))
    assert ffn.untouched_in == {"fr-it", "it-fr"}


# ------------------------------------------------------------ ablations, several owners


def moved_parts(method: str, masks: dict[str, pd.DataFrame], **options: str) -> set[str]:
    """Names within layer 1 of the parameters that training moved; all others are as they were, to the bit."""
    prepared = prepare(method, toys.bloom(), masks=masks, **options)
    start = {name: value.clone() for name, value in prepared.network.named_parameters()}
    train(prepared, [["en-de", "de-en", "en-fr"]] * 2)
    moved = {name for name, value in prepared.network.named_parameters() if not torch.equal(value, start[name])}
    assert moved == set(prepared.trained())
    assert all(name.startswith("transformer.h.1.") for name in moved)
    return {name.removeprefix("transformer.h.1.") for name in moved}


def test_ablations_move_their_group_alone():
    """Of the blocks general, en, de, fr, it (no direction's) and the shared parts."""
    masks = toys.masks([1], P)
    shared = {name for name, _ in toys.bloom().transformer.h[1].named_parameters() if "mlp" not in name} | {"mlp.bias"}
    gates = {f"mlp.gates.{name}.shift" for name in masks}

    def blocks(*indices: int) -> set[str]:
        return {f"mlp.blocks.{i}.{part}" for i in indices for part in ("up.weight", "up.bias", "down.weight")}

    assert moved_parts("landermt", masks) == shared | gates | blocks(0, 1, 2, 3)
    assert moved_parts("landermt", masks, scope="neurons") == gates | blocks(0, 1, 2, 3)
    assert moved_parts("landermt-lg", general_only(masks, "frozen")) == shared | gates | blocks(0)
    assert moved_parts("landermt-lg", general_only(masks, "absent")) == shared | gates | blocks(0)
    specific = {name: mask.assign(trained=mask["role"].isin(["source", "target"])) for name, mask in masks.items()}
    assert moved_parts("landermt-ls", specific) == gates | blocks(1, 2, 3)


def test_owned_blocks_that_the_masks_leave_out_stay_out_of_untrained_directions():
    ffn = install(toys.bloom(), general_only(toys.masks([1], P), "absent"), Router("de-it"), Routing())[1]
    ffn.add_direction(Direction("de", "it"))
    assert ffn.scales({}, ffn.router.direction) == [1.0, None, None, None, None]
    ffn = install(toys.bloom(), general_only(toys.masks([1], P), "frozen"), Router("de-it"), Routing())[1]
    ffn.add_direction(Direction("de", "it"))
    assert ffn.scales({}, ffn.router.direction) == pytest.approx([0.8, None, 0.2, None, 0.2])


def test_neurons_of_several_owners_are_a_block():
    rows = [("general", None, 0.8), ("target", "de+fr", 0.2), ("source", "de+en", 0.2), ("absent", "fr+it", 0.0)]
    role, owner, scale = zip(*[rows[i % 4] for i in range(P)], strict=True)
    facts = {"role": role, "owner": owner, "trained": [name != "absent" for name in role], "scale": scale}
    masks = {"en-de": pd.DataFrame({"layer": 1, "neuron": range(P), **facts})}
    ffn = install(toys.bloom(), masks, Router("fr-de"), Routing())[1]
    assert [group.owner for group in ffn.groups] == [None, "de+fr", "de+en", "fr+it"]
    ffn.add_direction(Direction("fr", "de"))
    assert [group.routes["fr-de"][0] for group in ffn.groups] == ["general", "source", "target", "source"]
    ffn.add_direction(Direction("it", "en"))
    assert [group.routes.get("it-en", (None,))[0] for group in ffn.groups] == ["general", None, "target", "source"]
    with pytest.raises(UserError, match="zh-de: the model knows de, en, fr, it, not zh"):
        ffn.add_direction(Direction("zh", "de"))


def test_masks_of_untrained_directions_route_and_train_nothing():
    """One direction is trained, and all have masks: its blocks alone move, and the others run as their masks say."""
    every = toys.masks([1], 64, ["en-de", "de-en", "en-fr"])
    prepared = prepare("landermt", toys.bloom(3), masks=every, trained_in=frozenset(["en-de"]), scope="ffn")
    ffn = prepared.network.transformer.h[1].mlp
    pairs = zip(ffn.blocks, ffn.groups, strict=True)
    assert {group.owner for block, group in pairs if block.down.weight.requires_grad} == {None, "en", "de"}
    assert [name for name, gate in ffn.gates.items() if gate.shift.requires_grad] == ["en-de"]
    assert {group.directions for group in prepared.groups if group.directions} == {frozenset(["en-de"])}
    prepared.router.direction = "en-fr"
    scales = dict(zip([group.owner for group in ffn.groups], ffn.scales({}, ffn.router.direction), strict=True))
    assert (scales["en"], scales["fr"], scales["de"]) == (0.2, 0.2, None)
