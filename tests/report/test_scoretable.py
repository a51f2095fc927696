"""Tests of a run's scores as tables for a terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from report_runs import write_significance

from lander.report import scoretable

SCORES = {("zero-shot", "best-prompt"): 12, ("zero-shot", "main"): 1, ("full", "main"): 12.5, ("lora", "main"): 20}
SIGNED = "nrefs:1|tok:13a"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of one direction: lora with two seeds, and the tests of all against zero-shot with the best prompt."""
    rows, tests = ["method,variant,seed,test,direction,metric,score,signature"], []
    for (method, variant), score in SCORES.items():
        for seed in ("0", "1") if method == "lora" else ("0",):
            value = score + (2 if seed == "1" else 0)
            rows += [f"{method},{variant},{seed},news,{one},bleu,{value},{SIGNED}" for one in ("en-de", "mean")]
        own = {"method": method, "variant": variant, "direction": "mean", "low": score - 1, "high": score + 1}
        tests.append(own | {"signature": SIGNED})
        if variant == "main":
            gap = {"difference": score - 12, "difference_low": score - 13, "difference_high": score - 11}
            p = {"baseline": "zero-shot/best-prompt", "p_holm": 0.2 if method == "full" else 0.001}
            tests.append(own | gap | p | {"signature": SIGNED})
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "evaluate/scores.csv").write_text("\n".join(rows) + "\n")
    write_significance(tmp_path / "evaluate/significance.csv", tests)
    return tmp_path


def test_scores_say_how_sure_they_are(run: Path) -> None:
    wanted = [
        "",
        "BLEU, on news",
        "",
        "| method | mean | 95% of mean | en-de |",
        "|---|---:|---:|---:|",
        "| zero-shot | 1.0 | 0.0–2.0 | 1.0 |",
        "| zero-shot best-prompt | 12.0 | 11.0–13.0 | 12.0 |",
        "| full | 12.5 | 11.5–13.5 | 12.5 |",
        "| lora | 21.0 ±1.4 | 19.0–21.0 | 21.0 ±1.4 |",
        "",
        f"Signature: {SIGNED}",
        "Means over the seeds 0, 1; ± is the standard deviation over seeds.",
        "Means, significantly (Holm-corrected p < 0.05, and 0 is outside the interval):",
        "ahead of zero-shot best-prompt: lora; behind zero-shot best-prompt: zero-shot",
    ]
    assert scoretable.show(run, "bleu").splitlines() == wanted
    (run / "evaluate/significance.csv").unlink()
    assert scoretable.show(run, "bleu").splitlines()[3:6:2] == [
        "| method | mean | en-de |",
        "| zero-shot | 1.0 | 1.0 |",
    ]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this machine")
def test_a_full_disk_is_told_in_one_line(run: Path) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "lander.cli", "scores", str(run)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "lander scores: error: No space left on device; make room and run it again\n"
