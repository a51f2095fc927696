"""Tables that do not fit into memory: the Parquet of `lander.shared.tables`, written and read in chunks."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lander.shared.errors import UserError
from lander.shared.files import remedy, whole_file
from lander.shared.tables import NEVER_EMPTY, SCHEMAS, conform, opened

ROWS = 20_000  # of a chunk


class Writer:
    """Collects rows and writes them as a row group whenever there are `ROWS` of them."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self._rows: list[Sequence] = []
        self.count = 0

    def add(self, row: Sequence) -> None:
        """Append a row: values in the order of the schema's columns."""
        self._rows.append(row)
        self.count += 1
        if len(self._rows) >= ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the rows collected so far."""
        if self._rows:
            columns = dict(zip(self._schema.names, zip(*self._rows, strict=True), strict=True))
            self._writer.write_table(pa.table(columns, self._schema))
            self._rows = []


@contextmanager
def writing(path: str | Path, schema: str) -> Iterator[Writer]:
    """A `Writer` of a table of `SCHEMAS[schema]`. The file appears if the block succeeds, or not at all."""
    options = {"compression": "zstd", "write_page_checksum": True}
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, SCHEMAS[schema], **options) as parquet:
        writer = Writer(parquet, SCHEMAS[schema])
        yield writer
        writer.flush()


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
