# Stage activations: what every FFN neuron does while the base reads translations (paper 3.1, eq. 1).


rule activations:
    """Mean activation of every FFN neuron of every layer in one direction."""
    input:
        model=models.model_files,
        data="<results>/data/s{seed}/train/{direction}.parquet",
        templates=texts.templates,
    output:
        "<results>/activations/{reading}s{seed}/{direction}.parquet",
    log:
        "<logs>/activations/{reading}s{seed}/{direction}.log",
    benchmark:
        "<benchmarks>/activations/{reading}s{seed}/{direction}.tsv"
    priority: 3
    threads: settings.threads
    resources:
        mem_mb=growing(models.memory(copies=1)),
        runtime=growing(60),
        gpu=plan.gpu,
    params:
        files=made_of,
        copied=f"{plan.results}/.copied/activations/{{reading}}s{{seed}}/{{direction}}.json",
        direction="{direction}",
        flags=models.activation_flags,
        code=plan.code("detect.activations"),
    shell:
        """
        python -m lander.workflow.reuse --files {params.files:q} --copied {params.copied:q} \
            lander.detect.activations \
            {params.flags:q} \
            --data {input.data:q} \
            --direction {params.direction:q} \
            --templates {input.templates:q} \
            --out {output:q} \
            2>&1 | tee {log:q} >&2
        """
