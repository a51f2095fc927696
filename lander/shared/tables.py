"""Every table that Lander keeps: its columns, their types and their meaning, checked on write and on read.

All tables are Parquet in long format, one row per fact. Only `write` and `read` access them, and `write_rows` and
`read_chunks` if they may not fit into memory. A damaged or foreign table is a UserError that says how to make it again.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from lander.shared.errors import UserError, brief
from lander.shared.files import check, remedy, whole_file

NEVER_EMPTY = ("train", "activations", "layers", "awareness", "neurons")  # without rows such a table is damaged
COUNTED = ("layer", "neuron", "line", "tokens", "sentences", "pairs", "part", "template")  # columns never below 0
CHUNK = 20_000  # rows of a table that is written or read in chunks

GENERAL, SPECIFIC, UNACTIVATED, UNTRAINED = "general", "specific", "unactivated", "untrained"  # kinds of neurons
SOURCE, TARGET, ABSENT, BASE = "source", "target", "absent", "base"  # with GENERAL: roles of neurons in a direction

_TABLES = {  # table -> its columns; `?` after those that may be null
    "clean": "first second origin line",  # data: a cleaned pair of languages, both directions
    "train": "source target template origin line",
    "heldout": "source target origin line other_references?",  # dev and test sets: never filtered, dropped or reordered
    "text": "text origin line",
    "counts": "direction origin reason pairs",
    "activations": "layer neuron mean tokens",
    "layers": "direction layer activation delta? selected",
    "awareness": "layer neuron score tokens",
    # sums over consecutive parts of the text; sums of some parts, divided by their tokens, are the scores of that text
    "awareness_parts": "part layer neuron score tokens sentences",
    "neurons": "layer neuron variance kind language? selected",  # a row for each owner of a neuron
    "masks": "layer neuron role owner? trained scale",
    "segments": "method variant seed test direction metric line score statistics? signature",  # of single sentences
    "scores": "method variant seed test direction metric score signature",
}
TEXT, WHOLE, NUMBER, YES, SHORT = pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.int32()
_COLUMNS = {  # column, or table.column -> type and meaning; a meaning is written into every file, as part of its bytes
    "layer": (SHORT, "layer of the model, 0..n_layer-1"),
    "neuron": (SHORT, "hidden unit of the layer's FFN, 0..p-1"),
    "direction": (TEXT, "translation direction, as in file names"),
    "origin": (TEXT, "name of the source that the line came from"),
    "line": (WHOLE, "line in that source, from 0"),
    "clean.first": (TEXT, "sentence in the first language of the pair"),  # in alphabetical order of the codes
    "clean.second": (TEXT, "its translation in the second language"),
    "source": (TEXT, "source sentence"),
    "train.target": (TEXT, "its translation"),
    "train.template": (pa.int16(), "index of the instruction template, from 0"),
    "heldout.target": (TEXT, "reference translation"),
    "heldout.other_references": (pa.list_(TEXT), "further references that are allowed; null where there are none"),
    "text.text": (TEXT, "sentence that scores the neurons"),
    "counts.reason": (TEXT, "`read`, `kept`, or why pairs were dropped, in the order of the filters"),
    "counts.pairs": (WHOLE, "number of pairs; read = kept + all dropped"),
    "activations.mean": (NUMBER, "mean activation over all tokens read (eq. 1)"),
    "activations.tokens": (WHOLE, "tokens that the mean is over"),
    "layers.activation": (NUMBER, "mean activation of the layer, over tokens and neurons"),
    "layers.delta": (NUMBER, "D, the change against the neighbouring layer (eq. 1)"),
    "layers.selected": (YES, "one of the k layers with the largest D (eq. 2)"),
    "awareness.score": (NUMBER, "the estimator's score; taylor: Phi, mean of |dL/dh * h|, nats (eq. 3-4)"),
    "awareness.tokens": (WHOLE, "tokens that the mean is over; 0: random scores"),
    "awareness_parts.part": (SHORT, "part of the text, from 0"),
    "awareness_parts.score": (NUMBER, "sum over the part's tokens of what the estimator averages (with its sign)"),
    "awareness_parts.tokens": (WHOLE, "tokens of the part that predict one"),
    "awareness_parts.sentences": (WHOLE, "sentences of the part, of all directions"),
    "neurons.variance": (NUMBER, "sigma, variance of Phi over the languages (eq. 5)"),
    "neurons.kind": (TEXT, "`general`, `specific`, `unactivated`, or `untrained` (neurons.trained_share)"),
    "neurons.language": (TEXT, "owner of a specific neuron (a row for each)"),
    "neurons.selected": (YES, "whether its layer is chosen for any direction"),
    "masks.role": (TEXT, "`general`, `source`, `target`, `absent` or `base`, in this direction"),
    "masks.owner": (TEXT, "language that owns the neuron"),
    "masks.trained": (YES, "whether this direction's batches train it"),
    "masks.scale": (NUMBER, "factor of the neuron's group (eq. 6-8), constant per layer and role"),
    "method": (TEXT, "method that made the translations"),
    "variant": (TEXT, "variant of the method"),
    "seed": (TEXT, "seed of the method"),
    "test": (TEXT, "name of the test set"),
    "metric": (TEXT, "metric, as in scores.csv"),
    "segments.line": (WHOLE, "item of the test set, from 0"),
    "segments.score": (NUMBER, "score of this sentence alone"),
    "segments.statistics": (
        pa.list_(SHORT),
        "counts that the corpus score is made of (sacreBLEU's); null where it is the mean of the scores",
    ),
    "scores.score": (NUMBER, "of the whole test set"),
    "signature": (TEXT, "how the score was computed"),
}


def _field(table: str, column: str) -> pa.Field:
    name = column.removesuffix("?")
    kind, meaning = _COLUMNS.get(f"{table}.{name}") or _COLUMNS[name]
    return pa.field(name, kind, nullable=name != column, metadata={"meaning": meaning})


SCHEMAS: dict[str, pa.Schema] = {
    table: pa.schema([_field(table, column) for column in columns.split()]) for table, columns in _TABLES.items()
}

_OPTIONS = {"compression": "zstd", "write_page_checksum": True}


def write(path: str | Path, table: pd.DataFrame | pa.Table, schema: str) -> None:
    """Write a table whole or not at all, in the columns, order and types of `SCHEMAS[schema]`, values checked.

    A column that may be null may be left out of a data frame.
    """
    if isinstance(table, pd.DataFrame):
        table = table.assign(**{one.name: None for one in SCHEMAS[schema] if one.nullable and one.name not in table})
        table = pa.Table.from_pandas(table, schema=SCHEMAS[schema], preserve_index=False)
    table = table.select(SCHEMAS[schema].names).cast(SCHEMAS[schema])
    _check(path, table, schema, "what was computed is no number (inf, nan): the text or the model is out of range")
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, **_OPTIONS)


def write_rows(path: str | Path, rows: Iterable[Sequence], schema: str) -> None:
    """As `write`, from rows (values in the order of `SCHEMAS[schema]`) that are not all in memory."""
    fields, rows = SCHEMAS[schema], iter(rows)
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, fields, **_OPTIONS) as parquet:
        while chunk := list(islice(rows, CHUNK)):
            columns = dict(zip(fields.names, zip(*chunk, strict=True), strict=True))
            parquet.write_table(pa.table(columns, fields))


def read(
    path: str | Path | BinaryIO, schema: str, columns: list[str] | None = None, name: str | None = None
) -> pd.DataFrame:
    """Read some columns (default: all) of a table made by `write`, or by anybody with the same columns.

    `name` is the table's in messages, if `path` is an open file.
    """
    wanted = SCHEMAS[schema] if columns is None else pa.schema([SCHEMAS[schema].field(column) for column in columns])
    name = name or str(path)
    with _opened(path, name) as file:
        table = file.read(columns=wanted.names)
    table = _conform(table, wanted, schema, name)
    if schema in NEVER_EMPTY and not len(table):
        raise UserError(f"{name}: no rows in it; {remedy(name)}")
    try:
        return table.to_pandas()
    except (pa.ArrowException, ValueError) as error:  # text that is not UTF-8
        raise UserError(f"{name}: a value cannot be read ({brief(error)}); {remedy(name)}") from None


def read_chunks(path: str | Path, schema: str, columns: Iterable[str]) -> Iterator[pa.Table]:
    """Some columns of a table, `CHUNK` rows at a time. UserError if a table that must have rows has none."""
    wanted = pa.schema([SCHEMAS[schema].field(name) for name in columns])
    rows = 0
    with _opened(path, str(path)) as file:
        _conform(file.schema_arrow.empty_table(), wanted, schema, str(path))
        for batch in file.iter_batches(CHUNK, columns=wanted.names):
            table = _conform(pa.Table.from_batches([batch]), wanted, schema, str(path))
            table.validate(full=True)  # text is UTF-8
            rows += len(table)
            yield table
    if schema in NEVER_EMPTY and not rows:
        raise UserError(f"{path}: no rows in it; {remedy(path)}")


def head(path: str | Path, schema: str, rows: int) -> pd.DataFrame:
    """The first `rows` rows of a table; what follows is not read."""
    parts: list[pa.Table] = []
    for part in read_chunks(path, schema, SCHEMAS[schema].names):
        parts.append(part)
        if sum(map(len, parts)) >= rows:
            break
    whole = pa.concat_tables(parts) if parts else SCHEMAS[schema].empty_table()
    return whole.slice(0, rows).to_pandas()


@contextmanager
def _opened(path: str | Path | BinaryIO, name: str) -> Iterator[pq.ParquetFile]:
    """Yield a Parquet file to read from in the block; what is wrong with it becomes a `UserError`."""
    if isinstance(path, str | Path):
        check(path)
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{name}: no such file; `snakemake --cores 1 -- {name}` makes it") from None
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise UserError(f"{name}: not a readable Parquet file ({brief(error)}); {remedy(name)}") from None


def _conform(table: pa.Table, wanted: pa.Schema, schema: str, name: str) -> pa.Table:
    """A table cut and cast to the wanted columns (fields of `SCHEMAS[schema]`) and types, its values checked."""
    if missing := [column for column in wanted.names if column not in table.column_names]:
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


def references_of(heldout: pd.DataFrame) -> list[list[str]]:
    """All references of each item of a table `heldout`, the first one first."""
    rows = zip(heldout["target"], heldout.get("other_references", [None] * len(heldout)), strict=True)
    return [[first] if others is None else [first, *others] for first, others in rows]


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
    flat = {name: array.reshape(-1) for name, array in values.items()}
    return pd.DataFrame({"layer": layer, "neuron": neuron} | flat)


def _check(path: str | Path, table: pa.Table, schema: str, advice: str | None = None) -> None:
    """Refuse missing values and non-finite numbers (unless the column is nullable), and counts below 0.

    `advice` is what to do; by default to make the table again.
    """
    advice = advice or remedy(path)
    for name in table.column_names:
        field = SCHEMAS[schema].field(name)
        column = table.column(name)
        if field.nullable:
            continue
        bad = column.null_count
        if pa.types.is_floating(field.type):
            bad = len(column) - int(pa.compute.sum(pa.compute.is_finite(column)).as_py() or 0)
        if bad:
            raise UserError(f"{path}: {bad} of {len(column)} values of column {name} are missing; {advice}")
        if name in COUNTED and len(column) and pa.compute.min(column).as_py() < 0:
            raise UserError(f"{path}: column {name} holds {pa.compute.min(column)}, which is below 0; {advice}")
