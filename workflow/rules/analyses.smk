# Analyses of layers and neurons: figures 4-8 and 12-13, the paper's claims, and estimators against each other.


rule clusters:
    """Sentences of all languages on the general and on the specific neurons of the chosen layers (figures 12-13)."""
    input:
        model=models.model_files,
        text=expand("<results>/data/kept/{language}.parquet", language=settings.languages),
        neurons=plan.main_table("neurons"),
    output:
        multiext("<results>/experiments/clusters", ".csv", ".json", ".md"),
        report(
            "<results>/experiments/clusters.svg",
            caption="../report/clusters.rst",
            category="Layers and neurons",
            labels={"figure": "clusters"},
        ),
        "<results>/experiments/clusters_points.csv",
    log:
        "<logs>/experiments/clusters.log",
    benchmark:
        "<benchmarks>/experiments/clusters.tsv"
    threads: settings.threads
    resources:
        mem_mb=growing(models.memory(copies=1)),
        runtime=growing(60),
        gpu=plan.gpu,
    params:
        folder=subpath(output[0], parent=True),
        flags=models.plain_flags,
        languages=list(settings.languages),
        code=plan.code("experiments.clusters"),
    shell:
        """
        python -m lander.experiments.clusters \
            {params.flags:q} \
            --text {input.text:q} \
            --languages {params.languages:q} \
            --neurons {input.neurons:q} \
            --out {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """


rule claims:
    """Each claim that the paper makes in prose, as a statistic with a verdict."""
    input:
        layers=plan.main_table("layers"),
        neurons=plan.main_table("neurons"),
        activations=expand(
            "<results>/activations/s{seed}/{direction}.parquet",
            seed=settings.seeds[0],
            direction=plan.directions,
        ),
        awareness=expand(
            "<results>/awareness/s{seed}/{language}.parquet",
            seed=settings.seeds[0],
            language=settings.awareness.languages,
        ),
        transfer="<results>/experiments/transfer.csv",
        sweep_k="<results>/experiments/sweep_k.csv",
        sweep_epsilon="<results>/experiments/sweep_epsilon.csv",
        clusters="<results>/experiments/clusters.csv",
        scores=experiments.scores("table1", "table2"),
    output:
        multiext("<results>/experiments/claims", ".csv", ".json", ".md"),
    log:
        "<logs>/experiments/claims.log",
    benchmark:
        "<benchmarks>/experiments/claims.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        folder=subpath(output[0], parent=True),
        directions=plan.directions,
        languages=settings.awareness.languages,
        draws=experiments.draws,
        code=plan.code("experiments.claims"),
    shell:
        """
        python -m lander.experiments.claims \
            --layers {input.layers:q} \
            --neurons {input.neurons:q} \
            --activations {input.activations:q} \
            --directions {params.directions:q} \
            --awareness {input.awareness:q} \
            --languages {params.languages:q} \
            --transfer {input.transfer:q} \
            --sweep-k {input.sweep_k:q} \
            --sweep-epsilon {input.sweep_epsilon:q} \
            --clusters {input.clusters:q} \
            --scores {input.scores:q} \
            --draws {params.draws:q} \
            --out {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """


rule figures_layers:
    """Mean activation and its change, per layer and direction (figures 4-5)."""
    input:
        plan.main_table("layers"),
    output:
        "<results>/experiments/activation.csv",
        report(
            "<results>/experiments/activation.svg",
            caption="../report/activation.rst",
            category="Layers and neurons",
            labels={"figure": "activation"},
        ),
        "<results>/experiments/delta.csv",
        report(
            "<results>/experiments/delta.svg",
            caption="../report/delta.rst",
            category="Layers and neurons",
            labels={"figure": "delta"},
        ),
        "<results>/experiments/layers.md",
    log:
        "<logs>/experiments/figures_layers.log",
    benchmark:
        "<benchmarks>/experiments/figures_layers.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        folder=subpath(output[0], parent=True),
        code=plan.code("experiments.figures"),
    shell:
        """
        python -m lander.experiments.figures layers \
            --layers {input:q} \
            --out {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """


rule figures_awareness:
    """Awareness per layer and language, of all, of general and of specific neurons (figures 6-8)."""
    input:
        layers=plan.main_table("layers"),
        neurons=plan.main_table("neurons"),
        awareness=expand(
            "<results>/awareness/s{seed}/{language}.parquet",
            seed=settings.seeds[0],
            language=settings.awareness.languages,
        ),
    output:
        multiext("<results>/experiments/awareness", ".csv", ".md"),
        report(
            "<results>/experiments/awareness.svg",
            caption="../report/awareness.rst",
            category="Layers and neurons",
            labels={"figure": "awareness"},
        ),
        "<results>/experiments/awareness-general.csv",
        report(
            "<results>/experiments/awareness-general.svg",
            caption="../report/awareness-general.rst",
            category="Layers and neurons",
            labels={"figure": "awareness-general"},
        ),
        "<results>/experiments/awareness-specific.csv",
        report(
            "<results>/experiments/awareness-specific.svg",
            caption="../report/awareness-specific.rst",
            category="Layers and neurons",
            labels={"figure": "awareness-specific"},
        ),
        "<results>/experiments/owners.csv",
        report(
            "<results>/experiments/owners.svg",
            caption="../report/owners.rst",
            category="Layers and neurons",
            labels={"figure": "owners"},
        ),
    log:
        "<logs>/experiments/figures_awareness.log",
    benchmark:
        "<benchmarks>/experiments/figures_awareness.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        folder=subpath(output[0], parent=True),
        languages=settings.awareness.languages,
        code=plan.code("experiments.figures"),
    shell:
        """
        python -m lander.experiments.figures awareness \
            --layers {input.layers:q} \
            --neurons {input.neurons:q} \
            --awareness {input.awareness:q} \
            --awareness-languages {params.languages:q} \
            --out {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """


rule agreement:
    """Estimators of neuron awareness against each other, against halves of the text and against fewer sentences."""
    input:
        experiments.estimator_tables,
    output:
        multiext("<results>/experiments/agreement", ".csv", ".json", ".md"),
        (
            report(
                "<results>/experiments/agreement.svg",
                caption="../report/agreement.rst",
                category="Layers and neurons",
                labels={"figure": "agreement"},
            )
            if set(settings.experiments.estimators) - {"random"}
            else []
        ),
    log:
        "<logs>/experiments/agreement.log",
    benchmark:
        "<benchmarks>/experiments/agreement.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        folder=subpath(output[0], parent=True),
        languages=settings.awareness.languages,
        tables=experiments.estimator_flags,
        flags=models.class_flags,
        code=plan.code("experiments.agreement"),
    shell:
        """
        python -m lander.experiments.agreement \
            --languages {params.languages:q} \
            {params.tables:q} \
            {params.flags:q} \
            --out {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """
