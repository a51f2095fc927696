"""Pretraining: documents, windows, tokenizer, schedule, resuming, and the folder that comes out."""

import csv
import json

import numpy as np
import pytest
import torch

from lander.data.sources import parse_sources
from lander.models.pretrain import __main__ as stage
from lander.models.pretrain import trainer
from lander.models.pretrain.documents import END, SPECIAL, Documents, train_tokenizer, windows
from lander.models.pretrain.trainer import Trainer, rate
from lander.shared import guard
from lander.shared.errors import UserError
from lander.shared.files import HERE

NAMES = {"en": "English", "de": "German"}
SINGLE = ["One.", "Two.", "Three.", "Four."]
PARALLEL = [{"en": ["a", "b"], "de": ["A", "B"]}, {"en": ["c"], "de": ["C"]}]
RECIPE = {
    "tokens": 16 * 64, "d_model": 16, "n_layer": 2, "n_head": 2, "vocabulary": 300, "context": 16, "bilingual": 0.5,
    "batch_tokens": 32, "learning_rate": 1e-2, "warmup": 3, "cooldown": 0.25, "weight_decay": 0.1, "clip": 1.0,
    "seed": 0,
}  # fmt: skip


def documents(bilingual: float = 0.5, seed: int = 0) -> Documents:
    return Documents(SINGLE, PARALLEL, NAMES, bilingual, seed)


def test_an_epoch_reads_every_sentence_once_and_every_pair_in_both_directions():
    read = [documents()[k] for k in range(12)]  # every second document is a pair; 4 sentences, 6 ordered pairs
    pairs = [document for document in read if len(document) == 2]
    singles = [document[0] for document in read if len(document) == 1]
    expected = {(f"English: {x}\nGerman:\n", x.upper()) for x in "abc"}
    expected |= {(f"German: {x.upper()}\nEnglish:\n", x) for x in "abc"}
    assert len(pairs) == 6
    assert set(pairs) == expected
    assert sorted(singles[:4]) == sorted(SINGLE)


def test_document_k_follows_from_k_alone_and_epochs_differ():
    forward = [documents()[k] for k in range(100)]
    other = documents()
    assert [other[k] for k in reversed(range(100))] == forward[::-1]
    singles = [document[0] for document in forward if len(document) == 1]
    assert len({tuple(singles[start : start + 4]) for start in range(0, 48, 4)}) > 3
    for bilingual, length in ((0.0, 1), (1.0, 2)):  # the share of pairs may be none or all
        assert {len(documents(bilingual)[k]) for k in range(20)} == {length}


def test_a_source_without_text_or_pairs_is_an_error():
    with pytest.raises(UserError, match="--sources"):
        Documents([], PARALLEL, NAMES, 0.5, 0)
    with pytest.raises(UserError, match="--parallel"):
        Documents(SINGLE, [{"en": ["a"]}], NAMES, 0.5, 0)


def test_the_tokenizer_leaves_special_strings_text_and_loses_nothing():
    tokenizer = train_tokenizer(documents(), 300)
    assert [tokenizer.id_to_token(number) for number in range(4)] == list(SPECIAL)
    for text in ("</s> <pad> 12 Ä 中文 مرحبا 🎄 ", "a  b\n\n c"):
        tokens = tokenizer.encode(text).ids
        assert min(tokens) >= len(SPECIAL)
        assert tokenizer.decode(tokens) == text
    assert len(tokenizer.encode("2026").ids) == 4


def test_a_window_begins_with_a_document_and_goes_on_where_it_was_left():
    tokenizer = train_tokenizer(documents(), 300)
    source = windows(documents(), tokenizer, 16, 0)
    first, number = next(source)
    second, _ = next(source)
    expected = [t for part in documents()[0] for t in tokenizer.encode(part).ids] + [END]
    assert first[: len(expected)].tolist() == expected[:16]
    again, _ = next(windows(documents(), tokenizer, 16, number))
    assert np.array_equal(again, second)


def test_the_rate_warms_up_stays_and_cools_down():
    assert [round(rate(update, 10, 1, 0.4), 3) for update in range(10)] == [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]


def trained(folder, recipe=RECIPE, stop=None, text=None) -> Trainer:
    made = Trainer(recipe, text or documents(), folder / "checkpoint.safetensors")
    if stop:
        made.updates, everything = stop, made.updates
        keep, made.recipe = made.recipe, {**recipe, "cooldown": 1e-9}  # still hot where it is stopped
        made.train()
        made.updates, made.recipe = everything, keep
        made.save_checkpoint()
    else:
        made.train()
    return made


def same(first: Trainer, second: Trainer) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))


def test_a_killed_run_goes_on_to_exactly_the_same_weights(tmp_path, capsys):
    torch.set_num_threads(1)
    whole = trained(tmp_path / "whole")
    trained(tmp_path / "killed", stop=13)
    resumed = trained(tmp_path / "killed")
    assert "going on from update 13" in capsys.readouterr().err
    assert same(whole, resumed)
    assert whole.losses == resumed.losses
    assert whole.losses[-1][2] < whole.losses[0][2]


def test_a_checkpoint_serves_another_budget_while_hot_and_no_other_recipe(tmp_path, capsys):
    torch.set_num_threads(1)
    shorter = {**RECIPE, "tokens": 24 * 32}
    trained(tmp_path / "a", stop=13)
    assert same(trained(tmp_path / "a", shorter), trained(tmp_path / "b", shorter))
    capsys.readouterr()
    for other in ({**RECIPE, "tokens": 15 * 32}, {**RECIPE, "seed": 1}):
        trained(tmp_path / "a", other)
        assert "starting over" in capsys.readouterr().err
    (tmp_path / "a" / "checkpoint.safetensors").write_bytes(b"damaged")
    trained(tmp_path / "a", shorter)
    assert "not readable" in capsys.readouterr().err


def test_a_checkpoint_of_other_text_or_code_is_not_used(tmp_path, monkeypatch, capsys):
    """The same flags, but a line is another one: neither its weights nor its tokenizer may come from the old text."""
    torch.set_num_threads(1)
    edited = Documents([*SINGLE[:3], "Viele Fünfen."], PARALLEL, NAMES, 0.5, 0)
    fresh = trained(tmp_path / "fresh", text=edited)
    trained(tmp_path / "a", stop=2)
    again = trained(tmp_path / "a", text=edited)
    assert "checkpoint.safetensors: made with other text; starting over" in capsys.readouterr().err
    assert same(fresh, again)
    assert again.tokenizer.to_str() == fresh.tokenizer.to_str()
    monkeypatch.setattr(trainer, "code_digest", lambda _module: "edited")
    assert trained(tmp_path / "a").losses[0][0] == 1
    assert "made with other code; starting over" in capsys.readouterr().err


def test_the_digest_of_documents_knows_every_line_and_its_place():
    other = [{"en": ["a", "b"], "de": ["A", "b"]}, PARALLEL[1]], [PARALLEL[1], PARALLEL[0]]
    texts = [(SINGLE, PARALLEL), (SINGLE[::-1], PARALLEL), (["One.Two.", *SINGLE[2:]], PARALLEL)]
    texts += [(SINGLE, parallel) for parallel in other]
    assert len({Documents(*text, NAMES, 0.5, 0).digest() for text in texts}) == len(texts)
    assert documents().digest() == documents().digest()


def test_a_gradient_that_is_not_finite_ends_the_training(tmp_path):
    with pytest.raises(UserError, match=r"the gradient is not finite at update \d+ .*; lower pretrain.learning_rate"):
        trained(tmp_path, {**RECIPE, "learning_rate": 1e30})


@pytest.fixture
def run(command):
    """A function that runs the stage with flags; values that are no text are passed as JSON."""

    def made(*flags) -> None:
        texts = [flag if isinstance(flag, str) else json.dumps(flag) for flag in flags]
        command(stage, "--languages", json.dumps(NAMES), *texts)

    return made


SMALL = ["--tokens", "600", "--d-model", "16", "--n-layer", "2", "--n-head", "2", "--vocabulary", "300",
         "--context", "16", "--batch-tokens", "32"]  # fmt: skip


def test_the_folder_loads_with_plain_transformers(tmp_path, run):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    sources = [{"name": "cldr", "builtin": "cldr", "lines": [1_000_000, 1_000_040]}]
    parallel = [{"name": "known", "builtin": "cldr", "vocabulary": "known", "lines": [1_000_000, 1_000_040]}]
    flags = ["--sources", sources, "--parallel", parallel, "--checkpoint-seconds", "0"]
    run(*flags, "--out", str(tmp_path / "base"), *SMALL)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    assert type(model).__name__ == "BloomForCausalLM"
    assert model.config.eos_token_id == tokenizer.eos_token_id == END
    assert tokenizer.pad_token == "<pad>"
    assert tokenizer("Berlin </s>", split_special_tokens=True)["input_ids"][-1] != END
    assert tokenizer.decode(tokenizer("Berlin 42")["input_ids"]) == "Berlin 42"
    record = json.loads((tmp_path / "base" / "lander.json").read_text())
    assert record["format"] == "base"
    assert record["prompt"] == "{source_language}: {source}\n{target_language}:\n"
    assert record["recipe"]["parallel"] == parallel
    assert [path.name for path in tmp_path.iterdir()] == ["base"]  # no checkpoint stays, nor a lock
    with open(tmp_path / "base" / "loss.csv") as stream:
        assert len(list(csv.DictReader(stream))) == 18  # 600 tokens, 32 an update


def test_a_base_is_made_by_one_process_which_removes_what_a_killed_one_has_left(tmp_path, run):
    (tmp_path / "a.en").write_text("One line.\nAnother.\n", encoding="utf-8")
    source = {"name": "a", "files": {"en": str(tmp_path / "a.en")}}
    flags = ["--sources", [source], "--out", str(tmp_path / "base"), *SMALL]
    killed = f"{HERE}-{2**22 + 1}-abcdefgh"  # no process has so large a number
    left = [tmp_path / f".base.{killed}", tmp_path / "base.checkpoints" / f".checkpoint.safetensors.{killed}"]
    for path in left:
        path.mkdir(parents=True)
    with guard.output_held(tmp_path / "base"), pytest.raises(UserError, match="makes this model"):
        run(*flags)
    assert all(path.exists() for path in left)
    run(*flags)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.en", "base"]


def test_single_sentences_from_files_make_a_base_without_a_prompt(tmp_path, run):
    (tmp_path / "a.en").write_text("One line.\n\nA third  line.\n", encoding="utf-8")
    (tmp_path / "a.de").write_text("Eine Zeile.\nAllein.\nEine dritte.\n", encoding="utf-8")
    source = {"name": "a", "files": {"en": str(tmp_path / "a.en"), "de": str(tmp_path / "a.de")}}
    assert stage.read_text(parse_sources(json.dumps([source])), NAMES) == [
        {"en": ["One line.", "A third line."], "de": ["Eine Zeile.", "Eine dritte."]}
    ]
    run("--sources", [source], "--out", str(tmp_path / "base"), *SMALL)
    assert json.loads((tmp_path / "base" / "lander.json").read_text())["prompt"] is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sources", '[{"name": "gone", "files": {"en": "no/such.en"}}]'], "no/such.en"),
        (["--sources", '[{"name": "x", "files": {"cs": "a.cs"}}]'], "--sources"),
        (["--sources", '[{"name": "x", "builtin": "cldr"}]', "--n-head", "3"], "--n-head 3"),
    ],
)
def test_faults_are_named(tmp_path, run, flags, message):
    with pytest.raises(UserError, match=message):
        run(*SMALL, "--out", str(tmp_path / "base"), *flags)
    assert not list(tmp_path.iterdir())


def test_thinning_keeps_the_last_update_and_the_mean():
    losses = [[update, update * 10, float(update % 2), 0.1] for update in range(1, 2002)]
    kept = stage.thin(losses)
    assert len(kept) == 667
    assert kept.iloc[0].tolist() == [3, 30, round(2 / 3, 5), 0.1]
    assert kept["update"].iloc[-1] == 2001


def test_the_shipped_base_is_made_by_these_defaults_and_translates_what_it_was_shown():
    from lander.data import cldr
    from lander.data.templates import Template
    from lander.models.loading import BUILT_IN, facts, load

    record = facts("lander-tiny")
    recipe = record["recipe"]
    defaults = stage.Recipe()
    assert all(getattr(defaults, name) == recipe[name] for name in stage.RECIPE)
    assert (BUILT_IN / "lander-tiny" / "model.safetensors").stat().st_size < 10_000_000

    model, codec = load("lander-tiny", dtype="float32")
    own = Template("own", record["prompt"])
    texts = cldr.lines(("en", "de"), 2_000_000, 2_000_016, "known")  # pretraining reads 1,000,000 to 1,150,000
    batch = codec.pad_left(codec.prompts([own.fill(text, "German", "English") for text in texts["de"]]))
    tokens = model.generate(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, max_new_tokens=48, do_sample=False,
        pad_token_id=codec.pad,
    )  # fmt: skip
    found = [codec.decode(row[batch.input_ids.shape[1] :].tolist()) for row in tokens]
    assert sum(a == b for a, b in zip(found, texts["en"], strict=True)) >= 12
