"""Exported folders: the plain model equals the routed one, all directions share files, cards say what is true."""

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest
import torch
import toys
import trained
import yaml
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM

import lander
from lander import cli
from lander.share import card, export
from lander.shared.errors import UserError

MASK = torch.ones_like(toys.ids())


def plain(folder: Path) -> nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def plain_logits(folder: Path) -> torch.Tensor:
    with torch.inference_mode():
        return plain(folder)(toys.ids()).logits


def greedy(network: nn.Module) -> torch.Tensor:
    """What a model says to 64 random prompts: (64, 7 + 12)."""
    prompts = toys.ids(rows=64)
    options = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False}
    return network.generate(input_ids=prompts, attention_mask=torch.ones_like(prompts), **options)


def head(text: str) -> dict:
    return yaml.safe_load(text.split("---")[1])


@pytest.mark.parametrize("method", ["full", "lora", "layers", "landermt", "landermt-ls"])
def test_all_directions_equal_the_routed_model_and_share_what_is_the_same(method: str, tmp_path: Path) -> None:
    made = trained.make(tmp_path, method, partly=method == "landermt")
    cli.main(["export", str(made.path), "--all", "--out", str(tmp_path / "out")])
    folders = [tmp_path / "out" / direction for direction in trained.DIRECTIONS]
    assert sorted((tmp_path / "out").iterdir()) == sorted(folders)
    for folder in folders:
        # Rounding in another order; the random LoRA is some 75 times the base (16 B A, .3), and most of it cancels.
        expected = made.logits(folder.name)
        largest = (plain_logits(folder) - expected).abs().max() / expected.abs().max()
        assert largest <= (5e-5 if method == "lora" else 2e-6)  # of the largest logit; a float32 has steps of 1.2e-7
        made.router.direction = folder.name
        assert torch.equal(greedy(plain(folder)), greedy(made.network))
        assert head((folder / "README.md").read_text())["language"] == folder.name.split("-")
    files = {name: {os.stat(folder / name).st_ino for folder in folders} for name in os.listdir(folders[0])}
    own = {name for name, inodes in files.items() if len(inodes) == 3}
    shared = {name for name, inodes in files.items() if len(inodes) == 1}
    differing = {"README.md"} if method in ("full", "lora", "layers") else {"README.md", export.OWN}
    if method in ("full", "lora"):
        assert (own, "model.safetensors" in shared) == (differing, True)
    elif method != "layers":
        assert own == differing
        assert {"tokenizer.json", "config.json", export.SHARED, "model.safetensors.index.json"} <= shared
    single = tmp_path / "single"
    cli.main(["export", str(made.path), "--direction", "en-fr", "--out", str(single)])
    assert torch.equal(plain_logits(single), plain_logits(tmp_path / "out" / "en-fr"))


def test_gates_that_read_tokens_are_refused_before_weights_are_read_and_go_into_a_delta(tmp_path: Path, capsys) -> None:
    made = trained.make(tmp_path, "landermt", partly=True, gate="token")
    capsys.readouterr()
    with mock.patch.object(export, "load", side_effect=AssertionError), pytest.raises(SystemExit):
        cli.main(["export", str(made.path), "--all", "--out", str(tmp_path / "out")])
    (line,) = capsys.readouterr().err.splitlines()
    assert "routing.gate: token cannot be exported: its gates read each token" in line
    cli.main(["delta", str(made.path), "--out", str(tmp_path / "gates.safetensors")])
    loaded = lander.load(str(tmp_path / "gates.safetensors"))
    for direction in trained.DIRECTIONS:
        assert torch.equal(loaded.logits(toys.ids(), MASK, direction), made.logits(direction))
    x, untrained = torch.randn(1, 2, 16), loaded.logits(toys.ids(), MASK, "de-fr")
    for ffn in loaded.ffns.values():
        gates = [ffn.gates[name](x) for name in ffn.gates_of["de-fr"]]
        assert torch.equal(ffn.shifts(x)["de-fr"], sum(gates) / len(gates))
        for gate in ffn.gates.values():
            gate.bias.data.zero_(), gate.weight.data.zero_()
    assert not torch.allclose(loaded.logits(toys.ids(), MASK, "de-fr"), untrained)


def test_an_untrained_direction_is_exported_with_the_gates_of_its_languages(tmp_path: Path) -> None:
    made = trained.make(tmp_path, "landermt")
    export.export(made.path, "de-fr", tmp_path / "out")
    translator = lander.load(str(made.path))
    expected = translator.logits(toys.ids(), MASK, "de-fr")
    assert (plain_logits(tmp_path / "out") - expected).abs().max() <= 2e-6 * expected.abs().max()
    for ffn in translator.ffns.values():
        learned = [ffn.gates[name].shift for name in ("en-de", "de-en", "en-fr")]
        assert torch.equal(ffn.shifts()["de-fr"], sum(learned) / 3)


@pytest.mark.parametrize("family", ["bloom", "gemma", "llama"])
def test_lora_on_a_head_that_is_the_embedding_leaves_the_embedding_alone(family: str, tmp_path: Path) -> None:
    """The heads of the first two are tied. Export, delta and PEFT alone all have the logits of the training."""
    made = trained.make(tmp_path, "lora", family=family, targets=("lm_head",))
    base = plain(made.base)
    tied = base.get_output_embeddings().weight is base.get_input_embeddings().weight
    assert tied == (family != "llama")
    expected = made.logits("en-de")
    assert (expected - base(toys.ids()).logits).abs().max() > 0.5 * expected.abs().max()
    limit = 5e-6 * expected.abs().max()

    cli.main(["export", str(made.path), "--all", "--out", str(tmp_path / "out")])
    exported = plain(tmp_path / "out" / "en-fr")
    assert (exported(toys.ids()).logits - expected).abs().max() <= limit
    assert torch.equal(exported.get_input_embeddings().weight, base.get_input_embeddings().weight)
    assert torch.equal(greedy(exported), greedy(made.network))
    assert json.loads((tmp_path / "out" / "en-de" / "config.json").read_text())["tie_word_embeddings"] is False

    cli.main(["delta", str(made.path), "--out", str(tmp_path / "head.safetensors")])
    loaded = lander.load(str(tmp_path / "head.safetensors"))
    assert (loaded.logits(toys.ids(), MASK, "en-de") - expected).abs().max() <= limit
    from peft import PeftModel

    alone = PeftModel.from_pretrained(plain(made.base), str(made.path)).eval()
    assert (alone(toys.ids()).logits - expected).abs().max() <= limit


def test_a_head_of_its_own_is_exported_as_one_whatever_the_config_says(tmp_path: Path) -> None:
    """Merging PEFT's `modules_to_save` leaves such folders; an older library ties the two again, and loses one."""
    folder = trained.base(tmp_path / "base")
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = torch.randn_like(weights["transformer.word_embeddings.weight"])
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    expected = lander.load(folder).logits(toys.ids(), MASK, None)
    export.export(folder, "en-de", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["tie_word_embeddings"] is False
    assert (plain_logits(tmp_path / "out") - expected).abs().max() <= 2e-6 * expected.abs().max()
    exported = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(exported["lm_head.weight"], weights["lm_head.weight"])


@pytest.mark.parametrize("method", ["full", "landermt", "lora"])
def test_settings_of_a_base_that_the_library_refuses_to_save(method: str, tmp_path: Path) -> None:
    """`do_sample` is false and a temperature is set, as in many chat models: after a training, that was the end."""
    changed = {"do_sample": False, "temperature": 1e-6, "top_p": 0.6, "eos_token_id": [2, 9]}
    made = trained.make(tmp_path, method, generation=changed)
    export.export(made.path, "en-de", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert (found["eos_token_id"], found["do_sample"]) == ([2, 9], False)
    assert not found.keys() & {"temperature", "top_p"}


def test_without_hard_links_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trained.make(tmp_path, "lora")
    monkeypatch.setattr(os, "link", mock.Mock(side_effect=PermissionError))
    export.export(made.path, None, tmp_path / "out")
    one, two = (tmp_path / "out" / name / "model.safetensors" for name in ("en-de", "en-fr"))
    assert one.read_bytes() == two.read_bytes()
    assert not os.path.samefile(one, two)


def test_what_stands_in_the_way_is_kept(tmp_path: Path) -> None:
    made = trained.make(tmp_path, "adapter")
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="a bottleneck adapter cannot be exported"):
        export.export(made.path, None, tmp_path / "out")
    with pytest.raises(UserError, match="it has no directions; use --direction"):
        export.export(made.base, None, tmp_path / "out")
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(UserError, match="not empty"):
        export.export(made.base, None, tmp_path / "out")
    assert (tmp_path / "out" / "mine").exists()


def test_bfloat16_rounds_once(tmp_path: Path) -> None:
    made = trained.make(tmp_path, "landermt")
    export.export(made.path, "en-de", tmp_path / "exact")
    made.base.rename(tmp_path / "moved")
    flags = ["--dtype", "bfloat16", "--base", str(tmp_path / "moved"), "--license", "mit"]
    cli.main(["export", str(made.path), "--direction", "en-de", "--out", str(tmp_path / "half"), *flags])
    assert head((tmp_path / "half" / "README.md").read_text())["license"] == "mit"
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == "bfloat16"
    exact, half = (load_file(tmp_path / name / "model.safetensors") for name in ("exact", "half"))
    assert all(torch.equal(half[name], value.to(torch.bfloat16)) for name, value in exact.items())


ALONE = """import sys
sys.modules["lander"] = None  # an import of it fails
for name in sys.argv[1:]:
    exec(open(name).read(), {})
assert not [name for name in sys.modules if name.startswith("lander.")]
"""


def test_the_cards_own_code_translates_without_lander(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code block of an exported model's card, run as it stands, says what `lander translate` says."""
    monkeypatch.chdir(tmp_path)
    expected = []
    for name, chat in (("plain", False), ("chat", True)):
        made, out = trained.make(tmp_path / name, "landermt", chat=chat), Path(f"ein Ördner '{name}'")
        export.export(made.path, "en-de", out)
        code = (out / "README.md").read_text().split("```python\n")[1].split("```")[0]
        assert ("apply_chat_template" in code) == chat
        Path(f"{name}.py").write_text(code.replace("512", "8"))
        expected.append(lander.load(str(made.path)).outputs([export.EXAMPLE], "en-de", max_new_tokens=8)[0].text)
        codec = lander.load(str(out)).codec
        ends = json.loads((out / "generation_config.json").read_text())["eos_token_id"]
        assert ends in (codec.ends, codec.end)
    command = [sys.executable, "-c", ALONE, "plain.py", "chat.py"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(f"{text}\n" for text in expected)


@pytest.fixture
def in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trained model where a run has it, with the record of its training and the run's scores."""
    monkeypatch.chdir(tmp_path)
    made = trained.make(tmp_path, "landermt")
    folder = Path("results/demo/finetune/landermt/k3/s0")
    folder.parent.mkdir(parents=True)
    made.path.rename(folder)
    record = {"versions": {"torch": "2.13.0"}, "updates": 30, "parameters_trained": 1234, "parameters_total": 5678}
    record |= {"pairs": {"en-de": {"used": 99, "too_long": 1}}, "device": "cpu", "git": {"commit": "abc123"}}
    record["settings"] = {"train": ["secret.parquet", "gone.parquet"], "learning_rate": 0.001, "warmup": 0}
    pd.DataFrame({"origin": ["news | <b>x</b>\n# head"] * 2}).to_parquet("secret.parquet")
    (folder / "run.json").write_text(json.dumps(record))
    Path("scores.csv").write_text(
        "method,variant,seed,test,direction,metric,score,signature\n"
        "landermt,k3,0,news,en-de,bleu,21.34,nrefs:1|case:mixed\nlandermt,k3,0,news,en-fr,bleu,7,nrefs:1|case:mixed\n"
        "landermt,main,0,news,en-de,bleu,99,x\n"
    )
    return folder


NEWS = {
    "task": {"type": "translation", "name": "Translation en-de"},
    "dataset": {"name": "news", "type": "news", "config": "en-de"},
    "metrics": [
        {"type": "bleu", "value": 21.34, "name": "bleu", "args": {"signature": "nrefs:1|case:mixed"}},
    ],
}


def test_what_a_card_says(in_a_run: Path) -> None:
    cli.main(["export", str(in_a_run), "--direction", "en-de", "--out", "x", "--scores", "scores.csv"])
    text = Path("x/README.md").read_text()
    assert head(text) == {
        "language": ["en", "de"],
        "library_name": "transformers",
        "license": "unknown",
        "pipeline_tag": "translation",
        "tags": ["translation", "lander", "landermt"],
        "model-index": [{"name": "x", "results": [NEWS]}],
    }
    for part in (
        "It translates English to German.",
        "| news | en-de | bleu | 21.3 | nrefs:1\\|case:mixed |",
        "| run and variant | demo, k3 |",
        "| updates | 30 |",
        "| parameters trained | 1,234 of 5,678 |",
        "| pairs used | en-de 99 |",
        "| settings | learning rate 0.001, warmup 0 |",
        "| trained with | commit abc123 |",
        "| data | news \\| \\<b\\>x\\</b\\> \\# head |",
        "The licence of the base and the terms of the training data apply",
    ):
        assert part in text, part
    assert not [part for part in ("99.0", "| 7.0", "secret", str(Path.cwd())) if part in text]


def test_cards_of_the_delta_and_of_the_folder(in_a_run: Path, capsys: pytest.CaptureFixture) -> None:
    Path("base/README.md").write_text("---\nlicense: apache-2.0\n---\n")
    cli.main(["delta", str(in_a_run), "--out", "d.safetensors", "--scores", "scores.csv", "--license", "mit"])
    text = Path("d.md").read_text()
    assert (head(text)["license"], head(text)["library_name"]) == ("mit", "lander")
    assert "lander.load('d.safetensors', base='base')" in text
    assert text.count("| news |") == 2
    exec(text.split("```python\n")[1].split("```")[0], {})
    cli.main(["card", str(in_a_run)])
    text = (in_a_run / "README.md").read_text()
    assert "lander.load('results/demo/finetune/landermt/k3/s0')" in text
    exec(text.split("```python\n")[1].split("```")[0], {})
    cli.main(["export", "d.safetensors", "--direction", "en-de", "--out", "y"])
    assert "| run and variant | demo, k3 |" in Path("y/README.md").read_text()  # it has travelled in the file


def test_the_licence_is_the_bases_where_its_card_says_so(tmp_path: Path) -> None:
    assert card.base_license(str(tmp_path)) == {}
    assert card.base_license("lander-tiny") == {"license": "apache-2.0"}  # the project's own
    own = "---\nlicense: other\nlicense_name: mine\nlicense_link: LICENSE\nlanguage: en\n---\n# x"
    (tmp_path / "README.md").write_text(own)
    assert card.base_license(str(tmp_path)) == {"license": "other", "license_name": "mine", "license_link": "LICENSE"}
    for text in ("---\n[broken", "---\nlicense: [1]\n---\n", "no head", "---"):
        (tmp_path / "README.md").write_text(text)
        assert card.base_license(str(tmp_path)) == {}


def test_a_card_is_one_for_the_hub(in_a_run: Path) -> None:
    """Its own reader takes all of it: results, data sets of the hub, a licence that is not in its list."""
    sources = "[{hf: Helsinki-NLP/opus-100, config: de-en}, {hf: data/local/x}, {files: {en: a}}]"
    Path("results/demo/config.yaml").write_text(f"data: {{train: {sources}}}\n")
    manifest = json.loads((in_a_run / "lander.json").read_text())
    manifest["base"]["path"] = "/cache/models--owner--base-7b/snapshots/0123abc"
    (in_a_run / "lander.json").write_text(json.dumps(manifest))
    cli.main(["card", str(in_a_run), "--scores", "scores.csv", "--license", "Our Own"])
    data = ModelCard.load(in_a_run / "README.md").data
    assert (data.base_model, data.datasets) == ("owner/base-7b", ["Helsinki-NLP/opus-100"])
    assert (data.license, data.license_name) == ("other", "Our Own")
    assert [(one.dataset_config, one.metric_value) for one in data.eval_results] == [("en-de", 21.34), ("en-fr", 7.0)]


def test_scores_that_are_not_there(in_a_run: Path, capsys: pytest.CaptureFixture) -> None:
    Path("bad.csv").write_text("a,b\n1,2\n")
    Path("empty.csv").write_text("")
    for name, message in (
        ("scores.csv", "no score of landermt/k3/s0 in de-en"),
        ("none.csv", "none.csv: no such file"),
        ("bad.csv", "bad.csv: no column"),
        ("empty.csv", "empty.csv: cannot be read"),
    ):
        with pytest.raises(SystemExit):
            cli.main(["export", str(in_a_run), "--out", "x", "--direction", "de-en", "--scores", name])
        assert message in capsys.readouterr().err
        assert not Path("x").exists()


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o077, 0o600)])
def test_what_is_written_has_the_permissions_of_the_umask(mask: int, expected: int, tmp_path: Path) -> None:
    """Weights too: safetensors writes a private file of its own, and gives it the name."""
    before = os.umask(mask)
    try:
        made = trained.make(tmp_path, "full")
        export.export(made.path, "en-de", tmp_path / "out")
    finally:
        os.umask(before)
    found = [file for folder in ("model", "out") for file in (tmp_path / folder).iterdir()]
    assert sum(file.suffix == ".safetensors" for file in found) == 2
    assert {file.stat().st_mode & 0o777 for file in found} == {expected}
    assert (tmp_path / "out").stat().st_mode & 0o777 == expected | (expected & 0o444) >> 2
