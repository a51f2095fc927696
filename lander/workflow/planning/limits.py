"""What jobs may take on a cluster, and which of a plan's will not do with it.

A profile of Snakemake (its config.yaml) is read for its resources alone. They go over those of the rules, in the dry
run that counts the jobs; the largest of each rule's jobs counts.
"""

import re
from pathlib import Path
from typing import Any

from lander.shared.errors import UserError
from lander.shared.yamlfile import read_yaml

NAMES = ("runtime", "mem", "mem_mb", "gpu")
RULE = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):$")
VALUE = re.compile(r"\b(runtime|mem_mb|gpu)=(\d+)\b")

Limits = dict[str, dict[str, int]]
"""Rule -> runtime (minutes), mem_mb, gpu."""


def flags(profile: Path) -> list[str]:
    """A profile's resources as flags of Snakemake.

    Raises:
        UserError: no profile, or resources in another form than Snakemake's.
    """
    file = profile / "config.yaml"
    try:
        read = read_yaml(file)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; name the folder of a profile, as workflow/profiles/slurm") from None
    default, rules = (_mapping(read or {}, key, file) for key in ("default-resources", "set-resources"))
    found = [f"{name}={value}" for name, value in default.items() if name in NAMES]
    own = [
        f"{rule}:{name}={value}"
        for rule in rules
        for name, value in _mapping(rules, rule, file).items()
        if name in NAMES
    ]
    return [*(["--default-resources", *found] if found else []), *(["--set-resources", *own] if own else [])]


def _mapping(value: Any, key: str, file: Path) -> dict[str, Any]:
    found = (value.get(key) or {}) if isinstance(value, dict) else None
    if not isinstance(found, dict):
        raise UserError(f"{file}: {key}: must be a mapping, as finetune: {{gpu: 1, runtime: 1440}} in set-resources")
    return found


def limits(output: str) -> Limits:
    """What the jobs of each rule ask for, by what a dry run prints of them."""
    found: Limits = {}
    rule = ""
    for line in output.splitlines():
        if named := RULE.match(line):
            rule = named[1]
        elif rule and line.startswith("    resources: "):
            mine = found.setdefault(rule, {})
            for name, value in VALUE.findall(line):
                mine[name] = max(mine.get(name, 0), int(value))
    return found


def warnings(plan: dict[str, Any], asked: Limits, checkpoints: bool) -> list[str]:
    """What of a plan goes beyond its jobs' limits. `checkpoints`: trainings go on in the next job."""
    found = []
    stage, machine = str(plan["zero_stage"]), plan["machine"]
    rows = [("finetune", one["method"], one["hours"], one["memory_gb"][stage]) for one in plan["methods"]]
    rows += [
        (one["stage"], one["stage"], one["hours"] and one["hours"] / one["jobs"], one["memory_gb"])
        for one in plan["stages"]
    ]
    for rule, name, hours, memory in rows:
        mine = asked.get(rule, {})
        given = mine.get("runtime", 0) / 60
        if hours and given and hours > given and not (rule == "finetune" and checkpoints):
            remedy = "set finetune.checkpoint_minutes, so that it goes on in the next job, or " * (rule == "finetune")
            found.append(
                f"{name}: about {hours:.1f} h, and a job of {rule} has {given:.1f}; {remedy}"
                f"raise set-resources: {rule}: runtime in the profile"
            )
        if mine.get("mem_mb") and machine["device"] == "cpu" and memory > mine["mem_mb"] / 1000:
            found.append(
                f"{name}: {memory:.1f} GB, and a job of {rule} has {mine['mem_mb'] / 1000:.1f}; "
                f"raise set-resources: {rule}: mem_mb in the profile"
            )
    for rule in dict.fromkeys(rule for rule, *_ in rows if rule in asked):
        wanted = machine["ranks"] if rule == "finetune" else 1
        if machine["device"] == "gpu" and asked[rule].get("gpu", 0) < wanted:
            found.append(
                f"{rule}: a job gets {asked[rule].get('gpu', 0)} GPUs, not {wanted}; "
                f"write set-resources: {rule}: {{gpu: {wanted}}} in the profile"
            )
    return found
