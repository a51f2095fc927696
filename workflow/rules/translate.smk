# Stage translate: the test sets are decoded, a model is loaded once for all its directions (paper 4.3). A rule for the
# directions of the run, and one for those that no model is trained on.


import re

for heldout in plan.heldout:

    rule:
        """Decode all test sets with one model: trained, or the base with the fixed instruction or with examples."""
        name:
            f"translate{heldout.after('_')}"
        input:
            model=models.decoded,
            base=models.model_files,
            test=heldout.tables,
            examples=models.example_files,
            templates=texts.templates,
        output:
            expand(
                "<results>/translate/{{method}}/{{variant}}/s{{seed}}/{item}.jsonl",
                item=heldout.items,
            ),
            run=f"<results>/translate/{{method}}/{{variant}}/s{{seed}}/{heldout.record}",
        log:
            f"<logs>/translate/{{method}}/{{variant}}/s{{seed}}{heldout.after('.')}.log",
        benchmark:
            f"<benchmarks>/translate/{{method}}/{{variant}}/s{{seed}}{heldout.after('.')}.tsv"
        wildcard_constraints:
            method=plan.own_method,
            variant=r"(?!best-prompt)[A-Za-z0-9._-]+",
        threads: settings.threads
        resources:
            mem_mb=growing(models.memory(copies=2)),
            runtime=growing(480),
            gpu=plan.gpu,
        params:
            flags=models.translate_flags,
            test=heldout.flags,
            record=heldout.record,
            folder=subpath(output.run, parent=True),
            code=plan.code("translate"),
        shell:
            """
            python -m lander.translate \
                {params.flags:q} \
                --templates {input.templates:q} \
                --test {params.test:q} \
                --record {params.record} \
                --out-dir {params.folder:q} \
                2>&1 | tee {log:q} >&2
            """

    rule:
        """Decode all test sets with the base and, per direction, the prompt that does best on the dev set."""
        name:
            f"best_prompt{heldout.after('_')}"
        input:
            base=models.model_files,
            dev=expand("<results>/data/dev/{direction}.parquet", direction=heldout.dev),
            test=heldout.tables,
            templates=texts.templates,
        output:
            expand(
                "<results>/translate/zero-shot/best-prompt/s{{seed}}/{item}.jsonl",
                item=heldout.items,
            ),
            prompts=f"<results>/translate/zero-shot/best-prompt/s{{seed}}/prompts{heldout.after('-')}.csv",
            run=f"<results>/translate/zero-shot/best-prompt/s{{seed}}/{heldout.record}",
        log:
            f"<logs>/translate/zero-shot/best-prompt/s{{seed}}{heldout.after('.')}.log",
        benchmark:
            f"<benchmarks>/translate/zero-shot/best-prompt/s{{seed}}{heldout.after('.')}.tsv"
        threads: settings.threads
        resources:
            mem_mb=growing(models.memory(copies=2)),
            runtime=growing(480),
            gpu=plan.gpu,
        params:
            flags=as_it_is(models.best_prompt_flags),
            dev=dev_flags(heldout.dev),
            test=heldout.flags,
            record=heldout.record,
            prompts=f"prompts{heldout.after('-')}.csv",
            folder=subpath(output.run, parent=True),
            code=plan.code("translate"),
        shell:
            """
            python -m lander.translate \
                {params.flags:q} \
                --templates {input.templates:q} \
                --dev {params.dev:q} \
                --test {params.test:q} \
                --record {params.record} \
                --prompts {params.prompts} \
                --out-dir {params.folder:q} \
                2>&1 | tee {log:q} >&2
            """


rule external:
    """Read what another system has written for the test sets (the config's `external`)."""
    input:
        outputs=plan.external_files,
        test=plan.tested.tables,
    output:
        expand(
            "<results>/translate/{{method}}/main/s{{seed}}/{item}.jsonl",
            item=plan.tested.items,
        ),
    log:
        "<logs>/translate/{method}/main/s{seed}.external.log",
    benchmark:
        "<benchmarks>/translate/{method}/main/s{seed}.external.tsv"
    wildcard_constraints:
        method="|".join(map(re.escape, settings.external)) or "none",
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        test=plan.tested.flags,
        folder=subpath(output[0], ancestor=2),
        code=plan.code("translate.external"),
    shell:
        """
        python -m lander.translate.external \
            --test {params.test:q} \
            --outputs {input.outputs:q} \
            --out-dir {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """
