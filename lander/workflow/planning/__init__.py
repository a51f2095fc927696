"""What a run will cost, before it starts: `lander plan --configfile my.yaml`.

texts.py     pairs per direction, tokens per pair
networks.py  the base without weights, made ready for each method
memory.py    memory of each stage, counted by running its code on tensors without numbers
machine.py   memory and measured speed of this machine
jobs.py      Snakemake's dry run: the jobs that are left, and what a profile gives to them
plan.py      all of it together, what does not fit and what is not known
page.py      the same as text for the terminal
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lander.workflow.planning.machine import Machine, this_machine
from lander.workflow.planning.page import page
from lander.workflow.planning.plan import make

__all__ = ["Machine", "make", "page", "show", "this_machine"]


def show(
    configfiles: Sequence[Path],
    *,
    flops: float | None = None,
    memory: float | None = None,
    devices: str = "auto",
    count_jobs: bool = True,
    as_json: bool = False,
    profile: Path | None = None,
) -> None:
    """Print the plan of a config, its warnings to stderr.

    Args:
        flops: FLOP/s of a device; memory: its GB; devices: `auto`, `cpu` or `gpu`. Defaults: this machine's.
        profile: folder of the profile that the run will have; by default Snakemake's own variable, SNAKEMAKE_PROFILE.
    """
    from lander.config import config

    settings = config.read(*configfiles)
    machine = this_machine(devices, flops, memory, settings.threads)
    named = os.environ.get("SNAKEMAKE_PROFILE") if count_jobs else None
    profile = profile or (Path(named) if named else None)
    plan = make(settings, machine, configfiles, count_jobs=count_jobs, profile=profile)
    print(json.dumps(plan, ensure_ascii=False, indent=2) if as_json else page(plan))
    for warning in plan["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
