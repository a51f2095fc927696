"""Lint of the workflow: Snakemake's own lints, and the rules of this project.

Every rule that runs a command has a docstring, a log, a benchmark file, threads, resources and the digest of its
stage's code. No rule has a `message:`, a `run:` or a lambda.

    python -m tests.lint
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
WANTED = {"docstring": r'^ +"""', "code digest": r"^ +code=plan\.code\("}
WANTED |= {name: rf"^ +{name}:" for name in ("log", "benchmark", "threads", "resources")}
EXCEPT = {
    "prefetch": ("benchmark", "code digest"),  # it is no file, and runs whenever it is asked for
    "comet_environment": ("code digest",),  # it installs a package
    "effective_config": ("code digest",),  # what it writes is its parameter
}
UNWANTED = {"a message": r"^ +message:", "run": r"^ +run:", "a lambda": r"\blambda\b"}


def snakemake_lints() -> list[str]:
    """What `snakemake --lint` finds: a line with the file or rule and the title of the lint."""
    command = [sys.executable, "-m", "snakemake", "--lint", "--quiet"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    output = result.stdout + result.stderr
    if "error" in output.lower() and "Lints for" not in output:
        return [f"snakemake --lint failed: {output.strip()}"]
    lints, place = [], ""
    for line in output.splitlines():
        if line.startswith("Lints for "):
            place = line.removeprefix("Lints for ").rstrip(":")
        elif line.startswith("    * "):
            lints.append(f"{place}: {line.removeprefix('    * ').rstrip(':')}")
    return lints


def project_lints() -> list[str]:
    """Rules and checkpoints without what every rule has, or with what none may have."""
    lints = []
    for file in sorted((ROOT / "workflow").glob("**/*.smk")):
        text = file.read_text(encoding="utf-8")
        for block in re.split(r"^ *(?=(?:rule|checkpoint)\b.*:$)", text, flags=re.MULTILINE)[1:]:
            head = block.split(":")[0].split()
            name = head[1] if len(head) > 1 else re.search(r"name:\s+(\S+)", block)[1]
            wanted = WANTED.keys() - EXCEPT.get(name, ()) if re.search(r"^ +shell:", block, re.M) else ()
            found = [f"no {what}" for what in wanted if not re.search(WANTED[what], block, re.M)]
            found += [what for what, sign in UNWANTED.items() if re.search(sign, block, re.M)]
            lints += [f"{file.name}: {name} has {what}" for what in found]
    return sorted(lints)


def main() -> None:
    """Print the lints; exit status 1 if there are any."""
    lints = [*snakemake_lints(), *project_lints()]
    print("\n".join(lints) or "workflow: no lints")
    sys.exit(bool(lints))


if __name__ == "__main__":
    main()
