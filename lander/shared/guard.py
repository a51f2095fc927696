"""Only one process at a time works on a run, or on a trained model: two would mix their files.

The locks are the operating system's (`flock`). They end with their process, even after `kill -9`, so no stale lock ever
has to be removed. Some network file systems have no such locks; nothing is locked there.
"""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lander.shared.errors import UserError


def hold_run(folder: Path) -> FileLock:
    """Keep other Snakemakes out of a run's folder until the returned lock is released or this process ends.

    Snakemake's own locks do not suffice: any run that ends removes the locks of all runs of its working directory.
    """
    return _locked(folder / ".lock", folder, "works on this run; wait for it, or give yours another name (`run:`)")


@contextmanager
def output_held(out: Path) -> Iterator[None]:
    """Keep other processes from a model's folder while the block makes it.

    If Snakemake alone is killed, its jobs keep running; such a job must not overwrite the work of a later one. The lock
    is a file beside the folder and is removed at the end of the block.
    """
    path = out.resolve().with_name(f".{out.resolve().name}.lock")
    lock = _locked(path, out, "makes this model, perhaps for a run that was killed; wait for it, or end it")
    try:
        yield
    finally:
        if lock.is_locked:
            path.unlink(missing_ok=True)
        lock.release()


def _locked(path: Path, place: Path, doing: str) -> FileLock:
    """A lock on the file `path`, held unless there can be none; the error says what its holder is `doing`."""
    # The second is for a file that its last holder removes between our opening and locking it. `fallback_to_soft` would
    # leave a file behind that outlives a killed process.
    lock = FileLock(path, timeout=1, thread_local=False, fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        path.write_text(f"process {os.getpid()} on {platform.node()}\n", encoding="utf-8")
    except Timeout:
        holder = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
        raise UserError(f"{place}: {holder or 'another process'} {doing}") from None
    except OSError:  # no locks in this file system, or no right to write beside the folder
        pass
    return lock
