"""Run a stage, or copy the files that the same command has made of the same inputs in another run.

Runs often begin alike: the same text is cleaned and the same base scores the same sentences, and only k, epsilon or a
method differs. A digest identifies everything that decides the outputs of a job: the code of the stage, its flags, the
contents of its inputs, the versions of the packages that Lander needs, and whether there is a GPU. After a job has run,
its outputs are noted under its digest. A later job with the same digest copies these files if they have not changed,
and runs otherwise. The name of the run does not count. LANDER_REUSE=0 turns the copying off.

Models and data on the hub are identified by their commit, if `revision` gives it or if HF_HUB_OFFLINE rules out a later
one; test sets of sacreBLEU by the files in its cache. A job that reads anything else from the network always runs.

Reads:  the stage's inputs; results/.made/<digest>.json, and the files that it names
Writes: the stage's outputs; results/.made/<digest>.json   job (the digest), stage, outputs (path, sha256)
        <run>/.copied/<job>.json   from: the files that were copied; it is there only if the job did not run

Example:
    python -m lander.workflow.reuse \\
        --files '{"inputs": ["en.txt"], "outputs": ["results/b/data/s0/text/en.parquet"]}' \\
        --copied results/b/.copied/data/s0/text/en.json \\
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
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from itertools import pairwise
from pathlib import Path

from lander.data import testsets
from lander.data.sources import Source
from lander.shared.digest import code_digest
from lander.shared.errors import UserError, run_main
from lander.shared.files import read_json, sha256, whole_file, write_json
from lander.shared.provenance import DISTRIBUTION
from lander.shared.validation import validate

NOTES = Path("results", ".made")


def job_digest(stage: str, flags: list[str], inputs: list[str], outputs: list[str]) -> str | None:
    """Digest of everything that decides what a job makes; None if something of it is not known."""
    run = re.match(r"results/[^/]+/", outputs[0])  # its name does not count
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
    """Versions of the packages that Lander needs; empty if Lander is not installed, because then they are unknown."""
    found = {}
    with suppress(PackageNotFoundError):
        for name in [re.match(r"[\w.-]+", line)[0] for line in requires(DISTRIBUTION) or [] if "extra ==" not in line]:
            found[name] = ""
            with suppress(PackageNotFoundError):  # needed on other machines only
                found[name] = version(name)
    return found


def has_gpu() -> bool:
    """Whether a job computes on a GPU. Asking torch would take seconds."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    return Path("/proc/driver/nvidia/version").exists() and not hidden


def fetched_inputs(flags: list[str]) -> dict[str, str | None]:
    """What a job reads beside the files of its rule: a name -> its commit or digest, None if that is not known."""
    found: dict[str, str | None] = {}
    given = list(pairwise(flags))
    for flag, value in given:
        if flag == "--model" and "/" in value and not os.path.isdir(value):
            found[value] = _commit("models", value, dict(given).get("--revision"))
        given_sources = json.loads(value) if flag in ("--sources", "--exclude") else []
        for source in [validate(Source, one) for one in given_sources]:
            if source.sacrebleu:
                for pair in source.pairs:
                    files = testsets.cached(source.sacrebleu, pair)
                    found[f"{source.sacrebleu} {pair}"] = files and sha256(*files)
            elif source.remote:
                found[f"{source.hf} {source.revision}"] = _commit("datasets", source.hf, source.revision)
    return found


def _commit(kind: str, name: str, revision: str | None) -> str | None:
    """The commit of a repository of the hub that a job will read, if it is known without asking the hub."""
    if re.fullmatch("[0-9a-f]{40}", revision or ""):
        return revision
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE, f"{kind}--{name.replace('/', '--')}", "refs", revision or "main")
    return place.read_text() if testsets.offline() and place.is_file() else None


def copy_made(note: Path, outputs: list[str]) -> list[str]:
    """Copy the files that a note names. Returns their paths: none if one of them is gone or has changed."""
    try:
        found = read_json(note)
        made = found["outputs"]
        if found["job"] != note.stem:
            raise ValueError(f"{note} is about another job")
        for one, path in zip(made, outputs, strict=True):
            with whole_file(path) as temporary:
                shutil.copyfile(one["path"], temporary)
                if sha256(temporary) != one["sha256"]:
                    raise ValueError(f"{one['path']} has changed")  # inside the block, so that nothing is written
        return [one["path"] for one in made]
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return []


def run(stage: str, flags: list[str]) -> None:
    """Run a stage as `python -m` does, in this process; a stage that fails ends it."""
    sys.argv = [stage, *flags]
    runpy.run_module(stage, run_name="__main__", alter_sys=True)


def main() -> None:
    """Copy what the job would make; if there is nothing to copy, run the job and note what it has made."""
    parser = argparse.ArgumentParser(prog="lander.workflow.reuse", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--files", type=json.loads, required=True, help='JSON: {"inputs": [files it reads], "outputs": [it writes]}')
    add("--copied", type=Path, required=True, help="record that is written if the job's outputs are copied")
    add("stage", help="its module, for example lander.detect.activations")
    add("flags", nargs=argparse.REMAINDER, help="its flags")
    args = parser.parse_args()
    inputs, outputs = args.files["inputs"], args.files["outputs"]
    args.copied.unlink(missing_ok=True)
    wanted = os.environ.get("LANDER_REUSE") != "0"
    digest = job_digest(args.stage, args.flags, inputs, outputs) if wanted else None
    if digest and (copied := copy_made(NOTES / f"{digest}.json", outputs)):
        print(f"copied from {', '.join(copied)}: same command, files and code", file=sys.stderr)
        write_json(args.copied, {"from": copied})
        return
    run(args.stage, args.flags)
    if digest:
        made = [{"path": path, "sha256": sha256(path)} for path in outputs]
        write_json(NOTES / f"{digest}.json", {"job": digest, "stage": args.stage, "outputs": made})


if __name__ == "__main__":
    run_main(main, "reuse")
