"""Tables too long for the memory: the Parquet of `lander.shared.tables`, written and read a chunk at a time."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lander.shared.errors import UserError, brief
from lander.shared.files import remedy, whole_file
from lander.shared.tables import NEVER_EMPTY, SCHEMAS, conform

ROWS = 20_000


class Writer:
    """Collects rows and writes a row group whenever there are enough of them."""

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
        """Write what has been collected."""
        if self._rows:
            columns = [
                pa.array(values, field.type)
                for values, field in zip(zip(*self._rows, strict=True), self._schema, strict=True)
            ]
            self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
            self._rows = []


@contextmanager
def writing(path: str | Path, schema: str) -> Iterator[Writer]:
    """A `Writer` of a table of `SCHEMAS[schema]`; the file appears when the block ends well, or not at all."""
    options = {"compression": "zstd", "write_page_checksum": True}
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, SCHEMAS[schema], **options) as parquet:
        writer = Writer(parquet, SCHEMAS[schema])
        yield writer
        writer.flush()


def reading(path: str | Path, schema: str, columns: Iterable[str]) -> Iterator[dict[str, list]]:
    """Chunks of some columns of a table, as {column: values}.

    Raises:
        UserError: no such file, damaged, without a column of the schema, or without the rows that it must have.
    """
    for table in reading_tables(path, schema, columns):
        yield {name: table.column(name).to_pylist() for name in table.column_names}


def reading_tables(path: str | Path, schema: str, columns: Iterable[str]) -> Iterator[pa.Table]:
    """The same as Arrow tables."""
    wanted = pa.schema([SCHEMAS[schema].field(name) for name in columns])
    rows = 0
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            conform(file.schema_arrow.empty_table(), wanted, schema, str(path))
            for batch in file.iter_batches(ROWS, columns=wanted.names):
                table = conform(pa.Table.from_batches([batch]), wanted, schema, str(path))
                table.validate(full=True)  # text is UTF-8
                rows += len(table)
                yield table
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `snakemake --cores 1 -- {path}` makes it") from None
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({brief(error)}); {remedy(path)}") from None
    if schema in NEVER_EMPTY and not rows:
        raise UserError(f"{path}: no rows in it; {remedy(path)}")


def head(path: str | Path, schema: str, rows: int | None) -> pd.DataFrame:
    """The first rows of a table, all where `rows` is None; what is behind them is not read.

    Raises:
        UserError: as `reading`.
    """
    parts, count = [], 0
    for part in reading_tables(path, schema, SCHEMAS[schema].names):
        parts.append(part)
        count += len(part)
        if rows is not None and count >= rows:
            break
    whole = pa.concat_tables(parts) if parts else SCHEMAS[schema].empty_table()
    return whole.slice(0, rows).to_pandas()
