"""Fetch what a config needs from the network (models, data, COMET) where there is one, so that its run needs none.

For clusters: on the login node

    lander prefetch --configfile my.yaml

puts what is on the Hugging Face hub, and sacreBLEU's test sets, into their caches (HF_HOME, SACREBLEU), and says what
it has fetched, how large it is, and how to run afterwards. Of a model its configuration, tokenizer and weights are
fetched (no code), of a data set the files of the splits that the config names, of a neural metric its model and, where
that is COMET's, its encoder's tokenizer; COMET itself is installed below results/. What is there already is not fetched
again; `--dry-run` fetches nothing and says how much it would be.
"""

import argparse
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from lander.config import config
from lander.config.base import WEIGHT_FILES, weights
from lander.config.evaluate import Neural
from lander.config.sources import Source
from lander.data import testsets
from lander.evaluate import bleu, neural
from lander.shared.errors import UserError, run_main
from lander.shared.languages import Direction
from lander.workflow.neural import COMET

TEXT_FILES = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
SPARE = 1.1  # free space asked for, per byte that is fetched


@dataclass(frozen=True)
class Listing:
    """What a repository of the hub holds: its commit, and the size of each file in bytes."""

    commit: str
    sizes: dict[str, int]


class Fetched(NamedTuple):
    """One thing that a run needs from the network."""

    kind: str  # model, data set, test set, program
    name: str
    bytes: int  # 0 where it is not known
    place: str


# ---------------------------------------------------------------- the network, and nothing else


def list_files(repository: str, kind: str, revision: str | None) -> Listing:
    """Ask the hub what a repository holds; `kind` is `model` or `dataset`."""
    import huggingface_hub

    info = huggingface_hub.HfApi().repo_info(repository, repo_type=kind, revision=revision, files_metadata=True)
    return Listing(info.sha, {file.rfilename: file.size or 0 for file in info.siblings})


def fetch_files(repository: str, kind: str, revision: str | None, names: list[str]) -> Path:
    """Fetch files of a repository into the hub's cache; the folder that they are in."""
    import huggingface_hub

    folder = huggingface_hub.snapshot_download(
        repository, repo_type=kind, revision=revision, allow_patterns=[_literal(name) for name in names]
    )
    return Path(folder)


# ---------------------------------------------------------------- what a config needs


def prefetch(settings: config.Config, *, dry_run: bool = False) -> list[Fetched]:
    """Fetch all that a run of the config needs from the network.

    Raises:
        UserError: something is not there, cannot be fetched, or does not fit on the disk.
    """
    found: dict[Fetched, None] = {}
    if config.find_base(settings.model.path, settings.pretrain.n_layer).kind == "hub":
        found[_model(settings.model.path, settings.model.revision, dry_run)] = None
    for source in _sources(settings):
        if source.kind == "sacrebleu":
            found |= {_test_set(source.json["sacrebleu"], pair, dry_run): None for pair in testsets.pairs(source.json)}
        else:
            found |= {_data_set(source.json, languages, dry_run): None for languages in _readings(source)}
    if "spbleu" in settings.evaluate.metrics:
        found[_flores(dry_run)] = None
    for metric in settings.evaluate.neural:
        found |= dict.fromkeys(_metric(metric, dry_run))
    return list(found)


def _sources(settings: config.Config) -> Iterator[Source]:
    """Every source of the run that is not on this machine by nature."""
    lists = [settings.data.train, settings.data.dev, settings.data.test, settings.data.exclude]
    lists += [settings.awareness.data, settings.experiments.text]
    if settings.model.path == "pretrain":
        lists += [settings.pretrain.text, settings.pretrain.parallel]
    for source in [source for sources in lists for source in sources]:
        if source.kind == "sacrebleu" or source.remote:
            yield source


def _readings(source: Source) -> list[tuple[str, ...]]:
    """Languages that are read together: of each pair where the directions say which configuration, else all."""
    if "config" in source.json or "columns" in source.json or source.directions is None:
        return [tuple(source.languages)]
    pairs = dict.fromkeys(direction.pair for direction in source.directions)
    return [(pair.source, pair.target) for pair in pairs]


def _model(name: str, revision: str | None, dry_run: bool) -> Fetched:
    listing = _list(name, "model", revision)
    return _fetch(name, "model", revision, listing, model_files(name, list(listing.sizes)), name, dry_run)


def model_files(name: str, files: list[str]) -> list[str]:
    """Configuration, tokenizer and weights among a model's files; no code, no weights of other frameworks.

    Raises:
        UserError: no weights that can be used.
    """
    if found := weights(file for file in files if "/" not in file):
        return [*_texts(files), *found]
    raise UserError(f"model.path: {name}: has no weights ({', '.join(WEIGHT_FILES)}); choose another model")


def _texts(files: Iterable[str]) -> list[str]:
    """Configuration and tokenizer among a model's files."""
    return [file for file in files if "/" not in file and any(fnmatch(file, pattern) for pattern in TEXT_FILES)]


def _flores(dry_run: bool) -> Fetched:
    """The sentencepiece model of spBLEU, which sacreBLEU keeps."""
    from sacrebleu.utils import download_file

    path, url = bleu.flores()
    if not (dry_run or (path.is_file() and path.stat().st_size)):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            download_file(url, str(path))
        except Exception as error:  # of the network, of the disk
            path.unlink(missing_ok=True)
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise UserError(f"metric spbleu: {url} cannot be fetched ({reason}); copy it to {path}") from None
    return Fetched("model", "spBLEU's pieces (sacreBLEU)", path.stat().st_size if path.is_file() else 0, str(path))


def _metric(metric: Neural, dry_run: bool) -> Iterator[Fetched]:
    """A neural metric's model, all files of it; where no command is named, COMET and its encoder's tokenizer too."""
    name = metric.model
    if metric.remote:
        listing = _list(name, "model", None)
        yield _fetch(name, "model", None, listing, list(listing.sizes), name, dry_run)
    if metric.command:
        return
    settings = neural.settings_of(name)
    if metric.remote:
        settings = _ask(name, lambda: fetch_files(name, "model", None, [neural.SETTINGS])) / neural.SETTINGS
    encoder = neural.encoder(settings) if settings.is_file() else None
    if encoder and not (testsets.offline() and _snapshot(encoder)):
        listing = _list(encoder, "model", None)
        yield _fetch(encoder, "model", None, listing, _texts(listing.sizes), f"{encoder}, tokenizer", dry_run)
    folder = Path(COMET).parents[1]
    if not Path(COMET).is_file() and not dry_run:
        neural.make_environment(folder)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    yield Fetched("program", "COMET and its libraries, by pip", size, str(folder))


def _snapshot(name: str) -> bool:
    """Whether the cache holds something of a model."""
    return any((cache_folder() / f"models--{name.replace('/', '--')}").glob("snapshots/*/config.json"))


def _data_set(source: dict[str, Any], languages: tuple[str, ...], dry_run: bool) -> Fetched:
    from lander.data import hub  # datasets takes a second to import

    name, revision = source["hf"], source.get("revision")
    listing = _list(name, "dataset", revision)
    card = ["README.md"] if "README.md" in listing.sizes else []
    text = hub.read_card(_ask(name, lambda: fetch_files(name, "dataset", revision, card))) if card else ""
    files = [*hub.files_of(source, languages, list(listing.sizes), text), *card]
    label = " ".join([name, source.get("config") or "-".join(languages), source.get("split", "train")])
    fetched = _fetch(name, "dataset", revision, listing, files, label, dry_run)
    if not dry_run:
        hub.check_cached(source, languages)
    return fetched


def _test_set(name: str, pair: Direction, dry_run: bool) -> Fetched:
    files = testsets.cached(name, pair) or (() if dry_run else testsets.fetch(name, pair))
    size = sum(Path(file).stat().st_size for file in files)
    return Fetched("test set", f"sacrebleu {name} {pair.source}-{pair.target}", size, testsets.folder())


def _list(name: str, kind: str, revision: str | None) -> Listing:
    if testsets.offline():
        raise UserError(f"{name}: HF_HUB_OFFLINE is set; unset it to fetch, where there is a network")
    return _ask(name, lambda: list_files(name, kind, revision))


def _fetch(
    name: str, kind: str, revision: str | None, listing: Listing, files: list[str], label: str, dry_run: bool
) -> Fetched:
    """Fetch files of a repository, if the disk has room for them."""
    size = sum(listing.sizes[file] for file in files)
    cache = cache_folder()
    if not dry_run:
        free = shutil.disk_usage(next(folder for folder in (cache, *cache.parents) if folder.is_dir())).free
        missing = size - _there(name, kind, listing)
        if missing * SPARE > free:
            raise UserError(
                f"{name}: {readable(missing)} are to be fetched and {cache} has {readable(free)} free; make room, or "
                "set HF_HOME to a folder that has it"
            )
        place = str(_ask(name, lambda: fetch_files(name, kind, revision, files)))
    shown = f"{label} at {listing.commit[:12]}"
    return Fetched({"model": "model", "dataset": "data set"}[kind], shown, size, str(cache) if dry_run else place)


def _there(name: str, kind: str, listing: Listing) -> int:
    """Bytes of a repository that the cache holds."""
    folder = cache_folder() / f"{kind}s--{name.replace('/', '--')}" / "snapshots" / listing.commit
    sizes = ((folder / file, size) for file, size in listing.sizes.items())
    return sum(size for path, size in sizes if path.is_file())


def _ask(name: str, question: Callable[[], Any]) -> Any:
    """An answer of the hub; what goes wrong on the way is told in one line, without a token."""
    try:
        return question()
    except Exception as error:  # the hub's errors, those of the library beneath it, of the disk
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        reason = re.sub(r"hf_\w+", "hf_...", reason)
        raise UserError(f"{name}: cannot be fetched from the hub ({reason})") from None


def cache_folder() -> Path:
    """The hub's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _literal(name: str) -> str:
    """A file's name as a pattern that fits it alone."""
    return re.sub(r"([*?[])", r"[\1]", name)


# ---------------------------------------------------------------- what is said


def summary(found: list[Fetched], configfile: str, *, dry_run: bool = False) -> str:
    """What was fetched, and how to run without a network."""
    if not found:
        return "Nothing is needed from the network: the model and all data are on this machine."
    width = max(len(one.name) for one in found)
    sizes = [readable(one.bytes) if one.bytes else "?" for one in found]
    lines = [
        f"{one.kind:8}  {one.name:{width}}  {size:>9}  {one.place}" for one, size in zip(found, sizes, strict=True)
    ]
    total = readable(sum(one.bytes for one in found))
    if dry_run:
        return "\n".join([*lines, f"{total} in all; run without --dry-run to fetch what is not there"])
    file = f" --configfile {configfile}" if configfile else ""
    caches = [f"HF_HOME={Path(cache_folder()).parent}"]
    caches += [f"SACREBLEU={testsets.folder()}"] if any(str(testsets.folder()) in one.place for one in found) else []
    return "\n".join(
        [
            *lines,
            f"{total} in all. Where there is no network:",
            f"    HF_HUB_OFFLINE=1 snakemake --cores 2{file}",
            f"with the same caches ({', '.join(caches)}), so on a file system that the compute nodes see.",
        ]
    )


def readable(size: float) -> str:
    """A size in bytes for people: 1.1 GB."""
    power = min(max(len(str(int(size))) - 1, 0) // 3, 4)
    return f"{size / 1000**power:.{min(power, 1)}f} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    add = parser.add_argument
    add("--configfile", type=Path, nargs="+", default=[], help="YAML that is merged over config.yaml, later files last")
    add("--effective", help="the config itself, as JSON; how the workflow passes it")
    add("--dry-run", action="store_true", help="fetch nothing, say how much it would be")
    add("--environment", type=Path, metavar="FOLDER", help="only install COMET there, for the rule comet_environment")


def run(arguments: argparse.Namespace) -> None:
    """Fetch, and say what was fetched."""
    if arguments.environment:
        neural.make_environment(arguments.environment)
        return
    if arguments.effective:
        settings = config.load(json.loads(arguments.effective))
    else:
        settings = config.read(*arguments.configfile)
    found = prefetch(settings, dry_run=arguments.dry_run)
    print(summary(found, " ".join(map(str, arguments.configfile)), dry_run=arguments.dry_run))


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="lander prefetch", description=__doc__.split("\n\n")[0])
    add_flags(parser)
    run(parser.parse_args(argv))


if __name__ == "__main__":
    run_main(main, "prefetch")
