"""Tables made by hand. All tests that need a table of a stage make it here."""

import numpy as np
import pandas as pd

from lander.shared import tables


def write_table(path, schema: str, values: dict | pd.DataFrame) -> None:
    """Write a table; a column that is not named holds 1, "x" or True, or null if it may be null.

    So a new column of a table changes no test that does not name it.

    Args:
        values: column -> values, or -> an array (n_layer, p) for tables with a row for every neuron.
    """
    if isinstance(values, dict):
        by_neuron = any(np.ndim(value) == 2 for value in values.values())
        values = tables.by_neuron(values) if by_neuron else pd.DataFrame(values)
    fill = {"bool": True, "string": "x"}
    missing = [field for field in tables.SCHEMAS[schema] if field.name not in values]
    columns = {field.name: None if field.nullable else fill.get(str(field.type), 1) for field in missing}
    tables.write(path, values.assign(**columns), schema)
