"""The report: one HTML page that opens from disk, with the tables, figures and translations of a run.

Paper: tables 1-2 and figures 4-8 (sections 4.4 and 5).

Reads (only the scores are required; the page leaves out what is not given):
    scores.csv and significance.csv of `lander.evaluate`, and its <test>/<direction>.flags.csv
    the translations of `lander.translate`, <test>/<direction>.jsonl
    <name>.json, .csv and .svg of `lander.experiments`
    the tables "layers", "neurons", "awareness", "counts" and "train", <pair>.dropped.jsonl of `lander.data`
    loss.csv (update, direction, loss, tokens, learning_rate) and run.json of `lander.finetune`
    the config, the digests of the stages' code, Snakemake's benchmarks, and the records of copied jobs beside these
Writes:
    <out>/index.html   self-contained, below 5 MB: no network, no other file; it can be read without its script, which
                       sorts tables and searches translations
    <out>/<figure>.svg and <out>/<figure>.csv   every figure, and the numbers that it shows
    <out>/experiments/<name>.svg and .csv       those of the experiments

Each section of the page has a module, with its inputs, numbers, sentences and drawings together.

Example:
    python -m lander.report --run demo --scores results/demo/evaluate/scores.csv \\
        --layers results/demo/layers/main/s0/layers.parquet --neurons results/demo/neurons/main/s0/neurons.parquet \\
        --awareness results/demo/awareness/s0/{de,en}.parquet --awareness-languages de en \\
        --loss lora/main/s0=results/demo/finetune/lora/main/s0/loss.csv --experiments results/demo/experiments \\
        --significance results/demo/evaluate/significance.csv \\
        --translations lora/main/s0=results/demo/translate/lora/main/s0 \\
        --flags lora/main/s0=results/demo/evaluate/lora/main/s0 --out results/demo/report
"""
