"""What a run consists of: the files and flags that the rules of the workflow ask for.

The rules (workflow/rules/*.smk) hold no logic: what depends on the config is here, where it can be tested. `wildcards`
is Snakemake's object with the values in a job's path.

    plan = Plan(load(config))
    plan.texts.training_files(wildcards)  ->  ["corpora/bible/de.txt.gz", "corpora/bible/en.txt.gz"]
"""

from lander.workflow.plan import Plan
from lander.workflow.texts import as_it_is, sources_json

__all__ = ["Plan", "as_it_is", "sources_json"]
