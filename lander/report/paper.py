"""The paper's own numbers, to compare ours with.

Zhu, Pan, Li and Xiong: LANDeRMT: Detecting and Routing Language-Aware Neurons for Selectively Finetuning LLMs to
Machine Translation. ACL 2024, pages 12135-12148, CC BY 4.0. <https://aclanthology.org/2024.acl-long.656>
"""

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from lander.report.labels import MEAN_LABELS, direction_group
from lander.report.tables import MISSING, Cell, Table

PAPER = ("en-de", "de-en", "en-it", "it-en", "en-fr", "fr-en", "en-ar", "ar-en", "en-zh", "zh-en")
SIDES = {"mean-into-en": "into English", "mean-out-of-en": "out of English"}
CITATION = (
    "From Zhu et al., LANDeRMT, ACL 2024 (https://aclanthology.org/2024.acl-long.656, CC BY 4.0), table {}: BLOOM-7b1, "
    "other training and test data than here (WMT16 en-de and en-it, WMT14 en-fr, OPUS-100 en-ar and en-zh), so levels "
    "cannot be compared, only which method is ahead of which."
)


class Printed(NamedTuple):
    """A table of the paper. Rows: method -> its name in the paper, parameters trained, BLEU by direction."""

    title: str
    directions: tuple[str, ...]
    rows: dict[str, tuple[str, str, tuple[float, ...]]]


TABLE1 = {
    "zero-shot": ("0-shot", MISSING, (11.71, 17.82, 8.07, 16.05, 19.58, 18.88, 9.46, 26.37, 6.14, 22.02)),
    "in-context": ("In-context", MISSING, (11.49, 14.57, 9.80, 13.12, 18.74, 15.29, 10.01, 21.24, 6.83, 17.19)),
    "full": ("Full finetuning", "7B", (16.12, 19.39, 17.98, 24.18, 29.13, 28.15, 15.40, 28.83, 20.87, 25.52)),
    "landermt": ("LANDeRMT", "805M", (18.85, 22.03, 19.82, 25.99, 31.91, 30.55, 16.97, 31.44, 22.47, 28.11)),
    "lora": ("LoRA", "31M", (15.12, 19.03, 14.82, 22.85, 27.16, 27.72, 11.15, 27.74, 15.72, 25.12)),
    "adapter": ("Adapter", "806M", (15.61, 19.67, 15.25, 23.63, 28.08, 27.26, 11.28, 28.07, 15.18, 25.05)),
    "adapter-lora": ("Adapter-LoRA", "806M", (16.31, 20.23, 15.83, 23.82, 28.05, 28.22, 11.78, 28.46, 16.32, 25.61)),
}
TABLE2 = {
    "layers": ("Layers", "", (27.63, 27.12, 22.81, 24.28)),
    "landermt": ("LANDeRMT", "", (31.91, 30.55, 22.47, 28.11)),
    "landermt-lg": ("LANDeRMT-LG", "", (28.15, 27.83, 23.52, 25.08)),
    "landermt-ls": ("LANDeRMT-LS", "", (22.27, 21.46, 16.18, 23.16)),
}
TABLES = {
    1: Printed("Table 1: all methods", PAPER, TABLE1),
    2: Printed("Table 2: which neurons are trained", ("en-fr", "fr-en", "en-zh", "zh-en"), TABLE2),
}


def table(number: int, columns: Mapping[str, str | tuple[str, str]] | None = None) -> Table:
    """Table 1, with the means that it does not print, or table 2. `columns` as of `score_columns`; else the paper's."""
    printed = TABLES[number]
    scores = pd.DataFrame({name: bleu for name, _, bleu in printed.rows.values()}, printed.directions)
    notes = [CITATION.format(number)]
    if number == 1:
        for mean, side in SIDES.items():
            scores.loc[mean] = scores.loc[[name for name in PAPER if direction_group(name) == side]].mean()
        notes[0] += " The means are computed here."
    columns = columns or {name: MEAN_LABELS.get(name, name) for name in scores.index}
    best = scores.max(axis="columns")
    rows = []
    for name, trained, _ in printed.rows.values():
        cells = [Cell(f"{scores.loc[one, name]:.2f}", bool(scores.loc[one, name] == best[one])) for one in columns]
        rows.append((name, cells + [Cell(trained)] * (number == 1)))
    heads = [*columns.values(), *(["trained"] if number == 1 else [])]
    return Table.of(f"The paper's table {number}: BLEU", "method", heads, rows, notes=notes)
