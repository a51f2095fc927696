"""The one reader of CSV tables: those of a run, and those that users bring."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lander.shared.errors import UserError, brief

AGAIN = "remove it and run snakemake again"


def read_csv(
    path: str | Path,
    columns: Sequence[str],
    numbers: Sequence[str] = (),
    *,
    absent: str = "",
    remedy: str = AGAIN,
    **options: Any,
) -> pd.DataFrame:
    """A table of text, all values as they are in the file.

    Args:
        path: the file.
        columns: those that it must have; it may have more.
        numbers: columns to convert to float64.
        absent: what to do about a missing file.
        remedy: what to do about any other fault.
        options: of `pandas.read_csv`, such as `dtype=None` to let pandas guess the types.
    Raises:
        UserError: no such file, not a CSV table, a missing column, or a value that is not a number.
    """
    try:
        table = pd.read_csv(path, **{"dtype": str, "keep_default_na": False, **options})
    except FileNotFoundError:
        raise UserError(f"{path}: no such file{'; ' if absent else ''}{absent}") from None
    except (ValueError, OSError, MemoryError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"{path}: cannot be read as CSV ({brief(error, 200)}); {remedy}") from None
    if missing := [name for name in columns if name not in table]:
        raise UserError(f"{path}: no column {', '.join(missing)}; it needs {', '.join(columns)}; {remedy}")
    for name in numbers:
        try:
            table[name] = table[name].astype(float)
        except ValueError:
            line, value = next((line, value) for line, value in enumerate(table[name], 2) if not is_number(value))
            raise UserError(f"{path}, line {line}: {name} {value!r} is not a number; {remedy}") from None
    return table


def is_number(text: str) -> bool:
    """Whether `float` takes a text; `nan` and `inf` are numbers too."""
    try:
        float(text)
    except ValueError:
        return False
    return True
