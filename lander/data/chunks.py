"""Tables that do not fit into memory: the Parquet of `lander.shared.tables`, written and read in chunks."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lander.shared.errors import UserError
from lander.shared.files import remedy, whole_file
from lander.shared.tables import NEVER_EMPTY, SCHEMAS, conform, opened

ROWS = 20_000  # of a chunk


def write(path: str | Path, schema: str, rows: Iterable[Sequence]) -> int:
    """Write rows (values in the order of `SCHEMAS[schema]`) as a table, whole or not at all; returns their number."""
    fields, count, rows = SCHEMAS[schema], 0, iter(rows)
    options = {"compression": "zstd", "write_page_checksum": True}
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, fields, **options) as parquet:
        while chunk := list(islice(rows, ROWS)):
            columns = dict(zip(fields.names, zip(*chunk, strict=True), strict=True))
            parquet.write_table(pa.table(columns, fields))
            count += len(chunk)
    return count


def reading(path: str | Path, schema: str, columns: Iterable[str]) -> Iterator[dict[str, list]]:
    """Chunks of some columns of a table, as {column: values}. UserError if a table that must have rows has none."""
    for table in reading_tables(path, schema, columns):
        yield {name: table.column(name).to_pylist() for name in table.column_names}


def reading_tables(path: str | Path, schema: str, columns: Iterable[str]) -> Iterator[pa.Table]:
    """As `reading`, but each chunk is an Arrow table."""
    wanted = pa.schema([SCHEMAS[schema].field(name) for name in columns])
    rows = 0
    with opened(path, str(path)) as file:
        conform(file.schema_arrow.empty_table(), wanted, schema, str(path))
        for batch in file.iter_batches(ROWS, columns=wanted.names):
            table = conform(pa.Table.from_batches([batch]), wanted, schema, str(path))
            table.validate(full=True)  # text is UTF-8
            rows += len(table)
            yield table
    if schema in NEVER_EMPTY and not rows:
        raise UserError(f"{path}: no rows in it; {remedy(path)}")


def head(path: str | Path, schema: str, rows: int | None) -> pd.DataFrame:
    """The first `rows` rows of a table, or all if None; what follows is not read."""
    parts, count = [], 0
    for part in reading_tables(path, schema, SCHEMAS[schema].names):
        parts.append(part)
        count += len(part)
        if rows is not None and count >= rows:
            break
    whole = pa.concat_tables(parts) if parts else SCHEMAS[schema].empty_table()
    return whole.slice(0, rows).to_pandas()
