"""The tables of the stage, and the scores of the control."""

import zlib

import numpy as np
import pandas as pd

from lander.detect.awareness.sums import Sums
from lander.shared import tables


def table_of(scores: np.ndarray, tokens: int, neurons: list[np.ndarray] | None = None) -> pd.DataFrame:
    """The awareness table; of some neurons of each layer only, where they are given."""
    counts = np.full(scores.shape, tokens, dtype=np.int64)
    table = tables.by_neuron({"score": scores, "tokens": counts})
    if neurons is None:
        return table
    kept = np.zeros(scores.shape, dtype=bool)
    for layer, chosen in enumerate(neurons):
        kept[layer, chosen] = True
    return table[kept.reshape(-1)]


def parts_table(sums: Sums) -> pd.DataFrame:
    """The sums of each part of the text, not yet divided by its tokens."""
    parts = []
    for part, values in enumerate(sums.by_part.cpu().numpy()):
        table = tables.by_neuron({"score": values})
        parts.append(table.assign(part=part, tokens=sums.part_tokens[part], sentences=sums.part_rows[part]))
    return pd.concat(parts, ignore_index=True)


def random_scores(shape: tuple[int, int], seed: int, language: str) -> np.ndarray:
    """Uniform in [0, 1), another draw for every language: the control."""
    return np.random.default_rng([seed, zlib.crc32(language.encode())]).random(shape)
