"""One process at a time works on a run, and on a trained model: the work of two would end in a mixture.

These are locks of the operating system (`flock`), which go with their process, however that ends: after a kill none is
left to be removed. A file system without them (some network ones) has none.
"""

import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lander.shared.errors import UserError


def hold_run(folder: Path) -> IO[str]:
    """Keep other Snakemakes out of a run's folder for as long as the returned file is open.

    Snakemake has locks of its own, but the end of any run in a working directory removes those of all: two runs of
    different names side by side, and the one that is left is unguarded.

    Raises:
        UserError: another process holds it.
    """
    told = "works on this run; wait for it, or give yours another name (`run:`)"
    return _locked(folder / ".lock", folder, told)


@contextmanager
def output_held(out: Path) -> Iterator[None]:
    """Keep other processes from the folder of a model while it is made.

    Snakemake killed alone leaves its jobs running: one that has been forgotten must not write over a later one. The
    lock is a file beside the folder, which is gone when the block ends; there is none where it cannot be written.

    Raises:
        UserError: another process holds it.
    """
    whole = out.resolve()
    path = whole.with_name(f".{whole.name}.lock")
    try:
        lock = _locked(path, out, "makes this model, perhaps for a run that was killed; wait for it, or end it")
    except OSError:  # the folder may be all that is there to be written to
        yield
        return
    with lock:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked(path: Path, place: Path, told: str) -> IO[str]:
    """A lock's file, open and locked; the error says that its holder `told` at `place`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        lock = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - closed by the caller, or when the process ends
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            lock.close()
            raise UserError(f"{place}: {holder} {told}") from None
        except OSError:
            return lock
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                lock.truncate(0)
                print(f"process {os.getpid()} on {platform.node()}", file=lock, flush=True)
                return lock
        lock.close()  # its last holder has removed it since it was opened here
