"""Datasets in the layout of the Hugging Face hub: from the hub, or from a local folder, through `datasets`.

With HF_HUB_OFFLINE, a dataset of the hub is read from the hub's cache, where `lander prefetch` puts it. Rows are
streamed: no copy is cached that would be stale after a change of a local folder. A row is either `{"translation":
{"en": ..., "de": ...}}`, as in opus-100, or has a column per language, named by its code or by the source's `columns`
(which also names the keys of `translation`: `columns: {zh-Hant: zh, en: en}`).

`files_of` finds the files of a split as `datasets` does. `datasets` cannot look for itself when only these files are to
be fetched, or when there is no network.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

import datasets

from lander.data.sources import Source
from lander.data.testsets import offline
from lander.shared.errors import UserError, brief
from lander.shared.yamlfile import parse_yaml

BUILDERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv", ".tsv": "csv"}
ENDS = (*BUILDERS, *(f"{end}.gz" for end in BUILDERS))
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SHARD = re.compile(r"(.*)-\d{5}-of-(\d{5})(\..*)")  # a file that counts itself: -00000-of-00002.parquet
_OTHER = re.compile(r"(^|/)\.|(^|/)(dataset_infos?|config|package)\.json$")  # files that hold no rows


def rows(
    source: Source, languages: Sequence[str], start: int = 0, *, cached: bool = False
) -> Iterator[tuple[str, ...]]:
    """Yield the texts of `languages` for each row from `start` on; a missing value is an empty text.

    With `cached`, a dataset of the hub is read from the hub's cache, as offline.
    """
    columns = {language: (source.columns or {}).get(language, language) for language in languages}
    place = f"dataset {source.hf}"
    try:
        from_cache = cached or (source.remote and offline())
        dataset = _open_cached(source, languages) if from_cache else _open(source, languages)
        for number, row in enumerate(dataset.skip(start) if start else dataset):
            translation = row.get("translation")
            texts = translation if isinstance(translation, dict) else row
            for language, column in columns.items():
                if number == 0 and column not in texts:
                    raise UserError(
                        f"{place}: no column {column!r} for {language}; there are: {', '.join(texts)} "
                        "(`columns` maps languages to columns)"
                    )
                if not isinstance(value := texts.get(column), str | None):
                    raise UserError(f"{place}: a value of a language's column is not text but {value!r:.80}")
            yield tuple(texts.get(column) or "" for column in columns.values())
    except UserError:
        raise
    except (ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
        raise UserError(
            f"{place}: there is no folder of that name, and the hub does not have it ({brief(error)})"
        ) from None
    except Exception as error:  # nearly anything, from readers of many formats
        raise UserError(f"{place}, split {source.split or 'train'}: {brief(error)}") from None


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
    return datasets.load_dataset(_builder(chosen[0]), data_files=paths, split="train", streaming=True, **options)


def files_of(source: Source, languages: Sequence[str], files: list[str], card: str) -> list[str]:
    """The files of a dataset that a source reads for some languages, sorted.

    `configs:` in the card names them; without it, a configuration is a folder and a split is part of a file's path.
    UserError if there is no file, files are of several kinds, or parts of a file are missing. `files` are all files of
    the dataset, `card` is the text of its README.md.
    """
    data = [name for name in files if name.endswith(ENDS) and not _OTHER.search(name)]
    entries = {str(entry.get("config_name", "default")): entry for entry in _configs(card)}
    folders = {name.split("/")[0] for name in data if "/" in name}
    names = list(entries) or sorted(folder for folder in folders if not _names_split(folder, SPLITS))
    config = _pick_config(source, names, languages) if source.config or names else None
    entry, split = entries.get(config, {}), source.split or "train"
    if "data_files" in entry:
        patterns = []
        for one in entry["data_files"] if isinstance(entry["data_files"], list) else [entry["data_files"]]:
            of, path = (one.get("split"), one.get("path")) if isinstance(one, dict) else ("train", one)
            if of == split:
                patterns += map(str, path if isinstance(path, list) else [path])
        found = [name for name in data if any(fnmatch(name, pattern) for pattern in patterns)]
    else:
        folder = str(entry.get("data_dir") or config or "")
        found = [name for name in data if folder and name.startswith(f"{folder}/")] or data
        if split != "train" or any(_names_split(name, SPLITS) for name in found):
            found = [name for name in found if _names_split(name, [split])]
    place = f"dataset {source.hf}: "
    if not found:
        raise UserError(f"{place}no file of the split {split!r}{f' of {config}' if config else ''}")
    if len(set(map(_builder, found))) > 1:
        raise UserError(f"{place}the split {split!r} is in files of several kinds ({', '.join(found[:5])})")
    parts = Counter(match.groups() for name in found if (match := _SHARD.fullmatch(name)))
    for (name, total, end), number in parts.items():
        if number < int(total):
            raise UserError(f"{place}{name}*{end}: {number} of its {int(total)} parts are there")
    return sorted(found)


def _names_split(path: str, splits: Iterable[str]) -> bool:
    words = [word for split in splits for word in SPLITS.get(split, (split,))]
    return any(re.search(rf"(^|[^a-z]){re.escape(word)}($|[^a-z])", path.lower()) for word in words)


def _builder(name: str) -> str:
    """What `datasets` calls the format of a file."""
    return BUILDERS["." + name.removesuffix(".gz").rsplit(".", 1)[-1]]


def _configs(card: str) -> list[dict]:
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
    raise UserError(f"dataset {source.hf}: no config {config!r}; there are: {known}")
