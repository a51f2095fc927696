"""The benchmarks, at toy size: that they run, and that what they count is right. Not what they measure."""

import argparse
import json
import subprocess
import sys
from dataclasses import astuple
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import toys

from benchmarks import (
    _detection,
    activations,
    awareness,
    clean,
    finetune,
    gpu,
    memory,
    padding,
    scale,
    translate,
    workflow,
)
from benchmarks import _training as training
from lander.detect import estimators
from lander.models.tokens import Codec
from lander.translate.translator import Translator

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


@pytest.mark.workflow  # by its seconds
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


def last_line(benchmark: str, *flags: str) -> dict:
    """A benchmark in a process of its own: its last line."""
    command = [sys.executable, "-m", f"benchmarks.{benchmark}", *flags]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


DETECTION = ["--width=16", "--layers=2", "--heads=2", "--vocabulary=64", "--batch=2", "--tokens=6", "--rounds=1"]


def run_here(benchmark, monkeypatch, capsys, *flags: str) -> dict:
    """A benchmark in this process: its last line."""
    monkeypatch.setattr(sys, "argv", [benchmark.__name__, *flags])
    benchmark.main()
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_detection_prints_its_keys(monkeypatch, capsys):
    found = run_here(activations, monkeypatch, capsys, *DETECTION)
    matrix, head = 12 * 16 * 16 * 2, 64 * 16
    assert found["flops"]["forward"] == 2 * 12 * (matrix + head)  # 12 tokens
    assert found["flops"]["activations"] == 2 * 12 * (matrix + 2 * 64)  # a sum of 64 neurons in each of 2 layers
    assert found["vs_forward"] > 0
    found = run_here(awareness, monkeypatch, capsys, *DETECTION)
    assert found["flops"]["awareness"] == 2 * found["flops"]["forward"]
    assert found["vs_forward"] > 0


def test_captum_scores_as_we_do():
    pytest.importorskip("captum")
    args = argparse.Namespace(width=16, layers=2, heads=2, vocabulary=64, batch=2, tokens=6, rounds=1, threads=1)
    made = _detection.make(args)
    awareness.check(made)
    ours = awareness.scores(made.network, iter([made.batch]))[0]
    np.testing.assert_allclose(awareness.captum_scores(made.network, made.batch, False), ours, rtol=1e-3, atol=1e-7)


def test_padding_and_waiting_by_hand():
    lengths = [np.array([4, 4, 1]), np.array([2])]
    assert padding.waste("x", lengths) == {"x": 3, "x_all": 14}
    network, codec = toys.bloom(vocabulary=300), Codec(toys.bloom_tokenizer())
    model = Translator(network, codec, directions=[], languages={}, templates=[])
    model.generate = lambda _prompts, _beams, _new: fake(network, [(1, 5), (2, 3), (3, 1), (2, 1), (1, 1)])
    found = padding.decoded(model, [[5] * 5, [6] * 3, [7] * 2], 4)
    # 11 tokens were read of prompts that have 10; the rows write 4, 2 and 3 tokens, and the model was run on 9 rows in
    # all. The library would read 3 x 5 tokens, and run 3 rows 4 times
    assert {key: found[key] for key in ("decode", "decode_all")} == {"decode": 1, "decode_all": 11}
    assert {key: found[key] for key in ("decode_wait", "decode_wait_all")} == {"decode_wait": 0, "decode_wait_all": 9}
    assert [found[f"library_{key}"] for key in ("decode", "decode_all", "wait", "wait_all")] == [5, 15, 3, 12]


def fake(network, calls: list[tuple[int, int]]) -> list[list[int]]:
    """Outputs of 4, 2 and 3 tokens, while the model is called with so many rows and columns."""
    for shape in calls:
        network(input_ids=torch.full(shape, 9))
    return [[9, 9, 9, 9], [9, 2], [9, 9, 2]]


def test_padding_prints_its_keys_for_every_text(tmp_path, monkeypatch, capsys):
    for code in ("en", "de"):
        (tmp_path / f"{code}.txt").write_text("".join(f"{code} " * n + "\n" for n in range(1, 9)))
    flags = ["--directions", "en-de", "--pairs=8", "--sentences=4", "--max-new-tokens=3", "--text", str(tmp_path)]
    found = run_here(padding, monkeypatch, capsys, *flags)
    assert set(found["texts"]) == {"default", tmp_path.name}
    assert all(0 <= found[key] < 1 for key in ("train", "decode", "library_wait"))
    assert found["decode_wait"] == 0


def test_translate_prints_its_keys(monkeypatch, capsys):
    small = ["--width=32", "--layers=2", "--heads=2", "--vocabulary=2560", "--batch=2", "--tokens=6"]
    found = run_here(translate, monkeypatch, capsys, *small, "--new=3", "--rounds=1", "--chosen=1")
    matrix, head = 12 * 32 * 32 * 2, 2560 * 32
    assert found["flops"] == 2 * 2 * (8 * matrix + 3 * head)  # 6 tokens read, 2 of 3 written ones read again
    assert found["routed_vs_base"] > 0 < found["export_vs_base"]


def test_start_up_is_counted_by_stage(tmp_path, monkeypatch, capsys):
    for name, seconds in (("layers/main/s0", 10), ("masks/a", 4), ("masks/b", 6)):
        file = tmp_path / "benchmarks" / f"{name}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\tcpu_time\n{seconds}\t{seconds / 2}\n")
    monkeypatch.setattr(workflow, "start", lambda stage, _rounds: {"layers": (2.0, 1.0), "masks": (1.0, 1.0)}[stage])
    found = workflow.startup(tmp_path, 1)
    assert found["masks"] == {"jobs": 2, "s": 10.0, "cpu": 5.0, "startup_s": 2.0, "startup_cpu": 2.0}
    assert "layers             1      10.0       2.0    0.20    0.20" in capsys.readouterr().out


def test_jobs_of_a_plan_are_counted():
    assert workflow.planned("Job stats:\njob  count\n----\nclean   5\ntotal   17\n\n") == 17
    assert workflow.planned("Nothing to be done.") == 0


def test_clean_keeps_and_counts_what_lander_does(tmp_path, monkeypatch, capsys):
    for code, text in (("en", "the house stands on the hill"), ("de", "das Haus steht auf dem Berg")):
        (tmp_path / f"{code}.txt").write_text("".join(f"{text} {n}\n" for n in (1, 2, 3, 3)))
    flags = [f"--text={tmp_path}", "--pairs=6", "--sizes", "4", "8", "--rounds=1", "--opusfilter="]
    found = run_here(clean, monkeypatch, capsys, *flags)
    assert set(found["peaks_mb"]) == {"4", "8"}
    assert found["pairs_per_s"] > 0
    args = argparse.Namespace(text=tmp_path, languages=["de", "en"])
    assert [second[-3:] for _, second in islice(clean.pairs(args), 6)] == ["l 1", "l 2", "l 3", "l 3", "1 1", "2 1"]


def test_opusfilter_is_told_the_same_thresholds():
    found = {name: options for entry in clean.filters(["de", "zh"], True) for name, options in entry.items()}
    assert found["LengthFilter"] == {"min_length": 1, "max_length": 200, "unit": "word"}
    assert found["CharacterScoreFilter"] == {"scripts": ["Latin", "Han"], "thresholds": [0.2, 0.2]}
    assert "LangidFilter" not in str(clean.filters(["de", "zh"], False))


def test_masks_of_several_directions_share_their_general_neurons():
    found = scale.masks(100, range(1), ["en-de", "de-en", "en-fr"])
    counts = {name: mask["role"].value_counts().to_dict() for name, mask in found.items()}
    assert counts["en-de"]["general"] == counts["en-fr"]["general"] == 60
    german = {name: set(mask.loc[mask["owner"] == "de", "role"]) for name, mask in found.items()}
    assert german == {"en-de": {"target"}, "de-en": {"source"}, "en-fr": {"absent"}}


def test_growth_is_the_slope_of_logarithms():
    rows = [{"what": "layers", "value": v, "seconds": 3.0 * v, "bytes": 7} for v in (2, 4, 8)]
    assert scale.exponents(rows) == {"layers": {"seconds": pytest.approx(1), "bytes": 0}}


@pytest.mark.workflow
def test_scale_measures_an_update_and_writes_a_table_and_a_figure(tmp_path):
    flags = ["--what", "directions", "--values", "3", "--width=16", "--vocabulary=64", "--tokens=6", "--rounds=1"]
    found = last_line("scale", *flags, f"--out={tmp_path / 'scale'}")
    assert [row["value"] for row in found["rows"]] == [3]
    assert (tmp_path / "scale.csv").read_text().splitlines()[0] == "what,value,seconds,bytes"
    assert (tmp_path / "scale.svg").read_text().count('<g id="axes_') == 2


def test_scale_scores_so_many_sentences(monkeypatch):
    read = []
    monkeypatch.setattr(estimators, "scores", lambda _network, batches: read.extend(map(len, map(astuple, batches))))
    args = argparse.Namespace(width=16, vocabulary=64, tokens=6)
    scale.scoring({**scale.POINT, "layers": 1, "neurons": 8, "sentences": 24}, args)()
    assert len(read) == 3  # batches of 8


SMALL = ["--width=32", "--layers=4", "--heads=2", "--vocabulary=512", "--rounds=2"]


def test_gpu_says_what_fits_and_how_much_is_used(monkeypatch, capsys):
    rounds = {"seconds": [1.0, 2.0, 4.0], "tokens": [30, 50, 160], "flops": [100, 400, 1200], "parameters": 7}
    rounds["recomputed"] = False
    passes = {
        "base": [2.0, 2.0, 3.0],
        "routed": [4.0, 2.0, 2.0],
        "forward": [1.0, 1.0, 1.0],
        "scoring": [2.0, 3.0, 4.0],
    }
    processes = {
        ("ffn", 4): rounds | {"peak": 3e9},
        ("full", 4): rounds | {"peak": 12e9},
        ("ffn", 8): {},
        ("ffn", 8, "--recompute"): rounds | {"peak": 4e9, "recomputed": True},
        ("full", 8): {},
        ("full", 8, "--recompute"): {},
        ("passes", 4): passes,
    }
    monkeypatch.setattr(gpu, "start", lambda *asked: processes.pop(asked))
    monkeypatch.setattr(sys, "argv", ["gpu", *SMALL, "--batch", "4", "8", "--systems", "ffn", "full", "--peak=1000"])
    gpu.main()
    *lines, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    assert not processes
    assert found["tokens_per_s_ffn_4"] == 30  # the rounds' are 30, 25 and 40
    assert found["utilisation_ffn_4"] == 0.2  # 100, 200 and 300 operations a second
    assert (found["peak_gb_ffn_8"], found["peak_gb_full_8"], found["utilisation_full_8"]) == (4.0, None, None)
    assert found["memory_vs_full"] == 0.25
    assert (found["scoring_vs_forward"], found["decode_vs_base"]) == (3.0, 1.0)
    assert (found["recomputed_ffn_4"], found["recomputed_ffn_8"]) == (False, True)
    assert [line.split()[:2] for line in lines if line.endswith("recomputed")] == [["ffn", "8"]]
    assert [line for line in lines if "does not fit" in line] == ["full           8  does not fit"]


def test_gpu_reads_lengths_and_chooses_layers(tmp_path, monkeypatch):
    (tmp_path / "lengths").write_text("3\t2\n9\t4\n")
    monkeypatch.setattr(sys, "argv", ["gpu", *SMALL, "--batch=5", f"--lengths={tmp_path / 'lengths'}"])
    schedule = gpu.schedule_of(gpu.parse())
    read = [schedule.pairs["en-de"][index] for number in range(3) for index in schedule.indices(number)]
    assert len(read) == 15
    assert {(prompt, len(tokens) - prompt) for tokens, prompt in read} == {(3, 2), (9, 4)}
    assert max(max(tokens) for tokens, _ in read) < 512
    monkeypatch.setattr(sys, "argv", ["gpu"])
    assert gpu.parse().chosen == (7, 10, 25, 27)  # of 30


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_without_one_says_so(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu"])
    gpu.main()
    assert capsys.readouterr().out.startswith("benchmarks.gpu needs a GPU, or a smaller geometry")


def test_gpu_training_that_does_not_fit_is_an_empty_record(monkeypatch, capsys):
    def train_one(*_args) -> dict:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(gpu, "train_one", train_one)
    assert run_here(gpu, monkeypatch, capsys, *SMALL, "--batch=2", "--one=full") == {}


def test_gpu_goes_on_behind_a_process_that_fails(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpu", "--heads=none"])
    assert gpu.start("full", 2) == {}


def test_gpu_decodes_and_scores(monkeypatch, capsys):
    found = run_here(gpu, monkeypatch, capsys, *SMALL, "--batch=2", "--one=passes")
    assert set(found) == {"base", "routed", "forward", "scoring"}
    assert all(len(values) == 2 and min(values) > 0 for values in found.values())


@pytest.mark.workflow  # by its seconds
def test_gpu_trains_in_processes(tmp_path):
    (tmp_path / "lengths").write_text("6\t6\n")
    found = last_line("gpu", *SMALL, "--batch=2", f"--lengths={tmp_path / 'lengths'}", "--systems", "ffn", "--peak=1")
    assert found["recomputed_ffn_2"] is False
    keys = {f"{key}_ffn_2" for key in ("utilisation", "tokens_per_s", "peak_gb")}
    assert keys | {"memory_vs_full", "scoring_vs_forward", "decode_vs_base"} <= set(found)
    assert found["chosen"] == [1, 3]  # the same operations as by hand above: 24 tokens, 12 of them predicted
    needed = (2 * 24 * (48 + 36 + 16) * 32 * 32 + 2 * 2 * 12 * 512 * 32) / 24
    assert found["utilisation_ffn_2"] == pytest.approx(found["tokens_per_s_ffn_2"] * needed)
    assert found["peak_gb_ffn_2"] > 0
