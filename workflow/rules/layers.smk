# Stage layers: the layers that respond to translation (paper 3.1, eq. 1-2).


rule layers:
    """Change between neighbouring layers, and the k layers with the largest."""
    input:
        models.activation_files,
    output:
        "<results>/layers/{variant}/s{seed}/layers.parquet",
    log:
        "<logs>/layers/{variant}/s{seed}.log",
    benchmark:
        "<benchmarks>/layers/{variant}/s{seed}.tsv"
    priority: 3
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        directions=plan.directions,
        flags=models.layer_flags,
        code=plan.code("detect.layers"),
    shell:
        """
        python -m lander.detect.layers \
            --activations {input:q} \
            --directions {params.directions:q} \
            {params.flags:q} \
            --out {output:q} \
            2>&1 | tee {log:q} >&2
        """
