# Stage pretrain: a small base from scratch, for `model.path: pretrain` and to rebuild the built-in base.

from lander.workflow.models import PRETRAINED_FILES


rule pretrain:
    """Train a small BLOOM with its own tokenizer; a killed run goes on from its checkpoint."""
    input:
        texts.pretraining_files,
    output:
        expand("<results>/pretrain/{name}", name=[*PRETRAINED_FILES, "loss.csv"]),
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
        sources=as_it_is(sources_json(settings.pretrain.text)),
        parallel=as_it_is(sources_json(settings.pretrain.parallel)),
        flags=as_it_is(models.pretrain_flags),
        code=plan.code("models.pretrain"),
    shell:
        """
        python -m lander.models.pretrain \
            --sources {params.sources:q} \
            --parallel {params.parallel:q} \
            {params.flags:q} \
            --checkpoints {params.checkpoints:q} \
            --out {params.folder:q} \
            2>&1 | tee {log:q} >&2
        """
