"""Tests of `evaluate.neural` in the config and of the flags of its rule.

The scores: tests/evaluate/test_significance.py."""

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from lander.config import config
from lander.shared.errors import UserError
from lander.shared.files import shipped
from lander.workflow.neural import COMET, NeuralMetrics


def settings(*neural: dict[str, Any]) -> config.Config:
    raw = yaml.safe_load(shipped("config.yaml").read_text(encoding="utf-8"))
    return config.load(config.merge(raw, {"evaluate": {"neural": list(neural)}}))


def test_flags_of_comet_and_of_another_metric(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"weights")
    other = {"name": "blue-rt", "model": str(tmp_path / "model.ckpt"), "command": ["/bin/sh", "{model}"]}
    found = settings({"name": "comet", "model": "Unbabel/wmt22-comet-da"}, {**other, "signature": "v:1"})
    assert [metric.remote for metric in found.evaluate.neural] == [True, False]
    metrics = NeuralMetrics(found, gpu=1)
    assert metrics.names == ["comet", "blue-rt"]
    comet, blue = (SimpleNamespace(metric=name) for name in metrics.names)
    assert metrics.executable(comet) == [COMET]
    assert metrics.flags(comet) == (
        ["--model", "Unbabel/wmt22-comet-da", "--command", json.dumps([COMET]), "--gpus", "1"]
    )
    assert metrics.executable(blue) == []
    assert metrics.flags(blue)[3:] == ['["/bin/sh", "{model}"]', "--gpus", "1", "--signature", "v:1"]
    for less, flags in ((None, []), (True, ["--better", "less"]), (False, ["--better", "more"])):
        one = {"name": "metricx", "model": str(tmp_path / "model.ckpt"), "command": ["sh"], "less_is_better": less}
        assert NeuralMetrics(settings(one), gpu=0).flags(SimpleNamespace(metric="metricx"))[6:] == flags
    again = config.load(config.effective(found))
    assert again.evaluate == found.evaluate


@pytest.mark.parametrize(
    ("neural", "message"),
    [
        ([{"name": "comet"}], "model"),
        ([{"name": "comet", "model": "a/b"}] * 2, "evaluate.neural: comet"),
        ([{"name": "flags", "model": "a/b"}], "evaluate.neural: flags: the name is another metric's or file's"),
        ([{"name": "bleu", "model": "a/b"}], "evaluate.neural: bleu: the name is another"),
        ([{"name": "Comet 22", "model": "a/b"}], "evaluate.neural"),
        ([{"name": "comet", "model": "models/c.ckpt"}], "evaluate.neural: comet: models/c.ckpt: no such checkpoint"),
        ([{"name": "comet", "model": "a/b", "command": ["/no/such"]}], "comet: /no/such: no such executable"),
        ([{"name": "comet", "model": "a/b", "gpu": 1}], "gpu"),
    ],
)
def test_what_is_refused(neural, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        settings(*neural)
    assert "\n" not in str(caught.value)
