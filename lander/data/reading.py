"""Reads sources of any kind (`lander.data.sources`) as one stream of aligned lines.

for line, (english, german) in read(source, ("en", "de")): ...
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

from lander.data import testsets, tmx
from lander.data.sources import Source
from lander.data.textfiles import read_aligned
from lander.shared.errors import UserError
from lander.shared.languages import find_language, language_name
from lander.shared.progress import progress as progress_bar

Texts = str | list[str]  # a text, or a list of several translations
Row = tuple[int, tuple[Texts, ...], float]  # line, texts, share of the file read (0 if not known)
BUILTIN_CHUNK = 2_000  # lines generated at a time
HEADINGS = {"source", "target", "src", "tgt", "trg", "ref", "reference", "text", "translation", "sentence"}
MAX_LINE = 100_000  # characters; a longer line means that the file is not text by lines


def read(
    source: Source,
    languages: Sequence[str],
    *,
    max_line: int = 0,
    progress: bool = False,
    skipped: Counter[str] | None = None,
    several: bool = False,
) -> Iterator[tuple[int, tuple[Texts, ...]]]:
    """Yield (line, one text per language): the text as in the source, neither filtered nor repaired.

    UserError if the source is missing, damaged, not aligned, empty, shorter than `lines`, or without a language.

    Args:
        max_line: refuse texts of more characters than this (0: accept any).
        skipped: counts units of a tmx source that are left out, by reason (`tmx.LEFT_OUT`).
        several: several translations of a line (references of a test set) stay a list; otherwise the first counts.
    """
    if held := source.files or source.columns or (source.sacrebleu and source.languages):
        own = source.own(languages)
        missing = [language for language, code in zip(languages, own, strict=True) if code is None]
        if missing and not source.sacrebleu:
            raise UserError(f"source {source.name!r}: has no {', '.join(missing)}, only {', '.join(held)}")
        languages = languages if missing else own
    start, stop = source.range
    with progress_bar(f"lander data: {source.name}", 1, shown=progress) as bar:
        for line, texts, share in _rows(source, languages, Counter() if skipped is None else skipped):
            for language, text in zip(languages, texts, strict=True):
                if max_line and (length := max(map(len, _all(text)), default=0)) > max_line:
                    file = source.files[language] if source.files else source.tsv or source.tmx or source.name
                    raise UserError(
                        f"{file}, line {line + 1}: {length:,} characters ({language}); more than {max_line:,} in a "
                        "line is refused (is every sentence on a line of its own?)"
                    )
            if line % 1000 == 0:
                bar.set_postfix_str(f"{line - start:,} lines", refresh=False)
                bar.update((share if stop is None else (line - start) / (stop - start)) - bar.n)
            yield line, texts if several else tuple(_all(text)[0] for text in texts)


def _all(texts: Texts) -> list[str]:
    return [texts] if isinstance(texts, str) else texts


def aligned(source: Source, languages: Sequence[str]) -> bool:
    """Whether each row of the source holds all of some languages."""
    return any(all(find_language(language, group) for language in languages) for group in _groups(source))


def every_text(source: Source, languages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (language, text) of all that a source holds in any language; of a built-in corpus, only in `languages`."""
    if source.tmx:
        named = {tmx.normal(code): language for language, code in (source.columns or {}).items()}
        damaged = 0
        for _, _, unit, _ in islice(tmx.units(source.tmx), *source.range):
            for code, text in unit.items():
                served = (own for own in languages if tmx.serving([code], tmx.normal(own)))
                damaged += tmx.BAD in text
                yield named.get(code) or next(served, code), text.replace(tmx.BAD, "")
        if damaged:
            print(
                f"lander data: {source.tmx}: {damaged:,} texts with characters that XML does not allow, or of damaged "
                "units, are taken without these characters",
                file=sys.stderr,
            )
        return
    for group in _groups(source):
        wanted = {code: language for language in languages if (code := find_language(language, group))}
        held = list(wanted) if source.builtin else group
        for _, texts in read(source, held, several=True) if held else ():
            for code, one in zip(held, texts, strict=True):
                yield from ((wanted.get(code, code), text) for text in _all(one))


def _groups(source: Source) -> list[tuple[str, ...]]:
    """Languages whose texts are read together: a test set of sacreBLEU belongs to a direction."""
    if source.builtin:
        from lander.data import cldr  # Babel and emoji are slow to import

        return [cldr.LANGUAGES]
    return [(pair.source, pair.target) for pair in source.pairs] if source.sacrebleu else [source.languages]


def _names(field: str, language: str) -> bool:
    """Whether a field of the first line names a column, and is no text."""
    field = field.strip().lower()
    with suppress(UserError):
        if field == language_name(language).lower():
            return True
    return field in HEADINGS or find_language(field, [language]) is not None


def _rows(source: Source, languages: Sequence[str], skipped: Counter[str]) -> Iterator[Row]:
    start, stop = source.range
    match source.kind:
        case "files":
            yield from read_aligned([source.files[language] for language in languages], start, stop)
        case "sacrebleu":
            groups = testsets.files(source.sacrebleu, source.pairs, tuple(languages))
            for line, texts, share in read_aligned([path for group in groups for path in group], start, stop):
                left = iter(texts)
                parts = [sorted(islice(left, len(group)), key=lambda text: not text) for group in groups]
                yield line, tuple(part if len(part) > 1 else part[0] for part in parts), share
        case "tmx":
            codes = [source.columns[language] for language in languages] if source.columns else languages
            yield from tmx.rows(source.tmx, codes, start, stop, skipped)
        case "tsv":
            columns = source.columns
            for line, (row,), share in read_aligned([source.tsv], start, stop):
                fields = row.split("\t")
                if len(fields) != len(columns):
                    raise UserError(
                        f"{source.tsv}, line {line + 1}: {len(fields)} fields, but `columns` names {len(columns)} "
                        f"({', '.join(columns)})"
                    )
                texts = tuple(fields[columns.index(language)] for language in languages)
                if line == 0 and len({*texts}) == len(texts) and all(map(_names, texts, languages)):
                    raise UserError(
                        f"{source.tsv}, line 1: is a header ({', '.join(texts)}); leave it out: `lines: [1, null]`"
                    )
                yield line, texts, share
        case "hf":
            from lander.data import hub  # datasets takes a second to import

            end = start
            found = islice(hub.rows(source, languages, start), None if stop is None else stop - start)
            for end, texts in enumerate(found, start + 1):
                yield end - 1, texts, 0.0
            if end == start:
                raise UserError(f"source {source.name!r}: the dataset has no row from {start} on")
            if stop is not None and end < stop:
                raise UserError(f"source {source.name!r}: `lines` asks for [{start}, {stop}] but it has {end:,} rows")
        case "builtin":
            from lander.data import cldr

            for first in range(start, stop, BUILTIN_CHUNK):
                texts = cldr.lines(languages, first, min(first + BUILTIN_CHUNK, stop), source.vocabulary or "all")
                for line, row in enumerate(zip(*texts.values(), strict=True), first):
                    yield line, row, 0.0
