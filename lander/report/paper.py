"""The paper's own numbers, to compare ours with.

Zhu, Pan, Li and Xiong: LANDeRMT: Detecting and Routing Language-Aware Neurons for Selectively Finetuning LLMs to
Machine Translation. ACL 2024, pages 12135-12148, CC BY 4.0. <https://aclanthology.org/2024.acl-long.656>
"""

from collections.abc import Mapping, Sequence

from lander.report.document import heads
from lander.report.labels import direction_group
from lander.report.tables import Cell, Table

PAPER = ("en-de", "de-en", "en-it", "it-en", "en-fr", "fr-en", "en-ar", "ar-en", "en-zh", "zh-en")

CITATION = (
    "From Zhu et al., LANDeRMT, ACL 2024 (https://aclanthology.org/2024.acl-long.656, CC BY 4.0), {table}: BLOOM-7b1, "
    "other training and test data than here (WMT16 en-de and en-it, WMT14 en-fr, OPUS-100 en-ar and en-zh), so levels "
    "cannot be compared, only which method is ahead of which.{means}"
)
TABLE1 = {  # method -> its name in the paper, parameters trained, BLEU in the order of `PAPER`
    "zero-shot": ("0-shot", "", (11.71, 17.82, 8.07, 16.05, 19.58, 18.88, 9.46, 26.37, 6.14, 22.02)),
    "in-context": ("In-context", "", (11.49, 14.57, 9.80, 13.12, 18.74, 15.29, 10.01, 21.24, 6.83, 17.19)),
    "full": ("Full finetuning", "7B", (16.12, 19.39, 17.98, 24.18, 29.13, 28.15, 15.40, 28.83, 20.87, 25.52)),
    "landermt": ("LANDeRMT", "805M", (18.85, 22.03, 19.82, 25.99, 31.91, 30.55, 16.97, 31.44, 22.47, 28.11)),
    "lora": ("LoRA", "31M", (15.12, 19.03, 14.82, 22.85, 27.16, 27.72, 11.15, 27.74, 15.72, 25.12)),
    "adapter": ("Adapter", "806M", (15.61, 19.67, 15.25, 23.63, 28.08, 27.26, 11.28, 28.07, 15.18, 25.05)),
    "adapter-lora": ("Adapter-LoRA", "806M", (16.31, 20.23, 15.83, 23.82, 28.05, 28.22, 11.78, 28.46, 16.32, 25.61)),
}
TABLE2_DIRECTIONS = ("en-fr", "fr-en", "en-zh", "zh-en")
TABLE2 = {  # method -> its name in the paper, BLEU
    "layers": ("Layers", (27.63, 27.12, 22.81, 24.28)),
    "landermt": ("LANDeRMT", (31.91, 30.55, 22.47, 28.11)),
    "landermt-lg": ("LANDeRMT-LG", (28.15, 27.83, 23.52, 25.08)),
    "landermt-ls": ("LANDeRMT-LS", (22.27, 21.46, 16.18, 23.16)),
}


def table1() -> Table:
    """The paper's table 1, with means over directions that it does not print."""
    sides = [[direction_group(name) == side for name in PAPER] for side in ("into English", "out of English")]
    rows = {}
    for name, _, scores in TABLE1.values():
        means = [sum(s for s, one in zip(scores, side, strict=True) if one) / sum(side) for side in sides]
        rows[name] = [*scores, *means]
    shown = [(*row, Cell(size or "–")) for row, (_, size, _) in zip(_bold(rows), TABLE1.values(), strict=True)]
    columns = heads([*PAPER, "into en", "out of en", "trained"])
    note = CITATION.format(table="table 1", means=" The means are computed here.")
    return Table("The paper's table 1: BLEU", "method", columns, [(n, [*c, s]) for n, c, s in shown], notes=[note])


def table2() -> Table:
    """The paper's table 2."""
    rows = _bold(dict(TABLE2.values()))
    note = CITATION.format(table="table 2", means="")
    return Table("The paper's table 2: BLEU", "method", heads(TABLE2_DIRECTIONS), rows, notes=[note])


def _bold(rows: Mapping[str, Sequence[float]]) -> list[tuple[str, list[Cell]]]:
    """Rows of cells, the highest of each column marked as the best."""
    best = [max(column) for column in zip(*rows.values(), strict=True)]
    cells = {name: zip(scores, best, strict=True) for name, scores in rows.items()}
    return [(name, [Cell(f"{score:.2f}", score == top) for score, top in row]) for name, row in cells.items()]
