"""The one reader of CSV tables: those of a run, and those that users bring."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lander.shared.errors import UserError, brief
from lander.shared.files import check

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
    """A table of text, its values as they are in the file; a line that is cut short has empty ones.

    Args:
        columns: those that it must have; it may have more.
        numbers: columns to convert to float64.
        absent: what to do about a missing file.
        remedy: what to do about any other fault.
        options: of `pandas.read_csv`, such as `dtype=None` to let pandas guess the types.
    """
    check(path)
    options = {"dtype": str, "keep_default_na": False, "index_col": False} | options
    try:
        table = pd.read_csv(path, **options)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file{'; ' if absent else ''}{absent}") from None
    except (ValueError, OSError, MemoryError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"{path}: cannot be read as CSV ({brief(error, 200)}); {remedy}") from None
    if missing := [name for name in columns if name not in table]:
        raise UserError(f"{path}: no column {', '.join(missing)}; it needs {', '.join(columns)}; {remedy}")
    for name in numbers:
        table[name] = to_numbers(path, table[name], remedy)
    return table


def to_numbers(path: str | Path, values: pd.Series, remedy: str = AGAIN) -> pd.Series:
    """A column of text as float64; `nan` and `inf` are numbers too. UserError with the line of any other value."""
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    wrong = numbers.isna() & (values.str.strip().str.lower() != "nan")
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise UserError(f"{path}, line {row + 2}: {values.name} {values.iloc[row]!r} is not a number; {remedy}")
    return values.astype(float)
