# Stage masks: which neurons of the chosen layers take part in a direction, and at which scale (paper 3.2-3.3, eq. 6).


rule masks:
    """One table per direction: the role, owner and scale of every neuron of the chosen layers."""
    input:
        neurons="<results>/neurons/{variant}/s{seed}/neurons.parquet",
        layers="<results>/layers/{variant}/s{seed}/layers.parquet",
        awareness=expand(
            "<results>/awareness/s{{seed}}/{language}.parquet",
            language=settings.awareness.languages,
        ),
    output:
        expand(
            "<results>/masks/{{variant}}/s{{seed}}/{direction}.parquet",
            direction=plan.directions,
        ),
    log:
        "<logs>/masks/{variant}/s{seed}.log",
    benchmark:
        "<benchmarks>/masks/{variant}/s{seed}.tsv"
    priority: 3
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        folder=subpath(output[0], parent=True),
        languages=settings.awareness.languages,
        directions=plan.directions,
        normalize=settings.neurons.normalize,
        unactivated=settings.neurons.unactivated_role,
        share=settings.routing.share,
        pool=settings.routing.pool,
        gate=settings.routing.gate,
        code=plan.code("masks"),
    shell:
        """
        python -m lander.masks \
            --neurons {input.neurons:q} \
            --layers {input.layers:q} \
            --awareness {input.awareness:q} \
            --awareness-languages {params.languages:q} \
            --directions {params.directions:q} \
            --normalize {params.normalize} \
            --unactivated {params.unactivated} \
            --share {params.share} \
            --pool {params.pool} \
            --gate {params.gate} \
            --out-dir {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """
