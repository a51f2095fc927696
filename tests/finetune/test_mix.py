"""Averages of a base and its tuned weights."""

import sys

import pytest
import torch
import trained
from transformers import AutoModelForCausalLM

import lander
from lander.finetune import mix


def weights(path) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(path).state_dict()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_weights_lie_between_base_and_tuned(tmp_path, monkeypatch, share) -> None:
    made = trained.make(tmp_path, "full")
    out = tmp_path / "mixed"
    monkeypatch.setattr(sys, "argv", ["mix", "--model", str(made.path), "--share", str(share), "--out", str(out)])
    mix.main()
    base, tuned, mixed = weights(made.base), weights(made.path), weights(out)
    for name, value in mixed.items():
        torch.testing.assert_close(value, (1 - share) * base[name] + share * tuned[name])
    assert lander.load(str(out)).translate(["a"], "en-de", max_new_tokens=2)


def test_only_weights_of_the_base_can_be_mixed(tmp_path, monkeypatch) -> None:
    made = trained.make(tmp_path, "lora")
    flags = ["--model", str(made.path), "--share", "0.5", "--out", str(tmp_path / "mixed")]
    monkeypatch.setattr(sys, "argv", ["mix", *flags])
    with pytest.raises(lander.shared.errors.UserError, match="made by lora, which has no weights of the base"):
        mix.main()
