"""Progress of long work on stderr: a bar on a terminal; in a log, a line every ten seconds with the time left.

with progress("lander data: web", total=3) as bar:
    for part in parts:
        bar.update()
"""

import contextlib
import sys

from tqdm import tqdm

EVERY = 10.0  # seconds between two lines of a log


class _Log:
    """A stream that turns each renewal of tqdm's bar (after a carriage return) into a line of the log."""

    last = ""

    def write(self, text: str) -> None:
        line = text.strip()
        if line and line != self.last:  # tqdm shows the finished bar once more when it is closed
            with contextlib.suppress(BrokenPipeError):  # Ctrl-C ended the reader; the work goes on to save its state
                print(line, file=sys.stderr, flush=True)
            self.last = line

    def flush(self) -> None:
        pass


def progress(name: str, total: float, done: float = 0, *, shown: bool = True, patience: float | None = None) -> tqdm:
    """A counter of work, to be closed (or used with `with`). The time left follows from the mean speed so far.

    Args:
        total, done: amount of work, in any unit; what an earlier process has done of it.
        shown: False prints nothing (other ranks of a training).
        patience: seconds before the first line, by default as between lines: short work is silent.
    """
    shown = shown and sys.stderr is not None  # a program without a console may use the Python API
    terminal = shown and sys.stderr.isatty()
    patience = EVERY if patience is None else patience
    tqdm.monitor_interval = 0  # its thread would print between updates; a process with threads forks badly
    return tqdm(
        desc=name,
        total=total,
        initial=done,
        disable=not shown,
        file=sys.stderr if terminal else _Log(),
        bar_format="{desc}: {percentage:.0f}%" + (" |{bar:24}|" if terminal else "") + "{postfix}, {remaining} left",
        mininterval=0.5 if terminal else EVERY,
        delay=min(patience, 1.0) if terminal else patience,
        miniters=0,
        smoothing=0,
    )
