"""The jobs that are left to do and what they ask for, as Snakemake says in a dry run; and what goes beyond a profile.

Snakemake reports each job as an event of its log, with the rule's name and the resources: the interface for plugins of
its logger (`snakemake_interface_logger_plugins`). `listen` runs it with a listener for these events.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lander.shared.errors import UserError
from lander.shared.files import shipped
from lander.shared.yamlfile import read_yaml

NAMES = ("runtime", "mem", "mem_mb", "gpu")

Jobs = dict[str, dict[str, int]]
"""Rule -> jobs (their number), and the most that one of them asks for: runtime (minutes), mem_mb, gpu."""


def dry_run(configfiles: Sequence[Path], profile: Path | None = None) -> Jobs | None:
    """The jobs that are left to do, by rule; None if the dry run fails. Of a profile only the resources are taken."""
    listener = f"from {__name__} import listen; listen()"
    command = [sys.executable, "-c", listener, "--snakefile", str(shipped("workflow/Snakefile")), "--dry-run"]
    if configfiles:
        command += ["--configfile", *map(os.path.abspath, configfiles)]  # a name may begin with a dash
    command += profile_flags(profile) if profile else []
    environment = {name: value for name, value in os.environ.items() if name != "SNAKEMAKE_PROFILE"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, env=environment)
    except (OSError, subprocess.SubprocessError):
        return None
    return json.loads(done.stdout.splitlines()[-1])


def listen() -> None:
    """Run Snakemake with the flags of the command line, then print its jobs as JSON."""
    from snakemake.cli import main
    from snakemake_interface_logger_plugins.common import LogEvent

    jobs: Jobs = {}

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if getattr(record, "event", None) == LogEvent.JOB_INFO and record.rule_name != "all":
                found = jobs.setdefault(record.rule_name, {"jobs": 0})
                found["jobs"] += 1
                for name in set(NAMES) & set(record.resources.keys()):
                    if isinstance(value := record.resources[name], int):
                        found[name] = max(found.get(name, 0), value)

    logging.getLogger().addHandler(Listener())  # Snakemake removes those of its own logger
    try:
        main(sys.argv[1:])
    finally:
        print(f"\n{json.dumps(jobs)}", flush=True)


def profile_flags(profile: Path) -> list[str]:
    """A profile's resources as flags of Snakemake."""
    file = profile / "config.yaml"
    try:
        read = read_yaml(file) or {}
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; name the folder of a profile, as workflow/profiles/slurm") from None
    flags = []
    for key in ("default-resources", "set-resources"):
        given = _mapping(read, key, file)
        rules = {"": given} if key == "default-resources" else {f"{one}:": _mapping(given, one, file) for one in given}
        found = [f"{rule}{name}={own[name]}" for rule, own in rules.items() for name in own if name in NAMES]
        flags += [f"--{key}", *found] if found else []
    return flags


def _mapping(value: Any, key: str, file: Path) -> dict[str, Any]:
    found = (value.get(key) or {}) if isinstance(value, dict) else None
    if not isinstance(found, dict):
        raise UserError(f"{file}: {key}: must be a mapping, as finetune: {{gpu: 1, runtime: 1440}} in set-resources")
    return found


def beyond(plan: dict[str, Any], jobs: Jobs, checkpoints: bool) -> list[str]:
    """What of a plan is more than its jobs get. `checkpoints`: trainings go on in the next job."""
    found = []
    stage, machine = str(plan["zero_stage"]), plan["machine"]
    rows = [("finetune", one["method"], one["hours"], one["memory_gb"][stage]) for one in plan["methods"]]
    for one in plan["stages"]:
        rows.append((one["stage"], one["stage"], one["hours"] and one["hours"] / one["jobs"], one["memory_gb"]))
    for rule, name, hours, memory in rows:
        given, mb = jobs.get(rule, {}).get("runtime", 0) / 60, jobs.get(rule, {}).get("mem_mb")
        if hours and given and hours > given and not (rule == "finetune" and checkpoints):
            remedy = "set finetune.checkpoint_minutes, so that it goes on in the next job, or " * (rule == "finetune")
            found.append(
                f"{name}: about {hours:.1f} h, and a job of {rule} has {given:.1f}; {remedy}"
                f"raise set-resources: {rule}: runtime in the profile"
            )
        if mb and machine["device"] == "cpu" and memory > mb / 1000:
            found.append(
                f"{name}: {memory:.1f} GB, and a job of {rule} has {mb / 1000:.1f}; "
                f"raise set-resources: {rule}: mem_mb in the profile"
            )
    for rule in dict.fromkeys(rule for rule, *_ in rows if rule in jobs):
        wanted, given = machine["ranks"] if rule == "finetune" else 1, jobs[rule].get("gpu", 0)
        if machine["device"] == "gpu" and given < wanted:
            found.append(
                f"{rule}: a job gets {given} GPUs, not {wanted}; "
                f"write set-resources: {rule}: {{gpu: {wanted}}} in the profile"
            )
    return found
