"""Trainings in their own processes that run out of time or get a signal: they save, stop, and lose nothing."""

import pytest
import torch
from test_trainings import finetune, folder, straight, trained  # noqa: F401 (two are fixtures)
from trainings import dying

from lander.shared import deadline

pytestmark = pytest.mark.workflow


@pytest.mark.parametrize(("why", "ranks"), [("deadline", 1), ("deadline", 2), ("SIGTERM", 1), ("SIGINT", 2)])
def test_a_stopped_training_goes_on_to_the_same_weights(folder, straight, monkeypatch, why, ranks):  # noqa: F811
    """Without checkpoints by time. With one rank the weights are equal bit for bit. A signal reaches one rank."""
    name = f"{why}-{ranks}"
    flags = ["--steps", "6", "--accumulate", "2", "--checkpoint-minutes", "0", "--checkpoints", f"{name}-checkpoints"]
    entry = {}
    if why == "deadline":
        monkeypatch.setenv(deadline.VARIABLE, "1")  # the time is over: one update per start
    else:
        entry = {"entry": dying(why)}
    stopped = finetune(folder, name, *flags, ranks=ranks, check=False, **entry)
    update = 1 if why == "deadline" else 3
    assert f"after update {update} of 6" in stopped.stderr
    assert stopped.returncode == (143 if why == "SIGTERM" else 1)
    assert ranks > 1 or "Traceback" not in stopped.stderr  # torchrun prints its own
    assert not (folder / name / "lander.json").exists()
    monkeypatch.delenv(deadline.VARIABLE, raising=False)
    assert f"resuming at update {update} of 6" in finetune(folder, name, *flags, ranks=ranks).stderr
    found = trained(folder, name)
    assert all((value - straight[key]).abs().max() <= (0 if ranks == 1 else 1e-6) for key, value in found.items())
    assert found.keys() == straight.keys()
    assert ranks > 1 or all(torch.equal(value, straight[key]) for key, value in found.items())
