# Stage evaluate: scores with their signatures (paper 4.3-4.4).


for heldout in plan.heldout:

    rule:
        """Test items that occur in training, looked up once for all models."""
        name:
            f"seen{heldout.after('_')}"
        input:
            heldout=heldout.tables,
            train=expand(
                "<results>/data/s{{seed}}/train/{direction}.parquet",
                direction=plan.directions,
            ),
        output:
            f"<results>/evaluate/seen{heldout.after('-')}-s{{seed}}.json",
        log:
            f"<logs>/evaluate/seen{heldout.after('-')}-s{{seed}}.log",
        benchmark:
            f"<benchmarks>/evaluate/seen{heldout.after('-')}-s{{seed}}.tsv"
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

    rule:
        """Score all translations of one model; test items that occur in training are flagged."""
        name:
            f"score{heldout.after('_')}"
        input:
            expand(
                "<results>/translate/{{method}}/{{variant}}/s{{seed}}/{item}.jsonl",
                item=heldout.items,
            ),
            heldout=heldout.tables,
            seen=f"<results>/evaluate/seen{heldout.after('-')}-s{{seed}}.json" if plan.trained else [],
        output:
            expand(
                "<results>/evaluate/{{method}}/{{variant}}/s{{seed}}/{item}.{kind}",
                kind=["csv", "flags.csv", "segments.parquet"],
                item=heldout.items,
            ),
        log:
            f"<logs>/evaluate/{{method}}/{{variant}}/s{{seed}}{heldout.after('.')}.log",
        benchmark:
            f"<benchmarks>/evaluate/{{method}}/{{variant}}/s{{seed}}{heldout.after('.')}.tsv"
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
            tests=json.dumps(heldout.tests),
            seen=["--seen", f"{plan.results}/evaluate/seen{heldout.after('-')}-s{{seed}}.json"] if plan.trained else [],
            metrics=settings.evaluate.metrics,
            code=plan.code("evaluate"),
        shell:
            """
            python -m lander.evaluate score \
                --translations {params.translations:q} \
                --tests {params.tests:q} \
                --heldout {input.heldout:q} \
                {params.seen:q} \
                --extra {params.metrics:q} \
                --method {params.method} \
                --variant {params.variant} \
                --seed {params.seed} \
                --out-dir {params.folder:q} \
                2>&1 | tee {log:q} >&2
            """


rule scores:
    """Join all scores and add the means over directions."""
    input:
        expand(
            "<results>/evaluate/{model}/{item}.csv",
            model=plan.compared,
            item=plan.tested.items,
        ),
        expand(
            "<results>/evaluate/{model}/{item}.{metric}.csv",
            model=plan.compared,
            item=plan.tested.items,
            metric=plan.neural,
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
            item=plan.tested.items,
        ),
        expand(
            "<results>/evaluate/{model}/{item}.{metric}.segments.parquet",
            model=plan.compared,
            item=plan.tested.items,
            metric=plan.neural,
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
