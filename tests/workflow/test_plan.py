"""`lander plan`: what it says against the paper, other code, numbers by hand, and runs that were measured."""

import gzip
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toys
import yaml
from transformers import BloomConfig, BloomForCausalLM

from benchmarks import plan as benchmark
from lander import cli
from lander.config import config
from lander.config.methods import TRAINED, Lora
from lander.finetune.cost import training_cost
from lander.finetune.methods import count, prepare
from lander.finetune.schedule import Pairs, Schedule
from lander.finetune.trainer import TranslationLoss
from lander.shared.errors import UserError
from lander.workflow import planning
from lander.workflow.planning import jobs, machine, memory, networks, plan, texts
from lander.workflow.planning.machine import Machine
from lander.workflow.planning.texts import Text

ROOT = Path(__file__).parents[2]
GPU = Machine(gpu=True, flops=1e14, memory=80e9, imports=0.6e9)
CPU = Machine(gpu=False, flops=1e11, memory=1e9, imports=0.5e9)


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
    monkeypatch.setattr(networks, "read_config", lambda settings: bloom)
    monkeypatch.setattr(memory, "micro_batch", lambda *args, **options: 1e9)
    monkeypatch.setattr(memory, "stages", lambda *args: {"activations": 0.0, "awareness": 0.0, "translate": 0.0})
    settings = config.read(ROOT / "config" / "paper.yaml").changed({"methods": ("full", "landermt")})
    lora = networks.made_ready(settings, "lora", networks.make_network(bloom))
    assert count(lora.groups) == 31_457_280
    made = plan.make(settings, GPU)
    found = {one["method"]: one for one in made["methods"]}
    assert {name: one["trained"] for name, one in found.items()} == {"full": 7_069_016_064, "landermt": 805_519_360}
    assert {one["updates"] for one in made["methods"]} == {12_500}
    # bfloat16, one GPU: 2 bytes of weights; gradients and their sums 6, masters and moments 12; a bucket of 5e8 numbers
    assert found["full"]["memory_gb"]["2"] > 20 * 7.069 + 1 > 80
    assert found["landermt"]["memory_gb"]["2"] == pytest.approx(2 * 7.069 + 18 * 0.8055 + 1 + 1 + 0.6, abs=0.01)
    assert made["zero_stage"] == 2
    assert any(warning.startswith("full needs") for warning in made["warnings"])
    assert not any("landermt" in warning for warning in made["warnings"])
    assert any("data.max_pairs" in note for note in made["notes"])
    assert not made["hours_complete"]  # the test sets on the hub are not counted
    assert "and more" in planning.page(made)


def test_updates_and_flops_are_those_of_the_training(own) -> None:
    """Against the code that measures a run, on pairs of one length."""
    settings = own()
    read = networks.read_config(settings)
    found = {name: Text(37, True, 6.0, 3.0, 9.0, 3.0, True) for name in ("en-de", "de-en", "en-fr")}
    pairs = {name: Pairs(np.zeros(9 * 37, np.int32), np.arange(9, 9 * 38, 9), np.full(37, 6)) for name in found}
    schedule = Schedule(pairs, 4, seed=0)
    steps = networks.updates(settings, found)
    assert steps == schedule.updates(2, 3) == 20
    mixed = settings.changed({"finetune": {"mix_directions": True, "accumulate": 1}})
    assert networks.updates(mixed, found) == 20
    for method, options in (("full", {}), ("lora", {"lora": Lora(rank=16)})):
        expected = training_cost(prepare(method, toys.bloom(3, vocabulary=300), **options), schedule, steps * 3)
        prepared = networks.made_ready(settings, method, networks.make_network(read))
        for one in (settings, mixed):
            assert networks.training_flops(one, prepared, found, steps) == pytest.approx(expected["flops"], rel=1e-9)
    found["en-de"] = replace(found["en-de"], pairs=None)
    assert networks.updates(settings, found) is None
    assert networks.training_flops(settings, prepared, found, None) is None
    assert networks.updates(own(finetune={"steps": 7}), found) == 7


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
    found = texts.texts(settings)
    assert {name: text.pairs for name, text in found.items()} == {"en-de": 41, "de-en": 30, "en-fr": 10}
    assert found["en-fr"].target == found["en-fr"].predicted == 6  # five bytes, a token each, and the end
    hub = {"hf": "owner/name", "config": "en-de"}
    train = [hub, {"name": "c", "files": {"en": "c.en.gz", "fr": "c.fr"}}]
    for most, expected in ((0, None), (25, 25)):
        found = texts.texts(own(directions=["en-de", "en-fr"], data={"train": train, "max_pairs": most}))
        assert (found["en-de"].pairs, found["en-de"].counted, found["en-de"].sampled) == (expected, False, False)
        assert found["en-fr"].pairs == (25 if most else 30)


# ------------------------------------------------------------ memory and speed


def test_memory_by_hand() -> None:
    on = {"gpu": True, "dtype": "bfloat16", "parameters": 1000, "trained": 100, "activations": 7.0}
    assert memory.training(**on, stage=1, ranks=1) == 2000 + 600 + 1200 + 7 + 200
    assert memory.training(**on, stage=1, ranks=4) == 2000 + 600 + 300 + 7 + 200
    assert memory.training(**on, stage=2, ranks=4) == 2000 + 450 + 7 + 200
    assert memory.training(**on, stage=3, ranks=4) == 500 + 450 + 7 + 200
    assert memory.training(**on, stage=0, ranks=1) == memory.training(**on, stage=1, ranks=1)
    on = {"gpu": False, "dtype": "float32", "parameters": 1000, "trained": 100, "activations": 700.0, "halved": 1800}
    assert memory.training(**on, stage=0, ranks=1) == 2200 + 1600 + 700
    assert memory.training(**on, stage=3, ranks=1, file=2000) == 4000 + 2800 + 700  # nothing is halved
    assert memory.training(**on, stage=0, ranks=1, file=2000) == 4000 + 2000  # while the base is read


def test_a_base_of_the_files_type_is_the_file(own, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a file is mapped and never copied, and it stays in memory when its matrices are rounded to bfloat16."""
    settings = own(methods=["lora"], finetune={"precision": "bfloat16"})
    given = []
    monkeypatch.setattr(memory, "training", lambda **sizes: given.append(sizes) or 0.0)
    for dtype in (torch.float32, torch.bfloat16):
        toys.bloom(3, vocabulary=300).to(dtype).save_pretrained("base")
        plan.make(settings, CPU)
    mapped, read = given[0], given[-1]
    numbers, width = networks.base_of_run(settings).parameters, 16
    matrices = 300 * width + 3 * 12 * width**2
    assert (mapped["file"], mapped["halved"]) == (0, -2 * matrices)
    assert (read["file"], read["halved"]) == (2 * numbers, 2 * matrices)  # head and embedding share their halves


def test_a_stage_reads_no_more_sentences_than_it_has(own) -> None:
    few = {"sentences": 2, "batch_size": 2}
    least = plan.make(own(activations=few, awareness=few), CPU)["stages"]
    few["batch_size"] = 64
    assert plan.make(own(activations=few, awareness=few), CPU)["stages"] == least
    few["sentences"] = 64
    assert plan.make(own(activations=few, awareness=few), CPU)["stages"] != least


def test_bytes_alive_are_counted() -> None:
    network = torch.nn.Linear(8, 4, bias=False, device="meta")
    x = torch.zeros(5, 8)
    with torch.no_grad(), memory.counting(network) as counted:
        y = network(x)
        assert counted.now == 5 * 4 * 4  # neither the weights nor what has numbers
        y = y * 2 + 1
        assert (counted.now, counted.peak) == (80, 240)
        del y
        assert counted.now == 0


@pytest.mark.parametrize("autocast", [False, True])
def test_a_micro_batch_counts_what_a_real_one_makes(autocast: bool) -> None:
    """The same code with numbers: what the backward pass has kept, by PyTorch's own hooks."""
    real = prepare("full", toys.bloom(3, vocabulary=300))
    batch = memory.batch_of(4, 20, 8)
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), torch.autocast("cpu", enabled=autocast):
        TranslationLoss(real.network).train()(batch)
    weights = {parameter.untyped_storage().data_ptr() for parameter in real.network.parameters()}
    least = sum(one.untyped_storage().nbytes() for place, one in kept.items() if place not in weights)
    meta = prepare("full", networks.make_network(toys.bloom(3, vocabulary=300).config))
    counted = memory.micro_batch(meta, "", batch, autocast=autocast, again=False)
    assert least < counted < 3 * least + sum(parameter.nbytes for parameter in real.network.parameters())
    again = prepare("full", networks.make_network(toys.bloom(3, vocabulary=300).config))
    assert memory.micro_batch(again, "", batch, autocast=autocast, again=True) < counted


def test_speed_is_measured_where_the_device_is(own) -> None:
    settings = own()
    base = networks.base_of_run(settings)
    found = texts.texts(settings)
    here = Machine(gpu=torch.cuda.is_available(), flops=None, memory=None, imports=0.0)
    rates = machine.rates(settings, here, base, found)
    assert set(rates) == {"full", "lora", "landermt", "decode"}
    assert all(rate > 1e5 for rate in rates.values())
    assert machine.rates(settings, replace(here, gpu=not here.gpu), base, found) == {}
    made = plan.make(settings, replace(here, gpu=not here.gpu))
    assert {one["hours"] for one in made["methods"]} == {None}
    assert any("--flops" in note for note in made["notes"])


def test_what_does_not_fit_is_said_before(own) -> None:
    settings = own(methods=["full", "landermt"])
    small = plan.make(settings, replace(CPU, memory=0.4e9))["warnings"]
    assert small[0].startswith("full needs 0.")
    assert any(line.startswith("awareness needs ") and "awareness.batch_size" in line for line in small)
    made = plan.make(settings, replace(GPU, memory=None))
    assert "--memory" in made["warnings"][0]
    assert json.loads(json.dumps(made)) == made
    for place, text in enumerate(made["texts"].values()):
        text |= {"prompt": 100 + place / 10, "target": 61.0}
    assert "directions   3, 40 pairs each; 161 tokens a pair" in planning.page(made)
    full = {n: plan.make(own(methods=["full"], finetune={"ranks": n}), CPU) for n in (1, 3)}
    assert full[1]["warnings"] == []
    alone, together = (made["methods"][0]["memory_gb"]["0"] for made in full.values())
    assert together == pytest.approx(3 * alone)  # processes on one machine


def test_every_method_and_a_base_from_scratch(own) -> None:
    settings = own(model={"path": "pretrain"}, pretrain={"n_layer": 2}, layers={"k": 1}, methods=list(TRAINED))
    made = plan.make(settings, CPU)
    assert [one["method"] for one in made["methods"]] == list(TRAINED)
    assert [one["stage"] for one in made["stages"]] == ["pretrain", "activations", "awareness", "translate"]
    found = {one["method"]: one["trained"] for one in made["methods"]}
    assert found["landermt-ls"] < found["landermt-lg"] < found["layers"] < found["full"]
    none = plan.make(own(layers={"k": 0}, methods=["landermt"]), CPU)
    assert none["methods"][0]["trained"] == 0


def test_bases_that_are_not_here_or_not_models(own) -> None:
    with pytest.raises(UserError, match=r"hf download nobody/nothing config\.json"):
        plan.make(own(model={"path": "nobody/nothing"}), CPU)
    settings = own()
    for more in ({}, {"model_type": "klingon"}, {"model_type": "phi3"}, {"model_type": "bloom", "n_head": 7}):
        Path("base/config.json").write_text(json.dumps({"n_layer": 3, **more}))
        with pytest.raises(UserError, match=r"model\.path") as caught:
            plan.make(settings, CPU)
        assert "\n" not in str(caught.value)


# ------------------------------------------------------------ jobs


def test_a_profile_becomes_flags(tmp_path: Path) -> None:
    given = jobs.profile_flags(ROOT / "workflow" / "profiles" / "slurm")
    assert given[:4] == ["--default-resources", "mem_mb=2000", "runtime=30", "--set-resources"]
    assert {"finetune:gpu=1", "finetune:runtime=1440", "translate:gpu=1"} < set(given)
    assert jobs.profile_flags(ROOT / "workflow" / "profiles" / "default") == []
    with pytest.raises(UserError, match=r"config\.yaml"):
        jobs.profile_flags(tmp_path)
    (tmp_path / "config.yaml").write_text("set-resources: [finetune:gpu=1]\n")
    with pytest.raises(UserError, match="set-resources"):
        jobs.profile_flags(tmp_path)


def test_jobs_beyond_their_limits() -> None:
    stages = [
        {"stage": "activations", "jobs": 4, "hours": 6.4, "memory_gb": 16.0},
        {"stage": "translate", "jobs": 1, "hours": None, "memory_gb": 8.0},
        {"stage": "pretrain", "jobs": 1, "hours": 99.0, "memory_gb": 99.0},  # no job of it is left
    ]
    methods = [{"method": "full", "hours": 25.0, "memory_gb": {"2": 90.0}}]
    made = {"zero_stage": 2, "machine": {"device": "gpu", "ranks": 4}, "methods": methods, "stages": stages}
    asked = {
        "activations": {"jobs": 4, "runtime": 90, "mem_mb": 2400, "gpu": 1},
        "finetune": {"jobs": 1, "runtime": 1440, "mem_mb": 2548, "gpu": 1},
        "translate": {"jobs": 1, "runtime": 60, "mem_mb": 9000},
    }
    assert [line.split(";")[0] for line in jobs.beyond(made, asked, checkpoints=False)] == [
        "full: about 25.0 h, and a job of finetune has 24.0",
        "activations: about 1.6 h, and a job of activations has 1.5",
        "finetune: a job gets 1 GPUs, not 4",
        "translate: a job gets 0 GPUs, not 1",
    ]
    made |= {"machine": {"device": "cpu", "ranks": 4}, "stages": made["stages"][1:2]}
    (only,) = jobs.beyond(made, asked, checkpoints=True)
    assert only.startswith("full: 90.0 GB")
    assert "mem_mb" in only


def test_the_command(own, capsys: pytest.CaptureFixture) -> None:
    own(methods=["full"])
    flags = ["plan", "--configfile", "my.yaml", "--no-jobs"]
    cli.main([*flags, "--devices", "gpu", "--memory", "0.5", "--flops", "1e12"])
    printed = capsys.readouterr()
    assert "gpu, 0.5 GB, 1 rank" in printed.out
    assert "warning: full needs" in printed.err
    cli.main([*flags, "--json"])
    assert json.loads(capsys.readouterr().out)["texts"]["en-de"]["pairs"] == 40
    with pytest.raises(SystemExit):
        cli.main([*flags[:-1], "--profile", "nosuch"])
    assert "nosuch/config.yaml" in capsys.readouterr().err
    for value in ("0", "nan", "much"):
        with pytest.raises(SystemExit):
            cli.main([*flags, "--memory", value])


@pytest.mark.workflow
def test_jobs_are_snakemakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # nothing has been run here
    found = jobs.dry_run((), ROOT / "workflow" / "profiles" / "slurm")
    assert found
    assert found["finetune"]["jobs"] <= 3
    assert (found["finetune"]["gpu"], found["finetune"]["runtime"]) == (1, 1440)
    assert "all" not in found


# ------------------------------------------------------------ measured


@pytest.fixture(scope="module")
def fresh() -> planning.Machine:
    """This machine, with the imports of a fresh process: this one has held models."""
    code = "from lander.workflow.planning.machine import imports; print(imports())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return replace(planning.this_machine("cpu", 1e11, None, 1), imports=float(done.stdout.split()[-1]))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from Linux's /proc")
@pytest.mark.workflow
@pytest.mark.parametrize("what", ["full", "landermt", "lora", "awareness"])
def test_memory_of_a_stage_that_was_measured(what: str, fresh: planning.Machine, tmp_path: Path) -> None:
    """Batches of every length, with bfloat16 arithmetic where the CPU has it; `benchmarks.plan` has real geometries."""
    benchmark.write_texts(tmp_path, 320)
    settings = benchmark.settings_of(tmp_path, "lander-tiny", (what,) if what in TRAINED else ("landermt",))
    planned = benchmark.planned(settings, fresh)[what]
    assert planned == pytest.approx(benchmark.measured(tmp_path, settings, what, 3), rel=0.25)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from Linux's /proc")
@pytest.mark.workflow
@pytest.mark.parametrize(("method", "dtype", "stage"), [("full", "float32", 2), ("full", "bfloat16", 1)])
def test_memory_of_a_zero_stage_that_was_measured(
    method: str, dtype: str, stage: int, fresh: planning.Machine, tmp_path: Path
) -> None:
    shape = BloomConfig(vocab_size=2560, hidden_size=448, n_layer=14, n_head=8, eos_token_id=2)
    BloomForCausalLM(shape).save_pretrained(tmp_path / "base")
    benchmark.loading.load_codec("lander-tiny").tokenizer.save_pretrained(tmp_path / "base")
    benchmark.write_texts(tmp_path, 40)
    settings = benchmark.settings_of(tmp_path, str(tmp_path / "base"), (method,))
    settings = settings.changed({"model": {"dtype": dtype}, "finetune": {"precision": "float32", "batch_size": 2}})
    flags = ["--dtype", dtype, "--zero-stage", str(stage), "--precision", "float32", "--batch-size", "2"]
    planned = benchmark.planned(settings, fresh, str(stage))[method]
    assert planned == pytest.approx(benchmark.measured(tmp_path, settings, method, 1, *flags), rel=0.25)
