"""Every supported family: neurons through the description are the model's own, blocks are the FFN, export is exact."""

import pytest
import torch
import toys
from transformers import AutoModelForCausalLM

from lander.config.masks import Routing
from lander.finetune import blocks
from lander.finetune.methods import Prepared, prepare
from lander.models import families
from lander.models.tokens import Codec
from lander.shared.errors import UserError
from lander.shared.languages import Direction
from lander.translate.translator import Decoding, Translator


@pytest.fixture(params=toys.MODELS)
def model(request):
    return toys.build(request.param)


def test_every_family_has_a_model_here():
    assert {toys.build(name).config.model_type for name in toys.MODELS} == set(families.FAMILIES)


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
    plain = toys.build(request.node.callspec.params["model"])
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
    plain = toys.build(request.node.callspec.params["model"])
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


# ------------------------------------------------------------ batches of several directions

ROWS = ["en-fr", "en-de", None, "en-fr", "de-en", "fr-de", "en-de"]  # fr-de was not trained


def trained(model: torch.nn.Module, **routing: str) -> Prepared:
    """A model in float64 with blocks in two layers, which its directions have moved off the base's weights.

    en-fr has not chosen layer 2, and has Italian's neurons from the base in layer 1.
    """
    model = model.double()
    masks = toys.masks([1, 2], families.ffn_of(model, 1).n_neurons)
    mask = masks["en-fr"]
    untouched = {"role": "base", "owner": None, "trained": False, "scale": 1.0}
    masks["en-fr"] = mask.mask((mask["layer"] == 2) | (mask["owner"] == "it"), mask.assign(**untouched))
    prepared = prepare("landermt", model, masks=masks, routing=Routing(**routing))
    torch.manual_seed(4)
    for parameter in prepared.trained().values():
        parameter.data += 0.3 * torch.randn_like(parameter)
    for ffn in blocks.installed(model).values():
        ffn.add_direction(Direction("fr", "de"))
    return prepared


def logits(prepared: Prepared, rows: list[str | None], places: list[int]) -> torch.Tensor:
    """(rows, tokens, vocabulary) of some rows of one batch."""
    with prepared.router.mixed(rows):
        return prepared.network(toys.ids(rows=len(ROWS))[places]).logits


@pytest.mark.parametrize(
    "routing", [{}, {"gate": "static", "scale": "input"}, {"gate": "token"}], ids=["gates", "static, input", "tokens"]
)
def test_each_row_of_a_mixed_batch_runs_its_own_direction(model, routing):
    prepared = trained(model, **routing)
    with torch.no_grad():
        mixed = logits(prepared, ROWS, list(range(len(ROWS))))
        for place, direction in enumerate(ROWS):
            alone = logits(prepared, [direction], [place])
            torch.testing.assert_close(mixed[place], alone[0], rtol=0, atol=1e-10)
        other = logits(prepared, ["en-de"] * len(ROWS), list(range(len(ROWS))))
    same = {ROWS[place]: torch.allclose(mixed[place], other[place], atol=1e-3) for place in range(len(ROWS))}
    same.pop("de-en")  # without gates it runs the same neurons as en-de
    assert same == {direction: direction == "en-de" for direction in same}
    assert (prepared.router.direction, prepared.router.rows) == (None, None)


@pytest.mark.parametrize(("checkpointing", "gate"), [(False, "learned"), (True, "learned"), (True, "token")])
def test_a_mixed_batch_has_the_gradients_of_its_rows(model, checkpointing, gate):
    prepared, places = trained(model, gate=gate), list(range(len(ROWS)))
    prepared.network.train()
    if checkpointing:
        prepared.network.gradient_checkpointing_enable()
        prepared.network.enable_input_require_grads()

    def gradients(parts: list[list[int]]) -> dict[str, torch.Tensor]:
        prepared.network.zero_grad()
        for part in parts:
            rows = [ROWS[place] for place in part]
            with prepared.router.mixed(rows):  # checkpointing computes the layers again during the backward pass
                logits(prepared, rows, part).square().sum().backward()
        return {name: parameter.grad.clone() for name, parameter in prepared.trained().items()}

    mixed, apart = gradients([places]), gradients([[place] for place in places])
    for name, gradient in apart.items():
        close = 1e-5 * gradient.abs().max().item()  # some families have norms in float32
        torch.testing.assert_close(mixed[name], gradient, rtol=0, atol=close, msg=name)
    unused = gradients([[0, 3], [2]])  # en-fr and text without a direction
    gates = [name for name in unused if "gates.en-de" in name]
    assert gates
    assert not any(unused[name].any() for name in gates)


def check_decoding(model: torch.nn.Module, beams: int) -> None:
    """Rows of several directions and lengths, together and one by one. They leave the batch at different steps."""
    network = trained(model).network.float()  # BLOOM's softmax takes a padded row of float64 for infinite
    network.get_output_embeddings().weight = torch.nn.Parameter(torch.randn(toys.VOCABULARY, 16), requires_grad=False)
    last = [module for module in network.modules() if "Norm" in type(module).__name__][-1]
    if getattr(last, "bias", None) is not None:  # near 1: all rows would write the same token
        last.bias.data.zero_()
    translator, how = Translator(network, Codec(toys.bloom_tokenizer())), Decoding(beams=beams, max_new_tokens=8)
    rows, generator = ROWS * 2, torch.Generator().manual_seed(5)
    prompts = [torch.randint(5, 60, (3 + place % 5,), generator=generator).tolist() for place in range(len(rows))]
    written: list[list[int]] = []
    translator.codec.decode = lambda row: written.append(row) or ""

    def write(end: int, parts: list[list[int]]) -> list[list[int]]:
        """What the rows of each part write together, up to an end token."""
        written.clear()
        translator.codec.ends = [end]
        for part in parts:
            translator.write([prompts[place] for place in part], [rows[place] for place in part], how)
        return [row[: row.index(end) + 1] if end in row else row for row in written]

    free = write(63, [list(range(len(rows)))])
    steps = {end: {row.index(end) if end in row else 8 for row in free} for row in free for end in row}
    end = max(steps, key=lambda end: len(steps[end]))
    assert len(steps[end]) > 1
    assert write(end, [list(range(len(rows)))]) == write(end, [[place] for place in range(len(rows))])


def test_a_mixed_batch_writes_what_its_rows_write_alone(model):
    check_decoding(model, beams=1)


def test_a_mixed_batch_writes_the_beams_of_its_rows():
    check_decoding(toys.build("llama"), beams=2)
