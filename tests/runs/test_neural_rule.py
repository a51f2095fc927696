"""The optional rule for neural metrics on given translations: what it passes to the metric, and what follows."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from test_run import ROOT, said

from lander.shared import tables

RESULTS = "results/tiny"
MODELS = ("zero-shot/main/s0", "zero-shot/best-prompt/s0", "in-context/main/s0")
STAND_IN = """#!{python}
import json, os, sys
model, source, hypothesis, reference, scores = sys.argv[1:]
assert open(model).read() == "weights"
texts = [open(path, encoding="utf-8").read().split("\\n")[:-1] for path in (source, hypothesis, reference)]
with open(os.path.join(os.path.dirname(sys.argv[0]), "log"), "a") as stream:
    stream.write(json.dumps([texts, os.environ.get("HF_HUB_OFFLINE")]) + "\\n")
with open(scores, "w") as stream:
    stream.write("".join(str(len(line) / 10) + "\\n" for line in texts[1]))
"""

pytestmark = pytest.mark.workflow


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A working directory with the translations of three models, a checkpoint and an executable."""
    for code, line in (("en", "source {}\n"), ("de", "das Haus ist alt\n")):
        (tmp_path / f"text.{code}").write_text("".join(map(line.format, range(4))) + "zwei\n", encoding="utf-8")
    rows = {"source": [f"source {n}" for n in range(4)], "target": "das Haus ist alt", "origin": "news"}
    test = pd.DataFrame({**rows, "line": range(4), "other_references": None})
    tables.write(tmp_path / RESULTS / "data/test/news/en-de.parquet", test, "heldout")
    for place, model in enumerate(MODELS):
        path = tmp_path / RESULTS / "translate" / model / "news/en-de.jsonl"
        path.parent.mkdir(parents=True)
        rows = [(f"source {n}", "das Haus ist alt", "das Haus ist" + " neu" * (place + n)) for n in range(4)]
        text = (json.dumps({"source": s, "reference": r, "raw": h, "hypothesis": h, "cut": False}) for s, r, h in rows)
        path.write_text("\n".join(text) + "\n", encoding="utf-8")
    (tmp_path / "model.ckpt").write_text("weights")
    script = tmp_path / "bin/metric"
    script.parent.mkdir()
    script.write_text(STAND_IN.format(python=sys.executable))
    script.chmod(0o755)
    return tmp_path


def snakemake(work: Path, metric: dict[str, Any], *flags: str, fails: bool = False) -> str:
    """What the rules print that score, on translations as they are."""
    files = {"files": {"en": "text.en", "de": "text.de"}}
    settings = {
        **{"run": "tiny", "languages": ["en", "de"], "directions": ["en-de"], "methods": ["zero-shot", "in-context"]},
        "model": {"path": "lander-tiny"},
        "data": {
            **{"train": [{**files, "lines": [4, 5]}], "dev": [{**files, "lines": [0, 1]}], "exclude": []},
            "test": [{"name": "news", **files, "lines": [0, 4]}],
        },
        "evaluate": {"neural": [metric], "baselines": ["zero-shot/main"]},
    }
    (work / "my.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow/Snakefile"), "--cores", "1"]
    command += ["--directory", str(work), "--configfile", str(work / "my.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("HF_HUB_OFFLINE", None)
    return said(fails, args=[*command, *flags], cwd=work, env=environment)


def test_scores_of_a_local_checkpoint_are_tested_with_the_others(work: Path) -> None:
    metric = {"name": "comet", "model": "model.ckpt", "signature": "model:stand-in|v:1"}
    metric["command"] = [str(work / "bin/metric"), "{model}", "{source}", "{hypothesis}", "{reference}", "{scores}"]
    targets = [f"{RESULTS}/evaluate/{name}" for name in ("significance.csv", "scores.csv")]
    rules = ["neural", "score", "significance", "scores"]
    snakemake(work, metric, "--allowed-rules", *rules, "--", *targets)
    (handed,) = [json.loads(line) for line in (work / "bin/log").read_text().splitlines()]  # one start for all models
    (source, hypothesis, reference), offline = handed
    assert offline == "1"  # nothing of the config is on the hub
    assert set(source) == {f"source {n}" for n in range(4)}
    assert set(reference) == {"das Haus ist alt"}
    assert len(set(zip(source, hypothesis, strict=True))) == len(source) == 12
    scores = pd.read_csv(work / targets[1]).set_index(["metric", "method", "variant", "direction"])
    row = scores.loc[("comet", "in-context", "main", "mean-out-of-en")]
    assert row["score"] == pytest.approx(sum(12 + 4 * (2 + n) for n in range(4)) / 40)
    assert row["signature"] == "model:stand-in|v:1|mean:1"
    tests = pd.read_csv(work / targets[0], keep_default_na=False)
    found = tests[(tests["metric"] == "comet") & (tests["baseline"] == "zero-shot") & (tests["direction"] == "en-de")]
    assert dict(zip(found["variant"], found["difference"].astype(float), strict=True)) == pytest.approx(
        {"best-prompt": 0.4, "main": 0.8}
    )


def test_comet_of_the_hub_is_installed_in_an_environment_of_its_own(work: Path) -> None:
    metric = {"name": "comet", "model": "Unbabel/wmt22-comet-da"}
    target = f"{RESULTS}/evaluate/in-context/main/s0/news/en-de.comet.csv"
    text = snakemake(work, metric, "--dry-run", "--allowed-rules", "comet_environment", "neural", "--", target)
    assert "results/.environments/comet/bin/comet-score" in text
    absent = {"name": "comet", "model": "/no/model.ckpt"}
    assert "evaluate.neural: comet: /no/model.ckpt" in snakemake(work, absent, "--dry-run", fails=True)
