# The learning rate of each method, on the dev sets: rounds of short trainings, until the best rate of every method lies
# inside its grid and all methods have had as many trials (lander/experiments/rates.py).


checkpoint tune_round:
    """Which learning rates are tried next."""
    input:
        losses_before,
    output:
        "<results>/tune/round{round}.json",
    log:
        "<logs>/tune/round{round}.log",
    benchmark:
        "<benchmarks>/tune/round{round}.tsv"
    wildcard_constraints:
        round=r"\d+",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        starts=experiments.starts,
        factor=settings.experiments.tune_factor,
        losses=trial_flags,
        code=plan.code("experiments.rates"),
    shell:
        """
        python -m lander.experiments.rates \
            --start {params.starts:q} \
            --factor {params.factor} \
            --loss {params.losses:q} \
            --out {output:q} \
            2>&1 | tee {log:q} >&2
        """


rule tune:
    """Each method's learning rate with the lowest dev loss, as a table and as a config file."""
    input:
        losses_of_all,
    output:
        multiext("<results>/experiments/tune", ".csv", ".json", ".md", ".yaml"),
        report(
            "<results>/experiments/tune.svg",
            caption="../report/tune.rst",
            category="Experiments",
            labels={"figure": "tune"},
        ),
    log:
        "<logs>/experiments/tune.log",
    benchmark:
        "<benchmarks>/experiments/tune.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        folder=subpath(output[0], parent=True),
        values=rates_of_all,
        code=plan.code("experiments"),
    shell:
        """
        python -m lander.experiments tune \
            --loss {input:q} \
            --values {params.values:q} \
            --out {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """
