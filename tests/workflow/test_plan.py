"""`lander plan`: what it says against the paper, against other code, by hand, and against runs that were measured."""

import gzip
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toys
import yaml
from transformers import BloomConfig, BloomForCausalLM

from lander import cli
from lander.config import config
from lander.finetune.cost import training_cost
from lander.finetune.methods import Lora, prepare
from lander.finetune.schedule import Pairs, Schedule
from lander.shared import tables
from lander.shared.errors import UserError
from lander.workflow import planning
from lander.workflow.planning import base, corpus, jobs, limits, memory, plan
from lander.workflow.planning.machine import Machine
from lander.workflow.planning.training import training, updates

ROOT = Path(__file__).parents[2]
GPU = Machine(gpu=True, flops=1e14, memory=80e9)
CPU = Machine(gpu=False, flops=1e11, memory=1e9)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that writes a config of local texts and a toy base, and reads it."""
    monkeypatch.chdir(tmp_path)
    for code in ("en", "de", "fr"):
        Path(f"a.{code}").write_text("one two\n" * 50)
    toys.bloom(3, vocabulary=300).save_pretrained("base")
    toys.bloom_tokenizer().save_pretrained("base")

    def made(**changes) -> config.Config:
        three = {code: f"a.{code}" for code in ("en", "de", "fr")}
        raw = {
            "run": "mine",
            "languages": ["en", "de", "fr"],
            "directions": ["en-de", "de-en", "en-fr"],
            "model": {"path": "base"},
            "layers": {"k": 2},
            "methods": ["full", "lora", "landermt"],
            "finetune": {"batch_size": 4, "epochs": 2, "max_length": 512},
            "data": {
                "train": [{"files": three, "lines": [0, 40]}],
                "dev": [{"files": three, "lines": [40, 45]}],
                "test": [{"name": "t", "files": three, "lines": [45, 50]}],
                "exclude": [],
            },
        }
        Path("my.yaml").write_text(yaml.safe_dump(config.merge(raw, changes)))
        return config.read("my.yaml")

    return made


def test_the_papers_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Table 1: parameters trained, and 12,500 updates, from config/paper.yaml and BLOOM-7b1's config."""
    bloom = BloomConfig(vocab_size=250_880, hidden_size=4096, n_layer=30, n_head=32)
    monkeypatch.setattr(base, "base_config", lambda settings: bloom)
    settings = config.read(ROOT / "config" / "paper.yaml").changed({"methods": ("full", "lora", "landermt")})
    made = plan.make(settings, GPU, count_jobs=False)
    found = {one["method"]: one for one in made["methods"]}
    trained = {name: one["trained"] for name, one in found.items()}
    assert trained == {"full": 7_069_016_064, "lora": 31_457_280, "landermt": 805_519_360}
    assert {one["updates"] for one in made["methods"]} == {12_500}
    # bfloat16, one GPU: 2 bytes of weights; gradients and their sums 6, masters and moments 12; a bucket of 5e8 numbers
    assert found["full"]["memory_gb"]["2"] > 20 * 7.069 + 1 > 80
    assert found["landermt"]["memory_gb"]["2"] == pytest.approx(2 * 7.069 + 18 * 0.8055 + 1 + 0.6, abs=2)  # activations
    assert made["zero_stage"] == 2
    assert any(
        warning.startswith("full needs 144.9 GB at ZeRO stage 2, there are 80.0") for warning in made["warnings"]
    )
    assert not any("landermt" in warning for warning in made["warnings"])
    assert "taken to be data.max_pairs" in " ".join(made["notes"])
    assert "and more" in planning.page(made)  # the test sets on the hub are not counted


def test_updates_and_flops_are_those_of_the_training(own) -> None:
    """Against the code that measures a run, on pairs of one length."""
    settings = own()
    make = base.network_maker(settings)
    shape = base.shape_of(make())
    texts = {name: corpus.Text(37, True, 6.0, 3.0, 9.0, True) for name in ("en-de", "de-en", "en-fr")}
    pairs = {name: Pairs(np.zeros(9 * 37, np.int32), np.arange(9, 9 * 38, 9), np.full(37, 6)) for name in texts}
    schedule = Schedule(pairs, 4, seed=0)
    steps = updates(settings, texts)
    assert steps == schedule.updates(2, 3) == 20
    for method, options in (("full", {}), ("lora", {"lora": Lora(16)})):
        expected = training_cost(prepare(method, toys.bloom(3, vocabulary=300), **options), schedule, steps * 3)
        found = training(settings, method, make, shape, texts).flops
        assert found == pytest.approx(expected["flops"], rel=1e-9)
    texts["en-de"] = replace(texts["en-de"], pairs=None)
    assert training(settings, "full", make, shape, texts).flops is None
    assert updates(own(finetune={"steps": 7}), texts) == 7


def test_pairs_are_counted(own) -> None:
    Path("b.tsv").write_text("x\ty\n" * 11)
    Path("c.en.gz").write_bytes(gzip.compress(b"hello\n" * 29 + b"end"))
    Path("c.fr").write_text("hello\n" * 30)
    settings = own(
        data={
            "max_pairs": 0,
            "train": [
                {"name": "a", "files": {"en": "a.en", "de": "a.de"}, "lines": [0, 30]},
                {"name": "b", "tsv": "b.tsv", "columns": ["en", "de"], "directions": ["en-de"]},
                {"name": "c", "files": {"en": "c.en.gz", "fr": "c.fr"}, "lines": [20, None]},
            ],
        }
    )
    texts = corpus.texts(settings)
    assert {name: text.pairs for name, text in texts.items()} == {"en-de": 41, "de-en": 30, "en-fr": 10}
    assert texts["en-fr"].target == 6  # five bytes, a token each, and the end
    hub = {"hf": "owner/name", "config": "en-de"}
    train = [hub, {"name": "c", "files": {"en": "c.en.gz", "fr": "c.fr"}}]
    for most, expected in ((0, None), (25, 25)):
        texts = corpus.texts(own(directions=["en-de", "en-fr"], data={"train": train, "max_pairs": most}))
        assert (texts["en-de"].pairs, texts["en-de"].counted, texts["en-de"].sampled) == (expected, False, False)
        assert texts["en-fr"].pairs == (25 if most else 30)


def test_memory_by_hand() -> None:
    one = {"dtype": "bfloat16", "parameters": 1000, "trained": 100, "activations": 7.0}
    on = {"gpu": True} | one
    assert memory.finetune(**on, stage=1, ranks=1) == 2000 + 600 + 1200 + 7 + 200
    assert memory.finetune(**on, stage=1, ranks=4) == 2000 + 600 + 300 + 7 + 200
    assert memory.finetune(**on, stage=2, ranks=4) == 2000 + 450 + 7 + 200
    assert memory.finetune(**on, stage=3, ranks=4) == 500 + 450 + 7 + 200
    assert memory.finetune(**on, stage=0, ranks=1) == memory.finetune(**on, stage=1, ranks=1)
    shape = base.Shape(0, 3, 10, 40, False, 2, 10, 100)
    numbers = 10 * 10 + 4 * 40 + 3 * 2 * 5
    assert memory.kept(shape, 20, 3, 5, "float32") == 20 * 3 * numbers * 4
    assert memory.kept(shape, 20, 3, 5, "float32", frozen=2) == 20 * (3 * numbers - 2 * 70) * 4
    assert memory.kept(shape, 20, 3, 5, "float32", recompute=True) == 20 * (3 * 10 + numbers) * 4
    assert memory.decoding(shape, 2, 8, "float32") == 2 * (2 * 2 * 3 * 10 * 8 * 4 + 800)


def test_what_does_not_fit_is_said_before(own) -> None:
    def warnings(gigabytes: float) -> list[str]:
        return plan.make(own(), Machine(False, 1e11, gigabytes * 1e9), count_jobs=False)["warnings"]

    assert warnings(10) == []
    small = warnings(0.5)
    assert small[0].startswith("full needs 0.")
    assert "no ZeRO stage fits" in small[0]
    assert any(line.startswith("awareness needs ") and "awareness.batch_size" in line for line in small)
    assert "--memory" in plan.make(own(), Machine(True, 1e11, None), count_jobs=False)["warnings"][0]
    made = plan.make(own(), Machine(True, 1e11, None), count_jobs=False)
    assert json.loads(json.dumps(made)) == made
    for place, text in enumerate(made["texts"].values()):
        text |= {"prompt": 100 + place / 10, "target": 61.0}
    assert "directions   3, 40 pairs each; 161 tokens a pair" in planning.page(made)
    ranks = plan.make(own(finetune={"ranks": 3}), CPU, count_jobs=False)["methods"][0]["memory_gb"]["0"]
    alone = plan.make(own(), CPU, count_jobs=False)["methods"][0]["memory_gb"]["0"]
    assert ranks == pytest.approx(3 * alone)  # processes on one machine


def test_every_method_and_a_base_from_scratch(own) -> None:
    from lander.config.methods import TRAINED

    made = plan.make(own(model={"path": "pretrain"}, methods=list(TRAINED)), CPU, count_jobs=False)
    assert [one["method"] for one in made["methods"]] == list(TRAINED)
    assert [one["stage"] for one in made["stages"]] == ["pretrain", "activations", "awareness", "translate"]
    found = {one["method"]: one["trained"] for one in made["methods"]}
    assert found["landermt-ls"] < found["landermt-lg"] < found["layers"] < found["full"]
    none = plan.make(own(layers={"k": 0}, methods=["landermt"]), CPU, count_jobs=False)
    assert none["methods"][0]["trained"] == 0


def test_bases_that_are_not_here_or_not_models(own) -> None:
    with pytest.raises(UserError, match=r"hf download nobody/nothing config\.json"):
        plan.make(own(model={"path": "nobody/nothing"}), CPU, count_jobs=False)
    for text, message in (
        ('{"n_layer": 3}', "is not that of a model"),
        ('{"n_layer": 3, "model_type": "klingon"}', "is not that of a model"),
        ('{"n_layer": 3, "model_type": "phi3"}', "are not supported"),
        ('{"n_layer": 3, "model_type": "bloom", "n_head": 7, "hidden_size": 16}', "its config.json makes no model"),
    ):
        settings = own()
        Path("base/config.json").write_text(text)
        with pytest.raises(UserError, match=message) as caught:
            plan.make(settings, CPU, count_jobs=False)
        assert "\n" not in str(caught.value)


def test_counts_of_jobs() -> None:
    output = (
        "x\nJob stats:\njob    count\n-----  -----\nall  1\nold 9\ntotal 10\n\nJob stats:\njob    count\n-----  -----\n"
    )
    assert jobs.counts(output + "clean   5\nall  1\ntotal  6\n\nReasons:\n  more 3\n") == {"clean": 5}
    assert jobs.counts("Nothing to be done") == {}


DRY_RUN = """
rule activations:
    input: a
    resources: tmpdir=/tmp, runtime=60, mem_mb=2400, gpu=1, mem=2.4 GB, mem_mib=2289
rule activations:
    resources: tmpdir=/tmp, runtime=90, mem_mb=2400, gpu=1, mem=2.4 GB, mem_mib=2289
localrule all:
    resources: tmpdir=/tmp
rule finetune:
    resources: tmpdir=/tmp, runtime=1440, gpu=1, mem_mb=2548, mem=2.55 GB, mem_mib=2430
rule translate:
    resources: tmpdir=/tmp, runtime=60, mem_mb=9000
"""


def test_a_profile_becomes_flags_and_what_jobs_ask_for_is_read(tmp_path: Path) -> None:
    wanted = ["--default-resources", "mem_mb=2000", "runtime=30", "--set-resources"]
    given = limits.flags(ROOT / "workflow" / "profiles" / "slurm")
    assert given[:4] == wanted
    assert {"finetune:gpu=1", "finetune:runtime=1440", "translate:gpu=1"} < set(given)
    assert limits.flags(ROOT / "workflow" / "profiles" / "default") == []
    with pytest.raises(UserError, match="no such file; name the folder of a profile"):
        limits.flags(tmp_path)
    (tmp_path / "config.yaml").write_text("set-resources: [finetune:gpu=1]\n")
    with pytest.raises(UserError, match="set-resources: must be a mapping"):
        limits.flags(tmp_path)
    found = limits.limits(DRY_RUN)
    assert found["activations"] == {"runtime": 90, "mem_mb": 2400, "gpu": 1}
    assert found["finetune"]["runtime"] == 1440
    assert found["all"] == {}


def test_jobs_beyond_their_limits() -> None:
    made = {
        "zero_stage": 2,
        "machine": {"device": "gpu", "ranks": 4},
        "methods": [{"method": "full", "hours": 25.0, "memory_gb": {"2": 90.0}}],
        "stages": [
            {"stage": "activations", "jobs": 4, "hours": 6.4, "memory_gb": 16.0},
            {"stage": "translate", "jobs": 1, "hours": None, "memory_gb": 8.0},
            {"stage": "pretrain", "jobs": 1, "hours": 99.0, "memory_gb": 99.0},  # no job of it is left
        ],
    }
    asked = limits.limits(DRY_RUN)
    assert [told.split(";")[0] for told in limits.warnings(made, asked, checkpoints=False)] == [
        "full: about 25.0 h, and a job of finetune has 24.0",
        "activations: about 1.6 h, and a job of activations has 1.5",
        "finetune: a job gets 1 GPUs, not 4",
        "translate: a job gets 0 GPUs, not 1",
    ]
    made |= {"machine": {"device": "cpu", "ranks": 4}, "stages": made["stages"][1:2]}
    assert limits.warnings(made, asked, checkpoints=True) == [
        "full: 90.0 GB, and a job of finetune has 2.5; raise set-resources: finetune: mem_mb in the profile"
    ]


def test_the_command(own, capsys: pytest.CaptureFixture) -> None:
    own()
    flags = ["plan", "--configfile", "my.yaml", "--no-jobs"]
    cli.main([*flags, "--devices", "gpu", "--memory", "0.5", "--flops", "1e12"])
    printed = capsys.readouterr()
    assert "gpu, 0.5 GB, 1 rank" in printed.out
    assert "warning: full needs" in printed.err
    cli.main([*flags, "--json"])
    assert json.loads(capsys.readouterr().out)["texts"]["en-de"]["pairs"] == 40
    with pytest.raises(SystemExit):
        cli.main([*flags, "--profile", "nosuch"])
    assert "nosuch/config.yaml: no such file; name the folder of a profile" in capsys.readouterr().err
    for value in ("0", "nan", "much"):
        with pytest.raises(SystemExit):
            cli.main([*flags, "--memory", value])


@pytest.mark.workflow
def test_jobs_are_snakemakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # nothing has been run here
    found = jobs.counts(jobs.dry_run(()))
    assert found
    assert found["finetune"] <= 3
    assert "all" not in found


# ------------------------------------------------------------ measured

MEASURED = [
    ("full", "float32", 0),
    ("landermt", "float32", 0),
    ("lora", "float32", 0),
    ("full", "float32", 2),
    ("full", "bfloat16", 1),
]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from Linux's /proc")
@pytest.mark.workflow
@pytest.mark.parametrize(("method", "dtype", "stage"), MEASURED)
def test_memory_of_a_run_that_was_measured(method: str, dtype: str, stage: int, own) -> None:
    """Peak memory of a training, above what the imports take, within 25% of what the plan says."""
    shape = BloomConfig(vocab_size=300, hidden_size=448, n_layer=14, n_head=8, eos_token_id=2)
    BloomForCausalLM(shape).save_pretrained("base")
    finetune = {"batch_size": 2, "steps": 1, "zero_stage": stage, "precision": "float32", "checkpoint_minutes": 0}
    Path("one.yaml").write_text(yaml.safe_dump([{"name": "long", "text": "x" * 80 + " {source}\n"}]))
    settings = own(
        directions=["en-de", "de-en"],
        methods=[method],
        finetune=finetune,
        model={"path": "base", "dtype": dtype},
        data={"templates": "one.yaml"},
        translate={"template": "long"},
    )
    flags = ["--batch-size", "2", "--steps", "1", "--precision", "float32", "--zero-stage", str(stage)]
    flags += ["--dtype", dtype, "--templates", "one.yaml"]
    compare(settings, [("one two", "one two")] * 40, *flags, masks=toys.masks([0, 13], 4 * 448, ["en-de", "de-en"]))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from Linux's /proc")
@pytest.mark.workflow
@pytest.mark.parametrize("method", ["full", "landermt"])
def test_memory_where_sentences_are_long_and_of_every_length(method: str, own) -> None:
    """Where a CPU multiplies in bfloat16, each shape of a batch has a program: they must not pile up."""
    draw = np.random.default_rng(0)
    pairs = [
        (" ".join(["house"] * draw.integers(4, 50)), " ".join(["tree"] * draw.integers(4, 50))) for _ in range(170)
    ]
    for code, side in (("en", 0), ("de", 1), ("fr", 1)):
        Path(f"a.{code}").write_text("".join(f"{pair[side]}\n" for pair in pairs))
    three = {code: f"a.{code}" for code in ("en", "de", "fr")}
    lines = {"train": [0, 160], "dev": [160, 165], "test": [165, 170]}
    sources = {key: [{"name": key, "files": three, "lines": given}] for key, given in lines.items()}
    changes = {"batch_size": 8, "epochs": 1, "max_length": 256, "checkpoint_minutes": 0}
    settings = own(methods=[method], finetune=changes, model={"path": "lander-tiny"}, data=sources)
    masks = toys.masks([0, 5], 512, ["en-de", "de-en", "en-fr"])
    compare(settings, pairs[:160], "--batch-size", "8", "--max-length", "256", masks=masks)


def compare(settings: config.Config, pairs: list[tuple[str, str]], *flags: str, masks: dict[str, pd.DataFrame]) -> None:
    """The plan of a config's only method beside the peak of its training, both above what the imports take."""
    made = plan.make(settings, CPU, count_jobs=False)
    method, directions = settings.methods[0], [str(direction) for direction in settings.directions]
    expected = made["methods"][0]["memory_gb"][str(made["zero_stage"])] * 1e9 - CPU.imports
    for name in directions:
        rows = [(*pair, 0, "a", index) for index, pair in enumerate(pairs)]
        table = dict(zip(("source", "target", "template", "origin", "line"), zip(*rows, strict=True), strict=True))
        tables.write(f"{name}.parquet", pd.DataFrame(table), "train")
        tables.write(f"masks/{name}.parquet", masks[name], "masks")
    command = ["--method", method, "--model", settings.model.path, "--masks", "masks", "--out", "out", *flags]
    command += ["--directions", *directions, "--languages", '{"en": "English", "de": "German", "fr": "French"}']
    command += ["--train", *(f"{name}.parquet" for name in directions)]
    imports = peak("transformers.models.bloom.modeling_bloom", "deepspeed", "peft", "lander.finetune.methods")
    measured = peak(run="lander.finetune", flags=command) - imports
    print(f"{method}: measured {measured / 1e6:.0f} MB, planned {expected / 1e6:.0f} MB")
    assert expected == pytest.approx(measured, rel=0.25)


def peak(*imports: str, run: str = "", flags: list[str] | None = None) -> int:
    """Peak resident bytes of a Python process that imports modules, and runs one.

    It says them itself: what `wait4` and `getrusage` say of a child begins with its parent's peak.
    """
    lines = ["import atexit, importlib, re, runpy, sys"]
    lines += ["atexit.register(lambda: print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]))"]
    lines += [f"importlib.import_module({name!r})" for name in imports]
    lines += [f"runpy.run_module({run!r}, run_name='__main__', alter_sys=True)"] if run else []
    command = [sys.executable, "-c", "\n".join(lines), *(flags or [])]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.split()[-1]) * 1024
