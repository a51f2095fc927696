"""Where results come from: the state of the code in git, the machine, and the versions of the libraries.

No host, user or folder is named. Only the standard library is imported, so any stage can record this.

    collect()  ->  {"git": {"commit": ..., "changed": [...]}, "machine": {...}, "versions": {...}}
"""

import contextlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
DISTRIBUTION = "landermt"  # what pip calls the package `lander`
LIBRARIES = (
    DISTRIBUTION, "torch", "transformers", "tokenizers", "deepspeed", "peft", "datasets", "sacrebleu", "numpy",
    "pandas", "pyarrow", "matplotlib", "snakemake",
)  # fmt: skip


def collect() -> dict[str, Any]:
    """State of the code, the machine, and versions of the installed libraries that results depend on, for JSON."""
    versions = {}
    for name in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {"git": git_state(), "machine": machine(), "versions": versions}


def git_state(folder: Path = PACKAGE) -> dict[str, Any]:
    """The `commit` that a folder of code is at, its `date`, and `changed`: files of the repository that differ from it
    and files of the folder that git does not know. Empty if git does not keep the folder (an installed package).
    """
    if not _git(folder, "ls-files", "-z", "--", "."):  # inside another project's repository, but not of it
        return {}
    commit, _, date = _git(folder, "log", "-1", "--format=%H %cI").strip().partition(" ")
    if not commit:
        return {}
    changed = _git(folder, "diff", "--name-only", "-z", "HEAD", "--")
    new = _git(folder, "ls-files", "--others", "--exclude-standard", "--full-name", "-z")
    return {"commit": commit, "date": date, "changed": sorted({*changed.split("\0"), *new.split("\0")} - {""})}


def _git(folder: Path, *arguments: str) -> str:
    """What git prints; empty if it fails or is not installed."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def machine(proc: Path = Path("/proc")) -> dict[str, Any]:
    """Processor, cores that this process may use, memory in bytes, names of the GPUs, system and Python."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    models = _fields(proc / "cpuinfo", "model name")
    files = sorted(proc.glob("driver/nvidia/gpus/*/information"))
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": cores,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": [name for file in files for name in _fields(file, "Model")],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _fields(path: Path, key: str) -> list[str]:
    """Values of the `key: value` lines of a file; none if it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    pairs = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in pairs if name.strip() == key]
