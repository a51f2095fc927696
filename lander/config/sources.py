"""Sources of parallel text as the config names them: what they are called, which languages and files they have.

The workflow and the stages pass a source on as JSON (`Source.json`); reading one is the business of lander.data.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lander.data import testsets, tmx
from lander.shared.errors import UserError
from lander.shared.languages import Direction, parse_direction

KINDS = ("builtin", "files", "tsv", "hf", "tmx", "sacrebleu")
COMPANIONS = {  # key -> the kinds of source that it belongs to
    "vocabulary": ("builtin",),
    "columns": ("tsv", "hf", "tmx"),
    "config": ("hf", "sacrebleu"),
    "split": ("hf",),
    "revision": ("hf",),
}


@dataclass(frozen=True)
class Source:
    """One source. `languages` is None where it serves any (the built-in corpus)."""

    name: str
    kind: str
    languages: tuple[str, ...] | None
    directions: tuple[Direction, ...] | None
    json: dict[str, Any]  # as in the config, with the name filled in

    def serves(self, direction: Direction) -> bool:
        """Whether the source has text of both languages and is not kept for other directions."""
        if self.directions is not None and direction not in self.directions:
            return False
        return self.languages is None or {direction.source, direction.target} <= set(self.languages)

    def files(self, languages: Iterable[str] | None = None) -> list[str]:
        """Local files that hold the text (of some languages), empty for what is built in or on the hub."""
        if self.kind == "files":
            return [path for code, path in self.json["files"].items() if languages is None or code in set(languages)]
        if self.kind in ("tsv", "tmx"):
            return [self.json[self.kind]]
        if self.kind == "hf" and os.path.isdir(self.json["hf"]):
            return sorted(str(path) for path in Path(self.json["hf"]).rglob("*") if path.is_file())
        return []

    @property
    def remote(self) -> bool:
        """Whether reading it needs a network."""
        if self.kind == "sacrebleu":
            return not all(testsets.cached(self.json["sacrebleu"], pair) for pair in testsets.pairs(self.json))
        return self.kind == "hf" and not os.path.isdir(self.json["hf"])


def parse_sources(values: list[dict[str, Any]], key: str, *, named: bool = False) -> tuple[Source, ...]:
    """Parse a list of sources, check that their files are there and give a name to those that have none.

    Args:
        key: where the list stands in the config, for messages.
        named: whether each must have a name of its own in the config (test sets).
    Raises:
        UserError: not exactly one kind, a key of another kind, a missing name or file, a name used twice.
    """
    sources = [_parse(value, f"{key}[{index}]", named=named) for index, value in enumerate(values)]
    given = {source.name for value, source in zip(values, sources, strict=True) if "name" in value}
    return tuple(_unique(values, sources, given, key, shared=named))


def _parse(value: dict[str, Any], key: str, *, named: bool) -> Source:
    kinds = [kind for kind in KINDS if kind in value]
    if len(kinds) != 1:
        found = " and ".join(kinds) if kinds else "none"
        raise UserError(f"{key}: a source is exactly one of {', '.join(KINDS)}, found {found}")
    kind = kinds[0]
    for companion, owners in COMPANIONS.items():
        if companion in value and kind not in owners:
            raise UserError(f"{key}.{companion}: belongs to a source of the kind {owners[0]}, not {kind}; remove it")
    if named and "name" not in value:
        raise UserError(f"{key}: a test source needs a name; add `name: news`, for example: results go by it")
    start, stop = value.get("lines", (0, None))
    if start is None or (stop is not None and start >= stop):
        raise UserError(f"{key}.lines: [{start}, {stop}] holds no line; write [start, stop] with start below stop")
    directions = tuple(map(parse_direction, value["directions"])) if "directions" in value else None
    source = Source(
        name=value.get("name") or _derived_name(value, kind),
        kind=kind,
        languages=_languages(value, kind, key, directions),
        directions=directions,
        json=value,
    )
    _check_files(source, key)
    return source


def _languages(
    value: dict[str, Any], kind: str, key: str, directions: tuple[Direction, ...] | None
) -> tuple[str, ...] | None:
    if kind == "builtin":
        return None
    if kind == "files":
        return tuple(value["files"])
    if kind == "tsv":
        if not isinstance(value.get("columns"), list):
            raise UserError(
                f"{key}: a tsv source needs the languages of its columns; add `columns: [en, de]`, for example"
            )
        return tuple(value["columns"])
    if kind in ("hf", "tmx") and isinstance(value.get("columns"), list):
        raise UserError(f"{key}.columns: a list is for tsv; write a mapping, code: name of the column or language")
    if isinstance(value.get("columns"), dict):
        return tuple(value["columns"])
    if kind == "tmx":
        _check_file(value["tmx"], key)
        try:
            return tmx.languages(value["tmx"])
        except UserError as error:
            raise UserError(f"{key}: {error}") from None
    if kind == "sacrebleu" and "config" in value:
        pair = parse_direction(value["config"])
        return pair.source, pair.target
    if directions is None and "config" in value and len(codes := value["config"].split("-")) == 2:
        return tuple(codes)
    if directions is None:
        raise UserError(
            f"{key}: its languages are not known; add `config: en-de` or `directions: [en-de]`, for example"
        )
    return tuple(dict.fromkeys(code for direction in directions for code in (direction.source, direction.target)))


def _check_files(source: Source, key: str) -> None:
    if source.kind == "hf":
        path = source.json["hf"]
        looks_local = path.startswith((".", "/", "~")) or path.count("/") != 1
        if looks_local and not os.path.isdir(path):
            raise UserError(f"{key}.hf: {path}: no such folder, and a data set on the hub is written owner/name")
        return
    for path in source.files():
        if source.files().count(path) > 1:
            raise UserError(f"{key}: {path}: stands for two languages; each has a file of its own")
        _check_file(path, key)


def _check_file(path: str, key: str) -> None:
    if os.path.isdir(path):
        raise UserError(f"{key}: {path}: is a folder; name the file in it")
    if not os.path.isfile(path):
        where = "" if os.path.isabs(path) else f" (paths are relative to {os.getcwd()})"
        raise UserError(f"{key}: {path}: no such file{where}")


def _derived_name(value: dict[str, Any], kind: str) -> str:
    """Built-in name, the files' common stem (or their folder where they are called after the language), hub id."""
    if kind == "builtin":
        return value["builtin"]
    if kind == "hf":
        name = "-".join([Path(value["hf"]).name, *([value["config"]] if "config" in value else [])])
    elif kind == "sacrebleu":
        name = "-".join([value["sacrebleu"], *([value["config"]] if "config" in value else [])])
    elif kind in ("tsv", "tmx"):
        name = Path(value[kind]).name.removesuffix(".gz").removesuffix(".zip").removesuffix(f".{kind}")
    else:
        paths = list(value["files"].values())
        name = os.path.commonprefix([Path(path).name for path in paths]).rstrip(".-_")  # noqa: RUF071 (characters)
        name = name if len(name) > 2 else Path(paths[0]).parent.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-_") or kind


def _unique(
    values: list[dict[str, Any]], sources: list[Source], given: set[str], key: str, *, shared: bool
) -> Iterable[Source]:
    """Fill names in; derived ones get a number where they are taken, given ones must differ.

    Several test sources may share a name (`shared`) where they serve different directions: one test set in parts.
    """
    counts = Counter(source.name for value, source in zip(values, sources, strict=True) if "name" in value)
    twice = [name for name, count in counts.items() if count > 1]
    if twice and not shared:
        raise UserError(f"{key}: the name {twice[0]} is given to {counts[twice[0]]} sources; give each its own")
    taken = set(given)
    for value, source in zip(values, sources, strict=True):
        name, number = source.name, 2
        while "name" not in value and name in taken:
            name, number = f"{source.name}-{number}", number + 1
        taken.add(name)
        yield Source(name, source.kind, source.languages, source.directions, {**value, "name": name})
