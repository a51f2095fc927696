"""Every table that Lander keeps: its columns, their types and their meaning, checked on write and on read.

All tables are Parquet in long format, one row per fact. Only `write` and `read` access them, and for tables that do not
fit into memory `lander.data.chunks`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from lander.shared.errors import UserError, brief
from lander.shared.files import remedy, whole_file

NEVER_EMPTY = ("train", "activations", "layers", "awareness", "neurons")  # without rows such a table is damaged
COUNTED = ("layer", "neuron", "line", "tokens", "sentences", "pairs", "part", "template")  # columns never below 0


def _column(name: str, kind: pa.DataType, meaning: str, *, nullable: bool = False) -> pa.Field:
    """A column; its meaning is written into every file, so a new wording changes the files' bytes."""
    return pa.field(name, kind, nullable=nullable, metadata={"meaning": meaning})


LAYER = _column("layer", pa.int32(), "layer of the model, 0..n_layer-1")
PLACE = [LAYER, _column("neuron", pa.int32(), "hidden unit of the layer's FFN, 0..p-1")]
DIRECTION = _column("direction", pa.string(), "translation direction, as in file names")
ORIGIN = _column("origin", pa.string(), "name of the source that the line came from")
ORIGINS = [ORIGIN, _column("line", pa.int64(), "line in that source, from 0")]
MEASURED = [
    _column("method", pa.string(), "method that made the translations"),
    _column("variant", pa.string(), "variant of the method"),
    _column("seed", pa.string(), "seed of the method"),
    _column("test", pa.string(), "name of the test set"),
    DIRECTION,
    _column("metric", pa.string(), "metric, as in scores.csv"),
]
SIGNATURE = _column("signature", pa.string(), "how the score was computed")
GENERAL, SPECIFIC, UNACTIVATED = "general", "specific", "unactivated"  # kinds of neurons
SOURCE, TARGET, ABSENT, BASE = "source", "target", "absent", "base"  # with GENERAL: roles of neurons in a direction

_COLUMNS: dict[str, list[pa.Field]] = {
    # data: a cleaned pair of languages, both directions; first and second in alphabetical order of their codes
    "clean": [
        _column("first", pa.string(), "sentence in the first language of the pair"),
        _column("second", pa.string(), "its translation in the second language"),
        *ORIGINS,
    ],
    "train": [
        _column("source", pa.string(), "source sentence"),
        _column("target", pa.string(), "its translation"),
        _column("template", pa.int16(), "index of the instruction template, from 0"),
        *ORIGINS,
    ],
    # dev and test sets: never filtered, dropped or reordered
    "heldout": [
        _column("source", pa.string(), "source sentence"),
        _column("target", pa.string(), "reference translation"),
        *ORIGINS,
    ],
    "text": [_column("text", pa.string(), "sentence that scores the neurons"), *ORIGINS],
    "counts": [
        DIRECTION,
        ORIGIN,
        _column("reason", pa.string(), "`read`, `kept`, or why pairs were dropped, in the order of the filters"),
        _column("pairs", pa.int64(), "number of pairs; read = kept + all dropped"),
    ],
    "activations": [
        *PLACE,
        _column("mean", pa.float64(), "mean activation over all tokens read (eq. 1)"),
        _column("tokens", pa.int64(), "tokens that the mean is over"),
    ],
    "layers": [
        DIRECTION,
        LAYER,
        _column("activation", pa.float64(), "mean activation of the layer, over tokens and neurons"),
        _column("delta", pa.float64(), "D, the change against the neighbouring layer (eq. 1)", nullable=True),
        _column("selected", pa.bool_(), "one of the k layers with the largest D (eq. 2)"),
    ],
    "awareness": [
        *PLACE,
        _column("score", pa.float64(), "the estimator's score; taylor: Phi, mean of |dL/dh * h|, nats (eq. 3-4)"),
        _column("tokens", pa.int64(), "tokens that the mean is over; 0: random scores"),
    ],
    # sums over consecutive parts of the text; sums of some parts, divided by their tokens, are the scores of that text
    "awareness_parts": [
        _column("part", pa.int32(), "part of the text, from 0"),
        *PLACE,
        _column("score", pa.float64(), "sum over the part's tokens of what the estimator averages (with its sign)"),
        _column("tokens", pa.int64(), "tokens of the part that predict one"),
        _column("sentences", pa.int64(), "sentences of the part, of all directions"),
    ],
    # a row for each owner of a neuron
    "neurons": [
        *PLACE,
        _column("variance", pa.float64(), "sigma, variance of Phi over the languages (eq. 5)"),
        _column("kind", pa.string(), "`general`, `specific` or `unactivated`"),
        _column("language", pa.string(), "owner of a specific neuron (a row for each)", nullable=True),
        _column("selected", pa.bool_(), "whether its layer is chosen for any direction"),
    ],
    "masks": [
        *PLACE,
        _column("role", pa.string(), "`general`, `source`, `target` or `absent`, in this direction"),
        _column("owner", pa.string(), "language that owns the neuron", nullable=True),
        _column("trained", pa.bool_(), "whether this direction's batches train it"),
        _column("scale", pa.float64(), "factor of the neuron's group (eq. 6-8), constant per layer and role"),
    ],
    # scores of one model's translations, sentence by sentence
    "segments": [
        *MEASURED,
        _column("line", pa.int64(), "item of the test set, from 0"),
        _column("score", pa.float64(), "score of this sentence alone"),
        _column(
            "statistics",
            pa.list_(pa.int32()),
            "counts that the corpus score is made of (sacreBLEU's); null where it is the mean of the scores",
            nullable=True,
        ),
        SIGNATURE,
    ],
    "scores": [
        *MEASURED,
        _column("score", pa.float64(), "of the whole test set"),
        SIGNATURE,
    ],
}

SCHEMAS: dict[str, pa.Schema] = {name: pa.schema(columns) for name, columns in _COLUMNS.items()}


def write(path: str | Path, table: pd.DataFrame | pa.Table, schema: str) -> None:
    """Write a table whole or not at all, in the columns, order and types of `SCHEMAS[schema]`.

    Raises:
        UserError: a value is missing, not finite or below 0 where the schema forbids it.
    """
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, schema=SCHEMAS[schema], preserve_index=False)
    table = table.select(SCHEMAS[schema].names).cast(SCHEMAS[schema])
    _check(path, table, schema)
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read(
    path: str | Path | BinaryIO, schema: str, columns: list[str] | None = None, name: str | None = None
) -> pd.DataFrame:
    """Read a table made by `write`, or by anybody with the same columns.

    Args:
        path: a file, or an open one.
        columns: those to read; None reads all of the schema.
        name: of the table in messages, if `path` is not a file of its own.
    Raises:
        UserError: no such file, damaged, columns or types other than the schema's, missing values, or no rows.
    """
    wanted = SCHEMAS[schema] if columns is None else pa.schema([SCHEMAS[schema].field(column) for column in columns])
    name = name or str(path)
    with opened(path, name) as file:
        table = file.read(columns=wanted.names)
    table = conform(table, wanted, schema, name)
    if schema in NEVER_EMPTY and not len(table):
        raise UserError(f"{name}: no rows in it; {remedy(name)}")
    try:
        return table.to_pandas()
    except (pa.ArrowException, ValueError) as error:  # text that is not UTF-8
        raise UserError(f"{name}: a value cannot be read ({brief(error)}); {remedy(name)}") from None


@contextmanager
def opened(path: str | Path | BinaryIO, name: str) -> Iterator[pq.ParquetFile]:
    """Yield a Parquet file to read from in the block; what is wrong with it becomes a `UserError`."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{name}: no such file; `snakemake --cores 1 -- {name}` makes it") from None
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise UserError(f"{name}: not a readable Parquet file ({brief(error)}); {remedy(name)}") from None


def conform(table: pa.Table, wanted: pa.Schema, schema: str, name: str) -> pa.Table:
    """A table cut and cast to the wanted columns and types, its values checked.

    Args:
        wanted: fields of `SCHEMAS[schema]`.
        name: of the table in messages.
    Raises:
        UserError: a column is missing, has another type, or holds what it must not.
    """
    missing = [column for column in wanted.names if column not in table.column_names]
    if missing:
        columns = f"a {schema} table has {', '.join(wanted.names)}"
        raise UserError(f"{name}: no column {', '.join(missing)} ({columns}); {remedy(name)}")
    try:
        table = table.select(wanted.names).cast(pa.schema([field.with_nullable(True) for field in wanted]))
    except (pa.ArrowException, ValueError) as error:
        raise UserError(f"{name}: a column has the wrong type ({brief(error)}); {remedy(name)}") from None
    _check(name, table, schema)
    return table


def empty(schema: str) -> pd.DataFrame:
    """A table of a schema without rows."""
    return SCHEMAS[schema].empty_table().to_pandas()


def is_whole(table: pd.DataFrame) -> bool:
    """Whether a (layer, neuron) table has exactly one row for every neuron of every layer."""
    n_layer, p = table["layer"].max() + 1, table["neuron"].max() + 1
    numbers = table["layer"].to_numpy(dtype=np.int64) * p + table["neuron"].to_numpy(dtype=np.int64)
    return np.array_equal(np.sort(numbers), np.arange(n_layer * p))


def by_layer(table: pd.DataFrame, value: str) -> np.ndarray:
    """A column of a long (layer, neuron) table as an (n_layer, p) array."""
    return table.pivot(index="layer", columns="neuron", values=value).sort_index().to_numpy()


def stacked(paths: list[Path], schema: str, value: str) -> np.ndarray:
    """A column of several (layer, neuron) tables of one model, (table, n_layer, p).

    UserError if a table lacks a neuron, has one twice, or is of another model than the first.
    """
    arrays = []
    for path in paths:
        table = read(path, schema, ["layer", "neuron", value])
        if not is_whole(table):
            sample = "a sample of neurons, as of lander.detect.awareness --neurons, is not enough"
            raise UserError(f"{path}: not every neuron of every layer has its one row ({sample}); {remedy(path)}")
        arrays.append(by_layer(table, value))
        if arrays[-1].shape != arrays[0].shape:
            other = f"but {paths[0]} has {arrays[0].shape}: not the same model"
            raise UserError(f"{path}: {arrays[-1].shape} layers and neurons, {other}; {remedy(path)}")
    return np.stack(arrays)


def by_neuron(values: dict[str, np.ndarray]) -> pd.DataFrame:
    """The long table (layer, neuron, one column per key) of (n_layer, p) arrays."""
    n_layer, p = next(iter(values.values())).shape
    layer = np.repeat(np.arange(n_layer, dtype=np.int32), p)
    neuron = np.tile(np.arange(p, dtype=np.int32), n_layer)
    return pd.DataFrame(
        {"layer": layer, "neuron": neuron} | {name: array.reshape(-1) for name, array in values.items()}
    )


def _check(path: str | Path, table: pa.Table, schema: str) -> None:
    """Refuse missing values and non-finite numbers (unless the column is nullable), and counts below 0."""
    for name in table.column_names:
        field = SCHEMAS[schema].field(name)
        column = table.column(name)
        if field.nullable:
            continue
        bad = column.null_count
        if pa.types.is_floating(field.type):
            bad = len(column) - int(pa.compute.sum(pa.compute.is_finite(column)).as_py() or 0)
        if bad:
            raise UserError(f"{path}: {bad} of {len(column)} values of column {name} are missing; {remedy(path)}")
        if name in COUNTED and len(column) and pa.compute.min(column).as_py() < 0:
            raise UserError(f"{path}: column {name} holds {pa.compute.min(column)}, which is below 0; {remedy(path)}")
