"""Tables too long for the memory: the Parquet of `lander.tables`, written and read a chunk at a time."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lander.errors import UserError
from lander.files import whole_file
from lander.tables import REMEDY, SCHEMAS

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
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, SCHEMAS[schema], compression="zstd") as parquet:
        writer = Writer(parquet, SCHEMAS[schema])
        yield writer
        writer.flush()


def reading(path: str | Path, schema: str, columns: Iterable[str]) -> Iterator[dict[str, list]]:
    """Chunks of some columns of a table, as {column: values}.

    Raises:
        UserError: no such file, damaged, or without a column of the schema.
    """
    columns = [SCHEMAS[schema].field(name).name for name in columns]
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if missing:
                raise UserError(f"{path}: no column {', '.join(missing)}; {REMEDY}")
            for batch in file.iter_batches(ROWS, columns=columns):
                yield {name: batch.column(name).to_pylist() for name in columns}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `snakemake --cores 1 {path}` makes it") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error}); {REMEDY}") from None
