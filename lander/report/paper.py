"""The paper's own numbers, and the section "Beside the paper": its tables 1 and 2 beside the scores of the run.

Zhu, Pan, Li and Xiong: LANDeRMT: Detecting and Routing Language-Aware Neurons for Selectively Finetuning LLMs to
Machine Translation. ACL 2024, pages 12135-12148, CC BY 4.0. <https://aclanthology.org/2024.acl-long.656>
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from lander.evaluate.collect import MEANS, means
from lander.report.inputs import Inputs
from lander.report.labels import MEAN_LABELS, SIDES, direction_group, run_label
from lander.report.scores import score_columns, score_table
from lander.report.tables import MISSING, Cell, Table

PAPER = ("en-de", "de-en", "en-it", "it-en", "en-fr", "fr-en", "en-ar", "ar-en", "en-zh", "zh-en")
OURS = ("landermt", "main")
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


def beside(inputs: Inputs, tests: list[str]) -> dict[str, list[Table]]:
    """Tables 1 and 2, each if this run has at least two of its methods.

    Title -> who is ahead (if landermt has scores), ours on every test set, the paper's.
    """
    scores = inputs.scores[inputs.scores["variant"].isin(["main", "best-prompt"])]  # not those of experiments
    found = {}
    for number, printed in TABLES.items():
        if len(set(scores["method"]) & printed.rows.keys()) < 2:
            continue
        sides = MEANS[1:] if number == 1 else ()
        shared = [name for name in printed.directions if (scores["direction"] == name).any()]
        wanted = [*shared, *sides] if shared else list(scores["direction"].unique())
        ours = []
        for test in tests:
            rows, tested = scores[(scores["test"] == test) & (scores["metric"] == "bleu")], inputs.significance
            single = rows[~rows["direction"].isin(MEANS)]
            shown = single[single["direction"].isin(shared)]
            if 0 < len(shown) < len(single):  # means over other directions than the run's: computed here, not tested
                computed = pd.DataFrame(means(shown.to_dict("records"))).astype({"score": float})
                rows, tested = pd.concat([shown, computed], ignore_index=True), tested.only(means=False)
            rows = rows[rows["method"].isin(printed.rows) & rows["direction"].isin(wanted)]
            if own := score_table(rows, test, "bleu", tested):
                if 0 < len(shared) < len(printed.directions):
                    some = "Means over the directions shown here; the paper's means are over all of its directions."
                    own = replace(own, notes=[some, *own.notes])
                ours.append(own)
        ahead = _ahead(scores, tests, printed, shared)
        theirs = table(number, score_columns([*printed.directions, *sides]))
        found[printed.title] = [*([ahead] if ahead else []), *ours, theirs]
    return found


def _ahead(scores: pd.DataFrame, tests: list[str], printed: Printed, shared: list[str]) -> Table | None:
    """In how many directions landermt has the higher BLEU, in the paper and here (in the shared ones, if there are)."""
    scores = scores[(scores["metric"] == "bleu") & ~scores["direction"].isin(MEANS)]
    means = scores.groupby(["test", "method", "variant", "direction"])["score"].mean()
    tables = {test: means[test].unstack() for test in tests if (test, *OURS) in means.index.droplevel("direction")}
    bleu = {name: pd.Series(values, printed.directions) for name, (*_, values) in printed.rows.items()}
    rows = []
    for name in (name for name in bleu if name != OURS[0]):
        for run in sorted({run for table in tables.values() for run in table.index if run[0] == name}):
            gaps = [bleu[OURS[0]] - bleu[name]]
            for table in tables.values():
                here = table.loc[OURS] - table.loc[run] if run in table.index else pd.Series(dtype=float)
                gaps.append(here[[one for one in here.index if one in shared or not shared]].dropna())
            won = [(int((gap > 0).sum()), len(gap)) for gap in gaps]
            rows.append((run_label(run), [Cell(f"{n} of {of}", value=n / of) if of else MISSING for n, of in won]))
    if not rows:
        return None
    columns = ["in the paper", *(f"here, on {test}" for test in tables)]
    notes = ["Levels cannot be compared: the base, the data and the test sets differ. Which method is ahead can be."]
    return Table.of("Directions in which landermt has the higher BLEU", "against", columns, rows, notes=notes)
