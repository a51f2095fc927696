# Stage translate: the test sets are decoded, a model is loaded once for all its directions (paper 4.3).


rule translate:
    """Decode all test sets with one model: trained, or the base with the fixed instruction or with examples."""
    input:
        model=models.decoded,
        base=models.model_files,
        test=expand("<results>/data/test/{item}.parquet", item=plan.test_items),
        examples=models.example_files,
        templates=texts.templates,
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
        variant=r"(?!best-prompt)[A-Za-z0-9._-]+",
    threads: settings.threads
    resources:
        mem_mb=growing(models.memory(copies=2)),
        runtime=growing(480),
        gpu=plan.gpu,
    params:
        flags=models.translate_flags,
        test=plan.test_flags,
        names=[],
        folder=subpath(output.run, parent=True),
        code=plan.code("translate"),
    shell:
        """
        python -m lander.translate \
            {params.flags:q} \
            --templates {input.templates:q} \
            --test {params.test:q} \
            {params.names:q} \
            --out-dir {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """


if plan.untrained_items:

    use rule translate as translate_untrained with:
        input:
            model=models.decoded,
            base=models.model_files,
            test=expand("<results>/data/test/{item}.parquet", item=plan.untrained_items),
            examples=[],
            templates=texts.templates,
        output:
            expand(
                "<results>/translate/{{method}}/{{variant}}/s{{seed}}/{item}.jsonl",
                item=plan.untrained_items,
            ),
            run="<results>/translate/{method}/{variant}/s{seed}/untrained.json",
        log:
            "<logs>/translate/{method}/{variant}/s{seed}.untrained.log",
        benchmark:
            "<benchmarks>/translate/{method}/{variant}/s{seed}.untrained.tsv"
        params:
            flags=models.translate_flags,
            test=plan.untrained_flags,
            names=["--record", "untrained.json"],
            folder=subpath(output.run, parent=True),
            code=plan.code("translate"),


rule best_prompt:
    """Decode all test sets with the base and, per direction, the prompt that does best on the dev set."""
    input:
        base=models.model_files,
        dev=expand("<results>/data/dev/{direction}.parquet", direction=plan.directions),
        test=expand("<results>/data/test/{item}.parquet", item=plan.test_items),
        templates=texts.templates,
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
        mem_mb=growing(models.memory(copies=2)),
        runtime=growing(480),
        gpu=plan.gpu,
    params:
        flags=models.best_prompt_flags,
        dev=plan.dev_flags(plan.directions),
        test=plan.test_flags,
        names=[],
        folder=subpath(output.run, parent=True),
        code=plan.code("translate"),
    shell:
        """
        python -m lander.translate \
            {params.flags:q} \
            --templates {input.templates:q} \
            --dev {params.dev:q} \
            --test {params.test:q} \
            {params.names:q} \
            --out-dir {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """


if plan.untrained_items:

    use rule best_prompt as best_prompt_untrained with:
        input:
            base=models.model_files,
            dev=expand(
                "<results>/data/dev/{direction}.parquet",
                direction=experiments.prompt_dev(plan.untrained_items),
            ),
            test=expand("<results>/data/test/{item}.parquet", item=plan.untrained_items),
            templates=texts.templates,
        output:
            expand(
                "<results>/translate/zero-shot/best-prompt/s{{seed}}/{item}.jsonl",
                item=plan.untrained_items,
            ),
            prompts="<results>/translate/zero-shot/best-prompt/s{seed}/prompts-untrained.csv",
            run="<results>/translate/zero-shot/best-prompt/s{seed}/untrained.json",
        log:
            "<logs>/translate/zero-shot/best-prompt/s{seed}.untrained.log",
        benchmark:
            "<benchmarks>/translate/zero-shot/best-prompt/s{seed}.untrained.tsv"
        params:
            flags=models.best_prompt_flags,
            dev=plan.dev_flags(experiments.prompt_dev(plan.untrained_items)),
            test=plan.untrained_flags,
            names=["--record", "untrained.json", "--prompts", "prompts-untrained.csv"],
            folder=subpath(output.run, parent=True),
            code=plan.code("translate"),
