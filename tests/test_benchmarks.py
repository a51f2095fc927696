"""The benchmarks at toy size: each documented command runs and prints its keys, and what they count is right."""

import argparse
import ast
import contextlib
import io
import json
import os
import re
import runpy
import subprocess
import sys
from dataclasses import astuple
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
import toys

from benchmarks import _detection, awareness, clean, finetune, gpu, memory, padding, scale, translate, workflow
from benchmarks import _training as training
from benchmarks._geometry import GEOMETRIES
from lander.detect import estimators
from lander.models.tokens import Codec
from lander.translate.translator import Translator

pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")  # runpy's, of shared imports
ROOT = Path(__file__).parent.parent
WIDTH, LAYERS, VOCABULARY, ROWS, TOKENS, PROMPT = 128, 6, 2560, 2, 12, 6  # of the geometry `tiny`
SIZE = training.Size(GEOMETRIES["tiny"], ROWS, TOKENS, PROMPT)
STEP = "--geometry tiny --batch 2 --tokens 12 --prompt 6"
DETECTION = "--geometry tiny --batch 2 --tokens 6 --rounds 1"
TINY = {  # flags that make a benchmark small; {text} has lines in two languages, {out} is a folder
    "ablation": "--languages en --sentences 2 --neurons 4",
    "activations": DETECTION,
    "awareness": DETECTION,
    "clean": "--text {text} --pairs 6 --sizes 8 --rounds 1 --opusfilter=",
    "finetune": f"{STEP} --rounds 1 --chosen 1,3 0,3 --systems full lora-default ffn --loops engine plain",
    "first_token": "--text {text} --sentences 1",
    "gpu": "--geometry tiny --chosen 1,3 --batch 2 --rounds 2 --lengths {text}/lengths --systems ffn --peak 1",
    "memory": f"{STEP} --chosen 1,3 --systems full ffn --loops plain --steps 1",
    "mixed": "--geometry tiny --rows 1 --tokens 6 --prompt 3 --rounds 1",
    "padding": "--directions en-de --pairs 8 --sentences 4 --max-new-tokens 3 --text {text}",
    "plan": "--geometries tiny --what landermt activations --pairs 80 --steps 1",
    "scale": "--what directions --values 3 --width 16 --vocabulary 64 --tokens 6 --rounds 1 --out {out}/scale",
    "significance": "--methods 2 --sentences 20",
    "translate": "--geometry tiny --batch 2 --tokens 6 --new 3 --rounds 1",
    "workflow": "--rounds 1 --no-op=",
}
SLOW = ("clean", "finetune", "gpu", "memory", "plan", "scale", "workflow")  # they start processes
NAMES = sorted(path.stem for path in ROOT.glob("benchmarks/[a-z]*.py"))
BENCHMARKS = [pytest.param(name, marks=[pytest.mark.workflow] if name in SLOW else []) for name in NAMES]


def last_line(output: str) -> dict:
    return json.loads(output.splitlines()[-1])


def run_here(name: str, *flags: str) -> str:
    """What `python -m benchmarks.<name>` prints, run in this process, which has imported everything."""
    output = io.StringIO()
    with mock.patch.object(sys, "argv", [name, *flags]), contextlib.redirect_stdout(output):
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    return output.getvalue()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """`run(name)`: the last line of a benchmark at toy size, which runs once; `out`: the folder of {out}."""
    text, out = tmp_path_factory.mktemp("text"), tmp_path_factory.mktemp("out")
    for code, words in (("en", "the house stands on the hill"), ("de", "das Haus steht auf dem Berg")):
        (text / f"{code}.txt").write_text("".join(f"{words} {'so ' * n}{n}\n" for n in (1, 2, 3, 3)))
    (text / "lengths").write_text("6\t6\n")

    @cache
    def run(name: str) -> dict:
        flags = TINY[name].format(text=text, out=out).split()
        if name != "finetune":
            return last_line(run_here(name, *flags))
        command = [sys.executable, "-m", f"benchmarks.{name}", *flags]  # DeepSpeed starts only once in a process
        return last_line(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout)

    return SimpleNamespace(run=run, text=text, out=out)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_documented_command_prints_its_documented_keys(name, tiny):
    header = ast.get_docstring(ast.parse((ROOT / f"benchmarks/{name}.py").read_text(encoding="utf-8")))
    assert f"python -m benchmarks.{name}" in header
    assert "Bound" in header
    assert "peer" in header.lower()
    keys = set(re.findall(r"`(\w+)`", header.partition("JSON: ")[2]))
    found = tiny.run(name)
    assert found["benchmark"] == name
    assert keys
    assert keys <= found.keys()


def test_floating_point_operations_are_those_of_the_needed_linear_maps():
    matrix, head = WIDTH * WIDTH, 2 * ROWS * (TOKENS - PROMPT) * VOCABULARY * WIDTH
    forward = 2 * ROWS * TOKENS * LAYERS * 12 * matrix + head  # qkv 3, attention 1, FFN 8
    full, ffn = (training.make(system, "plain", SIZE, (1, 3)) for system in ("full", "ffn"))
    assert full.flops == 3 * forward
    assert ffn.flops == 2 * ROWS * TOKENS * (72 + 60 + 16) * matrix + 2 * head  # no gradient below layer 1; two FFNs
    for step, layers in ((full, 3 * LAYERS), (ffn, LAYERS + 2 * (LAYERS - 1))):
        attention = [m for m in step.maps if m.heads > 1]  # in a pass two products for each head
        assert sum(m.flops for m in step.maps if m.heads == 1) == step.flops
        assert sum(m.flops for m in attention) == layers * 2 * 2 * ROWS * TOKENS * TOKENS * WIDTH


def test_products_of_a_step_are_made_in_its_shapes():
    maps = [training.Map(3, 4, 5, True, False), training.Map(3, 4, 3, True, True, heads=2)]
    found = []
    with mock.patch.object(torch.Tensor, "__matmul__", lambda a, b: found.append((*a.shape, *b.shape))):
        training.products(maps, torch.ones(training.numbers_of(maps) + 1))()
    forward = [(3, 4, 4, 5), (2, 3, 4, 2, 4, 3)]
    assert found == [*forward, (2, 3, 3, 2, 3, 4), (2, 3, 3, 2, 3, 4), (3, 5, 5, 4)]


def test_absent_neurons_are_left_out():
    mask = training.masks(1000, (0, 2), absent=0.5)[training.DIRECTION]
    shares = mask["role"].value_counts(normalize=True)
    assert len(mask) == 2000
    assert dict(shares) == pytest.approx({"absent": 0.5, "general": 0.3, "source": 0.1, "target": 0.1}, abs=0.05)


def test_ratios_are_of_medians_over_rounds_and_of_peaks():
    seconds = {"products:ffn": [1.0, 1.0, 2.0], "plain:full": [3.0, 4.0, 8.0], "plain:ffn": [1.5, 2.0, 8.0]}
    assert finetune.ratios(seconds, list(seconds), "plain") == {"speedup_vs_full": 2.0, "bound_ratio": 2.0}
    rows = {"ffn": {"peak": 3}, "full": {"peak": 6}, "lora": {"peak": 2}}
    assert memory.ratios(rows) == {"ratio_vs_full": 0.5, "ratio_vs_lora": 1.5}
    assert memory.landermt_gb(rows | {"layer": {"peak": 4_000_000_000}}) == 4
    made = {"base float32": [8, 8], "routed float32": [4, 8], "export float32": [8, 8]}
    made |= {"base bfloat16": [6, 6], "routed bfloat16": [1, 2]}
    assert translate.ratios(made, ["float32", "bfloat16"]) == {
        **{"vs_library": 1.5, "vs_library_float32": 1.5, "vs_library_bfloat16": 4.5},
        **{"routed_vs_base": 1.5, "export_vs_base": 1.0, "bf16_vs_fp32": 4.0},
    }


@pytest.mark.workflow
def test_both_loops_of_finetune_make_the_same_updates(tiny):
    found = tiny.run("finetune")
    keys = {"speedup_vs_full", "speedup_vs_lora_default", "bound_ratio"}
    assert set(found["loops"]) == {"engine", "plain"}
    assert set(found["loops"]["plain"]) == keys | {f"{key}_0,3" for key in keys}
    assert found["bound_ratio"] == found["loops"]["engine"]["bound_ratio"] > 0
    for system in ("full", "lora-default", "ffn"):
        assert found["losses"][f"engine:{system}"] == pytest.approx(found["losses"][f"plain:{system}"], rel=2e-3)


@pytest.mark.workflow
def test_memory_of_each_system_in_its_own_process(tiny):
    found = tiny.run("memory")["bytes"]["plain"]
    assert found["ffn"]["parameters"] == 2 * (8 * WIDTH * WIDTH + 5 * WIDTH) + 2  # matrices, biases, a gate per layer
    assert min(found["ffn"]["peak"], found["full"]["peak"]) > 0


def test_operations_of_detection(tiny):
    matrix, head = 12 * WIDTH * WIDTH * LAYERS, VOCABULARY * WIDTH
    found = tiny.run("activations")
    assert found["flops"]["forward"] == 2 * 12 * (matrix + head)  # 12 tokens
    assert found["flops"]["activations"] == 2 * 12 * (matrix + LAYERS * 4 * WIDTH)  # a sum of each neuron
    assert found["vs_forward"] > 0
    found = tiny.run("awareness")
    assert found["flops"]["awareness"] == 2 * found["flops"]["forward"]
    assert found["vs_forward"] > 0
    assert found["peak_gb"] > 0
    assert found["peak_bound_gb"] == pytest.approx(4 * GEOMETRIES["tiny"].parameters() / 1e9)


def test_captum_scores_as_we_do():
    pytest.importorskip("captum")
    args = argparse.Namespace(shape=GEOMETRIES["tiny"], batch=2, tokens=6, rounds=1, threads=1)
    made = _detection.make(args)
    awareness.check(made)
    ours = awareness.sum_scores(made.network, iter([made.batch])).scores()
    np.testing.assert_allclose(awareness.captum_scores(made.network, made.batch, False), ours, rtol=1e-3, atol=1e-7)


def test_padding_and_waiting_by_hand():
    lengths = [np.array([4, 4, 1]), np.array([2])]
    assert padding.waste("x", lengths) == {"x": 3, "x_all": 14}
    network, codec = toys.bloom(vocabulary=300), Codec(toys.bloom_tokenizer())
    model = Translator(network, codec)

    def generate(_prompts, _decoding) -> list[list[int]]:
        for shape in ((1, 5), (2, 3), (3, 1), (2, 1), (1, 1)):  # rows and columns
            network(input_ids=torch.full(shape, 9))
        return [[9, 9, 9, 9], [9, 2], [9, 9, 2]]

    model.generate = generate
    found = padding.decoded(model, [[5] * 5, [6] * 3, [7] * 2], 4)
    # 11 tokens were read of prompts that have 10; the rows write 4, 2 and 3 tokens, and the model was run on 9 rows in
    # all. The library would read 3 x 5 tokens, and run 3 rows 4 times
    assert {key: found[key] for key in ("decode", "decode_all")} == {"decode": 1, "decode_all": 11}
    assert {key: found[key] for key in ("decode_wait", "decode_wait_all")} == {"decode_wait": 0, "decode_wait_all": 9}
    assert [found[f"library_{key}"] for key in ("decode", "decode_all", "wait", "wait_all")] == [5, 15, 3, 12]


def test_padding_of_every_text(tiny):
    found = tiny.run("padding")
    assert set(found["texts"]) == {"default", tiny.text.name}
    assert all(0 <= found[key] < 1 for key in ("train", "decode", "library_wait"))
    assert found["decode_wait"] == 0


def test_operations_of_decoding(tiny):
    found = tiny.run("translate")
    matrix, head = 12 * WIDTH * WIDTH * LAYERS, VOCABULARY * WIDTH
    assert found["flops"] == 2 * 2 * (8 * matrix + 3 * head)  # 6 tokens read, 2 of 3 written ones read again
    assert found["routed_vs_base"] > 0 < found["export_vs_base"]


@pytest.mark.workflow
def test_each_ready_config_plans_what_it_can_and_says_what_it_cannot(tiny):
    found = tiny.run("workflow")["configs"]
    assert found.keys() == {path.stem for path in ROOT.glob("config/*.yaml")} - {"defaults"} | {"config"}
    assert min(row["jobs"] for row in found.values()) > 400
    left_out = {name: list(row["left_out"]) for name, row in found.items() if row["left_out"]}
    assert left_out == {"paper": ["forgetting"], "baichuan2": ["forgetting"]}  # their tests are of trained directions
    assert all("\n" not in why for row in found.values() for why in row["left_out"].values())


@pytest.mark.workflow
@pytest.mark.skipif(not os.environ.get("LANDER_SOAK"), reason="make soak: seven starts of Snakemake")
def test_nothing_is_to_do_in_a_run_whose_outputs_exist():
    flags = ["--configfiles", str(ROOT / "config/paper.yaml"), "--targets", "figures_layers", "--rounds=1"]
    found = last_line(run_here("workflow", *flags))["configs"]["paper"]
    assert found["no_op_s"] > 0 < found["jobs"]


def test_start_up_is_counted_by_stage(tmp_path, monkeypatch, capsys):
    for name, seconds in (("layers/main/s0", 10), ("masks/a", 4), ("masks/b", 6)):
        file = tmp_path / "benchmarks" / f"{name}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\tcpu_time\n{seconds}\t{seconds / 2}\n")
    monkeypatch.setattr(workflow, "start", lambda stage, _rounds: {"layers": (2.0, 1.0), "masks": (1.0, 1.0)}[stage])
    found = workflow.startup(tmp_path, 1)
    assert found["masks"] == {"jobs": 2, "s": 10.0, "cpu": 5.0, "startup_s": 2.0, "startup_cpu": 2.0}
    assert re.search(r"layers +1 +10\.0 +2\.0 +0\.20 +0\.20", capsys.readouterr().out)
    modules = set(re.findall(r"lander[\w.]+", " ".join(workflow.IMPORTS.values())))
    assert all(find_spec(name) for name in modules)


def test_jobs_of_a_plan_are_counted():
    assert workflow.planned("Job stats:\njob  count\n----\nclean   5\ntotal   17\n\n") == 17
    assert workflow.planned("Nothing to be done.") == 0


@pytest.mark.workflow
def test_clean_reads_so_many_pairs(tiny):
    found = tiny.run("clean")
    assert set(found["peaks_mb"]) == {"8"}
    assert found["pairs_per_s"] > 0
    args = argparse.Namespace(text=tiny.text, languages=["de", "en"])
    assert [second[-3:] for _, second in islice(clean.pairs(args), 6)] == ["o 1", "o 2", "o 3", "o 3", "1 1", "2 1"]


def test_opusfilter_has_the_same_thresholds():
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
def test_scale_measures_an_update_and_writes_a_table_and_a_figure(tiny):
    assert [row["value"] for row in tiny.run("scale")["rows"]] == [3]
    assert (tiny.out / "scale.csv").read_text().splitlines()[0] == "what,value,seconds,bytes"
    assert (tiny.out / "scale.svg").read_text().count('<g id="axes_') == 2


def test_scale_scores_so_many_sentences(monkeypatch):
    read = []
    monkeypatch.setattr(estimators, "sum_scores", lambda _net, batches: read.extend(map(len, map(astuple, batches))))
    args = argparse.Namespace(width=16, vocabulary=64, tokens=6)
    scale.scoring({**scale.POINT, "layers": 1, "neurons": 8, "sentences": 24}, args)()
    assert len(read) == 3  # batches of 8


SMALL = ["--geometry=tiny", "--rounds=2"]


def test_gpu_says_what_fits_and_how_much_is_used(monkeypatch, capsys):
    rounds = {"seconds": [1.0, 2.0, 4.0], "tokens": [30, 50, 160], "flops": [100, 400, 1200], "parameters": 7}
    rounds["recomputed"] = False
    passes = {"base": [2, 2, 3], "routed": [4, 2, 2], "forward": [1, 1, 1], "scoring": [2, 3, 4]}
    processes = {("ffn", 4): rounds | {"peak": 3e9}, ("full", 4): rounds | {"peak": 12e9}, ("passes", 4): passes}
    processes |= {("ffn", 8): {}, ("full", 8): {}, ("full", 8, "--recompute"): {}}
    processes["ffn", 8, "--recompute"] = rounds | {"peak": 4e9, "recomputed": True}
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
    assert max(max(tokens) for tokens, _ in read) < VOCABULARY
    monkeypatch.setattr(sys, "argv", ["gpu"])
    assert gpu.parse().chosen == (7, 10, 25, 27)  # of 30


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_without_one_says_so():
    assert "needs a GPU" in run_here("gpu")


def test_gpu_training_that_does_not_fit_is_an_empty_record(monkeypatch, capsys):
    def train_one(*_args) -> dict:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(gpu, "train_one", train_one)
    monkeypatch.setattr(sys, "argv", ["gpu", *SMALL, "--batch=2", "--one=full"])
    gpu.main()
    assert last_line(capsys.readouterr().out) == {}


def test_gpu_goes_on_behind_a_process_that_fails(monkeypatch):
    failed = SimpleNamespace(returncode=1, stdout="no line of JSON\n")
    monkeypatch.setattr(gpu.subprocess, "run", lambda *_args, **_options: failed)
    assert gpu.start("full", 2) == {}


def test_gpu_decodes_and_scores():
    found = last_line(run_here("gpu", *SMALL, "--batch=2", "--one=passes"))
    assert set(found) == {"base", "routed", "forward", "scoring"}
    assert all(len(values) == 2 and min(values) > 0 for values in found.values())


@pytest.mark.workflow
def test_gpu_trains_in_processes(tiny):
    found = tiny.run("gpu")
    assert found["recomputed_ffn_2"] is False
    assert found["chosen"] == [1, 3]  # the same operations as by hand above: 24 tokens, 12 of them predicted
    needed = (2 * 24 * (72 + 60 + 16) * WIDTH * WIDTH + 2 * 2 * 12 * VOCABULARY * WIDTH) / 24
    assert found["utilisation_ffn_2"] == pytest.approx(found["tokens_per_s_ffn_2"] * needed)
    assert found["peak_gb_ffn_2"] > 0
