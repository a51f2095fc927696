# Stage neurons: which neurons are general, which belong to one language (paper 3.2, eq. 5).


rule neurons:
    """Class and owner of every FFN neuron of every layer."""
    input:
        awareness=models.awareness_files,
        layers=models.table("layers"),
    output:
        "<results>/neurons/{variant}/s{seed}/neurons.parquet",
    log:
        "<logs>/neurons/{variant}/s{seed}.log",
    benchmark:
        "<benchmarks>/neurons/{variant}/s{seed}.tsv"
    priority: 3
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        languages=settings.awareness.languages,
        flags=models.neuron_flags,
        code=plan.code("detect.neurons"),
    shell:
        """
        python -m lander.detect.neurons \
            --awareness {input.awareness:q} \
            --awareness-languages {params.languages:q} \
            --layers {input.layers:q} \
            {params.flags:q} \
            --out {output:q} \
            2>&1 | tee {log:q} >&2
        """
