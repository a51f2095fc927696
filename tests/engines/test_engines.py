"""Exports in other programs: each writes Lander's own greedy outputs. `make engines` installs them, in `.engines/`.

What is not installed is skipped. Not compared: Gemma 2 in CTranslate2, whose outputs differ.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import toys
import trained
from transformers import AutoModelForCausalLM

import lander
from lander.share.export import export
from lander.translate.translator import Decoding, Translator

sys.path.insert(0, str(Path(__file__).parent))
import prepare
import run

pytestmark = pytest.mark.engines
TEXTS = ["Translate English to German: a b\n", "x", "Hello, world 12!\n"]
EASY = {  # what other programs expect of the sizes of a model
    "mistral": {"sliding_window": 512},
    "gemma2": {"sliding_window": 512, "query_pre_attn_scalar": 8},
    "gemma3_text": {"sliding_window": 512, "query_pre_attn_scalar": 8},
}


@pytest.fixture(scope="module", params=toys.MODELS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, list]:
    """A family, a folder of it for en-de, and what Lander writes behind each text: tokens of both."""
    folder = tmp_path_factory.mktemp("exported")
    toys.build(request.param, vocab_size=300, **EASY.get(request.param, {})).save_pretrained(folder / "base")
    toys.bloom_tokenizer().save_pretrained(folder / "base")
    made = trained.make(folder, "landermt", where=folder / "base")
    export(made.path, "en-de", folder / "out")
    return request.param, folder / "out", written(lander.load(str(made.path)), TEXTS)


def written(translator: Translator, texts: list[str]) -> list:
    """Tokens of each text, and those that the model writes behind it, without its end."""
    translator.route("en-de")
    prompts = [translator.codec.tokenizer(text).input_ids for text in texts]
    rows = [translator.generate([ids], Decoding(max_new_tokens=run.NEW))[0] for ids in prompts]
    ends = translator.codec.ends
    return [[ids, [token for token in row if token not in ends]] for ids, row in zip(prompts, rows, strict=True)]


def ask(engine: str, folder: Path, texts: list[str]) -> list:
    """What an engine writes."""
    python = prepare.python(engine)
    if not python.is_file():
        pytest.skip(f"{engine} is not installed; `make engines` installs it")
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    command = [python, run.__file__, engine, folder]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads([line for line in done.stdout.splitlines() if line.startswith("[[")][-1])  # they print more


@pytest.mark.parametrize("engine", ["transformers", "ctranslate2", "llamacpp"])
def test_every_family_in_other_engines(engine: str, exported: tuple[str, Path, list]) -> None:
    family, folder, expected = exported
    if (engine, family) == ("ctranslate2", "gemma2"):
        pytest.skip("CTranslate2's outputs differ for Gemma 2")
    assert ask(engine, folder, TEXTS) == expected


@pytest.mark.parametrize("engine", prepare.ENGINES)
def test_the_built_in_base_in_all_engines(engine: str, tmp_path: Path) -> None:
    """Its heads are as wide as vLLM wants them."""
    export("lander-tiny", "en-de", tmp_path / "out")
    texts = ["English: Germany\nGerman:", "English: in 3 months\nGerman:"]
    assert ask(engine, tmp_path / "out", texts) == written(lander.load("lander-tiny"), texts)


def test_llamacpp_converts_an_export(tmp_path: Path) -> None:
    """Its converter alone, for where llama.cpp itself is not there: transformers reads the same model."""
    if not prepare.python("llamacpp").is_file():
        pytest.skip("llamacpp is not installed; `make engines` installs it")
    toys.build("llama", vocab_size=300).save_pretrained(tmp_path / "base")
    toys.bloom_tokenizer().save_pretrained(tmp_path / "base")
    export(trained.make(tmp_path, "landermt", where=tmp_path / "base").path, "en-de", tmp_path / "out")
    code = f"import sys; sys.path[:0] = [{str(Path(run.__file__).parent)!r}]; import run, pathlib; "
    code += f"run.to_gguf({str(tmp_path / 'out')!r}, pathlib.Path({str(tmp_path)!r}))"
    subprocess.run([prepare.python("llamacpp"), "-c", code], check=True)
    plain, again = (
        AutoModelForCausalLM.from_pretrained(tmp_path / "out"),
        AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf"),
    )
    with torch.inference_mode():
        torch.testing.assert_close(again(toys.ids()).logits, plain(toys.ids()).logits, rtol=1e-5, atol=1e-5)
