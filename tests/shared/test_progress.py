"""Progress: whole lines in a log, a bar on a terminal, the time left from the mean speed."""

import io
import sys

import pytest
import tqdm.std

from lander.shared.progress import progress


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch):
    """A function that counts four steps of 6 s, of which an earlier process did one; what stderr then holds."""

    def made(terminal: bool = False, **options) -> str:
        now = [0.0]
        stream = io.StringIO()
        stream.isatty = lambda: terminal
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(tqdm.std, "time", lambda: now[0])
        with progress("lander x", 5, 1, **options) as bar:
            for step in range(4):
                now[0] += 6
                bar.set_postfix_str(f"step {step}", refresh=False)
                bar.update()
        return stream.getvalue()

    return made


def test_a_log_has_whole_lines_now_and_then_and_the_last(run) -> None:
    assert run().split("\n") == [
        "lander x: 60%, step 1, 00:12 left",  # 2 of 4 steps in 12 s
        "lander x: 100%, step 3, 00:00 left",
        "",
    ]
    assert run(patience=0).startswith("lander x: 20%, ? left\n")


def test_a_terminal_has_one_line_that_is_renewed(run) -> None:
    text = run(terminal=True)
    assert text.count("\n") == 1
    assert "\rlander x: 60% |" in text


def test_short_work_and_other_ranks_are_silent(run) -> None:
    assert run(patience=60) == run(shown=False) == run(shown=False, terminal=True) == ""


def test_a_program_without_a_console_is_told_nothing(monkeypatch):
    """There `sys.stderr` is None; whoever uses the Python API may have none."""
    monkeypatch.setattr(sys, "stderr", None)
    with progress("lander x", 5) as bar:
        bar.update(5)
