# Experiments: tables and figures of the paper and ours. Each is a target, and trains what it compares.


for name in experiments.compared:

    rule:
        """Compare the models of an experiment: tables, numbers, a figure."""
        name:
            f"experiment_{name}"
        input:
            experiments.refused(name),
            scores=experiments.scores(name, plan.test_items, plan.untrained_items),
            loss=experiments.losses(name),
            runs=list(experiments.runs(name).values()),
        output:
            table=f"<results>/experiments/{name}.csv",
            document=f"<results>/experiments/{name}.json",
            text=f"<results>/experiments/{name}.md",
            figure=report(
                f"<results>/experiments/{name}.svg",
                caption=f"../report/{name}.rst",
                category="Experiments",
                labels={"figure": name},
            ),
        log:
            f"<logs>/experiments/{name}.log",
        benchmark:
            f"<benchmarks>/experiments/{name}.tsv"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=30,
        params:
            name=name,
            folder=subpath(output.table, parent=True),
            scores=experiments.folders(name, plan.results),
            tested=plan.test_items + (plan.untrained_items if name == "forgetting" else []),
            directions=plan.directions,
            languages=list(settings.languages),
            title=plan.title,
            loss=experiments.loss_flags(name, plan.results),
            flags=experiments.flags(name, plan.results),
            code=plan.code("experiments"),
        shell:
            """
            python -m lander.experiments {params.name} \
                --scores {params.scores:q} \
                --items {params.tested:q} \
                --directions {params.directions:q} \
                --languages {params.languages:q} \
                --title {params.title:q} \
                {params.loss:q} \
                {params.flags:q} \
                --out {params.folder:q} \
                2>&1 | tee {log:q} >&2
            """

    rule:
        name:
            name
        input:
            f"<results>/experiments/{name}.csv",

    workflow.get_rule(name).docstring = experiments.about(name)
