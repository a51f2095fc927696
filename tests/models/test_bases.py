"""What real people name as their base and is none: each refused in one line, with the remedy, before weights are read.

The same in every command that takes a model: `lander check`, `lander plan`, `lander translate`, `lander.load`; a run of
Snakemake begins with `config.load`, as `lander check` does.
"""

import io
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import peft
import pytest
import torch
import toys
import trained
import yaml
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, BloomForCausalLM

import lander
from lander import cli
from lander.config import base as bases
from lander.config import config
from lander.models import loading
from lander.shared.errors import UserError
from lander.shared.files import read_json, sha256, write_json
from lander.translate.translator import Decoding


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A sound base of each family, by name."""
    root = tmp_path_factory.mktemp("sound")
    return {family: trained.base(root / family, family) for family in toys.FAMILIES}


@pytest.fixture
def folder(sound, tmp_path, monkeypatch):
    """A copy of a sound base, the folder `base` of the working directory, which has text too."""
    for name in ("a.en", "a.de"):
        (tmp_path / name).write_text("one\ntwo\nthree\n")
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(sound["bloom"], tmp_path / "base")).relative_to(tmp_path)


def set_keys(file: Path, **keys: Any) -> None:
    write_json(file, (read_json(file) if file.is_file() else {}) | keys)


def spoil(folder: Path, change) -> None:
    """Write other weights: `change` gets the tensors by name and may return others."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    other = change(tensors)
    save_file(tensors if other is None else other, file, {"format": "pt"})


def settings(path: str) -> dict[str, Any]:
    def text(start: int) -> dict[str, Any]:
        return {"name": "t", "files": {"en": "a.en", "de": "a.de"}, "lines": [start, start + 1]}

    data = {"train": [text(0)], "dev": [text(1)], "test": [text(2)], "exclude": [text(2)]}
    return {"languages": ["en", "de"], "directions": ["en-de"], "layers": {"k": 1}, "model": {"path": path}} | {
        "data": data
    }


def refusals(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, loads: tuple[str, ...] = ()
) -> dict[str, str]:
    """What each way to a model says of it: one line, and no weights were loaded, but for the ways in `loads`."""
    read, said = AutoModelForCausalLM.from_pretrained, {}
    ways = ("check", "plan", "translate", "load")

    def without_weights(*args: Any, **options: Any) -> Any:
        assert options.get("device_map") == "meta" or ways[len(said)] in loads, "weights were loaded"
        return read(*args, **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", without_weights)
    Path("my.yaml").write_text(yaml.safe_dump(settings(path)))
    for command in (
        ["check", "--configfile", "my.yaml"],
        ["plan", "--configfile", "my.yaml", "--no-jobs"],
        ["translate", path, "--direction", "en-de"],
    ):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"one\n")))
        with pytest.raises(SystemExit):
            cli.main(command)
        lines = capsys.readouterr().err.splitlines()
        said[command[0]] = next(line for line in lines if line.startswith(f"lander {command[0]}: error: "))
        assert lines[-1] == said[command[0]]
    with pytest.raises(UserError) as caught:
        lander.load(path)
    said["load"] = str(caught.value)
    return said


# ---------------------------------------------------------------- what config.json and the names of files tell


CONFIGS = {  # keys of config.json -> what the refusal names
    "gptq": ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantised (quantization_config: gptq)"),
    "awq": ({"quantization_config": {"quant_method": "awq"}}, "awq"),
    "bitsandbytes": ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "bitsandbytes"),
    "fp8": ({"quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic"}}, "fp8"),
    "mlx": ({"quantization": {"group_size": 64, "bits": 4}}, "take the model that it was made from"),
    "compressed": ({"compression_config": {"format": "int-quantized"}}, "compression_config"),
    "mxfp4": (
        {"model_type": "gpt_oss", "num_local_experts": 32, "quantization_config": {"quant_method": "mxfp4"}},
        "'gpt_oss' are not supported",
    ),
    "mixtral": ({"model_type": "mixtral", "num_local_experts": 8}, "several FFNs (experts)"),
    "qwen3_moe": ({"model_type": "qwen3_moe", "num_experts": 128}, "several FFNs (experts)"),
    "deepseek": ({"model_type": "deepseek_v3", "n_routed_experts": 256, "auto_map": {}}, "several FFNs (experts)"),
    "gemma3": ({"model_type": "gemma3", "text_config": {}, "vision_config": {"a": 1}}, "pictures or sound"),
    "mistral3": ({"model_type": "mistral3", "text_config": {"model_type": "mistral"}}, "pictures or sound"),
    "nllb": ({"model_type": "m2m_100", "is_encoder_decoder": True}, "an encoder and a decoder"),
    "own code": ({"model_type": "mymodel", "auto_map": {"AutoConfig": "x.Y"}}, "need code of their own"),
    "phi3": ({"model_type": "phi3"}, "gate and input projection in one matrix"),
    "unknown": ({"model_type": "gpt2"}, "docs/new-family.md"),
    "no type": ({"model_type": None}, "names no model_type"),
    "slow bloom": ({"slow_but_exact": True, "pretraining_tp": 4}, "slow_but_exact"),
    "encoder": ({"is_encoder_decoder": True}, "is_encoder_decoder is set"),
    "empty quantisation": ({"quantization_config": {}}, "quantization_config is empty"),
    "no norm": ({"layer_norm_epsilon": float("nan")}, "layer_norm_epsilon is nan"),
    "negative norm": ({"rms_norm_eps": -1.0}, "rms_norm_eps is -1.0"),
    "no heads": ({"n_head": 0}, "n_head is 0"),
    "no window": ({"model_type": "mistral", "sliding_window": 0}, "sliding_window is 0"),
    "no cap": ({"model_type": "gemma2", "final_logit_softcapping": 0.0}, "final_logit_softcapping is 0.0"),
    "no positions": ({"rope_parameters": {"full_attention": {"factor": 0}}}, "factor is 0"),
    "dropout": ({"hidden_dropout": 1.5}, "hidden_dropout is 1.5"),
    "own names": ({"transformers_weights": "x.safetensors"}, "transformers_weights"),
}


@pytest.mark.parametrize(("keys", "what"), CONFIGS.values(), ids=CONFIGS)
def test_configs_of_other_models(folder, monkeypatch, capsys, keys, what):
    set_keys(folder / "config.json", **keys)
    for said in refusals("base", monkeypatch, capsys).values():
        assert "model.path: base/config.json: " in said
        assert what in said


MADE = {  # family, keys of config.json of which transformers makes no model -> what is said
    "type": ("llama", {"hidden_size": "16"}, "hidden_size"),
    "list": ("llama", {"max_position_embeddings": [511, 0]}, "max_position_embeddings"),
    "activation": ("llama", {"hidden_act": "swiglu2"}, "swiglu2"),
    "positions": ("llama", {"rope_scaling": {"rope_type": "magic", "factor": 2.0}}, "magic"),
    "padding": ("llama", {"pad_token_id": 9999}, "Padding_idx"),
    "two classes": ("llama", {"architectures": ["MistralForCausalLM"]}, "architectures says MistralForCausalLM"),
}


@pytest.mark.parametrize(("family", "keys", "what"), MADE.values(), ids=MADE)
def test_configs_of_which_no_model_can_be_made(sound, folder, monkeypatch, capsys, family, keys, what):
    """Neither the tokenizer nor the weights are blamed."""
    shutil.rmtree(folder)
    shutil.copytree(sound[family], folder)
    set_keys(folder / "config.json", **({"vocab_size": 300} | keys))
    for said in refusals("base", monkeypatch, capsys, ("translate", "load")).values():
        assert "model.path: base/config.json: " in said
        assert what in said
        assert "take the config.json that belongs to these weights, or correct it" in said


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_a_kind_of_attention_that_is_not_here(folder, key):
    expected = loading.load_model("base")(toys.ids()).logits
    set_keys(folder / "config.json", **{key: "flash_attention_2"})
    assert torch.equal(loading.load_model("base")(toys.ids()).logits, expected)


def _only(name: str, content: str = "{}"):
    """Make a folder with one file alone."""

    def make(folder: Path) -> None:
        shutil.rmtree(folder)
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(content)

    return make


def _without(*names: str, extra: str | None = None, content: bytes = b"0"):
    """Remove files of a folder, and put another one into it."""

    def make(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()
        if extra:
            (folder / extra).write_bytes(content)

    return make


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 269060552\n"
FOLDERS = {  # what is made of the base -> what the refusal says
    "peft": (_only("adapter_config.json"), "a PEFT adapter; merge it into its base"),
    "peft in a base": (_without(extra="adapter_config.json"), "a whole model and a PEFT adapter in one folder"),
    "peft with a config": (_without("model.safetensors", extra="adapter_config.json"), "PEFT adapter"),
    "gguf": (_only("m.Q4_K_M.gguf"), "`lander convert base/m.Q4_K_M.gguf --out FOLDER`"),
    "gguf with a config": (_without("model.safetensors", extra="m.gguf"), "`lander convert base/m.gguf"),
    "trainer": (_only("checkpoint-500/config.json"), "as base/checkpoint-500"),
    "cache": (_only("snapshots/abc/config.json"), "as base/snapshots/abc"),
    "deepspeed": (_without("model.safetensors", extra="zero_to_fp32.py"), "python zero_to_fp32.py . OUT"),
    "meta": (_only("params.json"), "makers' own format"),
    "flax": (_without("model.safetensors", extra="flax_model.msgpack"), "a model of Flax"),
    "names": (_without("model.safetensors", extra="w.safetensors"), "without model.safetensors.index.json"),
    "lfs": (_without(extra="model.safetensors", content=LFS), "model.safetensors is a pointer of git LFS"),
    "lfs tokenizer": (_without(extra="tokenizer.json", content=LFS), "tokenizer.json is a pointer of git LFS"),
    "fsdp": (
        _only("pytorch_model_fsdp_0/__0_0.distcp"),
        "a checkpoint of FSDP in pieces (base/pytorch_model_fsdp_0/__0_0.distcp)",
    ),
    "trained": (_only("lander.json"), "trained by Lander"),
    "nothing": (_only("README.md"), "it has no config.json"),
}


@pytest.mark.parametrize(("make", "what"), FOLDERS.values(), ids=FOLDERS)
def test_folders_of_something_else(folder, monkeypatch, capsys, make, what):
    make(folder)
    for said in refusals("base", monkeypatch, capsys).values():
        assert "model.path: base: " in said
        assert what in said


def test_links_and_files_that_name_themselves(folder, monkeypatch, capsys):
    """What is wrong with one file of a folder is told with its name."""
    (folder / "generation_config.json").write_text("{oops")
    for said in refusals("base", monkeypatch, capsys).values():
        assert "model.path: base/generation_config.json: cannot be read as JSON" in said
    (folder / "generation_config.json").unlink()
    (folder / "tokenizer.json").write_text("{oops")
    assert "model.path: base/tokenizer.json: cannot be read as JSON" in _told(lambda: lander.load("base"))
    (folder / "tokenizer.json").unlink()
    assert "there is no tokenizer.json; copy the model again" in _told(lambda: lander.load("base"))
    (folder / "model.safetensors").rename("elsewhere")
    (folder / "model.safetensors").symlink_to("blob")
    assert "model.path: base/model.safetensors: a link to a file that is not there (blob)" in _told(
        lambda: lander.load("base")
    )


def test_files_in_place_of_folders(folder, monkeypatch, capsys):
    Path("m.gguf").write_bytes(b"GGUF")
    for path, what in (("m.gguf", "`lander convert m.gguf --out FOLDER`"), ("base/config.json", "name its folder")):
        for said in refusals(path, monkeypatch, capsys).values():
            assert f"model.path: {path}: a file" in said
            assert what in said


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("results/nothere", "no such folder"),  # Lander's own, although there is no folder `results` here
        ("models/bloum", "did you mean bloom?"),
        ("models/other", "models has bloom"),
        ("./base2", "did you mean base?"),
        ("results/r/finetune/full/main/s0", "no such folder"),
        ("https://huggingface.co/bigscience/bloom-560m", "the owner/name of a model on the hub"),
        ("file:///base", "the whole path of a folder"),
    ],
)
def test_a_mistyped_folder_is_told_without_asking_the_hub(folder, monkeypatch, capsys, path, what):
    Path("models/bloom").mkdir(parents=True)
    for name in ("snapshot_download", "hf_hub_download"):
        monkeypatch.setattr(huggingface_hub, name, lambda *_, **__: pytest.fail("the hub was asked"))
    for said in refusals(path, monkeypatch, capsys).values():
        assert f"model.path: {path}: no such folder" in said
        assert what in said
        assert "rm " not in said


def test_a_built_in_name_with_a_slash():
    assert bases.find_folder("lander-tiny/") == bases.BUILT_IN / "lander-tiny"


@pytest.mark.parametrize("flag", ["base", "revision"])
def test_what_a_base_does_not_have(folder, flag):
    assert f"{flag}: x, but base is no" in _told(lambda: lander.load("base", **{flag: "x"}))


def test_a_hub_id_is_asked_for_once_where_there_is_no_network(folder, monkeypatch):
    """Each of the library's own requests would be repeated for half a minute."""
    asked = []

    def refuse(*args: Any, **_options: Any) -> None:
        asked.append(args)
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(UserError, match=r"no such folder, and cannot be fetched from the hub \(no network\)"):
        lander.load("owner/nothere")
    assert asked == [("owner/nothere",)]


def test_a_model_of_the_hub_is_refused_before_its_weights_are_fetched(folder, monkeypatch):
    set_keys(folder / "config.json", model_type="mixtral", num_local_experts=8)
    asked = []

    def fetch(_path: str, revision: str | None, allow_patterns: tuple[str, ...]) -> str:
        asked.extend(allow_patterns)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    with pytest.raises(UserError, match="experts"):
        loading.load("owner/name")
    assert "config.json" not in asked
    assert not any("safetensors" in pattern for pattern in asked)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: str(folder / "config.json"))
    with pytest.raises(UserError, match="experts"):  # of a model in the cache: before the run
        config.load(settings("owner/name"))


# ---------------------------------------------------------------- tokens


def test_a_token_without_a_row(folder, monkeypatch, capsys):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<unk_word>"])
    while len(tokenizer) <= read_json(folder / "config.json")["vocab_size"]:
        tokenizer.add_tokens([f"<word{len(tokenizer)}>"])
    tokenizer.save_pretrained(folder)
    for said in refusals("base", monkeypatch, capsys).values():
        assert "rows for 300 tokens" in said
        assert repr(tokenizer.convert_ids_to_tokens(300)) in said


def test_a_special_token_without_a_row_that_no_text_can_have(folder):
    """Gemma 3's tokenizer has `<image_soft_token>` behind the last row of its text models."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    filler = [f"<f{number}>" for number in range(300 - len(tokenizer))]
    tokenizer.add_special_tokens({"additional_special_tokens": [*filler, "<image_soft_token>"]})
    tokenizer.save_pretrained(folder)
    translator = lander.load(str(folder))
    assert max(translator.codec.prompt("a <image_soft_token>")) < 300
    translator.translate(["a <image_soft_token>"], "en-de", max_new_tokens=2)
    tokenizer.eos_token = "<image_soft_token>"
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match="as '<image_soft_token>'"):
        lander.load(str(folder))


@pytest.mark.parametrize("family", ["qwen2", "gemma", "llama", "bloom"])
@pytest.mark.parametrize("name", ["Qwen2Tokenizer", "GemmaTokenizer", "LlamaTokenizerFast", "PreTrainedTokenizerFast"])
@pytest.mark.parametrize("kind", toys.TOKENIZERS)
def test_text_is_split_as_the_tokenizers_file_says(tmp_path, family, name, kind):
    """Whatever family transformers takes it for (its issue 45488: spaces were lost)."""
    where = tmp_path / "base"
    trained.base(where, family, toys.TOKENIZERS[kind]())
    set_keys(where / "tokenizer_config.json", tokenizer_class=name)
    codec, text = loading.load_codec(str(where)), "one, two  words é 中"
    own = Tokenizer.from_file(str(where / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    assert codec._encode([text]) == [own]
    assert codec.decode(own) == text


# ---------------------------------------------------------------- weights that config.json does not describe


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_weights_that_a_family_is_known_to_carry(sound, tmp_path, family):
    """Buffers that older checkpoints hold and that the model computes itself; a tied head that is written out."""
    where = shutil.copytree(sound[family], tmp_path / "base")
    expected = loading.load_model(str(where))(toys.ids()).logits
    embeddings = {"bloom": "transformer.word_embeddings", "gpt_neox": "gpt_neox.embed_in"}

    def more(tensors):
        if family == "gpt_neox":
            tensors["gpt_neox.layers.0.attention.bias"] = torch.ones(1, 1, 4, 4, dtype=torch.bool)
            tensors["gpt_neox.layers.0.attention.masked_bias"] = torch.tensor(-1e9)
            tensors["gpt_neox.layers.0.attention.rotary_emb.inv_freq"] = torch.ones(2)
        elif family != "bloom":
            tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(2)
        if read_json(where / "config.json").get("tie_word_embeddings", family == "bloom"):
            tensors["lm_head.weight"] = tensors[f"{embeddings.get(family, 'model.embed_tokens')}.weight"].clone()

    spoil(where, more)
    assert torch.equal(loading.load_model(str(where))(toys.ids()).logits, expected)


def renamed(prefix: str):
    return lambda tensors: {f"{prefix}{name}": value for name, value in tensors.items()}


WEIGHTS = {  # change of the tensors of a BLOOM -> what the refusal names
    "bias": (lambda t: t.update({"lm_head.bias": torch.ones(300)}), ("1 of its weights", "lm_head.bias")),
    "q_norm": (lambda t: t.update({"transformer.h.0.self_attention.q_norm.weight": torch.ones(4)}), ("q_norm",)),
    "layer": (
        lambda t: t.update({n.replace("h.2.", "h.3."): v.clone() for n, v in t.items() if "h.2." in n}),
        ("12 of its weights have no place", "transformer.h.3.input_layernorm.bias"),
    ),
    "value head": (lambda t: t.update({"v_head.summary.weight": torch.ones(1, 4)}), ("v_head.summary.weight",)),
    "compiled": (renamed("_orig_mod."), ("where the files have _orig_mod.", "a wrapper's '_orig_mod.'")),
    "parallel": (renamed("module."), ("where the files have module.", "a wrapper's 'module.'")),
    "int8": (
        lambda t: {name: value.to(torch.int8) for name, value in t.items()},
        ("model.safetensors: transformer.", "is of type I8", "quantised"),
    ),
    "zero 3": (lambda t: {name: value.view(-1)[:0] for name, value in t.items()}, ("is empty", "zero_to_fp32.py")),
    "shape": (
        lambda t: t.update({"transformer.ln_f.weight": torch.ones(15)}),
        ("transformer.ln_f.weight: (15,) and not (16,)",),
    ),
    "none": (lambda t: {"x": torch.ones(1)}, ("where the files have x",)),
}


@pytest.mark.parametrize(("change", "named"), WEIGHTS.values(), ids=WEIGHTS)
def test_other_weights_than_config_json_describes(folder, monkeypatch, capsys, change, named):
    spoil(folder, change)
    for way, said in refusals("base", monkeypatch, capsys, ("translate", "load")).items():
        assert "model.path: base" in said, way
        assert all(name in said for name in named), way


def _told(action) -> str:
    with pytest.raises(UserError) as caught:
        action()
    return str(caught.value)


def test_a_head_of_its_own_where_config_json_ties_it(sound, tmp_path):
    """As PEFT leaves it (its issue 2777): the file has both, so the model has, and what is saved of it."""
    where = shutil.copytree(sound["bloom"], tmp_path / "base")
    spoil(where, lambda t: t.update({"lm_head.weight": t["transformer.word_embeddings.weight"] + 1}))
    network, _ = loading.load(str(where))
    assert torch.equal(network.lm_head.weight, network.transformer.word_embeddings.weight + 1)
    assert network.config.tie_word_embeddings is False


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("values", "wrong"),
    [([float("nan")], 1), ([float("inf")], 1), ([float("inf"), -float("inf")], 2)],
    ids=["nan", "inf", "both"],
)
def test_numbers_that_are_none_are_told_by_the_name_of_their_tensor(folder, dtype, values, wrong):
    name = "transformer.h.1.mlp.dense_h_to_4h.weight"

    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name].view(-1)[: len(values)] = torch.tensor(values)

    spoil(folder, change)
    said = _told(lambda: loading.load_model(str(folder), dtype=dtype))
    assert f"model.path: base: {name}: {wrong} of its 1,024 numbers" in said


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_numbers_of_which_none_are_computed(folder, dtype):
    """Their sum is infinite, but they are numbers; what comes of them is none."""
    loading.check_numbers({"x": torch.full((3,), 3e38)}, "here")
    spoil(folder, lambda t: t.update({"transformer.ln_f.weight": torch.full((16,), 3e38)}))
    assert "the model computes infinite numbers or none" in _told(lambda: loading.load_model("base", dtype=dtype))


@pytest.mark.parametrize("beams", [1, 3])
def test_a_text_for_which_none_are_computed(folder, beams):
    """Of one token, so that the model itself passes for sound."""
    translator = lander.load("base")
    embeddings = translator.network.get_input_embeddings()
    embeddings.register_forward_hook(lambda _, inputs, out: out.masked_fill(inputs[0][..., None] == 50, torch.inf))
    assert translator.losses([[51, 52]], [[51]], None)
    for action in (
        lambda: translator.losses([[51, 52], [50, 51]], [[51], [51]], None),
        lambda: translator.generate([[51, 52], [50, 51]], Decoding(beams=beams, max_new_tokens=3)),
    ):
        assert "the model computes infinite numbers or none" in _told(action)


def test_a_model_that_does_not_run(folder, monkeypatch):
    """What a config can say wrong has no end."""
    monkeypatch.setattr(BloomForCausalLM, "forward", lambda *_, **__: 1 / 0)
    assert "base: the model does not run (division by zero)" in _told(lambda: lander.load("base"))


@pytest.mark.parametrize("method", ["lora", "adapter", "layers", "landermt"])
def test_numbers_that_are_none_in_what_was_trained(tmp_path, method):
    """In a folder whose digests are right, as others may send it."""
    made = trained.make(tmp_path, method)
    file = next(path for path in made.path.glob("*.safetensors"))
    tensors = load_file(file)
    name = sorted(tensors)[0]
    tensors[name].view(-1)[0] = float("nan")
    save_file(tensors, file, {"format": "pt"})
    manifest = read_json(made.path / "lander.json")
    write_json(made.path / "lander.json", manifest | {"files": manifest["files"] | {file.name: sha256(file)}})
    assert f"{file}: {name}: 1 of its" in _told(lambda: lander.load(str(made.path)))


# ---------------------------------------------------------------- the digest


def shard(folder: Path, names: tuple[str, str]) -> None:
    """Weights in two files of these names, as an index says."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    where = {name: names[number % 2] for number, name in enumerate(sorted(tensors))}
    for file in names:
        save_file({name: tensors[name] for name in tensors if where[name] == file}, folder / file, {"format": "pt"})
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": where})


@pytest.mark.parametrize(
    "names", [("model-1-of-2.safetensors", "model-2-of-2.safetensors"), ("a.safetensors", "b.safetensors")]
)
def test_the_digest_covers_what_is_loaded(folder, names):
    expected = lander.load("base").logits(toys.ids(), torch.ones_like(toys.ids()), None)
    shard(folder, names)
    (folder / "model-9-of-9.safetensors").write_bytes(b"of no index")
    assert torch.equal(lander.load("base").logits(toys.ids(), torch.ones_like(toys.ids()), None), expected)
    before = loading.digest("base")
    assert before == "sha256:" + sha256(folder / "config.json", *(folder / name for name in names))
    tensors = load_file(folder / names[1])
    first = sorted(tensors)[0]
    save_file(tensors | {first: tensors[first] + 1}, folder / names[1], {"format": "pt"})
    assert loading.digest("base") != before
    (folder / names[1]).unlink()
    assert f"{names[1]} is missing, which the index names" in _told(lambda: bases.find_folder("base"))


def test_an_adapter_is_never_put_on_a_model_in_silence(folder):
    """transformers does, where the folder has one."""
    network = peft.get_peft_model(
        BloomForCausalLM.from_pretrained(folder), peft.LoraConfig(r=2, target_modules=["query_key_value"])
    )
    network.save_pretrained(folder)
    assert "move adapter_config.json away" in _told(lambda: lander.load(str(folder)))
    (folder / "adapter_config.json").unlink()
    names = [name for name, _ in lander.load(str(folder)).network.named_parameters()]
    assert not any("lora" in name for name in names)
