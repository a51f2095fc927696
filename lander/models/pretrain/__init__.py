"""Train a small base model from scratch: a BLOOM with its own byte-level BPE, on the user's text.

Not part of the paper, which starts from BLOOM-7b1. This stage makes the built-in base `lander-tiny`, and a base for
people who want to try the method on their own text without a download (`model.path: pretrain`).

The model reads documents that end with `</s>`: single sentences and, if `--parallel` gives translations, pairs of
sentences in the model's own prompt format. `--bilingual` is the share of pairs among the documents. A window of
`--context` tokens begins with a document; a document that does not fit at the end is cut there. The budget is a number
of tokens. The learning rate warms up, stays, and cools down to zero over the last part (`--cooldown`). Before it cools
down, a run can be given another budget and goes on from its checkpoint.

In:  sources of text (contract 2) as JSON: `--sources` for single sentences, `--parallel` for pairs.
Out: `--out`/: a plain Hugging Face folder (config.json, model.safetensors, tokenizer files), loss.csv, and last
     lander.json (format, prompt, recipe). `--checkpoints` holds the state from which a killed run goes on, until the
     end.

    python -m lander.models.pretrain --languages '{"en": "English", "de": "German"}' --tokens 1000000 --out base \\
        --sources '[{"name": "text", "files": {"en": "a.en", "de": "a.de"}}]' --parallel '[]'

The built-in base was made with the defaults of all other flags (listed in lander.json in its folder), on two threads,
with

    --languages '{"en": "English", "de": "German", "it": "Italian", "fr": "French", "ar": "Arabic", "zh": "Chinese"}'
    --sources '[{"name": "cldr", "builtin": "cldr", "lines": [1000000, 1100000]}]'
    --parallel '[{"name": "cldr-known", "builtin": "cldr", "vocabulary": "known", "lines": [1000000, 1150000]}]'
    --tokens 30000000 --threads 2
"""
