"""Scores of the translations: sacreBLEU with signatures, what went wrong in the outputs, and what training had seen.

Paper: section 4.3 (BLEU by sacreBLEU). Every score carries the signature that makes it comparable.

Reads:
    <translations>/<test>/<direction>.jsonl   one JSON object a line: source, reference, raw, hypothesis
    <train>/<direction>.parquet               table "train": to tell which test items training has seen
Writes:
    score:   <out-dir>/<test>/<direction>.csv        columns `method,variant,seed,test,direction,metric,score,signature`
             <out-dir>/<test>/<direction>.flags.csv  the lines (from 0) that are empty, copied or contaminated
    collect: scores.csv                              all of them, and their means over directions

Example:
    python -m lander.evaluate score --translations results/demo/translate/lora/main/s0 --tests '["cldr"]' \\
        --directions en-de de-en --train results/demo/data/s0/train/*.parquet \\
        --method lora --variant main --seed 0 --out-dir results/demo/evaluate/lora/main/s0
    python -m lander.evaluate collect --scores results/demo/evaluate/*/*/*/*/*.csv \\
        --out results/demo/evaluate/scores.csv

Metrics: see `lander.evaluate.metrics`.
"""
