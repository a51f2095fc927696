# Stage pretrain: a small base from scratch, for `model.path: pretrain` and to rebuild the built-in base.


rule pretrain:
    """Train a small BLOOM with its own tokenizer; a killed run goes on from its checkpoint."""
    input:
        texts.pretraining_files,
    output:
        expand("<results>/pretrain/{name}", name=[*models.PRETRAINED_FILES, "loss.csv"]),
    log:
        "<logs>/pretrain.log",
    benchmark:
        "<benchmarks>/pretrain.tsv"
    threads: settings.threads
    resources:
        mem_mb=4000,
        runtime=1440,
        gpu=plan.gpu,
    params:
        folder=subpath(output[0], parent=True),
        checkpoints=f"{plan.results}/checkpoints/pretrain",
        sources=sources_json(settings.pretrain.text),
        parallel=sources_json(settings.pretrain.parallel),
        languages=models.all_names,
        tokens=settings.pretrain.tokens,
        d_model=settings.pretrain.d_model,
        n_layer=settings.pretrain.n_layer,
        n_head=settings.pretrain.n_head,
        vocabulary=settings.pretrain.vocabulary,
        context=settings.pretrain.context,
        bilingual=settings.pretrain.bilingual,
        batch_tokens=settings.pretrain.batch_tokens,
        learning_rate=settings.pretrain.learning_rate,
        seed=settings.pretrain.seed,
        threads=settings.threads,
        code=plan.code("models.pretrain"),
    shell:
        """
        python -m lander.models.pretrain \
            --sources {params.sources:q} \
            --parallel {params.parallel:q} \
            --languages {params.languages:q} \
            --tokens {params.tokens} \
            --d-model {params.d_model} \
            --n-layer {params.n_layer} \
            --n-head {params.n_head} \
            --vocabulary {params.vocabulary} \
            --context {params.context} \
            --bilingual {params.bilingual} \
            --batch-tokens {params.batch_tokens} \
            --learning-rate {params.learning_rate} \
            --seed {params.seed} \
            --threads {params.threads} \
            --checkpoints {params.checkpoints:q} \
            --out {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """
