"""Seals: what a file of a run was when Lander wrote it, so that a file that was cut, exchanged or edited is noticed.

A table without its last rows, or the table of another direction, seed or run, is still a table. Its reader cannot see
that, and its columns are a contract with other programs. So the run keeps the size and the digest of every file, by the
file's place, in a hidden folder. `lander.shared.files` seals what it writes and checks what it reads.

A file without a seal (of an older version, or put there by hand) is read as it is. So is everything outside of runs. Of
a run that has lost all its seals, as a copy without hidden files has, a warning says so.

    results/demo/evaluate/scores.csv   has the seal   results/demo/.seals/evaluate/scores.csv
"""

import contextlib
import functools
import hashlib
import json
import os
import sys
from pathlib import Path

RESULTS, SEALS = "results", ".seals"
UNSEALED = ("checkpoints",)  # they change every few minutes, and their reader compares more than these facts
LARGE = 16 * 2**20  # bytes of a file of which only the ends are read: they hold the index of a table or of weights
END = 2**20


def seal_of(path: str | Path) -> Path | None:
    """Where the seal of a file is; None if the file belongs to no run."""
    parts = Path(os.path.abspath(path)).parts
    inside = [place for place in range(len(parts) - 2) if parts[place] == RESULTS]
    if not inside:
        return None
    run, place = parts[: inside[-1] + 2], parts[inside[-1] + 2 :]
    if place[0] in UNSEALED or any(part.startswith(".") for part in (run[-1], *place)):
        return None
    return Path(*run, SEALS, *place)


def unseal(path: str | Path) -> None:
    """Remove the seal of a file that will be replaced: a kill must not leave the new file with the old seal."""
    if seal := seal_of(path):
        seal.unlink(missing_ok=True)


def seal(path: str | Path) -> None:
    """Seal a file that has just been written, if it belongs to a run. A disk without room leaves it without a seal."""
    if place := seal_of(path):
        with contextlib.suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(json.dumps(_facts(path)), encoding="utf-8")


def broken(path: str | Path) -> str:
    """How a file differs from what was written; empty if it does not, is not there, or has no seal."""
    place = seal_of(path)
    if place and not os.path.isdir(seals := os.path.join(*place.parts[: place.parts.index(SEALS) + 1])):
        _warn(seals)
    try:
        written = json.loads(place.read_text(encoding="utf-8")) if place else None
        found = _facts(path) if written else None
    except (OSError, ValueError):  # a seal whose writer was killed says nothing
        return ""
    if found == written:
        return ""
    if found["bytes"] != written["bytes"]:
        return f"it has {found['bytes']:,} bytes and was written with {written['bytes']:,}"
    return "it has another content than was written"


@functools.cache
def _warn(seals: str) -> None:
    what = "no such folder, so a file of this run that was cut or exchanged is not noticed"
    print(f"warning: {seals}: {what}; copy the run with its hidden files", file=sys.stderr)


def _facts(path: str | Path) -> dict[str, int | str]:
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        if size <= LARGE:
            content = stream.read()
        else:
            content = stream.read(END)
            stream.seek(-END, os.SEEK_END)
            content += stream.read()
    return {"bytes": size, "sha256": hashlib.sha256(content).hexdigest()}
