"""Datasets in the layout of the Hugging Face hub: from the hub, or from a local folder, through `datasets`.

Where HF_HUB_OFFLINE is set, a data set of the hub is read from the hub's cache, where `lander prefetch` has put it.
Rows are streamed: nothing is copied into a cache that could go stale when a local folder changes. A row is either
`{"translation": {"en": ..., "de": ...}}`, as in opus-100, or has a column per language, named by its code or by the
source's `columns` (which name the keys of `translation` just as well: `columns: {zh-Hant: zh, en: en}`).
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
        yield tuple(_text(source, texts.get(columns[language])) for language in languages)


def rows_of(source: dict, dataset: datasets.IterableDataset) -> Iterator[dict]:
    """The rows of a data set.

    Raises:
        UserError: one cannot be read.
    """
    try:
        yield from dataset
    except UserError:
        raise
    except Exception as error:  # readers of many formats, each with errors of its own
        raise UserError(f"dataset {source['hf']}: cannot be read ({_brief(error)})") from None


def languages_of(source: dict) -> tuple[str, ...]:
    """Languages that a row holds, from the first one."""
    if "columns" in source:
        return tuple(source["columns"])
    row = next(rows_of(source, _open(source, ())), {})
    texts = _texts(row)
    return tuple(key for key, value in texts.items() if isinstance(value, str))


def _open(source: dict, languages: Sequence[str]) -> datasets.IterableDataset:
    folder, config = _locate(source)
    split = source.get("split", "train")
    options = {"split": split, "streaming": True, "revision": source.get("revision")}
    if not Path(folder).is_dir() and offline():
        return open_cached(source, languages)
    try:
        names = datasets.get_dataset_config_names(folder, revision=source.get("revision"))
        name = _pick_config(source, names, config, languages)
        if name not in names and (Path(folder) / name).is_dir():  # a folder per config, without `configs:` in README.md
            folder, name = str(Path(folder) / name), None
        return datasets.load_dataset(folder, name, **options)
    except UserError:
        raise
    except (ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
        raise UserError(
            f"dataset {source['hf']}: there is no folder of that name, and it cannot be had from the hub "
            f"({_brief(error)})"
        ) from None
    except Exception as error:  # datasets raises nearly anything for a folder that it does not understand
        raise UserError(f"dataset {source['hf']}, split {split}: {_brief(error)}") from None


def open_cached(source: dict, languages: Sequence[str]) -> datasets.IterableDataset:
    """A data set of the hub from the hub's cache."""
    import huggingface_hub

    place, split = source["hf"], source.get("split", "train")
    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                place,
                repo_type="dataset",
                revision=source.get("revision"),
                local_files_only=True,
                allow_patterns=["README.md"],  # it would ask for all files of the repository; ours are looked for below
            )
        )
        files = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
        chosen = files_of(source, languages, files, read_card(folder))
    except (OSError, ValueError, UserError) as error:
        raise UserError(
            f"dataset {place}: HF_HUB_OFFLINE is set and it is not in the cache ({_brief(error)}); run `lander "
            "prefetch` with the same config where there is a network"
        ) from None
    paths = [str(folder / name) for name in chosen]
    options = {"sep": "\t"} if chosen[0].removesuffix(".gz").endswith(".tsv") else {}
    try:
        return datasets.load_dataset(
            layout.builder(chosen[0]), data_files=paths, split="train", streaming=True, **options
        )
    except Exception as error:  # see `_open`
        raise UserError(f"dataset {place}, split {split}: {_brief(error)}") from None


def check_cached(source: dict, languages: Sequence[str]) -> None:
    """Read a row of a data set of the hub from the hub's cache.

    Raises:
        UserError: it is not there, or has no such languages.
    """
    row = next(rows_of(source, open_cached(source, languages)), None)
    if row is None:
        raise UserError(f"dataset {source['hf']}: the split {source.get('split', 'train')!r} holds no row")
    _columns(source, row, languages)


def files_of(source: dict, languages: Sequence[str], files: list[str], card: str) -> list[str]:
    """The files of a data set that a source reads for some languages.

    Args:
        files: all files of the data set.
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
    """README.md of a data set, empty where it has none."""
    card = folder / "README.md"
    return card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""


def _locate(source: dict) -> tuple[str, str | None]:
    """The folder or the hub's id, after a look at the disk: asking the hub for a mistyped path is slow and unclear."""
    place = str(source["hf"])
    path = Path(place).expanduser()
    if path.is_dir():
        return str(path), source.get("config")
    if path.exists():
        raise UserError(f"dataset {place}: is a file; `hf` takes a folder or an id (use `files` or `tsv` for a file)")
    if place.startswith((".", "/", "~")) or place.count("/") > 1:
        raise UserError(f"dataset {place}: no such folder")
    return place, source.get("config")


def _pick_config(source: dict, names: list[str], config: str | None, languages: Sequence[str]) -> str:
    """The config asked for; a pair's config may be named in either order of its languages."""
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
    named = source.get("columns", {})
    columns = {language: named.get(language, language) for language in languages}
    texts = _texts(row)
    for language, column in columns.items():
        if column not in texts:
            raise UserError(
                f"dataset {source['hf']}: no column {column!r} for {language}; there are: {', '.join(texts)} "
                "(`columns` maps languages to columns)"
            )
    return columns


def _texts(row: dict) -> dict:
    """Where a row's texts are."""
    translation = row.get("translation")
    return translation if isinstance(translation, dict) else row


def _text(source: dict, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UserError(f"dataset {source['hf']}: a value of a language's column is no text but {value!r:.80}")
    return value


def _brief(error: Exception) -> str:
    return brief(error)
