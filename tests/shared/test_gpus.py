"""GPUs are shared out by locks, tried with names of GPUs that are not there."""

import os
import subprocess
import sys
import tempfile

import pytest
import torch

from lander.shared import gpus, machine
from lander.shared.errors import run_main

SHOW = [sys.executable, "-c", "import os; print(os.environ['CUDA_VISIBLE_DEVICES']); input()"]


@pytest.fixture
def four(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def start(count: int) -> tuple[subprocess.Popen, str]:
    command = [sys.executable, "-m", "lander.shared.gpus", str(count), *SHOW]
    pipes = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.PIPE)
    process = subprocess.Popen(command, text=True, **pipes)
    return process, process.stdout.readline().strip()


@pytest.mark.usefixtures("four")
def test_commands_see_gpus_of_their_own_until_they_end():
    first, seen = start(2)
    assert seen == "4,5"
    second, seen = start(1)
    assert seen == "6"
    third, seen = start(2)  # one is free
    assert seen == "4,5,6,7"
    assert "2 of 4 GPUs are wanted, and fewer are free" in third.communicate("\n")[1]
    first.kill()
    first.wait()
    fourth, seen = start(2)
    assert seen == "4,5"
    for process in (second, fourth):
        process.communicate("\n")


@pytest.mark.parametrize(("visible", "count"), [("3", 1), ("", 1), ("0,1", 2), ("0,1", 0)])
def test_nothing_is_claimed_where_there_is_no_choice(visible, count, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert gpus.claim(count) == []
    assert not os.listdir(tmp_path)


def test_gpus_are_counted_where_none_is_chosen(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("0000:17:00.0", "0000:65:00.0"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(gpus, "DEVICES", tmp_path)
    assert gpus.visible() == ["0", "1"]
    monkeypatch.setattr(gpus, "DEVICES", tmp_path / "none")
    assert gpus.visible() == []


@pytest.mark.usefixtures("four")
def test_a_stage_takes_a_free_gpu_and_a_rank_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "0")  # so that what the stage sets is taken back
    monkeypatch.delenv("LOCAL_RANK")
    other, _ = start(1)
    try:
        machine.prepare(1)
        assert machine.device() == torch.device("cuda", 1)  # the second of those that are visible
        with machine.on_cpu():
            assert machine.device() == torch.device("cpu")
        monkeypatch.setenv("LOCAL_RANK", "3")
        machine.prepare(1)
        assert machine.device() == torch.device("cuda", 3)
    finally:
        other.communicate("\n")


def test_a_full_gpu_is_told_in_a_line(capsys):
    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with pytest.raises(SystemExit):
        run_main(full, "finetune")
    told = capsys.readouterr().err
    assert told.startswith("lander finetune: error: not enough memory on the GPU (CUDA out of memory. Tried")
    assert "finetune.recompute" in told
