"""Decoding in a batch that shrinks: the tokens of Hugging Face's own loop, and no row that waits."""

import json
import shutil
from itertools import combinations
from pathlib import Path

import pytest
import torch
import toys
from transformers import AutoModelForCausalLM, GenerationConfig

from lander.data.templates import Template
from lander.models import loading, losses
from lander.models.loading import BUILT_IN, end_tokens, load_model
from lander.models.tokens import Codec
from lander.share.export import export
from lander.shared.languages import Direction
from lander.translate.decoding import SPARE, greedy, similar
from lander.translate.translator import Decoding, Translator, load

PROMPTS = [[5, 9, 13, 7], [6], [8, 11], [12, 5, 6, 31, 40, 33], [41, 42, 43], [50]]


def generate(network, ends: list[int], prefill_chunk_size: int | None = None, **more) -> list[list[int]]:
    """At most 12 new tokens of each prompt up to its end; repetitions are punished, so that they vary."""
    batch = Codec(toys.bloom_tokenizer()).pad_left(PROMPTS)
    options = {"eos_token_id": ends, "pad_token_id": 3, "repetition_penalty": 3.0}
    options |= {"prefill_chunk_size": prefill_chunk_size}
    config = GenerationConfig(max_new_tokens=12, do_sample=False, **options)
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "generation_config": config}
    with torch.inference_mode():
        rows = network.generate(**inputs, **more)
    if more:
        return rows
    return [cut(row, ends) for row in rows[:, batch.input_ids.shape[1] :].tolist()]


def cut(row: list[int], ends: list[int]) -> list[int]:
    """Tokens up to and with the first end."""
    return row[: next((place + 1 for place, token in enumerate(row) if token in ends), len(row))]


def ends_of(network) -> list[int]:
    """Two tokens which, as end tokens, end the rows at as many different steps as can be."""
    free = generate(network, [999])  # no token
    written = sorted({token for row in free for token in row})
    return list(max(combinations(written, 2), key=lambda ends: len({len(cut(row, ends)) for row in free})))


def sliding() -> torch.nn.Module:
    options = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
    return toys.random_model(toys.Qwen2ForCausalLM, toys.Qwen2Config(**toys._gated, **toys._heads, **options))


@pytest.mark.parametrize("family", [*toys.FAMILIES, "sliding"])
def test_tokens_are_those_of_the_librarys_loop(family):
    network = sliding() if family == "sliding" else toys.FAMILIES[family]()
    ends = ends_of(network)
    ours = generate(network, ends, custom_generate=greedy)
    assert ours == generate(network, ends)
    assert len({len(row) for row in ours}) > 2  # otherwise nothing has been tried


@pytest.mark.parametrize("family", [*toys.FAMILIES, "sliding"])
def test_prompts_that_are_read_in_pieces_are_continued_as_before(family):
    network = sliding() if family == "sliding" else toys.FAMILIES[family]()
    widths = []
    whole = generate(network, [999], custom_generate=greedy)
    network.register_forward_pre_hook(
        lambda _m, _a, given: widths.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    assert generate(network, [999], custom_generate=greedy, prefill_chunk_size=2) == whole
    assert max(widths) == 2


def test_no_row_is_computed_after_its_end():
    network, rows = toys.bloom(), []
    ends = ends_of(network)
    count = lambda _module, _args, given: rows.append(len(given["input_ids"]))  # noqa: E731
    network.register_forward_pre_hook(count, with_kwargs=True)
    outputs = generate(network, ends, custom_generate=greedy)
    first = [len(part) for part in similar([len(prompt) for prompt in PROMPTS])]
    assert rows[: len(first)] == first
    assert sum(rows) == sum(map(len, outputs))


def test_prompts_are_read_in_parts_of_similar_length():
    assert similar([10, 1, 100, 96, 9, 91]) == [[2, 3, 5], [0, 4], [1]]  # 287 of 300 tokens, 19 of 20
    lengths = [n * n % 97 + 3 for n in range(200)]
    parts = similar(lengths)
    assert sorted(row for part in parts for row in part) == list(range(200))
    assert all(sum(lengths[row] for row in p) >= (1 - SPARE) * len(p) * lengths[p[0]] for p in parts)
    assert similar([7] * 9) == [list(range(9))]


@pytest.mark.parametrize("beams", [1, 3])
def test_the_translator_writes_what_the_library_writes(beams):
    """Prompts one by one, by a call of `generate` as anybody would write it."""
    codec = Codec(toys.bloom_tokenizer())
    network = toys.bloom(vocabulary=300)
    translator = Translator(network, codec)
    prompts = [codec.prompt(text) for text in ("ab", "x", "a longer text", "cd e")]
    ours = [codec.decode(row) for row in translator.generate(prompts, Decoding(beams, 8))]
    for text, prompt in zip(ours, prompts, strict=True):
        ids = torch.tensor([prompt])
        options = {"num_beams": beams, "do_sample": False, "max_new_tokens": 8, "eos_token_id": codec.ends}
        alone = network.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=codec.pad, **options)
        assert text == codec.decode(alone[0, len(prompt) :].tolist())


@pytest.mark.parametrize("beams", [1, 3])
def test_a_long_prompt_is_read_in_pieces(beams, monkeypatch, capsys):
    """Attention over 10,000 tokens at once took 9 GB. The size of a piece bounds what it needs."""
    assert losses.piece(32, 362) is None  # 32 x 362^2 pairs, just below the bound
    assert losses.piece(1, 10_000) == 419  # 2^22 / 10,000
    codec = Codec(toys.bloom_tokenizer())
    translator = Translator(toys.bloom(vocabulary=300), codec, templates=[Template("t", "{source}\n")])
    whole = translator.outputs(["", "a" * 200], "en-de", beams=beams, max_new_tokens=8)
    widths = []
    count = lambda _m, _a, given: widths.append(given["input_ids"].shape[1])  # noqa: E731
    translator.network.register_forward_pre_hook(count, with_kwargs=True)
    monkeypatch.setattr(losses, "PAIRS_AT_ONCE", 4000)
    monkeypatch.setattr(loading, "ALIBI", 100)
    assert translator.outputs(["", "a" * 200], "en-de", beams=beams, max_new_tokens=8) == whole
    assert max(widths) == 19 if beams == 1 else 16  # 4,000 / 201, or / 603, and at least 16
    assert (
        capsys.readouterr().err.count("warning: sentence 2: 201 tokens with the prompt, and the model is made for 100")
        == 1
    )


SALT = "salt, salt, and salt"


def set_keys(file: Path, **keys) -> None:
    found = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(found | keys))


@pytest.fixture
def base(tmp_path):
    return Path(shutil.copytree(BUILT_IN / "lander-tiny", tmp_path / "base"))


@pytest.fixture(scope="module")
def salt():
    """A prompt for lander-tiny and the most likely tokens behind it, one forward pass each, up to the end token."""
    translator = load("lander-tiny")
    [prompt] = translator.prompts([SALT], Direction("en", "de"))
    network, tokens = AutoModelForCausalLM.from_pretrained(BUILT_IN / "lander-tiny").eval(), list(prompt)
    with torch.inference_mode():
        while tokens[-1] != translator.codec.end:
            tokens.append(int(network(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
    written = tokens[len(prompt) :]
    assert translator.codec.decode(written).split() == ["schlange,", "schlange", "und", "schlange"]
    return prompt, written


@pytest.mark.parametrize(
    "keys",
    [
        {"repetition_penalty": 1.8},
        {"no_repeat_ngram_size": 2, "encoder_no_repeat_ngram_size": 1},
        {"suppress_tokens": list(range(5, 2000))},
        {"bad_words_ids": [[token] for token in range(5, 2000)]},
        {"sequence_bias": [[[50], 90.0]]},
        {"min_new_tokens": 40, "forced_eos_token_id": 7},
        {"exponential_decay_length_penalty": [1, 9.0]},
        {"max_time": 1e-9},
        {"stop_strings": ["a", "e"]},
        {"guidance_scale": 3.0},
        {"watermarking_config": {"greenlist_ratio": 0.5, "bias": 9.0}},
        {"num_return_sequences": 3},
        {"do_sample": True, "temperature": 9.0, "top_k": 0},
        {"return_dict_in_generate": True, "output_scores": True},
        {"use_cache": False},
        {"max_length": 9, "max_new_tokens": 1},
    ],
    ids=lambda keys: next(iter(keys)),
)
@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
def test_greedy_is_argmax_whatever_a_base_says_of_decoding(keys, file, base, salt, tmp_path):
    """Also by default in what an export writes, read by the library alone."""
    prompt, expected = salt
    if file == "config.json":  # without the other one, the library reads these
        (base / "generation_config.json").unlink()
    set_keys(base / file, **keys)
    assert load(base).generate([prompt], Decoding()) == [expected]
    export(base, "en-de", tmp_path / "out")
    network = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert network.generate(torch.tensor([prompt]))[0, len(prompt) :].tolist() == expected


def test_a_config_that_asks_for_tuples(base, salt):
    set_keys(base / "config.json", return_dict=False)
    assert load(base).generate([salt[0]], Decoding()) == [salt[1]]


@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
def test_end_tokens_that_a_base_lists_end_an_output_and_stay_listed(file, base, salt, tmp_path):
    prompt, written = salt
    more = max(written[:-1], key=written.index)  # a late one
    expected = written[: written.index(more) + 1]
    none = [] if file == "config.json" else [9999, -1, "</s>", None]  # no tokens; in a config the library refuses them
    set_keys(base / file, eos_token_id=[2, more, *none])
    translator = load(base)
    assert translator.codec.ends == [2, more]
    assert translator.generate([prompt], Decoding()) == [expected]
    [output] = translator.complete([prompt], "en-de", Decoding())
    assert output == (translator.codec.tokenizer.decode(expected[:-1]), False)
    export(base, "en-de", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text())["eos_token_id"] == [2, more]
    network = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert network.generate(torch.tensor([prompt]))[0, len(prompt) :].tolist() == expected


def test_an_end_token_that_only_the_library_supposes_ends_nothing(tmp_path):
    """LLaMA's config.json without an end token means 2 to the library; in this vocabulary that is text."""
    toys.FAMILIES["llama"]().save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").unlink()
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "eos_token_id"}))
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config.eos_token_id == 2
    assert end_tokens(tmp_path) == []
    assert load_model(str(tmp_path)).generation_config.eos_token_id is None
