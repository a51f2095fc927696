"""Files that are written whole or not at all, and digests of files."""

import contextlib
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lander.shared import seals
from lander.shared.errors import FULL, UserError, brief

PACKAGE = Path(__file__).parents[1]
A_DAY = 24 * 3600.0  # seconds


def _here() -> str:
    """The machine, or the container: where the numbers of processes mean the same."""
    with contextlib.suppress(OSError):  # only Linux has it
        return platform.node() + os.readlink("/proc/self/ns/pid")
    return platform.node()


HERE = hashlib.sha256(_here().encode()).hexdigest()[:8]
TEMPORARY = re.compile(r"\..+\.(?P<place>[0-9a-f]{8})-(?P<pid>\d{1,9})-[a-z0-9_]{8}(\.old)?")
FULL_TEXT = re.compile(r"os error (?:{}|{}|{})\b".format(*FULL))  # the words of safetensors and tokenizers


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`. It gets the name `path` if the block succeeds and is removed otherwise."""
    if os.path.exists(path) and not os.path.isfile(path):  # a device would be replaced by a file
        raise UserError(f"{path}: a folder or device, not a file to write to; choose another name")
    with _whole(Path(path), folder=False) as temporary:
        yield temporary


@contextmanager
def whole_folder(path: str | Path, *, new: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path`. It replaces `path` if the block succeeds and is removed otherwise.

    With `new`, a `path` that is there already is a UserError, unless it is an empty folder.
    """
    path = Path(path)
    if new and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path}: a file, or a folder that is not empty; choose another one or empty it")
    with _whole(path, folder=True) as temporary:
        yield temporary


@contextmanager
def _whole(path: Path, folder: bool) -> Iterator[Path]:
    """A full disk, however a library reports it, becomes a `UserError`. Network disks report it only when flushed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    if folder:
        temporary = Path(tempfile.mkdtemp(prefix=prefix(path), dir=path.parent))
    else:
        handle, name = tempfile.mkstemp(prefix=prefix(path), dir=path.parent)
        os.close(handle)
        temporary = Path(name)
    old = temporary.with_name(f"{temporary.name}.old")
    try:
        yield temporary
        for file in _files(temporary):
            with open(file, "rb") as stream:
                os.fsync(stream.fileno())
        public(temporary)
        for file in _files(path):
            seals.unseal(file)
        if path.is_dir():  # moved away first: a kill during the removal must not leave half of it under its name
            os.replace(path, old)
        os.replace(temporary, path)
        for file in _files(path):
            seals.seal(file)
    except Exception as error:
        if getattr(error, "errno", None) not in FULL and not FULL_TEXT.search(str(error)):
            raise
        raise UserError(
            f"{path}: not written, the disk, the quota or the limit of a file's size is reached ({brief(error)}); "
            "make room and run again"
        ) from None
    finally:
        for left in (temporary, old):
            _remove(left)


def public(path: Path) -> None:
    """Give a file, or a folder and its files, the permissions that the user's umask gives to any new file.

    `mkstemp` and safetensors (which also writes to a private file first) leave them readable by their owner alone.
    """
    umask = os.umask(0)
    os.umask(umask)
    if path.is_dir():
        os.chmod(path, 0o777 & ~umask)
    for file in _files(path):
        if not file.is_symlink():
            os.chmod(file, 0o666 & ~umask)


def prefix(path: Path) -> str:
    """Beginning of a temporary name beside `path`: it says who writes. Cut so that a file system accepts the whole."""
    return f".{path.name.encode('utf-8', 'replace')[:100].decode('utf-8', 'ignore')}.{HERE}-{os.getpid()}-"


def sweep(folder: str | Path) -> None:
    """Remove temporary files and folders whose writers were killed.

    Writers of this machine are looked up. Of those elsewhere (in a cluster, in containers) it is not known; what they
    have not touched for a day is removed.
    """
    left = {}
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        left = {entry.path: found for entry in entries if (found := TEMPORARY.fullmatch(entry.name))}
    for path, found in left.items():
        if not _runs(int(found["pid"])) if found["place"] == HERE else time.time() - _touched(Path(path)) > A_DAY:
            _remove(Path(path))


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON whole or not at all; keys stay in their order."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON."""
    check(path)
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({brief(error)}); {remedy(path)}") from None


def check(path: str | Path, made_with: str | Path | None = None) -> None:
    """Refuse a file of a run that is not as it was written (`lander.shared.seals`). All readers begin with this."""
    if why := seals.broken(path):
        seal = shlex.quote(os.path.relpath(seals.seal_of(path)))
        own = f"or keep it, if the change is yours: `rm {seal}`"
        raise UserError(f"{path}: cut, exchanged or changed: {why}; {remedy(path, made_with)}, {own}")


def remedy(path: str | Path, made_with: str | Path | None = None) -> str:
    """What to do about a damaged file: for a file of a run, the command that makes it (or `made_with` it) again."""
    if "results" not in Path(path).parts:
        return "make it again"
    target = shlex.quote(str(made_with or path))
    return f"make it again: `rm {target} && snakemake --cores 1 -- {target}` (with the --configfile of its run)"


def sha256(*paths: str | Path) -> str:
    """Hex digest of the contents of files, in the given order."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as stream:
            while chunk := stream.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()


def shipped(name: str) -> Path:
    """A file of the repository; an installed package has a copy of it in lander/files."""
    packaged = PACKAGE / "files"
    return (packaged if packaged.is_dir() else PACKAGE.parent) / name


def _files(path: Path) -> list[Path]:
    """The file itself, or the files of a folder."""
    return [file for file in [path, *path.rglob("*")] if file.is_file()]


def _remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    shutil.rmtree(path, ignore_errors=True)
    if path.is_file():
        path.unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        pass
    return True


def _touched(path: Path) -> float:
    """When a file, or something in a folder, was written last; now, if it is gone meanwhile."""
    try:
        return max(one.lstat().st_mtime for one in (path, *path.rglob("*")))
    except OSError:
        return time.time()
