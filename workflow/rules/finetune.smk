# Stage finetune: every method is trained on the same pairs (paper 3.3, eq. 7-9).


rule finetune:
    """Train one method on all directions; a killed run goes on from its checkpoint."""
    input:
        model=models.model_files,
        train=models.training_tables,
        templates=texts.templates,
        masks=models.mask_files,
    output:
        multiext(
            "<results>/finetune/{method}/{variant}/s{seed}/",
            "loss.csv",
            "run.json",
            "lander.json",
        ),
    log:
        "<logs>/finetune/{method}/{variant}/s{seed}.log",
    benchmark:
        "<benchmarks>/finetune/{method}/{variant}/s{seed}.tsv"
    wildcard_constraints:
        variant=r"(?!mix)[A-Za-z0-9._-]+",
    priority: 2
    threads: settings.threads * settings.finetune.ranks
    resources:
        mem_mb=growing(models.memory(copies=8)),
        runtime=1440,
        gpu=plan.gpu * settings.finetune.ranks,
    params:
        folder=subpath(output[0], parent=True),
        checkpoints=f"{plan.results}/checkpoints/{{method}}/{{variant}}/s{{seed}}",
        method="{method}",
        seed="{seed}",
        directions=models.trained_directions,
        flags=models.finetune_flags,
        launcher=models.launcher,
        machine=models.machine_flags,
        code=plan.code("finetune"),
    shell:
        """
        {params.launcher} -m lander.finetune \
            --method {params.method} \
            --train {input.train:q} \
            --directions {params.directions:q} \
            --templates {input.templates:q} \
            --seed {params.seed} \
            {params.flags:q} \
            {params.machine:q} \
            --checkpoints {params.checkpoints:q} \
            --out {params.folder:q} \
            2>&1 | tee --ignore-interrupts {log:q} >&2
        """


rule mix:
    """The average of the base and of the weights that `full` has made of it, as a model."""
    input:
        model=models.model_files,
        full="<results>/finetune/full/main/s{seed}/lander.json",
    output:
        "<results>/finetune/full/{variant}/s{seed}/lander.json",
    log:
        "<logs>/finetune/full/{variant}/s{seed}.log",
    benchmark:
        "<benchmarks>/finetune/full/{variant}/s{seed}.tsv"
    wildcard_constraints:
        variant=r"mix[0-9.e-]+",
    threads: 1
    resources:
        mem_mb=growing(models.memory(copies=3)),
        runtime=growing(60),
    params:
        tuned=subpath(input.full, parent=True),
        folder=subpath(output[0], parent=True),
        share=models.mix_share,
        code=plan.code("finetune.mix"),
    shell:
        """
        python -m lander.finetune.mix \
            --model {params.tuned:q} \
            --share {params.share} \
            --out {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """
