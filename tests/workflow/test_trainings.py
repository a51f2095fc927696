"""Whole trainings, each in its own process: what moves, resuming, ranks and ZeRO stages, damaged models."""

import json
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import toys
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import lander
from lander import tables
from lander.errors import UserError
from lander.export import export

pytestmark = pytest.mark.workflow
SOAK = bool(os.environ.get("LANDER_SOAK"))  # `make soak`: all ZeRO stages with all numbers of ranks
DIRECTIONS = ["en-de", "de-en", "en-fr"]
WORDS = {"en": ["one", "two", "six"], "de": ["eins", "zwei", "sechs"], "fr": ["un", "deux", "six"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A base, training pairs and masks, as the stages before would leave them."""
    folder = tmp_path_factory.mktemp("finetune")
    toys.bloom(3, vocabulary=300).save_pretrained(folder / "base")
    toys.bloom_tokenizer().save_pretrained(folder / "base")
    for direction in DIRECTIONS:
        source, target = direction.split("-")
        rows = [(WORDS[source][i % 3], WORDS[target][i % 3], i % 10, "toy", i) for i in range(12)]
        table = pd.DataFrame(rows, columns=["source", "target", "template", "origin", "line"])
        tables.write(folder / "train" / f"{direction}.parquet", table, "train")
    for direction, mask in toys.masks([1], 64, DIRECTIONS).items():
        tables.write(folder / "masks" / f"{direction}.parquet", mask, "masks")
    return folder


def finetune(folder, out: str, *flags: str, method="landermt", ranks=1, check=True, entry=("-m", "lander.finetune")):
    """Run the stage as the workflow does."""
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(ranks)] if ranks > 1 else []
    command = [sys.executable, *launcher, *entry, "--method", method, "--model", "base"]
    command += ["--train", *(f"train/{d}.parquet" for d in DIRECTIONS), "--directions", *DIRECTIONS]
    names = {"en": "English", "de": "German", "fr": "French"}
    command += ["--languages", json.dumps(names), "--masks", "masks", "--out", out, "--batch-size", "2"]
    command += ["--precision", "float32", "--learning-rate", "0.01", *flags]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done


def trained(folder, out: str) -> dict[str, torch.Tensor]:
    return load_file(folder / out / "trained.safetensors")


@pytest.fixture(scope="module")
def straight(folder):
    """Six updates of two micro-batches: every window leaves a direction out."""
    finetune(folder, "straight", "--steps", "6", "--accumulate", "2")
    return trained(folder, "straight")


def test_what_is_not_trained_is_the_base_and_what_is_trained_has_moved(folder, straight, monkeypatch):
    monkeypatch.chdir(folder)
    routed = lander.load("straight")
    base = toys.bloom(3, vocabulary=300)
    names = dict(base.named_parameters())
    for name, value in routed.network.named_parameters():
        if name in names and name not in straight:
            assert torch.equal(value, names[name]), name
    contrast = routed.ffns[1].blocks[4]
    neurons = routed.ffns[1].groups[4].neurons
    assert torch.equal(contrast.down.weight, base.transformer.h[1].mlp.dense_4h_to_h.weight[:, neurons])
    general = routed.ffns[1].blocks[0]
    assert not torch.equal(
        general.down.weight, base.transformer.h[1].mlp.dense_4h_to_h.weight[:, routed.ffns[1].groups[0].neurons]
    )
    assert {name.split(".")[2] for name in straight} == {"1"}  # the chosen layer alone


@pytest.mark.parametrize(
    "machine", [(), ("--dtype", "bfloat16"), *([("--zero-stage", "2"), ("--zero-stage", "3")] if SOAK else [])]
)
def test_resumed_equals_uninterrupted(folder, machine):
    """A run that is killed behind its checkpoint at update 4 goes on from there, bit for bit."""
    steps = ["--steps", "6", "--accumulate", "2", *machine]
    name = "-".join(["run", *machine])
    finetune(folder, f"{name}-straight", *steps)
    flags = [*steps, "--checkpoint-every", "2", "--checkpoints", f"{name}-checkpoints"]
    killed = finetune(folder, name, *flags, entry=[str(Path(__file__).with_name("dying_finetune.py"))], check=False)
    assert killed.returncode == -9
    assert not (folder / name / "lander.json").exists()
    done = finetune(folder, name, *flags)
    assert "resuming at update 4 of 6" in done.stderr
    expected = trained(folder, f"{name}-straight")
    assert all(torch.equal(value, expected[key]) for key, value in trained(folder, name).items())
    assert (folder / name / "loss.csv").read_bytes() == (folder / f"{name}-straight" / "loss.csv").read_bytes()
    assert not (folder / f"{name}-checkpoints").exists()


def test_a_checkpoint_of_other_settings_is_neither_used_nor_kept(folder):
    """What an earlier run left behind, further on than this one, must not cost this one its own checkpoints."""
    stale = folder / "stale" / "update-00000099"
    stale.mkdir(parents=True)
    (stale / "state.json").write_text('{"fingerprint": "another", "update": 99, "updates": [99], "log": []}')
    flags = ["--steps", "6", "--accumulate", "2", "--checkpoint-every", "2", "--checkpoints", "stale"]
    finetune(folder, "after-stale", *flags, entry=[str(Path(__file__).with_name("dying_finetune.py"))], check=False)
    assert [path.name for path in (folder / "stale").iterdir()] == ["update-00000004"]
    assert "resuming at update 4 of 6" in finetune(folder, "after-stale", *flags).stderr


def test_a_frozen_weight_that_moves_stops_the_run(folder):
    """Every run compares what it has not trained with the base before it writes anything."""
    meddling = [str(Path(__file__).with_name("meddling_finetune.py"))]
    done = finetune(folder, "meddled", "--steps", "2", entry=meddling, check=False)
    assert done.returncode != 0
    assert "frozen parameters have changed in training, transformer.ln_f.weight among them" in done.stderr
    assert not (folder / "meddled" / "trained.safetensors").exists()


def test_recomputing_activations_changes_nothing(folder, straight):
    finetune(folder, "recomputed", "--steps", "6", "--accumulate", "2", "--recompute")
    found = trained(folder, "recomputed")
    assert all((value - straight[name]).abs().max() < 1e-6 for name, value in found.items())


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)] if SOAK else [(2, 1)])
def test_a_checkpoint_goes_on_with_another_number_of_ranks(folder, straight, before, after):
    name = f"ranks-{before}-{after}"
    flags = ["--steps", "6", "--accumulate", "2", "--zero-stage", "2", "--checkpoint-every", "2", "--checkpoints", name]
    dying = [str(Path(__file__).with_name("dying_finetune.py"))]
    assert finetune(folder, f"{name}-out", *flags, ranks=before, entry=dying, check=False).returncode != 0
    done = finetune(folder, f"{name}-out", *flags, ranks=after)
    assert "resuming at update 4 of 6" in done.stderr
    found = trained(folder, f"{name}-out")
    assert all((value - straight[key]).abs().max() < 1e-6 for key, value in found.items())


@pytest.mark.parametrize(("stage", "ranks"), [*product(range(4), (1, 2))] if SOAK else [(2, 2), (3, 1)])
def test_every_zero_stage_and_number_of_ranks_gives_the_same_weights(folder, straight, stage, ranks):
    """With two ranks every micro-step has two directions at once, one a rank."""
    out = f"zero{stage}-{ranks}"
    finetune(folder, out, "--steps", "6", "--accumulate", "2", "--zero-stage", str(stage), ranks=ranks)
    after = trained(folder, out)
    worst = max(float((after[name] - value).abs().max()) for name, value in straight.items())
    assert worst < 1e-6


def write_masks_with_base(folder: Path) -> None:
    """Layer 1 is chosen for en-de and en-fr, layer 2 for de-en alone; the specific neurons run frozen."""
    for direction, mask in toys.masks([1, 2], 64, DIRECTIONS).items():
        mask["trained"] = mask["role"] == "general"
        others = mask["layer"] == (1 if direction == "de-en" else 2)
        untouched = mask[others].assign(role="base", owner=None, trained=False, scale=1.0)
        tables.write(folder / "with-base" / f"{direction}.parquet", pd.concat([mask[~others], untouched]), "masks")


def test_layers_of_some_directions_on_two_ranks_and_exported(folder, monkeypatch):
    """Each rank runs another direction, and so other layers' untouched copies."""
    write_masks_with_base(folder)
    flags = ["--masks", "with-base", "--steps", "5", "--accumulate", "2", "--weight-decay", "0.1"]
    finetune(folder, "single", *flags, method="landermt-lg")
    single = trained(folder, "single")
    for stage in (2, 3):
        out = f"both-{stage}"
        finetune(folder, out, *flags, "--zero-stage", str(stage), method="landermt-lg", ranks=2)
        after = trained(folder, out)
        assert after.keys() == single.keys()
        assert max(float((after[name] - value).abs().max()) for name, value in single.items()) < 1e-6
    monkeypatch.chdir(folder)
    model, ids = lander.load("single"), toys.ids()
    base = toys.bloom(3, vocabulary=300)
    for direction in ("en-de", "de-en"):
        export("single", direction, Path(f"plain-{direction}"))
        plain = AutoModelForCausalLM.from_pretrained(f"plain-{direction}")
        routed = model.logits(ids, torch.ones_like(ids), direction)
        assert (plain(ids).logits - routed).abs().max() < 1e-4
        chosen = 1 if direction == "en-de" else 2
        for layer, module in enumerate(plain.transformer.h):
            before = dict(base.transformer.h[layer].named_parameters())
            same = [torch.equal(value, before[name]) for name, value in module.named_parameters()]
            assert not any(same) if layer == chosen else all(same)


def test_a_block_without_rows_in_a_window_does_not_move(folder):
    """One update over en-de and de-en: French keeps the base's neurons, decay or not."""
    finetune(folder, "window", "--steps", "1", "--accumulate", "2", "--weight-decay", "0.5")
    after = trained(folder, "window")
    base = toys.bloom(3, vocabulary=300).transformer.h[1].mlp
    french = after["transformer.h.1.mlp.blocks.3.up.weight"]
    owners = np.array([None, "en", "de", None, "fr", "it"], dtype=object)
    neurons = [i for i in range(64) if owners[i % 6] == "fr"]
    assert torch.equal(french, base.dense_h_to_4h.weight[neurons])
    german = [i for i in range(64) if owners[i % 6] == "de"]
    assert not torch.equal(after["transformer.h.1.mlp.blocks.2.up.weight"], base.dense_h_to_4h.weight[german])


def test_a_direction_without_a_mask_is_not_trained_and_runs_the_base(folder, monkeypatch):
    shutil.copytree(folder / "masks", folder / "foreign")
    (folder / "foreign" / "en-fr.parquet").unlink()
    done = finetune(folder, "foreign-model", "--steps", "2", "--masks", "foreign")
    assert "en-fr runs the base's graph, untrained" in done.stderr
    assert set(pd.read_csv(folder / "foreign-model" / "loss.csv")["direction"]) == {"en-de", "de-en"}
    monkeypatch.chdir(folder)
    model, ids = lander.load("foreign-model"), toys.ids()
    assert torch.equal(*(model.logits(ids, torch.ones_like(ids), direction) for direction in ("en-fr", None)))


def test_no_layer_is_the_base(folder, monkeypatch):
    """k = 0: masks without rows."""
    for direction in DIRECTIONS:
        tables.write(folder / "none" / f"{direction}.parquet", tables.empty("masks"), "masks")
    done = finetune(folder, "base-again", "--steps", "2", "--masks", "none")
    assert "nothing to train" in done.stderr
    monkeypatch.chdir(folder)
    ids = toys.ids()
    base = lander.load("base").logits(ids, torch.ones_like(ids), None)
    assert torch.equal(lander.load("base-again").logits(ids, torch.ones_like(ids), "en-de"), base)


@pytest.mark.parametrize("method", ["full", "lora", "adapter-lora"])
def test_other_methods_train_save_and_load(folder, monkeypatch, method):
    sizes = ["--budget-layers", "2", "--lora-rank", "2"] if method == "adapter-lora" else []
    finetune(folder, method, "--steps", "2", *sizes, method=method)
    monkeypatch.chdir(folder)
    model = lander.load(method)
    base = lander.load("base")
    ids = toys.ids()
    difference = model.logits(ids, torch.ones_like(ids), "en-de") - base.logits(ids, torch.ones_like(ids), None)
    assert difference.abs().max() > 0
    record = json.loads((folder / method / "run.json").read_text())
    assert 0 < record["parameters_trained"] <= record["parameters_total"] or method != "full"
    assert pd.read_csv(folder / method / "loss.csv")["direction"].tolist() == DIRECTIONS * 2


def test_ranks_must_share_a_window_evenly(folder):
    done = finetune(folder, "uneven", "--steps", "1", "--accumulate", "3", ranks=2, check=False)
    assert done.returncode != 0
    assert "finetune.accumulate: 3 micro-batches cannot be shared by 2 ranks" in done.stderr


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "trained.safetensors").write_bytes(b"x"), "trained.safetensors: damaged"),
        (lambda f: (f / "masks" / "en-de.parquet").unlink(), "en-de.parquet: missing"),
        (lambda f: (f / "lander.json").write_text("{"), "lander.json: cannot be read as JSON"),
    ],
)
def test_a_damaged_model_names_the_file(folder, straight, tmp_path, monkeypatch, damage, message):
    monkeypatch.chdir(folder)
    shutil.copytree(folder / "straight", tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(UserError, match=message):
        lander.load(str(tmp_path / "model"))
