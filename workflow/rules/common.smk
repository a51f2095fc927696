# What the rules share: the checked config, the plan of the run (lander/workflow.py), folders, wildcards.
#
# Priorities: 4 for dev and test sets (a fault in them must not show after the trainings), 3 for what detection waits
# for, 2 for trainings (the longest jobs), 0 for the rest, which fills the gaps.

import json
import os
import sys

from lander.config import effective, load
from lander.errors import UserError
from lander.workflow import Plan, show_errors, sources_json

RULES = os.path.join(workflow.basedir, "rules")
NO_STAGE = ("common.smk", "tune.smk")
STAGES = [name.removesuffix(".smk") for name in os.listdir(RULES) if name not in NO_STAGE]

try:
    settings = load(config)
    plan = Plan(settings, STAGES)
except UserError as error:
    sys.exit(f"lander config: error: {error}")

texts, models, experiments = plan.texts, plan.models, plan.experiments
plan.set_environment()


pathvars:
    results=plan.results,
    logs=f"{plan.results}/logs",
    benchmarks=f"{plan.results}/benchmarks",


wildcard_constraints:
    seed=r"\d+",
    pair=r"[A-Za-z0-9-]+",
    direction=r"[A-Za-z0-9-]+",
    language=r"[A-Za-z0-9-]+",
    method=r"[a-z-]+",
    variant=r"[A-Za-z0-9._+-]+",
    reading=r"([a-z_-]+/)?",
    test=r"[A-Za-z0-9._-]+",
