# Stage awareness: how much each language's loss depends on each neuron (paper 3.2, eq. 3-4).


rule awareness:
    """Score of every FFN neuron of every layer for one language."""
    input:
        unpack(models.awareness_text),
        model=models.model_files,
        templates=texts.templates,
    output:
        table="<results>/awareness/{reading}s{seed}/{language}.parquet",
    log:
        "<logs>/awareness/{reading}s{seed}/{language}.log",
    benchmark:
        "<benchmarks>/awareness/{reading}s{seed}/{language}.tsv"
    priority: 3
    threads: settings.threads
    resources:
        mem_mb=growing(models.memory(copies=2)),
        runtime=growing(120),
        gpu=plan.gpu,
    params:
        files=made_of,
        copied=f"{plan.results}/.copied/awareness/{{reading}}s{{seed}}/{{language}}.json",
        language="{language}",
        flags=models.awareness_flags,
        code=plan.code("detect.awareness"),
    shell:
        """
        python -m lander.workflow.reuse --files {params.files:q} --copied {params.copied:q} \
            lander.detect.awareness \
            {params.flags:q} \
            --templates {input.templates:q} \
            --language {params.language:q} \
            --out {output.table:q} \
            2>&1 | tee {log:q} >&2
        """


use rule awareness as awareness_parts with:
    output:
        parts="<results>/awareness_parts/{reading}s{seed}/{language}.parquet",
        table="<results>/awareness_parts/{reading}s{seed}/{language}.all.parquet",
    log:
        "<logs>/awareness_parts/{reading}s{seed}/{language}.log",
    benchmark:
        "<benchmarks>/awareness_parts/{reading}s{seed}/{language}.tsv"
    params:
        files=made_of,
        copied=f"{plan.results}/.copied/awareness_parts/{{reading}}s{{seed}}/{{language}}.json",
        language="{language}",
        flags=models.parts_flags,
        code=plan.code("detect.awareness"),
