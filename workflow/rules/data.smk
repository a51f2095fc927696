# Stage data: parallel text is read, cleaned, split, sampled and given its instructions (paper 4.1).


rule clean:
    """Clean the training pairs of two languages, count what is dropped and why."""
    input:
        texts.files,
        texts.excluded_files,
    output:
        table="<results>/data/clean/{pair}.parquet",
        counts="<results>/data/clean/{pair}.counts.parquet",
        dropped="<results>/data/clean/{pair}.dropped.jsonl",
    log:
        "<logs>/data/clean/{pair}.log",
    benchmark:
        "<benchmarks>/data/clean/{pair}.tsv"
    priority: 3
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(240),
    params:
        files=made_of,
        copied=f"{plan.results}/.copied/data/clean/{{pair}}.json",
        pair="{pair}",
        sources=texts.sources,
        exclude=as_it_is(sources_json(settings.data.exclude)),
        cleaning=texts.cleaning,
        code=plan.code("data"),
    shell:
        """
        python -m lander.workflow.reuse --files {params.files:q} --copied {params.copied:q} \
            lander.data clean \
            --pair {params.pair:q} \
            --sources {params.sources:q} \
            --exclude {params.exclude:q} \
            --cleaning {params.cleaning:q} \
            --out {output.table:q} \
            --counts {output.counts:q} \
            --dropped {output.dropped:q} \
            2>&1 | tee {log:q} >&2
        """


rule sample:
    """Draw the training pairs of a direction and give each an instruction template."""
    input:
        unpack(texts.cleaned),
        templates=texts.templates,
    output:
        table="<results>/data/s{seed}/train/{direction}.parquet",
        counts="<results>/data/s{seed}/train/{direction}.counts.parquet",
    log:
        "<logs>/data/s{seed}/train/{direction}.log",
    benchmark:
        "<benchmarks>/data/s{seed}/train/{direction}.tsv"
    priority: 3
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        files=made_of,
        copied=f"{plan.results}/.copied/data/s{{seed}}/train/{{direction}}.json",
        direction="{direction}",
        seed="{seed}",
        origins=texts.origins,
        max_pairs=settings.data.max_pairs,
        cleaning=texts.cleaning,
        code=plan.code("data"),
    shell:
        """
        python -m lander.workflow.reuse --files {params.files:q} --copied {params.copied:q} \
            lander.data sample \
            --direction {params.direction:q} \
            --clean {input.table:q} \
            --counts {input.counts:q} \
            --origins {params.origins:q} \
            --max-pairs {params.max_pairs} \
            --seed {params.seed} \
            --templates {input.templates:q} \
            --cleaning {params.cleaning:q} \
            --out {output.table:q} \
            --counts-out {output.counts:q} \
            2>&1 | tee {log:q} >&2
        """


rule counts:
    """Join what was read, dropped and kept of every direction into one table."""
    input:
        expand(
            "<results>/data/s{{seed}}/train/{direction}.counts.parquet",
            direction=plan.directions,
        ),
    output:
        table="<results>/data/s{seed}/counts.parquet",
        csv="<results>/data/s{seed}/counts.csv",
    log:
        "<logs>/data/s{seed}/counts.log",
    benchmark:
        "<benchmarks>/data/s{seed}/counts.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=plan.code("data"),
    shell:
        """
        python -m lander.data counts \
            --counts {input:q} \
            --out {output.table:q} \
            --csv {output.csv:q} \
            2>&1 | tee {log:q} >&2
        """


rule dev:
    """Dev pairs of a direction, every line, in order."""
    input:
        texts.files,
    output:
        "<results>/data/dev/{direction}.parquet",
    log:
        "<logs>/data/dev/{direction}.log",
    benchmark:
        "<benchmarks>/data/dev/{direction}.tsv"
    priority: 4
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        direction="{direction}",
        sources=texts.sources,
        code=plan.code("data"),
    shell:
        """
        python -m lander.data heldout \
            --direction {params.direction:q} \
            --sources {params.sources:q} \
            --out {output:q} \
            2>&1 | tee {log:q} >&2
        """


rule test:
    """Test pairs of a direction, every line, in order."""
    input:
        texts.files,
    output:
        "<results>/data/test/{test}/{direction}.parquet",
    log:
        "<logs>/data/test/{test}/{direction}.log",
    benchmark:
        "<benchmarks>/data/test/{test}/{direction}.tsv"
    priority: 4
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        direction="{direction}",
        sources=texts.sources,
        code=plan.code("data"),
    shell:
        """
        python -m lander.data heldout \
            --direction {params.direction:q} \
            --sources {params.sources:q} \
            --out {output:q} \
            2>&1 | tee {log:q} >&2
        """


rule kept:
    """Sentences of a language like those that the base was pretrained on, to measure what a model forgets."""
    input:
        texts.kept_files,
    output:
        "<results>/data/kept/{language}.parquet",
    log:
        "<logs>/data/kept/{language}.log",
    benchmark:
        "<benchmarks>/data/kept/{language}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        language="{language}",
        languages=json.dumps(list(settings.languages)),
        sources=as_it_is(sources_json(settings.experiments.text)),
        sentences=settings.awareness.sentences,
        code=plan.code("data"),
    shell:
        """
        python -m lander.data text \
            --language {params.language:q} \
            --languages {params.languages:q} \
            --sources {params.sources:q} \
            --sentences {params.sentences} \
            --out {output:q} \
            2>&1 | tee {log:q} >&2
        """


rule text:
    """Sentences of a language that score its neurons, the same segments in every language where a source has them."""
    input:
        texts.scoring_files,
    output:
        "<results>/data/s{seed}/text/{language}.parquet",
    log:
        "<logs>/data/s{seed}/text/{language}.log",
    benchmark:
        "<benchmarks>/data/s{seed}/text/{language}.tsv"
    priority: 3
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        files=made_of,
        copied=f"{plan.results}/.copied/data/s{{seed}}/text/{{language}}.json",
        language="{language}",
        seed="{seed}",
        languages=json.dumps(settings.awareness.languages),
        sources=as_it_is(sources_json(settings.awareness.data)),
        sentences=settings.awareness.sentences,
        code=plan.code("data"),
    shell:
        """
        python -m lander.workflow.reuse --files {params.files:q} --copied {params.copied:q} \
            lander.data text \
            --language {params.language:q} \
            --languages {params.languages:q} \
            --sources {params.sources:q} \
            --sentences {params.sentences} \
            --seed {params.seed} \
            --out {output:q} \
            2>&1 | tee {log:q} >&2
        """
