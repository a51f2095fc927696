"""A run's evaluate/scores.csv, checked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lander.errors import UserError, brief

SCORES = ("method", "variant", "test", "direction", "metric", "score")  # columns of scores.csv that are never empty


def read_scores(file: Path, columns: Sequence[str], flag: str = "") -> Any:
    """A run's scores.csv as a data frame.

    Args:
        columns: those that it must have.
        flag: that names the file, for messages.
    Raises:
        UserError: no such table, or a damaged one.
    """
    import pandas as pd

    try:
        table = pd.read_csv(file)
    except FileNotFoundError:
        raise UserError(f"{flag}{file}: no such file; a run has results/<run>/evaluate/scores.csv") from None
    except (OSError, ValueError, MemoryError) as error:
        raise UserError(f"{flag}{file}: not a readable table ({brief(error, 200)})") from None
    if missing := [name for name in columns if name not in table]:
        raise UserError(f"{flag}{file}: no column {missing[0]}; it is results/<run>/evaluate/scores.csv that is meant")
    if not pd.api.types.is_numeric_dtype(table["score"]):
        raise UserError(f"{flag}{file}: a score is no number; make the table again")
    if table[list(SCORES)].isna().any(axis=None):
        raise UserError(f"{flag}{file}: a value is missing; make the table again")
    return table.astype({name: str for name in SCORES if name != "score"})
