"""Section "Experiments": figures, tables and captions of the documents that `lander.experiments` writes."""

import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from lander.report import paper, svg
from lander.report.document import Document

FOLDER = "experiments"  # beside index.html: figures and numbers of the experiments
ROOM = 2_500_000  # bytes of the experiments' figures that are in the page
CAPTIONS = {  # name of the experiment -> how to read its figure
    "forgetting": (
        "Each mark is a method. Higher: it gains more on the trained directions. Further right: it loses more on plain "
        "text. Larger: it trains more parameters. Filled: no other method lies above and to the left of it. If random "
        "neurons or layers do as well as landermt's, the detection has no effect."
    ),
    "table1": (
        "Each row is a method and each mark its mean; the line through a mark is the spread over seeds. The first "
        "paragraph says which leads are more than chance."
    ),
    "table2": "Training all neurons of a direction (landermt), only its general ones (lg), only its specific ones (ls).",
    "transfer": (
        "The paper's figure 3. Rows: the direction that was trained; columns: the direction that was tested; numbers: "
        "the change from zero-shot. Framed: trained and tested are the same. A row of gains means that training also "
        "helps other directions; a row of losses means that it harms them."
    ),
    "readings": (
        "Each row changes one switch between two readings of the paper and keeps all others. Marks left of the line are "
        "better: their dev loss is lower than with the default."
    ),
    "sweep_k": (
        "The paper's figure 10: how many layers are trained. Lines through the marks: spread over seeds. Where a curve "
        "is flat, more layers bring nothing."
    ),
    "sweep_epsilon": (
        "The paper's figure 11: the share of neurons that counts as general. Lines through the marks: spread over seeds. "
        "A flat curve means that the split of the neurons does not matter."
    ),
    "estimators": (
        "Each row is a way to score neurons; the line marks random neurons. An estimator close to the line is no better "
        "than chance."
    ),
    "agreement": (
        "Overlap of the neurons found with some sentences and with all of them. Where a curve reaches the dashed line, "
        "more sentences change little."
    ),
    "clusters": (
        "The paper's figures 12 and 13. Each mark is a sentence; its shape and colour show the language. Languages should "
        "be mixed on general neurons (silhouette near 0) and apart on specific ones (silhouette near 1)."
    ),
    "second_model": (
        "The paper's figure 9, on another base: landermt and adapter-lora in each direction. Lines on the bars: spread "
        "over seeds."
    ),
    "tune": "Ringed: the chosen rate. A minimum at the edge of the tried range may not be the true one.",
}


def shown(documents: Sequence[Document], numbers: dict[str, int]) -> list[dict[str, Any]]:
    """Experiments for the template.

    Figures that have no room in the page stay files beside it. The paper's tables are in "Beside the paper" already.

    Args:
        numbers: of the figures, by name.
    """
    found, room = [], ROOM
    elsewhere = [paper.table1(), paper.table2()]
    for one in documents:
        caption = CAPTIONS.get(one.name, "") if one.svg else ""
        inside = bool(one.svg) and len(one.svg) <= room
        room -= len(one.svg) if inside else 0
        identifier = f"experiment-{re.sub(r'[^A-Za-z0-9_-]', '-', one.name)}"
        description = f"{one.title}. {caption} The numbers are in the tables below it and in its file."
        found.append(
            {
                "name": one.name,
                "id": identifier,
                "title": one.title,
                "number": numbers.get(one.name),
                "svg": Markup(svg.inline(one.svg, identifier, description)) if inside else None,
                "left_out": f"Figure {numbers[one.name]} is too large for the page." if one.svg and not inside else "",
                "paragraphs": [text for text in (caption, *one.paragraphs) if text],
                "tables": [table for table in one.tables if table not in elsewhere],
                "files": [f"{FOLDER}/{one.name}{end}" for end in ([".svg"] if one.svg else []) + [".csv"]],
            }
        )
    return found
