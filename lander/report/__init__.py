"""The report: one HTML page that opens from disk, with the tables and figures of a run.

Paper: tables 1-2 and figures 4-8 (sections 4.4 and 5).

Reads (all but the scores are optional; what is not given is left out):
    scores.csv of `lander.evaluate`, the tables "layers", "neurons", "awareness" and "counts",
    loss.csv (update, direction, loss, tokens, learning_rate) and run.json of `lander.finetune`, the config
Writes:
    <out>/index.html   self-contained: no network, no script, no other file
    <out>/<figure>.svg and <out>/<figure>.csv   every figure, and the numbers that it shows

Example:
    python -m lander.report --run demo --scores results/demo/evaluate/scores.csv \\
        --layers results/demo/layers/main/s0/layers.parquet --neurons results/demo/neurons/main/s0/neurons.parquet \\
        --awareness results/demo/awareness/s0/{de,en}.parquet --awareness-languages de en \\
        --loss lora/main/s0=results/demo/finetune/lora/main/s0/loss.csv --out results/demo/report
"""
