"""What `snakemake --report` shows: captions of all figures, and a file for each that the workflow has promised."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from lander.report.declared import NOTHING, fill

from lander.report.page import FIGURES
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
    wanted |= set(figures)
    assert {path.stem for path in (WORKFLOW / "report").glob("*.rst")} == wanted
    marked = [len(re.findall(r"\breport\(", text)) for text in rules.values()]
    assert marked == [8, 1, 1, 1]
    assert not re.search(r'multiext\([^)]*"\.svg"', "".join(rules.values()))  # a picture that nothing marks


def test_what_was_promised_is_there(tmp_path):
    (tmp_path / "loss.svg").write_text("drawn")
    (tmp_path / "loss.csv").write_text("a\n1\n")
    fill(tmp_path, ["loss", "delta"])
    assert (tmp_path / "loss.svg").read_text() == "drawn"
    assert NOTHING in "".join(ET.parse(tmp_path / "delta.svg").getroot().itertext())
    assert (tmp_path / "delta.csv").read_text() == f"note\n{NOTHING}\n"
