"""Lint of the workflow: Snakemake's own, but for the lint that wants an environment per rule, and the project's rules.

Lander has one environment for everything (environment.yml, requirements.lock). Every rule has a docstring, a log file
and a benchmark file; none has a `message:` or a `run:`.

    python -m tests.lint
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
ALLOWED = "Specify a conda environment or container for each rule."
WANTED = {"a docstring": r'^    """', "a log": r"^    log:", "a benchmark": r"^    benchmark:"}
UNTIMED = "prefetch.smk: rule prefetch"  # a benchmark file would keep it from being run again
UNWANTED = {"message:": r"^    message:", "run:": r"^    run:", "a lambda": r"\blambda\b"}


def snakemake_lints() -> list[str]:
    """What `snakemake --lint` finds, as lines: the titles, each after the file or rule that it is about."""
    command = [sys.executable, "-m", "snakemake", "--lint", "--quiet"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    output = result.stdout + result.stderr
    if "error" in output.lower() and "Lints for" not in output:
        return [f"snakemake --lint failed: {output.strip()}"]
    lints, place = [], ""
    for line in output.splitlines():
        if line.startswith("Lints for "):
            place = line.removeprefix("Lints for ").rstrip(":")
        elif line.startswith("    * ") and ALLOWED not in line:
            lints.append(f"{place}: {line.removeprefix('    * ').rstrip(':')}")
    return lints


def project_lints() -> list[str]:
    """Rules without what every rule has, or with what none has."""
    lints = []
    for file in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        for block in re.split(r"^(?=rule )", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            name = f"{file.name}: {block.split(':')[0]}"
            wanted = [what for what in WANTED if not (what == "a benchmark" and name == UNTIMED)]
            lints += [f"{name} has no {what[2:]}" for what in wanted if not re.search(WANTED[what], block, re.M)]
            lints += [f"{name} has {what}" for what, sign in UNWANTED.items() if re.search(sign, block, re.M)]
    return lints


def main() -> None:
    """Print what is found; exit status 1 if anything is."""
    lints = [*snakemake_lints(), *project_lints()]
    print("\n".join(lints) or "workflow: no lints")
    sys.exit(bool(lints))


if __name__ == "__main__":
    main()
