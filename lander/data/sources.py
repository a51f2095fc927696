"""Sources of parallel text, of any kind, read as one stream of aligned lines.

A source is a mapping with exactly one of the kinds below. Each may have `name`, `lines: [start, stop]` (half open, from
0; `stop` may be null) and `directions`:

    {"builtin": "cldr", "vocabulary": "all"}                        generated from the Unicode CLDR
    {"files": {"en": "a.txt.gz", "de": "b.txt"}}                    line-aligned, plain or gzip, two languages or more
    {"tsv": "f.tsv", "columns": ["en", "de"]}                       no header, quotes are plain text
    {"hf": "Helsinki-NLP/opus-100", "config": "en-it", "split": "train", "columns": {"en": "english"}}
                                                                    a dataset of the hub, or a folder of its layout
    {"tmx": "f.tmx.gz", "columns": {"zh": "zh-CN"}}                 translation memory (lander.data.tmx)
    {"sacrebleu": "wmt16", "directions": ["en-de"]}                 sacreBLEU's test set (lander.data.testsets)

A source of more than two languages serves every pair of them. Relative paths start at the working directory.

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
from lander.shared.progress import progress as progress_bar

Source = dict
"""A source as in the config and on the command line (JSON)."""

Row = tuple[int, tuple[str, ...], float]
"""Line number, one text per language, share of the source read so far (0: not known)."""

KINDS = {
    "builtin": {"vocabulary"},
    "files": set(),
    "tsv": {"columns"},
    "hf": {"config", "split", "columns", "revision"},
    "tmx": {"columns"},
    "sacrebleu": {"config"},
}
COMMON_KEYS = {"name", "lines", "directions"}
COLUMNS = {  # kind -> form and meaning of `columns`
    "tsv": (list, "list the languages of the columns"),
    "hf": (dict, "map languages to columns"),
    "tmx": (dict, "map languages to the codes of the file"),
}
BUILTIN_LINES = (0, 30_000)  # default range; a built-in corpus has no end
BUILTIN_CHUNK = 2_000  # lines generated at a time
MAX_LINE = 100_000
"""Characters. A longer line means that the file is not text by lines; 0 switches the check off."""


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
    """Check the form of a source.

    Raises:
        UserError: not exactly one kind, an unknown key, a value of the wrong form, or a range without lines.
    """
    kinds = [kind for kind in KINDS if kind in source] if isinstance(source, dict) else []
    if len(kinds) != 1:
        raise UserError(f"source {source!r}: must have exactly one of the keys {', '.join(KINDS)}")
    [kind] = kinds
    place = f"source {source_name(source)!r}"
    if unknown := set(source) - {kind} - KINDS[kind] - COMMON_KEYS:
        raise UserError(f"{place}: unknown key {min(unknown)!r}")
    for key, value in source.items():
        if key not in ("files", "columns", "lines", "directions") and not (value is None or isinstance(value, str)):
            raise UserError(f"source {source!r:.200}: `{key}` must be text")
    files = source.get("files", {"": ""})
    if not isinstance(files, dict) or not files or not all(isinstance(path, str) for path in files.values()):
        raise UserError(f"{place}: `files` must map language codes to files")
    if kind in COLUMNS and (kind == "tsv" or "columns" in source):
        form, meaning = COLUMNS[kind]
        columns = source.get("columns")
        if not isinstance(columns, form):
            raise UserError(f"{place}: `columns` must {meaning}")
        if not all(isinstance(name, str) for name in (columns.values() if form is dict else columns)):
            raise UserError(f"{place}: `columns` must hold names")
    if kind == "sacrebleu" and not testsets.pairs(source):
        raise UserError(f"{place}: its languages are not known; add `directions: [en-de]`")
    start, stop = line_range(source)
    if start < 0 or (stop is not None and stop <= start):
        raise UserError(f"{place}: `lines: [{start}, {stop}]` holds no line")


def source_name(source: Source) -> str:
    """The given name, or one made from the builtin's name, the file's stem or the dataset's id."""
    if source.get("name"):
        return source["name"]
    if "files" in source:
        path = next(iter(source["files"].values()), "files") if isinstance(source["files"], dict) else "files"
        return Path(str(path)).name.split(".")[0]
    for kind in ("tsv", "tmx"):
        if kind in source:
            return Path(str(source[kind])).name.split(".")[0]
    return str(source.get("builtin") or source.get("hf") or source.get("sacrebleu"))


def line_range(source: Source) -> tuple[int, int | None]:
    """First line and end of the source's range; the end is None if it goes to the last line.

    Raises:
        UserError: `lines` is not such a range.
    """
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
    """Every language of the source; reads the first row of a dataset, the first units of a memory."""
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
    """Whether each row of the source holds all of some languages."""
    if "sacrebleu" in source:
        return any(set(languages) <= {pair.source, pair.target} for pair in testsets.pairs(source))
    return set(languages) <= set(languages_of(source))


def every_text(source: Source, languages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (language, text) of all that a source holds in any language; of a built-in corpus, only in `languages`."""
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
    """Yield (line, one text per language): the text as in the source, neither filtered nor repaired.

    Args:
        source: a mapping as described above.
        languages: codes, in the order of the wanted texts.
        max_line: refuse texts of more characters than this (0: accept any).
        progress: report progress on stderr.
        skipped: its entry `units` counts segments without one of the languages, which only a tmx source has.
    Raises:
        UserError: the source is missing, damaged, not aligned, empty, shorter than `lines`, or without a language.
    """
    check(source)
    start, _ = line_range(source)
    with progress_bar(f"lander data: {source_name(source)}", 1, shown=progress) as bar:
        for line, texts, share in _rows(source, languages, Counter() if skipped is None else skipped):
            if max_line and max(map(len, texts)) > max_line:
                language, text = next(pair for pair in zip(languages, texts, strict=True) if len(pair[1]) > max_line)
                file = source["files"][language] if "files" in source else source.get("tsv") or source.get("tmx")
                raise UserError(
                    f"{file or source_name(source)}, line {line + 1}: {len(text):,} characters ({language}); more than "
                    f"{max_line:,} in a line is refused (is every sentence on a line of its own?)"
                )
            if line % 1000 == 0:
                bar.set_postfix_str(f"{line - start:,} lines", refresh=False)
                bar.update(share - bar.n)
            yield line, texts


def overlap(train: Sequence[Source], heldout: Sequence[Source]) -> str | None:
    """A sentence about the first lines that serve both training and a dev or test set; None if there are none.

    Compares what the sources say (the same file, ranges that meet); no text is read.
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


# ---------------------------------------------------------------- readers of each kind


def _rows(source: Source, languages: Sequence[str], skipped: Counter[str]) -> Iterator[Row]:
    """The rows of a source, by its kind."""
    start, stop = line_range(source)
    if "files" in source:
        _need(source, languages, tuple(source["files"]))
        return read_aligned([source["files"][language] for language in languages], start, stop)
    if "sacrebleu" in source:
        return read_aligned(testsets.files(source, tuple(languages)), start, stop)
    if "tsv" in source:
        return _read_tsv(source, languages, start, stop)
    if "tmx" in source:
        return _read_tmx(source, languages, start, stop, skipped)
    if "hf" in source:
        return _read_hub(source, languages, start, stop)
    return _read_builtin(source, languages, start, stop)


def _need(source: Source, languages: Sequence[str], held: Sequence[str]) -> None:
    missing = [language for language in languages if language not in held]
    if missing:
        raise UserError(f"source {source_name(source)!r}: has no {', '.join(missing)}, only {', '.join(held)}")


def _builtin(source: Source) -> object:
    if source["builtin"] != "cldr":
        raise UserError(f"source {source_name(source)!r}: no built-in corpus {source['builtin']!r}; there is: cldr")
    from lander.data import cldr  # Babel and emoji are slow to import

    return cldr


def _read_builtin(source: Source, languages: Sequence[str], start: int, stop: int) -> Iterator[Row]:
    corpus = _builtin(source)
    options = {"vocabulary": source["vocabulary"]} if "vocabulary" in source else {}
    for first in range(start, stop, BUILTIN_CHUNK):
        texts = corpus.lines(tuple(languages), first, min(first + BUILTIN_CHUNK, stop), **options)
        share = (first - start) / (stop - start)
        for offset, row in enumerate(zip(*(texts[language] for language in languages), strict=True)):
            yield first + offset, row, share


def _read_tsv(source: Source, languages: Sequence[str], start: int, stop: int | None) -> Iterator[Row]:
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


def _read_hub(source: Source, languages: Sequence[str], start: int, stop: int | None) -> Iterator[Row]:
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
    source: Source, languages: Sequence[str], start: int, stop: int | None, skipped: Counter[str]
) -> Iterator[Row]:
    columns = source.get("columns") or {}
    if columns:
        _need(source, languages, tuple(columns))
    yield from tmx.rows(source["tmx"], [columns.get(code, code) for code in languages], start, stop, skipped)
    if skipped["units"]:
        print(
            f"lander data: {source['tmx']}: {skipped['units']:,} translation units without {' or '.join(languages)} "
            "are left out",
            file=sys.stderr,
        )
