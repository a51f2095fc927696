"""Bottlenecks and LoRA of a size: the start is the base, what is trained, saved and loaded; and what it all costs."""

import numpy as np
import pytest
import torch
import toys
import trained
from safetensors.torch import load_file
from torch import nn

from lander.config.methods import Lora
from lander.finetune import adapters
from lander.finetune.cost import training_cost, weights
from lander.finetune.halves import halve
from lander.finetune.methods import count, prepare
from lander.finetune.schedule import Pairs, Schedule
from lander.models import families
from lander.share.export import export
from lander.shared.errors import UserError

# the toy BLOOM: d_model 16, three layers, linear maps 16 -> 48, 16 -> 16, 16 -> 64, 64 -> 16
LAYER = 2 * 2 * 16 + 16 * (48 + 16 + 64 + 64) + 48 + 16 + 64 + 16  # norms, weights, biases
PER_RANK = (16 + 48) + (16 + 16) + (16 + 64) + (64 + 16)


@pytest.mark.parametrize("family", toys.FAMILIES)
@pytest.mark.parametrize("method", ["adapter", "adapter-lora"])
def test_the_start_is_the_base_bit_for_bit(family, method):
    base = toys.FAMILIES[family]()
    expected = base(toys.ids()).logits
    prepared = prepare(method, base, bottleneck=40, lora=Lora(rank=1))
    assert torch.equal(prepared.network(toys.ids()).logits, expected)


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_a_bottleneck_changes_the_ffns_output_and_nothing_else(family):
    """By hand: z + up(gelu(down(z))) on the output projection's output, in one layer."""
    base = toys.FAMILIES[family]()
    ffn = families.ffn_of(base, 1)
    adapters.install(base, 5)
    bottleneck = ffn.module.bottleneck
    nn.init.normal_(bottleneck.up.weight)
    nn.init.normal_(bottleneck.up.bias)
    x = torch.randn(2, 3, 16)
    h = ffn.act(ffn.up(x)) if ffn.gate is None else ffn.act(ffn.gate(x)) * ffn.up(x)
    z = nn.functional.linear(h, ffn.down.weight, ffn.down.bias)
    inside = nn.functional.gelu(nn.functional.linear(z, bottleneck.down.weight, bottleneck.down.bias))
    expected = z + nn.functional.linear(inside, bottleneck.up.weight, bottleneck.up.bias)
    residual = (torch.zeros_like(x),) if families.family_of(base).adds_residual else ()
    torch.testing.assert_close(ffn.module(x, *residual), expected)


def test_adapters_train_through_peft_and_gradient_checkpointing():
    prepared = prepare("adapter-lora", toys.bloom(3), bottleneck=40, lora=Lora(rank=1))
    network = prepared.network.train()
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            network.gradient_checkpointing_enable({"use_reentrant": False})
        network(toys.ids(), use_cache=False).logits.square().mean().backward()
        gradients.append({name: p.grad.clone() for name, p in prepared.trained().items()})
        network.zero_grad()
    assert all(torch.equal(gradients[1][name], value) for name, value in gradients[0].items())
    moving = {name for name, value in gradients[0].items() if value.abs().sum() > 0}
    assert moving == {name for name in gradients[0] if "lora_B" in name or ".bottleneck.up." in name}  # the zero sides
    frozen = [name for name, p in network.named_parameters() if not p.requires_grad]
    assert not any("lora_" in name or "bottleneck" in name for name in frozen)


def test_sizes_by_hand():
    """k = 2 of 3 layers. A bottleneck of N in every layer has 3 (33 N + 16) parameters."""
    size = (2 * LAYER // 3 - 16) // 33
    adapter = prepare("adapter", toys.bloom(3), budget_layers=2)
    assert adapter.sizes == {"bottleneck": size}
    assert count(adapter.groups) == 3 * (33 * size + 16) <= 2 * LAYER < 3 * (33 * (size + 1) + 16)
    both = prepare("adapter-lora", toys.bloom(3), budget_layers=2, lora=Lora(rank=2))
    left = 3 * (33 * size + 16) - 2 * 3 * PER_RANK
    assert both.sizes == {"lora_rank": 2, "bottleneck": (left // 3 - 16) // 33}
    assert count(both.groups) <= count(adapter.groups) < count(both.groups) + 3 * 33


def test_the_rank_of_lora_matched_by_hand():
    """One layer has 3,280 parameters, 4.27 ranks of 768 each; its FFN 2,128, 2.77 ranks."""
    assert (LAYER, 3 * PER_RANK) == (3280, 768)
    for scope, rank in (("layer", 4), ("ffn", 3)):
        prepared = prepare("lora-matched", toys.bloom(3), budget_layers=1, scope=scope, lora=Lora(rank=16, alpha=8))
        assert prepared.sizes == {"lora_rank": rank}
        assert count(prepared.groups) == 768 * rank
        assert prepared.network.peft_config["default"].lora_alpha == 8
    few = {"budget_layers": 3, "scope": "neurons", "budget_share": 0.4}  # of 3 (2,128 - 16 of the output bias)
    assert prepare("lora-matched", toys.bloom(3), **few).sizes == {"lora_rank": 3}  # 2,534 / 768 = 3.3


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("adapter", {}, "--budget-layers: missing"),
        ("adapter", {"budget_layers": 4}, "--budget-layers: 4; .* layers of the model, 1 to 3"),
        ("lora-matched", {"budget_layers": 0}, "--budget-layers: 0"),
        ("adapter-lora", {"bottleneck": 4}, "--lora-rank: 16 has 12,288 parameters, .* the adapter's 444"),
        ("adaptor", {}, "'adaptor' is not one of full, "),
        (
            "lora",
            {"lora": Lora(targets=("query_key_value", "nope", "attention.dense", "mlp"))},
            "called nope, attention.dense, mlp; a layer has dense, dense_4h_to_h, dense_h_to_4h, query_key_value$",
        ),
    ],
)
def test_sizes_that_make_no_sense_are_refused(method, options, message):
    with pytest.raises(UserError, match=message):
        prepare(method, toys.bloom(3), **options)


def test_targets_of_lora_are_ends_of_names():
    both = ("self_attention.dense", "transformer.h.2.mlp.dense_h_to_4h")
    (group,) = prepare("lora", toys.bloom(3), lora=Lora(rank=1, targets=both)).groups
    assert {name.partition(".h.")[2].partition(".lora_")[0] for name in group.parameters} == {
        "0.self_attention.dense", "1.self_attention.dense", "2.self_attention.dense", "2.mlp.dense_h_to_4h"
    }  # fmt: skip


@pytest.mark.filterwarnings("error:Model has")  # PEFT's about merging; see `lander.share.export.untie`
def test_a_tied_head_behind_a_lora_is_rounded_and_the_embedding_is_not():
    prepared = prepare("lora", toys.bloom(3), lora=Lora(rank=1, targets=("lm_head",)))
    base = adapters.base_of(prepared.network)
    head, embedding = base.get_output_embeddings(), base.get_input_embeddings().weight
    assert head.base_layer.weight is embedding
    before = embedding.clone()
    halve(prepared.network)
    assert base.get_input_embeddings().weight is embedding
    assert torch.equal(embedding, before)
    assert torch.equal(head.base_layer.weight, before.to(torch.bfloat16))
    assert {value.dtype for value in prepared.trained().values()} == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16):
        prepared.network(toys.ids()).logits.sum().backward()
    assert all(value.grad is not None for value in prepared.trained().values())


@pytest.mark.parametrize("method", ["adapter-lora", "lora-matched"])
def test_peft_alone_loads_what_peft_made(method, tmp_path):
    """Without the bottlenecks, which PEFT does not know."""
    from peft import PeftModel

    folder = trained.make(tmp_path, method)
    for name, parameter in folder.network.named_parameters():
        if ".bottleneck.up." in name:
            parameter.data.zero_()
    loaded = PeftModel.from_pretrained(toys.bloom(3, vocabulary=300), str(folder.path)).eval()
    torch.testing.assert_close(loaded(toys.ids()).logits, folder.network(toys.ids()).logits)


def test_bottlenecks_have_the_names_of_the_base_and_are_not_exported(tmp_path):
    folder = trained.make(tmp_path, "adapter-lora")
    names = load_file(folder.path / "bottlenecks.safetensors").keys()
    assert len(names) == 3 * 4
    assert "transformer.h.2.mlp.bottleneck.down.weight" in names
    with pytest.raises(UserError, match="a bottleneck adapter cannot be exported: it is not linear"):
        export(folder.path, "en-de", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def cost(method: str, **options) -> dict[str, int]:
    """Of four micro-batches of two directions: en-de reads 5 tokens and predicts 3 each time, de-en 7 and 4."""
    pairs = {
        name: Pairs(np.zeros(2 * length, np.int32), np.array([length, 2 * length]), np.full(2, prompt))
        for name, length, prompt in (("en-de", 5, 2), ("de-en", 7, 3))
    }
    return training_cost(prepare(method, toys.bloom(3), **options), Schedule(pairs, batch_size=1, seed=0), 4)


def test_flops_by_hand():
    layers, head, read, predicted = 3 * 16 * 192, 64 * 16, 24, 14
    assert cost("full") == {"tokens_read": 24, "flops": 6 * (layers * read + head * predicted)}
    lora = 3 * PER_RANK
    assert cost("lora", lora=Lora(rank=1))["flops"] == 2 * read * (2 * layers + 3 * lora) + 4 * predicted * head
    bottlenecks = 3 * 2 * 16 * 5
    assert cost("adapter", bottleneck=5)["flops"] == 2 * read * (2 * layers + 3 * bottlenecks) + 4 * predicted * head


def test_flops_of_blocks_are_those_that_run_from_the_lowest_trained_layer_up():
    """Layer 1 of 3; of 64 neurons, in sixths: general twice, English, German, French and Italian (absent)."""
    owners = [None, "en", "de", None, "fr", "it"]
    absent = sum(owners[i % 6] in ("fr", "it") for i in range(64))
    attention, neuron = 16 * (48 + 16), 32
    ffn, running = 64 * neuron, (64 - absent) * neuron
    run = 2 * (attention + ffn) + attention + running
    above = attention + ffn + attention + running
    masks = toys.masks([1], 64, ("en-de", "de-en"))
    for scope, moved in (("ffn", running), ("layer", running + attention)):
        flops = cost("landermt", masks=masks, scope=scope)["flops"]
        assert flops == 2 * 24 * (run + above + moved) + 4 * 14 * 64 * 16
    assert cost("landermt", masks={}) == {"tokens_read": 0, "flops": 0}


def test_flops_of_a_direction_that_runs_an_untouched_copy():
    """Layer 1 is chosen for en-de alone: de-en runs the base, and its gradient goes down to that layer all the same."""
    masks = toys.masks([1], 64, ("en-de", "de-en"))
    alone = weights(prepare("landermt", toys.bloom(3), masks=masks), "en-de")
    masks["de-en"] = masks["de-en"].assign(role="base", owner=None, trained=False, scale=1.0)
    prepared, layer = prepare("landermt", toys.bloom(3), masks=masks), 16 * 192
    assert weights(prepared, "en-de") == alone
    assert weights(prepared, "de-en") == (3 * layer, 2 * layer, 0)
