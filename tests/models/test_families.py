"""Every supported family: neurons through the description are the model's own, blocks are the FFN, export is exact."""

import pytest
import torch
import toys
import transformers
from transformers import AutoModelForCausalLM

from lander.config.masks import Routing
from lander.finetune import blocks
from lander.models import families
from lander.shared.errors import UserError

SMALL = {
    "vocab_size": toys.VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
    "num_attention_heads": 2,
}  # fmt: skip
HEADS = {"num_key_value_heads": 1, "head_dim": 8}

# name: (model, keys of its config). Between them: biases in the FFN and not, tied embeddings and not.
MODELS = {
    "bloom": ("Bloom", {"vocab_size": toys.VOCABULARY, "hidden_size": 16, "n_layer": 3, "n_head": 2}),
    "llama": ("Llama", SMALL),
    "llama with biases": ("Llama", SMALL | {"mlp_bias": True, "attention_bias": True}),
    "llama tied": ("Llama", SMALL | {"tie_word_embeddings": True}),
    "mistral": ("Mistral", SMALL | HEADS | {"sliding_window": 4}),
    "qwen2": ("Qwen2", SMALL | {"num_key_value_heads": 1}),  # and 2.5
    "qwen3": ("Qwen3", SMALL | HEADS | {"tie_word_embeddings": True}),
    "gemma": ("Gemma", SMALL | HEADS),
    "gemma2": ("Gemma2", SMALL | HEADS | {"sliding_window": 4}),
    "gemma3_text": ("Gemma3", SMALL | HEADS | {"sliding_window": 4}),
    "gpt_neox": ("GPTNeoX", SMALL | {"use_parallel_residual": False}),
    "gpt_neox parallel": ("GPTNeoX", SMALL | {"use_parallel_residual": True}),
}


def build(name: str) -> torch.nn.Module:
    """A random model; biases and norms are random too, and nothing is zero."""
    kind, keys = MODELS[name]
    config = getattr(transformers, {"Gemma3": "Gemma3TextConfig"}.get(kind, f"{kind}Config"))(**keys)
    return toys.random_model(getattr(transformers, f"{kind}ForCausalLM"), config)


@pytest.fixture(params=MODELS)
def model(request):
    return build(request.param)


def test_every_family_has_a_model_here():
    assert {build(name).config.model_type for name in MODELS} == set(families.FAMILIES)


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


def test_embeddings_can_be_looked_up_outside_the_model(model):
    """What awareness counts on: some families scale their embeddings, in one place or in another."""
    embedded = model.get_input_embeddings()(toys.ids())
    torch.testing.assert_close(model(inputs_embeds=embedded).logits, model(toys.ids()).logits)


def test_blocks_are_the_dense_ffn_without_a_direction(model):
    before = model(toys.ids()).logits
    n_neurons = families.ffn_of(model, 0).n_neurons
    blocks.install(model, toys.masks([0, 2], n_neurons), blocks.Router(), Routing())
    torch.testing.assert_close(model(toys.ids()).logits, before, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("where", ["input", "output"])
@pytest.mark.parametrize("direction", ["en-de", None])
def test_folded_equals_routed(model, request, where, direction):
    router = blocks.Router()
    n_neurons = families.ffn_of(model, 0).n_neurons
    ffns = blocks.install(model, toys.masks([0, 2], n_neurons), router, Routing(scale=where))
    with torch.no_grad():
        for ffn in ffns.values():
            for gate in ffn.gates.values():
                gate.shift.fill_(0.05)
    plain = build(request.node.callspec.params["model"])
    base = plain(toys.ids()).logits
    router.direction = direction
    blocks.fold(model, plain)
    torch.testing.assert_close(plain(toys.ids()).logits, model(toys.ids()).logits, rtol=1e-5, atol=2e-5)
    assert torch.allclose(plain(toys.ids()).logits, base, atol=1e-3) == (direction is None)


def test_a_folded_model_saved_and_loaded_is_the_routed_one(model, request, tmp_path):
    """Tied embeddings come back tied, and what was trained outside the FFN comes along."""
    router = blocks.Router()
    blocks.install(model, toys.masks([1], families.ffn_of(model, 1).n_neurons), router, Routing(gate="static"))
    with torch.no_grad():
        for name, parameter in families.layers_of(model)[1].named_parameters():
            if "norm" in name:
                parameter.mul_(1.1)
    router.direction = "en-de"
    plain = build(request.node.callspec.params["model"])
    blocks.fold(model, plain)
    plain.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(toys.ids()).logits, model(toys.ids()).logits, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("model_type", "reason"),
    [
        ("mamba", "docs/new-family.md"),
        ("phi3", "they keep the FFN's gate and input projection in one matrix"),
        ("baichuan", "lander convert FOLDER --out DIR"),
    ],
)
def test_an_unknown_family_names_the_known_ones_and_how_to_add_one(model_type, reason):
    model = toys.bloom()
    model.config.model_type = model_type
    with pytest.raises(UserError, match=rf"'{model_type}' .*bloom.*gpt_neox") as raised:
        families.ffn_of(model, 0)
    assert reason in str(raised.value)
