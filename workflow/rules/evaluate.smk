# Stage evaluate: scores with their signatures (paper 4.3-4.4).


rule score:
    """Score all translations of one model; test items that occur in training are flagged."""
    input:
        expand(
            "<results>/translate/{{method}}/{{variant}}/s{{seed}}/{item}.jsonl",
            item=plan.test_items,
        ),
        train=expand(
            "<results>/data/s{{seed}}/train/{direction}.parquet",
            direction=plan.directions if plan.trained else [],
        ),
    output:
        expand(
            "<results>/evaluate/{{method}}/{{variant}}/s{{seed}}/{item}.csv",
            item=plan.test_items,
        ),
        expand(
            "<results>/evaluate/{{method}}/{{variant}}/s{{seed}}/{item}.flags.csv",
            item=plan.test_items,
        ),
    log:
        "<logs>/evaluate/{method}/{variant}/s{seed}.log",
    benchmark:
        "<benchmarks>/evaluate/{method}/{variant}/s{seed}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        translations=subpath(input[0], ancestor=2),
        folder=subpath(output[0], ancestor=2),
        method="{method}",
        variant="{variant}",
        seed="{seed}",
        tests=json.dumps(plan.tests),
        code=plan.code("evaluate"),
    shell:
        """
        python -m lander.evaluate score \
            --translations {params.translations:q} \
            --tests {params.tests:q} \
            --train {input.train:q} \
            --method {params.method} \
            --variant {params.variant} \
            --seed {params.seed} \
            --out-dir {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """


if plan.untrained_items:

    use rule score as score_untrained with:
        input:
            expand(
                "<results>/translate/{{method}}/{{variant}}/s{{seed}}/{item}.jsonl",
                item=plan.untrained_items,
            ),
            train=[],
        output:
            expand(
                "<results>/evaluate/{{method}}/{{variant}}/s{{seed}}/{item}.csv",
                item=plan.untrained_items,
            ),
            expand(
                "<results>/evaluate/{{method}}/{{variant}}/s{{seed}}/{item}.flags.csv",
                item=plan.untrained_items,
            ),
        log:
            "<logs>/evaluate/{method}/{variant}/s{seed}.untrained.log",
        benchmark:
            "<benchmarks>/evaluate/{method}/{variant}/s{seed}.untrained.tsv"
        params:
            translations=subpath(input[0], ancestor=2),
            folder=subpath(output[0], ancestor=2),
            method="{method}",
            variant="{variant}",
            seed="{seed}",
            tests=json.dumps(plan.untrained),
            code=plan.code("evaluate"),


rule scores:
    """Join all scores and add the means over directions."""
    input:
        expand(
            "<results>/evaluate/{model}/{item}.csv",
            model=plan.compared,
            item=plan.test_items,
        ),
    output:
        "<results>/evaluate/scores.csv",
    log:
        "<logs>/evaluate/scores.log",
    benchmark:
        "<benchmarks>/evaluate/scores.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code("evaluate"),
    shell:
        """
        python -m lander.evaluate collect \
            --scores {input:q} \
            --out {output:q} \
            2>&1 | tee {log:q} >&2
        """
