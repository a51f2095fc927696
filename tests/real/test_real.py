"""What must hold on real pretrained models: `make real` prepares them and runs this on one after the other.

A small run of the whole workflow trains each method. Its exports are then read by a process that cannot import Lander.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from lander import cli
from lander.shared.files import read_json
from lander.shared.languages import parse_direction
from lander.translate.translator import Decoding, Translator, load

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".real"
TEXT = {"builtin": "cldr", "vocabulary": "all"}
STEPS = 12  # updates
CONFIG: dict[str, Any] = {
    "run": "real",
    "languages": ["en", "de", "fr"],
    "directions": ["en-de", "fr-en"],  # a neuron of French is absent from the first
    "methods": ["full", "lora", "landermt", "adapter"],
    "data": {
        "train": [{**TEXT, "lines": [0, 300]}],
        "dev": [{**TEXT, "lines": [30000, 30002]}],
        "test": [{"name": "cldr", **TEXT, "lines": [30200, 30202]}],
        "exclude": [{**TEXT, "lines": [30000, 30300]}],
        "max_pairs": 4,  # two updates an epoch: the last epoch's loss is compared with the first one's
    },
    "activations": {"sentences": 4},
    "awareness": {"sentences": 4},
    "finetune": {"steps": STEPS, "batch_size": 2},
    "translate": {"max_new_tokens": 8},
}
DIRECTION = "en-de"
SENTENCE = "The committee meets again on Tuesday, because the report was not finished in time."
SENTENCES = ["Good morning.", SENTENCE]
NEW = 8  # tokens that are written
DECODING = Decoding(max_new_tokens=12)
WINDOW = 512  # tokens that the sliding layers of Gemma 3 270M see

CHAT = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
CHAT += "<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
PROMPTS = {"smollm2": CHAT, "gemma3": "<bos>{text}"}  # model -> what it reads, with its special tokens

# Tells each Python process to write its flags and its peak of memory (kB) beside this module as it ends.
PEAK = """
import atexit, json, os, re, sys
def tell():
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
    with open(f"{os.path.dirname(__file__)}/{os.getpid()}.json", "w") as file:
        json.dump([sys.argv, peak], file)
atexit.register(tell)
"""

ALONE = """
import json, sys
sys.modules["lander"] = None  # an import of it fails
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, out, chat, new, prompts = json.load(sys.stdin)
kind = AutoModelForCausalLM
if folder.endswith("lora/main/s0"):
    from peft import AutoPeftModelForCausalLM as kind
tokenizer, network = AutoTokenizer.from_pretrained(folder), kind.from_pretrained(folder, dtype=torch.float32).eval()
assert network.get_output_embeddings().weight is network.get_input_embeddings().weight
found = {}
for number, text in enumerate(prompts):
    if chat:
        turn, options = [{"role": "user", "content": text}], {"return_tensors": "pt", "return_dict": True}
        inputs = tokenizer.apply_chat_template(turn, add_generation_prompt=True, **options)
    else:
        inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        written = network.float().generate(**inputs, max_new_tokens=new, do_sample=False)
        logits = network.double()(**inputs, logits_to_keep=32).logits
    found |= {f"ids{number}": inputs["input_ids"], f"written{number}": written, f"logits{number}": logits}
save_file({name: value.clone().contiguous() for name, value in found.items()}, out)
assert not [name for name in sys.modules if name.startswith("lander.")]
"""

pytestmark = pytest.mark.real


@dataclass(frozen=True)
class Run:
    """A finished run, what was planned, and the peak of each process in bytes, by method or stage."""

    name: str
    base: Path
    folder: Path
    planned: dict[str, float]
    peaks: dict[str, float]

    def trained(self, method: str) -> Path:
        return self.folder / "results/real/finetune" / method / "main/s0"


def said(*command: str, folder: Path, text: str | None = None, path: tuple[Path, ...] = (ROOT,)) -> str:
    """What a Python process prints; it succeeds."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, input=text, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return done.stdout


@pytest.fixture(scope="module", params=PROMPTS)
def run(request: pytest.FixtureRequest) -> Run:
    """A run in .real/<model>-run, which is kept until the next one."""
    name = request.param
    base, folder = FOLDER / name, FOLDER / f"{name}-run"
    if not (base / "config.json").is_file():
        pytest.skip(f".real/{name} is not there; `make real` prepares it")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "peaks").mkdir(parents=True)
    (folder / "peaks" / "sitecustomize.py").write_text(PEAK, encoding="utf-8")
    config = CONFIG | {"model": {"path": str(base), "prompt": "auto"}}
    (folder / "my.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    mine = ("--configfile", "my.yaml")
    assert str(base) in said("-m", "lander.cli", "check", *mine, folder=folder)
    plan = json.loads(said("-m", "lander.cli", "plan", *mine, "--json", "--no-jobs", "--flops", "1e11", folder=folder))
    planned = {one["method"]: one["memory_gb"][str(plan["zero_stage"])] * 1e9 for one in plan["methods"]}
    planned |= {one["stage"]: one["memory_gb"] * 1e9 for one in plan["stages"]}
    command = ("-m", "snakemake", "--snakefile", str(ROOT / "workflow/Snakefile"), "--cores", "2", *mine)
    said(*command, folder=folder, path=(folder / "peaks", ROOT))
    return Run(name, base, folder, planned, peaks(folder / "peaks"))


@pytest.fixture
def place(run: Run) -> Iterator[Path]:
    """A folder for gigabytes, which goes with the test."""
    with tempfile.TemporaryDirectory(dir=run.folder) as temporary:
        yield Path(temporary)


def peaks(folder: Path) -> dict[str, float]:
    """The peaks that were told, by method or stage; the largest of several jobs."""
    found: dict[str, float] = {}
    for (program, *flags), kilobytes in map(read_json, folder.glob("*.json")):
        module = program.removesuffix(".py").removesuffix("/__main__").replace("/", ".")
        stage = module.rpartition(".")[2]
        name = flags[flags.index("--method") + 1] if stage == "finetune" else stage
        found[name] = max(found.get(name, 0), kilobytes * 1024)
    return found


@pytest.mark.parametrize("method", CONFIG["methods"])
def test_the_loss_falls(run: Run, method: str) -> None:
    losses = pd.read_csv(run.trained(method) / "loss.csv").groupby("update")["loss"].mean()
    assert len(losses) == STEPS
    assert losses.iloc[-2:].mean() < 0.95 * losses.iloc[:2].mean()


def test_the_plan_is_within_a_quarter_of_what_was_measured(run: Run) -> None:
    ratios = {name: planned / run.peaks[name] for name, planned in run.planned.items()}
    assert {*CONFIG["methods"], "activations", "awareness", "translate"} <= ratios.keys()
    assert not {name: ratio for name, ratio in ratios.items() if abs(ratio - 1) > 0.25}


def test_the_base_answers_as_it_should(run: Run) -> None:
    """Weights, positions, prompt, tied head and window are right where a fact comes out that the model knows."""
    base = load(run.base, prompt="auto")
    assert base.codec.tokenizer.decode(base.codec.prompt("Hi")) == PROMPTS[run.name].format(text="Hi")
    [answer] = base.complete(base.codec.prompts(["What is the capital of France?"]), None, DECODING)
    assert "The capital of France is Paris." in answer.text
    assert base.network.get_output_embeddings().weight is base.network.get_input_embeddings().weight
    assert "lm_head.weight" not in load_file(run.base / "model.safetensors")
    if run.name == "gemma3":
        config = base.network.config
        assert config.layer_types == (["sliding_attention"] * 5 + ["full_attention"]) * 3
        ids = torch.arange(1000, 1000 + WINDOW + 50)[None]
        seen = logits(base, ids)
        config.sliding_window = WINDOW
        assert torch.equal(logits(base, ids), seen)
        config.sliding_window = 2 * WINDOW
        assert not torch.equal(logits(base, ids), seen)


def logits(translator: Translator, ids: torch.Tensor) -> torch.Tensor:
    """Of the last positions: (1, 32, vocabulary)."""
    with torch.inference_mode():
        return translator.network(input_ids=ids, logits_to_keep=32).logits


@pytest.mark.parametrize("method", ["full", "lora", "landermt"])
def test_exports_equal_the_trained_model_without_lander(run: Run, method: str, place: Path) -> None:
    """Greedy outputs and logits, of short and long prompts. PEFT reads the folder of lora as it is.

    Logits are computed in float64, so that all that remains is the rounding of folded weights: in float32 each of the
    two models is 1.5e-6 to 2.7e-6 of its largest logit away from itself in float64.
    """
    path, out = run.trained(method), place / "export"
    cli.main(["export", str(path), "--direction", DIRECTION, "--out", str(out)])
    translator = load(path)
    assert translator.codec.style == ("chat" if PROMPTS[run.name] == CHAT else "plain")
    sentences = SENTENCES + [" ".join([SENTENCE] * 34)] * (run.name == "gemma3")  # longer than its window
    prompts = [translator.prompt(sentence, parse_direction(DIRECTION)) for sentence in sentences]
    outputs = translator.outputs(sentences, DIRECTION, max_new_tokens=NEW)  # a batch, padded
    translator.network.double()
    for folder in (out, path) if method == "lora" else (out,):
        asked = [str(folder), "alone.safetensors", bool(translator.codec.chat), NEW, prompts]
        said("-c", ALONE, folder=place, text=json.dumps(asked), path=())
        alone = load_file(place / "alone.safetensors")
        for number, (tokens, output) in enumerate(zip(translator.codec.prompts(prompts), outputs, strict=True)):
            ids, expected = alone[f"ids{number}"], logits(translator, alone[f"ids{number}"])
            assert ids.tolist() == [tokens]
            assert (alone[f"logits{number}"] - expected).abs().max() <= 2e-6 * expected.abs().max()
            written = alone[f"written{number}"][0, len(tokens) :].tolist()
            assert translator.codec.decode(written) == output.text
    assert (len(tokens) > WINDOW) == (run.name == "gemma3")


def test_what_cannot_be_exported_travels_as_a_file(run: Run, place: Path, capsys: pytest.CaptureFixture) -> None:
    """An adapter is not linear. Its delta file, put on the base again, is the same model to the bit."""
    path, file = run.trained("adapter"), place / "adapter.safetensors"
    with pytest.raises(SystemExit):
        cli.main(["export", str(path), "--direction", DIRECTION, "--out", str(place / "export")])
    assert "lander delta" in capsys.readouterr().err
    cli.main(["delta", str(path), "--out", str(file)])
    ids = torch.arange(1000, 1032)[None]
    assert torch.equal(logits(load(file), ids), logits(load(path), ids))
