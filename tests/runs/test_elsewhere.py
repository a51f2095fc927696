"""A whole run on a device that is not the CPU, where there is no GPU: elsewhere.py says what it is."""

import re
import shutil
from pathlib import Path

import pytest
from test_run import Project

pytestmark = pytest.mark.workflow
# Weights as on a GPU. DeepSpeed's stage 3 copies behind PyTorch's back and cannot be had here.
CONFIG = {
    "directions": ["en-de"],
    "methods": ["zero-shot", "lora", "landermt"],
    "model": {"dtype": "bfloat16"},
    "finetune": {"recompute": True, "zero_stage": 1},
    "translate": {"max_new_tokens": 4},
    "pretrain": {"tokens": 6000},
}
TARGETS = ["all", "clusters", "results/tiny/loss/landermt/main/s0.csv"]
STAGES = ["pretrain", "activations", "awareness", "finetune", "translate", "loss", "clusters"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project whose device is elsewhere."""
    made = Project(tmp_path_factory.mktemp("elsewhere"))
    shutil.copy(Path(__file__).with_name("elsewhere.py"), made.code)
    machine = made.code / "lander" / "shared" / "machine.py"
    with machine.open("a", encoding="utf-8") as stream:
        stream.write("\n\nimport elsewhere\n\ndevice = lambda: elsewhere.DEVICE\n")
    made.edit(
        "lander/finetune/engine.py", "    return deepspeed\n", "    elsewhere.serve_deepspeed()\n    return deepspeed\n"
    )
    made.edit("lander/finetune/engine.py", "import torch\n", "import elsewhere\nimport torch\n")
    return made


def test_every_stage_keeps_its_tensors_on_the_device(project: Project) -> None:
    project.snakemake("--cores", "2", "--", *TARGETS, **CONFIG)
    logs = project.work / "results/tiny/logs"
    said = {path.relative_to(logs).as_posix(): path.read_text("utf-8") for path in logs.rglob("*.log")}
    for stage in STAGES:
        texts = [text for path, text in said.items() if stage in path]
        counts = [int(n) for text in texts for n in re.findall(r"elsewhere: (\d+) operations", text)]
        assert len(counts) == len(texts) > 0, stage
        assert min(counts) > 50, stage


def test_a_tensor_left_on_the_cpu_is_found(project: Project) -> None:
    project.edit("lander/detect/activations.py", "batch = batch.to(device)", "pass")
    flags = ("--forcerun", "activations", "--until", "activations", "--", "all")
    assert "tensors elsewhere and on the CPU" in project.snakemake(*flags, fails=True, **CONFIG)
