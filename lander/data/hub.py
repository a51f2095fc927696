"""Datasets in the layout of the Hugging Face hub: from the hub, or from a local folder, through `datasets`.

With HF_HUB_OFFLINE, a dataset of the hub is read from the hub's cache, where `lander prefetch` puts it. Rows are
streamed: no copy is cached that would be stale after a change of a local folder. A row is either `{"translation":
{"en": ..., "de": ...}}`, as in opus-100, or has a column per language, named by its code or by the source's `columns`
(which also names the keys of `translation`: `columns: {zh-Hant: zh, en: en}`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import datasets

from lander.data import layout
from lander.data.sources import Source
from lander.data.testsets import offline
from lander.shared.errors import UserError, brief


def rows(
    source: Source, languages: Sequence[str], start: int = 0, *, cached: bool = False
) -> Iterator[tuple[str, ...]]:
    """Yield the texts of `languages` for each row from `start` on; a missing value is an empty text.

    With `cached`, a dataset of the hub is read from the hub's cache, as offline.
    """
    columns = {language: (source.columns or {}).get(language, language) for language in languages}
    with _faults(source):
        from_cache = cached or (source.remote and offline())
        dataset = _open_cached(source, languages) if from_cache else _open(source, languages)
        for number, row in enumerate(dataset.skip(start) if start else dataset):
            translation = row.get("translation")
            texts = translation if isinstance(translation, dict) else row
            if number == 0:
                for language, column in columns.items():
                    if column not in texts:
                        raise UserError(
                            f"dataset {source.hf}: no column {column!r} for {language}; there are: {', '.join(texts)} "
                            "(`columns` maps languages to columns)"
                        )
            values = tuple(texts.get(column) for column in columns.values())
            if wrong := [value for value in values if not isinstance(value, str | None)]:
                raise UserError(f"dataset {source.hf}: a value of a language's column is not text but {wrong[0]!r:.80}")
            yield tuple(value or "" for value in values)


@contextmanager
def _faults(source: Source) -> Iterator[None]:
    """What `datasets` raises, as a UserError: nearly anything, from readers of many formats."""
    try:
        yield
    except UserError:
        raise
    except (ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
        raise UserError(
            f"dataset {source.hf}: there is no folder of that name, and the hub does not have it ({brief(error)})"
        ) from None
    except Exception as error:
        raise UserError(f"dataset {source.hf}, split {source.split or 'train'}: {brief(error)}") from None


def _open(source: Source, languages: Sequence[str]) -> datasets.IterableDataset:
    """A dataset of the hub, or a local folder."""
    place = source.hf
    names = datasets.get_dataset_config_names(place, revision=source.revision)
    name = _pick_config(source, names, languages)
    if name not in names:  # a folder per config, without `configs:` in README.md
        place, name = str(Path(place) / name), None
    return datasets.load_dataset(place, name, split=source.split or "train", streaming=True, revision=source.revision)


def _open_cached(source: Source, languages: Sequence[str]) -> datasets.IterableDataset:
    """A dataset of the hub from the hub's cache."""
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            source.hf,
            repo_type="dataset",
            revision=source.revision,
            local_files_only=True,
            allow_patterns=["README.md"],  # without it, all files of the repository would have to be there
        )
        files = [str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()]
        chosen = files_of(source, languages, files, read_card(Path(folder)))
    except (OSError, ValueError, UserError) as error:
        raise UserError(
            f"dataset {source.hf}: HF_HUB_OFFLINE is set and it is not in the cache ({brief(error)}); run `lander "
            "prefetch` with the same config on a machine with a network"
        ) from None
    paths = [str(Path(folder) / name) for name in chosen]
    options = {"sep": "\t"} if chosen[0].removesuffix(".gz").endswith(".tsv") else {}
    kind = layout.builder(chosen[0])
    return datasets.load_dataset(kind, data_files=paths, split="train", streaming=True, **options)


def files_of(source: Source, languages: Sequence[str], files: list[str], card: str) -> list[str]:
    """Those of all `files` of a dataset that a source reads for some languages; `card` is the text of its README.md."""
    names = layout.configurations(files, card)
    config = _pick_config(source, names, languages) if source.config or names else None
    return layout.select(source.hf, files, card, config, source.split or "train")


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
    raise UserError(f"dataset {source.hf}: no config {config!r}; there are: {known}")
