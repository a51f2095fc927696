"""Sources of parallel text, read as one stream of aligned lines whatever their kind.

A source is a mapping with exactly one of the kinds below; each may carry `name`, `lines: [start, stop]` (half open,
from 0; `stop` may be null) and `directions`:

    {"builtin": "cldr", "vocabulary": "all"}                        generated from the Unicode CLDR
    {"files": {"en": "a.txt.gz", "de": "b.txt"}}                    line-aligned, plain or gzip, two languages or more
    {"tsv": "f.tsv", "columns": ["en", "de"]}                       no header, quotes are plain text
    {"hf": "Helsinki-NLP/opus-100", "config": "en-it", "split": "train", "columns": {"en": "english"}}
                                                                    a dataset of the hub, or a folder of its layout
    {"tmx": "f.tmx.gz", "columns": {"zh": "zh-CN"}}                 translation memory (lander.data.tmx)
    {"sacrebleu": "wmt16", "directions": ["en-de"]}                 sacreBLEU's test set (lander.data.testsets)

A source of more than two languages serves every pair among them. Relative paths start at the working directory.

    for line, (english, german) in read(source, ("en", "de")): ...
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from lander.data import testsets, tmx
from lander.data.textfiles import read_aligned
from lander.shared.errors import UserError
from lander.shared.progress import Progress

Source = dict
"""A source as it stands in the config and on the command line (JSON)."""

KINDS = {
    "builtin": {"vocabulary"},
    "files": set(),
    "tsv": {"columns"},
    "hf": {"config", "split", "columns", "revision"},
    "tmx": {"columns"},
    "sacrebleu": {"config"},
}
COMMON_KEYS = {"name", "lines", "directions"}
BUILTIN_LINES = (0, 30_000)  # of a built-in corpus, which has no end
BUILTIN_CHUNK = 2_000
MAX_LINE = 100_000
"""Characters; a longer line means that the file is not text by lines. 0 switches the check off."""


def parse_sources(text: str) -> list[Source]:
    """Read a JSON list of sources and check their form.

    Raises:
        UserError: not such a list; the message names the source and the key.
    """
    try:
        sources = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"sources: not valid JSON ({error})") from None
    if not isinstance(sources, list):
        raise UserError("sources: must be a JSON list of sources")
    for source in sources:
        check(source)
    return sources


def check(source: Source) -> None:
    """Raise a `UserError` unless `source` has one kind, known keys and a usable range of lines."""
    kinds = [kind for kind in KINDS if kind in source] if isinstance(source, dict) else []
    if len(kinds) != 1:
        raise UserError(f"source {source!r}: must have exactly one of the keys {', '.join(KINDS)}")
    unknown = set(source) - {kinds[0]} - KINDS[kinds[0]] - COMMON_KEYS
    if unknown:
        raise UserError(f"source {source_name(source)!r}: unknown key {min(unknown)!r}")
    for key, value in source.items():
        if key not in ("files", "columns", "lines", "directions") and not (value is None or isinstance(value, str)):
            raise UserError(f"source {source!r:.200}: `{key}` must be text")
    files = source.get("files", {"": ""})
    if not isinstance(files, dict) or not files or not all(isinstance(path, str) for path in files.values()):
        raise UserError(f"source {source_name(source)!r}: `files` must map language codes to files")
    columns = source.get("columns", {})
    names = columns.values() if isinstance(columns, dict) else columns if isinstance(columns, list) else [None]
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"source {source_name(source)!r}: `columns` must hold names")
    if kinds[0] == "hf" and not isinstance(columns, dict):
        raise UserError(f"source {source_name(source)!r}: `columns` must map languages to columns")
    if kinds[0] == "tsv" and not isinstance(source.get("columns"), list):
        raise UserError(f"source {source_name(source)!r}: `columns` must list the languages of the columns")
    if kinds[0] == "tmx" and not isinstance(source.get("columns", {}), dict):
        raise UserError(f"source {source_name(source)!r}: `columns` must map languages to the codes of the file")
    if kinds[0] == "sacrebleu" and not testsets.pairs(source):
        raise UserError(f"source {source_name(source)!r}: its languages are not known; add `directions: [en-de]`")
    start, stop = line_range(source)
    if start < 0 or (stop is not None and stop <= start):
        raise UserError(f"source {source_name(source)!r}: `lines: [{start}, {stop}]` holds no line")


def source_name(source: Source) -> str:
    """The given name, or one made from the builtin's name, the file's stem or the dataset's id."""
    if source.get("name"):
        return source["name"]
    if "files" in source:
        path = Path(str(next(iter(source["files"].values()), "files"))) if isinstance(source["files"], dict) else None
        return path.name.split(".")[0] if path else "files"
    for kind in ("tsv", "tmx"):
        if kind in source:
            return Path(str(source[kind])).name.split(".")[0]
    return str(source.get("builtin") or source.get("hf") or source.get("sacrebleu"))


def line_range(source: Source) -> tuple[int, int | None]:
    """First line and end (None: to the last line) that the source asks for."""
    lines = source.get("lines")
    if lines is None:
        return BUILTIN_LINES if "builtin" in source else (0, None)
    if (
        not isinstance(lines, list | tuple)
        or len(lines) != 2
        or not isinstance(lines[0], int)
        or not (lines[1] is None or isinstance(lines[1], int))
    ):
        raise UserError(f"source {source_name(source)!r}: `lines` must be [start, stop], counted from 0")
    if "builtin" in source and lines[1] is None:
        raise UserError(f"source {source_name(source)!r}: a built-in corpus has no end, `lines` must name one")
    return lines[0], lines[1]


def languages_of(source: Source) -> tuple[str, ...]:
    """Every language that the source holds (a look at the first row, for a dataset)."""
    if "builtin" in source:
        return _builtin(source).LANGUAGES
    if "files" in source:
        return tuple(source["files"])
    if "tsv" in source:
        return tuple(source["columns"])
    if "tmx" in source:
        return tuple(source.get("columns") or tmx.languages(source["tmx"]))
    if "sacrebleu" in source:
        return tuple(dict.fromkeys(code for pair in testsets.pairs(source) for code in (pair.source, pair.target)))
    from lander.data import hub

    return hub.languages_of(source)


def aligned(source: Source, languages: Sequence[str]) -> bool:
    """Whether the source's rows hold all of some languages at once."""
    if "sacrebleu" in source:
        return any(set(languages) <= {pair.source, pair.target} for pair in testsets.pairs(source))
    return set(languages) <= set(languages_of(source))


def every_text(source: Source, languages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(language, text) of all that a source holds, in any language (of a built-in corpus: in `languages` only)."""
    if "tmx" in source:
        named = {code.lower().replace("_", "-"): language for language, code in source.get("columns", {}).items()}
        start, stop = line_range(source)
        for _, _, unit, _ in islice(tmx.units(source["tmx"]), start, stop):
            for code, text in unit.items():
                served = (own for own in languages if f"{code}-".startswith(f"{own.lower()}-"))
                yield named.get(code) or next(served, code), text
        return
    held = tuple(language for language in languages_of(source) if "builtin" not in source or language in languages)
    groups = [(pair.source, pair.target) for pair in testsets.pairs(source)] if "sacrebleu" in source else [held]
    for group in groups:
        for _, texts in read(source, group) if group else ():
            yield from zip(group, texts, strict=True)


def read(
    source: Source,
    languages: Sequence[str],
    *,
    max_line: int = 0,
    progress: bool = False,
    skipped: Counter[str] | None = None,
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (line, one text per language): the text as it is in the source, nothing filtered or repaired.

    Args:
        source: a mapping as described above.
        languages: codes, in the order of the texts wanted.
        max_line: refuse a text of more characters than this (0: take any).
        progress: tell on stderr how far it is, from time to time.
        skipped: segments without one of the languages, which only a tmx source has, are counted here, under `units`.

    Raises:
        UserError: the source is missing, damaged, not aligned, empty, shorter than `lines`, or without a language.
    """
    check(source)
    name = source_name(source)
    reporter = Progress(name) if progress else None
    start, stop = line_range(source)
    kind = next(kind for kind in KINDS if kind in source)
    reader = _READERS[kind]
    rows = reader(source, languages, start, stop, skipped) if kind == "tmx" else reader(source, languages, start, stop)
    for line, texts, share in rows:
        if max_line and max(map(len, texts)) > max_line:
            _refuse_long(source, languages, line, texts, max_line)
        if reporter and line % 1000 == 0:
            reporter.update(line - start, share)
        yield line, texts


def overlap(train: Sequence[Source], heldout: Sequence[Source]) -> str | None:
    """A sentence on the first lines that serve both training and a dev or test set; None if there are none.

    Only what is written in the sources is looked at (the same file, the same range), no text is read.
    """
    for first in train:
        for second in heldout:
            shared = _identity(first) & _identity(second)
            (a, b), (c, d) = line_range(first), line_range(second)
            begin = max(a, c)
            end = min((stop for stop in (b, d) if stop is not None), default=None)
            if shared and (end is None or begin < end):
                return (
                    f"lines [{begin}, {'end' if end is None else end}] of {min(shared)} are both in data.train "
                    f"({source_name(first)}) and held out ({source_name(second)}); give them ranges that do not meet"
                )
    return None


def _identity(source: Source) -> set[str]:
    """What a source reads from, as strings that are equal for equal text."""
    if "files" in source:
        return {str(Path(path).resolve()) for path in source["files"].values()}
    for kind in ("tsv", "tmx"):
        if kind in source:
            return {str(Path(source[kind]).resolve())}
    if "sacrebleu" in source:
        return {f"{source['sacrebleu']} {'-'.join(sorted((p.source, p.target)))}" for p in testsets.pairs(source)}
    if "hf" in source:
        path = Path(source["hf"])
        place = str(path.resolve()) if path.exists() else source["hf"]
        return {f"{place} {source.get('config', '')} {source.get('split', 'train')}".replace("  ", " ")}
    return {f"{source['builtin']} {source.get('vocabulary', 'all')}"}


def _refuse_long(source: Source, languages: Sequence[str], line: int, texts: tuple[str, ...], max_line: int) -> None:
    language, text = next(pair for pair in zip(languages, texts, strict=True) if len(pair[1]) > max_line)
    place = source["files"][language] if "files" in source else source.get("tsv") or source.get("tmx")
    place = place or source_name(source)
    raise UserError(
        f"{place}, line {line + 1}: {len(text):,} characters ({language}); more than {max_line:,} in a line is refused "
        "(is every sentence on a line of its own?)"
    )


def _need(source: Source, languages: Sequence[str], held: Sequence[str]) -> None:
    missing = [language for language in languages if language not in held]
    if missing:
        raise UserError(f"source {source_name(source)!r}: has no {', '.join(missing)}, only {', '.join(held)}")


def _builtin(source: Source) -> object:
    if source["builtin"] != "cldr":
        raise UserError(f"source {source_name(source)!r}: no built-in corpus {source['builtin']!r}; there is: cldr")
    from lander.data import cldr  # Babel and emoji are slow to import

    return cldr


def _read_builtin(
    source: Source, languages: Sequence[str], start: int, stop: int
) -> Iterator[tuple[int, tuple[str, ...], float]]:
    corpus = _builtin(source)
    options = {"vocabulary": source["vocabulary"]} if "vocabulary" in source else {}
    for first in range(start, stop, BUILTIN_CHUNK):
        texts = corpus.lines(tuple(languages), first, min(first + BUILTIN_CHUNK, stop), **options)
        share = (first - start) / (stop - start)
        for offset, row in enumerate(zip(*(texts[language] for language in languages), strict=True)):
            yield first + offset, row, share


def _read_files(
    source: Source, languages: Sequence[str], start: int, stop: int | None
) -> Iterator[tuple[int, tuple[str, ...], float]]:
    _need(source, languages, tuple(source["files"]))
    yield from read_aligned([source["files"][language] for language in languages], start, stop)


def _read_tsv(
    source: Source, languages: Sequence[str], start: int, stop: int | None
) -> Iterator[tuple[int, tuple[str, ...], float]]:
    columns = source["columns"]
    _need(source, languages, columns)
    places = [columns.index(language) for language in languages]
    for line, (row,), share in read_aligned([source["tsv"]], start, stop):
        fields = row.split("\t")
        if len(fields) != len(columns):
            raise UserError(
                f"{source['tsv']}, line {line + 1}: {len(fields)} fields, but `columns` names {len(columns)} "
                f"({', '.join(columns)})"
            )
        yield line, tuple(fields[place] for place in places), share


def _read_hub(
    source: Source, languages: Sequence[str], start: int, stop: int | None
) -> Iterator[tuple[int, tuple[str, ...], float]]:
    from lander.data import hub  # datasets takes a second to import

    count = start
    for texts in islice(hub.rows(source, languages, start), None if stop is None else stop - start):
        yield count, texts, 0.0 if stop is None else (count - start) / (stop - start)
        count += 1
    if count == start:
        raise UserError(f"source {source_name(source)!r}: the dataset has no row from {start} on")
    if stop is not None and count < stop:
        raise UserError(f"source {source_name(source)!r}: `lines` asks for [{start}, {stop}] but it has {count:,} rows")


def _read_tmx(
    source: Source, languages: Sequence[str], start: int, stop: int | None, skipped: Counter[str] | None
) -> Iterator[tuple[int, tuple[str, ...], float]]:
    columns = source.get("columns")
    if columns:
        _need(source, languages, tuple(columns))
    skipped = Counter() if skipped is None else skipped
    yield from tmx.rows(source["tmx"], [(columns or {}).get(code, code) for code in languages], start, stop, skipped)
    if skipped["units"]:
        print(
            f"lander data: {source['tmx']}: {skipped['units']:,} translation units without {' or '.join(languages)} "
            "are left out",
            file=sys.stderr,
        )


def _read_testset(
    source: Source, languages: Sequence[str], start: int, stop: int | None
) -> Iterator[tuple[int, tuple[str, ...], float]]:
    yield from read_aligned(testsets.files(source, tuple(languages)), start, stop)


_READERS = {
    "builtin": _read_builtin,
    "files": _read_files,
    "tsv": _read_tsv,
    "hf": _read_hub,
    "tmx": _read_tmx,
    "sacrebleu": _read_testset,
}
