"""Training pairs of a direction: at most `max_pairs` of the clean ones, each with an instruction template.

The choice hangs on a hash of seed, direction and the two texts alone, so it does not change with the order of lines,
files or sources, and few pairs change when a few are added. The table is read twice: once for the hashes (all that
stays in memory), then for the rows that were chosen, which are written in the order of their hashes, that is shuffled:
they are dealt out to a file for each block of the output, and then each block is put in order.

In: tables `clean` and `counts` of the pair, templates. Out: tables `train` and `counts` of the direction.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa

from lander.data import chunks
from lander.data.overlap import digest
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.files import remedy
from lander.shared.languages import Direction

BLOCK = 200_000  # rows that are in memory at once while the output is written
ROW = ("first", "second", "origin", "line")


def sample(
    direction: Direction,
    clean: Path,
    counts: Path,
    origins: Collection[str],
    max_pairs: int,
    seed: int,
    templates: int,
    out: Path,
    counts_out: Path,
    unique: Collection[str] = (),
) -> None:
    """Choose and write the training pairs of a direction.

    Args:
        clean, counts: tables of the pair of languages, made by `clean_pair`.
        origins: names of the sources that may serve this direction.
        max_pairs: 0 takes all.
        templates: how many there are to choose from.
        out, counts_out: files to write.
        unique: `source` and/or `target`: a sentence may stand on that side once only.

    Raises:
        UserError: no pair is left, or a file cannot be read.
    """
    reverse = direction != direction.pair
    hashes = _read_hashes(direction, clean, seed, set(unique))
    order, dropped = _choose(hashes, set(origins), max_pairs)
    if not len(order):
        raise UserError(f"direction {direction}: no training pair is left from the sources that serve it (data.train)")
    # named as temporary files of `out` are, so that `files.sweep` finds what a killed job has left
    with chunks.writing(out, "train") as writer, TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        rows = _rows(clean, order, len(hashes.place), Path(folder))
        for number, (first, second, origin, line) in zip(order, rows, strict=True):
            source, target = (second, first) if reverse else (first, second)
            writer.add((source, target, int(hashes.template[number] % templates), origin, line))
        counted = _count(direction, counts, dropped)
        if counted.loc[counted["reason"] == "kept", "pairs"].sum() != len(order):
            raise UserError(f"{counts}: does not count the pairs of {clean}; {remedy(counts)}")
        tables.write(counts_out, counted, "counts")


def pair_hash(seed: int, direction: Direction, source: str, target: str) -> tuple[int, int]:
    """Two 64-bit numbers that depend on nothing else: the pair's place in the shuffle, and its template's."""
    text = f"{seed}\0{direction}\0{source}\0{target}".encode("utf-8", "surrogatepass")
    value = blake2b(text, digest_size=16).digest()
    return int.from_bytes(value[:8]), int.from_bytes(value[8:])


@dataclass(frozen=True)
class Hashes:
    """What is kept in memory of each row of a clean table, in its order."""

    place: np.ndarray  # uint64: the row's place in the shuffle
    template: np.ndarray  # uint64: modulo the number of templates, its template
    origin: pd.Categorical
    texts: dict[str, np.ndarray]  # {side: uint64 digests} of the sides where a sentence may stand only once


def _read_hashes(direction: Direction, clean: Path, seed: int, unique: set[str]) -> Hashes:
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("place", "template", *sorted(unique))}
    origins = [pd.Categorical([])]
    for chunk in chunks.reading(clean, "clean", ("first", "second", "origin")):
        sides = (chunk["first"], chunk["second"]) if direction == direction.pair else (chunk["second"], chunk["first"])
        both = [pair_hash(seed, direction, source, target) for source, target in zip(*sides, strict=True)]
        parts["place"].append(np.array([place for place, _ in both], dtype=np.uint64))
        parts["template"].append(np.array([template for _, template in both], dtype=np.uint64))
        for side in unique:
            texts = sides[("source", "target").index(side)]
            parts[side].append(np.array([digest(text) for text in texts], dtype=np.uint64))
        origins.append(pd.Categorical(chunk["origin"]))
    whole = {name: np.concatenate([np.zeros(0, dtype=np.uint64), *arrays]) for name, arrays in parts.items()}
    origin = pd.api.types.union_categoricals([part for part in origins if len(part)] or origins)
    return Hashes(whole["place"], whole["template"], origin, {side: whole[side] for side in sorted(unique)})


def _choose(hashes: Hashes, origins: set[str], max_pairs: int) -> tuple[np.ndarray, dict[str, dict[str, int]]]:
    """Numbers of the rows that are taken, in their new order, and what was dropped as {origin: {reason: pairs}}."""
    dropped: dict[str, dict[str, int]] = {}
    count = _counter(hashes.origin, dropped)
    serves = np.asarray(hashes.origin.isin(list(origins)))
    count("direction", np.flatnonzero(~serves))
    order = np.flatnonzero(serves)
    order = order[np.argsort(hashes.place[order], kind="stable")]
    for side, digests in hashes.texts.items():
        _, first = np.unique(digests[order], return_index=True)
        count(f"duplicate_{side}", np.delete(order, first))
        order = order[np.sort(first)]
    if max_pairs:
        count("max_pairs", order[max_pairs:])
        order = order[:max_pairs]
    return order, dropped


def _counter(origin: pd.Categorical, dropped: dict[str, dict[str, int]]) -> Callable[[str, np.ndarray], None]:
    """A function that counts dropped rows into `dropped`, by origin and reason."""

    def count(reason: str, rows: np.ndarray) -> None:
        for name, pairs in pd.Series(origin[rows]).value_counts().items():
            if pairs:
                dropped.setdefault(name, {})[reason] = int(pairs)

    return count


def _rows(clean: Path, order: np.ndarray, count: int, folder: Path) -> Iterator[tuple[str, str, str, int]]:
    """(first, second, origin, line) of the rows with the numbers `order`, in that order, of a table of `count` rows."""
    files = [folder / str(block) for block in range(-(-len(order) // BLOCK))]
    _deal(clean, order, count, files)
    for block, file in enumerate(files):
        with pa.OSFile(str(file)) as stream:
            rows = pa.ipc.open_stream(stream).read_all()
        file.unlink()
        ordered = rows.take(np.argsort(order[block * BLOCK :][:BLOCK]).argsort())
        for batch in ordered.to_batches(chunks.ROWS):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _deal(clean: Path, order: np.ndarray, count: int, files: list[Path]) -> None:
    """Each of the rows `order` of a table into the file of its block, in the table's order."""
    blocks = np.full(count, -1, dtype=np.int32)  # of each row
    blocks[order] = np.arange(len(order)) // BLOCK
    begin = 0
    with ExitStack() as stack:
        schema = pa.schema([tables.SCHEMAS["clean"].field(name).with_nullable(True) for name in ROW])
        streams = [stack.enter_context(pa.OSFile(str(file), "wb")) for file in files]
        writers = [stack.enter_context(pa.ipc.new_stream(stream, schema)) for stream in streams]
        for table in chunks.reading_tables(clean, "clean", ROW):
            here = blocks[begin : begin + len(table)]
            for block in np.unique(here[here >= 0]):
                writers[block].write_table(table.take(np.flatnonzero(here == block)))
            begin += len(table)


def _count(direction: Direction, counts: Path, dropped: dict[str, dict[str, int]]) -> pd.DataFrame:
    """The pair's counts as the direction's: what was not chosen moves from `kept` to its own reason."""
    rows = []
    for origin, group in tables.read(counts, "counts").groupby("origin", sort=False):
        pairs = dict(zip(group["reason"], group["pairs"], strict=True))
        kept = pairs.pop("kept", -1)
        more = dropped.get(origin, {})
        pairs.update(more)
        pairs["kept"] = kept - sum(more.values())
        if pairs["kept"] < 0 or pairs.get("read", 0) * 2 != sum(pairs.values()):
            raise UserError(f"{counts}: the counts of {origin} do not add up; {remedy(counts)}")
        rows += [(str(direction), origin, reason, number) for reason, number in pairs.items()]
    return pd.DataFrame(rows, columns=tables.SCHEMAS["counts"].names)
