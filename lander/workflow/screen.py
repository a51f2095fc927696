"""What `lander run` shows: a line a job, and one for the run with its share done and the time left.

A log handler of Snakemake, of which plain `snakemake` has nothing. What jobs print is in their logs alone; on a
terminal the line of a running job ends with the last line of its log.
"""

import contextlib
import logging
import os
import re
import statistics
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

SHOWN = 7  # stages of a dry run
QUIET = 60.0  # seconds after which a log hears of the jobs that are running
STOPPED = "Terminating processes on user request"
DROPPED = ("Exiting because a job", "Shutting down", "Removing output files", "At least one job did not", STOPPED)
OWN = ("Forced", "Missing output", "Code has", "Settings or code", "Set of input", "Updated input", "Software")


def last_line(files: Iterable[str]) -> str:
    """The last line of text in a job's log."""
    for file in files:
        try:
            with open(file, "rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - 4096))
                lines = log.read().decode("utf-8", "replace").split("\n")
        except OSError:
            continue
        if said := [line.strip() for line in lines if line.strip()]:
            return said[-1]
    return ""


def clock(seconds: float) -> str:
    """1:02, 2:03:04."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def named(job: Any) -> str:
    """The rule of a job and its wildcards."""
    return " ".join(filter(None, [job.rule_name, *map(str, job.wildcards.values())]))


class LogHandler(LogHandlerBase):
    """Turns what Snakemake says into the screen."""

    writes_to_stream, writes_to_file, has_filter, has_formatter, needs_rulegraph = True, False, True, True, False

    def __post_init__(self) -> None:
        stream = sys.stdout if self.common_settings.stdout else sys.stderr
        self.console = Console(file=stream, highlight=False, soft_wrap=True)
        self.dry = self.common_settings.dryrun
        self.started: dict[int, tuple[Any, float]] = {}  # jobs that are running, and since when
        self.waiting: Counter[str] = Counter()  # jobs of each rule that have not ended
        self.measured: dict[str, list[float]] = defaultdict(list)  # seconds of jobs of each rule, of this run
        self.before: dict[str, list[float]] = defaultdict(list)  # the same of each stage, of earlier runs
        self.planned: list[Any] = []  # jobs of a dry run
        self.done = self.total = self.failed = 0
        self.stopped = False
        self.began = self.said = time.monotonic()
        self.closed = threading.Event()
        self.live: Live | None = None
        if self.console.is_terminal and not self.dry:
            self.live = Live(console=self.console, get_renderable=self.picture, refresh_per_second=2, transient=True)
            self.live.start()
        elif not self.dry:
            threading.Thread(target=self.remind, daemon=True).start()

    # ------------------------------------------------------------ what happens

    def emit(self, record: logging.LogRecord) -> None:
        """Follow an event of Snakemake (`LogEvent`), or show what it says without one."""
        event, job = getattr(record, "event", None), record
        if event == LogEvent.RUN_INFO:
            counts = {rule: count for rule, count in job.stats.items() if rule != "total"}
            self.waiting, self.total = Counter(counts), sum(counts.values())
        elif event == LogEvent.JOB_INFO and self.dry:
            self.planned.append(job)
        elif event == LogEvent.JOB_INFO:
            self.started[job.jobid] = (job, time.monotonic())
            self.remember(job)
        elif event == LogEvent.JOB_FINISHED and job.job_id in self.started:
            self.finish(*self.started.pop(job.job_id))
        elif event == LogEvent.JOB_ERROR:
            self.fail(job)
        elif event == LogEvent.PROGRESS:
            self.done, self.total = job.done, job.total
        elif event is None:
            self.other(record)

    def finish(self, job: Any, since: float) -> None:
        took = time.monotonic() - since
        self.measured[job.rule_name].append(took)
        self.waiting[job.rule_name] -= 1
        self.done += 1
        line = f"{named(job)}: {clock(took)}"
        self.say(line if self.live else f"{self.share():4.0%} {line}{self.left()}")

    def fail(self, job: Any) -> None:
        own, _ = self.started.pop(job.jobid, (None, 0.0))
        if not self.stopped:  # jobs that Ctrl-C has ended have not failed
            self.failed += 1
            name = named(own) if own else job.rule_name
            why = last_line(job.log) or "no word in its log"
            self.say(f"FAILED {name}: {why}; log: {' '.join(map(str, job.log))}", "bold red")

    def other(self, record: logging.LogRecord) -> None:
        """Warnings and errors of Snakemake; of the rest, that nothing is to be done."""
        text = record.getMessage()
        self.stopped |= text.startswith(STOPPED)
        if record.levelno >= logging.WARNING and text.strip() and not text.startswith(DROPPED):
            self.say(text.strip(), "red" if record.levelno >= logging.ERROR else "yellow")
        elif text.startswith("Nothing to be done"):
            self.say("lander run: nothing to do; all results are there and up to date")

    def remember(self, job: Any) -> None:
        """What jobs took in an earlier run, from its benchmarks, of which a stage has a folder."""
        root = next((place for place in Path(job.benchmark or "").parents if place.name == "benchmarks"), None)
        if self.before or root is None:
            return
        for file in root.rglob("*.tsv"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                seconds = float(file.read_text(encoding="utf-8").splitlines()[1].split("\t")[0])
                self.before[file.relative_to(root).parts[0].removesuffix(".tsv")].append(seconds)

    def say(self, text: str, style: str = "") -> None:
        self.said = time.monotonic()
        self.console.print(Text(text, style))

    # ------------------------------------------------------------ the whole run

    def share(self) -> float:
        return self.done / max(self.total, 1)

    def left(self) -> str:
        """The time left: jobs that wait, as long as others of their rule, at the pace so far. A rule of which no job
        has been measured is left out; then it is a lower bound."""
        took = {
            rule: statistics.fmean(self.measured.get(rule) or self.before.get(rule) or [0.0]) for rule in self.waiting
        }
        worked = sum(map(sum, self.measured.values()))
        if not worked or not +self.waiting:
            return ""
        now = time.monotonic()
        running = sum(min(now - since, took.get(job.rule_name, 0.0)) for job, since in list(self.started.values()))
        work = sum(count * took[rule] for rule, count in self.waiting.items() if count > 0) - running
        pace = max((worked + running) / max(now - self.began, 0.1), 1.0)  # jobs side by side
        sure = all(took[rule] for rule, count in self.waiting.items() if count > 0 and rule != "all")
        if work < 1.0 and not sure:
            return ""
        return f", {'' if sure else 'over '}{clock(max(work, 0.0) / pace)} left"

    def picture(self) -> Group:
        """Jobs that are running, and the bar of the run."""
        now, width = time.monotonic(), self.console.width
        lines = [
            Text(f"{named(job)}: {clock(now - since)}  {last_line(job.log)}"[: width - 1], "cyan", no_wrap=True)
            for job, since in list(self.started.values())[: max(self.console.height - 3, 1)]
        ]
        bar = Table.grid(padding=(0, 1))
        text = f"{self.done} of {self.total} jobs, {self.share():.0%}{self.left()}" if self.total else "planning"
        bar.add_row(ProgressBar(max(self.total, 1), self.done, width=max(width // 3, 8)), text)
        return Group(*lines, bar)

    def remind(self) -> None:
        """In a log: what is running, when nothing else was said for a while."""
        while not self.closed.wait(1.0):
            if self.started and time.monotonic() - self.said > QUIET:
                jobs = [f"{named(job)} ({last_line(job.log)})" for job, _ in list(self.started.values())]
                self.say(f"{self.share():4.0%} running: {'; '.join(jobs)}{self.left()}")

    def why(self) -> None:
        """A dry run: stages that have a reason of their own, then those that follow."""
        reasons: dict[str, Counter[str]] = defaultdict(Counter)
        for job in self.planned:
            said = re.split(r"[:;,]", job.reason)[0].replace("Params have", "Settings or code have")
            reasons[job.rule_name][said if said.startswith(OWN) and "by another job" not in job.reason else ""] += 1
        own = {rule: found for rule, found in reasons.items() if set(found) != {""}}
        self.say(f"lander run -n: {sum(self.waiting.values())} jobs would run")
        for rule, found in list(own.items())[:SHOWN]:
            why = max(filter(None, found), key=found.__getitem__)
            self.say(f"  {rule}: {found.total()}, {why[0].lower()}{why[1:]}")
        if others := [f"{rule} {found.total()}" for rule, found in list(own.items())[SHOWN:]]:
            self.say(f"  and by themselves: {', '.join(others)}")
        if follow := [f"{rule} {found.total()}" for rule, found in reasons.items() if rule not in own]:
            self.say(f"  and what follows from these: {', '.join(follow)}")

    def close(self) -> None:
        """The end of the run: why jobs would run (dry run), or what is done and what goes on."""
        if self.closed.is_set():
            return
        self.closed.set()
        if self.live:
            self.live.stop()
        if self.planned:
            self.why()
        again = "the same command goes on from there, trainings from their last checkpoint"
        if self.stopped:
            self.say(f"lander run: stopped; {self.done} of {self.total} jobs are done and kept, and {again}", "bold")
        elif self.failed:
            jobs = f"{self.failed} of {self.total} jobs failed, {self.done} are done and kept"
            self.say(f"lander run: {jobs}; when the cause is mended, {again}", "bold red")
        super().close()
