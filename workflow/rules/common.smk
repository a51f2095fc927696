# What the rules share: the checked config, the plan of the run (lander/workflow), folders, wildcards.
#
# Priorities: 4 for dev and test sets (a fault in them must not show after the trainings), 3 for what detection waits
# for, 2 for trainings (the longest jobs), 0 for the rest, which fills the gaps.

import json
import os
import sys

from lander.config.config import effective, load
from lander.shared.errors import UserError
from lander.shared.files import read_json
from lander.shared.runs import METHOD
from lander.shared.yamlfile import read_yaml
from lander.workflow import Plan, as_it_is, sources_json
from lander.workflow.models import refuse

try:
    for file in workflow.configfiles:  # Snakemake takes the last of two equal keys without a word
        read_yaml(file)
    settings = load(config)
    plan = Plan(settings)
except UserError as error:
    sys.exit(f"lander config: error: {error}")

texts, models, experiments = plan.texts, plan.models, plan.experiments
plan.set_environment()

# What the jobs on this machine may use together; a job that asks for more gets this much. A profile's `resources` and
# the command line win. With --jobs there is a cluster, which has limits of its own.
if workflow.is_main_process and workflow.nodes is None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000
    for name, most in {"mem_mb": memory, "gpu": 1}.items():
        if name not in workflow.global_resources:
            workflow.register_resource(name, most)


# The folder of the run in the patterns of the rules. Files that Python names are plain paths (lander/workflow/paths.py).
pathvars:
    results=plan.results,
    logs=f"{plan.results}/logs",
    benchmarks=f"{plan.results}/benchmarks",


wildcard_constraints:
    seed=r"\d+",
    pair=r"[A-Za-z0-9-]+",
    direction=r"[A-Za-z0-9-]+",
    language=r"[A-Za-z0-9-]+",
    method=METHOD,
    variant=r"[A-Za-z0-9._+-]+",
    reading=r"([a-z_-]+/)?",
    test=r"[A-Za-z0-9._-]+",


# Rounds of `tune`. Only Snakemake knows when a checkpoint has written its file, so these functions are here.


def planned(round):
    """A round of trials. If it is not planned yet, Snakemake calls the function again when it is."""
    try:
        return read_json(checkpoints.tune_round.get(round=round).output[0])
    except UserError as error:
        refuse(error)


def trials_before(wildcards):
    """METHOD/RATE -> loss file, of the trials before a round."""
    round = int(wildcards.round)
    return experiments.trial_losses(planned(round - 1)) if round else {}


def losses_before(wildcards):
    """Losses of the trials before a round."""
    return list(trials_before(wildcards).values())


def trial_flags(wildcards):
    """The same, as --loss takes them."""
    return [f"{trial}={file}" for trial, file in trials_before(wildcards).items()]


def last_round():
    """The first round that plans no trials: it knows all of them."""
    return next(found for found in map(planned, range(1000)) if found["done"])


def losses_of_all(_wildcards):
    """Losses of all trials."""
    return list(experiments.trial_losses(last_round()).values())


def rates_of_all(_wildcards):
    """VARIANT=RATE of all trials."""
    return experiments.trial_values(last_round())


def growing(amount):
    """What a job asks for: half as much more with each attempt, because it may have failed for lack of it."""

    def asked(_wildcards, attempt):
        return amount * (1 + attempt) // 2

    return asked


def made_of(_wildcards, input, output):
    """What a job reads and writes, for `lander.workflow.reuse`."""
    return json.dumps({"inputs": list(input), "outputs": list(output)})


def dev_flags(directions):
    """<direction>:<table>, as --dev takes it."""
    return [f"{direction}:{plan.results}/data/dev/{direction}.parquet" for direction in directions]


def where_forgetting(files):
    """Files for models whose forgetting is measured; for all others only the dev loss is needed."""
    found = list(files)
    return lambda wildcards: found if experiments.forgets(wildcards) else []
