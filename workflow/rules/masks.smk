# Stage masks: which neurons of the chosen layers take part in a direction, and at which scale (paper 3.2-3.3, eq. 6).


rule masks:
    """One table per direction: the role, owner and scale of every neuron of the chosen layers."""
    input:
        neurons=models.table("neurons"),
        layers=models.table("layers"),
        awareness=models.awareness_files,
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
        flags=models.mask_flags,
        code=plan.code("detect.masks"),
    shell:
        """
        python -m lander.detect.masks \
            --neurons {input.neurons:q} \
            --layers {input.layers:q} \
            --awareness {input.awareness:q} \
            --awareness-languages {params.languages:q} \
            --directions {params.directions:q} \
            {params.flags:q} \
            --out-dir {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """


if settings.neurons.masks:

    rule permuted_masks:
        """The control of masks that were made elsewhere: random neurons in their layers."""
        input:
            models.given_masks,
        output:
            expand(
                "<results>/masks/given/draw{{draw}}/s{{seed}}/{name}",
                name=[os.path.basename(file) for file in models.given_masks],
            ),
        log:
            "<logs>/masks/given/draw{draw}/s{seed}.log",
        benchmark:
            "<benchmarks>/masks/given/draw{draw}/s{seed}.tsv"
        wildcard_constraints:
            draw=r"\d+",
        priority: 3
        threads: 1
        resources:
            mem_mb=2000,
            runtime=10,
        params:
            folder=subpath(output[0], parent=True),
            seed=models.given_seed,
            code=plan.code("detect.permute"),
        shell:
            """
            python -m lander.detect.permute \
                --masks {input:q} \
                --seed {params.seed} \
                --out-dir {params.folder:q} \
                2>&1 | tee {log:q} >&2
            """
