"""Several runs side by side: differences of their configs, scores and costs, and how sure the differences are.

Scores are compared on what all runs have: test sets, directions and, sentence by sentence, the same sources and
references. Means are computed again over those directions, so that a run with more directions has no advantage. A
method is compared with itself in the first run that has it.

Reads of each run (only the scores are required; the page names what is missing):
    evaluate/scores.csv, evaluate/<method>/<variant>/s<seed>/<test>/<direction>.segments.parquet
    translate/<method>/<variant>/s<seed>/<test>/<direction>.jsonl, for the sentences
    finetune/<method>/<variant>/s<seed>/run.json, benchmarks/, config.yaml, .code.json
Writes:
    one self-contained HTML page that looks like `lander.report`; the most important tables also go to the terminal

Example:
    lander compare results/demo results/deeper --out deeper.html
"""
