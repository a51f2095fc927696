# Target prefetch: what the config needs from the network, fetched on a login node for compute nodes without one.
# HF_HUB_OFFLINE is set for the jobs of a run that needs no hub; COMET's encoder may be wanted all the same.


localrules:
    prefetch,


rule prefetch:
    """Fetch the models and the data of the config into the caches, and COMET, for runs without a network."""
    log:
        "<logs>/prefetch.log",
    threads: 1
    resources:
        mem_mb=2000,
        runtime=1440,
    params:
        effective=as_it_is(json.dumps(effective(settings), ensure_ascii=False)),
    shell:
        "env -u HF_HUB_OFFLINE python -m lander.workflow.prefetch --effective {params.effective:q} 2>&1 | tee {log:q} >&2"
