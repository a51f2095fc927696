"""Whole trainings, each in its own process: what moves, resuming, ranks and ZeRO stages."""

import json
import os
import shutil
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
import torch
import toys
from safetensors.torch import load_file
from trainings import DIRECTIONS, KEPT, assert_frozen, dying, finetune, prepare, trained
from transformers import AutoModelForCausalLM

import lander
from lander.share.export import export
from lander.shared import deadline, tables

pytestmark = pytest.mark.workflow
SOAK = bool(os.environ.get("LANDER_SOAK"))  # `make soak`: all ZeRO stages with all numbers of ranks, all places to die
SIX = ["--steps", "6", "--accumulate", "2"]  # six updates of two micro-batches: every window leaves a direction out
BF16 = ("--dtype", "bfloat16")
TOKENS = ("--gate", "token")
ALWAYS = ("--checkpoint-minutes", "1e-9")  # a checkpoint after every update
PLACES = ["checkpoint", "writing", "removing", "window"]  # to die: see dying_finetune.py
DEATHS = product(PLACES, [(), BF16, ("--zero-stage", "2"), ("--zero-stage", "3")], [1, 2])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A base, training pairs and masks, as the stages before would leave them."""
    folder = tmp_path_factory.mktemp("finetune")
    prepare(folder, DIRECTIONS, toys.masks([1], 64, DIRECTIONS))
    return folder


def uninterrupted(folder: Path, flags: tuple[str, ...] = (), ranks: int = 1) -> Path:
    """The model of six updates; trained once."""
    out = folder / "-".join(["straight", *flags, *(["two"] if ranks == 2 else [])])
    if not out.exists():
        finetune(folder, out.name, *SIX, *flags, ranks=ranks)
    return out


@pytest.fixture(scope="module")
def straight(folder):
    return trained(folder, uninterrupted(folder).name)


def test_what_is_not_trained_is_the_base_and_what_is_trained_has_moved(folder, straight, monkeypatch):
    monkeypatch.chdir(folder)
    routed = lander.load("straight")
    base = toys.bloom(3, vocabulary=300)
    names = dict(base.named_parameters())
    for name, value in routed.network.named_parameters():
        if name in names and name not in straight:
            assert torch.equal(value, names[name]), name
    before, ffn = base.transformer.h[1].mlp.dense_4h_to_h.weight, routed.ffns[1]
    for block, same in ((4, True), (0, False)):  # a contrast language's neurons, the general ones
        assert torch.equal(ffn.blocks[block].down.weight, before[:, ffn.groups[block].neurons]) == same
    assert {name.split(".")[2] for name in straight} == {"1"}  # the chosen layer alone


@pytest.mark.parametrize(
    ("place", "flags", "ranks"), [*DEATHS] if SOAK else [("writing", TOKENS, 1), ("window", BF16, 1)]
)
def test_resumed_equals_uninterrupted(folder, place, flags, ranks):
    """A run that is killed at any place continues from its last whole checkpoint, bit for bit."""
    straight = uninterrupted(folder, flags, ranks)
    name = "-".join(["killed", place, *flags, str(ranks)])
    again = [*SIX, *flags, *ALWAYS, "--checkpoints", f"{name}-checkpoints"]
    killed = finetune(folder, name, *again, entry=dying(place), ranks=ranks, check=False)
    assert killed.returncode == (-9 if ranks == 1 else 1)
    assert not (folder / name / "lander.json").exists()
    done = finetune(folder, name, *again, ranks=ranks)
    update = {"writing": 3, "window": 5}.get(place, 4)
    assert f"resuming at update {update} of 6" in done.stderr
    expected = trained(folder, straight.name)
    assert all(torch.equal(value, expected[key]) for key, value in trained(folder, name).items())
    assert (folder / name / "loss.csv").read_bytes() == (straight / "loss.csv").read_bytes()
    assert not (folder / f"{name}-checkpoints").exists()


@pytest.mark.parametrize(("why", "ranks"), [("deadline", 1), ("deadline", 2), ("SIGTERM", 1), ("SIGINT", 2)])
def test_a_stopped_training_goes_on_to_the_same_weights(folder, straight, monkeypatch, why, ranks):
    """Out of time or by a signal, which reaches one rank, without checkpoints by time; one rank, bit for bit."""
    name = f"{why}-{ranks}"
    flags = [*SIX, "--checkpoint-minutes", "0", "--checkpoints", f"{name}-checkpoints"]
    if why == "deadline":
        monkeypatch.setenv(deadline.VARIABLE, "1")  # the time is over: one update per start
    entry = {} if why == "deadline" else {"entry": dying(why)}
    stopped = finetune(folder, name, *flags, ranks=ranks, check=False, **entry)
    update = 1 if why == "deadline" else 3
    assert f"after update {update} of 6" in stopped.stderr
    assert stopped.returncode == (143 if why == "SIGTERM" else 1)
    assert ranks > 1 or "Traceback" not in stopped.stderr  # torchrun prints its own
    assert not (folder / name / "lander.json").exists()
    monkeypatch.delenv(deadline.VARIABLE, raising=False)
    assert f"resuming at update {update} of 6" in finetune(folder, name, *flags, ranks=ranks).stderr
    found = trained(folder, name)
    assert found.keys() == straight.keys()
    assert all((value - straight[key]).abs().max() <= (0 if ranks == 1 else 1e-6) for key, value in found.items())


def test_a_checkpoint_of_other_settings_is_neither_used_nor_kept(folder):
    """A later checkpoint that an earlier run left must not replace the checkpoints of this run."""
    stale = folder / "stale" / "update-00000099"
    stale.mkdir(parents=True)
    (stale / "state.json").write_text('{"fingerprint": "another", "update": 99, "updates": [99], "log": []}')
    flags = [*SIX, *ALWAYS, "--checkpoints", "stale"]
    finetune(folder, "after-stale", *flags, entry=dying("checkpoint"), check=False)
    assert [path.name for path in (folder / "stale").iterdir()] == ["update-00000004"]
    assert "resuming at update 4 of 6" in finetune(folder, "after-stale", *flags).stderr


def test_a_frozen_weight_that_moves_stops_the_run(folder):
    """Every run compares its frozen weights with the base before it writes anything."""
    meddling = (str(Path(__file__).with_name("meddling_finetune.py")),)
    done = finetune(folder, "meddled", "--steps", "2", entry=meddling, check=False)
    assert done.returncode != 0
    assert "transformer.ln_f.weight" in done.stderr
    assert not (folder / "meddled" / "trained.safetensors").exists()


def test_bfloat16_has_float32_masters_of_what_is_trained_alone(folder):
    """Two ranks at ZeRO 3 with recomputed activations give the weights of one process, except for rounding."""
    flags = [*SIX, *BF16, "--zero-stage", "3", "--recompute"]
    finetune(folder, "masters", *flags, ranks=2, entry=KEPT)
    found, expected = trained(folder, "masters"), trained(folder, uninterrupted(folder, BF16).name)
    differences = torch.cat([(found[name] - value).abs().flatten() for name, value in expected.items()])
    assert differences.float().mean() < 1e-3  # six updates move a weight by up to 0.035
    facts = [json.loads((folder / "masters-kept" / f"{rank}.json").read_text()) for rank in (0, 1)]
    padding = sum(value.numel() % 2 for value in found.values())  # ZeRO 3 halves each parameter
    assert sum(fact["masters"] for fact in facts) == sum(value.numel() for value in found.values()) + padding
    assert all(fact["types"] == ["torch.float32"] for fact in facts)
    assert_frozen(folder, "masters", 2, torch.bfloat16, "transformer.h.1.mlp.blocks.4", list(range(5, 64, 6)))


@pytest.mark.parametrize(
    ("stage", "before", "after"), [*product(range(4), (1, 2), (1, 2))] if SOAK else [(2, 2, 1), (3, 1, 2)]
)
def test_a_checkpoint_goes_on_with_another_number_of_ranks(folder, straight, stage, before, after):
    """A gate is one number: at ZeRO 3 the ranks cannot halve it."""
    name = f"ranks-{stage}-{before}-{after}"
    flags = [*SIX, "--zero-stage", str(stage), *ALWAYS, "--checkpoints", name]
    assert finetune(folder, f"{name}-out", *flags, ranks=before, entry=dying("window"), check=False).returncode != 0
    done = finetune(folder, f"{name}-out", *flags, ranks=after)
    assert "resuming at update 5 of 6" in done.stderr
    found = trained(folder, f"{name}-out")
    limits = {key: 1e-5 if key.endswith("query_key_value.bias") else 1e-6 for key in found}
    # the gradient of the keys' bias is zero but for rounding, as the softmax does not see it; Adam makes noise of that
    assert all((value - straight[key]).abs().max() < limits[key] for key, value in found.items())


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
    for stage, recompute in ((2, []), (3, ["--recompute"])):
        out = f"both-{stage}"
        finetune(folder, out, *flags, "--zero-stage", str(stage), *recompute, method="landermt-lg", ranks=2)
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
        assert (plain(ids).logits - routed).abs().max() < 1e-5
        chosen = 1 if direction == "en-de" else 2
        for layer, module in enumerate(plain.transformer.h):
            before = dict(base.transformer.h[layer].named_parameters())
            same = [torch.equal(value, before[name]) for name, value in module.named_parameters()]
            assert not any(same) if layer == chosen else all(same)


def test_token_gates_on_two_ranks(folder):
    """Noise comes from the dice of the micro-batch, whichever rank has it."""
    write_masks_with_base(folder)
    flags = ["--masks", "with-base", "--steps", "5", "--accumulate", "2", *TOKENS]
    finetune(folder, "tokens", *flags)
    finetune(folder, "tokens-3", *flags, "--zero-stage", "3", "--recompute", ranks=2)
    single, both = trained(folder, "tokens"), trained(folder, "tokens-3")
    assert single["transformer.h.1.mlp.trained.gates.en-de.weight"].any()
    limits = {key: 1e-5 if key.endswith("query_key_value.bias") else 1e-6 for key in single}
    assert all((both[key] - value).abs().max() < limits[key] for key, value in single.items())


@pytest.mark.parametrize(
    ("method", "flags", "ranks"),
    [
        ("landermt", ("--masks", "with-base"), 1),
        ("landermt", ("--masks", "with-base", "--zero-stage", "3", "--recompute"), 2),
        ("lora", ("--lora-rank", "2"), 1),
    ],
)
def test_directions_in_one_micro_batch_train_as_in_several(folder, method, flags, ranks):
    write_masks_with_base(folder)
    six = f"apart-{method}"  # micro-batches, two of each direction
    if not (folder / six).exists():
        finetune(folder, six, "--steps", "3", "--accumulate", "6", *flags, method=method)
    name = f"mixed-{method}-{ranks}"
    mixed = ["--steps", "3", "--accumulate", "2", "--mix-directions", *flags]
    finetune(folder, name, *mixed, method=method, ranks=ranks)
    file = "adapter_model.safetensors" if method == "lora" else "trained.safetensors"
    found, expected = (load_file(folder / out / file) for out in (name, six))
    assert found.keys() == expected.keys()
    real = [key for key in found if not ("query_key_value" in key and key.endswith("bias"))]  # the keys' is rounding
    assert max((found[key] - expected[key]).abs().max() for key in real) < 2e-6
    logs = [pd.read_csv(folder / out / "loss.csv") for out in (name, six)]
    pd.testing.assert_frame_equal(*logs, rtol=1e-5)
    costs = [json.loads((folder / out / "run.json").read_text()) for out in (name, six)]
    assert all(costs[0][key] == costs[1][key] for key in ("tokens", "tokens_read", "flops", "updates"))


def test_a_direction_without_a_mask_is_not_trained_and_runs_the_base(folder, monkeypatch):
    shutil.copytree(folder / "masks", folder / "foreign")
    (folder / "foreign" / "en-fr.parquet").unlink()
    done = finetune(folder, "foreign-model", "--steps", "2", "--masks", "foreign")
    assert "en-fr" in done.stderr
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
    finetune(folder, method, "--steps", "2", *sizes, method=method, entry=KEPT)
    monkeypatch.chdir(folder)
    model = lander.load(method)
    base = lander.load("base")
    ids = toys.ids()
    difference = model.logits(ids, torch.ones_like(ids), "en-de") - base.logits(ids, torch.ones_like(ids), None)
    assert difference.abs().max() > 0
    record = json.loads((folder / method / "run.json").read_text())
    assert 0 < record["parameters_trained"] <= record["parameters_total"] or method != "full"
    for name, value in load_file(folder / f"{method}-kept" / "0.safetensors").items():
        name = name.removeprefix("base_model.model.").replace(".base_layer", "")  # behind PEFT
        assert torch.equal(value, dict(base.network.named_parameters())[name]), name
    assert pd.read_csv(folder / method / "loss.csv")["direction"].tolist() == [*DIRECTIONS, *DIRECTIONS]


def test_ranks_must_share_a_window_evenly(folder):
    done = finetune(folder, "uneven", "--steps", "1", "--accumulate", "3", ranks=2, check=False)
    assert done.returncode != 0
    assert "finetune.accumulate: 3 " in done.stderr
