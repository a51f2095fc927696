"""What a run consists of: the files and flags that the rules of the workflow ask for.

The rules (workflow/rules/*.smk) hold no logic: what depends on the config is here, where it can be tested. `wildcards`
is Snakemake's object with the values in a job's path.

    plan.py         the run: stages, code digests, the machine, the report
    paths.py        where its tables and models are
    texts.py        sources and files of parallel and plain text
    models.py       bases, trained models, and the tables that select what they train
    experiments.py  which models each experiment compares

    plan = Plan(load(config))
    plan.texts.training_files(wildcards)  ->  ["corpora/bible/de.txt.gz", "corpora/bible/en.txt.gz"]
"""

from lander.workflow.plan import Plan
from lander.workflow.texts import sources_json

__all__ = ["Plan", "sources_json"]
