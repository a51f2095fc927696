"""Sources of parallel text: what the config's lists and the flags --sources and --exclude (JSON) name.

A source is exactly one of the kinds below. `lander.data.reading` reads all of them as one stream of aligned lines.

    {"builtin": "cldr", "vocabulary": "all"}                        generated from the Unicode CLDR (lander.data.cldr)
    {"files": {"en": "a.txt.gz", "de": "b.txt"}}                    line-aligned, plain or packed
    {"tsv": "f.tsv", "columns": ["en", "de"]}                       no header, quotes are plain text
    {"hf": "Helsinki-NLP/opus-100", "config": "en-it", "split": "train", "columns": {"en": "english", "it": "italian"}}
                                                                    the hub, or a folder of its layout (lander.data.hub)
    {"tmx": "f.tmx.gz", "columns": {"zh": "zh-CN"}}                 translation memory (lander.data.tmx)
    {"sacrebleu": "wmt16", "directions": ["en-de"]}                 sacreBLEU's test set (lander.data.testsets)

A source of more than two languages serves every pair of them. Relative paths start at the working directory.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from lander.data import testsets, textfiles, tmx
from lander.shared.errors import UserError
from lander.shared.languages import Direction, base_language, find_language, parse_direction
from lander.shared.section import PathText, Section, Text, unusable
from lander.shared.validation import validate

DirectionValue = Annotated[
    Direction,
    BeforeValidator(lambda value: value if isinstance(value, Direction) else parse_direction(value)),
    PlainSerializer(lambda one: [one.source, one.target] if "--" in str(one) else str(one)),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
]
KINDS = ("builtin", "files", "tsv", "hf", "tmx", "sacrebleu")
COMPANIONS = {  # key -> the kinds of source that it belongs to
    "vocabulary": ("builtin",),
    "columns": ("tsv", "hf", "tmx"),
    "config": ("hf", "sacrebleu"),
    "split": ("hf",),
    "revision": ("hf",),
}
HUB_ID = re.compile("[^./~][^/]*/[^/]*")
BUILTIN_LINES = (0, 30_000)  # default range; a built-in corpus has no end


class Source(Section):
    """One source of parallel text: exactly one of builtin, files, tsv, hf, tmx and sacrebleu."""

    builtin: Literal["cldr"] | None = Field(
        None, description="Text that comes with Lander; cldr is phrases generated from the Unicode CLDR."
    )
    vocabulary: Literal["known", "all"] | None = Field(
        None,
        description="Which part of cldr: known (the easy part, whose translations the built-in base has read) or all.",
    )
    files: dict[str, PathText] | None = Field(
        None, min_length=1, description="Line-aligned text files, plain or packed, as code to path."
    )
    tsv: PathText | None = Field(None, description="Tab-separated file, plain or packed, languages as in `columns`.")
    columns: Annotated[tuple[Text, ...], Field(min_length=2)] | dict[str, Text] | None = Field(
        None,
        description="For tsv: the languages of the columns, first to last. For hf: code to column, if the columns are "
        "not called by their codes. For tmx: code to the file's xml:lang, if one has to be chosen (zh to zh-CN).",
    )
    hf: PathText | None = Field(
        None, description="Data set on the Hugging Face hub, or a local folder with the layout of one."
    )
    tmx: PathText | None = Field(None, description="Translation memory, plain or packed; en-US serves en.")
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

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        """Exactly one kind, with the keys that belong to it, and a range that holds lines."""
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"a source is exactly one of {', '.join(KINDS)}, found {' and '.join(kinds) or 'none'}")
        for key, owners in COMPANIONS.items():
            if getattr(self, key) is not None and kinds[0] not in owners:
                raise ValueError(f"{key} belongs to a source of the kind {owners[0]}, not {kinds[0]}; remove it")
        if self.tsv and not isinstance(self.columns, tuple):
            raise ValueError("a tsv source needs the languages of its columns; add `columns: [en, de]`, for example")
        if isinstance(self.columns, tuple) and not self.tsv:
            raise ValueError("columns: a list is for tsv; write a mapping, code: name of the column or language")
        start, stop = self.range
        if start is None or (stop is not None and start >= stop):
            raise ValueError(f"lines: [{start}, {stop}] holds no line; write [start, stop] with start below stop")
        if self.builtin and stop is None:
            raise ValueError("lines: a built-in corpus has no end; write [start, stop]")
        return self

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def json(self) -> dict[str, Any]:
        """The source as plain values, as in the config, with its name: what the stages take."""
        return self.model_dump(mode="json", exclude_none=True)

    @property
    def range(self) -> tuple[int, int | None]:
        """First line and end of what is read; the end is None if it goes to the last line."""
        return self.lines or (BUILTIN_LINES if self.builtin else (0, None))

    @property
    def pairs(self) -> tuple[Direction, ...]:
        """The directions of a sacreBLEU test set that are read."""
        return (parse_direction(self.config),) if self.config else self.directions or ()

    @cached_property
    def languages(self) -> tuple[str, ...] | None:
        """Codes of its languages; None if it serves any (the built-in corpus). UserError if they are not known."""
        if self.builtin:
            return None
        if named := self.files or self.columns:
            return tuple(named)
        if self.tmx:
            return tmx.languages(self.tmx)
        if pairs := self.pairs if self.sacrebleu else self.directions:
            return tuple(dict.fromkeys(code for one in pairs for code in (one.source, one.target)))
        if self.config and len(codes := self.config.split("-")) == 2:
            return tuple(codes)
        raise UserError("its languages are not known; add `config: en-de` or `directions: [en-de]`, for example")

    def serves(self, direction: Direction) -> bool:
        """Whether the source has text of both languages and is not kept for other directions."""
        if self.directions is not None and direction not in self.directions:
            return False
        return self.languages is None or None not in self.own([direction.source, direction.target])

    def own(self, languages: Iterable[str]) -> tuple[str | None, ...]:
        """The source's own codes of some languages: `de` of `deu`; None where it has none."""
        return tuple(find_language(language, self.languages) for language in languages)

    def paths(self, languages: Iterable[str] | None = None) -> list[str]:
        """Local files that hold the text (of some languages); empty for text that is built in or on the hub."""
        if self.files:
            wanted = set(self.files if languages is None else self.own(languages))
            return [path for code, path in self.files.items() if code in wanted]
        if self.hf and os.path.isdir(self.hf):
            return sorted(str(path) for path in Path(self.hf).rglob("*") if path.is_file())
        return [path for path in (self.tsv, self.tmx) if path]

    @property
    def remote(self) -> bool:
        """Whether reading it needs a network."""
        if self.sacrebleu:
            return not all(testsets.cached(self.sacrebleu, pair) for pair in self.pairs)
        return self.hf is not None and not os.path.isdir(self.hf)

    @property
    def origins(self) -> set[str]:
        """What the source reads from, as strings that are equal for equal text."""
        if self.sacrebleu:
            bases = (sorted(map(base_language, (pair.source, pair.target))) for pair in self.pairs)
            return {f"{self.sacrebleu} {'-'.join(pair)}" for pair in bases}
        if self.hf:
            place = str(Path(self.hf).resolve()) if os.path.exists(self.hf) else self.hf
            return {" ".join(filter(None, (place, self.config, self.split or "train")))}
        if self.builtin:
            return {f"{self.builtin} {self.vocabulary or 'all'}"}
        return {str(Path(path).resolve()) for path in self.paths()}

    def shared(self, other: "Source") -> str | None:
        """The first lines that both sources name, in words; None if there are none. No text is read."""
        (a, b), (c, d) = self.range, other.range
        begin, end = max(a, c), min((stop for stop in (b, d) if stop is not None), default=None)
        both = self.origins & other.origins
        if not both or (end is not None and end <= begin):
            return None
        return f"lines [{begin}, {'end' if end is None else end}] of {min(both)}"


def parse_sources(text: str) -> tuple[Source, ...]:
    """A JSON list of sources, checked as `check_sources` does; files are not looked at."""
    sources = [validate(Source, source, f"sources[{index}]") for index, source in enumerate(parse_json(text, list))]
    return check_sources(sources, "sources", files=False)


def parse_json(text: str, kind: type) -> Any:
    """The value of a flag that holds a JSON list or mapping (dict)."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{text[:200]!r}: not valid JSON ({error})") from None
    if not isinstance(value, kind):
        raise UserError(f"{text[:200]!r}: must be a JSON {'list' if kind is list else 'mapping'}")
    return value


def check_sources(
    sources: Iterable[Source], key: str, *, named: bool = False, files: bool = True
) -> tuple[Source, ...]:
    """Check sources and their files, and give a name to those that have none.

    Derived names get a number if they are taken. `key` is the place of the list in the config, for messages. With
    `named`, each source needs a name (test sets), and several may share one if they serve different directions: one
    test set in parts. With `files`, local files must be there.
    """
    sources = tuple(sources)
    for index, source in enumerate(sources):
        place = f"{key}[{index}]"
        if named and not source.name:
            raise UserError(f"{place}: a test source needs a name; add `name: news`, for example: results go by it")
        if source.hf and not os.path.isdir(source.hf) and not HUB_ID.fullmatch(source.hf):
            raise UserError(f"{place}.hf: {source.hf}: no such folder, and a data set on the hub is written owner/name")
        if fault := next(filter(None, map(unusable, source.paths() if files else [])), None):  # of a file in a folder
            raise UserError(f"{place}: {fault}")
        paths = source.paths() if files and not source.hf else []
        for path in paths:
            if paths.count(path) > 1:
                raise UserError(f"{place}: {path} is named for two languages; each needs its own file")
            if os.path.isdir(path):
                raise UserError(f"{place}: {path}: is a folder; name the file in it")
            if os.path.exists(path) and not os.path.isfile(path):
                raise UserError(f"{place}: {path}: a pipe or device, which can be read only once; write it to a file")
            if not os.path.isfile(path):
                where = "" if os.path.isabs(path) else f" (paths are relative to {os.getcwd()})"
                raise UserError(f"{place}: {path}: no such file{where}")
        try:
            for path in paths if not source.tmx else ():
                textfiles.begins(path)
            if files or not source.tmx:  # the languages of a memory are in its file
                source.languages  # noqa: B018  (read once, and kept)
        except UserError as error:
            raise UserError(f"{place}: {error}") from None
    given = Counter(source.name for source in sources if source.name)
    for name, count in given.items():
        if count > 1 and not named:
            raise UserError(f"{key}: the name {name} is given to {count} sources; give each its own")
    taken, found = set(given), []
    for source in sources:
        name, number = source.name or _derived_name(source), 2
        while not source.name and name in taken:
            name, number = f"{_derived_name(source)}-{number}", number + 1
        taken.add(name)
        found.append(source.model_copy(update={"name": name}))
    return tuple(found)


def _derived_name(source: Source) -> str:
    """Built-in name, the files' common stem (or their folder if they are called by their language), hub id."""
    if source.files:
        paths = source.paths()
        name = os.path.commonprefix([Path(path).name for path in paths]).rstrip(".-_")  # noqa: RUF071 (characters)
        name = name if len(name) > 2 else Path(paths[0]).parent.name
    elif source.tsv or source.tmx:
        name = textfiles.bare(Path(source.paths()[0]).name).removesuffix(f".{source.kind}")
    else:
        name = source.builtin or source.sacrebleu or Path(source.hf).name
        name = f"{name}-{source.config}" if source.config else name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-_") or source.kind
