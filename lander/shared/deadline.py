"""The end of a job's time. A training saves its state before it, and the job's next turn continues from there.

The end is given by
    LANDER_DEADLINE  seconds since 1970 (`date -d 'today 18:00' +%s`), on any machine
    SLURM            `squeue`, in a job of SLURM

A training that sees the end coming saves its state after the current update (after the last one, too, if there is no
time to write the model). A job of SLURM then requeues itself, as often as needed: each turn makes at least one update
or writes the model. If it cannot requeue, or without SLURM, the training fails with a message; run again, it continues.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import datetime

from lander.shared.errors import UserError

VARIABLE = "LANDER_DEADLINE"
SPARE = 10.0  # seconds, for what is not measured
WRITTEN = 2e8  # bytes per second when a checkpoint or a model is written: a guess
ENDING = 60.0  # seconds that SLURM may take to end a job that was requeued


def job_end() -> float | None:
    """When this job's time is up, in seconds since 1970; None if there is no limit."""
    if given := os.environ.get(VARIABLE):
        try:
            return float(given)
        except ValueError:
            raise UserError(f"{VARIABLE}: '{given}' is no time; give seconds since 1970, as `date +%s` does") from None
    job = os.environ.get("SLURM_JOB_ID")
    answer = _slurm("squeue", "--noheader", f"--jobs={job}", "--format=%e") if job else None
    try:
        return datetime.fromisoformat((answer or "").strip()).timestamp()
    except ValueError:  # no limit (N/A), or no answer
        return None


class Timer:
    """Says after each update whether the next step would come too late.

    The next step is another update and a checkpoint; after the last update it is writing the model. An update may take
    twice as long as the slowest so far (measured with the checkpoint after it, if there was one). `end` is in seconds
    since 1970, or None for no limit.
    """

    def __init__(
        self, end: float | None, checkpoint_bytes: float, model_bytes: float, clock: Callable[[], float] = time.time
    ) -> None:
        self.end, self.clock = end, clock
        self.checkpoint, self.model = (SPARE + size / WRITTEN for size in (checkpoint_bytes, model_bytes))  # seconds
        self.slowest, self.last = 0.0, clock()

    def is_up(self, last: bool) -> bool:
        """Whether to stop now; call it once after each update. `last`: this was the last update."""
        now = self.clock()
        self.slowest, self.last = max(self.slowest, now - self.last), now
        needed = self.model if last else 2 * self.slowest + self.checkpoint
        return self.end is not None and now + needed > self.end


def requeue() -> None:
    """Put this job of SLURM back into its queue, which ends it. Returns if that is not possible."""
    job = os.environ.get("SLURM_JOB_ID")
    if job and _slurm("scontrol", "requeue", job) is not None:
        time.sleep(ENDING)


def stopped(update: int, updates: int) -> UserError:
    """The error of a training that saved its state and could not requeue."""
    return UserError(
        f"the job's time is nearly up: stopped after update {update} of {updates}, the state is saved; "
        "run again to go on from it"
    )


def _slurm(*command: str) -> str | None:
    """What a command of SLURM prints; None if it is not installed, fails or does not answer."""
    if not shutil.which(command[0]):
        return None
    environment = os.environ | {"SLURM_TIME_FORMAT": "standard"}
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout
    except (subprocess.SubprocessError, OSError):
        return None
