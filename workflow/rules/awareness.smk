# Stage awareness: how much each language's loss depends on each neuron (paper 3.2, eq. 3-4).


rule awareness:
    """Taylor score of every FFN neuron of every layer for one language."""
    input:
        model=plan.model_files,
        text="<results>/data/s{seed}/text/{language}.parquet",
    output:
        "<results>/awareness/s{seed}/{language}.parquet",
    log:
        "<logs>/awareness/s{seed}/{language}.log",
    benchmark:
        "<benchmarks>/awareness/s{seed}/{language}.tsv"
    priority: 3
    threads: settings.threads
    resources:
        mem_mb=plan.model_memory(copies=2),
        runtime=120,
        gpu=plan.gpu,
    params:
        language="{language}",
        model=plan.model,
        revision=plan.revision,
        dtype=settings.model.dtype,
        site=settings.awareness.site,
        batch_size=settings.awareness.batch_size,
        threads=settings.threads,
        code=plan.code("awareness"),
    shell:
        """
        python -m lander.awareness \
            --model {params.model:q} \
            {params.revision:q} \
            --dtype {params.dtype} \
            --text {input.text:q} \
            --language {params.language:q} \
            --site {params.site} \
            --batch-size {params.batch_size} \
            --threads {params.threads} \
            --out {output:q} \
            2>&1 | tee {log:q} >&2
        """
