"""What a run will cost, before it starts: from the model's config alone, the sizes of the texts and the machine.

base.py      the base without weights (meta device), from its config.json
corpus.py    pairs per direction, tokens per pair
training.py  what each method trains, and its arithmetic
memory.py    memory of each stage and ZeRO stage
jobs.py      the number of jobs, as Snakemake counts them
limits.py    what jobs may take by a profile of Snakemake, and what will not do with it
plan.py      all of it together, and what does not fit
page.py      the same as a table

lander plan --configfile my.yaml
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lander.workflow.planning.machine import Machine, this_machine
from lander.workflow.planning.page import page
from lander.workflow.planning.plan import make

__all__ = ["Machine", "make", "show", "this_machine"]


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
