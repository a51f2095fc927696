"""Trainings whose job runs out of time, each in its own process: they save, stop, and go on to the same weights."""

import pytest
import torch
from test_trainings import finetune, folder, straight, trained  # noqa: F401 (two are fixtures)

from lander.shared import deadline

pytestmark = pytest.mark.workflow


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_training_that_runs_out_of_time_goes_on_to_the_same_weights(folder, straight, monkeypatch, ranks):  # noqa: F811
    """Without `checkpoint_every`; bit for bit where the number of ranks is the same."""
    name = f"late-{ranks}"
    flags = ["--steps", "6", "--accumulate", "2", "--checkpoints", f"{name}-checkpoints"]
    monkeypatch.setenv(deadline.VARIABLE, "1")  # long over: one update a turn
    stopped = finetune(folder, name, *flags, ranks=ranks, check=False)
    assert stopped.returncode != 0
    assert "lander finetune: error: the job's time is nearly up: stopped after update 1 of 6" in stopped.stderr
    assert not (folder / name / "lander.json").exists()
    monkeypatch.delenv(deadline.VARIABLE)
    assert "resuming at update 1 of 6" in finetune(folder, name, *flags, ranks=ranks).stderr
    found = trained(folder, name)
    assert all((value - straight[key]).abs().max() <= (0 if ranks == 1 else 1e-6) for key, value in found.items())
    assert found.keys() == straight.keys()
    assert ranks > 1 or all(torch.equal(value, straight[key]) for key, value in found.items())
