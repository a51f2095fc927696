"""Assign each process a free GPU. Snakemake limits how many jobs use GPUs but does not assign devices.

    python -m lander.shared.gpus N COMMAND ...   # the command sees N free GPUs (CUDA_VISIBLE_DEVICES)

A GPU is claimed by a lock on a file. The system releases the lock when the process ends, however it ends. On a cluster
the scheduler has already chosen the GPUs, and nothing is claimed.
"""

import argparse
import fcntl
import os
import sys
import tempfile
from pathlib import Path

DEVICES = Path("/proc/driver/nvidia/gpus")  # has a folder per GPU


def visible() -> list[str]:
    """The GPUs that this process may use, by CUDA's numbers or names."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name]
    return [str(number) for number in range(len(list(DEVICES.iterdir())))] if DEVICES.is_dir() else []


def claim(count: int) -> list[int]:
    """Lock `count` free GPUs until this process ends, and return their positions among the visible ones.

    Empty if all visible ones are wanted, or too few are free.
    """
    names, locks = visible(), {}
    for place, name in enumerate(names if 0 < count < len(names) else ()):
        path = Path(tempfile.gettempdir(), f"lander-gpu-{os.getuid()}-{name}.lock")
        lock = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        locks[place] = lock
        if len(locks) == count:
            for taken in locks.values():
                os.set_inheritable(taken, True)  # the command that replaces this process keeps the locks
            return list(locks)
    for lock in locks.values():
        os.close(lock)
    return []


def main() -> None:
    """Claim GPUs, then become the command."""
    parser = argparse.ArgumentParser(prog="lander.shared.gpus", description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int, help="GPUs that the command wants")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run, with its flags")
    args = parser.parse_args()
    if not args.command:
        parser.error("a command is missing")
    names = visible()
    if places := claim(args.count):
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names[place] for place in places)
    elif args.count < len(names):
        message = f"gpus: {args.count} of {len(names)} GPUs are wanted, and fewer are free; using the first"
        print(message, file=sys.stderr, flush=True)
    os.execvp(args.command[0], args.command)


if __name__ == "__main__":
    main()
