"""Tests of neural metrics: in the config, the flags of their rule, and what executables make of the scores."""

import hashlib
import json
import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from lander.config import config
from lander.evaluate import significance
from lander.evaluate.__main__ import main, parse_model
from lander.evaluate.neural import Metric, make_metric, parse_command, run
from lander.evaluate.segments import read_all
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.files import shipped
from lander.workflow.plan import COMET, Plan


def settings(*neural: dict[str, Any]) -> config.Config:
    raw = yaml.safe_load(shipped("config.yaml").read_text(encoding="utf-8"))
    return config.load(config.merge(raw, {"evaluate": {"neural": list(neural)}}))


def test_flags_of_comet_and_of_another_metric(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"weights")
    other = {"name": "blue-rt", "model": str(tmp_path / "model.ckpt"), "command": ["/bin/sh", "{model}"]}
    found = settings({"name": "comet", "model": "Unbabel/wmt22-comet-da"}, {**other, "signature": "v:1"})
    assert [metric.remote for metric in found.evaluate.neural] == [True, False]
    plan = Plan(found)
    plan.gpu = 1
    assert list(plan.neural) == ["comet", "blue-rt"]
    comet, blue = (SimpleNamespace(metric=name) for name in plan.neural)
    assert plan.executable(comet) == [COMET]
    command = ["--command", json.dumps([COMET])]
    assert plan.neural_flags(comet) == ["--model", "Unbabel/wmt22-comet-da", *command, "--gpus", "1"]
    assert plan.executable(blue) == []
    assert plan.neural_flags(blue)[3:] == ['["/bin/sh", "{model}"]', "--gpus", "1", "--signature", "v:1"]
    for less, flags in ((None, []), (True, ["--better", "less"]), (False, ["--better", "more"])):
        one = {"name": "metricx", "model": str(tmp_path / "model.ckpt"), "command": ["sh"], "less_is_better": less}
        assert Plan(settings(one)).neural_flags(SimpleNamespace(metric="metricx"))[6:] == flags
    assert config.load(config.effective(found)).evaluate == found.evaluate


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


# ---------------------------------------------------------------- scores

STAND_IN = '''#!{python}
"""Stands for comet-score: checks what it is handed, scores by length."""
import json, sys
source, hypothesis, reference, scores, mode, log = sys.argv[1:]
texts = [open(path, encoding="utf-8", newline="").read() for path in (source, hypothesis, reference)]
lines = [text.split("\\n")[:-1] for text in texts]
assert len({{len(one) for one in lines}}) == 1 and all(text.endswith("\\n") for text in texts), lines
assert not any("\\r" in text or "\\u2028" in text for text in texts)
with open(log, "a", encoding="utf-8") as stream:
    stream.write(json.dumps(list(zip(*lines))) + "\\n")
values = [len(line) / 10 for line in lines[1]]
if mode == "fail":
    sys.exit("no checkpoint")
if mode == "short":
    values.pop()
if mode == "nan":
    values[-1] = float("nan")
with open(scores, "w") as stream:
    if mode == "json":
        rows = [dict(src=s, mt=m, ref=r, COMET=v) for s, m, r, v in zip(*lines, values)]
        json.dump({{hypothesis: rows}}, stream)
    elif mode != "nothing":
        stream.write("".join(f"{{value}}\\n" for value in values) if mode != "words" else "good")
'''


@pytest.fixture
def comet(tmp_path):
    """Runs `neural` on two models with the stand-in; its log of what it was handed."""
    script = tmp_path / "comet score; touch x"  # a name that a shell would stumble over
    script.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
    script.chmod(0o755)
    log = tmp_path / "log"
    for method, outputs in (("lora", ["gut\u2028so", "eins\rzwei"]), ("full", ["gut\u2028so", ""])):
        path = tmp_path / method / "news/en-de.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        for number, text in enumerate(outputs):
            row = {"source": f"$(s{number})", "reference": "é", "raw": text, "hypothesis": text}
            with path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")

    def run(mode="json", signature="wmt22|v1", better=None):
        command = json.dumps([str(script), "{source}", "{hypothesis}", "{reference}", "{scores}", mode, str(log)])
        flags = ["neural", "--metric", "comet", "--signature", signature, "--command", command]
        flags += ["--models", f"lora/main/s0={tmp_path}/lora", f"full/main/s0={tmp_path}/full"]
        flags += ["--tests", '["news"]', "--directions", "en-de", *(["--better", better] if better else [])]
        main([*flags, "--cache", str(tmp_path / "cache"), "--out-dir", str(tmp_path / "out")])

    run.log = lambda: [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    run.out = tmp_path / "out"
    return run


def test_neural_scores(comet, tmp_path):
    comet()
    # one call, each text once, nothing that would break a line
    assert comet.log() == [[["$(s0)", "gut so", "é"], ["$(s1)", "eins zwei", "é"], ["$(s1)", "", "é"]]]
    found = tables.read(comet.out / "lora/main/s0/news/en-de.comet.segments.parquet", "segments")
    assert found["score"].tolist() == [0.6, 0.9]
    scored = comet.out / "full/main/s0/news/en-de.comet.csv"
    assert scored.read_text().splitlines()[1] == "full,main,0,news,en-de,comet,0.300000,wmt22|v1"
    comet("fail")  # everything is cached: not started again
    assert len(comet.log()) == 1
    comet("fail", better="less")  # which scores are better changes none of them
    assert scored.read_text().endswith(",wmt22|v1|better:less\n")
    comet("lines", signature="wmt22|v2")  # another checkpoint
    assert len(comet.log()) == 2
    files = [comet.out / f"{method}/main/s0/news/en-de.comet.segments.parquet" for method in ("lora", "full")]
    rows = significance.compare(read_all(files), ["full"], 100)
    (row,) = [row for row in rows if (row["method"], row["baseline"], row["direction"]) == ("lora", "full", "en-de")]
    assert row["difference"] == pytest.approx(0.45)
    assert row["metric"] == "comet"


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("fail", "failed with status 1"),
        ("short", "2 scores came back for 3 sentences"),
        ("nan", "the score of sentence 3 is nan"),
        ("nothing", "0 scores came back"),
        ("words", "neither a number a line"),
    ],
)
def test_neural_metrics_that_fail(comet, mode, message):
    with pytest.raises(UserError, match=message) as caught:
        comet(mode)
    assert "comet" in str(caught.value)
    assert not comet.out.exists()


COMET_SCORE = """#!{python}
import argparse, json, os, sys
parser = argparse.ArgumentParser()
for flag in ("-s", "-t", "-r", "--model", "--gpus", "--to_json"):
    parser.add_argument(flag, required=True)
parser.add_argument("--only_system", action="store_true")
args = parser.parse_args()
assert "PYTHONPATH" not in os.environ and os.environ["PYTHONUTF8"] == "1"
lines = open(args.t, encoding="utf-8").read().splitlines()
with open(args.to_json, "w") as stream:
    json.dump({{args.t: [dict(COMET=len(line) / 8, model=args.model) for line in lines]}}, stream)
with open(os.path.join(os.path.dirname(sys.argv[0]), "log"), "a") as stream:
    stream.write(json.dumps([args.model, args.gpus, lines, os.environ.get("HF_HUB_OFFLINE")]) + "\\n")
"""


@pytest.fixture
def comet_score(tmp_path):
    """An environment with an executable comet-score, and the folder of a checkpoint."""
    script = tmp_path / "env/bin/comet-score"
    script.parent.mkdir(parents=True)
    script.write_text(COMET_SCORE.format(python=sys.executable), encoding="utf-8")
    script.chmod(0o755)
    (tmp_path / "env/lib/python3.9/site-packages/unbabel_comet-2.2.7.dist-info").mkdir(parents=True)
    model = tmp_path / "models/wmt22-comet-da"
    (model / "checkpoints").mkdir(parents=True)
    (model / "checkpoints/model.ckpt").write_bytes(b"weights")
    (model / "hparams.yaml").write_text("class_identifier: regression_metric\n")
    return script, model


def test_comet_score_gets_its_arguments(comet_score, monkeypatch):
    script, model = comet_score
    monkeypatch.setenv("PYTHONPATH", "ours")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    digest = hashlib.sha256(b"weights").hexdigest()[:12]
    for given in (model, model / "checkpoints/model.ckpt"):
        metric = make_metric("comet", [str(script)], str(given), gpus=2)
        assert metric.signature == f"model:wmt22-comet-da|sha256:{digest}|comet:2.2.7"
        assert run(metric, [("a b", "gut", "x"), ("c", "", "y")]) == [3 / 8, 0]
    hub = make_metric("comet", [str(script)], "Unbabel/wmt22-comet-da")
    assert hub.signature == "model:Unbabel/wmt22-comet-da|comet:2.2.7"
    run(hub, [("a", "b", "c")])
    found = [json.loads(line) for line in (script.parent / "log").read_text().splitlines()]
    assert found[0] == found[1] == [str(model / "checkpoints/model.ckpt"), "2", ["gut", ""], "1"]
    assert found[2][:2] == ["Unbabel/wmt22-comet-da", "0"]


def test_checkpoints_that_comet_could_not_read(comet_score):
    script, model = comet_score
    with pytest.raises(UserError, match="metric comet: --model is missing"):
        make_metric("comet", [str(script)])
    with pytest.raises(UserError, match=r"models/checkpoints/model\.ckpt: no checkpoint of COMET"):
        make_metric("comet", [str(script)], str(model.parent))
    (model / "hparams.yaml").unlink()
    with pytest.raises(UserError, match=r"wmt22-comet-da/hparams\.yaml: no such file"):
        make_metric("comet", [str(script)], str(model))


def test_neural_commands_that_cannot_be_run(tmp_path):
    with pytest.raises(UserError, match="cannot be started"):
        run(Metric("comet", "s", [str(tmp_path / "absent")]), [("a", "b", "c")])
    for text in ("", "[1]", "[", "[]"):
        with pytest.raises(UserError, match="--command"):
            parse_command(text)
    assert parse_command("/env/bin/my score") == ["/env/bin/my score"]
    for model in ("lora=x", "lora/main/s0"):
        with pytest.raises(UserError, match="METHOD/VARIANT/s"):
            parse_model(model)
