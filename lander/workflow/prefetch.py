"""Fetch what a config needs from the network (models, data, COMET), so that its run needs no network.

For clusters: on the login node

    lander prefetch --configfile my.yaml

puts models and data of the Hugging Face hub, and sacreBLEU's test sets, into their caches (HF_HOME, SACREBLEU), and
says how to run without a network. Of a model it fetches the configuration, the tokenizer and the weights (no code); of
a data set the files of the splits that the config names; of a neural metric its model and, for COMET, the tokenizer of
the encoder. COMET itself is installed below results/. Files that are in a cache are not fetched again.
"""

import argparse
import fnmatch
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import huggingface_hub
from huggingface_hub import constants

from lander.config import config
from lander.config.base import TEXT_FILES, WEIGHT_FILES, check_config, instead, shards
from lander.config.evaluate import Neural
from lander.data import testsets
from lander.data.sources import Source
from lander.evaluate import neural
from lander.evaluate.metrics import METRICS
from lander.report.tables import quantity
from lander.shared.errors import UserError, brief, run_main
from lander.workflow.plan import COMET
from lander.workflow.texts import sources_of

SPARE = 1.1  # free space that is asked for, per byte to be fetched


class Fetched(NamedTuple):
    """One thing that a run needs from the network."""

    kind: str  # model, data set, test set, program
    name: str
    bytes: int  # 0 if it is not known
    place: str


# ---------------------------------------------------------------- the hub


def list_files(repository: str, kind: str, revision: str | None) -> tuple[str, dict[str, int]]:
    """Commit of a repository of the hub, and the bytes of each of its files; `kind` is `model` or `dataset`."""
    info = huggingface_hub.HfApi().repo_info(repository, repo_type=kind, revision=revision, files_metadata=True)
    return info.sha, {file.rfilename: file.size or 0 for file in info.siblings}


def fetch_files(repository: str, kind: str, revision: str | None, names: list[str]) -> Path:
    """Fetch files of a repository into the hub's cache; returns the folder that they are in."""
    only = {"allow_patterns": [re.sub(r"([*?[])", r"[\1]", name) for name in names]}  # each fits its file alone
    return Path(huggingface_hub.snapshot_download(repository, repo_type=kind, revision=revision, **only))


def _ask(name: str, question: Callable[[], Any]) -> Any:
    """An answer of the hub. UserError, one line without a token, if anything goes wrong on the way."""
    try:
        return question()
    except Exception as error:  # of the hub, of the library beneath it, of the disk
        raise UserError(f"{name}: cannot be fetched from the hub ({brief(error)})") from None


def _repository(
    name: str, kind: str, revision: str | None, choose: Callable[[list[str]], list[str]], dry_run: bool, label: str = ""
) -> Fetched:
    """Fetch the files that `choose` takes from the list of a repository's files."""
    if testsets.offline():
        raise UserError(f"{name}: HF_HUB_OFFLINE is set; unset it to fetch, on a machine with a network")
    commit, listed = _ask(name, lambda: list_files(name, kind, revision))
    sizes = {file: listed[file] for file in choose(list(listed))}
    place = cache = Path(constants.HF_HUB_CACHE)
    if not dry_run:
        snapshot = cache / f"{kind}s--{name.replace('/', '--')}" / "snapshots" / commit
        missing = sum(size for file, size in sizes.items() if not (snapshot / file).is_file())
        free = shutil.disk_usage(next(folder for folder in (cache, *cache.parents) if folder.is_dir())).free
        if missing * SPARE > free:
            raise UserError(
                f"{name}: {quantity(missing, 'B')} are to be fetched and {cache} has {quantity(free, 'B')} free; "
                "make room, or set HF_HOME to a folder that has it"
            )
        place = _ask(name, lambda: fetch_files(name, kind, revision, list(sizes)))
    what = "model" if kind == "model" else "data set"
    return Fetched(what, f"{label or name} at {commit[:12]}", sum(sizes.values()), str(place))


# ---------------------------------------------------------------- what a config needs


def prefetch(settings: config.Config, *, dry_run: bool = False) -> list[Fetched]:
    """Fetch all that a run needs from the network; UserError if it cannot be fetched or does not fit on the disk."""
    found: list[Fetched] = []
    path, revision = settings.model.path, settings.model.revision
    if settings.base.kind == "hub":

        def small(file: str) -> Path:
            return _ask(path, lambda: fetch_files(path, "model", revision, [file])) / file

        found.append(_repository(path, "model", revision, lambda files: model_files(path, files, small), dry_run))
    for source in sources_of(settings):
        if source.kind == "sacrebleu":
            for pair in source.pairs:
                files = testsets.cached(source.sacrebleu, pair)
                files = files or (() if dry_run else testsets.fetch(source.sacrebleu, pair))
                size, name = sum(map(os.path.getsize, files)), f"{source.sacrebleu} {pair.source}-{pair.target}"
                found.append(Fetched("test set", f"sacrebleu {name}", size, testsets.folder()))
        elif source.remote:
            found += [_data_set(source, languages, dry_run) for languages in _readings(source)]
    found += [_metric_file(name, dry_run) for name in settings.evaluate.metrics if METRICS[name].file]
    for metric in settings.evaluate.neural:
        found += _metric(metric, dry_run)
    return list(dict.fromkeys(found))


def model_files(name: str, files: list[str], fetch: Callable[[str], Path]) -> list[str]:
    """Configuration, tokenizer and weights among a model's files; no code, no weights of other frameworks.

    `fetch` gives the path of a small file: a model that Lander cannot use is refused before its weights are fetched.
    """
    if "config.json" in files:
        check_config(fetch("config.json"))
    for weights in WEIGHT_FILES if "config.json" in files else ():
        if weights in files:
            return [*_texts(files), weights]
        if f"{weights}.index.json" in files:
            return [*_texts(files), *shards(fetch(f"{weights}.index.json"))]
    what = instead(lambda pattern: fnmatch.filter(files, pattern)) or f"has no weights ({', '.join(WEIGHT_FILES)})"
    raise UserError(f"model.path: {name}: {what}")


def _texts(files: Iterable[str]) -> list[str]:
    """The same without the weights."""
    return [file for file in files if "/" not in file and any(fnmatch.fnmatch(file, pattern) for pattern in TEXT_FILES)]


def _readings(source: Source) -> list[tuple[str, ...]]:
    """Languages that are read together: the pairs of `directions`, if they decide the configuration, else all."""
    if source.config or source.columns or source.directions is None:
        return [tuple(source.languages)]
    pairs = dict.fromkeys(direction.pair for direction in source.directions)
    return [(pair.source, pair.target) for pair in pairs]


def _data_set(source: Source, languages: tuple[str, ...], dry_run: bool) -> Fetched:
    from lander.data import hub  # datasets takes a second to import

    name, revision, split = source.hf, source.revision, source.split or "train"

    def choose(files: list[str]) -> list[str]:
        card = ["README.md"] if "README.md" in files else []
        text = hub.read_card(_ask(name, lambda: fetch_files(name, "dataset", revision, card))) if card else ""
        return [*hub.files_of(source, languages, files, text), *card]

    label = f"{name} {source.config or '-'.join(languages)} {split}"
    fetched = _repository(name, "dataset", revision, choose, dry_run, label)
    if not dry_run and next(hub.rows(source, languages, cached=True), None) is None:
        raise UserError(f"dataset {name}: the split {split!r} holds no row")
    return fetched


def _metric_file(name: str, dry_run: bool) -> Fetched:
    """What a metric needs in sacreBLEU's cache, as spBLEU's sentencepiece model."""
    from sacrebleu.utils import download_file

    path, url = METRICS[name].file()
    if not dry_run and not (path.is_file() and path.stat().st_size):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            download_file(url, str(path))
        except Exception as error:  # of the network, of the disk
            path.unlink(missing_ok=True)
            raise UserError(f"metric {name}: {url} cannot be fetched ({brief(error)}); copy it to {path}") from None
    return Fetched("model", f"{name} (sacreBLEU)", path.stat().st_size if path.is_file() else 0, str(path))


def _metric(metric: Neural, dry_run: bool) -> Iterator[Fetched]:
    """All files of a neural metric's model; without a command in the config, COMET and its encoder's tokenizer too."""
    name, settings = metric.model, neural.settings_of(metric.model)
    if metric.remote:
        yield _repository(name, "model", None, list, dry_run)
    if metric.command:
        return
    if metric.remote:
        settings = _ask(name, lambda: fetch_files(name, "model", None, [neural.SETTINGS])) / neural.SETTINGS
    encoder = neural.encoder(settings) if settings.is_file() else None
    tokenizer = f"models--{str(encoder).replace('/', '--')}/snapshots/*/config.json"
    if encoder and not (testsets.offline() and any(Path(constants.HF_HUB_CACHE).glob(tokenizer))):
        yield _repository(encoder, "model", None, _texts, dry_run, f"{encoder}, tokenizer")
    folder = Path(COMET).parents[1]
    if not Path(COMET).is_file() and not dry_run:
        neural.make_environment(folder)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    yield Fetched("program", "COMET and its libraries, by pip", size, str(folder))


def summary(found: list[Fetched], configfiles: Iterable[Path] = (), *, dry_run: bool = False) -> str:
    """What was fetched, and how to run without a network."""
    if not found:
        return "Nothing is needed from the network: the model and all data are on this machine."
    width, total = max(len(one.name) for one in found), quantity(sum(one.bytes for one in found), "B")
    sizes = [quantity(one.bytes, "B") if one.bytes else "?" for one in found]
    rows = zip(found, sizes, strict=True)
    lines = [f"{one.kind:8}  {one.name:{width}}  {size:>8}  {one.place}" for one, size in rows]
    if dry_run:
        return "\n".join([*lines, f"{total} in all; run without --dry-run to fetch what is missing"])
    files = " ".join(["", "--configfile", *map(str, configfiles)] if configfiles else [])
    caches = [f"HF_HOME={Path(constants.HF_HUB_CACHE).parent}"]
    caches += [f"SACREBLEU={testsets.folder()}"] if any(testsets.folder() in one.place for one in found) else []
    lines += [
        f"{total} in all. To run without a network:",
        f"    HF_HUB_OFFLINE=1 snakemake --cores 2{files}",
        f"with the same caches ({', '.join(caches)}): they must be on a file system that the compute nodes see.",
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """What the workflow asks for."""
    parser = argparse.ArgumentParser(prog="lander.workflow.prefetch", description=__doc__.split("\n\n")[0])
    only = parser.add_mutually_exclusive_group(required=True)
    only.add_argument("--effective", type=json.loads, help="the whole config, as JSON; its files are fetched")
    only.add_argument("--environment", type=Path, metavar="FOLDER", help="install COMET there")
    args = parser.parse_args(argv)
    if args.environment:
        neural.make_environment(args.environment)
    else:
        print(summary(prefetch(config.load(args.effective))))


if __name__ == "__main__":
    run_main(main, "prefetch")
