"""The benchmarks of training, at toy size: that they run, and that what they count is right. Not what they measure."""

import argparse
import json
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import _training as training
from benchmarks import finetune, memory

ROOT = Path(__file__).parent.parent
WIDTH, LAYERS, VOCABULARY, ROWS, TOKENS, PROMPT = 32, 4, 512, 2, 12, 6
SIZE = training.Size(WIDTH, LAYERS, 2, VOCABULARY, ROWS, TOKENS, PROMPT, absent=0.0)
GEOMETRY = {"width": 32, "layers": 4, "heads": 2, "vocabulary": 512, "batch": 2, "tokens": 12, "prompt": 6}


FLAGS = [f"--{key}={value}" for key, value in GEOMETRY.items()]


def test_floating_point_operations_are_those_of_the_needed_linear_maps():
    matrix, head = WIDTH * WIDTH, 2 * ROWS * (TOKENS - PROMPT) * VOCABULARY * WIDTH
    forward = training.forward_step(SIZE).flops
    assert forward == 2 * ROWS * TOKENS * LAYERS * 12 * matrix + head  # qkv 3, attention 1, FFN 8
    assert training.make("full", "plain", SIZE, ()).flops == 3 * forward
    ffn = training.make("ffn", "plain", SIZE, (1, 3)).flops  # no gradient below layer 1; two FFNs are trained
    assert ffn == 2 * ROWS * TOKENS * (48 + 36 + 16) * matrix + 2 * head


def test_absent_neurons_are_left_out():
    mask = training.masks(1000, (0, 2), absent=0.5)[training.DIRECTION]
    shares = mask["role"].value_counts(normalize=True)
    assert len(mask) == 2000
    assert dict(shares) == pytest.approx({"absent": 0.5, "general": 0.3, "source": 0.1, "target": 0.1}, abs=0.05)


def test_ratios_are_medians_over_rounds():
    seconds = {"forward": [1.0, 1.0, 2.0], "plain:full": [3.0, 4.0, 8.0], "plain:ffn": [1.5, 2.0, 8.0]}
    steps = {name: training.Step(lambda: 0.0, 0, flops) for name, flops in zip(seconds, (10, 30, 20), strict=True)}
    assert finetune.ratios(seconds, steps, "plain") == {"speedup_vs_full": 2.0, "bound_ratio": 1.0}


def test_finetune_prints_its_keys_and_both_loops_make_the_same_updates():
    flags = ["--rounds=1", "--chosen", "1,3", "0,3", "--systems", "full", "lora-default", "ffn"]
    command = [sys.executable, "-m", "benchmarks.finetune", *FLAGS, *flags]  # DeepSpeed starts only once in a process
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = json.loads(output.splitlines()[-1])
    keys = {"speedup_vs_full", "speedup_vs_lora_default", "bound_ratio"}
    assert set(found["loops"]) == {"engine", "plain"}
    assert set(found["loops"]["plain"]) == keys | {f"{key}_0,3" for key in keys}
    assert found["bound_ratio"] == found["loops"]["engine"]["bound_ratio"] > 0
    for system in ("full", "lora-default", "ffn"):
        assert found["losses"][f"engine:{system}"] == pytest.approx(found["losses"][f"plain:{system}"], rel=2e-3)


def test_memory_starts_a_process_for_each_system(monkeypatch, capsys):
    started = []

    def run(command: list[str], **_options) -> SimpleNamespace:
        started.append(command[-4:])
        return SimpleNamespace(stdout='chatter\n{"peak": 3000000, "parameters": 7}\n')

    monkeypatch.setattr(memory.subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["memory", *FLAGS, "--systems", "full", "ffn", "--loops", "plain"])
    memory.main()
    assert started == [["--systems", system, "--loops", "plain"] for system in ("full", "ffn")]
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["ratio_vs_full"] == 1.0


def test_memory_of_one_process():
    one = argparse.Namespace(systems=["ffn"], loops=["plain"], chosen=(1, 3), steps=1, threads=1)
    geometry = dict(
        zip(
            ("width", "layers", "heads", "vocabulary", "batch", "tokens", "prompt", "absent"),
            astuple(SIZE),
            strict=True,
        )
    )
    found = memory.measure_one(argparse.Namespace(**vars(one), **geometry))
    assert found["parameters"] == 2 * (8 * WIDTH * WIDTH + 5 * WIDTH) + 2  # matrices, biases, a gate a layer
    assert found["peak"] > 0


def test_memory_is_compared_within_a_loop():
    rows = {"ffn": {"peak": 3}, "full": {"peak": 6}, "lora": {"peak": 2}}
    assert memory.ratios(rows) == {"ratio_vs_full": 0.5, "ratio_vs_lora": 1.5}
