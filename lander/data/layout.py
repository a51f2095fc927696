"""Which files of a dataset in the hub's layout hold a split of a configuration, as `datasets` would find them.

`datasets` cannot look for itself when only these files are to be fetched, or when there is no network. `configs:` in
README.md names the files; without it, a configuration is a folder and a split is part of a file's name.
"""

import re
from collections import Counter
from fnmatch import fnmatch

import yaml

from lander.shared.errors import UserError

BUILDERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv", ".tsv": "csv"}
ENDS = (*BUILDERS, *(f"{end}.gz" for end in BUILDERS))
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})(\..*)")  # a file that counts itself: -00000-of-00002.parquet
_OTHER = re.compile(r"(^|/)\.|(^|/)(dataset_infos?|config|package)\.json$")  # files that hold no rows


def configurations(files: list[str], card: str) -> list[str]:
    """Names of the configurations: those of the card, else the folders that hold data."""
    named = [str(entry.get("config_name", "default")) for entry in _configs(card)]
    return named or sorted({name.split("/")[0] for name in _data(files) if "/" in name})


def select(place: str, files: list[str], card: str, config: str | None, split: str) -> list[str]:
    """The data files of a split, sorted.

    UserError, which names `place`, if there is no file, files are of several kinds, or parts of a file are missing.
    """
    data = _data(files)
    entry = next((entry for entry in _configs(card) if str(entry.get("config_name", "default")) == config), {})
    if "data_files" in entry:
        patterns = []
        for one in entry["data_files"] if isinstance(entry["data_files"], list) else [entry["data_files"]]:
            of, path = (one.get("split"), one.get("path")) if isinstance(one, dict) else ("train", one)
            if of == split:
                patterns += map(str, path if isinstance(path, list) else [path])
        found = [name for name in data if any(fnmatch(name, pattern) for pattern in patterns)]
    else:
        folder = str(entry.get("data_dir") or config or "")
        found = _of_split([name for name in data if folder and name.startswith(f"{folder}/")] or data, split)
    if not found:
        raise UserError(f"dataset {place}: no file of the split {split!r}{f' of {config}' if config else ''}")
    if len({builder(name) for name in found}) > 1:
        raise UserError(f"dataset {place}: the split {split!r} is in files of several kinds ({', '.join(found[:5])})")
    shards = [match for name in found if (match := _SHARD.fullmatch(name))]
    parts = Counter((name, total, end) for name, _, total, end in (match.groups() for match in shards))
    for (name, total, end), number in parts.items():
        if number < int(total):
            raise UserError(f"dataset {place}: {name}*{end}: {number} of its {int(total)} parts are there")
    return sorted(found)


def builder(name: str) -> str:
    """What `datasets` calls the format of a file."""
    return BUILDERS["." + name.removesuffix(".gz").rsplit(".", 1)[-1]]


def _data(files: list[str]) -> list[str]:
    return [name for name in files if name.endswith(ENDS) and not _OTHER.search(name)]


def _configs(card: str) -> list[dict]:
    """The entries of `configs:` in the card's front matter; none if it has no valid one."""
    if not card.startswith("---"):
        return []
    try:
        front = yaml.safe_load(card[3:].split("\n---", 1)[0])
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []
    configs = front.get("configs") if isinstance(front, dict) else None
    return [entry for entry in configs if isinstance(entry, dict)] if isinstance(configs, list) else []


def _of_split(files: list[str], split: str) -> list[str]:
    """Files whose path names the split; if no path names any split, all are `train`."""

    def names(path: str, words: tuple[str, ...]) -> bool:
        return any(re.search(rf"(^|[^a-z]){word}($|[^a-z])", path.lower()) for word in words)

    if not any(names(path, words) for path in files for words in SPLITS.values()):
        return files if split == "train" else []
    return [path for path in files if names(path, SPLITS.get(split, (split,)))]
