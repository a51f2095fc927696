"""Sources of parallel text as the config names them: which kind, which languages and files.

The workflow and the stages pass a source on as JSON (`Source.json`); `lander.data.sources` reads one.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from lander.data import testsets, tmx
from lander.shared.errors import UserError
from lander.shared.languages import Direction, parse_direction
from lander.shared.section import Section

Text = Annotated[str, Field(min_length=1)]
DirectionValue = Annotated[
    Direction,
    BeforeValidator(lambda value: value if isinstance(value, Direction) else parse_direction(value)),
    PlainSerializer(lambda one: [one.source, one.target] if "--" in str(one) else str(one)),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
]
COMPANIONS = {  # key -> the kinds of source that it belongs to
    "vocabulary": ("builtin",),
    "columns": ("tsv", "hf", "tmx"),
    "config": ("hf", "sacrebleu"),
    "split": ("hf",),
    "revision": ("hf",),
}


class Source(Section):
    """One source of parallel text: exactly one of builtin, files, tsv, hf, tmx and sacrebleu."""

    builtin: Literal["cldr"] | None = Field(
        None, description="Text that comes with Lander; cldr is phrases generated from the Unicode CLDR."
    )
    vocabulary: Literal["known", "all"] | None = Field(
        None,
        description="Which part of cldr: known (the easy part, whose translations the built-in base has read) or all.",
    )
    files_: dict[str, Text] | None = Field(
        None,
        alias="files",
        min_length=2,
        description="Line-aligned plain or .gz text files of two or more languages, as code to path.",
    )
    tsv: Text | None = Field(None, description="Tab-separated file, plain or .gz, with the languages of `columns`.")
    columns: Annotated[tuple[Text, ...], Field(min_length=2)] | dict[str, Text] | None = Field(
        None,
        description="For tsv: the languages of the columns, first to last. For hf: code to column, if the columns are "
        "not called by their codes. For tmx: code to the file's xml:lang, if one has to be chosen (zh to zh-CN).",
    )
    hf: Text | None = Field(
        None, description="Data set on the Hugging Face hub, or a local folder with the layout of one."
    )
    tmx: Text | None = Field(
        None, description="Translation memory, plain, .gz or .zip with one memory in it; en-US serves en."
    )
    sacrebleu: Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._/-]*$")] | None = Field(
        None,
        description="Test set of sacreBLEU, as wmt16, with the languages of `directions` or `config`; read from its "
        "cache (environment variable SACREBLEU), or fetched.",
    )
    config: Text | None = Field(
        None,
        description="Configuration of the hf data set, which also names its languages, as en-it; or the direction of "
        "the sacrebleu test set, which is then read both ways.",
    )
    split: Text | None = Field(None, description="Split of the hf data set.")
    revision: Text | None = Field(None, description="Commit, tag or branch of the hf data set.")
    name: Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = Field(
        None, description="Name in tables and files; test sources need one."
    )
    lines: tuple[Annotated[int | None, Field(ge=0)], ...] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="Half-open range [start, stop) of lines, counted from 0; a stop of null is the end.",
    )
    directions: Annotated[tuple[DirectionValue, ...], Field(min_length=1)] | None = Field(
        None, description="The directions that the source may serve; without it, all that it can."
    )

    @property
    def kinds(self) -> list[str]:
        """The keys given that say what the source is; one in a source that `parse_sources` has checked."""
        given = {kind: self.files_ if kind == "files" else getattr(self, kind) for kind in KINDS}
        return [kind for kind, value in given.items() if value is not None]

    @property
    def kind(self) -> str:
        """builtin, files, tsv, hf, tmx or sacrebleu."""
        return self.kinds[0]

    @property
    def json(self) -> dict[str, Any]:
        """The source as plain values, as in the config, with its name: what the stages take."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True) | (
            {"lines": list(self.lines)} if self.lines else {}
        )

    @cached_property
    def languages(self) -> tuple[str, ...] | None:
        """Codes of its languages; None if it serves any (the built-in corpus).

        Raises:
            UserError: they are not known; the message does not name the source.
        """
        if self.kind == "builtin":
            return None
        if self.kind == "files":
            return tuple(self.files_)
        if self.columns is not None:
            return tuple(self.columns)
        if self.kind == "tsv":
            raise UserError("a tsv source needs the languages of its columns; add `columns: [en, de]`, for example")
        if self.kind == "tmx":
            return tmx.languages(self.tmx)
        if self.kind == "sacrebleu" and self.config:
            pair = parse_direction(self.config)
            return pair.source, pair.target
        if self.directions is not None:
            return tuple(dict.fromkeys(code for one in self.directions for code in (one.source, one.target)))
        if self.config and len(codes := self.config.split("-")) == 2:
            return tuple(codes)
        raise UserError("its languages are not known; add `config: en-de` or `directions: [en-de]`, for example")

    def serves(self, direction: Direction) -> bool:
        """Whether the source has text of both languages and is not kept for other directions."""
        if self.directions is not None and direction not in self.directions:
            return False
        return self.languages is None or {direction.source, direction.target} <= set(self.languages)

    def files(self, languages: Iterable[str] | None = None) -> list[str]:
        """Local files that hold the text (of some languages); empty for text that is built in or on the hub."""
        if self.kind == "files":
            wanted = set(self.files_ if languages is None else languages)
            return [path for code, path in self.files_.items() if code in wanted]
        if self.kind in ("tsv", "tmx"):
            return [getattr(self, self.kind)]
        if self.kind == "hf" and os.path.isdir(self.hf):
            return sorted(str(path) for path in Path(self.hf).rglob("*") if path.is_file())
        return []

    @property
    def remote(self) -> bool:
        """Whether reading it needs a network."""
        if self.kind == "sacrebleu":
            return not all(testsets.cached(self.sacrebleu, pair) for pair in testsets.pairs(self.json))
        return self.kind == "hf" and not os.path.isdir(self.hf)


KINDS = ("builtin", "files", "tsv", "hf", "tmx", "sacrebleu")


def parse_sources(sources: Iterable[Source], key: str, *, named: bool = False) -> tuple[Source, ...]:
    """Check sources and their files, and give a name to those that have none.

    Derived names get a number if they are taken. Several test sources may share a name if they serve different
    directions: one test set in parts.

    Args:
        key: where the list is in the config, for messages.
        named: whether each must have a name in the config (test sets).
    Raises:
        UserError: not exactly one kind, a key of another kind, a missing name or file, a name used twice.
    """
    sources = tuple(sources)
    for index, source in enumerate(sources):
        _check(source, f"{key}[{index}]", named=named)
    given = Counter(source.name for source in sources if source.name)
    twice = [name for name, count in given.items() if count > 1]
    if twice and not named:
        raise UserError(f"{key}: the name {twice[0]} is given to {given[twice[0]]} sources; give each its own")
    taken, found = set(given), []
    for source in sources:
        name, number = source.name or _derived_name(source), 2
        while not source.name and name in taken:
            name, number = f"{_derived_name(source)}-{number}", number + 1
        taken.add(name)
        found.append(source.model_copy(update={"name": name}))
    return tuple(found)


def _check(source: Source, key: str, *, named: bool) -> None:
    """What one source must be, its files included."""
    if len(source.kinds) != 1:
        found = " and ".join(source.kinds) if source.kinds else "none"
        raise UserError(f"{key}: a source is exactly one of {', '.join(KINDS)}, found {found}")
    for companion, owners in COMPANIONS.items():
        if getattr(source, companion) is not None and source.kind not in owners:
            raise UserError(
                f"{key}.{companion}: belongs to a source of the kind {owners[0]}, not {source.kind}; remove it"
            )
    if isinstance(source.columns, dict) and source.kind == "tsv":
        raise UserError(f"{key}: a tsv source needs the languages of its columns; add `columns: [en, de]`, for example")
    if isinstance(source.columns, tuple) and source.kind != "tsv":
        raise UserError(f"{key}.columns: a list is for tsv; write a mapping, code: name of the column or language")
    if named and not source.name:
        raise UserError(f"{key}: a test source needs a name; add `name: news`, for example: results go by it")
    start, stop = source.lines or (0, None)
    if start is None or (stop is not None and start >= stop):
        raise UserError(f"{key}.lines: [{start}, {stop}] holds no line; write [start, stop] with start below stop")
    if source.kind == "hf":
        looks_local = source.hf.startswith((".", "/", "~")) or source.hf.count("/") != 1
        if looks_local and not os.path.isdir(source.hf):
            raise UserError(f"{key}.hf: {source.hf}: no such folder, and a data set on the hub is written owner/name")
    else:
        paths = source.files()
        for path in paths:
            if paths.count(path) > 1:
                raise UserError(f"{key}: {path} is named for two languages; each needs its own file")
            _check_file(path, key)
    try:
        source.languages  # noqa: B018  (read once, and kept)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def _check_file(path: str, key: str) -> None:
    if os.path.isdir(path):
        raise UserError(f"{key}: {path}: is a folder; name the file in it")
    if not os.path.isfile(path):
        where = "" if os.path.isabs(path) else f" (paths are relative to {os.getcwd()})"
        raise UserError(f"{key}: {path}: no such file{where}")


def _derived_name(source: Source) -> str:
    """Built-in name, the files' common stem (or their folder if they are called by their language), hub id."""
    if source.kind == "builtin":
        return source.builtin
    if source.kind in ("hf", "sacrebleu"):
        name = Path(source.hf).name if source.hf else source.sacrebleu
        name = "-".join([name, *([source.config] if source.config else [])])
    elif source.kind in ("tsv", "tmx"):
        name = Path(source.files()[0]).name.removesuffix(".gz").removesuffix(".zip").removesuffix(f".{source.kind}")
    else:
        paths = source.files()
        name = os.path.commonprefix([Path(path).name for path in paths]).rstrip(".-_")  # noqa: RUF071 (characters)
        name = name if len(name) > 2 else Path(paths[0]).parent.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-_") or source.kind
