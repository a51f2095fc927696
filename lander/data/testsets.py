"""Test sets of sacreBLEU (WMT, IWSLT and others), from its cache or, with a network, through it.

The cache is the folder named by the environment variable SACREBLEU, else ~/.sacrebleu. It holds a set as line-aligned
text, `wmt16/wmt16.en-de.src` and `.ref`. A test set belongs to a direction: `en-de` is not `de-en` read backwards,
unless `config` says so. Of several references, the first is used.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lander.shared.errors import UserError, brief, nearest
from lander.shared.languages import Direction


def files(name: str, pairs: Sequence[Direction], languages: tuple[str, ...]) -> list[str]:
    """The text files, fetched if need be, of one or two languages of one of `pairs` (the directions that are read)."""
    held = [pair for pair in pairs if set(languages) <= {pair.source, pair.target}]
    if not held:
        raise UserError(
            f"sacrebleu {name}: {', '.join(languages)} are not in one of its directions "
            f"({', '.join(map(str, pairs))}); see its `directions` or `config`"
        )
    pair = max(held, key=lambda pair: (pair.source, pair.target) == languages)  # rather than the set read backwards
    found = cached(name, pair) or fetch(name, pair)
    return [found[language == pair.target] for language in languages]


def cached(name: str, pair: Direction) -> tuple[str, str] | None:
    """Files of source and first reference in the cache; None if they are not there. sacreBLEU is not imported."""
    stem = Path(folder(), name, f"{name.replace('/', '_')}.{pair.source}-{pair.target}.src")
    if not stem.is_file():
        return None
    references = sorted(path for path in stem.parent.glob(f"{stem.stem}.ref*") if path.is_file())
    return (str(stem), str(references[0])) if references else None


def fetch(name: str, pair: Direction) -> tuple[str, str]:
    """Files of source and first reference, fetched through sacreBLEU into its cache."""

    import sacrebleu

    if name not in sacrebleu.DATASETS:
        advice = nearest(name, sacrebleu.DATASETS, "`sacrebleu --list` names them")
        raise UserError(f"sacrebleu {name}: no such test set; {advice}")
    known = sorted(sacrebleu.DATASETS[name].langpairs)
    langpair = f"{pair.source}-{pair.target}"
    if langpair not in known:
        raise UserError(f"sacrebleu {name}: has no {langpair}; there are: {', '.join(known)}")
    reason = "HF_HUB_OFFLINE is set"
    if not offline():
        print(f"lander data: sacrebleu {name}: fetching {langpair} into {folder()}", file=sys.stderr)
        try:
            _download(name, langpair)
            if found := cached(name, pair):
                return found
            reason = "the download holds no such files"
        except (Exception, SystemExit) as error:  # urllib, tarfile, md5 (which exits), lock files
            reason = brief(error, 200)
    raise UserError(
        f"sacrebleu {name} {langpair}: not in the cache {folder()}, and cannot be fetched ({reason}); run `lander "
        "prefetch` with the same config on a machine with a network, or set SACREBLEU to a folder that has it"
    )


def folder() -> str:
    """sacreBLEU's cache."""
    return os.environ.get("SACREBLEU") or os.path.join(os.path.expanduser("~"), ".sacrebleu")


def offline() -> bool:
    """Whether the user has said, with HF_HUB_OFFLINE, that there is no network."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _download(name: str, langpair: str) -> None:
    """The only place that uses the network: sacreBLEU downloads, checks and unpacks the set."""
    import socket

    import sacrebleu

    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(60)  # seconds to wait for an answer
    try:
        sacrebleu.DATASETS[name].get_files(langpair)
    finally:
        socket.setdefaulttimeout(patience)
