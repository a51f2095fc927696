# Stage loss: how well each model predicts dev references, and what it has forgotten. Test sets are scored by `translate`.


rule loss:
    """Loss on dev sets, on untrained directions and on plain text, before and after the training."""
    input:
        model=models.decoded,
        base=models.model_files,
        dev=expand("<results>/data/dev/{direction}.parquet", direction=plan.directions),
        untrained=where_forgetting(plan.untrained.tables),
        text=where_forgetting(f"<results>/data/kept/{language}.parquet" for language in settings.languages),
        templates=texts.templates,
    output:
        "<results>/loss/{method}/{variant}/s{seed}.csv",
    log:
        "<logs>/loss/{method}/{variant}/s{seed}.log",
    benchmark:
        "<benchmarks>/loss/{method}/{variant}/s{seed}.tsv"
    threads: settings.threads
    resources:
        mem_mb=growing(models.memory(copies=3)),
        runtime=growing(120),
        gpu=plan.gpu,
    params:
        flags=models.loss_flags,
        dev=dev_flags(plan.directions),
        untrained=where_forgetting(plan.untrained.flags),
        text=where_forgetting(plan.text_flags),
        method="{method}",
        variant="{variant}",
        seed="{seed}",
        code=plan.code("translate.loss"),
    shell:
        """
        python -m lander.translate.loss \
            {params.flags:q} \
            --templates {input.templates:q} \
            --dev {params.dev:q} \
            --untrained {params.untrained:q} \
            --text {params.text:q} \
            --method {params.method} \
            --variant {params.variant} \
            --seed {params.seed} \
            --out {output:q} \
            2>&1 | tee {log:q} >&2
        """
