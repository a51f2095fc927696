"""One process at a time works on a run and on a model; what a killed one has left goes."""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lander.shared import files, guard
from lander.shared.errors import UserError
from lander.shared.files import sweep

HOLD = "import sys; from pathlib import Path; from lander.shared import guard\n"
RUN = f"{HOLD}lock = guard.hold_run(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
MODEL = f"{HOLD}with guard.output_held(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def holder(code: str, folder: Path) -> subprocess.Popen[str]:
    """A process that holds a folder until its input ends."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", code, folder], **pipes)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_run_belongs_to_one_process(tmp_path: Path) -> None:
    other = holder(RUN, tmp_path / "r")
    with pytest.raises(UserError, match=f"r: process {other.pid} on .* works on this run; wait for it"):
        guard.hold_run(tmp_path / "r")
    other.kill()
    other.communicate()
    guard.hold_run(tmp_path / "r").release()


def test_a_model_is_made_by_one_process_and_the_lock_is_no_part_of_it(tmp_path: Path) -> None:
    other = holder(MODEL, tmp_path / "models" / "m")
    with (
        pytest.raises(UserError, match=f"m: process {other.pid} on .* makes this model, .*; wait for it, or end it"),
        guard.output_held(tmp_path / "models" / "m"),
    ):
        pass
    other.kill()
    other.communicate()
    with guard.output_held(tmp_path / "models" / "m"), guard.output_held(tmp_path / "models" / "n"):
        assert sorted(os.listdir(tmp_path / "models")) == [".m.lock", ".n.lock"]
    assert os.listdir(tmp_path / "models") == []
    (tmp_path / "file").touch()
    with guard.output_held(tmp_path / "file" / "m"):  # no place for a lock: what is wrong is told where it is written
        pass


def test_a_lock_whose_file_was_removed_meanwhile_does_not_count(tmp_path: Path, monkeypatch) -> None:
    """The last holder ends between the moment at which the file is opened and the one at which it is locked."""
    lock, removed = fcntl.flock, []

    def late(file, operation):
        if not removed:
            removed.append((tmp_path / ".m.lock").unlink())
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with guard.output_held(tmp_path / "m"):
        assert (tmp_path / ".m.lock").read_text().startswith(f"process {os.getpid()} ")


WRITE = (
    "import sys; from pathlib import Path; from lander.shared.files import *\n"
    "with whole_file(Path(sys.argv[1], 'table')) as a, whole_folder(Path(sys.argv[1], 'model')) as b:\n"
    "    Path(b, 'inside').touch(); print('held', flush=True); sys.stdin.read()"
)


def test_what_a_killed_writer_has_left_goes_and_nothing_of_those_at_work(tmp_path: Path) -> None:
    """Every writer beside it, and the next run, clean up; what a writer on another machine has not touched for a day
    goes too."""
    killed, working = holder(WRITE, tmp_path), holder(WRITE, tmp_path)
    elsewhere = [tmp_path / f".{name}.0123abcd-{working.pid}-abcd_123" for name in ("young", "old", "folder", "new")]
    for path in elsewhere[:2]:
        path.touch()
    for path in elsewhere[2:]:
        path.mkdir()
        (path / "inside").touch()
    yesterday = time.time() - files.A_DAY - 60
    for path in (*elsewhere[1:], elsewhere[2] / "inside"):  # in `new` something was written just now
        os.utime(path, (yesterday, yesterday))
    kept = [".model.lock", ".table.json", ".models.abcdefgh", "table.0123abcd-1-abcdefgh"]
    for name in kept:
        (tmp_path / name).write_text("kept")
        os.utime(tmp_path / name, (yesterday, yesterday))
    killed.kill()
    killed.communicate()
    left = {name for name in os.listdir(tmp_path) if f"-{killed.pid}-" in name}
    others = {name for name in os.listdir(tmp_path) if f"{files.HERE}-{working.pid}-" in name}
    assert len(left) == len(others) == 2
    files.write_text(tmp_path / "result", "x")
    alive = {elsewhere[0].name, elsewhere[3].name, *others}
    assert set(os.listdir(tmp_path)) == {*kept, *alive, "result"}
    working.communicate()  # it writes both
    assert {"table", "model"} <= set(os.listdir(tmp_path))
    sweep(tmp_path / "no" / "such")
