# Stage neurons: which neurons are general, which belong to one language (paper 3.2, eq. 5).


rule neurons:
    """Class and owner of every FFN neuron of every layer."""
    input:
        awareness=expand(
            "<results>/awareness/s{{seed}}/{language}.parquet",
            language=settings.awareness.languages,
        ),
        layers="<results>/layers/{variant}/s{seed}/layers.parquet",
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
        normalize=settings.neurons.normalize,
        threshold=settings.neurons.threshold,
        general_share=settings.neurons.general_share,
        unactivated=settings.neurons.unactivated,
        code=plan.code("neurons"),
    shell:
        """
        python -m lander.neurons \
            --awareness {input.awareness:q} \
            --awareness-languages {params.languages:q} \
            --layers {input.layers:q} \
            --normalize {params.normalize} \
            --threshold {params.threshold} \
            --general-share {params.general_share} \
            --unactivated {params.unactivated} \
            --out {output:q} \
            2>&1 | tee {log:q} >&2
        """
