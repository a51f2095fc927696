"""Several runs side by side: what differs in their configs, scores, how sure the differences are, and cost.

Scores are compared on what all runs have: test sets, directions and, sentence by sentence, the same sources and
references. Means are made anew over those directions, so a run of more directions stands on the same ground. A method
is compared with itself in the first run that has it.

Reads of each run (only the scores are needed; what a run does not have is left out, and said):
    evaluate/scores.csv, evaluate/<method>/<variant>/s<seed>/<test>/<direction>.segments.parquet
    translate/<method>/<variant>/s<seed>/<test>/<direction>.jsonl, for the sentences
    finetune/<method>/<variant>/s<seed>/run.json, benchmarks/, config.yaml, .code.json
Writes:
    one self-contained HTML page, in the look of `lander.report`; the tables that matter most go to the terminal

    runs.py      the runs, and what they have in common
    paired.py    paired tests between runs
    tables.py    the tables
    page.py      the page, from compare.html

Example:
    lander compare results/demo results/deeper --out deeper.html
"""
