"""Baichuan to LLaMA: the same logits as a reference of its network, the same tokens as sentencepiece."""

import io
import json
from pathlib import Path

import pytest
import sentencepiece
import torch
from safetensors.torch import save_file
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from lander import cli
from lander.models.baichuan import convert, spm
from lander.shared.errors import UserError

WIDTH, HEADS, LAYERS, INNER, VOCABULARY = 32, 4, 2, 48, 500
CONFIG = {
    "model_type": "baichuan", "architectures": ["BaichuanForCausalLM"],
    "auto_map": {"AutoModelForCausalLM": "modeling_baichuan.BaichuanForCausalLM"}, "vocab_size": VOCABULARY,
    "hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
}  # fmt: skip
TEXT = [*spm.PLAIN, "a house is a house", "the cat sat on the mat and the hat", "das Haus ist groß", "la casa è grande"]


def baichuan_weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * 0.3 + (len(shape) == 1)

    state = {"model.embed_tokens.weight": random(VOCABULARY, WIDTH)}
    shapes = {
        "self_attn.W_pack": (3 * WIDTH, WIDTH), "self_attn.o_proj": (WIDTH, WIDTH), "mlp.gate_proj": (INNER, WIDTH),
        "mlp.up_proj": (INNER, WIDTH), "mlp.down_proj": (WIDTH, INNER), "input_layernorm": (WIDTH,),
        "post_attention_layernorm": (WIDTH,),
    }  # fmt: skip
    for layer in range(LAYERS):
        state |= {f"model.layers.{layer}.{name}.weight": random(*shape) for name, shape in shapes.items()}
        state[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.zeros(WIDTH // HEADS // 2)
    return state | {"model.norm.weight": random(WIDTH), "lm_head.weight": random(VOCABULARY, WIDTH)}


def reference_logits(w: dict[str, torch.Tensor], ids: torch.Tensor, norm_head: bool) -> torch.Tensor:
    """Baichuan's network written from its description: stacked W_pack, rotary positions, SwiGLU, NormHead."""
    size, length = WIDTH // HEADS, ids.shape[1]

    def rms(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return weight * x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()

    def turn(x: torch.Tensor) -> torch.Tensor:
        """Pair (i, i + size/2) of position t as a complex number, turned by t * 10000^(-2i/size)."""
        angle = torch.outer(torch.arange(length), 10000.0 ** (-torch.arange(0, size, 2) / size))
        turned = torch.complex(x[..., : size // 2], x[..., size // 2 :]) * torch.polar(torch.ones_like(angle), angle)
        return torch.cat([turned.real, turned.imag], -1)

    x = w["model.embed_tokens.weight"][ids]
    for layer in range(LAYERS):
        p = f"model.layers.{layer}."
        packed = rms(x, w[p + "input_layernorm.weight"]) @ w[p + "self_attn.W_pack.weight"].T
        q, k, v = packed.view(*ids.shape, 3, HEADS, size).permute(2, 0, 3, 1, 4)  # each (rows, heads, tokens, size)
        scores = turn(q) @ turn(k).transpose(-1, -2) / size**0.5
        weights = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf).softmax(-1)
        x = x + (weights @ v).transpose(1, 2).flatten(2) @ w[p + "self_attn.o_proj.weight"].T
        y = rms(x, w[p + "post_attention_layernorm.weight"])
        h = functional.silu(y @ w[p + "mlp.gate_proj.weight"].T) * (y @ w[p + "mlp.up_proj.weight"].T)
        x = x + h @ w[p + "mlp.down_proj.weight"].T
    head = w["lm_head.weight"]
    if norm_head:
        head = head / head.pow(2).sum(-1, keepdim=True).sqrt()
    return rms(x, w["model.norm.weight"]) @ head.T


def sentencepiece_model(**options) -> bytes:
    model = io.BytesIO()
    usual = {
        "model_type": "bpe", "vocab_size": 470, "byte_fallback": True, "add_dummy_prefix": False,
        "remove_extra_whitespaces": False, "normalization_rule_name": "identity", "split_digits": True,
        "user_defined_symbols": ["<reserved_1>", "▁▁", "▁▁▁▁"], "character_coverage": 0.98, "minloglevel": 2,
    }  # fmt: skip
    text = iter(TEXT * 3)
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=text, model_writer=model, **usual | options)
    return model.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny Baichuan2 in two pickled shards with an index, as on the hub."""
    folder = tmp_path / "baichuan"
    folder.mkdir()
    write_config(folder, CONFIG)
    names = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    state = list(baichuan_weights().items())
    for name, part in zip(names, (state[:7], state[7:]), strict=True):
        torch.save(dict(part), folder / name)
    weight_map = {key: names[index >= 7] for index, (key, _) in enumerate(state)}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "tokenizer.model").write_bytes(sentencepiece_model())
    settings = {"add_bos_token": False, "bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def write_config(folder: Path, config: dict) -> None:
    (folder / "config.json").write_text(json.dumps(config))


def test_logits_are_baichuans(folder, tmp_path):
    out = tmp_path / "llama"
    convert.convert(folder, out, shard_bytes=30_000)
    files = sorted(file.name for file in out.glob("model*"))
    assert files[0] == "model-00001-of-00005.safetensors"
    assert files[-1] == "model.safetensors.index.json"
    ids = torch.randint(0, VOCABULARY, (3, 9), generator=torch.Generator().manual_seed(4))
    model = AutoModelForCausalLM.from_pretrained(out)
    assert model.config.model_type == "llama"
    assert model.config.max_position_embeddings == 64
    expected = reference_logits(baichuan_weights(), ids, norm_head=True)
    torch.testing.assert_close(model(ids).logits, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(expected, reference_logits(baichuan_weights(), ids, norm_head=False), atol=0.1)


def test_the_first_generation_has_a_plain_head_and_safetensors_are_read(folder, tmp_path):
    write_config(folder, CONFIG | {"architectures": ["BaiChuanForCausalLM"]})
    save_file({k: v.bfloat16() for k, v in baichuan_weights().items()}, folder / "model.safetensors")
    cli.main(["convert", str(folder), "--out", str(tmp_path / "llama")])
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "llama")
    assert model.dtype == torch.bfloat16  # the weights' own type is kept
    ids = torch.randint(0, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(4))
    rounded = {k: v.bfloat16().float() for k, v in baichuan_weights().items()}
    expected = reference_logits(rounded, ids, norm_head=False)
    torch.testing.assert_close(model.float()(ids).logits, expected, rtol=0, atol=1e-5)


def test_tokenizer_loads_without_remote_code_and_is_sentencepieces(folder, tmp_path):
    convert.convert(folder, tmp_path / "llama")
    fast = AutoTokenizer.from_pretrained(tmp_path / "llama")
    reference = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    assert fast.is_fast
    assert (fast.bos_token_id, fast.eos_token_id, fast.pad_token_id) == (1, 2, 0)
    for text in [*TEXT, *spm.ODD_SPACES, "the  house    is <reserved_1> 12", "ž 🙂 unseen"]:
        ids = reference.encode(text)
        assert fast(text, split_special_tokens=True)["input_ids"] == ids  # no <s> in front: add_bos_token is false
        assert fast.decode(ids) == text
    assert 2 not in fast("</s>", split_special_tokens=True)["input_ids"]
    assert fast("a </s>")["input_ids"][-1] == 2


@pytest.mark.parametrize(
    "options",
    [
        {"add_dummy_prefix": True},
        {"add_dummy_prefix": True, "remove_extra_whitespaces": True, "byte_fallback": False, "vocab_size": 200},
        {"normalization_rule_name": "nmt_nfkc"},
    ],
)
def test_other_sentencepiece_files(tmp_path, options):
    path = tmp_path / "tokenizer.model"
    path.write_bytes(sentencepiece_model(user_defined_symbols=[], **options))
    fast = spm.fast_tokenizer(path, bos="<s>", eos="</s>", unk="<unk>", pad=None, add_bos=True)
    assert spm.check_same(fast, path) == []
    assert fast("the cat")["input_ids"][0] == 1


def test_a_tokenizer_that_cuts_otherwise_is_refused(tmp_path):
    (tmp_path / "a.model").write_bytes(sentencepiece_model())
    (tmp_path / "b.model").write_bytes(sentencepiece_model(add_dummy_prefix=True))
    fast = spm.fast_tokenizer(tmp_path / "a.model", bos="<s>", eos="</s>", unk="<unk>", pad=None, add_bos=False)
    with pytest.raises(UserError, match=r"b\.model: the converted tokenizer .*'The quick"):
        spm.check_same(fast, tmp_path / "b.model")


def _without(key):
    return {name: value for name, value in CONFIG.items() if name != key}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (_without("max_position_embeddings") | {"model_max_length": 4096}, "13B model: its positions are ALiBi"),
        (CONFIG | {"hidden_size": 5120}, "13B model: its positions are ALiBi"),
        (CONFIG | {"model_type": "llama"}, "a LLaMA model already"),
        (CONFIG | {"architectures": ["BloomForCausalLM"]}, "BloomForCausalLM; only Baichuan-7B"),
        (_without("rms_norm_eps"), "has no rms_norm_eps"),
        (CONFIG | {"num_hidden_layers": 3}, "9 weights are missing, model.layers.2.self_attn.q_proj.weight first"),
        (CONFIG | {"intermediate_size": 40}, r"mlp.gate_proj.weight of shape \[48, 32\]"),
        (CONFIG | {"vocab_size": 300}, "470 pieces, but the model has 300"),
    ],
)
def test_what_cannot_be_converted_says_why_and_leaves_nothing(folder, tmp_path, config, message):
    write_config(folder, config)
    with pytest.raises(UserError, match=message):
        convert.convert(folder, tmp_path / "llama")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["baichuan"]


def test_missing_and_damaged_files(folder, tmp_path):
    def fails(message: str) -> None:
        with pytest.raises(UserError, match=message):
            convert.convert(folder, tmp_path / "llama")

    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"
    (folder / "pytorch_model-00002-of-00002.bin").write_bytes(pointer)
    fails(r"00002-of-00002\.bin: cannot be read")
    (folder / "pytorch_model-00002-of-00002.bin").unlink()
    fails(r"00002-of-00002\.bin: no such file, but pytorch_model.bin.index.json names it")
    (folder / "tokenizer.model").write_bytes(pointer)
    fails(r"tokenizer\.model: not a sentencepiece model")
    (folder / "tokenizer.model").unlink()
    fails(r"tokenizer\.model: no such file")
    (folder / "tokenizer.model").write_bytes(sentencepiece_model(model_type="unigram", vocab_size=370))
    fails("only sentencepiece models of type BPE")
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama" / "mine").touch()
    fails("not empty")
