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


def write(path, network, architecture="llama"):
    """A GGUF file of a LLaMA model with a vocabulary of bytes and one pair; q and k in llama.cpp's order of rows."""
    config, weights = network.config, {name: value.numpy() for name, value in network.state_dict().items()}
    writer = gguf.GGUFWriter(path, architecture)
    facts = {
        "block_count": config.num_hidden_layers, "context_length": 64, "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size, "head_count": HEADS, "head_count_kv": HEADS,
        "layer_norm_rms_eps": config.rms_norm_eps, "vocab_size": config.vocab_size, "tokenizer_model": "gpt2",
        "token_list": [*sorted(ByteLevel.alphabet()), "gr", "<s>", "</s>"], "token_types": [1] * 257 + [3] * 2,
        "token_merges": ["g r"], "bos_token_id": 257, "eos_token_id": 258,
    }  # fmt: skip
    for name, value in facts.items():
        getattr(writer, f"add_{name}")(value)
    writer.add_tensor("token_embd.weight", weights["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", weights["model.norm.weight"])
    for layer in range(config.num_hidden_layers):
        for theirs, ours in NAMES.items():
            value = weights[f"model.layers.{layer}.{ours}.weight"]
            if theirs in ("attn_q", "attn_k"):
                value = value.reshape(HEADS, 2, -1, value.shape[1]).swapaxes(1, 2).reshape(value.shape)
            writer.add_tensor(f"blk.{layer}.{theirs}.weight", np.ascontiguousarray(value))
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


@pytest.mark.parametrize("damage", ["text", "cut", "other"])
def test_what_is_not_such_a_model_is_refused(tmp_path, network, capsys, damage):
    file = tmp_path / "tiny.gguf"
    if damage == "text":
        file.write_text("not a model")
    elif damage == "other":
        write(file, network, "mamba")
    else:
        whole = write(file, network).read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SystemExit):
        cli.main(["convert", str(file), "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(file) in error
    assert not (tmp_path / "out").exists()
