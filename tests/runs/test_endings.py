"""How trainings end and continue, in one process: NaN, no time to write the model, signals, a damaged checkpoint."""

import gc
import json
import os
import signal
import weakref
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import toys
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lander.config.finetune import Training
from lander.config.masks import Routing
from lander.finetune import __main__ as stage
from lander.finetune import checkpoint, cost, engine, trainer
from lander.finetune.cost import Spent
from lander.finetune.methods import prepare
from lander.finetune.schedule import Pairs, Schedule
from lander.finetune.trainer import Diverged
from lander.models.tokens import Codec
from lander.shared import deadline, guard, machine
from lander.shared.errors import UserError

pytestmark = pytest.mark.workflow
STAGES = [(stage, torch.float32) for stage in range(4)] + [(1, torch.bfloat16)]
UPDATES = 4


@pytest.fixture(scope="module", autouse=True)
def processes():
    machine.prepare(1)
    engine.start_processes()
    engine.import_deepspeed()
    gc.collect()
    gc.freeze()  # DeepSpeed collects garbage at every turn, over a second each with all its modules in memory
    yield
    gc.unfreeze()
    engine.end_processes()


@pytest.fixture(autouse=True)
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(deadline.VARIABLE, raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def train(folder: Path | None = None, stage: int = 0, dtype=torch.float32, keep_diverged=False, spent=None, **settings):
    """A tiny routed training of two directions."""
    network = toys.bloom(2, vocabulary=300).to(dtype)
    torch.manual_seed(0)
    prepared = prepare("landermt", network, masks=toys.masks([1], 64, ("en-de", "de-en")), routing=Routing())
    tokens = np.random.default_rng(0).integers(5, 60, 80, dtype=np.int32)
    pairs = Pairs(tokens, np.arange(10, 81, 10), np.full(8, 5, np.int32))
    schedule = Schedule({"en-de": pairs, "de-en": pairs}, 2, seed=0)
    given = {"steps": UPDATES, "accumulate": 2, "learning_rate": 0.01, "zero_stage": stage, "checkpoint_minutes": 0}
    options = Training(**given | {"precision": "float32"} | settings)
    codec = Codec(toys.bloom_tokenizer())
    return trainer.train(prepared, schedule, codec, options, folder, {"code": "same"}, spent or Spent(0), keep_diverged)


@pytest.fixture
def burst(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of the third update is infinite in one parameter, and its loss is as it was."""
    update = trainer.Trainer.update

    def bursting(self, number):
        if number == 2:
            parameter = next(iter(self.prepared.trained().values()))
            parameter.register_hook(lambda gradient: gradient * torch.inf)
        return update(self, number)

    monkeypatch.setattr(trainer.Trainer, "update", bursting)


@pytest.mark.parametrize(("stage", "dtype"), STAGES)
def test_a_gradient_that_is_not_finite_ends_the_training_at_every_stage(stage, dtype, burst):
    with pytest.raises(Diverged, match=r"at update 2; .*finetune\.learning_rate"):
        train(stage=stage, dtype=dtype)


@pytest.mark.parametrize("stage", [0, 2])
def test_a_trial_that_diverges_has_no_numbers_at_any_stage(stage, burst):
    """It saves NaN, so that it ranks last, although the step that failed has moved nothing."""
    masters, log, _ = train(stage=stage, keep_diverged=True)
    assert all(value.isnan().all() for value in masters.values())
    assert log["update"].max() == 1


def test_weights_that_the_last_update_has_spoilt_are_not_written():
    """Every loss and gradient was finite, but the last step overflowed. A trial may end like this."""
    huge = {"learning_rate": 1e38, "schedule": "constant", "weight_decay": 100.0, "steps": 1}
    with pytest.raises(Diverged, match=r"finetune: \S+ is not finite after the last update"):
        train(**huge)
    masters, *_ = train(keep_diverged=True, **huge)
    assert not all(value.isfinite().all() for value in masters.values())


def stopped(folder: Path, update: int, monkeypatch: pytest.MonkeyPatch, **settings) -> None:
    """A training whose time is up after an update."""
    with monkeypatch.context() as patch:
        patch.setenv(deadline.VARIABLE, "1")
        patch.setattr(deadline.Timer, "is_up", lambda self, last: last or update < UPDATES)
        with pytest.raises(UserError, match=f"after update {update} of {UPDATES}"):
            train(folder, **settings)


@pytest.mark.parametrize(("stage", "dtype"), STAGES)
def test_a_stopped_training_goes_on_from_its_checkpoint_with_one_parameter_in_memory(
    stage, dtype, tmp_path, monkeypatch, capsys
):
    straight, log, damage = train(stage=stage, dtype=dtype)
    stopped(tmp_path, 1, monkeypatch, stage=stage, dtype=dtype)
    opened, read, most = checkpoint.safe_open, [], []

    @contextmanager
    def watched(*args):
        """A file of tensors that counts how many of those that it gave are still there."""
        with opened(*args) as file:
            yield SimpleNamespace(get_tensor=lambda name: watch(file.get_tensor(name)), metadata=file.metadata)

    def watch(tensor: torch.Tensor) -> torch.Tensor:
        most.append(sum(one() is not None for one in read))
        read.append(weakref.ref(tensor))
        return tensor

    monkeypatch.setattr(checkpoint, "safe_open", watched)
    resumed, again, same = train(tmp_path, stage=stage, dtype=dtype)
    assert "resuming at update 1 of 4" in capsys.readouterr().err
    assert len(read) == 3 * len(straight)
    assert max(most) <= 2
    assert log.equals(again)
    assert same == damage != 0
    assert resumed.keys() == straight.keys()
    assert all(torch.equal(value, straight[name]) for name, value in resumed.items())


def test_a_training_without_time_to_write_its_model_only_writes_then(tmp_path, monkeypatch):
    straight, log, _ = train()
    stopped(tmp_path, UPDATES, monkeypatch)
    monkeypatch.setattr(trainer.Trainer, "update", None)
    monkeypatch.setenv(deadline.VARIABLE, "1")  # whose time is as short goes on all the same
    masters, again, _ = train(tmp_path)
    assert log.equals(again)
    assert all(torch.equal(value, straight[name]) for name, value in masters.items())


def test_checkpoints_are_written_by_time(tmp_path, monkeypatch):
    """Of four updates, 100 s each, the third is the first one 5 minutes after the start; the model follows the last."""
    now, written = iter(range(0, 10_000, 100)), []
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: next(now)))
    monkeypatch.setattr(checkpoint, "save", lambda folder, engine, update, *rest: written.append(update))
    for minutes, updates in ((5, [3]), (1, [1, 2, 3]), (0, [])):
        written.clear()
        train(tmp_path, checkpoint_minutes=minutes)
        assert written == updates


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_state_and_ends_the_training_with_its_status(number, tmp_path, monkeypatch):
    straight, log, _ = train()
    update, before = trainer.Trainer.update, signal.getsignal(number)

    def signalled(self, at):
        if at == 1:
            os.kill(os.getpid(), number)
        return update(self, at)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "update", signalled)
        with pytest.raises(SystemExit) as end:
            train(tmp_path)
    assert end.value.code == 128 + number
    assert signal.getsignal(number) == before
    assert [path.name for path in tmp_path.iterdir()] == ["update-00000002"]
    masters, again, _ = train(tmp_path)
    assert log.equals(again)
    assert all(torch.equal(value, straight[name]) for name, value in masters.items())


def test_a_resumed_training_has_the_time_and_the_memory_of_all_its_processes(tmp_path, monkeypatch):
    """100 s and then 1000 s: what `run.json` says of the cost is not that of the last process alone."""
    clock = [0.0]
    monkeypatch.setattr(cost, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    ends = iter([100.0, 1100.0])
    is_up = deadline.Timer.is_up

    def later(self, last):
        if not last:
            clock[0] = next(ends)
        return is_up(self, last)

    monkeypatch.setattr(deadline.Timer, "is_up", later)
    monkeypatch.setenv(deadline.VARIABLE, "1")
    for first, seconds in ((1, 100.0), (2, 100.0 + 1000.0)):  # the second process begins at 100 s
        with pytest.raises(UserError, match=f"after update {first} of"):
            train(tmp_path, spent=Spent(clock[0]), checkpoint_minutes=0)
        state = tmp_path / f"update-{first:08d}" / "state.json"
        record = json.loads(state.read_text())
        assert record["spent"]["seconds"] == seconds
        state.write_text(json.dumps(record | {"spent": {"seconds": seconds, "peak_memory_bytes": 1 << 50}}))
    monkeypatch.delenv(deadline.VARIABLE)
    monkeypatch.setattr(deadline.Timer, "is_up", is_up)
    spent = Spent(clock[0])
    train(tmp_path, spent=spent)
    clock[0] += 10
    assert spent.record() == {"seconds": 1110.0, "peak_memory_bytes": 1 << 50}
    assert Spent(clock[0]).record()["peak_memory_bytes"] < 1 << 50


@pytest.mark.parametrize("name", ["weights", "exp_avg_sq"])
def test_a_damaged_checkpoint_is_named(name, tmp_path, monkeypatch):
    stopped(tmp_path, 1, monkeypatch)
    path = tmp_path / "update-00000001" / f"{name}.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"update-00000001: .*`rm -r .*`"):
        train(tmp_path)


@pytest.mark.parametrize("mark", [{"training": '{"code": "other"}', "update": "1"}, {"update": "2"}, {}])
def test_weights_of_another_training_are_refused(mark, tmp_path, monkeypatch):
    """Their names and shapes are the same."""
    stopped(tmp_path, 1, monkeypatch)
    path = tmp_path / "update-00000001" / "exp_avg.safetensors"
    with safe_open(path, "pt") as file:
        own = file.metadata()
    assert own["update"] == "1"
    save_file(load_file(path), path, {**own, **mark} if mark else {"format": "pt"})
    with pytest.raises(UserError, match=rf"{path}: of another training or update; `rm -r {path.parent}`"):
        train(tmp_path)


def test_a_model_that_another_process_makes_is_left_alone(tmp_path, monkeypatch):
    flags = f"--method full --model no --train no --directions en-de --languages {{}} --out {tmp_path}/m"
    monkeypatch.setattr("sys.argv", ["finetune", *flags.split()])
    with guard.output_held(tmp_path / "m"), pytest.raises(UserError, match=r"m: process \d+"):
        stage.main()
