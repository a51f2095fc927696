"""Scores of the translations: sacreBLEU with signatures, what went wrong in the outputs, and how surely methods differ.

Paper: section 4.3 (BLEU by sacreBLEU). Every score carries the signature that makes it comparable.

Reads:
    <translations>/<test>/<direction>.jsonl   one JSON object a line: source, reference, raw, hypothesis
                                              (cut, loss, other_references)
    <train>/<direction>.parquet               table "train": to tell which test items training has seen
Writes:
    score:   <out-dir>/<test>/<direction>.csv        columns `method,variant,seed,test,direction,metric,score,signature`
             <out-dir>/<test>/<direction>.flags.csv  `line,flag,detail`: the lines (from 0) that are empty, copied, cut,
                                                     off-target (detail: the language), contaminated ...
             <out-dir>/<test>/<direction>.segments.parquet   table "segments": scores and statistics of each sentence
    collect: scores.csv, scores.parquet   all scores, and their means over directions
    seen:    seen.json                    test texts that occur in training, looked up once for all models
    significance: significance.csv        intervals, and paired tests of every method against each baseline
    neural:  <direction>.<metric>.csv and .segments.parquet of COMET or another metric of another environment

Example:
    python -m lander.evaluate score --translations results/demo/translate/lora/main/s0 --tests '["cldr"]' \\
        --directions en-de de-en --train results/demo/data/s0/train/*.parquet \\
        --method lora --variant main --seed 0 --out-dir results/demo/evaluate/lora/main/s0
    python -m lander.evaluate collect --scores results/demo/evaluate/*/*/*/*/*.csv \\
        --out results/demo/evaluate/scores.csv --parquet results/demo/evaluate/scores.parquet
    python -m lander.evaluate significance --segments results/demo/evaluate/*/*/*/*/*.segments.parquet \\
        --baselines zero-shot/best-prompt full lora --out results/demo/evaluate/significance.csv

Metrics: `lander.evaluate.metrics`; tests: `lander.evaluate.significance`; COMET: `lander.evaluate.neural`.
"""
