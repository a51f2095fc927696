"""The end of a job's time: a training saves its state before it, and goes on from there in the job's next turn.

When it is:
    LANDER_DEADLINE  seconds since 1970 (`date -d 'today 18:00' +%s`), on any machine
    a job of SLURM   what `squeue` says

A training that sees the end coming saves its state after the update that it is in, after the last one too where the
model would not be written in time. A job of SLURM then puts itself back into the queue, as often as it takes: each turn
makes at least one update, or writes the model. Where that cannot be, and without SLURM, the training fails and says so;
run again, it goes on.
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
WRITTEN = 2e8  # bytes per second of a checkpoint or a model: a guess
ENDING = 60.0  # seconds in which SLURM ends a job that is back in its queue


def job_end() -> float | None:
    """When the time of this job is up, in seconds since 1970; None where nothing says so.

    Raises:
        UserError: LANDER_DEADLINE is no number.
    """
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
    """Tells, after each update, whether what comes next would come too late.

    That is another update and a checkpoint, and after the last update the writing of the model. An update may take
    twice as long as the slowest so far, with the checkpoint that came behind it, if any.
    """

    def __init__(
        self, end: float | None, checkpoint_bytes: float, model_bytes: float, clock: Callable[[], float] = time.time
    ) -> None:
        self.end, self.clock = end, clock
        self.checkpoint, self.model = (SPARE + size / WRITTEN for size in (checkpoint_bytes, model_bytes))  # seconds
        self.slowest, self.last = 0.0, clock()

    def is_up(self, last: bool) -> bool:
        """To be asked once after each update; `last`: there is no other."""
        now = self.clock()
        self.slowest, self.last = max(self.slowest, now - self.last), now
        needed = self.model if last else 2 * self.slowest + self.checkpoint
        return self.end is not None and now + needed > self.end


def requeue() -> None:
    """Put this job of SLURM back into its queue, which ends it; returns where that cannot be."""
    job = os.environ.get("SLURM_JOB_ID")
    if job and _slurm("scontrol", "requeue", job) is not None:
        time.sleep(ENDING)


def stopped(update: int, updates: int) -> UserError:
    """The error of a training that has saved its state and is not put back into a queue."""
    return UserError(
        f"the job's time is nearly up: stopped after update {update} of {updates}, the state is saved; "
        "run again to go on from it"
    )


def _slurm(*command: str) -> str | None:
    """What a command of SLURM prints; None where it is not there, fails or does not answer."""
    if not shutil.which(command[0]):
        return None
    environment = os.environ | {"SLURM_TIME_FORMAT": "standard"}
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout
    except (subprocess.SubprocessError, OSError):
        return None
