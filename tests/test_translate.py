"""Decoding: order, truncation, prompts; and the languages and directions that it is asked for."""

import json

import pandas as pd
import pytest
import toys

from lander import tables
from lander.codec import Codec
from lander.data.templates import Template
from lander.errors import UserError
from lander.languages import Direction, language_name, parse_direction
from lander.translate import choose_prompts, parse_test, write_translations
from lander.translator import Translator, by_length, first_line


@pytest.fixture
def translator() -> Translator:
    templates = [Template("plain", "{source}\n"), Template("long", "{source_language} {target_language} {source}\n")]
    network = toys.bloom(vocabulary=300)
    languages = {"en": "English", "de": "German"}
    codec = Codec(toys.bloom_tokenizer())
    return Translator(network, codec, directions=[], languages=languages, templates=templates)


@pytest.mark.parametrize(
    ("output", "expected"),
    [("a b\nc", "a b"), ("\n\n a \n", "a"), ("", ""), ("\n", ""), ("a\x85b", "a"), ("a\u2028b", "a")],
)
def test_the_translation_is_the_first_line_that_is_not_empty(output, expected):
    assert first_line(output) == expected


def test_batches_are_of_similar_length_and_hold_every_place_once():
    prompts = [[0] * n for n in (3, 9, 1, 7, 5)]
    batches = list(by_length(prompts, 2))
    assert batches == [[1, 3], [4, 0], [2]]


def test_outputs_keep_their_order_whatever_the_batch_size(translator, monkeypatch):
    def echo(_self, prompts, _beams, _max_new_tokens):
        return [[*prompt, 2, 9, 9] for prompt in prompts]  # the prompt again, its end, and padding behind it

    monkeypatch.setattr(Translator, "generate", echo)
    sentences = ["a", "a much longer sentence than the others", "bb", ""]
    for size in (1, 3, 8):
        assert translator.translate(sentences, "en-de", batch_size=size) == sentences
    assert translator.outputs([], "en-de") == []


def test_greedy_decoding_does_not_depend_on_the_batch(translator):
    sentences = ["a", "a much longer sentence than the others", "bb", ""]
    alone = translator.outputs(sentences, "en-de", max_new_tokens=8, batch_size=1)
    assert translator.outputs(sentences, "en-de", max_new_tokens=8, batch_size=3) == alone


def test_the_prompt_names_the_languages(translator):
    prompt = translator.prompt("Hi\nthere", Direction("en", "de"), translator.templates[1])
    assert prompt == "English German Hi there\n"
    assert translator.prompt("x", Direction("cs", "uk"), translator.templates[1]) == "Czech Ukrainian x\n"


def test_choosing_prompts_takes_the_best_per_direction(translator, monkeypatch):
    def translate(_self, sentences, direction, *, template, **_decoding):
        return ["das ist ein Haus am See"] * len(sentences) if template.name == "long" else [""] * len(sentences)

    monkeypatch.setattr(Translator, "translate", translate)
    dev = {Direction("en", "de"): pd.DataFrame({"source": ["x"], "target": ["das ist ein Haus am See"]})}
    chosen, table = choose_prompts(translator, translator.templates, dev, {})
    assert chosen[Direction("en", "de")].name == "long"
    assert table["chosen"].tolist() == [False, True]
    assert table["bleu"].tolist() == [0, pytest.approx(100)]


def test_translations_are_one_json_object_a_line(tmp_path):
    items = pd.DataFrame({"source": ['say "x"\n', "ف"], "target": ["\u2028", "{}"]})
    write_translations(tmp_path / "t.jsonl", items, ["y\nz", ""])
    lines = (tmp_path / "t.jsonl").read_text(encoding="utf-8").split("\n")
    assert len(lines) == 3
    assert json.loads(lines[0]) == {"source": 'say "x"\n', "reference": "\u2028", "raw": "y\nz", "hypothesis": "y"}


def test_a_test_set_on_the_command_line():
    assert parse_test("ntrex:zh-Hant--en:a:b.parquet") == (
        "ntrex",
        Direction("zh-Hant", "en"),
        tables.Path("a:b.parquet"),
    )


def test_directions_and_their_names():
    assert str(parse_direction(["zh-Hant", "en"])) == "zh-Hant--en"
    assert parse_direction("zh-Hant--en") == Direction("zh-Hant", "en")
    assert parse_direction("en-de").pair == parse_direction("de-en").pair == Direction("de", "en")
    assert language_name("zh-Hant") == "Chinese (Traditional)"
    for wrong in ("ende", "en-en", "en-", "zh-Hant-en", ["en"]):
        with pytest.raises(UserError, match="direction"):
            parse_direction(wrong)
    with pytest.raises(UserError, match="write `languages` as a mapping"):
        language_name("qq")
