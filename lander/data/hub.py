"""Datasets in the layout of the Hugging Face hub: from the hub, or from a local folder.

With HF_HUB_OFFLINE, a dataset of the hub is read from the hub's cache, where `lander prefetch` puts it. Rows are
streamed: no copy is cached that would be stale after a change of a local folder.

A row has a column per language, named by its code or by the source's `columns`. The columns are in the row itself or
together in a mapping inside it, as in `{"translation": {"en": ..., "de": ...}}` or `{"de-en": {...}}`; `columns` may
also give the whole path (`translation.en`). A list of texts is several translations.

Texts stay as they are written. Files are read here: `datasets` would make numbers, dates and missing values (`None`,
`NA`, `null`) of text in CSV and JSON, takes brackets in a path for a pattern, and names no file or row in its errors.

`files_of` finds the files of a split as `datasets` does. `datasets` cannot look for itself when only these files are to
be fetched, or when there is no network, and it refuses folders in which other files lie.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lander.data import delimited
from lander.data.reading import Texts
from lander.data.sources import Source
from lander.data.testsets import offline
from lander.data.textfiles import ENDS as PACKED
from lander.data.textfiles import LFS, PEEKED, TextFile, bare, open_raw
from lander.shared.errors import UserError, brief
from lander.shared.languages import find_language, parse_language
from lander.shared.yamlfile import parse_yaml

BUILDERS = {
    ".parquet": "parquet", ".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv", ".tsv": "csv",
    ".arrow": "arrow",
}  # fmt: skip
ENDS = (*BUILDERS, *(end + packed for end in BUILDERS for packed in PACKED))
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
Row = dict[str, Any]
Placed = tuple[str, Any]  # a row, behind its place in words
BATCH = 1_000  # rows of a Parquet file in memory
_SHARD = re.compile(r"(.*)-\d{5}-of-(\d{5})(\..*)")  # a file that counts itself: -00000-of-00002.parquet
_OTHER = re.compile(  # files that hold no rows, and what `map` has cached beside them
    r"(^|/)\.|(^|/)(dataset_infos?|config|package|dataset_dict|state)\.json$|(^|/)cache-[^/]*\.arrow$"
)


def rows(
    source: Source, languages: Sequence[str], start: int = 0, *, cached: bool = False
) -> Iterator[tuple[Texts, ...]]:
    """Yield the texts of `languages` for each row from `start` on; a missing value is an empty text.

    With `cached`, a dataset of the hub is read from the hub's cache, as offline.
    """
    columns = {language: (source.columns or {}).get(language, language) for language in languages}
    prefix, own = None, columns
    for place, row in islice(_open(source, languages, source.split or "train", cached), start, None):
        if not isinstance(row, dict):
            raise UserError(f"{place}: not columns with their values but {row!r:.80}")
        try:
            flat = _flat(row)
        except (ValueError, TypeError, RecursionError) as error:  # lists of languages and texts that do not fit
            raise UserError(f"{place}: {brief(error)}") from None
        if prefix is None or not all(prefix + column in flat for column in own.values()):
            if flat.get((prefix or "translation.")[:-1], "") is None:  # nothing where the columns would be
                prefix, flat = prefix or "translation.", {}
            else:
                prefix, own = _prefix(flat, columns, place)
        texts = tuple(_texts(flat.get(prefix + column), place) for column in own.values())
        if len(texts) > 1 and all(isinstance(text, list) for text in texts):
            raise UserError(
                f"{place}: {' and '.join(own.values())} hold lists of texts; only one may be several translations"
            )
        yield texts


def _flat(row: Row, prefix: str = "") -> Row:
    """The values of a row by path: {"translation": {"en": "a"}} is also {"translation.en": "a"}.

    {"language": ["en", "de"], "translation": ["a", "b"]} is such a mapping too, as in `datasets`.
    """
    found: Row = {}
    for name, value in row.items():
        if (
            isinstance(value, dict)
            and set(value) == {"language", "translation"}
            and isinstance(value["language"], list)
        ):
            pairs, value = zip(value["language"], value["translation"], strict=True), {}
            for language, text in pairs:
                value.setdefault(language, []).append(text)
        found[prefix + name] = value
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
    return found


def _prefix(flat: Row, columns: dict[str, str], place: str) -> tuple[str, dict[str, str]]:
    """The path of what holds all the columns: `translation` if it does, else the row, else the first that does.

    The columns too: named by another code of the language (`eng` for `en`) if none has the wanted name.
    """
    others = (f"{path}." for path, value in flat.items() if isinstance(value, dict) and path != "translation")
    holders = ["translation.", "", *others]

    def exact(holder: str) -> dict[str, str] | None:
        return columns if all(holder + column in flat for column in columns.values()) else None

    def by_meaning(holder: str) -> dict[str, str] | None:
        names = [path.removeprefix(holder) for path in flat if path.startswith(holder)]
        own = {language: find_language(column, names) for language, column in columns.items()}
        return None if None in own.values() else own

    for look in (exact, by_meaning):
        found = {holder: own for holder in holders if (own := look(holder))}
        if len(found) > 1 and not found.keys() & set(holders[:2]):
            paths = [holder[:-1] for holder in found]
            code, column = next(iter(columns.items()))
            choice = f"`columns: {{{code}: {paths[0]}.{column}, ...}}`, for example"
            raise UserError(f"{place}: {' and '.join(paths)} hold the columns; choose with {choice}")
        if found:
            return next(iter(found.items()))
    missing = [(code, name) for code, name in columns.items() if not any(holder + name in flat for holder in holders)]
    language, column = (missing or list(columns.items()))[0]
    there = ", ".join(path for path, value in flat.items() if not isinstance(value, dict))
    raise UserError(
        f"{place}: no column {column!r} for {language}; there are: {there:.300} (`columns` maps languages to columns)"
    )


def _texts(value: Any, place: str) -> Texts:
    """A text, or the texts of a list that has several."""
    if isinstance(value, list) and all(isinstance(text, str | None) for text in value):
        texts = [text for text in value if text]
        value = texts if len(texts) > 1 else "".join(texts)
    elif not isinstance(value, str | None):
        raise UserError(f"{place}: a value of a language's column is not text but {value!r:.80}; write it as text")
    if re.search("[\ud800-\udfff]", "".join(value or "")):
        raise UserError(f"{place}: half of a pair of surrogates, which is no character")
    return value or ""


def _open(source: Source, languages: Sequence[str], split: str, cached: bool) -> Iterator[Placed]:
    """The rows of a local folder, of the hub's cache, or of the hub."""
    if not source.remote:
        return _read(*_chosen(source, languages, Path(source.hf)))
    if cached or offline():
        return _read(*_open_cached(source, languages))
    import datasets  # takes a second

    place = f"dataset {source.hf}, split {split}"
    try:
        name = _pick_config(source, datasets.get_dataset_config_names(source.hf, revision=source.revision), languages)
        builder = datasets.load_dataset_builder(source.hf, name, revision=source.revision)
        files = (builder.config.data_files or {}).get(split)
    except UserError:
        raise
    except (ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
        raise UserError(
            f"dataset {source.hf}: there is no folder of that name, and the hub does not have it ({brief(error)})"
        ) from None
    except Exception as error:  # nearly anything
        raise UserError(f"{place}: {brief(error)}") from None
    if not files or builder.name not in BUILDERS.values():
        kinds = ", ".join(sorted(set(BUILDERS.values())))
        raise UserError(f"{place}: no files of rows ({kinds}) are in this split")
    return _read(builder.name, files, vars(builder.config))


def _open_cached(source: Source, languages: Sequence[str]) -> tuple[str, list[str], Row]:
    """Kind, files and options of a dataset of the hub in the hub's cache."""
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            source.hf,
            repo_type="dataset",
            revision=source.revision,
            local_files_only=True,
            allow_patterns=["README.md"],  # without it, all files of the repository would have to be there
        )
        return _chosen(source, languages, Path(folder))
    except (OSError, ValueError, UserError) as error:
        raise UserError(
            f"dataset {source.hf}: HF_HUB_OFFLINE is set and it is not in the cache ({brief(error)}); run `lander "
            "prefetch` with the same config on a machine with a network"
        ) from None


def _chosen(source: Source, languages: Sequence[str], folder: Path) -> tuple[str, list[str], Row]:
    """Kind and files that a source reads of a folder, and the options of its configuration in the card."""
    files, card = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()], read_card(folder)
    chosen = files_of(source, languages, files, card)
    _, options = _entry(source, languages, files, card)
    return _builder(chosen[0]), [str(folder / name) for name in chosen], options


def _read(kind: str, files: Iterable[str], options: Row) -> Iterator[Placed]:
    """The rows of files of one kind, each with its place. UserError names a file that cannot be read."""
    reader = {"csv": _csv_rows, "json": _json_rows, "parquet": _table_rows, "arrow": _table_rows}[kind]
    for path in files:
        try:
            yield from reader(path, options)
        except UserError:
            raise
        except Exception as error:  # nearly anything, from readers of many formats
            raise UserError(f"{path}: {brief(error)}") from None


def _csv_rows(path: str, options: Row) -> Iterator[Placed]:
    tsv = {} if options.get("delimiter") or options.get("sep") or not bare(path).endswith(".tsv") else {"sep": "\t"}
    return delimited.rows(path, options | tsv)


def _json_rows(path: str, options: Row) -> Iterator[Placed]:
    """Rows in one line each, or one document (the `field` of it that the card names)."""
    with TextFile(path) as file:
        file.refuse_foreign()
        begin, field = file.stream.peek(PEEKED), options.get("field")
        if field or re.match(rb"(\xef\xbb\xbf)?\s*\[", begin):
            document = json.loads(file.read_bytes(-1))
            if field and (not isinstance(document, dict) or field not in document):
                raise UserError(f"{path}: has no field {field!r}, which the card (README.md) names")
            yield from _records(path, document[field] if field else document)
            return
        lines = ((number, line) for number, line in enumerate(iter(file.read_line, None), 1) if line.strip())
        head = list(islice(lines, 2))
        if len(head) == 1 or not all(line.rstrip().endswith("}") for _, line in head[:1]):
            text = "\n".join(line for _, line in chain(head, lines))
            yield from _records(path, _parsed(f"{path}, row 1", text))
            return
        for number, line in chain(head, lines):
            place = f"{path}, row {number}"
            yield place, _parsed(place, line)


def _parsed(place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"{place}: not JSON in one line, nor is the file one document ({error})") from None


def _records(path: str, document: Any) -> Iterator[Placed]:
    """The rows of a JSON document: a list of rows, a mapping of equally long columns, or one row."""
    if isinstance(document, dict):
        columns = list(document.values())
        sizes = {len(column) if isinstance(column, list) else 0 for column in columns}
        many = len(sizes) == 1 and sizes.pop() > 1
        document = [dict(zip(document, row, strict=True)) for row in zip(*columns, strict=True)] if many else [document]
    for number, row in enumerate(document if isinstance(document, list) else [document], 1):
        yield f"{path}, row {number}", row


def _table_rows(path: str, _options: Row) -> Iterator[Placed]:
    """Rows of a Parquet file, or of an Arrow file or stream."""
    with open_raw(path) as stream:
        begin = stream.peek(PEEKED)
        if begin.startswith(LFS):
            raise UserError(f"{path}: is a pointer of Git LFS; get the file itself with `git lfs pull`")
        if begin.startswith(b"PAR1"):
            batches = pq.ParquetFile(stream).iter_batches(BATCH)
        elif begin.startswith(b"ARROW1"):
            file = pa.ipc.open_file(stream)
            batches = map(file.get_batch, range(file.num_record_batches))
        else:
            batches = pa.ipc.open_stream(stream)
        rows = chain.from_iterable(batch.to_pylist() for batch in batches)
        yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))


def files_of(source: Source, languages: Sequence[str], files: list[str], card: str) -> list[str]:
    """The files of a dataset that a source reads for some languages, sorted.

    `configs:` in the card names them; without it, a configuration is a folder and a split is part of a file's path.
    UserError if there is no file, files are of several kinds, or parts of a file are missing. `files` are all files of
    the dataset, `card` is the text of its README.md.
    """
    data = _data(files)
    config, entry = _entry(source, languages, files, card)
    split = source.split or "train"
    if "data_files" in entry:
        patterns = []
        for one in entry["data_files"] if isinstance(entry["data_files"], list) else [entry["data_files"]]:
            of, path = (one.get("split"), one.get("path")) if isinstance(one, dict) else ("train", one)
            if of == split:
                patterns += map(str, path if isinstance(path, list) else [path])
        found = [name for name in data if any(name == pattern or fnmatch(name, pattern) for pattern in patterns)]
    else:
        folder = str(entry.get("data_dir") or config or "")
        found = [name for name in data if folder and name.startswith(f"{folder}/")] or data
        if split != "train" or any(_names_split(name, SPLITS) for name in found):
            found = [name for name in found if _names_split(name, [split])]
    place = f"dataset {source.hf}: "
    if not found:
        raise UserError(f"{place}no file of the split {split!r}{f' of {config}' if config else ''}")
    if len({(_builder(name), bare(name).endswith(".tsv")) for name in found}) > 1:
        raise UserError(f"{place}the split {split!r} is in files of several kinds ({', '.join(found[:5])})")
    parts = Counter(match.groups() for name in found if (match := _SHARD.fullmatch(name)))
    for (name, total, end), number in parts.items():
        if number < int(total):
            raise UserError(f"{place}{name}*{end}: {number} of its {int(total)} parts are there")
    return sorted(found)


def _data(files: Iterable[str]) -> list[str]:
    """Files that may hold rows."""
    return [name for name in files if name.endswith(ENDS) and not _OTHER.search(name)]


def _entry(source: Source, languages: Sequence[str], files: list[str], card: str) -> tuple[str | None, Row]:
    """The configuration that a source reads, None if the dataset has none, and its entry in the card, if it has one."""
    entries = {str(entry.get("config_name", "default")): entry for entry in _configs(card)}
    folders = {name.split("/")[0] for name in _data(files) if "/" in name}
    names = list(entries) or sorted(folder for folder in folders if not _names_split(folder, SPLITS))
    config = _pick_config(source, names, languages) if source.config or names else None
    return config, entries.get(config, {})


def _names_split(path: str, splits: Iterable[str]) -> bool:
    words = [word for split in splits for word in SPLITS.get(split, (split,))]
    return any(re.search(rf"(^|[^a-z]){re.escape(word)}($|[^a-z])", path.lower()) for word in words)


def _builder(name: str) -> str:
    """What `datasets` calls the format of a file."""
    return BUILDERS[Path(bare(name)).suffix]


def _configs(card: str) -> list[Row]:
    """The entries of `configs:` in the card's front matter; none if it has no valid one."""
    front = None
    if card.startswith("---"):
        with suppress(UserError):
            front = parse_yaml(card[3:].split("\n---", 1)[0], "README.md")
    configs = front.get("configs") if isinstance(front, dict) else None
    return [entry for entry in configs if isinstance(entry, dict)] if isinstance(configs, list) else []


def read_card(folder: Path) -> str:
    """README.md of a dataset, empty if it has none."""
    card = folder / "README.md"
    return card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""


def _pick_config(source: Source, names: list[str], languages: Sequence[str]) -> str:
    """The wanted config; a pair's config may name its languages in either order."""
    config, known = source.config, ", ".join(names[:30])
    if config is None:
        if len(names) == 1:
            return names[0]
        if len(languages) != 2:
            raise UserError(f"dataset {source.hf}: `config` is missing; there are: {known}")
        config = "-".join(languages)
    for candidate in (config, "-".join(reversed(config.split("-")))):
        if candidate in names or (Path(source.hf) / candidate).is_dir():
            return candidate
    wanted = set(map(parse_language, config.split("-") if source.config else languages))
    for name in names:
        if set(map(parse_language, name.split("-"))) == wanted:
            return name
    raise UserError(f"dataset {source.hf}: no config {config!r}; there are: {known}")
