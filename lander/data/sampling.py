"""Training pairs of a direction: at most `max_pairs` of the clean ones, each with an instruction template.

The choice depends only on a hash of seed, direction and the two texts. It does not change with the order of lines,
files or sources, and changes little when a few pairs are added. The table is read twice: once for the hashes (all that
stays in memory), once for the chosen rows. These are written in the order of their hashes, that is shuffled: each row
first goes into a temporary file for its block of the output, and then each block is sorted.

In: tables `clean` and `counts` of the pair, templates. Out: tables `train` and `counts` of the direction.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from lander.data.cleaning import REPAIRED
from lander.data.overlap import digest
from lander.data.settings import resolve
from lander.data.templates import load_templates
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.files import prefix, remedy
from lander.shared.languages import Direction

BLOCK = 200_000  # rows in memory at once while the output is written


def sample(
    direction: Direction,
    clean: Path,
    counts: Path,
    origins: Collection[str],
    max_pairs: int,
    seed: int,
    templates: str | None,
    cleaning: Mapping[str, Any],
    out: Path,
    counts_out: Path,
) -> None:
    """Choose and write the training pairs of a direction. UserError if no pair is left.

    Args:
        clean, counts: tables of the pair of languages, made by `clean_pair`.
        origins: names of the sources that may serve this direction.
        max_pairs: 0 takes all.
        cleaning: settings, of which `duplicates` may keep each sentence only once on a side.
    """
    duplicates = resolve(cleaning)["default"]["duplicates"]
    unique = [side for side in ("source", "target") if duplicates[side]]
    sides = ("first", "second") if direction == direction.pair else ("second", "first")  # that hold source and target
    of_pair = tables.read(counts, "counts")
    hashes = _read_hashes(direction, clean, (*sides, "origin"), seed, of_pair["origin"].unique(), unique)
    order, dropped = _choose(hashes, origins, max_pairs, unique)
    if not len(order):
        raise UserError(f"direction {direction}: no training pair is left from the sources that serve it (data.train)")
    counted = _count(direction, of_pair, dropped)
    if counted is None or counted.loc[counted["reason"] == "kept", "pairs"].sum() != len(order):
        raise UserError(f"{counts}: does not count the pairs of {clean}; {remedy(counts)}")
    numbers = (hashes["template"].to_numpy()[order] % len(load_templates(templates))).tolist()
    # named like temporary files of `out`, so that `files.sweep` finds what a killed job has left
    with TemporaryDirectory(prefix=prefix(out), dir=out.parent) as folder:
        found = zip(numbers, _rows(clean, (*sides, "origin", "line"), order, len(hashes), Path(folder)), strict=True)
        rows = ((source, target, template, *place) for template, (source, target, *place) in found)
        tables.write_rows(out, rows, "train")
    tables.write(counts_out, counted, "counts")


def pair_hash(seed: int, direction: Direction, source: str, target: str) -> tuple[int, int]:
    """Two 64-bit numbers that depend on nothing else: the pair's place in the shuffle, and its template's number."""
    text = f"{seed}\0{direction}\0{source}\0{target}".encode("utf-8", "surrogatepass")
    value = blake2b(text, digest_size=16).digest()
    return int.from_bytes(value[:8]), int.from_bytes(value[8:])


def _read_hashes(
    direction: Direction, clean: Path, columns: Sequence[str], seed: int, origins: Sequence[str], unique: Sequence[str]
) -> pd.DataFrame:
    """What is kept in memory of each row of a clean table, in its order.

    Columns: `place` in the shuffle, `template` (modulo the number of templates, its template), for each side in
    `unique` a digest of its text (all uint64), and `origin` (categorical).
    """
    parts = []
    for chunk in tables.read_chunks(clean, "clean", columns):
        sources, targets, names = (column.to_pylist() for column in chunk.columns)
        hashes = [pair_hash(seed, direction, *pair) for pair in zip(sources, targets, strict=True)]
        part = pd.DataFrame(np.array(hashes, dtype=np.uint64).reshape(-1, 2), columns=["place", "template"])
        for side in unique:
            texts = sources if side == "source" else targets
            part[side] = np.array(list(map(digest, texts)), dtype=np.uint64)
        parts.append(part.assign(origin=pd.Categorical(names, categories=origins)))
    return pd.concat(parts, ignore_index=True)


def _choose(
    hashes: pd.DataFrame, origins: Collection[str], max_pairs: int, unique: Sequence[str]
) -> tuple[np.ndarray, pd.DataFrame]:
    """Numbers of the chosen rows, in their new order, and how many of each origin (row) are dropped why (column)."""
    serves = hashes["origin"].isin(origins).to_numpy()
    dropped = {"direction": np.flatnonzero(~serves)}
    order = np.flatnonzero(serves)
    order = order[np.argsort(hashes["place"].to_numpy()[order], kind="stable")]
    for side in unique:
        _, first = np.unique(hashes[side].to_numpy()[order], return_index=True)
        dropped[f"duplicate_{side}"] = np.delete(order, first)
        order = order[np.sort(first)]
    if max_pairs:
        dropped["max_pairs"] = order[max_pairs:]
        order = order[:max_pairs]
    return order, pd.DataFrame({reason: hashes["origin"].iloc[rows].value_counts() for reason, rows in dropped.items()})


def _rows(clean: Path, columns: Sequence[str], order: np.ndarray, count: int, folder: Path) -> Iterator[tuple]:
    """Yield some columns of the rows with the numbers `order`, of `count` in all; `folder` holds a file per block."""
    blocks = np.full(count, -1, dtype=np.int32)  # the block of each row of the table, -1 for rows that were not chosen
    blocks[order] = np.arange(len(order)) // BLOCK
    files = [folder / str(block) for block in range(-(-len(order) // BLOCK))]
    begin = 0
    with ExitStack() as stack:
        schema = pa.schema([tables.SCHEMAS["clean"].field(name).with_nullable(True) for name in columns])
        streams = [stack.enter_context(pa.OSFile(str(file), "wb")) for file in files]
        writers = [stack.enter_context(pa.ipc.new_stream(stream, schema)) for stream in streams]
        for table in tables.read_chunks(clean, "clean", columns):
            here = blocks[begin : begin + len(table)]
            for block in np.unique(here[here >= 0]):
                writers[block].write_table(table.take(np.flatnonzero(here == block)))
            begin += len(table)
    for block, file in enumerate(files):
        with pa.OSFile(str(file)) as stream:
            rows = pa.ipc.open_stream(stream).read_all()  # in the table's order
        file.unlink()
        ordered = rows.take(np.argsort(order[block * BLOCK :][:BLOCK]).argsort())
        for batch in ordered.to_batches(tables.CHUNK):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _count(direction: Direction, of_pair: pd.DataFrame, dropped: pd.DataFrame) -> pd.DataFrame | None:
    """The pair's counts as the direction's; None if they do not add up.

    Pairs that were not chosen move from `kept` to their own reason.
    """
    rows = []
    for origin, group in of_pair.groupby("origin", sort=False):
        pairs = dict(zip(group["reason"], group["pairs"], strict=True))
        more = {reason: int(number) for reason, number in dropped.loc[origin].items() if number}
        kept = pairs.pop("kept", -1) - sum(more.values())
        pairs |= {**more, "kept": kept}
        if kept < 0 or pairs.get("read", 0) * 2 != sum(pairs.values()) - pairs.get(REPAIRED, 0):
            return None
        rows += [(str(direction), origin, reason, number) for reason, number in pairs.items()]
    return pd.DataFrame(rows, columns=tables.SCHEMAS["counts"].names)
