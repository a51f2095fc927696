"""GGUF files as model folders: the weights are those in the file, whatever order llama.cpp keeps them in."""

import gguf
import numpy as np
import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from lander import cli
from lander.shared.files import read_json

NAMES = {  # llama.cpp's name -> transformers', below a layer
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}  # fmt: skip
HEADS = 2


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    sizes = {"vocab_size": 259, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": HEADS, "num_key_value_heads": HEADS, "tie_word_embeddings": True}
    return LlamaForCausalLM(LlamaConfig(**sizes, **heads, bos_token_id=257, eos_token_id=258)).eval()


def write(path, network, architecture="llama", more=None, without=(), facts=None):
    """A GGUF file of a LLaMA model with a vocabulary of bytes and one pair; q and k in llama.cpp's order of rows.

    `more`: other tensors by name, `without`: names to leave out, `facts`: other keys.
    """
    config, weights = network.config, {name: value.numpy() for name, value in network.state_dict().items()}
    writer = gguf.GGUFWriter(path, architecture)
    keys = {
        "block_count": config.num_hidden_layers, "context_length": 64, "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size, "head_count": HEADS, "head_count_kv": HEADS,
        "layer_norm_rms_eps": config.rms_norm_eps, "vocab_size": config.vocab_size, "tokenizer_model": "gpt2",
        "token_list": [*sorted(ByteLevel.alphabet()), "gr", "<s>", "</s>"], "token_types": [1] * 257 + [3] * 2,
        "token_merges": ["g r"], "bos_token_id": 257, "eos_token_id": 258,
    }  # fmt: skip
    for name, value in keys.items():
        getattr(writer, f"add_{name}")(value)
    for name, value in (facts or {}).items():
        (writer.add_float32 if isinstance(value, float) else writer.add_uint16)(name, value)
    tensors = {
        "token_embd.weight": weights["model.embed_tokens.weight"],
        "output_norm.weight": weights["model.norm.weight"],
    }
    for layer in range(config.num_hidden_layers):
        for theirs, ours in NAMES.items():
            value = weights[f"model.layers.{layer}.{ours}.weight"]
            if theirs in ("attn_q", "attn_k"):
                value = value.reshape(HEADS, 2, -1, value.shape[1]).swapaxes(1, 2).reshape(value.shape)
            tensors[f"blk.{layer}.{theirs}.weight"] = np.ascontiguousarray(value)
    for name, value in (tensors | (more or {})).items():
        if name not in without:
            writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_folder_has_the_weights_of_the_file(tmp_path, network):
    file = write(tmp_path / "tiny.gguf", network)
    cli.main(["convert", str(file), "--out", str(tmp_path / "out")])
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert not hasattr(again.config, "quantization_config")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.decode(tokenizer("grün", add_special_tokens=False)["input_ids"]) == "grün"
    assert read_json(tmp_path / "out" / "tokenizer_config.json")["tokenizer_class"] != "TokenizersBackend"


def ones(*shape):
    return np.ones(shape, dtype=np.float32)


REFUSED = {  # what `write` does otherwise -> what the refusal names
    "bias": ({"more": {"blk.0.attn_q.bias": ones(32)}}, "without 1 of its tensors (blk.0.attn_q.bias)"),
    "layer": ({"more": {"blk.2.ffn_up.weight": ones(32, 32)}}, "(blk.2.ffn_up.weight)"),
    "llama 3.1": ({"more": {"rope_freqs.weight": ones(8) * 8}}, "(rope_freqs.weight)"),
    "missing": ({"without": ("blk.1.ffn_up.weight",)}, "1 of its weights are missing, as model.layers.1.mlp.up_proj"),
    "nan": ({"more": {"output_norm.weight": ones(32) * np.nan}}, "model.norm.weight: 32 of its 32 numbers"),
    "part": ({"facts": {"split.count": 3}}, "one of 3 files of a model; join them"),
    "scaled": ({"facts": {"llama.rope.scaling.factor": 4.0}}, "positions are scaled (llama.rope.scaling.factor: 4.0)"),
    "other": ({"architecture": "mamba"}, "models of type 'mamba' are not supported"),
    "unknown": ({"architecture": "gemma"}, "take another model"),
}


@pytest.mark.parametrize(("change", "what"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_transformers_would_read_as_another_model(tmp_path, network, capsys, change, what):
    """transformers gives random values to missing weights, and drops tensors and keys that it does not know."""
    file = write(tmp_path / "tiny.gguf", network, **change)
    with pytest.raises(SystemExit):
        cli.main(["convert", str(file), "--out", str(tmp_path / "out")])
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith(f"lander convert: error: {file}: ")
    assert what in error
    assert not (tmp_path / "out").exists()


def test_factors_of_one_change_nothing(tmp_path, network):
    file = write(tmp_path / "tiny.gguf", network, more={"rope_freqs.weight": ones(8)})
    cli.main(["convert", str(file), "--out", str(tmp_path / "out")])
    assert (tmp_path / "out" / "config.json").is_file()


@pytest.mark.parametrize("damage", ["text", "cut"])
def test_what_is_not_such_a_model_is_refused(tmp_path, network, capsys, damage):
    file = tmp_path / "tiny.gguf"
    if damage == "text":
        file.write_text("not a model")
    else:
        whole = write(file, network).read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SystemExit):
        cli.main(["convert", str(file), "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(file) in error
    assert not (tmp_path / "out").exists()
