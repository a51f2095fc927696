"""Averages of a base and its tuned weights; a method that trains some of the base's weights only."""

import sys

import pytest
import torch
import toys
import trained
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import lander
from lander.config.methods import METHODS, Method
from lander.finetune import delta, mix
from lander.finetune.methods import ParameterGroup, Prepared
from lander.share.export import export


def weights(path) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(path).state_dict()


def averaged(model, share: float, out, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["mix", "--model", str(model), "--share", str(share), "--out", str(out)])
    mix.main()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_weights_lie_between_base_and_tuned(tmp_path, monkeypatch, share) -> None:
    made = trained.make(tmp_path, "full")
    out = tmp_path / "mixed"
    averaged(made.path, share, out, monkeypatch)
    base, tuned, mixed = weights(made.base), weights(made.path), weights(out)
    for name, value in mixed.items():
        torch.testing.assert_close(value, (1 - share) * base[name] + share * tuned[name])
    assert lander.load(str(out)).translate(["a"], "en-de", max_new_tokens=2)


def test_only_weights_of_the_base_can_be_mixed(tmp_path, monkeypatch) -> None:
    made = trained.make(tmp_path, "lora")
    with pytest.raises(lander.shared.errors.UserError, match="made by lora, which has no weights of the base"):
        averaged(made.path, 0.5, tmp_path / "mixed", monkeypatch)


def biases(network, _options) -> Prepared:
    named = {name: value for name, value in network.named_parameters() if name.endswith("bias")}
    return Prepared(network, [ParameterGroup("biases", named)])


def test_a_new_method_that_trains_some_weights_is_saved_loaded_averaged_and_shared(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(METHODS, "bitfit", Method(f"{__name__}:biases", ("weights",)))
    made = trained.make(tmp_path, "bitfit")
    delta.write(made.path, tmp_path / "d.safetensors", {})
    export(made.path, "en-de", tmp_path / "plain")
    ids = toys.ids()
    for path in (made.path, tmp_path / "d.safetensors", tmp_path / "plain"):
        assert torch.equal(lander.load(path).logits(ids, torch.ones_like(ids), "en-de"), made.logits("en-de"))
    saved = load_file(made.path / "weights.safetensors")
    assert saved.keys() == {name for name in weights(made.base) if name.endswith("bias")}
    averaged(made.path, 0.5, tmp_path / "mixed", monkeypatch)
    base = weights(made.base)
    for name, value in load_file(tmp_path / "mixed" / "weights.safetensors").items():
        torch.testing.assert_close(value, (base[name] + saved[name]) / 2)
