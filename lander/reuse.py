"""Run a stage, or copy what the same command has made of the same files in another run.

Runs of other names often begin alike: the same text is cleaned, the same base scores the same sentences, and only k,
epsilon or a method differs. A job that goes through here is known by a digest of all that decides its outputs: the
stage's code, its flags, the contents of its inputs, the packages that compute, and whether there is a GPU. What it made
is noted under that digest. A job with the same digest copies those files, if they still are what they were, and runs
otherwise. The run's own folder does not count: `results/<run>/` is the same for all runs.

Nothing is stored twice before it is asked for twice, and runs stay independent: remove one, and no other loses a thing.
LANDER_REUSE=0 in the environment turns it off, for example to measure how long a stage takes.

Reads:  the stage's inputs; results/.made/<digest>.json, and the files that it names
Writes: the stage's outputs; results/.made/<digest>.json   stage, outputs (path, sha256)

Example:
    python -m lander.reuse --files '{"inputs": ["en.txt"], "outputs": ["results/b/data/s0/text/en.parquet"]}' \\
        lander.data text --language en --sources '[...]' --sentences 100 --out results/b/data/s0/text/en.parquet
"""

import argparse
import hashlib
import json
import os
import platform
import re
import runpy
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from lander.digest import code_digest
from lander.errors import UserError, run_main
from lander.files import read_json, sha256, whole_file, write_json

NOTES = Path("results", ".made")
RUN = re.compile(r"results/[^/]+/")
PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "pyarrow", "pandas", "numpy")


class File(NamedTuple):
    """A file that a job has made, as it was then."""

    path: Path
    digest: str

    def copy(self, path: Path) -> None:
        """Copy it.

        Raises:
            OSError, ValueError: it is gone, or another one by now.
        """
        with whole_file(path) as temporary:
            shutil.copyfile(self.path, temporary)
            if sha256(temporary) != self.digest:
                raise ValueError(f"{self.path} has changed")


def job_digest(stage: str, flags: list[str], inputs: list[str], outputs: list[str]) -> str:
    """Digest of all that decides what a job makes.

    Args:
        stage: module, as after `python -m`.
        outputs: at least one; where it is in the folder of a run, that folder's name does not count.
    """
    run = RUN.match(outputs[0])

    def anywhere(text: str) -> str:
        return text.replace(run[0], "results/*/") if run else text

    facts = {
        "stage": stage,
        "code": code_digest(stage),
        "flags": [anywhere(flag) for flag in flags],
        "inputs": sorted((anywhere(path), sha256(path)) for path in inputs),
        "outputs": [anywhere(path) for path in outputs],
        "packages": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "machine": [platform.machine(), Path("/proc/driver/nvidia/version").exists()],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def copy_made(note: Path, outputs: list[str]) -> list[Path]:
    """Copy what a note says that was made. Returns what was copied: nothing where it is no more as it was."""
    try:
        made = [File(Path(one["path"]), one["sha256"]) for one in read_json(note)["outputs"]]
        for file, path in zip(made, outputs, strict=True):
            file.copy(Path(path))
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return []
    return [file.path for file in made]


def run(stage: str, flags: list[str]) -> None:
    """Run a stage as `python -m` does, in this process. One that fails ends it."""
    sys.argv = [stage, *flags]
    try:
        runpy.run_module(stage, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise


def main() -> None:
    """Look for what the job would make; make it, and note it, where there is nothing."""
    parser = argparse.ArgumentParser(prog="lander.reuse", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--files", type=json.loads, required=True, help='JSON: {"inputs": [what it reads], "outputs": [what it writes]}'
    )
    add("stage", help="its module, for example lander.activations")
    add("flags", nargs=argparse.REMAINDER, help="its flags")
    args = parser.parse_args()
    if os.environ.get("LANDER_REUSE") == "0":
        run(args.stage, args.flags)
        return
    inputs, outputs = args.files["inputs"], args.files["outputs"]
    note = NOTES / f"{job_digest(args.stage, args.flags, inputs, outputs)}.json"
    if copied := copy_made(note, outputs):
        print(f"copied from {', '.join(map(str, copied))}: same command, files and code", file=sys.stderr)
        return
    run(args.stage, args.flags)
    write_json(note, {"stage": args.stage, "outputs": [{"path": path, "sha256": sha256(path)} for path in outputs]})


if __name__ == "__main__":
    run_main(main, "reuse")
