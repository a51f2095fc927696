"""Checkpoints of what is trained: when they are written, and how a training goes on from one.

A checkpoint holds master weights and moments by name, in safetensors, independent of the number of ranks. (DeepSpeed's
own need pickle and the same number of ranks.) It is a folder that appears whole; only the last one is kept:

    update-<number>/   weights.safetensors, exp_avg.safetensors, exp_avg_sq.safetensors
                       state.json: fingerprint, update, updates of each group, loss log, seconds and memory so far

One is written every few minutes, when the job's time is nearly up (`lander.shared.deadline`), and on SIGINT or SIGTERM;
the last two then end the training. All ranks write at the same update: they compare what each has to say after every
update, and the largest reason counts.
"""

import contextlib
import json
import shutil
import signal
import sys
import time
from pathlib import Path

import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from lander.finetune.cost import Spent
from lander.finetune.engine import KINDS, Engine, full_shape, largest, say
from lander.shared import deadline
from lander.shared.errors import UserError
from lander.shared.files import read_json, whole_folder, write_json

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTHING, SAVE, TIME_IS_UP, SIGNAL = range(4)  # reasons for a checkpoint; from SIGNAL on with the signal's number added


class Clock:
    """Tells after each update whether to save, and whether to leave. All ranks must make one and ask it.

    As a context it handles the signals: the update at hand is finished first.
    """

    def __init__(self, engine: Engine, network: nn.Module, minutes: float):
        """`minutes` of training between checkpoints; 0: none by time."""
        trained = 4 * sum(full_shape(parameter).numel() for parameter in engine.trained.values())  # bytes
        read = sum(full_shape(one).numel() * one.element_size() for one in network.parameters())  # at the end
        end = deadline.job_end() if dist.get_rank() == 0 else None
        self.device, self.seconds = engine.device, 60 * minutes
        self.timer = deadline.Timer(end, trained * len(KINDS), trained + read)
        self.last, self.reason, self.signal = time.monotonic(), NOTHING, 0

    def __enter__(self) -> None:
        def note(number: int, _frame: object) -> None:
            self.signal = number

        self.handlers = {number: signal.signal(number, note) for number in SIGNALS}

    def __exit__(self, *_error: object) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def is_due(self, last: bool) -> bool:
        """Whether to save now; to be asked once after each update. `last`: the model comes next."""
        reason = NOTHING
        if dist.get_rank() == 0:
            timed = self.seconds and not last and time.monotonic() - self.last >= self.seconds
            reason = TIME_IS_UP if self.timer.is_up(last) else SAVE if timed else NOTHING
        if self.signal:
            reason = SIGNAL + self.signal
        self.reason = largest(reason, self.device)
        return self.reason != NOTHING

    def restart(self, update: int, updates: int) -> None:
        """Go on after `update` updates are saved, or end the job where that was the reason to save; all ranks alike.

        After a signal with SystemExit and the status that a shell gives to it, 130 or 143. If the job's time is nearly
        up, with a UserError, unless the job is put back into its queue.
        """
        self.last = time.monotonic()
        if self.reason >= SIGNAL:
            number = signal.Signals(self.reason - SIGNAL)
            say(f"{number.name}: stopped after update {update} of {updates}, the state is saved; run again to go on")
            sys.exit(128 + number)
        if self.reason == TIME_IS_UP:
            for number in SIGNALS:  # the state is saved: SIGTERM, by which SLURM ends a requeued job, ends the process
                signal.signal(number, signal.SIG_DFL)
            if dist.get_rank() == 0:
                deadline.requeue()
            if dist.get_world_size() > 1:
                dist.barrier()
            raise deadline.stopped(update, updates)


def save(folder: Path, engine: Engine, update: int, log: list[dict], fingerprint: dict[str, str], spent: Spent) -> None:
    """Write a checkpoint after `update` updates and remove all others. All ranks must call it."""
    written = folder / f"update-{update:08d}"
    states = {kind: engine.state(kind) for kind in KINDS}
    if dist.get_rank() == 0:
        with whole_folder(written) as temporary:
            for kind, tensors in states.items():
                save_file(tensors, temporary / f"{kind}.safetensors", _mark(fingerprint, update))
            state = {"fingerprint": fingerprint, "update": update, "updates": engine.updates, "log": log}
            state["spent"] = spent.record()
            write_json(temporary / "state.json", state)
        for other in set(folder.glob("update-*")) - {written}:  # a later one may be left of a run with other settings
            (other / "state.json").unlink(missing_ok=True)  # first: without it, what a kill leaves is no checkpoint
            shutil.rmtree(other)
    if dist.get_world_size() > 1:
        dist.barrier()


def latest(folder: Path, fingerprint: dict[str, str]) -> tuple[Path | None, str]:
    """The last checkpoint with this fingerprint; if there is none, in one line why the last one of all is not used."""
    why = ""
    for path in sorted((state.parent for state in folder.glob("update-*/state.json")), reverse=True):
        found = _record(path)["fingerprint"]
        if found == fingerprint:
            return path, ""
        known = found if isinstance(found, dict) else {}
        other = ", ".join(part for part, value in fingerprint.items() if known.get(part) != value)
        why = why or f"{path} was made with other {other} and is not used: the training starts from the beginning"
    return None, why


def remove(folder: Path) -> None:
    """Remove all checkpoints of a training, whose model is written."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # <method>/<variant>, unless another run has checkpoints there
        folder.parent.rmdir()
        folder.parent.parent.rmdir()


def resume(
    folder: Path, engine: Engine, fingerprint: dict[str, str], updates: int, spent: Spent
) -> tuple[int, list[dict]]:
    """Load the last checkpoint, if there is one, into the engine and what is spent.

    Returns the next update and the loss log so far.
    """
    path, why = latest(folder, fingerprint)
    if path is None:
        if why:
            say(why)
        return 0, []
    record = _record(path)
    try:
        with contextlib.ExitStack() as stack:
            files = {kind: stack.enter_context(safe_open(path / f"{kind}.safetensors", "pt")) for kind in KINDS}
            for kind, file in files.items():
                if file.metadata() != _mark(fingerprint, record["update"]):
                    raise UserError(f"{path}/{kind}.safetensors: of another training or update; {_remedy(path)}")
            engine.put(lambda kind, name: files[kind].get_tensor(name), record["updates"])
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: the checkpoint is damaged ({error}); {_remedy(path)}") from None
    spent.add(**record["spent"])
    say(f"resuming at update {record['update']} of {updates}")
    return record["update"], record["log"]


def _mark(fingerprint: dict[str, str], update: int) -> dict[str, str]:
    """What the files of a checkpoint say about themselves: tensors of two trainings have the same names and shapes."""
    return {"format": "pt", "training": json.dumps(fingerprint), "update": str(update)}


def _record(path: Path) -> dict:
    record = read_json(path / "state.json")
    if not isinstance(record, dict) or not {"fingerprint", "update", "updates", "log"} <= record.keys():
        raise UserError(f"{path}/state.json: not the state of a training; {_remedy(path)}")
    return record


def _remedy(path: Path) -> str:
    return f"`rm -r {path}` and run snakemake again: the training starts from the beginning"
