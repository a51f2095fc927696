"""Prompts and translations as tokens, with tokenizers in the manner of BLOOM, LLaMA and Qwen."""

import pytest
import torch
import toys

from lander.models.tokens import IGNORED, Codec, save_tokenizer
from lander.shared.errors import UserError
from lander.shared.files import read_json, write_json

NASTY = [
    "a</s>b<s>", "<|endoftext|> x", "<pad><unk>", "{source}", "قال «نعم»", "你好，世界", "a\x00b", " lead and trail ",
]  # fmt: skip


@pytest.fixture(params=toys.TOKENIZERS)
def codec(request) -> Codec:
    return Codec(toys.TOKENIZERS[request.param]())


def test_beginning_token_once_and_never_before_the_translation():
    assert [Codec(toys.TOKENIZERS[name]()).prefix for name in ("llama", "bloom", "qwen")] == [[1], [], []]
    codec = Codec(toys.llama_tokenizer())
    assert codec.prompt("ab").count(1) == 1
    assert codec.prompt("ab")[0] == 1
    assert 1 not in codec.target("ab")
    assert codec.sentence("ab").count(1) == 1


@pytest.mark.parametrize("text", NASTY)
def test_special_token_strings_stay_text_and_text_survives(codec, text):
    special = {codec.end, codec.pad, *codec.prefix}
    assert not special & set(codec.prompt(text)[len(codec.prefix) :])
    target = codec.target(text)
    assert target.count(codec.end) == 1
    assert target[-1] == codec.end
    assert codec.decode(target) == text
    assert codec.decode(target + codec.target("cd")) == text  # up to the first end token


def test_prompt_is_the_same_in_training_and_decoding(codec):
    prompt, target = codec.prompt("Translate:\nab\n"), codec.target("cd")
    training = codec.pad_right([prompt + target], [len(prompt)]).input_ids[0].tolist()
    decoding = codec.pad_left([prompt]).input_ids[0].tolist()
    assert training[: len(decoding)] == decoding


def test_many_texts_at_once_are_encoded_as_one_by_one(codec):
    assert codec.prompts(NASTY) == [codec.prompt(text) for text in NASTY]
    assert codec.targets(NASTY) == [codec.target(text) for text in NASTY]
    assert codec.prompts([]) == []


def test_loss_on_the_target_and_its_end_only_even_where_padding_is_the_end_token():
    codec = Codec(toys.qwen_tokenizer())
    assert codec.pad == codec.end
    sequences = [[10, 11, 12, codec.end], [10, codec.end]]
    batch = codec.pad_right(sequences, [2, 1])
    assert batch.labels.tolist() == [[IGNORED, IGNORED, 12, codec.end], [IGNORED, codec.end, IGNORED, IGNORED]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.predicted == 3


def test_left_padding_aligns_the_ends():
    batch = Codec(toys.bloom_tokenizer()).pad_left([[7], [8, 9]])
    assert batch.input_ids[:, -1].tolist() == [7, 9]
    assert torch.equal(batch.attention_mask, torch.tensor([[0, 1], [1, 1]]))


def test_a_tokenizer_without_an_end_token_is_refused():
    tokenizer = toys.PreTrainedTokenizerFast(tokenizer_object=toys.bloom_tokenizer().backend_tokenizer)
    with pytest.raises(UserError, match="no end token"):
        Codec(tokenizer)


def test_a_tokenizer_is_written_over_that_of_an_earlier_training(tmp_path):
    """transformers writes into the folder of a run, whose files have seals."""
    file = tmp_path / "results" / "r" / "finetune" / "full" / "tokenizer_config.json"
    write_json(file, {"of": "an earlier training"})
    save_tokenizer(toys.llama_tokenizer(), file.parent)
    assert "of" not in read_json(file)
