"""The tables and the picture of the experiment `forgetting`.

`found` is method, variant, test, metric -> mean and spread; `names` the models and what they are called, in order.
"""

import numpy as np
import pandas as pd

from lander.config.methods import TRAINING_FREE
from lander.experiments import charts
from lander.report.document import heads, number
from lander.report.samples import LOSS, METRICS
from lander.report.tables import Cell, Table, quantity

KINDS = {"untrained": "untrained directions", "text": "text"}
BEST_PROMPT = ("zero-shot", "best-prompt")


def gain_table(found: dict, names: dict, test: str, points: pd.DataFrame) -> Table:
    """Models x gain over both prompts of the base, loss on text, parameters trained, and who is Pareto-optimal."""
    rows = []
    for (run, label), point in zip(names.items(), points.itertuples(), strict=True):
        cells = [
            number(*_value(found, run, test, f"{kind} {metric}", 1), sign=True)
            for metric in METRICS
            for kind in ("gain", "gain_fixed")
        ]
        loss = number(point.x, 3, point.spread_x, sign=True)
        mark = "gain, loss" if point.best else "with cost" if point.best_of_three else ""
        rows.append((label, [*cells, loss, Cell(quantity(point.parameters)), Cell(mark)]))
    columns = [f"{metric} {text}" for metric in METRICS.values() for text in ("gain", "over fixed prompt")]
    notes = [
        "Gain: mean over the trained directions minus the better zero-shot prompt's; over fixed prompt: minus "
        "zero-shot/main's. Text: increase of the loss on plain text, nats per character.",
        'Pareto "gain, loss": no other model has as much gain for as little increase of the loss on text; "with cost": '
        "only when parameters trained count as a third. ±: standard deviation over seeds, of controls over draws.",
    ]
    caption = f"Gain and forgetting, {test} (points; nats per character)"
    return Table(caption, "model", heads([*columns, "text", "parameters trained", "Pareto"]), rows, notes=notes)


def untrained(found: dict, names: dict, test: str) -> list[Table | str]:
    """What training does to the directions that were not trained, against both prompts of the base, and in words."""
    parts = [f"untrained{of} {metric}" for metric in (*METRICS, LOSS) for of in ("", "_fixed")]
    parts = [part for part in parts if any(key[2:] == (test, part) for key in found)]
    if not parts:
        return []  # a test set that has none of them
    rows = [
        (label, [number(*_value(found, run, test, part, 3 if LOSS in part else 1), sign=True) for part in parts])
        for run, label in names.items()
    ]
    titles = {**METRICS, LOSS: "nats/char"}
    columns = [f"{titles[part.split()[1]]} {'over fixed prompt' if '_fixed' in part else 'change'}" for part in parts]
    notes = [
        "Change: mean over the directions that were not trained minus the better zero-shot prompt's; over fixed "
        "prompt: minus zero-shot/main's. Trained models are asked by the fixed prompt. nats/char: loss of the "
        "references, lower is better. ±: standard deviation over seeds, of controls over draws."
    ]
    caption = f"Directions that were not trained, {test} (points; nats per character)"
    table = Table(caption, "model", heads(columns), rows, notes=notes)
    return [table, *_sentence(found, names, test)]


def _sentence(found: dict, names: dict, test: str) -> list[str]:
    """How much of a gain over the fixed prompt is the prompt; nothing where the base has one prompt only."""
    worth, _ = found.get((*BEST_PROMPT, test, "untrained_fixed bleu"), (None, None))
    if worth is None:
        return []
    changes = [found[(*run, test, "untrained bleu")][0] for run in names if run[0] not in TRAINING_FREE]
    lost = sum(round(change, 1) < 0 for change in changes)
    return [
        f"On the directions of {test} that were not trained, the base's best prompt alone gives {worth:+.1f} BLEU over "
        f"the fixed one. Against the better of the two, {lost} of {len(changes)} trained models lose."
    ]


def _value(found: dict, run: tuple[str, str], test: str, metric: str, digits: int) -> tuple:
    value, spread = found.get((*run, test, metric), (None, None))
    return value, digits, spread


def damage_table(found: dict, names: dict) -> Table:
    """Trained models x increase of the loss, that by routing alone apart from that by training (nats per character)."""
    parts = [f"{kind} {part}" for kind in KINDS for part in ("routing", "training", "total")]
    rows = []
    for run, label in names.items():
        if run[0] not in TRAINING_FREE:
            rows.append((label, [number(*_value(found, run, "", part, 4), sign=True) for part in parts]))
    columns = [f"{KINDS[kind]}: {part}" for kind in KINDS for part in ("by routing", "by training", "in all")]
    notes = [
        "By routing: before the first update, against the base. By training: from there on. – : the method routes "
        "nothing, it starts as the base, and all of its damage is training's. Text without a direction runs the "
        "base's graph, so routing itself cannot harm it. Untrained directions are read behind the fixed prompt, by the "
        "base too: what is learned of its form counts against the damage."
    ]
    return Table("Increase of the loss (nats per character)", "model", heads(columns), rows, notes=notes)


def language_table(data: pd.DataFrame, found: dict, names: dict) -> Table:
    """Trained models x increase of the loss on text in each language (nats per character)."""
    parts = [name for name in dict.fromkeys(data["metric"]) if name.startswith("text ")]
    parts = [name for name in parts if name.split()[1] not in ("total", "routing", "training")]
    rows = [
        (label, [number(*_value(found, run, "", part, 4), sign=True) for part in parts])
        for run, label in names.items()
        if run[0] not in TRAINING_FREE
    ]
    columns = heads([part.split()[1] for part in parts])
    return Table("Increase of the loss on text, by language (nats per character)", "model", columns, rows)


def picture(points: dict[str, pd.DataFrame], title: str) -> str:
    """Gain over increase of the loss on text; the size of a marker grows with the parameters trained."""
    panels = []
    most = max(1.0, *(rows["parameters"].max() for rows in points.values()))
    for test, rows in points.items():
        size = 5 + 5 * np.sqrt(rows["parameters"] / most)
        small = [
            name if p == 0 else f"{name} {quantity(p)}"
            for name, p in zip(rows["label"], rows["parameters"], strict=True)
        ]
        x = "increase of the loss on text (nats per character)"
        y = f"gain on {test} (BLEU)"
        panels.append(
            charts.Panel(
                rows.assign(size=size, label=small),
                x,
                y,
                "Up and left is better; filled: Pareto-optimal; size: parameters trained",
            )
        )
    heading = f"Gain against forgetting{', ' + title if title else ''}"
    return charts.scatter("forgetting", heading, panels)
