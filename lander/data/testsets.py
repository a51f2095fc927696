"""Test sets of sacreBLEU (WMT, IWSLT and others), from its cache or, where there is a network, through it.

The cache is the folder that the environment variable SACREBLEU names, else ~/.sacrebleu; a set lies there as
`wmt16/wmt16.en-de.src` and `.ref`, line-aligned text. A test set belongs to a direction: `en-de` is not `de-en` read
backwards, unless `config` says so. Where there are several references, the first is taken.
"""

import os
import sys
from pathlib import Path

from lander.shared.errors import UserError
from lander.shared.languages import Direction, parse_direction

SECONDS = 60.0  # without an answer of the network


def pairs(source: dict) -> list[Direction]:
    """The directions of the set that a source reads: its `config`, or each of its `directions`."""
    if "config" in source:
        return [parse_direction(source["config"])]
    return [parse_direction(value) for value in source.get("directions", [])]


def files(source: dict, languages: tuple[str, ...]) -> list[str]:
    """The cached text files of some languages, in their order.

    Args:
        source: `{sacrebleu: wmt16, config: en-de}`.
        languages: one or two of a direction that the source reads.

    Raises:
        UserError: no such set or direction, or it is not in the cache and cannot be had.
    """
    pair = _pair(source, languages)
    found = cached(source["sacrebleu"], pair) or fetch(source["sacrebleu"], pair)
    return [found[language == pair.target] for language in languages]


def cached(name: str, pair: Direction) -> tuple[str, str] | None:
    """Files of source and first reference in the cache; None where they are not there. sacreBLEU is not imported."""
    stem = Path(folder(), name, f"{name.replace('/', '_')}.{pair.source}-{pair.target}.src")
    if not stem.is_file():
        return None
    references = sorted(path for path in stem.parent.glob(f"{stem.stem}.ref*") if path.is_file())
    return (str(stem), str(references[0])) if references else None


def fetch(name: str, pair: Direction) -> tuple[str, str]:
    """Files of source and first reference, through sacreBLEU into its cache.

    Raises:
        UserError: no such set or direction, no network, or a damaged download.
    """
    known = _langpairs(name)
    langpair = f"{pair.source}-{pair.target}"
    if langpair not in known:
        raise UserError(f"sacrebleu {name}: has no {langpair}; there are: {', '.join(known)}")
    if offline():
        raise _not_there(name, langpair, "HF_HUB_OFFLINE is set")
    print(f"lander data: sacrebleu {name}: fetching {langpair} into {folder()}", file=sys.stderr)
    try:
        _download(name, langpair)
    except (Exception, SystemExit) as error:  # urllib, tarfile, md5 (which exits), lock files
        raise _not_there(name, langpair, " ".join(str(error).split())[:200] or type(error).__name__) from None
    found = cached(name, pair)
    if not found:
        raise _not_there(name, langpair, "the download holds no such files")
    return found


def folder() -> str:
    """sacreBLEU's cache."""
    return os.environ.get("SACREBLEU") or os.path.join(os.path.expanduser("~"), ".sacrebleu")


def offline() -> bool:
    """Whether the user has said that there is no network."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _pair(source: dict, languages: tuple[str, ...]) -> Direction:
    """The direction of the set that holds some languages; for two of them in their order, unless `config` has it."""
    held = pairs(source)
    if len(languages) == 2:
        forth = [pair for pair in held if (pair.source, pair.target) == tuple(languages)]
        held = forth or [pair for pair in held if {pair.source, pair.target} == set(languages)]
    else:
        held = [pair for pair in held if set(languages) <= {pair.source, pair.target}]
    if not held:
        raise UserError(
            f"sacrebleu {source['sacrebleu']}: {', '.join(languages)} are not in one of its directions "
            f"({', '.join(map(str, pairs(source))) or 'none is named'}); see its `directions` or `config`"
        )
    return held[0]


def _langpairs(name: str) -> list[str]:
    import difflib

    import sacrebleu

    if name not in sacrebleu.DATASETS:
        near = difflib.get_close_matches(name, sacrebleu.DATASETS, 1)
        raise UserError(
            f"sacrebleu {name}: no such test set; "
            + (f"did you mean {near[0]}?" if near else "`sacrebleu --list` names them")
        )
    return sorted(sacrebleu.DATASETS[name].langpairs)


def _download(name: str, langpair: str) -> None:
    """The one place that asks the network: sacreBLEU downloads, checks and unpacks the set."""
    import socket

    import sacrebleu

    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS)
    try:
        sacrebleu.DATASETS[name].get_files(langpair)
    finally:
        socket.setdefaulttimeout(patience)


def _not_there(name: str, langpair: str, reason: str) -> UserError:
    return UserError(
        f"sacrebleu {name} {langpair}: not in the cache {folder()}, and cannot be fetched ({reason}); run `lander "
        "prefetch` with the same config where there is a network, or set SACREBLEU to a folder that has it"
    )
