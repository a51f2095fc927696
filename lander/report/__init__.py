"""The report: one HTML page that opens from disk, with the tables, figures and translations of a run.

Paper: tables 1-2 and figures 4-8 (sections 4.4 and 5).

Reads (all but the scores are optional; what is not given is left out):
    scores.csv of `lander.evaluate`, its table of intervals and paired tests, its <test>/<direction>.flags.csv
    the translations of `lander.translate.test_sets`, <test>/<direction>.jsonl
    <name>.json, .csv and .svg of `lander.experiments`
    the tables "layers", "neurons", "awareness", "counts" and "train", <pair>.dropped.jsonl of `lander.data`
    loss.csv (update, direction, loss, tokens, learning_rate) and run.json of `lander.finetune`
    the config, the ledger of code digests, Snakemake's benchmarks, and the logs beside them (which jobs were copied)
Writes:
    <out>/index.html   self-contained, below 5 MB: no network, no other file; readable without its script, which sorts
                       tables and searches translations
    <out>/<figure>.svg and <out>/<figure>.csv   every figure, and the numbers that it shows
    <out>/experiments/<name>.svg and .csv       those of the experiments

Example:
    python -m lander.report --run demo --scores results/demo/evaluate/scores.csv \\
        --layers results/demo/layers/main/s0/layers.parquet --neurons results/demo/neurons/main/s0/neurons.parquet \\
        --awareness results/demo/awareness/s0/{de,en}.parquet --awareness-languages de en \\
        --loss lora/main/s0=results/demo/finetune/lora/main/s0/loss.csv --experiments results/demo/experiments \\
        --significance results/demo/evaluate/significance.csv \\
        --translations lora/main/s0=results/demo/translate/lora/main/s0 \\
        --flags lora/main/s0=results/demo/evaluate/lora/main/s0 --out results/demo/report
"""
