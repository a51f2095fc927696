"""Datasets in the layout of the Hugging Face hub: from the hub, or from a local folder, through `datasets`.

With HF_HUB_OFFLINE, a dataset of the hub is read from the hub's cache, where `lander prefetch` puts it. Rows are
streamed: no copy is cached that would be stale after a change of a local folder. A row is either `{"translation":
{"en": ..., "de": ...}}`, as in opus-100, or has a column per language, named by its code or by the source's `columns`
(which also names the keys of `translation`: `columns: {zh-Hant: zh, en: en}`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import datasets

from lander.data import layout
from lander.data.testsets import offline
from lander.shared.errors import UserError, brief


def rows(source: dict, languages: Sequence[str], start: int = 0) -> Iterator[tuple[str, ...]]:
    """Yield the texts of `languages` for each row from `start` on; a missing value is an empty text.

    Raises:
        UserError: the dataset, config, split or column does not exist, or cannot be read.
    """
    dataset = _open(source, languages)
    columns: dict[str, str] | None = None
    for row in rows_of(source, dataset.skip(start) if start else dataset):
        if columns is None:
            columns = _columns(source, row, languages)
        texts = _texts(row)
        values = tuple(texts.get(columns[language]) for language in languages)
        if wrong := [value for value in values if not isinstance(value, str | None)]:
            raise UserError(f"dataset {source['hf']}: a value of a language's column is not text but {wrong[0]!r:.80}")
        yield tuple(value or "" for value in values)


def rows_of(source: dict, dataset: datasets.IterableDataset) -> Iterator[dict]:
    """Yield the rows of a dataset.

    Raises:
        UserError: a row cannot be read.
    """
    try:
        yield from dataset
    except UserError:
        raise
    except Exception as error:  # readers of many formats, each with its own errors
        raise UserError(f"dataset {source['hf']}: cannot be read ({brief(error)})") from None


def languages_of(source: dict) -> tuple[str, ...]:
    """Languages of the source, from `columns` or the first row."""
    if "columns" in source:
        return tuple(source["columns"])
    texts = _texts(next(rows_of(source, _open(source, ())), {}))
    return tuple(key for key, value in texts.items() if isinstance(value, str))


def _open(source: dict, languages: Sequence[str]) -> datasets.IterableDataset:
    place, split = str(source["hf"]), source.get("split", "train")
    path = Path(place).expanduser()
    # The disk is checked first: asking the hub for a mistyped path is slow, and its answer unclear.
    if path.exists() and not path.is_dir():
        raise UserError(f"dataset {place}: is a file; `hf` takes a folder or an id (use `files` or `tsv` for a file)")
    if not path.exists() and (place.startswith((".", "/", "~")) or place.count("/") > 1):
        raise UserError(f"dataset {place}: no such folder")
    if not path.is_dir() and offline():
        return open_cached(source, languages)
    folder, revision = str(path) if path.is_dir() else place, source.get("revision")
    try:
        names = datasets.get_dataset_config_names(folder, revision=revision)
        name = _pick_config(source, names, source.get("config"), languages)
        if name not in names and (Path(folder) / name).is_dir():  # a folder per config, without `configs:` in README.md
            folder, name = str(Path(folder) / name), None
        return datasets.load_dataset(folder, name, split=split, streaming=True, revision=revision)
    except UserError:
        raise
    except (ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
        raise UserError(
            f"dataset {place}: there is no folder of that name, and the hub does not have it ({brief(error)})"
        ) from None
    except Exception as error:  # `datasets` raises nearly anything for a folder that it does not understand
        raise UserError(f"dataset {place}, split {split}: {brief(error)}") from None


def open_cached(source: dict, languages: Sequence[str]) -> datasets.IterableDataset:
    """A dataset of the hub from the hub's cache.

    Raises:
        UserError: it is not in the cache, or its files cannot be opened.
    """
    import huggingface_hub

    place, split = source["hf"], source.get("split", "train")
    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                place,
                repo_type="dataset",
                revision=source.get("revision"),
                local_files_only=True,
                allow_patterns=["README.md"],  # without it, all files of the repository would have to be there
            )
        )
        files = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
        chosen = files_of(source, languages, files, read_card(folder))
    except (OSError, ValueError, UserError) as error:
        raise UserError(
            f"dataset {place}: HF_HUB_OFFLINE is set and it is not in the cache ({brief(error)}); run `lander "
            "prefetch` with the same config on a machine with a network"
        ) from None
    paths = [str(folder / name) for name in chosen]
    options = {"sep": "\t"} if chosen[0].removesuffix(".gz").endswith(".tsv") else {}
    try:
        return datasets.load_dataset(
            layout.builder(chosen[0]), data_files=paths, split="train", streaming=True, **options
        )
    except Exception as error:  # see `_open`
        raise UserError(f"dataset {place}, split {split}: {brief(error)}") from None


def check_cached(source: dict, languages: Sequence[str]) -> None:
    """Read a row of a dataset of the hub from the hub's cache.

    Raises:
        UserError: it is not there, or lacks a language.
    """
    row = next(rows_of(source, open_cached(source, languages)), None)
    if row is None:
        raise UserError(f"dataset {source['hf']}: the split {source.get('split', 'train')!r} holds no row")
    _columns(source, row, languages)


def files_of(source: dict, languages: Sequence[str], files: list[str], card: str) -> list[str]:
    """The files of a dataset that a source reads for some languages.

    Args:
        files: all files of the dataset.
        card: text of its README.md.
    Raises:
        UserError: no such config or split.
    """
    names = layout.configurations(files, card)
    config = source.get("config")
    if config is not None or names:
        config = _pick_config(source, names, config, languages)
    return layout.select(source["hf"], files, card, config, source.get("split", "train"))


def read_card(folder: Path) -> str:
    """README.md of a dataset, empty if it has none."""
    card = folder / "README.md"
    return card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""


def _pick_config(source: dict, names: list[str], config: str | None, languages: Sequence[str]) -> str:
    """The wanted config; a pair's config may name its languages in either order."""
    if config is None:
        if len(names) == 1:
            return names[0]
        if len(languages) != 2:
            raise UserError(f"dataset {source['hf']}: `config` is missing; there are: {', '.join(names[:30])}")
        config = "-".join(languages)
    swapped = "-".join(reversed(config.split("-")))
    for candidate in (config, swapped):
        if candidate in names or (Path(source["hf"]).expanduser() / candidate).is_dir():
            return candidate
    raise UserError(f"dataset {source['hf']}: no config {config!r}; there are: {', '.join(names[:30])}")


def _columns(source: dict, row: dict, languages: Sequence[str]) -> dict[str, str]:
    """Name of each language's column (or key of `translation`), checked against the first row."""
    named, texts = source.get("columns", {}), _texts(row)
    columns = {language: named.get(language, language) for language in languages}
    for language, column in columns.items():
        if column not in texts:
            raise UserError(
                f"dataset {source['hf']}: no column {column!r} for {language}; there are: {', '.join(texts)} "
                "(`columns` maps languages to columns)"
            )
    return columns


def _texts(row: dict) -> dict:
    """The part of a row that holds its texts."""
    translation = row.get("translation")
    return translation if isinstance(translation, dict) else row
