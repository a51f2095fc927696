"""Files that appear whole or not at all, and digests of files."""

import errno
import hashlib
import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lander.shared.errors import UserError, brief

PACKAGE = Path(__file__).parents[1]
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_TEXT = re.compile(r"os error (?:{}|{}|{})\b".format(*FULL))  # as safetensors and tokenizers put it


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well, remove it otherwise.

    Raises:
        UserError: `path` is a folder or a device (which would be replaced by a file, to the loss of the machine).
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: a folder or device, not a file to write to; choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=_prefix(path), dir=path.parent)
    os.close(handle)
    try:
        with _full_disk_told(path):
            yield Path(name)
            _to_disk(Path(name))
        public(Path(name))
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it replaces `path` when the block ends well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))
    old = folder.with_name(f"{folder.name}.old")
    try:
        with _full_disk_told(path):
            yield folder
            for file in folder.rglob("*"):
                _to_disk(file)
        public(folder)
        if path.is_dir():  # a kill in the middle of removing it must not leave half of it under its name
            os.replace(path, old)
        os.replace(folder, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def public(path: Path) -> None:
    """Give a file, or a folder and all files in it, the permissions that the user's umask gives to any other.

    `mkstemp` and safetensors (through a private file of its own) leave them to their owner alone.
    """
    if path.is_dir():
        os.chmod(path, 0o777 & ~_umask())
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file() and not file.is_symlink():
            os.chmod(file, 0o666 & ~_umask())


def sweep(*paths: str | Path) -> None:
    """Remove what writers of these files and folders have left beside them when they were killed.

    For their only writer (`lander.shared.guard`): what another one is writing looks the same.
    """
    for path in map(Path, paths):
        left = re.compile(re.escape(_prefix(path)) + r"[a-z0-9_]{8}(\.old)?")
        for name in os.listdir(path.parent) if path.parent.is_dir() else ():
            if left.fullmatch(name):
                found = path.with_name(name)
                shutil.rmtree(found) if found.is_dir() else found.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON, readable by people, keys in the given order."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON; a missing or damaged file is a `UserError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({brief(error)}); {remedy(path)}") from None


def remedy(path: str | Path, made_with: str | Path | None = None) -> str:
    """What to do about a damaged file: how the workflow makes it anew, where it is the workflow's.

    Args:
        made_with: the output of its job, where the file itself is not declared as one.
    """
    if "results" not in Path(path).parts:
        return "make it anew"
    target = shlex.quote(str(made_with or path))
    return f"make it anew: `rm {target} && snakemake --cores 1 -- {target}` (with the --configfile of its run)"


def sha256(*paths: str | Path) -> str:
    """Hex digest of the contents of files, in the given order."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as stream:
            while chunk := stream.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _full_disk_told(path: Path) -> Iterator[None]:
    """A full disk as a `UserError`, in whatever words a library has for it."""
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) not in FULL and not FULL_TEXT.search(str(error)):
            raise
        raise UserError(
            f"{path}: not written, the disk, the quota or the limit of a file's size is reached ({brief(error)}); "
            "make room and run again"
        ) from None


def _to_disk(path: Path) -> None:
    """Have a file kept, before it gets its name: some disks, network ones above all, refuse only now."""
    if path.is_file():
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _prefix(path: Path) -> str:
    """How a temporary name begins: as the file's, cut so that the whole name is not too long for a file system."""
    return f".{path.name.encode('utf-8', 'replace')[:100].decode('utf-8', 'ignore')}."


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def shipped(name: str) -> Path:
    """A file of the repository; an installed package carries a copy of it in lander/config."""
    packaged = PACKAGE / "config" / Path(name).name
    return packaged if packaged.is_file() else PACKAGE.parent / name
