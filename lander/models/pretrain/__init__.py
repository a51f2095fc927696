"""Train a small base model from scratch: a BLOOM with its own byte-level BPE, on the user's text.

Paper: none of it; the paper starts from BLOOM-7b1. This stage makes the built-in base `lander-tiny`, and a base for
people who want to see the method on their own text without a download (`model.path: pretrain`).

The model reads documents that end with `</s>`: single sentences, and (where `--parallel` gives translations) pairs of
sentences in the model's own prompt format. `--bilingual` is the share of pairs among the documents. A window of
`--context` tokens begins with a document, and the document that does not fit at its end is cut there. The budget is
in tokens. The learning rate warms up, stays, and cools down to zero over the last part (`--cooldown`), so a run that
is still hot can be given a larger or smaller budget and goes on from its checkpoint.

In:  sources of text (contract 2) as JSON: `--sources` for single sentences, `--parallel` for pairs.
Out: `--out`/: a plain Hugging Face folder (config.json, model.safetensors, tokenizer files), loss.csv, and last
     lander.json (format, prompt, recipe). `--checkpoints` keeps what a killed run goes on from, until the end.

    python -m lander.models.pretrain --languages '{"en": "English", "de": "German"}' --tokens 1000000 --out base \\
        --sources '[{"name": "text", "files": {"en": "a.en", "de": "a.de"}}]' --parallel '[]'

The built-in base was made with the defaults of all other flags (lander.json in its folder has them one by one), on two
threads, with

    --languages '{"en": "English", "de": "German", "it": "Italian", "fr": "French", "ar": "Arabic", "zh": "Chinese"}'
    --sources '[{"name": "cldr", "builtin": "cldr", "lines": [1000000, 1100000]}]'
    --parallel '[{"name": "cldr-known", "builtin": "cldr", "vocabulary": "known", "lines": [1000000, 1150000]}]'
    --tokens 30000000 --threads 2
"""
