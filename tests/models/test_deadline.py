"""The end of a job's time: when it is, when a training must leave, and what a job of SLURM does then."""

import os
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_pretrain import same, trained

from lander.models.pretrain.trainer import Trainer
from lander.shared import deadline
from lander.shared.errors import UserError


@pytest.fixture(autouse=True)
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test runs in a job of SLURM, wherever it runs."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.delenv(deadline.VARIABLE, raising=False)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that puts a shell script before all programs of that name."""

    def made(name: str, script: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return made


def test_without_a_queue_the_variable_says_when(monkeypatch: pytest.MonkeyPatch) -> None:
    assert deadline.job_end() is None
    monkeypatch.setenv(deadline.VARIABLE, "1234.5")
    assert deadline.job_end() == 1234.5
    monkeypatch.setenv(deadline.VARIABLE, "18:00")
    with pytest.raises(UserError, match="LANDER_DEADLINE: '18:00' is no time"):
        deadline.job_end()


@pytest.mark.parametrize("answer", ["echo N/A", "echo; echo no such job >&2; exit 1", "true"])
def test_squeue_may_know_no_end(program, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    program("squeue", answer)
    assert deadline.job_end() is None


def test_squeue_is_asked_for_this_job_in_a_format_that_can_be_read(program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
    program("squeue", '[ "$*" = "--noheader --jobs=17 --format=%e" ] && [ $SLURM_TIME_FORMAT = standard ] '
                      "&& echo 2030-01-02T03:04:05")  # fmt: skip
    assert deadline.job_end() == datetime(2030, 1, 2, 3, 4, 5).timestamp()


def test_a_training_leaves_while_another_update_and_a_checkpoint_may_not_fit() -> None:
    """Updates of 5, 20 and 5 s; 2 GB at 200 MB/s are 10 s, and 10 s are spared. The model has 8 GB: 40 s."""
    times = iter([100.0, 105.0, 125.0, 130.0, 135.0, 137.0])
    timer = deadline.Timer(186.0, 2e9, 8e9, clock=lambda: next(times))
    assert not timer.is_up(last=False)  # 105 + 2 * 5 + 20 = 135
    assert not timer.is_up(last=False)  # 125 + 2 * 20 + 20 = 185
    assert timer.is_up(last=False)  # 130 + 2 * 20 + 20 = 190: the slowest counts
    assert not timer.is_up(last=True)  # 135 + 50 = 185: no other update comes
    assert timer.is_up(last=True)  # 137 + 50 = 187
    endless = deadline.Timer(None, 2e9, 8e9)
    assert not endless.is_up(last=False)
    assert not endless.is_up(last=True)


def test_a_job_of_slurm_puts_itself_back(program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(deadline, "time", SimpleNamespace(sleep=slept.append))
    program("scontrol", f'echo "$@" >> {tmp_path}/asked; [ $2 = 17 ]')
    deadline.requeue()
    assert not (tmp_path / "asked").exists()
    for job, waits in (("17", 1), ("18", 1)):  # SLURM refuses the second: no use to wait for the end
        monkeypatch.setenv("SLURM_JOB_ID", job)
        deadline.requeue()
        assert len(slept) == waits
    assert (tmp_path / "asked").read_text() == "requeue 17\nrequeue 18\n"


def test_a_pretraining_without_time_to_write_its_model_saves_its_state_and_only_writes_then(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    whole = trained(tmp_path / "whole")
    monkeypatch.setattr(deadline.Timer, "is_up", lambda _self, last: last)
    with pytest.raises(
        UserError, match=rf"stopped after update {whole.updates} of {whole.updates}, the state is saved"
    ):
        trained(tmp_path / "short")
    monkeypatch.setattr(Trainer, "_step", None)
    again = trained(tmp_path / "short")
    assert same(whole, again)
    assert again.losses == whole.losses


def test_a_pretraining_that_runs_out_of_time_goes_on_to_the_same_weights(tmp_path, monkeypatch, capsys) -> None:
    torch.set_num_threads(1)
    whole = trained(tmp_path / "whole")
    monkeypatch.setenv(deadline.VARIABLE, "1")  # long over: one update a turn
    for update in (1, 2):
        with pytest.raises(UserError, match=rf"stopped after update {update} of {whole.updates}, the state is saved"):
            trained(tmp_path / "short")
    monkeypatch.delenv(deadline.VARIABLE)
    assert same(whole, trained(tmp_path / "short"))
    assert "going on from update 2" in capsys.readouterr().err
