# Stage evaluate, optional: COMET and other neural metrics, run in an environment of their own (evaluate.neural).

import re

from lander.workflow.plan import COMET


localrules:
    comet_environment,


rule comet_environment:
    """Install COMET in a separate environment for all runs, because its pins clash with ours; not on a cluster node."""
    input:
        os.path.join(workflow.basedir, "envs", "comet.txt"),
    output:
        COMET,
    log:
        "<logs>/evaluate/comet_environment.log",
    benchmark:
        "<benchmarks>/evaluate/comet_environment.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        folder=subpath(output[0], ancestor=2),
    shell:
        "python -m lander.workflow.prefetch --environment {params.folder:q} 2>&1 | tee {log:q} >&2"


rule neural:
    """Score all translations of the run by a neural metric, sentence by sentence, loaded once for all models."""
    input:
        expand(
            "<results>/translate/{model}/{item}.jsonl",
            model=plan.compared,
            item=plan.tested.items,
        ),
        executable=plan.executable,
    output:
        expand(
            "<results>/evaluate/{model}/{item}.{{metric}}.{kind}",
            model=plan.compared,
            item=plan.tested.items,
            kind=["csv", "segments.parquet"],
        ),
    log:
        "<logs>/evaluate/{metric}.neural.log",
    benchmark:
        "<benchmarks>/evaluate/{metric}.neural.tsv"
    wildcard_constraints:
        metric="|".join(map(re.escape, plan.neural)) or "none",
    threads: settings.threads
    resources:
        mem_mb=growing(16000),
        runtime=growing(480),
        gpu=plan.gpu,
    params:
        metric="{metric}",
        models=[f"{model}={plan.results}/translate/{model}" for model in plan.compared],
        tests=json.dumps(plan.tested.tests),
        flags=plan.neural_flags,
        cache=f"{plan.results}/evaluate/.neural",
        folder=subpath(output[0], ancestor=5),
        code=plan.code("evaluate.neural"),
    shell:
        """
        python -m lander.evaluate neural \
            --metric {params.metric} \
            {params.flags:q} \
            --models {params.models:q} \
            --tests {params.tests:q} \
            --cache {params.cache:q} \
            --out-dir {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """
