"""What `snakemake --report` shows: captions of all figures, and a file for each that the workflow has promised."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from report_runs import make_scores

from lander.report.__main__ import main
from lander.report.page import FIGURES, NOTHING
from lander.report.templates import captions
from lander.workflow.experiments import ABOUT

WORKFLOW = Path(__file__).parents[2] / "workflow"


def test_every_figure_has_a_caption_and_every_caption_a_figure():
    rules = {
        name: (WORKFLOW / "rules" / f"{name}.smk").read_text() for name in ("analyses", "experiments", "tune", "report")
    }
    wanted = {"run", "tune", *ABOUT}
    wanted |= set(re.findall(r'caption="\.\./report/([\w-]+)\.rst"', rules["analyses"]))
    listed = rules["report"].split("REPORTED = ", 1)[1].split("rule effective_config", 1)[0]
    figures = re.findall(r'"([a-z-]+)"', listed)  # categories begin with a capital
    assert sorted(figures) == sorted(FIGURES)
    assert captions().keys() == {*FIGURES, *ABOUT, "tune", "agreement", "clusters"}
    wanted |= set(figures)
    assert {path.stem for path in (WORKFLOW / "report").glob("*.rst")} == wanted
    marked = [len(re.findall(r"\breport\(", text)) for text in rules.values()]
    assert marked == [8, 1, 1, 1]
    assert not re.search(r'multiext\([^)]*"\.svg"', "".join(rules.values()))  # a picture that nothing marks


def test_what_was_promised_is_there(tmp_path):
    make_scores(tmp_path / "scores.csv", ["en-de"])
    flags = ["--run", "x", "--scores", f"{tmp_path}/scores.csv", "--out", str(tmp_path)]
    main([*flags, "--figures", "scores", "delta"])
    assert NOTHING not in (tmp_path / "scores.svg").read_text()
    assert NOTHING in "".join(ET.parse(tmp_path / "delta.svg").getroot().itertext())
    assert (tmp_path / "delta.csv").read_text() == f"note\n{NOTHING}\n"
    assert not (tmp_path / "loss.svg").exists()


def test_the_record_of_a_copied_job_is_where_its_benchmark_is():
    """`read_benchmarks` finds it by the path of the benchmark."""
    texts = [path.read_text() for path in (WORKFLOW / "rules").glob("*.smk")]
    rules = [rule for text in texts for rule in re.split(r"^(?:use )?rule ", text, flags=re.M) if "/.copied/" in rule]
    assert len(rules) >= 5
    for rule in rules:
        (benchmark,) = re.findall(r"<benchmarks>/(.+)\.tsv", rule)
        (record,) = re.findall(r"/\.copied/(.+)\.json", rule)
        assert record.replace("{{", "{").replace("}}", "}") == benchmark
