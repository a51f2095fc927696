# Stage evaluate: scores with their signatures (paper 4.3-4.4).


rule seen:
    """Test items that occur in training, looked up once for all models."""
    input:
        heldout=expand("<results>/data/test/{item}.parquet", item=plan.test_items),
        train=expand(
            "<results>/data/s{{seed}}/train/{direction}.parquet",
            direction=plan.directions,
        ),
    output:
        "<results>/evaluate/seen-s{seed}.json",
    log:
        "<logs>/evaluate/seen-s{seed}.log",
    benchmark:
        "<benchmarks>/evaluate/seen-s{seed}.tsv"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=plan.code("evaluate.contamination"),
    shell:
        """
        python -m lander.evaluate seen \
            --heldout {input.heldout:q} \
            --train {input.train:q} \
            --out {output:q} \
            2>&1 | tee {log:q} >&2
        """


rule score:
    """Score all translations of one model; test items that occur in training are flagged."""
    input:
        expand(
            "<results>/translate/{{method}}/{{variant}}/s{{seed}}/{item}.jsonl",
            item=plan.test_items,
        ),
        seen="<results>/evaluate/seen-s{seed}.json" if plan.trained else [],
    output:
        expand(
            "<results>/evaluate/{{method}}/{{variant}}/s{{seed}}/{item}.csv",
            item=plan.test_items,
        ),
        expand(
            "<results>/evaluate/{{method}}/{{variant}}/s{{seed}}/{item}.{kind}",
            item=plan.test_items,
            kind=["flags.csv", "segments.parquet"],
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
        seen=["--seen", f"{plan.results}/evaluate/seen-s{{seed}}.json"] if plan.trained else [],
        metrics=settings.evaluate.metrics,
        code=plan.code("evaluate"),
    shell:
        """
        python -m lander.evaluate score \
            --translations {params.translations:q} \
            --tests {params.tests:q} \
            {params.seen:q} \
            --extra {params.metrics:q} \
            --method {params.method} \
            --variant {params.variant} \
            --seed {params.seed} \
            --out-dir {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """


if plan.untrained_items:

    use rule seen as seen_untrained with:
        input:
            heldout=expand("<results>/data/test/{item}.parquet", item=plan.untrained_items),
            train=rules.seen.input.train,
        output:
            "<results>/evaluate/seen-untrained-s{seed}.json",
        log:
            "<logs>/evaluate/seen-untrained-s{seed}.log",
        benchmark:
            "<benchmarks>/evaluate/seen-untrained-s{seed}.tsv"

    use rule score as score_untrained with:
        input:
            expand(
                "<results>/translate/{{method}}/{{variant}}/s{{seed}}/{item}.jsonl",
                item=plan.untrained_items,
            ),
            seen="<results>/evaluate/seen-untrained-s{seed}.json" if plan.trained else [],
        output:
            expand(
                "<results>/evaluate/{{method}}/{{variant}}/s{{seed}}/{item}.csv",
                item=plan.untrained_items,
            ),
            expand(
                "<results>/evaluate/{{method}}/{{variant}}/s{{seed}}/{item}.{kind}",
                item=plan.untrained_items,
                kind=["flags.csv", "segments.parquet"],
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
            seen=["--seen", f"{plan.results}/evaluate/seen-untrained-s{{seed}}.json"] if plan.trained else [],
            metrics=settings.evaluate.metrics,
            code=plan.code("evaluate"),


rule scores:
    """Join all scores and add the means over directions."""
    input:
        expand(
            "<results>/evaluate/{model}/{item}.csv",
            model=plan.compared,
            item=plan.test_items,
        ),
        expand(
            "<results>/evaluate/{model}/{item}.{metric}.csv",
            model=plan.compared,
            item=plan.test_items,
            metric=neural.names,
        ),
    output:
        table="<results>/evaluate/scores.csv",
        parquet="<results>/evaluate/scores.parquet",
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
            --out {output.table:q} \
            --parquet {output.parquet:q} \
            2>&1 | tee {log:q} >&2
        """


rule significance:
    """Intervals of all scores, and every method against the baselines, corrected for the number of comparisons."""
    input:
        expand(
            "<results>/evaluate/{model}/{item}.segments.parquet",
            model=plan.compared,
            item=plan.test_items,
        ),
        expand(
            "<results>/evaluate/{model}/{item}.{metric}.segments.parquet",
            model=plan.compared,
            item=plan.test_items,
            metric=neural.names,
        ),
    output:
        "<results>/evaluate/significance.csv",
    log:
        "<logs>/evaluate/significance.log",
    benchmark:
        "<benchmarks>/evaluate/significance.tsv"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        baselines=settings.evaluate.baselines,
        code=plan.code("evaluate.significance"),
    shell:
        """
        python -m lander.evaluate significance \
            --segments {input:q} \
            --baselines {params.baselines:q} \
            --out {output:q} \
            2>&1 | tee {log:q} >&2
        """
