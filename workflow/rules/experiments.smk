# Experiments: tables and figures of the paper and ours. Each is a target, and trains what it compares.

from lander.workflow.experiments import ABOUT

for name in ABOUT:

    rule:
        """Compare the models of an experiment: tables, numbers, a figure."""
        name:
            f"experiment_{name}"
        input:
            experiments.refused(name),
            scores=experiments.scores(name),
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
            scores=experiments.folders(name),
            tested=experiments.tested(name),
            directions=plan.directions,
            languages=list(settings.languages),
            title=plan.title,
            flags=experiments.flags(name),
            code=plan.code("experiments"),
        shell:
            """
            python -m lander.experiments {params.name} \
                --scores {params.scores:q} \
                --items {params.tested:q} \
                --directions {params.directions:q} \
                --languages {params.languages:q} \
                --title {params.title:q} \
                {params.flags:q} \
                --out {params.folder:q} \
                2>&1 | tee {log:q} >&2
            """

    rule:
        name:
            name
        input:
            plan.target(name, workflow),

    workflow.get_rule(name).docstring = ABOUT[name]
