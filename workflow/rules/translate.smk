# Stage translate: the test sets are decoded, a model is loaded once for all its directions (paper 4.3).


rule translate:
    """Decode all test sets with one trained model."""
    input:
        model="<results>/finetune/{method}/{variant}/s{seed}/lander.json",
        base=plan.model_files,
        test=expand("<results>/data/test/{item}.parquet", item=plan.test_items),
        templates=plan.templates,
    output:
        expand(
            "<results>/translate/{{method}}/{{variant}}/s{{seed}}/{item}.jsonl",
            item=plan.test_items,
        ),
        run="<results>/translate/{method}/{variant}/s{seed}/run.json",
    log:
        "<logs>/translate/{method}/{variant}/s{seed}.log",
    benchmark:
        "<benchmarks>/translate/{method}/{variant}/s{seed}.tsv"
    wildcard_constraints:
        method="(?!zero-shot)[a-z-]+",
    threads: settings.threads
    resources:
        mem_mb=plan.model_memory(copies=2),
        runtime=480,
        gpu=plan.gpu,
    params:
        model=subpath(input.model, parent=True),
        folder=subpath(output.run, parent=True),
        dtype=settings.model.dtype,
        languages=plan.prompt_names,
        template=settings.translate.template,
        test=plan.test_flags,
        beams=settings.translate.beams,
        max_new_tokens=settings.translate.max_new_tokens,
        batch_size=settings.translate.batch_size,
        threads=settings.threads,
        code=plan.code("translate"),
    shell:
        """
        python -m lander.translate \
            --model {params.model:q} \
            --dtype {params.dtype} \
            --languages {params.languages:q} \
            --templates {input.templates:q} \
            --template {params.template:q} \
            --test {params.test:q} \
            --beams {params.beams} \
            --max-new-tokens {params.max_new_tokens} \
            --batch-size {params.batch_size} \
            --threads {params.threads} \
            --out-dir {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """


rule zero_shot:
    """Decode all test sets with the base and the fixed instruction."""
    input:
        base=plan.model_files,
        test=expand("<results>/data/test/{item}.parquet", item=plan.test_items),
        templates=plan.templates,
    output:
        expand(
            "<results>/translate/zero-shot/main/s{{seed}}/{item}.jsonl",
            item=plan.test_items,
        ),
        run="<results>/translate/zero-shot/main/s{seed}/run.json",
    log:
        "<logs>/translate/zero-shot/main/s{seed}.log",
    benchmark:
        "<benchmarks>/translate/zero-shot/main/s{seed}.tsv"
    threads: settings.threads
    resources:
        mem_mb=plan.model_memory(copies=2),
        runtime=480,
        gpu=plan.gpu,
    params:
        folder=subpath(output.run, parent=True),
        model=plan.model,
        revision=plan.revision,
        dtype=settings.model.dtype,
        languages=plan.prompt_names,
        template=settings.translate.template,
        test=plan.test_flags,
        beams=settings.translate.beams,
        max_new_tokens=settings.translate.max_new_tokens,
        batch_size=settings.translate.batch_size,
        threads=settings.threads,
        code=plan.code("translate"),
    shell:
        """
        python -m lander.translate \
            --model {params.model:q} \
            {params.revision:q} \
            --dtype {params.dtype} \
            --languages {params.languages:q} \
            --templates {input.templates:q} \
            --template {params.template:q} \
            --test {params.test:q} \
            --beams {params.beams} \
            --max-new-tokens {params.max_new_tokens} \
            --batch-size {params.batch_size} \
            --threads {params.threads} \
            --out-dir {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """


rule best_prompt:
    """Decode all test sets with the base and, per direction, the prompt that does best on the dev set."""
    input:
        base=plan.model_files,
        dev=expand("<results>/data/dev/{direction}.parquet", direction=plan.directions),
        test=expand("<results>/data/test/{item}.parquet", item=plan.test_items),
        templates=plan.templates,
    output:
        expand(
            "<results>/translate/zero-shot/best-prompt/s{{seed}}/{item}.jsonl",
            item=plan.test_items,
        ),
        prompts="<results>/translate/zero-shot/best-prompt/s{seed}/prompts.csv",
        run="<results>/translate/zero-shot/best-prompt/s{seed}/run.json",
    log:
        "<logs>/translate/zero-shot/best-prompt/s{seed}.log",
    benchmark:
        "<benchmarks>/translate/zero-shot/best-prompt/s{seed}.tsv"
    threads: settings.threads
    resources:
        mem_mb=plan.model_memory(copies=2),
        runtime=480,
        gpu=plan.gpu,
    params:
        folder=subpath(output.run, parent=True),
        model=plan.model,
        revision=plan.revision,
        dtype=settings.model.dtype,
        languages=plan.prompt_names,
        template=settings.translate.template,
        dev=plan.dev_flags,
        dev_sentences=settings.translate.dev_sentences,
        test=plan.test_flags,
        beams=settings.translate.beams,
        max_new_tokens=settings.translate.max_new_tokens,
        batch_size=settings.translate.batch_size,
        threads=settings.threads,
        code=plan.code("translate"),
    shell:
        """
        python -m lander.translate \
            --model {params.model:q} \
            {params.revision:q} \
            --dtype {params.dtype} \
            --languages {params.languages:q} \
            --templates {input.templates:q} \
            --template {params.template:q} \
            --choose-prompt \
            --dev {params.dev:q} \
            --dev-sentences {params.dev_sentences} \
            --test {params.test:q} \
            --beams {params.beams} \
            --max-new-tokens {params.max_new_tokens} \
            --batch-size {params.batch_size} \
            --threads {params.threads} \
            --out-dir {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """
