"""Decoding in a batch that shrinks: the tokens of Hugging Face's own loop, and no row that waits."""

from itertools import combinations

import pytest
import torch
import toys
from transformers import GenerationConfig

from lander.data.templates import Template
from lander.models import loading, losses
from lander.models.tokens import Codec
from lander.translate.decoding import SPARE, greedy, similar
from lander.translate.translator import Decoding, Translator

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
