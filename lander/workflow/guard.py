"""One Snakemake at a time works on a run."""

import fcntl
import os
import platform
from pathlib import Path
from typing import IO

from lander.errors import UserError


def hold(folder: Path) -> IO[str]:
    """Keep other processes out of a run's folder for as long as the returned file is open.

    Snakemake has locks of its own, but the end of any run in a working directory removes those of all: two runs of
    different names side by side, and the one that is left is unguarded. This lock goes with its process, however that
    ends. A file system without locks (some network ones) leaves Snakemake's alone.

    Raises:
        UserError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = open(folder / ".lock", "a+", encoding="utf-8")  # noqa: SIM115 - closed when the process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        lock.close()
        raise UserError(
            f"{folder}: {holder} works on this run; wait for it, or give yours another name (`run:`)"
        ) from None
    except OSError:
        return lock
    lock.truncate(0)
    print(f"process {os.getpid()} on {platform.node()}", file=lock, flush=True)
    return lock
