"""Losses of references and of text: against a loop over sentences, before and after training, as a table."""

import math
import sys

import pandas as pd
import pytest
import torch
import toys
import trained
from torch.nn.functional import cross_entropy

import lander
from lander.data.templates import Template
from lander.experiments.samples import LOSS_COLUMNS, loss_samples, read_losses
from lander.shared import tables
from lander.shared.errors import UserError
from lander.translate import loss
from lander.translate.translator import load

TEMPLATE = Template("plain", "{source_language}: {source}\n")
NAMES = ("English", "German")
PAIRS = pd.DataFrame({"source": ["a", "bcd", "e f"], "target": ["xy", "z", "w v u"]})


def one_by_one(translator, direction) -> tuple[float, int]:
    """Summed loss and predicted tokens, a sentence at a time, without padding."""
    translator.route(direction)
    total, tokens = 0.0, 0
    for row in PAIRS.itertuples():
        prompt = translator.codec.prompt(TEMPLATE.fill(row.source, *NAMES))
        target = translator.codec.target(row.target)
        with torch.inference_mode():
            logits = translator.network(input_ids=torch.tensor([prompt + target])).logits[0]
        predicted = logits[len(prompt) - 1 : -1]
        total += float(cross_entropy(predicted, torch.tensor(target), reduction="sum"))
        tokens += len(target)
    return total, tokens


@pytest.mark.parametrize("batch_size", [1, 2, 8])
@pytest.mark.parametrize("direction", ["en-de", None])
def test_batches_and_padding_change_nothing(tmp_path, batch_size, direction) -> None:
    translator = load(str(trained.make(tmp_path, "landermt").path))
    prompts = translator.codec.prompts([TEMPLATE.fill(source, *NAMES) for source in PAIRS["source"]])
    targets = translator.codec.targets(PAIRS["target"].tolist())
    text = loss.Text({}, direction, prompts, targets, 8)
    (row,) = loss.rows(translator, "trained", [text], batch_size)
    expected, count = one_by_one(translator, direction)
    assert row["tokens"] == count == 3 + 2 + 6  # characters and an end token each: the toy's tokens are bytes
    assert row["loss"] * count == pytest.approx(expected, rel=1e-5)
    assert row["loss_per_character"] == pytest.approx(expected / 8, rel=1e-5)


def test_the_start_is_routed_and_untrained(tmp_path) -> None:
    """In the start the neurons of a direction have the base's weights, so that only routing tells it from the base."""
    made = trained.make(tmp_path, "landermt")
    start, end = (load(str(made.path), start=flag) for flag in (True, False))
    base = lander.load(str(made.base))
    ids = toys.ids()
    mask = torch.ones_like(ids)
    assert torch.allclose(start.logits(ids, mask, None), base.logits(ids, mask, None), atol=1e-5)
    assert not torch.allclose(start.logits(ids, mask, "en-de"), base.logits(ids, mask, None), atol=1e-3)
    assert not torch.allclose(start.logits(ids, mask, "en-de"), end.logits(ids, mask, "en-de"), atol=1e-3)


def measure(monkeypatch, folder, method, *flags, diverged=False) -> None:
    """Run the stage on a trained model and the held-out set `PAIRS`; it writes loss.csv."""
    made = trained.make(folder, method, diverged=diverged)
    tables.write(folder / "heldout.parquet", PAIRS.assign(origin="toy", line=range(3)), "heldout")
    command = ["loss", "--model", str(made.path), "--dtype", "float32", "--template", "sentence", "--method", method]
    names = '{"en": "English", "de": "German", "fr": "French"}'
    command += ["--languages", names, "--dev", "en-de:heldout.parquet", "--out", "loss.csv"]
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [*command, *flags])
    loss.main()


def test_the_table(tmp_path, monkeypatch) -> None:
    text = pd.DataFrame({"text": ["one", "two"], "origin": "toy", "line": [0, 1]})
    tables.write(tmp_path / "text.parquet", text, "text")
    flags = ["--untrained", "toy:de-fr:heldout.parquet", "--text", "de:text.parquet"]
    measure(monkeypatch, tmp_path, "landermt", *flags)
    table = pd.read_csv("loss.csv")
    assert list(table) == LOSS_COLUMNS
    assert table[["state", "kind"]].value_counts().eq(1).all()
    assert set(table["state"]) == {"start", "trained"}
    # each sentence: three characters and the end token, of which the first is not predicted
    plain = table.loc[table["kind"] == "text", ["direction", "characters", "tokens"]]
    assert plain.to_numpy().tolist() == [["de", 6, 6]] * 2
    rows = table[table["kind"] != "text"]
    assert (rows["loss"] * rows["tokens"] / rows["characters"] - rows["loss_per_character"]).abs().max() < 1e-4


@pytest.mark.parametrize("method", ["full", "lora", "landermt", "adapter"])
def test_a_model_that_has_diverged_has_a_loss_that_is_no_number(tmp_path, monkeypatch, method) -> None:
    """The search for a learning rate counts it as the worst; it translates nothing."""
    measure(monkeypatch, tmp_path, method, diverged=True)
    with pytest.raises(UserError, match="translate: the model computes infinite numbers or none"):
        load(str(tmp_path / "model")).translate(["a"], "en-de")
    assert loss_samples(read_losses([tmp_path / "loss.csv"]), "dev")["value"].tolist() == [math.inf]
