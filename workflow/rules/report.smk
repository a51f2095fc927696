# Stage report: one page of tables and figures that can be read offline (paper 5, A.3-A.5). `snakemake --report FILE.html`
# shows the same figures, and those of the experiments among its targets, with the captions of workflow/report/.


report: "../report/run.rst"


# Figures by category. Snakemake must know them before the run, so a figure with nothing to show is written empty.
REPORTED = {"Scores": ["gain", "scores"], "Cost": ["stages"]}
if plan.detects:
    awareness = ["awareness", "awareness-general", "awareness-specific"]
    REPORTED["Layers and neurons"] = ["activation", "delta", *awareness, "owners"]
    REPORTED["Layers and neurons"] += ["overlap", "estimators-agreement"]
if plan.trained:
    REPORTED |= {"Training": ["loss"], "Data": ["lengths"]}


rule effective_config:
    """The config with every default filled in, for the reader of the results."""
    output:
        "<results>/config.yaml",
    log:
        "<logs>/config.log",
    benchmark:
        "<benchmarks>/config.tsv"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        config=as_it_is(json.dumps(effective(settings), ensure_ascii=False)),
    shell:
        "python -m lander.config --effective {params.config:q} --out {output:q} 2>&1 | tee {log:q} >&2"


rule report:
    """Tables and figures of the run as one self-contained page."""
    input:
        unpack(plan.report_files),
        scores="<results>/evaluate/scores.csv",
        config="<results>/config.yaml",
    output:
        "<results>/report/index.html",
        [
            report(
                f"<results>/report/{name}.svg",
                caption=f"../report/{name}.rst",
                category=category,
                labels={"figure": name},
            )
            for category, names in REPORTED.items()
            for name in names
        ],
        expand("<results>/report/{name}.csv", name=sum(REPORTED.values(), [])),
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        run=settings.run,
        flags=plan.report_flags,
        folder=subpath(output[0], parent=True),
        figures=sum(REPORTED.values(), []),
        experiments=plan.experiments_digest,
        code=plan.code("report"),
    shell:
        """
        python -m lander.report \
            --run {params.run:q} \
            --scores {input.scores:q} \
            {params.flags:q} \
            --config {input.config:q} \
            --figures {params.figures:q} \
            --out {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """
