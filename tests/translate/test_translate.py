"""Decoding: order, truncation, prompts; and the languages and directions that it is asked for."""

import json
import math
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch
import toys

from lander.config.masks import Routing
from lander.data.templates import Template
from lander.finetune.blocks import install
from lander.finetune.switch import Router
from lander.models import loading
from lander.models.tokens import Codec
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.languages import Direction, language_name, parse_direction
from lander.translate.__main__ import Examples, choose_prompts, few_shot, main, parse_test, write_translations
from lander.translate.translator import Decoding, Output, Translator, by_length, first_line, own_templates


@pytest.fixture
def translator() -> Translator:
    templates = [Template("plain", "{source}\n"), Template("long", "{source_language} {target_language} {source}\n")]
    languages = {"en": "English", "de": "German"}
    network, codec = toys.bloom(vocabulary=300), Codec(toys.bloom_tokenizer())
    return Translator(network, codec, languages=languages, templates=templates)


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
    long = [[0] * n for n in (10, 2048, 1365, 20, 9000)]  # at most 4 x 1,024 tokens, if it is not a single sequence
    assert list(by_length(long, 4)) == [[4], [1, 2], [3, 0]]


def test_outputs_keep_their_order_whatever_the_batch_size(translator, monkeypatch):
    def echo(_self, prompts, _decoding):
        return [[*prompt, 2, 9, 9] for prompt in prompts]  # the prompt again, its end, and padding behind it

    monkeypatch.setattr(Translator, "generate", echo)
    sentences = ["a", "a much longer sentence than the others", "bb", ""]
    for size in (1, 3, 8):
        assert translator.translate(sentences, "en-de", batch_size=size) == sentences
    assert translator.outputs([], "en-de") == []


def test_other_codes_of_the_models_languages(translator):
    assert translator.known(Direction("eng", "ger")) == Direction("en", "de")
    assert translator.known(Direction("eng", "de-AT")) == Direction("en", "de-AT")
    assert translator.translate(["a"], "eng-deu", max_new_tokens=4) == translator.translate(
        ["a"], "en-de", max_new_tokens=4
    )


def test_an_output_is_cut_if_it_has_no_end_token_of_the_turn_or_of_the_tokenizer(monkeypatch):
    codec = Codec(toys.chat_tokenizer("qwen"), "chat")
    assert codec.ends == [2, 0]  # <|im_end|>, <|endoftext|>
    network = toys.bloom(vocabulary=300)
    network.generation_config.eos_token_id = [0, 7]  # 7: the base lists one more
    translator = Translator(network, codec, templates=[Template("plain", "{source}\n")])
    written = [[50, 2], [50, 0], [50, 7], [50, 51]]
    monkeypatch.setattr(Translator, "generate", lambda *_: written)
    outputs = translator.complete([[1]] * 4, "en-de", Decoding())
    assert [output.cut for output in outputs] == [False, False, False, True]
    assert [output.text for output in outputs] == [
        *[codec.tokenizer.decode([50])] * 3,
        codec.tokenizer.decode([50, 51]),
    ]


def test_an_empty_sentence_stays_empty_and_what_is_no_list_of_texts_is_refused(translator):
    texts = translator.translate(["", "a", " \n"], "en-de", max_new_tokens=4)
    assert texts == ["", *translator.translate(iter(["a"]), "en-de", max_new_tokens=4), ""]
    assert translator.translate([""], "en-de") == [""]
    for sentences, message in (
        ("Tuesday", r"wants a list of sentences, not 'Tuesday'; write \[sentence\] for a single one"),
        (None, r"wants a list of sentences, not None"),
        (["a", 3], r"sentence 1 of the list is 3, not text"),
        ([None], "sentence 0 of the list is None"),
        ([float("nan")], "is nan, not text"),
        (b"ab", "sentence 0 of the list is 97"),
    ):
        with pytest.raises(UserError, match=message):
            translator.translate(sentences, "en-de")


def test_the_prompt_names_the_languages(translator):
    prompt = translator.prompt("Hi\nthere", Direction("en", "de"), translator.templates[1])
    assert prompt == "English German Hi there\n"
    assert translator.prompt("x", Direction("cs", "uk"), translator.templates[1]) == "Czech Ukrainian x\n"


@pytest.mark.parametrize(
    ("direction", "shift"),
    [
        ("de-fr", (0.1 + 0.2 + 0.5) / 3),  # all three have German or French
        ("it-de", (0.1 + 0.2) / 2),
        ("fr-it", 0.5),
        ("it-es", (0.1 + 0.2 + 0.5) / 3),  # none has one of them: all
        ("fr-en", (0.1 + 0.2 + 0.5) / 3),  # has masks, and was not trained
        ("en-fr", 0.5),
    ],
)
def test_an_untrained_direction_has_the_mean_shift_of_its_languages(direction, shift):
    owners = [None, "en", "de", None, "fr", "it", "es"]
    masks = {name: toys.mask([1], 64, *name.split("-"), owners) for name in ("en-de", "de-en", "en-fr", "fr-en")}
    network = toys.bloom(vocabulary=300)
    routed = install(network, masks, Router(), Routing())[1]
    for name, value in {"en-de": 0.1, "de-en": 0.2, "en-fr": 0.5}.items():
        routed.gates[name].shift.data.fill_(value)
    trained = [Direction("en", "de"), Direction("de", "en"), Direction("en", "fr")]
    translator = Translator(network, Codec(toys.bloom_tokenizer()), directions=trained)
    network.eval()
    translator.route(direction)
    [general, *specific] = routed.scales(routed.shifts(), routed.router.direction)
    assert float(general) == pytest.approx(0.8 + shift)
    codes = direction.split("-")
    expected = {code: (0.2 if code in codes else None) for code in ("en", "de", "fr", "it", "es")}
    assert [part if part is None else float(part) for part in specific] == [
        None if scale is None else pytest.approx(scale - shift) for scale in expected.values()
    ]
    routed.train()  # of what training computes nothing changes
    assert set(routed.shifts(torch.zeros(1, 2, 16))) == set(masks)


def test_choosing_prompts_takes_the_best_per_direction_and_the_best_in_the_mean(translator, monkeypatch):
    """Prompt b is best in neither direction, and best in the mean."""
    whole, most = "das ist ein Haus am See", "das ist ein Haus am Meer"
    written = {"en-de": {"a": whole, "b": most, "c": ""}, "fr-de": {"a": "", "b": most, "c": whole}}

    def translate(_self, sentences, direction, *, template, **decoding):
        assert decoding["beams"] == 2
        return [written[str(direction)][template.name]] * len(sentences)

    monkeypatch.setattr(Translator, "translate", translate)
    dev = {Direction(code, "de"): pd.DataFrame({"source": ["x"], "target": [whole]}) for code in ("en", "fr")}
    candidates = [Template(name, "{source}\n") for name in "abc"]
    chosen, best, table = choose_prompts(translator, candidates, dev, Decoding(beams=2))
    assert [template.name for template in chosen.values()] == ["a", "c"]
    assert best.name == "b"
    assert table["chosen"].tolist() == [True, False, False, False, False, True]
    assert table["bleu"].tolist()[:3:2] == [pytest.approx(100), 0]


def test_translations_are_one_json_object_a_line(tmp_path):
    items = pd.DataFrame({"source": ['say "x"\n', "ف"], "target": ["\u2028", "{}"]})
    write_translations(tmp_path / "t.jsonl", items, [Output("y\nz", False), Output("", True)], [1.23456, math.inf])
    lines = (tmp_path / "t.jsonl").read_text(encoding="utf-8").split("\n")
    assert len(lines) == 3
    texts = {"source": 'say "x"\n', "reference": "\u2028", "raw": "y\nz", "hypothesis": "y"}
    assert json.loads(lines[0]) == {**texts, "cut": False, "loss": 1.2346}
    assert json.loads(lines[1])["cut"]
    assert json.loads(lines[1])["loss"] is None


def test_a_test_set_on_the_command_line():
    assert parse_test("ntrex:zh-Hant--en:a:b.parquet") == ("ntrex", Direction("zh-Hant", "en"), Path("a:b.parquet"))


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


def examples(shots: int, seed: int = 0, extra: tuple[tuple[str, str], ...] = ()) -> Examples:
    rows = [*((f"source {i}", f"target {i}") for i in range(20)), *extra]
    return Examples(pd.DataFrame(rows, columns=["source", "target"]), Direction("en", "de"), shots, seed)


def items(*sentences: str) -> pd.DataFrame:
    return pd.DataFrame({"source": sentences, "target": ["reference"] * len(sentences)})


def prompts_of(translator: Translator, table: pd.DataFrame, shots: Examples, new: int = 8) -> tuple[list[str], list]:
    tokens, kept = few_shot(translator, table, translator.templates[1], shots, new)
    return [translator.codec.decode(prompt) for prompt in tokens], kept


def test_a_prompt_with_examples_by_hand(translator):
    drawn = examples(2).draw("Hi", "reference")
    (prompt,), kept = prompts_of(translator, items("Hi"), examples(2))
    (one, eins), (two, zwei) = drawn
    assert prompt == f"English German {one}\n{eins}\n\nEnglish German {two}\n{zwei}\n\nEnglish German Hi\n"
    assert kept == [2]
    assert len({one, two}) == 2
    assert eins == one.replace("source", "target")


def test_examples_depend_on_the_sentence_and_the_seed_alone(translator):
    sentences = ["a", "bb", "ccc", "bb"]
    together, _ = prompts_of(translator, items(*sentences), examples(3))
    alone = [prompts_of(translator, items(sentence), examples(3))[0][0] for sentence in reversed(sentences)]
    assert together == alone[::-1]
    assert together[1] == together[3]
    assert together[0].removesuffix("a\n") != together[2].removesuffix("ccc\n")  # another sentence, another draw
    assert prompts_of(translator, items("a"), examples(3, seed=1))[0][0] != together[0]


def test_examples_are_drawn_evenly_and_never_hold_the_test_item():
    """Case and punctuation do not hide it; its translation alone would give the answer away, too."""
    own = (("Hi!", "x"), ("hi", "y"), ("other", "Reference."))
    pool = examples(23 - len(own), extra=own)
    drawn = pool.draw("HI", "reference")
    assert sorted(drawn) == sorted((f"source {i}", f"target {i}") for i in range(20))
    one = examples(1)
    counts = Counter(one.draw(f"sentence {i}", "")[0] for i in range(2000))  # 100 each, standard deviation 10
    assert len(counts) == 20
    assert 60 < min(counts.values()) < max(counts.values()) < 140


def test_a_prompt_that_does_not_fit_loses_its_first_examples(translator):
    (whole,), _ = prompts_of(translator, items("Hi"), examples(3))
    parts = whole.split("\n\n")
    translator.network.config.max_position_embeddings = len(whole) - 1 + 8  # a byte is a token
    (shorter,), kept = prompts_of(translator, items("Hi"), examples(3))
    assert (shorter, kept) == ("\n\n".join(parts[1:]), [2])
    translator.network.config.max_position_embeddings = 3
    assert prompts_of(translator, items("Hi"), examples(3)) == ([parts[-1]], [0])


def test_too_few_examples_are_told():
    with pytest.raises(UserError, match="21 examples are asked for, and en-de has 20 training pairs"):
        examples(21)


def test_in_context_on_the_command_line(translator, tmp_path, monkeypatch):
    """Whatever the batch size; the first line is the translation, and what was left out is counted."""
    place = {"target": "y", "template": 0, "origin": "toy", "line": range(3)}
    tables.write(tmp_path / "train.parquet", pd.DataFrame({"source": ["one", "two", "a"], **place}), "train")
    test = pd.DataFrame({"source": ["a", "b c"], "target": "r", "origin": "toy", "line": range(2)})
    tables.write(tmp_path / "test.parquet", test, "heldout")
    monkeypatch.setattr("lander.translate.__main__.load", lambda *_, **__: translator)
    monkeypatch.setattr(Translator, "generate", lambda _self, prompts, *_: prompts)  # it writes its prompt again

    def run(name: str, *flags: str) -> str:
        command = f"translate --model toy --template labels --max-new-tokens 4 --out-dir {tmp_path}/{name}"
        names = ["--languages", '{"en": "English", "de": "German"}', "--test", f"t:en-de:{tmp_path}/test.parquet"]
        monkeypatch.setattr(sys, "argv", [*command.split(), *names, *flags])
        main()
        return (tmp_path / name / "t" / "en-de.jsonl").read_text()

    shots = ["--shots", "3", "--examples", f"en-de:{tmp_path}/train.parquet", "--seed", "5"]
    assert run("one", *shots, "--batch-size", "1") == run("two", *shots, "--batch-size", "2") != run("zero")
    row = json.loads(run("one", *shots).splitlines()[1])
    assert row["raw"].endswith("y\n\nEnglish: b c\nGerman:\n")
    assert row["hypothesis"] == row["raw"].split("\n")[0]
    assert row["raw"].count("English: ") == 4
    (part,) = json.loads((tmp_path / "one" / "run.json").read_text())["parts"]
    assert (part["shots_dropped"], part["sentences_with_fewer_shots"]) == (1, 1)  # "a" may not be its own example
    with pytest.raises(UserError, match="--examples: no training pairs for en-de"):
        run("none", "--examples", f"de-en:{tmp_path}/train.parquet")


def test_sentences_of_several_directions_share_batches():
    """On the built-in base, with blocks of random owners: texts to the last letter."""
    network, codec = loading.load("lander-tiny", dtype="float32")
    install(network, toys.masks([1, 4], 512), Router(), Routing(gate="static"))
    languages = {"en": "English", "de": "German", "fr": "French"}
    translator = Translator(network, codec, [], languages, own_templates("lander-tiny"))
    sentences = ["Germany", "in 3 months", "Sri Lanka", "tiger and honey pot", "", "yesterday", "Monday, 3 May"] * 2
    directions = ["en-de", "en-fr", "de-en", "fr-en", "en-de"] * 3
    how = {"max_new_tokens": 12, "batch_size": 9}
    mixed = translator.outputs(sentences, directions[:14], **how)
    alone = [translator.outputs([text], one, **how)[0] for text, one in zip(sentences, directions, strict=False)]
    assert mixed == alone
    assert len({output.text for output in mixed}) > 6
    with pytest.raises(UserError, match="15 directions for 14 sentences"):
        translator.outputs(sentences, directions)
