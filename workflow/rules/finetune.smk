# Stage finetune: every method is trained on the same pairs (paper 3.3, eq. 7-9).


rule finetune:
    """Train one method on all directions; a killed run goes on from its checkpoint."""
    input:
        model=plan.model_files,
        train=expand(
            "<results>/data/s{{seed}}/train/{direction}.parquet",
            direction=plan.directions,
        ),
        templates=plan.templates,
        masks=plan.mask_files,
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
    priority: 2
    threads: settings.threads * settings.finetune.ranks
    resources:
        mem_mb=plan.model_memory(copies=8),
        runtime=1440,
        gpu=plan.gpu * settings.finetune.ranks,
    params:
        folder=subpath(output[0], parent=True),
        checkpoints=f"{plan.results}/checkpoints/{{method}}/{{variant}}/s{{seed}}",
        method="{method}",
        seed="{seed}",
        model=plan.model,
        revision=plan.revision,
        dtype=settings.model.dtype,
        directions=plan.directions,
        languages=plan.prompt_names,
        length=plan.training_length,
        batch_size=settings.finetune.batch_size,
        accumulate=settings.finetune.accumulate,
        learning_rate=plan.learning_rate,
        schedule=settings.finetune.schedule,
        warmup=settings.finetune.warmup,
        weight_decay=settings.finetune.weight_decay,
        clip=settings.finetune.clip,
        max_length=settings.finetune.max_length,
        precision=settings.finetune.precision,
        method_flags=plan.method_flags,
        launcher=plan.launcher,
        machine_flags=plan.machine_flags,
        threads=settings.threads,
        code=plan.code("finetune"),
    shell:
        """
        {params.launcher} -m lander.finetune \
            --method {params.method} \
            --model {params.model:q} \
            {params.revision:q} \
            --dtype {params.dtype} \
            --train {input.train:q} \
            --directions {params.directions:q} \
            --languages {params.languages:q} \
            --templates {input.templates:q} \
            --seed {params.seed} \
            {params.length:q} \
            --batch-size {params.batch_size} \
            --accumulate {params.accumulate} \
            --learning-rate {params.learning_rate} \
            --schedule {params.schedule} \
            --warmup {params.warmup} \
            --weight-decay {params.weight_decay} \
            --clip {params.clip} \
            --max-length {params.max_length} \
            --precision {params.precision} \
            {params.method_flags:q} \
            --threads {params.threads} \
            {params.machine_flags:q} \
            --checkpoints {params.checkpoints:q} \
            --out {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """
