"""Which files of a data set in the hub's layout hold a split of a configuration, as `datasets` would find them.

Needed where `datasets` cannot look for itself: to fetch these files and no others, and to read them where there is no
network. A README.md says it under `configs:`; without it, a configuration is a folder, and a split part of a file name.
"""

import re
from fnmatch import fnmatch

import yaml

from lander.shared.errors import UserError

BUILDERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv", ".tsv": "csv"}
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})(\..*)")
_OTHER = re.compile(r"(^|/)\.|(^|/)(dataset_infos?|config|package)\.json$")  # files that hold no rows


def configurations(files: list[str], card: str) -> list[str]:
    """Names of the configurations: those of the card, else the folders that hold data."""
    named = [str(entry.get("config_name", "default")) for entry in _configs(card)]
    return named or sorted({name.split("/")[0] for name in _data(files) if "/" in name})


def select(place: str, files: list[str], card: str, config: str | None, split: str) -> list[str]:
    """The data files of a split, sorted.

    Args:
        place: the data set, for messages.
        files: paths in the data set.
        card: text of its README.md.

    Raises:
        UserError: no file, files of several kinds, or parts of a file are missing.
    """
    data = _data(files)
    entry = next((entry for entry in _configs(card) if str(entry.get("config_name", "default")) == config), None)
    if entry is not None and "data_files" in entry:
        patterns = _patterns(entry["data_files"], split)
        found = [name for name in data if any(fnmatch(name, pattern) for pattern in patterns)]
    else:
        folder = str((entry or {}).get("data_dir") or config or "")
        inside = [name for name in data if folder and name.startswith(f"{folder}/")] or data
        found = _of_split(inside, split)
    if not found:
        raise UserError(f"dataset {place}: no file of the split {split!r}{f' of {config}' if config else ''}")
    builders = {builder(name) for name in found}
    if len(builders) > 1:
        raise UserError(f"dataset {place}: the split {split!r} is in files of several kinds ({', '.join(found[:5])})")
    _check_parts(place, found)
    return sorted(found)


def builder(name: str) -> str:
    """What `datasets` calls the format of a file."""
    return BUILDERS["." + name.removesuffix(".gz").rsplit(".", 1)[-1]]


def _data(files: list[str]) -> list[str]:
    ends = (*BUILDERS, *(f"{end}.gz" for end in BUILDERS))
    return [name for name in files if name.endswith(ends) and not _OTHER.search(name)]


def _configs(card: str) -> list[dict]:
    """The entries of `configs:` in the card's front matter; none where it has no sound one."""
    if not card.startswith("---"):
        return []
    try:
        front = yaml.safe_load(card[3:].split("\n---", 1)[0])
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []
    configs = front.get("configs") if isinstance(front, dict) else None
    return [entry for entry in configs if isinstance(entry, dict)] if isinstance(configs, list) else []


def _patterns(data_files: object, split: str) -> list[str]:
    """Patterns of a split; where no split is named, all is `train`."""
    found = []
    for entry in data_files if isinstance(data_files, list) else [data_files]:
        of, path = (entry.get("split"), entry.get("path")) if isinstance(entry, dict) else ("train", entry)
        if of == split:
            found += map(str, path if isinstance(path, list) else [path])
    return found


def _of_split(files: list[str], split: str) -> list[str]:
    """Files whose path names the split; where none names any split, all are `train`."""

    def names(path: str, words: tuple[str, ...]) -> bool:
        return any(re.search(rf"(^|[^a-z]){word}($|[^a-z])", path.lower()) for word in words)

    if not any(names(path, words) for path in files for words in SPLITS.values()):
        return files if split == "train" else []
    return [path for path in files if names(path, SPLITS.get(split, (split,)))]


def _check_parts(place: str, files: list[str]) -> None:
    """Files that count themselves (-00000-of-00002) are all there."""
    there: dict[tuple[str, str, str], set[str]] = {}
    for name in files:
        if match := _SHARD.fullmatch(name):
            there.setdefault((match[1], match[3], match[4]), set()).add(match[2])
    for (name, total, end), parts in there.items():
        if len(parts) < int(total):
            raise UserError(f"dataset {place}: {name}*{end}: {len(parts)} of its {int(total)} parts are there")
