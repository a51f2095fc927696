"""Test sets of sacreBLEU (WMT, IWSLT and others), from its cache or, with a network, through it.

The cache is the folder named by the environment variable SACREBLEU, else ~/.sacrebleu. It holds a set as line-aligned
text, `wmt16/wmt16.en-de.src` and `.ref`. A test set belongs to a direction: `en-de` is not `de-en` read backwards,
unless `config` says so. Of the references in the cache those count that sacreBLEU scores the set with: of wmt21/B
reference B, of wmt21/AB both.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from lander.shared.errors import UserError, brief, nearest
from lander.shared.languages import Direction, find_language


def files(name: str, pairs: Sequence[Direction], languages: tuple[str, ...]) -> list[list[str]]:
    """The text files of each language, fetched if need be, in one of `pairs` (the directions that are read).

    A language is the source, with one file, or the target, with a file for each reference.
    """
    held = [pair for pair in pairs if set(languages) <= {pair.source, pair.target}]
    if not held:
        raise UserError(
            f"sacrebleu {name}: {', '.join(languages)} are not in one of its directions "
            f"({', '.join(map(str, pairs))}); see its `directions` or `config`"
        )
    pair = max(held, key=lambda pair: (pair.source, pair.target) == languages)  # rather than the set read backwards
    source, *references = cached(name, pair) or fetch(name, pair)
    return [references if language == pair.target else [source] for language in languages]


def cached(name: str, pair: Direction) -> tuple[str, ...] | None:
    """Files of the source and of the references in the cache; None if they are not there. Nothing is fetched."""
    import sacrebleu

    dataset = sacrebleu.DATASETS.get(name)
    if not dataset or not (langpair := _langpair(dataset.langpairs, pair)):
        return None
    # `get_reference_files` names them too, but of sets since wmt21 only after it has read the archive that they came in
    if allowed := getattr(dataset, "_get_langpair_allowed_refs", None):
        fields = allowed(langpair)
    else:
        fields = [field for field in dataset.fieldnames(langpair) if field.startswith("ref")]
    names = [Path(dataset._get_txt_file_path(langpair, field)).name for field in ("src", *fields)]
    there = [str(path) for file in names if (path := Path(folder(), name, file)).is_file()]
    whole = len(there) > 1 and there[0].endswith(".src") and (allowed or len(there) == len(names))
    return tuple(there) if whole else None


def fetch(name: str, pair: Direction) -> tuple[str, ...]:
    """Files of the source and of the references, fetched through sacreBLEU into its cache."""
    import sacrebleu

    if name not in sacrebleu.DATASETS:
        advice = nearest(name, sacrebleu.DATASETS, "`sacrebleu --list` names them")
        raise UserError(f"sacrebleu {name}: no such test set; {advice}")
    known = sorted(sacrebleu.DATASETS[name].langpairs)
    if not (langpair := _langpair(known, pair)):
        raise UserError(f"sacrebleu {name}: has no {pair.source}-{pair.target}; there are: {', '.join(known)}")
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


def _langpair(known: Iterable[str], pair: Direction) -> str | None:
    """sacreBLEU's name of a direction, whatever codes the config has for its languages."""
    for name in known:
        source, _, target = name.partition("-")
        if find_language(pair.source, [source]) and find_language(pair.target, [target]):
            return name
    return None


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
