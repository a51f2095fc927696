"""Greedy decoding by another program, in an environment of its own: `python run.py ENGINE FOLDER` in that environment.

Reads a JSON list of texts; writes a JSON list, for each text the tokens of the prompt and those that follow. It imports
nothing of Lander.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

NEW = 16  # tokens
Rows = list[tuple[list[int], list[int]]]


def transformers(folder: str, texts: list[str]) -> Rows:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found = []
    for text in texts:
        ids = tokenizer(text, return_tensors="pt").input_ids
        rows = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False)
        found.append((ids[0].tolist(), rows[0, ids.shape[1] :].tolist()))
    return found


def ctranslate2(folder: str, texts: list[str]) -> Rows:
    import ctranslate2
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as out:
        ctranslate2.converters.TransformersConverter(folder).convert(out, force=True)
        generator = ctranslate2.Generator(out, compute_type="float32")
        found = []
        for text in texts:
            ids = tokenizer(text).input_ids
            options = {"max_length": NEW, "include_prompt_in_result": False, "end_token": ends(folder)}
            [result] = generator.generate_batch([tokenizer.convert_ids_to_tokens(ids)], **options)
            found.append((ids, result.sequences_ids[0]))
    return found


def llamacpp(folder: str, texts: list[str]) -> Rows:
    import llama_cpp

    with tempfile.TemporaryDirectory() as out:
        file = to_gguf(folder, Path(out))
        model = llama_cpp.Llama(str(file), n_ctx=512, verbose=False, logits_all=False)
        found = []
        for text in texts:
            ids = model.tokenize(text.encode(), add_bos=True, special=False)
            rows = []
            model.reset()
            for token in model.generate(ids, temp=0.0, top_k=1, repeat_penalty=1.0):
                if token in ends(folder) or len(rows) == NEW:
                    break
                rows.append(token)
            found.append((ids, rows))
    return found


def to_gguf(folder: str, out: Path) -> Path:
    """By llama.cpp's converter, which knows tokenizers by a list: one that is not in it counts as GPT-2's."""
    file = out / "model.gguf"
    code = (
        "import sys, conversion.base as base, convert_hf_to_gguf as convert\n"
        "known = base.TextModel.get_vocab_base_pre\n"
        "def pre(self, tokenizer):\n"
        "    try:\n        return known(self, tokenizer)\n"
        "    except NotImplementedError:\n        return 'gpt-2'\n"
        "base.TextModel.get_vocab_base_pre = pre\n"
        f"sys.argv = ['convert', {folder!r}, '--outfile', {str(file)!r}, '--outtype', 'f32']\n"
        "convert.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert file.is_file(), done.stderr[-2000:]
    return file


def vllm(folder: str, texts: list[str]) -> Rows:
    from vllm import LLM, SamplingParams

    model = LLM(folder, dtype="float32", max_model_len=512, enforce_eager=True, disable_log_stats=True)
    outputs = model.generate(texts, SamplingParams(temperature=0, max_tokens=NEW))
    return [(list(one.prompt_token_ids), list(one.outputs[0].token_ids)) for one in outputs]


def lm_eval(folder: str, texts: list[str]) -> Rows:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(folder, dtype="float32", device="cpu", batch_size=4)
    asked = {"until": ["\n\n\n"], "max_gen_toks": NEW, "do_sample": False}
    rows = model.generate_until(
        [Instance("generate_until", {}, (text, asked), place) for place, text in enumerate(texts)]
    )
    return [(model.tok_encode(text), model.tok_encode(row)) for text, row in zip(texts, rows, strict=True)]


def ends(folder: str) -> list[int]:
    """End tokens, as the folder lists them."""
    found = json.loads(Path(folder, "generation_config.json").read_text())["eos_token_id"]
    return found if isinstance(found, list) else [found]


if __name__ == "__main__":
    engine, folder = sys.argv[1:]
    rows = globals()[engine](folder, json.load(sys.stdin))
    stop = ends(folder)
    print(json.dumps([(ids, [token for token in new if token not in stop]) for ids, new in rows]))
