"""The screen of `lander run`: records of Snakemake in, lines out."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from lander.workflow.screen import LogHandler


def record(event: LogEvent | None = None, message: str = "", level: int = logging.INFO, **fields: object):
    made = logging.LogRecord("snakemake", level, "", 0, message, None, None)
    vars(made).update(fields, event=event)
    return made


def job(number: int, rule: str, reason: str = "", log: str = ""):
    fields = {"jobid": number, "rule_name": rule, "wildcards": {"reading": "", "seed": "0"}, "reason": reason}
    return record(LogEvent.JOB_INFO, **fields, benchmark=None, log=[log])


def handler(*, dry: bool = False) -> LogHandler:
    return LogHandler(SimpleNamespace(dryrun=dry, stdout=dry), None)


def test_a_line_a_job_and_one_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "masks.log"
    log.write_text("reading\nlander masks: error: de.parquet: damaged\n\n")
    screen = handler()
    for one in (
        record(LogEvent.RUN_INFO, stats={"layers": 2, "masks": 1, "total": 3}),
        job(1, "layers"),
        record(LogEvent.JOB_FINISHED, job_id=1),
        job(2, "masks", log=str(log)),
        record(LogEvent.JOB_ERROR, jobid=2, rule_name="masks", log=[str(log)]),
        record(None, "Exiting because a job execution failed", logging.ERROR),
    ):
        screen.emit(one)
    screen.close()
    finished, failed, last = capsys.readouterr().err.splitlines()
    assert finished.startswith(" 33% layers 0: 0:0")
    assert failed == f"FAILED masks 0: lander masks: error: de.parquet: damaged; log: {log}"
    assert last.startswith("lander run: 1 of 3 jobs failed, 1 are done and kept")


def test_ctrl_c_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    screen = handler()
    screen.emit(job(1, "finetune"))
    screen.emit(record(None, "Terminating processes on user request, this might take some time."))
    screen.emit(record(LogEvent.JOB_ERROR, jobid=1, rule_name="finetune", log=[]))
    screen.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lander run: stopped; 0 of 0 jobs are done and kept")


def test_a_dry_run_tells_causes_from_consequences(capsys: pytest.CaptureFixture[str]) -> None:
    screen = handler(dry=True)
    screen.emit(record(LogEvent.RUN_INFO, stats={"masks": 1, "finetune": 2, "total": 3}))
    screen.emit(job(1, "masks", "Params have changed since last execution: before"))
    screen.emit(job(2, "finetune", "Input files updated by another job: a.parquet"))
    screen.emit(job(3, "finetune", "Input files updated by another job: b.parquet"))
    screen.close()
    assert capsys.readouterr().out.splitlines() == [
        "lander run -n: 3 jobs would run",
        "  masks: 1, settings or code have changed since last execution",
        "  and what follows from these: finetune 2",
    ]


def test_time_left_is_known_work_at_the_pace_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = handler(dry=True)
    monkeypatch.setattr("time.monotonic", lambda: screen.began + 10)
    screen.waiting.update(layers=3)
    assert screen.left() == ""
    screen.measured["layers"] = [10.0, 10.0]  # two jobs side by side
    assert screen.left() == ", 0:15 left"
    screen.waiting.update(finetune=1)
    assert screen.left() == ", over 0:15 left"
    screen.before["finetune"] = [30.0]
    assert screen.left() == ", 0:30 left"
