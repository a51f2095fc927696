"""The number of jobs that are left to do, by rule, as Snakemake counts them (a dry run)."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SNAKEFILE = Path(__file__).parents[3] / "workflow" / "Snakefile"
SECONDS = 300
ROW = re.compile(r"^(\w+)\s+(\d+)$")


def dry_run(configfiles: Sequence[Path], flags: Sequence[str] = ()) -> str | None:
    """What Snakemake says it would do; None where the workflow is not here or does not run."""
    if not SNAKEFILE.is_file():
        return None
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(SNAKEFILE),
        "--dry-run",
        "--quiet",
        "host",
        "reason",
    ]
    files = map(os.path.abspath, configfiles)  # a name may begin with a dash
    command += ["--configfile", *files] if configfiles else []
    environment = {name: value for name, value in os.environ.items() if name != "SNAKEMAKE_PROFILE"}
    try:
        done = subprocess.run(
            [*command, *flags], capture_output=True, text=True, timeout=SECONDS, check=False, env=environment
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout + done.stderr if done.returncode == 0 else None


def counts(output: str) -> dict[str, int]:
    """The last table of jobs in what Snakemake prints; its `total` and the target `all` are left out."""
    _, found, table = output.rpartition("Job stats:")
    rows: dict[str, int] = {}
    for line in table.splitlines()[1:] if found else []:
        if row := ROW.match(line.strip()):
            rows[row[1]] = int(row[2])
        elif rows:
            break
    return {name: number for name, number in rows.items() if name not in ("total", "all")}
