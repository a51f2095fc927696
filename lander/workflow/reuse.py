"""Run a stage, or copy what the same command has made of the same files in another run.

Runs of other names often begin alike: the same text is cleaned, the same base scores the same sentences, and only k,
epsilon or a method differs. A job that goes through here is known by a digest of all that decides its outputs: the
stage's code, its flags, the contents of its inputs, the packages that Lander asks for, and whether there is a GPU. What
it made is noted under that digest. A job with the same digest copies those files, if they still are what they were, and
runs otherwise; the log of one that copied says `copied from`. The run's own folder does not count: `results/<run>/` is
the same for all runs.

What is on the hub is known by its commit, where `revision` gives it or HF_HUB_OFFLINE says that nobody asks for a later
one; sacreBLEU's test sets by their files in its cache. A job with anything else that may change takes nothing over.

Nothing is stored twice before it is asked for twice, and runs stay independent: remove one, and no other loses a thing.
LANDER_REUSE=0 in the environment turns it off, for example to measure how long a stage takes.

Reads:  the stage's inputs; results/.made/<digest>.json, and the files that it names
Writes: the stage's outputs; results/.made/<digest>.json   stage, outputs (path, sha256)

Example:
    python -m lander.workflow.reuse \\
        --files '{"inputs": ["en.txt"], "outputs": ["results/b/data/s0/text/en.parquet"]}' \\
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
from importlib.metadata import PackageNotFoundError, requires, version
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from lander.shared.digest import code_digest
from lander.shared.errors import UserError, run_main
from lander.shared.files import read_json, sha256, whole_file, write_json

NOTES = Path("results", ".made")
RUN = re.compile(r"results/[^/]+/")
REQUIREMENT = re.compile(r"[\w.-]+")  # its name; then come versions and conditions
COMMIT = re.compile(r"[0-9a-f]{40}")
SOURCES = ("--sources", "--exclude")  # flags with sources of text, as JSON


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


def job_digest(stage: str, flags: list[str], inputs: list[str], outputs: list[str]) -> str | None:
    """Digest of all that decides what a job makes; None where something of it is not known.

    Args:
        stage: module, as after `python -m`.
        outputs: at least one; where it is in the folder of a run, that folder's name does not count.
    """
    run = RUN.match(outputs[0])
    fetched, installed = fetched_inputs(flags), packages()
    if None in fetched.values() or not installed:
        return None

    def anywhere(text: str) -> str:
        return text.replace(run[0], "results/*/") if run else text

    facts = {
        "stage": stage,
        "code": code_digest(stage),
        "flags": [anywhere(flag) for flag in flags],
        "inputs": sorted((anywhere(path), sha256(path)) for path in inputs),
        "fetched": fetched,
        "outputs": [anywhere(path) for path in outputs],
        "packages": installed | {"python": platform.python_version()},
        "machine": [platform.machine(), has_gpu()],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def packages() -> dict[str, str]:
    """Versions of the packages that Lander needs; empty where Lander itself is not installed, so that nobody knows."""
    found = {}
    try:
        needed = [REQUIREMENT.match(line)[0] for line in requires("lander") or [] if "extra ==" not in line]
    except PackageNotFoundError:
        return {}
    for name in needed:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # needed on other machines
            found[name] = ""
    return found


def has_gpu() -> bool:
    """Whether a job computes on a GPU; torch would take seconds to say so."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    return Path("/proc/driver/nvidia/version").exists() and not hidden


def fetched_inputs(flags: list[str]) -> dict[str, str | None]:
    """What a job reads that is no file of its rule: a name -> its commit or digest, None where that is not known."""
    found: dict[str, str | None] = {}
    revision = next((flag.partition("=")[2] for flag in flags if flag.startswith("--revision=")), None)
    for flag, value in pairwise(flags):
        if flag == "--model" and "/" in value and not os.path.isdir(value):
            found[value] = _commit("models", value, revision)
        elif flag in SOURCES:
            for source in json.loads(value):
                found |= _fetched_text(source)
    return found


def _fetched_text(source: dict[str, Any]) -> dict[str, str | None]:
    """The same of a source of text."""
    if "hf" in source and not os.path.isdir(source["hf"]):
        name, revision = source["hf"], source.get("revision")
        return {f"{name} {revision}": _commit("datasets", name, revision)}
    if "sacrebleu" not in source:
        return {}
    from lander.data import testsets

    name = source["sacrebleu"]
    files = {f"{name} {pair}": testsets.cached(name, pair) for pair in testsets.pairs(source)}
    return {name: paths and sha256(*paths) for name, paths in files.items()}


def _commit(kind: str, name: str, revision: str | None) -> str | None:
    """The commit of a repository of the hub that a job will read, where nobody has to be asked."""
    if COMMIT.fullmatch(revision or ""):
        return revision
    from huggingface_hub import constants

    from lander.data import testsets

    place = Path(constants.HF_HUB_CACHE, f"{kind}--{name.replace('/', '--')}", "refs", revision or "main")
    return place.read_text() if testsets.offline() and place.is_file() else None


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
    parser = argparse.ArgumentParser(prog="lander.workflow.reuse", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--files", type=json.loads, required=True, help='JSON: {"inputs": [what it reads], "outputs": [what it writes]}'
    )
    add("stage", help="its module, for example lander.detect.activations")
    add("flags", nargs=argparse.REMAINDER, help="its flags")
    args = parser.parse_args()
    inputs, outputs = args.files["inputs"], args.files["outputs"]
    wanted = os.environ.get("LANDER_REUSE") != "0"
    digest = job_digest(args.stage, args.flags, inputs, outputs) if wanted else None
    if digest is None:
        run(args.stage, args.flags)
        return
    note = NOTES / f"{digest}.json"
    if copied := copy_made(note, outputs):
        print(f"copied from {', '.join(map(str, copied))}: same command, files and code", file=sys.stderr)
        return
    run(args.stage, args.flags)
    write_json(note, {"stage": args.stage, "outputs": [{"path": path, "sha256": sha256(path)} for path in outputs]})


if __name__ == "__main__":
    run_main(main, "reuse")
